# SPDX-License-Identifier: Apache-2.0
"""blkparse's default text output.

    MAJ,MIN CPU SEQUENCE SECONDS.NANOSECONDS PID ACTION RWBS SECTOR + SECTORS [PROCESS]

Requests count when they are issued to the disk (action D); if a recording holds no D, when they
are queued (Q). Of RWBS: R read, W write, D discard, F flush (before the W: a flush ahead of it;
alone or as N: only a flush). The summary that blkparse prints below the events is passed over.

source  blkparse(1), "OUTPUT DESCRIPTION AND FORMATTING"
"""
import re

from blockstep.replay.trace import END_MAX, TIME_NS_MAX, Action, LineReader, Request, Trace

EVENT = re.compile(r"^\d+,\d+\s")
SUMMARY = re.compile(r"^(CPU\d+ \(|Total \(|Throughput|Events \(|Skips:|Input file)")


def parse_blkparse(text: str, name: str = "trace", device: str | None = None) -> Trace:
    """The requests on one device ("MAJ,MIN"): the only one, unless `device` names it."""
    reader = LineReader(name, text)
    found: dict[str, dict[str, list[Request]]] = {}  # device, action letter
    for line in reader:
        if not EVENT.match(line):
            if SUMMARY.match(line):
                break
            if line:
                raise reader.error(f"not a blkparse event: '{line[:60]}'")
            continue
        words = line.split()
        if len(words) < 7:
            raise reader.error("an event needs device, cpu, sequence, time, pid, action and RWBS")
        requests = _requests(reader, words)
        found.setdefault(words[0], {}).setdefault(words[5], []).extend(requests)

    if device is None:
        if len(found) != 1:
            raise reader.error(f"{len(found)} devices in the recording: name one of "
                               f"{', '.join(found) or 'none'}")
        [device] = found
    if device not in found:
        raise reader.error(f"no device '{device}' in the recording "
                           f"(there are: {', '.join(found)})")
    letters = found[device]
    requests = letters["D"] if letters.get("D") else letters.get("Q", [])
    requests = sorted(requests, key=lambda request: request.at_ns)  # several processors' events
    return Trace(name, requests)


def _requests(reader: LineReader, words: list[str]) -> list[Request]:
    """What one event asks of the disk: a flush, a transfer, or both."""
    _device, cpu, sequence, time, pid, action, kind = words[:7]
    for word, what in ((cpu, "cpu"), (sequence, "sequence"), (pid, "pid")):
        reader.integer(word, what, 1 << 63)
    seconds, dot, fraction = time.partition(".")
    if not dot or len(fraction) != 9:
        raise reader.error(f"not a time in seconds with nine decimals: '{time[:40]}'")
    at_ns = (reader.integer(seconds, "time", TIME_NS_MAX // 1_000_000_000) * 1_000_000_000
             + reader.integer(fraction, "time", 1_000_000_000))
    if action not in ("D", "Q"):
        return []
    if not re.fullmatch(r"F?(R|W|D|DE|N)?F?[ASMBV]*", kind) or kind == "":
        raise reader.error(f"unknown kind of request (RWBS): '{kind[:40]}'")

    flush = [Request(at_ns, Action.FLUSH)] if kind.startswith("F") else []
    transfer = kind.removeprefix("F")[:1]
    actions = {"R": Action.READ, "W": Action.WRITE, "D": Action.DISCARD}
    if transfer not in actions or len(words) < 10 and flush:
        return flush
    if len(words) < 10 or words[8] != "+":
        raise reader.error("a transfer needs 'SECTOR + SECTORS'")
    sector = reader.integer(words[7], "sector", END_MAX // 512)
    sectors = reader.integer(words[9], "number of sectors", END_MAX // 512)
    if sectors == 0:
        return flush
    # An F behind the letter asks that the write itself be on stable storage.
    fua = [Request(at_ns, Action.FLUSH)] if transfer == "W" and "F" in kind[len(flush):] else []
    return flush + [reader.request(at_ns, actions[transfer], sector * 512, sectors * 512)] + fua
