# SPDX-License-Identifier: Apache-2.0
"""DiskModel: what each sector of a guest's disk may contain, given what the guest was told.

Of each sector it keeps the writes that could still be found, each with the time from its
submission to its acknowledgement; neighbours with the same writes are kept together. A write
replaces another for sure only if it began after the other had ended.

- A read may return any write not replaced by one that had ended before the read began.
- After a power cut there may be any write not replaced by one that a completed flush covers; a
  flush covers what had ended before it began.

A discard leaves zeroes or what was there, so it replaces nothing.

units      bytes, in whole sectors of 512; time is a count of calls
invariant  what is not in a piece's list can never be found there again; pieces are in rising order
           and do not overlap
"""
import bisect
import dataclasses

from blockstep.errors import WrongData
from blockstep.replay.pattern import Pattern
from blockstep.units import SECTOR

REPORTED_MAX = 5
NEVER = 1 << 62


@dataclasses.dataclass(slots=True, eq=False)
class Write:
    generation: int | None  # 0: zeroes; None: whatever was there when the model began
    began: int
    ended: int = NEVER
    replaces: bool = True
    offset: int = 0
    data: bytes = b""  # of a generation above 0, from that offset on

    def gives(self, offset: int, contents: bytes) -> bool:
        """Whether these are its contents there; it reaches that far."""
        if self.generation is None:
            return True
        if self.generation == 0:
            return contents.count(0) == len(contents)
        at = offset - self.offset
        return contents == self.data[at:at + len(contents)]


@dataclasses.dataclass(slots=True, eq=False)
class Piece:
    """Neighbouring sectors, all with the same possible writes."""

    begin: int  # bytes
    end: int
    writes: list[Write]


@dataclasses.dataclass(slots=True)
class Ticket:
    """A request under way."""

    offset: int
    length: int
    began: int
    write: Write | None = None
    data: bytes = b""


class DiskModel:
    """Starts as a disk of zeroes, or `unknown`: whatever was there may be there still."""

    def __init__(self, seed: int, unknown: bool = False):
        self.pattern = Pattern(seed)
        self._initial = Write(None if unknown else 0, 0, 0)
        self._time = 0
        self._generation = 0
        # What was ever written, in rising order, and where each begins.
        self._pieces: list[Piece] = []
        self._begins: list[int] = []
        self._several: dict[Piece, None] = {}  # those with more than one possible content

    # ---- what the guest does --------------------------------------------------------------------

    def begin_write(self, offset: int, length: int) -> Ticket:
        """A write is submitted; the ticket's `data` is what to write."""
        self._generation += 1
        ticket = self._begin(offset, length, self._generation, replaces=True)
        ticket.data = ticket.write.data = self.pattern.data(offset, length, self._generation)
        return ticket

    def begin_zeroes(self, offset: int, length: int) -> Ticket:
        return self._begin(offset, length, 0, replaces=True)

    def begin_discard(self, offset: int, length: int) -> Ticket:
        return self._begin(offset, length, 0, replaces=False)

    def acknowledge(self, ticket: Ticket) -> None:
        """The guest was told that the write is done. (One that fails may be there all the same.)"""
        ticket.write.ended = self._tick()

    def begin_read(self, offset: int, length: int) -> Ticket:
        return Ticket(offset, length, self._tick())

    def check_read(self, ticket: Ticket, data: bytes) -> None:
        """The read that began with this ticket returned this. Raises WrongData."""
        self._tick()
        if len(data) != ticket.length:
            raise WrongData(f"read of {ticket.length} bytes at {ticket.offset} gave {len(data)}")
        self._check(ticket.offset, data, "read", before=ticket.began)

    def begin_flush(self) -> Ticket:
        return Ticket(0, 0, self._tick())

    def end_flush(self, ticket: Ticket) -> None:
        """The guest was told that the flush is done."""
        self._tick()
        for piece in list(self._several):
            self._keep(piece, _not_replaced(piece.writes, before=ticket.began))

    # ---- what must be there ---------------------------------------------------------------------

    def ranges(self, length_max: int = 1 << 18) -> list[tuple[int, int]]:
        """Everything ever written, as (offset, length) in rising order."""
        spans: list[list[int]] = []
        for piece in self._pieces:
            if spans and spans[-1][1] == piece.begin:
                spans[-1][1] = piece.end
            else:
                spans.append([piece.begin, piece.end])
        step = -(-length_max // SECTOR) * SECTOR
        return [(at, min(step, end - at))
                for begin, end in spans for at in range(begin, end, step)]

    def check_running(self, offset: int, data: bytes) -> None:
        """This is there now, and no request is under way. Raises WrongData."""
        self._check(offset, data, "read", before=self._tick())

    def check_after_power_cut(self, offset: int, data: bytes) -> None:
        """This is there after a power cut; from now on only this may be. Raises WrongData."""
        found = self._check(offset, data, "after the power cut", before=0)
        now = self._tick()
        for begin, end, write in found:
            for piece in self._exactly(begin, end):
                self._keep(piece, [dataclasses.replace(write, began=now, ended=now)])

    # ---- inside ---------------------------------------------------------------------------------

    def _tick(self) -> int:
        self._time += 1
        return self._time

    def _begin(self, offset: int, length: int, generation: int, replaces: bool) -> Ticket:
        write = Write(generation, self._tick(), replaces=replaces, offset=offset)
        for piece in self._exactly(offset, offset + length):
            piece.writes.append(write)
            self._several[piece] = None
        return Ticket(offset, length, write.began, write)

    def _keep(self, piece: Piece, writes: list[Write]) -> None:
        piece.writes = writes
        if len(writes) == 1:
            self._several.pop(piece, None)

    def _exactly(self, begin: int, end: int) -> list[Piece]:
        """The pieces that make up this range, cut to fit and made where nothing was written."""
        first, last = self._cut(begin), self._cut(end)
        at, covered = begin, []
        for piece in [*self._pieces[first:last], None]:
            until = piece.begin if piece else end
            if at < until:
                covered.append(Piece(at, until, [self._initial]))
            if piece:
                covered.append(piece)
                at = piece.end
        self._pieces[first:last] = covered
        self._begins[first:last] = [piece.begin for piece in covered]
        return covered

    def _cut(self, at: int) -> int:
        """Makes no piece reach across `at`; the number of those before it."""
        number = bisect.bisect_left(self._begins, at)
        if number > 0 and self._pieces[number - 1].end > at:
            piece = self._pieces[number - 1]
            rest = Piece(at, piece.end, list(piece.writes))
            piece.end = at
            self._pieces.insert(number, rest)
            self._begins.insert(number, at)
            if piece in self._several:
                self._several[rest] = None
        return number

    def _spans(self, begin: int, end: int):
        """The range cut where its possible writes differ: (begin, end, writes, ever written)."""
        number = max(0, bisect.bisect_right(self._begins, begin) - 1)
        for piece in self._pieces[number:bisect.bisect_left(self._begins, end)]:
            if piece.end <= begin:
                continue
            if begin < piece.begin:
                yield begin, piece.begin, [self._initial], False
            yield max(begin, piece.begin), min(end, piece.end), piece.writes, True
            begin = piece.end
        if begin < end:
            yield begin, end, [self._initial], False

    def _check(self, offset: int, data: bytes, when: str,
               before: int) -> list[tuple[int, int, Write]]:
        """Compares; gives what was found wherever something was ever written."""
        found, wrong = [], []
        for begin, end, writes, written in self._spans(offset, offset + len(data)):
            possible = _not_replaced(writes, before)
            # Mostly all of it is from the newest; otherwise each sector is looked at.
            whole = possible[-1].gives(begin, data[begin - offset:end - offset])
            step = end - begin if whole else SECTOR
            for at in range(begin, end, step):
                until = min(at + step, end)
                contents = data[at - offset:until - offset]
                match = possible[-1] if whole else next(
                    (write for write in reversed(possible) if write.gives(at, contents)), None)
                if match is not None:
                    if written:
                        found.append((at, until, match))
                    continue
                may = " or ".join(sorted({_name(write) for write in possible}))
                wrong.append(f"sector {at // SECTOR} holds "
                             f"{self.pattern.describe(at // SECTOR, contents)}, may hold {may}")
        if wrong:
            more = f" (and {len(wrong) - REPORTED_MAX} more)" if len(wrong) > REPORTED_MAX else ""
            raise WrongData(f"{when}: " + "; ".join(wrong[:REPORTED_MAX]) + more)
        return found


def _not_replaced(writes: list[Write], before: int) -> list[Write]:
    """Those that no write replaced which had ended before that time."""
    if len(writes) == 1:
        return writes
    newest = max((write.began for write in writes if write.replaces and write.ended < before),
                 default=0)
    return [write for write in writes if not write.ended < newest]


def _name(write: Write) -> str:
    if write.generation is None:
        return "what was there before"
    return "zeroes" if write.generation == 0 else f"write {write.generation}"
