# SPDX-License-Identifier: Apache-2.0
"""Trace: recorded requests of one guest disk, from whatever file they came.

units  bytes and nanoseconds since the first line of the recording
"""
import dataclasses
import enum
import pathlib

from blockstep.errors import TraceError

# A line beyond these is no recording of a disk: it would only cost memory.
LENGTH_MAX = 1 << 30
END_MAX = 1 << 63
TIME_NS_MAX = 1 << 62


class Action(enum.Enum):
    READ = "read"
    WRITE = "write"
    DISCARD = "discard"
    FLUSH = "flush"


@dataclasses.dataclass(frozen=True)
class Request:
    at_ns: int
    action: Action
    offset: int = 0
    length: int = 0


@dataclasses.dataclass(frozen=True)
class Trace:
    name: str
    requests: list[Request]

    @property
    def end(self) -> int:
        """The first byte that no request reaches."""
        return max((request.offset + request.length for request in self.requests), default=0)

    @property
    def duration_ns(self) -> int:
        return self.requests[-1].at_ns if self.requests else 0

    def counts(self) -> dict[str, int]:
        """How many requests of each action."""
        return {action.value: sum(request.action is action for request in self.requests)
                for action in Action}


class LineReader:
    """Numbered lines of a trace, and errors that say where they are."""

    def __init__(self, name: str, text: str):
        self.name = name
        self.lines = text.split("\n")
        self.number = 0

    def __iter__(self):
        for self.number, line in enumerate(self.lines, 1):
            yield line.strip()

    def error(self, message: str) -> TraceError:
        return TraceError(f"{self.name}:{self.number}: {message}")

    def integer(self, text: str, what: str, limit: int) -> int:
        if not (text.isascii() and text.isdigit()):
            raise self.error(f"{what} is not a number: '{text[:40]}'")
        if len(text) > 20 or int(text) >= limit:
            raise self.error(f"{what} is too large: {text[:40]}")
        return int(text)

    def request(self, at_ns: int, action: Action, offset: int, length: int) -> Request:
        if length > LENGTH_MAX:
            raise self.error(f"length is too large: {length}")
        if length == 0:
            raise self.error(f"{action.value} of no bytes")
        if offset % 512 or length % 512:
            raise self.error(f"{action.value} is not in whole sectors: {offset} {length}")
        return Request(at_ns, action, offset, length)


def load(path: str | pathlib.Path, **choice) -> Trace:
    """The trace in a file: fio iolog version 2 or 3, or blkparse text, told apart by contents.

    choice: `filename=` for a fio log of several files, `device=` for blkparse of several devices.
    Raises TraceError with file and line.
    """
    from blockstep.replay.blkparse import parse_blkparse
    from blockstep.replay.fio import parse_fio

    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not a text file (byte {error.start})") from error
    parse = parse_fio if text.startswith("fio version") else parse_blkparse
    return parse(text, str(path), **choice)
