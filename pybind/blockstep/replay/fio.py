# SPDX-License-Identifier: Apache-2.0
"""fio's I/O logs (`write_iolog`), versions 2 and 3.

    fio version 2 iolog                     fio version 3 iolog
    FILE add|open|close                     USEC FILE add|open|close
    FILE read|write|trim OFFSET LENGTH      USEC FILE read|write|trim OFFSET LENGTH
    FILE wait USEC                          USEC FILE sync|datasync
    FILE sync|datasync

A wait of version 2 counts from the wait before it; version 3 has a time in each line instead.

source  fio's HOWTO, "Trace file format v2" and "v3"; the unit of times from logs of fio 3.33
"""
from blockstep.replay.trace import TIME_NS_MAX, Action, LineReader, Request, Trace

HEADERS = {"fio version 2 iolog": 2, "fio version 3 iolog": 3}
FILE_ACTIONS = ("add", "open", "close")
IO_ACTIONS = {"read": Action.READ, "write": Action.WRITE, "trim": Action.DISCARD}
SYNC_ACTIONS = ("sync", "datasync")


def parse_fio(text: str, name: str = "trace", filename: str | None = None) -> Trace:
    """The requests on one file of the log: the only one, unless `filename` names it."""
    reader = LineReader(name, text)
    version, added, clock_ns = None, set(), 0
    by_file: dict[str, list[Request]] = {}

    for line in reader:
        if version is None:
            version = HEADERS.get(line)
            if version is None:
                raise reader.error(f"not a fio iolog of version 2 or 3: '{line[:60]}'")
            continue
        if not line:
            continue
        words = line.split()
        if version == 3:
            at_ns = reader.integer(words.pop(0), "timestamp", TIME_NS_MAX // 1000) * 1000
            if at_ns < clock_ns:
                raise reader.error("timestamps go back")
            clock_ns = at_ns
        if len(words) < 2:
            raise reader.error("a line needs a file name and an action")
        file, action, *numbers = words

        expected = 2 if action in IO_ACTIONS else 1 if action == "wait" else 0
        known = (action in FILE_ACTIONS or action in IO_ACTIONS or action in SYNC_ACTIONS
                 or (action == "wait" and version == 2))
        if not known:
            raise reader.error(f"unknown action '{action[:40]}' in version {version}")
        if action == "wait" and len(numbers) == 2:
            numbers.pop()  # fio itself writes a length there, which means nothing
        if len(numbers) != expected and not (action in SYNC_ACTIONS and len(numbers) == 2):
            raise reader.error(f"{action} takes {expected} numbers, not {len(numbers)}")

        if action == "add":
            added.add(file)
            by_file.setdefault(file, [])
            continue
        if file not in added:
            raise reader.error(f"file '{file[:60]}' was not added")
        if action in IO_ACTIONS:
            offset = reader.integer(numbers[0], "offset", 1 << 62)
            length = reader.integer(numbers[1], "length", 1 << 62)
            by_file[file].append(reader.request(clock_ns, IO_ACTIONS[action], offset, length))
        elif action in SYNC_ACTIONS:
            by_file[file].append(Request(clock_ns, Action.FLUSH))
        elif action == "wait":
            clock_ns += reader.integer(numbers[0], "wait", TIME_NS_MAX // 1000) * 1000
            if clock_ns >= TIME_NS_MAX:
                raise reader.error("waits add up to too long a time")

    if filename is not None and filename not in by_file:
        raise reader.error(f"no file '{filename}' in the log (there are: {', '.join(by_file)})")
    if filename is None:
        if len(by_file) != 1:
            raise reader.error(f"{len(by_file)} files in the log: name one of "
                               f"{', '.join(by_file) or 'none'}")
        [filename] = by_file
    return Trace(name, by_file[filename])
