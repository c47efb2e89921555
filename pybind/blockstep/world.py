# SPDX-License-Identifier: Apache-2.0
"""World: one simulation, as a scenario sees it."""
import inspect
import linecache
import pathlib
import zlib

import _blockstep

from blockstep.errors import AssertionFailure, Deadlock, Timeout
from blockstep.report.recording import Note
from blockstep.vm import VM


class World(_blockstep.World):
    """A simulated world. Options (all by keyword):

    seed           what random streams and the random schedule come from
    schedule       "fifo", "random", or a schedule such as replay_schedule(record)
    clock, pace    "simulated" jumps to the next event; "paced" follows the wall clock by a factor;
                   "manual" moves only in run_for()
    platform       how long host resources take: "instant", "workstation", or a SimGrid XML file;
                   one timed world a process
    record_trace   keep every trace line, not only the last 64
    event_limit    fail with EventLimit after this many events; 0: no limit

    Use it as a context manager, or close() it: that ends what still runs inside.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.notes: list[Note] = []
        self.faults: list[Note] = []
        self.vms: list[VM] = []
        self._store = None
        self._running: list[tuple] = []  # tasks and their coroutines, oldest first

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    @property
    def store(self) -> _blockstep.MemoryStore:
        """The world's own store: files in memory, with a volatile write cache."""
        if self._store is None:
            self._store = _blockstep.MemoryStore(self)
        return self._store

    def vm(self, store=None, **options) -> VM:
        """A virtual machine with its images in the world's store, or in this one."""
        self.vms.append(VM(self, store or self.store, **options))
        return self.vms[-1]

    def check(self) -> None:
        """Checks what must hold at any time. Raises AssertionFailure."""
        for vm in self.vms:
            if wrong := vm.check_graph():
                raise AssertionFailure(wrong)

    def run(self, awaitable, limit_ns: int | None = None):
        """Runs the world until a coroutine or future is done and gives its result.

        For tests and for the top level; inside a scenario, await instead. Raises Timeout when the
        clock passes limit_ns, Deadlock when nothing can run; both say who waits for what.
        """
        if inspect.iscoroutine(awaitable):
            awaitable = self.start(awaitable, name="main")
        try:
            return self.run_until_done(awaitable, limit_ns=limit_ns)
        except (Deadlock, Timeout) as error:
            for task, coroutine in self._running:
                if not task.done and (place := _place(coroutine)):
                    error.add_note(f"'{task.label}' waits at {place}")
            raise

    def start(self, coroutine, *, name: str = "task") -> _blockstep.Task:
        """Starts a coroutine as a task of its own, in an event of its own.

        Await the task for its result; an error that nobody awaits fails the run.
        """
        task = super().start(coroutine, name=name)
        self._running = [one for one in self._running if not one[0].done]
        self._running.append((task, coroutine))
        return task

    # ---- what an explorer varies; see docs/exploring.md -----------------------------------------

    def operations(self, operations, name: str = "operation") -> list:
        """Those of these operations that this run does: all of them, unless the explorer looks for
        a shorter list that fails the same way. Call it once per list, with its name."""
        return [operation for number, operation in enumerate(operations)
                if self.keep(f"{name} {number}")]

    def pick(self, options, name: str):
        """One of the options, of the schedule's choosing; the first is the ordinary one."""
        options = list(options)
        return options[self.choose(len(options), name)]

    async def moment(self, name: str, at_most: int = 55) -> None:
        """Waits for some turns of the world, of the schedule's choosing: the moment of a command
        among everything else that goes on."""
        turns = [0, 1]
        while turns[-1] < at_most:
            turns.append(turns[-1] + turns[-2] if len(turns) > 2 else 2)
        if count := self.pick([n for n in turns if n <= at_most], name):
            await self.turns(count, name)

    def note(self, text: str) -> None:
        """A line of the scenario's timeline; part of the digest."""
        self._note(text, self.notes)

    @property
    def timeline(self) -> list[tuple[int, str]]:
        """Notes and faults so far, as (nanoseconds, text)."""
        lines = sorted([*self.notes, *self.faults], key=lambda note: note.position)
        return [(note.at_ns, note.text) for note in lines]

    def power_cut(self, keep: str = "chosen") -> None:
        """The host loses power. Every virtual machine is dead from here on: what was under way in
        it fails. What was written and not flushed survives by the world's choice (sector by
        sector), "all" of it, or "none". New machines find what survived.
        """
        pending = sum(self.store.pending(path) for path in self.store.list())
        self._note(f"power cut: {pending} writes of the host are not flushed", self.faults)
        self.store.power_cut(keep=keep)
        for vm in self.vms:
            vm.lose_power()

    def _note(self, text: str, notes: list[Note]) -> None:
        self.emit("note", zlib.crc32(text.encode()))
        notes.append(Note(self.now_ns, self.events_traced, text))

    async def gather(self, *awaitables) -> list:
        """The results of all, in the order given; the first error of any ends the wait."""
        futures = [self._as_future(awaitable) for awaitable in awaitables]
        done = self.future("gather")
        left = len(futures)

        def ended(future):
            nonlocal left
            left -= 1
            if done.done:
                return
            try:
                future.result()
            except Exception as error:  # whatever it is, who awaits this gets it
                done.set_error(error)
                return
            if left == 0:
                done.set_value()

        for future in futures:
            future.on_done(ended)
        if futures:
            await done
        return [future.result() for future in futures]

    async def timeout(self, limit_ns: int, awaitable):
        """The result, unless simulated time runs out: then Timeout, and a task is cancelled."""
        future = self._as_future(awaitable)
        first = self.future("timeout")

        def ended(_future):
            if not first.done:
                first.set_value()

        future.on_done(ended)
        self.sleep(limit_ns).on_done(ended)
        await first
        if future.done:
            return future.result()
        if isinstance(future, _blockstep.Task):
            future.cancel()
        raise Timeout(f"'{future.label}' not done after {limit_ns} ns")

    def _as_future(self, awaitable):
        if inspect.iscoroutine(awaitable):
            name = awaitable.__qualname__.rpartition(".<locals>.")[2]
            return self.start(awaitable, name=name)
        return awaitable


def is_timed(options: dict) -> bool:
    """Whether a world of these options takes time on a platform."""
    return options.get("platform", "instant") != "instant"


def _place(coroutine) -> str:
    """The line outside this package at which a coroutine waits."""
    place = ""
    while getattr(coroutine, "cr_frame", None) is not None:
        code, line = coroutine.cr_frame.f_code, coroutine.cr_frame.f_lineno
        if pathlib.Path(code.co_filename).parent != pathlib.Path(__file__).parent:
            place = (f"{code.co_filename}:{line} in {code.co_name}: "
                     f"{linecache.getline(code.co_filename, line).strip()}")
        coroutine = coroutine.cr_await
    return place
