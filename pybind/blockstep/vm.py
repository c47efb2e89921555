# SPDX-License-Identifier: Apache-2.0
"""VM: one virtual machine, its QMP commands and events, its jobs and its disks."""
import dataclasses

import _blockstep

from blockstep.errors import BlockstepError
from blockstep.explanation import Explanation


@dataclasses.dataclass(frozen=True)
class Event:
    """A QMP event: its name, its data as it is, and when it came."""

    name: str
    data: dict
    at_ns: int

    def matches(self, name: str, data: dict) -> bool:
        return self.name == name and all(
            isinstance(self.data, dict) and self.data.get(key.replace("_", "-")) == value
            for key, value in data.items())


class JobFailed(BlockstepError):
    """A job ended with an error, or before what was waited for."""


class UnplugRefused(BlockstepError):
    """The guest does not let a device go."""


class VM(_blockstep.VM):
    """A virtual machine, made by world.vm(). It stands still until cont(). Options:

    store             where its images live; default: the world's store
    compat            whose wording permission conflicts have: "7.2" (default) or "2.9"
    job_slots, job_chunk_bytes           how a copying job works
    l2_cache_bytes, refcount_cache_bytes     of qcow2; 0: the format's default
    memory_may_fail   every allocation for a request is a fault site, "disk: no memory for ..."
    """

    def __init__(self, world, store, **options):
        super().__init__(world, store, **options)
        self.world = world
        self.store = store
        self._events: list[Event] = []
        self._taken: set[int] = set()

    # ---- events ---------------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        """Every event so far, oldest first."""
        self._events += [Event(*event) for event in self.events_from(len(self._events))]
        return self._events

    async def event(self, name: str, /, timeout_ns: int | None = None, **data) -> Event:
        """The first event of this name and data that no call gave before; waits for it.

        data: members that must be equal, with _ for -. Raises Timeout.
        """
        wait = self._event(name, data)
        return await (wait if timeout_ns is None else self.world.timeout(timeout_ns, wait))

    async def _event(self, name: str, data: dict) -> Event:
        number = 0
        while True:
            while number < len(self.events):
                if number not in self._taken and self._events[number].matches(name, data):
                    self._taken.add(number)
                    return self._events[number]
                number += 1
            await self.arrival(f"QMP event {name}")

    def arrival(self, why: str) -> _blockstep.Future:
        """Done when the next event, whichever, has come; `why` names who waits."""
        future = self.world.future(why)
        self.event_arrived().on_done(lambda _event: future.set_value())
        return future

    # ---- run state ------------------------------------------------------------------------------

    async def cont(self) -> None:
        """Lets the guest's processors run: power on, at first."""
        await self.qmp("cont")

    async def stop(self) -> None:
        """Stops them, waits for the guest's requests and writes caches back."""
        await self.qmp("stop")

    async def reset(self) -> None:
        """The machine starts anew; guest disks opened before are lost, pending unplugs are done."""
        await self.qmp("system_reset")

    async def status(self) -> str:
        """QAPI RunState: "prelaunch", "running", "paused", "io-error"."""
        return (await self.qmp("query-status"))["status"]

    # ---- devices and nodes ----------------------------------------------------------------------

    async def device_add(self, driver: str, id: str, named: dict | None = None,
                         **properties) -> None:
        """Plugs a device in, and waits until the guest has noticed it (if the machine runs).

        properties: as in QMP, with _ for -; those whose own names have a _ go into `named`, as
        {"logical_block_size": 4096}. Raises QmpError, PermissionRefused.
        """
        await self.qmp("device_add", {"driver": driver, "id": id} | (named or {}) | {
            key.replace("_", "-"): value for key, value in properties.items()})
        await _blockstep.guest_noticed(self, id)

    async def device_del(self, id: str) -> None:
        """Unplugs a device and waits until it is gone: the guest finishes what is under way on it
        and lets it go. Raises QmpError; UnplugRefused if the guest does not."""
        first = len(self.events)
        await self.qmp("device_del", {"id": id})
        while True:
            for event in self.events[first:]:
                if event.matches("DEVICE_DELETED", {"device": id}):
                    return
                if event.matches("DEVICE_UNPLUG_GUEST_ERROR", {"device": id}):
                    raise UnplugRefused(f"the guest does not let device '{id}' go")
            first = len(self.events)
            await self.arrival(f"unplug of device '{id}'")

    async def pull_out(self, id: str) -> None:
        """Takes a device out without asking the guest, whose requests on it fail. QmpError."""
        await _blockstep.pull_out(self, id)

    async def guest_disk(self, id: str) -> _blockstep.GuestDisk:
        """The disk behind a device, as the guest's driver reaches it: read, write, write_zeroes,
        discard, flush, close. Waits until the machine runs. Raises QmpError.
        """
        return await _blockstep.open_guest_disk(self, id)

    def guest_load(self, id: str, **options) -> _blockstep.Future:
        """A process in the guest that works on a disk: random requests, one after the other, done
        in C++, so that a run costs what its requests cost. Await it for a LoadResult, which counts
        them; start several for processes that work side by side.

            load = vm.guest_load("vda", operations=200, area=1 * MiB)
            ...                                 # whatever goes on meanwhile
            done = await load
            await vm.guest_verify("vda")

        What the disk may hold is known from then on, and every read is checked: those of loads and
        of `guest_disk(id)` alike. Wrong data ends the run with AssertionFailure. Options, in bytes:

        operations      requests to do (8)
        area            where: so much from the disk's start (64 KiB), in whole blocks
        pieces, stride  or so many such areas (1), each so far after the one before
        longest         of a request (4 KiB); shorter ones are as likely
        reads, zeroes, discards, flushes     chances out of 16 (3, 2, 1, 1); the others are writes
        think           before each request, fewer events than this may happen (0)
        until           a future or task: goes on after its operations until that is done, with a
                        request a millisecond
        errors_allowed  a failed request is counted; otherwise it ends the load with GuestIoError
        contents        what the disk may hold, if another device or machine had it before: a
                        GuestContents, given to all who use the same disk

        It waits for the guest to drive the disk, like guest_disk(); a disk that goes away ends it
        (`cut_off`). An explorer leaves out operations, and kinds of them as features ("guest
        reads", ...). Raises ValueError, QmpError; RuntimeError, at once, if the disk has other
        contents, or requests under way that none of this knows of.
        """
        return _blockstep.guest_load(self, id, **options)

    def guest_verify(self, id: str, contents=None) -> _blockstep.Future:
        """Reads back what the guest used of a disk, and checks it as guest_load() does; gives how
        many bytes that were. Raises GuestIoError, QmpError."""
        return _blockstep.guest_verify(self, id, contents)

    def lose_power(self) -> None:
        """It is dead: its processors stand still for ever, its guest disks are lost."""
        _blockstep.lose_power(self)

    def set_hotplug(self, delay_ns: int = 10_000_000, refuse: bool = False) -> None:
        """How the guest answers hotplug: after how long, and whether it keeps its devices."""
        _blockstep.set_hotplug(self, delay_ns=delay_ns, refuse=refuse)

    async def blockdev_add(self, node_name: str, driver: str, **options) -> str:
        """Opens a node; options as in QMP, with _ for -. Gives its name. Raises QmpError."""
        await self.qmp("blockdev-add", {"node-name": node_name, "driver": driver} | {
            key.replace("_", "-"): value for key, value in options.items()})
        return node_name

    def backend(self, node_name: str, use=("consistent-read",),
                share=("consistent-read", "write", "write-unchanged", "resize")):
        """A user of a node without a guest: read, write, write_zeroes, discard, flush, close."""
        return _blockstep.open_backend(self, node_name, use=use, share=share)

    async def check(self, node_name: str, repair: str = "none") -> dict:
        """Checks the image behind a node: corruptions, leaks, messages."""
        return await _blockstep.check_node(self, node_name, repair=repair)

    def explain(self, command: str, arguments: dict | None = None) -> Explanation:
        """What would come of a QMP command, without giving it: what it would need, who stands in
        its way, the graph as it would be. Leaves no trace: it is tried in a copy of the process.
        Needs images in memory."""
        return Explanation.of(self.graph(), command,
                              _blockstep.explain(self, command, arguments))

    # ---- jobs -----------------------------------------------------------------------------------

    async def start_job(self, command: str, arguments: dict) -> "Job":
        """Starts a job by its QMP command; it is known by job-id, or else by device."""
        job = Job(self, arguments.get("job-id") or arguments["device"], len(self.events),
                  arguments.get("auto-dismiss", True))
        await self.qmp(command, arguments)
        return job


class Job:
    """A running job. Waiting for what does not come raises JobFailed, with the job's error."""

    def __init__(self, vm: VM, id: str, first_event: int, auto_dismiss: bool):
        self.vm = vm
        self.id = id
        self._first_event = first_event
        self._auto_dismiss = auto_dismiss

    def statuses(self) -> list[str]:
        """Every status the job has had."""
        return [event.data["status"] for event in self.vm.events[self._first_event:]
                if event.matches("JOB_STATUS_CHANGE", {"id": self.id})]

    async def reached(self, status: str) -> None:
        """Waits until the job has had this status."""
        while status not in self.statuses():
            if self.statuses()[-1:] == ["null"]:
                raise JobFailed(f"job '{self.id}' ended before it was {status}: "
                                f"{self.error() or 'no error'}")
            await self.vm.arrival(f"job '{self.id}' {status}")

    async def ready(self) -> None:
        """Waits until the job is ready to complete."""
        await self.reached("ready")

    async def ended(self) -> None:
        """Waits for its end: until it is gone, or concluded if it is to be dismissed by hand."""
        await self.reached("null" if self._auto_dismiss else "concluded")
        if self.error():
            raise JobFailed(f"job '{self.id}': {self.error()}")

    async def complete(self) -> None:
        """Asks a ready job to complete and waits for its end."""
        await self._verb("job-complete")
        await self.ended()

    async def cancel(self, force: bool = False) -> None:
        """Cancels it and waits for its end."""
        await self.vm.qmp("block-job-cancel", {"device": self.id, "force": force})
        await self.reached("null" if self._auto_dismiss else "concluded")

    async def pause(self) -> None:
        await self._verb("job-pause")

    async def resume(self) -> None:
        await self._verb("job-resume")

    async def finalize(self) -> None:
        """Of a pending job that was started with auto-finalize false."""
        await self._verb("job-finalize")

    async def dismiss(self) -> None:
        """Of a concluded job that was started with auto-dismiss false."""
        await self._verb("job-dismiss")

    async def set_speed(self, bytes_per_s: int) -> None:
        """0: no limit."""
        await self.vm.qmp("block-job-set-speed", {"device": self.id, "speed": bytes_per_s})

    def error(self) -> str | None:
        """The error it ended with, if it did."""
        for event in self.vm.events[self._first_event:]:
            if event.matches("BLOCK_JOB_COMPLETED", {"device": self.id}):
                return event.data.get("error")
        return None

    async def _verb(self, command: str) -> None:
        await self.vm.qmp(command, {"id": self.id})
