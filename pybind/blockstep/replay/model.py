# SPDX-License-Identifier: Apache-2.0
"""DiskModel: what each sector of a guest's disk may contain, given what the guest was told.

Per sector it keeps the writes that could still be found, each with the time from its submission to
its acknowledgement. A write replaces another for sure only if it began after the other had ended.

- A read may return any write not replaced by one that had ended before the read began.
- After a power cut there may be any write not replaced by one that a completed flush covers; a
  flush covers what had ended before it began.

A discard leaves zeroes or what was there, so it replaces nothing.

units      bytes in calls, sectors of 512 inside; time is a count of calls
invariant  what is not in a sector's list can never be found there again
"""
import dataclasses

from blockstep.errors import WrongData
from blockstep.replay.pattern import Pattern
from blockstep.units import SECTOR

REPORTED_MAX = 5
NEVER = 1 << 62


@dataclasses.dataclass(slots=True, eq=False)
class Write:
    generation: int  # 0: zeroes; None: whatever was there when the model began
    began: int
    ended: int = NEVER
    replaces: bool = True


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
        self._sectors: dict[int, list[Write]] = {}  # only sectors that were ever written
        self._several: dict[int, None] = {}  # those with more than one possible content

    # ---- what the guest does --------------------------------------------------------------------

    def begin_write(self, offset: int, length: int) -> Ticket:
        """A write is submitted; the ticket's `data` is what to write."""
        self._generation += 1
        ticket = self._begin(offset, length, self._generation, replaces=True)
        ticket.data = self.pattern.data(offset, length, self._generation)
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
        for sector in list(self._several):
            self._keep(sector, _not_replaced(self._sectors[sector], before=ticket.began))

    # ---- what must be there ---------------------------------------------------------------------

    def ranges(self, length_max: int = 1 << 18) -> list[tuple[int, int]]:
        """Everything ever written, as (offset, length) in rising order."""
        found: list[tuple[int, int]] = []
        for sector in sorted(self._sectors):
            offset = sector * SECTOR
            if found and sum(found[-1]) == offset and found[-1][1] < length_max:
                found[-1] = (found[-1][0], found[-1][1] + SECTOR)
            else:
                found.append((offset, SECTOR))
        return found

    def check_running(self, offset: int, data: bytes) -> None:
        """This is there now, and no request is under way. Raises WrongData."""
        self._check(offset, data, "read", before=self._tick())

    def check_after_power_cut(self, offset: int, data: bytes) -> None:
        """This is there after a power cut; from now on only this may be. Raises WrongData."""
        found = self._check(offset, data, "after the power cut", before=0)
        now = self._tick()
        for number, write in found.items():
            self._keep(number, [Write(write.generation, now, now)])

    # ---- inside ---------------------------------------------------------------------------------

    def _tick(self) -> int:
        self._time += 1
        return self._time

    def _begin(self, offset: int, length: int, generation: int, replaces: bool) -> Ticket:
        write = Write(generation, self._tick(), replaces=replaces)
        for sector in range(offset // SECTOR, (offset + length) // SECTOR):
            self._sectors.setdefault(sector, [self._initial]).append(write)
            self._several[sector] = None
        return Ticket(offset, length, write.began, write)

    def _keep(self, sector: int, writes: list[Write]) -> None:
        self._sectors[sector] = writes
        if len(writes) == 1:
            self._several.pop(sector, None)

    def _check(self, offset: int, data: bytes, when: str, before: int) -> dict[int, Write]:
        """Compares; gives what was found in each sector ever written."""
        found, wrong = {}, []
        for at in range(0, len(data), SECTOR):
            sector = (offset + at) // SECTOR
            contents = data[at:at + SECTOR]
            writes = self._sectors.get(sector, [self._initial])
            possible = _not_replaced(writes, before)
            match = next((write for write in reversed(possible)
                          if self._is(write, sector, contents)), None)
            if match is None:
                may = " or ".join(sorted({_name(write) for write in possible}))
                wrong.append(f"sector {sector} holds "
                             f"{self.pattern.describe(sector, contents)}, may hold {may}")
            elif sector in self._sectors:
                found[sector] = match
        if wrong:
            more = f" (and {len(wrong) - REPORTED_MAX} more)" if len(wrong) > REPORTED_MAX else ""
            raise WrongData(f"{when}: " + "; ".join(wrong[:REPORTED_MAX]) + more)
        return found

    def _is(self, write: Write, sector: int, contents: bytes) -> bool:
        return (write.generation is None
                or contents == self.pattern.sector(sector, write.generation))


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
