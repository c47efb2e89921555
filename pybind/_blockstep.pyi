# SPDX-License-Identifier: Apache-2.0
"""Simulated worlds and what lives in them; use the package `blockstep`.

Made by blockstep/stubs.py; do not edit.
"""
import typing


class Backend:
    """A user of a node with permissions; I/O without a guest."""
    def close(self) -> Future:
        """Gives the node up, once its requests have ended."""
    def discard(self, offset: int, length: int) -> Future: ...
    def flush(self) -> Future: ...
    def read(self, offset: int, length: int) -> Future:
        """Bytes. Raises GuestIoError, as all here."""
    @property
    def size(self) -> int:
        """Bytes."""
    def write(self, offset: int, data: bytes, *, fua: bool = False) -> Future:
        """fua: on stable storage before it is done."""
    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> Future:
        """unmap: the room may be given back."""


class FileContents:
    """The contents of a file, shared by all that hold the same."""
    def __init__(self, data: bytes | bytearray | memoryview) -> None: ...
    @property
    def allocated(self) -> int:
        """Bytes that are not in holes."""
    @property
    def size(self) -> int:
        """Bytes."""


class Frontier:
    """What an exhaustive search has done and what is left."""
    def __init__(self, departures: int, preemptions: int, depth: int) -> None: ...
    @property
    def done(self) -> bool:
        """Whether nothing is left within the bounds."""
    def finished(self, results: list) -> None:
        """Takes the results of the portions that next() gave first, in its order."""
    def next(self, count: int) -> typing.List[str]:
        """The next portions of work, at most so many, each a text."""
    @property
    def runs(self) -> int:
        """Runs so far."""
    def to_text(self) -> str:
        """The text that parse_frontier() reads."""
    @property
    def told(self) -> str:
        """In words, what part of the space is done."""


class Future:
    """A result that simulated time will bring. Await it; it may be awaited by many."""
    def __await__(self) -> typing.Generator[typing.Any, None, typing.Any]: ...
    @property
    def done(self) -> bool:
        """Whether it has a result or an error."""
    @property
    def label(self) -> str:
        """What it stands for, as deadlock reports name it."""
    def on_done(self, callback: typing.Callable) -> None:
        """Calls callback(future) in an event of its own once it is done; its error counts as
        taken care of."""
    def result(self) -> typing.Any:
        """The result of a future that is done, without awaiting it; raises its error."""
    def set_error(self, error: object) -> None:
        """Completes it with an exception, raised where it is awaited."""
    def set_value(self, value: object = None) -> None:
        """Completes it. Raises RuntimeError if it is done already."""


class GuestContents:
    """What a disk may hold, given what the guest did and was told; see VM.guest_load."""
    def __init__(self, name: str) -> None:
        """name: what errors call the disk."""


class GuestDisk:
    """A disk as the guest's own driver reaches it, through rings or command blocks.

    Offsets and lengths are bytes, in whole blocks (else ValueError). Requests give futures;
    they raise GuestIoError with the errno the driver makes of the device's answer: EIO,
    ENOTSUP, ENOMEDIUM once the device is gone, ECANCELED when it was reset."""
    @property
    def block_size(self) -> int:
        """Bytes: what offsets and lengths are multiples of."""
    def close(self) -> Future:
        """The driver lets go of the device, once its requests have ended."""
    def discard(self, offset: int, length: int) -> Future:
        """Afterwards the range holds zeroes or what it held before."""
    def flush(self) -> Future:
        """What had been acknowledged before it is on stable storage when it is done."""
    @property
    def id(self) -> str:
        """The device's id in device_add."""
    @property
    def in_flight(self) -> int:
        """Requests under way."""
    @property
    def lost(self) -> bool:
        """Whether it was closed, unplugged, pulled out, or lost in a reset: open it anew."""
    def read(self, offset: int, length: int) -> Future:
        """The future gives bytes."""
    @property
    def read_only(self) -> bool:
        """Whether the device refuses writes."""
    @property
    def size(self) -> int:
        """Bytes, as the device says now; the last size of one that is gone."""
    def write(self, offset: int, data: bytes | bytearray | memoryview) -> Future:
        """Writes all of the data, which is copied at once."""
    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> Future:
        """unmap: the room may be given back."""


class LoadResult:
    """What the requests of a guest_load came to."""
    @property
    def cut_off(self) -> int:
        """Operations that were not begun, because the disk was gone."""
    @property
    def discards(self) -> int:
        """Discards that succeeded."""
    @property
    def failed(self) -> int:
        """Requests that failed."""
    @property
    def flushes(self) -> int:
        """Flushes that succeeded."""
    @property
    def left_out(self) -> int:
        """Operations that the explorer left out."""
    @property
    def reads(self) -> int:
        """Reads that succeeded; all were checked."""
    @property
    def writes(self) -> int:
        """Writes that succeeded."""
    @property
    def zeroes(self) -> int:
        """Writes of zeroes that succeeded."""


class RandomStream:
    """A named stream of random numbers of a world; streams do not shift each other."""
    def below(self, bound: int) -> int:
        """Uniform in [0, bound)."""
    def between(self, low: int, high: int) -> int:
        """Uniform in [low, high], both included."""
    def chance(self, numerator: int, denominator: int) -> bool:
        """True with probability numerator / denominator."""
    def next(self) -> int:
        """64 random bits."""


class Schedule:
    """An order of events, for one world."""
    @property
    def diverged(self) -> str:
        """Where a replay could no longer follow its record, and why; '' while it can."""


class Store:
    """Where image files live."""
    def exists(self, path: str) -> bool: ...
    def list(self) -> typing.List[str]:
        """Names of the files, sorted."""
    def remove(self, path: str) -> None:
        """Raises HostError."""


class StoreSnapshot:
    """All files of a MemoryStore at one moment; costs O(1)."""
    @property
    def files(self) -> typing.List[str]:
        """Names of the files, sorted."""


class VM:
    """A virtual machine: its block layer and its devices."""
    def __init__(self, world: World, store: Store, *, compat: str = '7.2', job_slots: int = 16,
            job_chunk_bytes: int = 1048576, l2_cache_bytes: int = 0,
            refcount_cache_bytes: int = 0, memory_may_fail: bool = False) -> None: ...
    def check_graph(self) -> str:
        """The first difference between stored and recomputed permissions, or ''."""
    def dump(self) -> str:
        """The graph as text, an edge a line with what it uses and shares."""
    def event_arrived(self) -> Future:
        """A future that is done when the next event comes."""
    def events_from(self, first: int = 0) -> list:
        """Events from the first-th on, as (name, data, nanoseconds)."""
    def graph(self) -> dict:
        """Nodes in order of creation and the edges between their users and them."""
    def qmp(self, command: str, arguments: object = None) -> Future:
        """Runs a QMP command; the future gives what its reply returns.

        Raises QmpError with the reference's class and text, PermissionRefused when a
        permission stands in the way."""
    def shut_down(self) -> Future:
        """Ends jobs and closes all nodes."""


class World:
    """A simulated world: its clock, its order of events, what runs in it."""
    def __init__(self, *, seed: int = 0, schedule: object = 'fifo', clock: str = 'simulated',
            pace: float = 1.0, platform: str = 'instant', record_trace: bool = False,
            event_limit: int = 0) -> None: ...
    @property
    def choices(self) -> int:
        """How many free choices there were."""
    def choose(self, n: int, label: str) -> int:
        """A free choice of the scenario: a number below n, recorded."""
    def close(self) -> None:
        """Ends all tasks and everything in the world. What belongs to it raises RuntimeError
        afterwards; time, digest, choices and trace stay readable."""
    @property
    def closed(self) -> bool:
        """Whether the world has been closed."""
    @property
    def digest(self) -> str:
        """16 hex digits over every event so far. Equal digests mean equal runs."""
    def emit(self, label: str, a: int = 0, b: int = 0) -> None:
        """Puts an event into the trace and the digest."""
    @property
    def events_run(self) -> int:
        """Events since the world began."""
    @property
    def events_traced(self) -> int:
        """Trace events since the world began: a position in the trace."""
    def fault(self, site: str, n: int = 2) -> int:
        """What goes wrong at this site now: 0 for nothing, or one of n - 1 faults."""
    @property
    def faults_injected(self) -> list:
        """(nanoseconds, trace events before, step, site, answer) of every fault so far."""
    def feature(self, name: str) -> bool:
        """Whether this run has the feature: yes, unless a swarm leaves it out."""
    def future(self, label: str = 'future') -> Future:
        """A future that Python completes with set_value or set_error."""
    def keep(self, operation: str) -> bool:
        """Whether to do this operation of a list: yes, unless a shorter list is looked for."""
    def limit_faults(self, n: int) -> None:
        """At most n faults from here on."""
    @property
    def now_ns(self) -> int:
        """Simulated nanoseconds since the world began."""
    def record(self, headers: typing.Dict[str, str] = {}) -> str:
        """Every free choice so far as a small text that replays the run; the headers are its
        key=value lines."""
    def rng(self, name: str) -> RandomStream:
        """The random stream with this name."""
    def run_for(self, ns: int) -> None:
        """Runs what is due in this many simulated nanoseconds. Not from inside."""
    def run_until_done(self, future: Future, *,
            limit_ns: typing.Optional[int] = None) -> typing.Any:
        """Runs the world until the future is done and gives its result. Not from inside.

        Raises Deadlock, Timeout when the clock passes limit_ns, EventLimit, AssertionFailure,
        and what a task raises that nobody awaits."""
    def run_until_idle(self) -> None:
        """Runs the world until nothing is left to run. Not from inside."""
    @property
    def seed(self) -> int:
        """What the random streams and the random schedule come from."""
    def sleep(self, ns: int) -> Future:
        """A future that is done after this many simulated nanoseconds."""
    def start(self, coroutine: object, *, name: str = 'task') -> Task:
        """Starts a coroutine as a task of its own, in an event of its own."""
    def step(self) -> bool:
        """Runs one event. False: nothing is left to run. Not from inside."""
    def steps_from(self, first: int) -> list:
        """With record_trace: the events that ran, from the first-th on, as (number, nanoseconds,
        who, label)."""
    def touch(self, name: str, write: bool = True) -> None:
        """The running step reads or changes what has this name; see docs/exploring.md."""
    @property
    def trace(self) -> list:
        """Trace lines, oldest first: all with record_trace, otherwise the last 64."""
    def turns(self, count: int, label: str = 'turns') -> Future:
        """A future that is done after so many turns among whatever else is ready; unlike
        sleep(0), which comes when nothing else is."""
    def waiting_report(self) -> str:
        """Who waits for whom, a line each."""


class MemoryStore(Store):
    """Files in simulated media, with a write cache that can be lost."""
    def __init__(self, world: World, *, cache: str = 'volatile') -> None: ...
    def allocated(self, path: str) -> int:
        """Bytes that are not in holes."""
    def arm(self, path: str, kinds: typing.List[str], *, wait_ns: int = 100000000) -> None:
        """From here on the world's schedule chooses which operations meet these faults: error,
        no-space, torn, slow, late, lost, lies. wait_ns: how long slow and late ones take."""
    def disarm(self, path: str) -> None:
        """No more faults of any kind; answers that were lost are given."""
    def export_file(self, path: str, real_path: str) -> None:
        """Copies a file out to the real file system. Raises HostError."""
    def fail(self, path: str, operation: str, *, skip: int = 0, times: int = 1,
            errno: int = 5) -> None:
        """After `skip` operations of this kind (read, write, write-zeroes, discard, flush,
        truncate) the next `times` fail."""
    def get(self, path: str, offset: int = 0, length: typing.Optional[int] = None) -> bytes:
        """Bytes of the file as its readers see them, what is not flushed included."""
    def get_durable(self, path: str, offset: int = 0,
            length: typing.Optional[int] = None) -> bytes:
        """Bytes that survive even if everything that is not flushed is lost."""
    def import_file(self, path: str, real_path: str) -> None:
        """Copies a real file in; holes stay holes. Raises HostError."""
    def patch(self, path: str, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Overwrites bytes behind everybody's back, as a broken disk would."""
    def pending(self, path: str) -> int:
        """How many writes a power cut now could lose."""
    def power_cut(self, *, keep: str = 'chosen') -> None:
        """The host loses power: unflushed writes survive by the world's choice, all, or none, in
        sectors. Whatever was open is dead from here: its requests end with EIO."""
    def put(self, path: str, data: bytes | bytearray | memoryview) -> None:
        """Makes the file, or replaces its contents."""
    def put_contents(self, path: str, contents: FileContents) -> None:
        """put() of bytes that are there already; costs O(1)."""
    def restore(self, snapshot: StoreSnapshot) -> None:
        """Contents become those of the snapshot, all of them durable."""
    def set_capacity(self, bytes: int) -> None:
        """Room for all files together; past it writes get ENOSPC. 0: no limit."""
    def set_disk(self, path: str, disk: str) -> None:
        """The file lies on this disk of the world's platform, which takes its time."""
    def set_latency(self, path: str, ns: int) -> None:
        """Simulated nanoseconds that each operation on the file takes."""
    def size(self, path: str) -> int:
        """Bytes."""
    def snapshot(self) -> StoreSnapshot:
        """All contents now, for restore() here or in another world."""


class PosixStore(Store):
    """Real files, with the locks the reference takes on them."""
    def __init__(self, world: World) -> None: ...


class Task(Future):
    """A running coroutine. Its error fails the run unless somebody awaits the task."""
    def cancel(self) -> None:
        """Raises Cancelled inside it where it waits."""


def check_node(vm: VM, node_name: str, *, repair: str = 'none') -> Future:
    """Checks the image behind a node: counts and messages. repair: none, leaks, all."""

def check_strategies(text: str) -> typing.List[str]:
    """The names of the strategies it stands for. Raises ValueError."""

def create_image(vm: VM, options: dict) -> Future:
    """Makes an empty image; options are QAPI's BlockdevCreateOptions. Raises QmpError."""

def explain(vm: VM, command: str, arguments: object = None) -> typing.Any:
    """What would come of a QMP command, without giving it: accepted, error, conflicts (who needs
    what, who stands in the way), graph (as it would be)."""

def guest_load(vm: VM, id: str, *, operations: int = 8, area: int = 65536, pieces: int = 1,
        stride: int = 0, longest: int = 4096, reads: int = 3, zeroes: int = 2, discards: int = 1,
        flushes: int = 1, think: int = 0, errors_allowed: bool = False, until: Future = None,
        contents: typing.Optional[GuestContents] = None) -> Future:
    """A process of the guest that works on a disk; see VM.guest_load."""

def guest_noticed(vm: VM, id: str) -> Future:
    """Done when the guest has seen the device, or cannot because it stands still."""

def guest_verify(vm: VM, id: str, contents: typing.Optional[GuestContents] = None) -> Future:
    """Reads back what the guest used of a disk; see VM.guest_verify."""

def lose_power(vm: VM) -> None:
    """The machine is dead: its processors stand still for ever, its guest disks are lost."""

def measure(trial: typing.Callable, seed: int) -> tuple:
    """How many order choices a run has, and among how many events."""

def open_backend(vm: VM, node_name: str, *, use: typing.Iterable,
        share: typing.Iterable) -> Backend:
    """A backend on the node. use, share: QAPI permission names. Raises PermissionRefused."""

def open_guest_disk(vm: VM, id: str) -> Future:
    """The disk behind the device, driven by the guest from now on; the same one while it is
    there. Waits until the machine runs and the guest has noticed the device. Raises QmpError."""

def parse_frontier(text: str) -> Frontier:
    """What Frontier.to_text() wrote. Raises ValueError."""

def pattern_data(first: int, sectors: int, generation: int, seed: int) -> bytes:
    """The contents of that many sectors from sector `first` on, as write `generation` of a run
    with this seed puts them there. Generation 0: zeroes."""

def pct_miss_bound(runs: int, depth: int, picks: int, runnables: int) -> float:
    """How likely so many PCT runs all miss a bug of this depth, at most."""

def pull_out(vm: VM, id: str) -> Future:
    """Takes the device out without asking the guest. Raises QmpError."""

def record_headers(record: str) -> dict:
    """The key=value lines of a record. Raises ValueError."""

def record_of(vm: VM) -> dict:
    """What a report tells of a machine: commands, events and graphs, each with at_ns and the
    position in the trace. Raises RuntimeError unless record_trace is set."""

def registered() -> dict:
    """What has registered itself, by name: drivers, devices and commands, each with its source."""

def replay_schedule(record: str, seed: int = 0) -> Schedule:
    """A schedule that repeats a record (text, see World.record). Where the world no longer fits
    it goes on as the random one of this seed. Raises ValueError."""

def run_batch(trial: typing.Callable, *, seed: int, strategies: str, picks: int, runnables: int,
        first: int, count: int, go_on: object = None) -> dict:
    """Runs first .. first + count of a search."""

def run_portion(trial: typing.Callable, *, seed: int, preemptions: int, depth: int, portion: str,
        go_on: object = None) -> dict:
    """Does a portion of an exhaustive search."""

def set_hotplug(vm: VM, *, delay_ns: int, refuse: bool) -> None:
    """How the guest answers hotplug: after this long, and whether it refuses to let devices go."""

def shrink(trial: typing.Callable, *, seed: int, record: str, signature: str,
        runs_max: int = 4000, go_on: object = None) -> dict:
    """The same failure from a smaller run, and the choice that makes the difference."""

def trace_of(world: World) -> dict:
    """A recorded trace as columns: names, at_ns, label, fiber, subject, a, b (label and subject
    are indices into names), threads, and steps: (at_ns, position, runnable, label, thread) of
    each turn."""
