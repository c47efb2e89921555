# SPDX-License-Identifier: Apache-2.0
"""Replay of a trace against a guest's disk, checking every read on the way.

A disk is anything with `size` and read(offset, length), write(offset, data), discard(offset,
length) and flush() that give awaitables: what vm.guest_disk() and vm.backend() give.
"""
import dataclasses
import pathlib

from blockstep.errors import GuestIoError, TraceError
from blockstep.replay.model import DiskModel
from blockstep.replay.trace import Action, Request, Trace, load


@dataclasses.dataclass
class ReplayResult:
    """How many requests of each kind ended, how many of them failed, and how long it took."""

    reads: int = 0
    writes: int = 0
    discards: int = 0
    flushes: int = 0
    failed: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    simulated_ns: int = 0


async def replay(world, disk, trace: Trace | str | pathlib.Path, model: DiskModel | None = None, *,
                 speed: float | None = 1.0, depth: int = 64,
                 failures_allowed: bool = False) -> ReplayResult:
    """Replays the trace and gives counts.

    model: what the disk may contain; reads are checked against it, writes get its patterns.
    speed: 1.0 submits each request when it was recorded, 2.0 in half the time; None as fast as
        possible.
    depth: requests under way at most, whatever the trace asks for.
    failures_allowed: a request that fails is counted instead of raised; so is what was not sent
        yet when the disk was lost.

    Raises TraceError when the trace does not fit the disk, WrongData, GuestIoError.
    """
    if not isinstance(trace, Trace):
        trace = load(trace)
    if trace.end > disk.size:
        raise TraceError(f"{trace.name}: reaches byte {trace.end}, the disk has {disk.size}")
    if depth < 1 or (speed is not None and speed <= 0):
        raise ValueError("depth and speed must be above 0")
    player = _Player(world, disk, model or DiskModel(world.seed, unknown=True), failures_allowed)
    return await player.play(trace, speed, depth)


async def verify(disk, model: DiskModel, after_power_cut: bool = False) -> int:
    """Reads everything the model knows of and checks it; gives the number of bytes.

    Nothing may be under way. Raises WrongData.
    """
    check = model.check_after_power_cut if after_power_cut else model.check_running
    total = 0
    for offset, length in model.ranges():
        check(offset, await disk.read(offset, length))
        total += length
    return total


class _Player:
    def __init__(self, world, disk, model, failures_allowed):
        self.world = world
        self.disk = disk
        self.model = model
        self.failures_allowed = failures_allowed
        self.result = ReplayResult()
        self.under_way = 0
        self.room = None  # a future while play() waits for a request to end
        self.error = None

    async def play(self, trace: Trace, speed: float | None, depth: int) -> ReplayResult:
        start_ns = self.world.now_ns
        for number, request in enumerate(trace.requests):
            if self.failures_allowed and getattr(self.disk, "lost", False):
                self.result.failed += len(trace.requests) - number
                break
            if speed is not None:
                wait_ns = start_ns + int(request.at_ns / speed) - self.world.now_ns
                if wait_ns > 0:
                    await self.world.sleep(wait_ns)
            await self._until_fewer_than(depth)
            self._submit(request)
        await self._until_fewer_than(1)
        self.result.simulated_ns = self.world.now_ns - start_ns
        return self.result

    async def _until_fewer_than(self, limit: int) -> None:
        while self.under_way >= limit and self.error is None:
            self.room = self.world.future("replayed request")
            await self.room
        if self.error is not None:
            raise self.error

    def _submit(self, request: Request) -> None:
        action, offset, length = request.action, request.offset, request.length
        if action is Action.READ:
            ticket = self.model.begin_read(offset, length)
            future = self.disk.read(offset, length)
        elif action is Action.WRITE:
            ticket = self.model.begin_write(offset, length)
            future = self.disk.write(offset, ticket.data)
        elif action is Action.DISCARD:
            ticket = self.model.begin_discard(offset, length)
            future = self.disk.discard(offset, length)
        else:
            ticket = self.model.begin_flush()
            future = self.disk.flush()
        self.under_way += 1
        future.on_done(lambda done: self._ended(action, ticket, done))

    def _ended(self, action: Action, ticket, future) -> None:
        self.under_way -= 1
        try:
            self._account(action, ticket, future.result())
        except GuestIoError as error:
            self.result.failed += 1
            if not self.failures_allowed:
                self.error = self.error or error
        except Exception as error:  # raised again where play() waits
            self.error = self.error or error
        if self.room is not None and not self.room.done:
            self.room.set_value()

    def _account(self, action: Action, ticket, data) -> None:
        result = self.result
        if action is Action.READ:
            self.model.check_read(ticket, data)
            result.reads += 1
            result.bytes_read += ticket.length
        elif action is Action.WRITE:
            self.model.acknowledge(ticket)
            result.writes += 1
            result.bytes_written += ticket.length
        elif action is Action.DISCARD:
            self.model.acknowledge(ticket)
            result.discards += 1
        else:
            self.model.end_flush(ticket)
            result.flushes += 1
