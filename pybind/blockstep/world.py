# SPDX-License-Identifier: Apache-2.0
"""World: one simulation, as a scenario sees it."""
import inspect
import zlib

import _blockstep

from blockstep.errors import AssertionFailure, Timeout
from blockstep.vm import VM


class World(_blockstep.World):
    """A simulated world. Options (all by keyword):

    seed           what random streams and the random schedule come from
    schedule       "fifo", "random", or a record of choices to replay
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
        self.timeline: list[tuple[int, str]] = []
        self.vms: list[VM] = []
        self._store = None

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

    def run(self, awaitable):
        """Runs the world until a coroutine or future is done and gives its result.

        For tests and for the top level; inside a scenario, await instead.
        """
        if inspect.iscoroutine(awaitable):
            awaitable = self.start(awaitable, name="main")
        return self.run_until_done(awaitable)

    def note(self, text: str) -> None:
        """A line of the scenario's timeline; part of the digest."""
        self.emit("note", zlib.crc32(text.encode()))
        self.timeline.append((self.now_ns, text))

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
            return self.start(awaitable, name=awaitable.__qualname__)
        return awaitable
