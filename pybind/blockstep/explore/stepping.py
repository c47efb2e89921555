# SPDX-License-Identifier: Apache-2.0
"""Walking through a recorded run, forwards and backwards.

The world cannot be unwound, but a process can be forked: every so many events one is left behind
as a snapshot, with the whole world in it. Going back is going on from the last snapshot before.

    this process (commands)  <- socket ->  a process at event 0, one at 100, one at 200 ...
                                           and the one that stands where the user does

A walker that goes is a copy of the one that was told to. So when a run takes its process with it,
the user still stands where they did, and is told how it ended.
"""
import contextlib
import faulthandler
import mmap
import multiprocessing.connection
import os
import pathlib
import signal
import socket
import struct
import sys
import tempfile

from blockstep import apart
from blockstep.commands import CommandError
from blockstep.drawing import to_text
from blockstep.errors import told
from blockstep.report.capture import Replay
from blockstep.world import World

SNAPSHOTS_WANTED = 24
SPACING_MIN = 32
END = 1 << 62

HELP = """\
next [N]     N events on (1)            where        the event that ran last
back [N]     N events back (1)          trace [N]    the last trace events (20)
goto EVENT   to an event's number,      steps [N]    the last events that ran (10)
             start, end or critical     graph        the block graph of each machine
waiting      who waits for whom         notes        the timeline, and faults so far
quit         leave"""


class Progress:
    """The event that the walker under way is in, and what the fault handler wrote of one that died:
    for the other side to read."""

    def __init__(self):
        self._event = mmap.mmap(-1, 8)  # shared with every copy of this process
        self._words = os.memfd_create("last words")

    def listen(self) -> None:
        faulthandler.enable(self._words, all_threads=False)

    def enter(self, event: int) -> None:
        struct.pack_into("q", self._event, 0, event)

    @property
    def event(self) -> int:
        return struct.unpack_from("q", self._event)[0]

    def take_words(self) -> str:
        said = os.pread(self._words, apart.LAST_WORDS_MAX, 0).decode(errors="replace")
        os.ftruncate(self._words, 0)
        os.lseek(self._words, 0, os.SEEK_SET)
        return said

    def close(self) -> None:
        self._event.close()
        os.close(self._words)


class Walker:
    """A process that stands at one event of the run, and serves the one with the commands."""

    def __init__(self, scenario, record: str, address: str, spacing: int, progress: Progress):
        from _blockstep import replay_schedule
        self.address, self.spacing, self.progress = address, spacing, progress
        self.sent_out = []  # those of its copies that may still be there
        self.connection = self._connect("sent out", os.getpid())
        replay = Replay(scenario, record)
        self.world = World(**replay.options() | {
            "schedule": replay_schedule(record, replay.seed), "record_trace": True})
        self.task = self.world.start(scenario(self.world), name="main")
        self.ended = ""  # how, once it has

    @property
    def event(self) -> int:
        return self.world.events_run

    def _connect(self, *hello) -> multiprocessing.connection.Connection:
        connection = multiprocessing.connection.Client(self.address)
        connection.send(hello)
        return connection

    def _become_copy(self, connection=None) -> None:
        """What belongs to the process this is a copy of is none of its business."""
        self.sent_out = []
        self.connection.close()
        self.connection = connection or self._connect("sent out", os.getpid())

    def serve(self) -> None:
        """Does what it is told, until the other side is gone."""
        while True:
            try:
                word, *arguments = self.connection.recv()
            except (EOFError, ConnectionResetError):
                os._exit(0)
            if word == "go":
                self.sent_out = [one for one in self.sent_out if _is_running(one)]
                copy = os.fork()
                if copy == 0:
                    self._become_copy()
                    self.go(*arguments)
                    self.connection.send((self.event, self.ended))
                else:
                    self.sent_out.append(copy)
            elif word == "exit code":
                _pid, status = os.waitpid(self.sent_out.pop(), 0)
                self.connection.send(os.waitstatus_to_exitcode(status))
            elif word == "leave":
                os._exit(0)
            else:
                self.connection.send(getattr(self, f"show_{word}")(*arguments))

    def go(self, target: int, snapshots: set[int]) -> None:
        """Runs to an event, leaving snapshots where there are none yet."""
        while self.event < target and not self.ended:
            if self.event % self.spacing == 0 and self.event not in snapshots:
                snapshot = self._connect("snapshot", self.event)  # known before this goes on
                if os.fork() == 0:
                    self._become_copy(snapshot)
                    return self.serve()
                snapshot.close()
            self.progress.enter(self.event + 1)
            self.step()

    def step(self) -> None:
        try:
            if self.task.done or not self.world.step():
                self.world.run_until_done(self.task)
                self.world.check()
                self.ended = "passed"
        except Exception as error:  # a scenario may raise anything
            self.ended = told(error)

    def show_where(self) -> str:
        text = f"event {self.event} at {self.world.now_ns / 1e6:.3f} ms"
        if steps := self.world.steps_from(max(0, self.event - 1)):
            text += f": {steps[-1][3]}#{steps[-1][2]}"
        if self.ended == "passed":
            text += "\nthe run has passed"
        elif self.ended:
            text += "\nthe run has failed:\n" + self.ended.rstrip()
        return text

    def show_steps(self, count: int) -> str:
        return "\n".join(f"{number:>7}  {label}#{who}" for number, _at_ns, who, label
                         in self.world.steps_from(max(0, self.event - count)))

    def show_trace(self, count: int) -> str:
        return "\n".join(self.world.trace[-count:]) or "no trace event yet"

    def show_waiting(self) -> str:
        return self.world.waiting_report().rstrip() or "nobody waits"

    def show_graph(self) -> str:
        if self.world.closed or not self.world.vms:
            return "there is no machine"
        return "\n\n".join(to_text(vm.graph()).rstrip() for vm in self.world.vms)

    def show_notes(self) -> str:
        lines = [f"{at_ns / 1e6:12.3f} ms  {text}" for at_ns, text in self.world.timeline]
        lines += [f"{fault[0] / 1e6:12.3f} ms  FAULT {fault[3]} (event {fault[2]})"
                  for fault in self.world.faults_injected]
        return "\n".join(lines) or "no note yet"


def _is_running(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG) == (0, 0)


class Gone(Exception):
    """A walker came to its end before its time; the text says how."""


class Shell:
    """Where the user stands, and the processes that can take them elsewhere."""

    def __init__(self, scenario, record: str):
        headers = Replay(scenario, record).headers
        events = headers.get("events", "")
        self.spacing = max(SPACING_MIN,
                           int(events) // SNAPSHOTS_WANTED if events.isdigit() else 400)
        self.critical = headers.get("critical_step", "")
        self.snapshots = {}  # event: connection
        self.event, self.ended, self.here = 0, "", None
        self._progress = Progress()
        self._folder = tempfile.TemporaryDirectory(prefix="blockstep-")
        address = str(pathlib.Path(self._folder.name, "walkers"))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(address)
        self._socket.listen(64)
        self._first = os.fork()
        if self._first == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._socket.close()
            try:
                self._progress.listen()
                walker = Walker(scenario, record, address, self.spacing, self._progress)
                walker.connection.send((0, ""))
                walker.serve()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the other side is gone
            except BaseException:  # whatever it is, it shows on standard error
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        try:
            self.snapshots[0] = self.here = self._follow(None)
        except Gone as gone:
            raise CommandError(f"the run cannot begin: {gone}") from gone

    def _accept(self) -> tuple:
        """The next walker that makes itself known, and how."""
        connection = multiprocessing.connection.Connection(self._socket.accept()[0].detach())
        return connection, *connection.recv()

    def _follow(self, source) -> object:
        """Waits until the walker that the source sent out has arrived; gives its connection. Raises
        Gone."""
        walker, pid = None, 0
        try:
            while True:
                # A source that ends in the meantime sends none; afterwards it is nobody's business.
                watched = [one for one in (walker or source,) if one is not None]
                ready = multiprocessing.connection.wait([self._socket, *watched])
                if self._socket in ready:
                    connection, kind, number = self._accept()
                    if kind == "snapshot":
                        self.snapshots[number] = connection
                    else:
                        walker, pid = connection, number
                elif walker is not None:
                    self.event, self.ended = walker.recv()
                    return walker
                else:
                    raise Gone(self._lost(source))
        except (EOFError, OSError) as error:
            raise Gone(self._how_it_ended(source)) from error
        except KeyboardInterrupt as interrupt:
            if not pid:
                raise
            os.kill(pid, signal.SIGKILL)
            self._how_it_ended(source)
            raise Gone(f"interrupted in event {self._progress.event}") from interrupt

    def _how_it_ended(self, source) -> str:
        """Of the walker that the source sent out."""
        where = f"in event {self._progress.event}: "
        if source is None:
            code = os.waitstatus_to_exitcode(os.waitpid(self._first, 0)[1])
        else:
            try:
                source.send(("exit code",))
                code = source.recv()
            except (EOFError, OSError):
                return where + self._lost(source)
        return where + apart.death(code, self._progress.take_words()).rstrip()

    def _lost(self, walker) -> str:
        """A walker that stood still is gone. If it is the one at the user's place, they stand at a
        snapshot before it from now on."""
        self.snapshots = {event: one for event, one in self.snapshots.items() if one is not walker}
        text = "a process that stood still is gone; somebody killed it"
        if walker is self.here:
            before = [event for event in self.snapshots if event <= self.event]
            if not before:
                raise CommandError(f"{text}, and there is no other to go on from")
            self.event, self.ended = max(before), ""
            self.here = self.snapshots[self.event]
        return text

    def goto(self, target: int) -> None:
        """Raises Gone: the user stands where they did, or at a snapshot before it."""
        if target == self.event:
            return
        if target > self.event and self.ended:
            return
        before = [event for event in self.snapshots if event <= target]
        if not before:
            raise Gone(f"no process is left that stood at event {target} or before")
        start = max(before)
        leaving = self.here if self.here not in self.snapshots.values() else None
        source = self.here if start <= self.event <= target else self.snapshots[start]
        try:
            source.send(("go", target, set(self.snapshots)))
        except OSError as error:
            raise Gone(self._lost(source)) from error
        self.here = self._follow(source)
        if leaving is not None:
            with contextlib.suppress(OSError):
                leaving.send(("leave",))
            leaving.close()

    def ask(self, *words) -> str:
        try:
            self.here.send(words)
            return self.here.recv()
        except (EOFError, OSError) as error:
            raise Gone(self._lost(self.here)) from error

    def close(self) -> None:
        for connection in {self.here, *self.snapshots.values()}:
            with contextlib.suppress(OSError):
                connection.close()
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._first, 0)
        self._progress.close()
        self._folder.cleanup()

    def answer(self, line: str) -> str:
        """Does one command and gives what to print, whatever becomes of the processes."""
        try:
            return self.command(line)
        except Gone as gone:
            return f"{gone}\nyou stand at event {self.event}: go on from there, back, or quit"

    def command(self, line: str) -> str:
        """Does one command and gives what to print."""
        word, *arguments = line.split()
        if len(arguments) > 1:
            return f"too many words after '{word}'"
        if word == "goto":
            place = arguments[0] if arguments else ""
            named = {"start": "0", "end": str(END), "critical": self.critical}
            number = named.get(place, place)
            if not number.isdigit():
                return ("the record names no critical step" if place == "critical"
                        else "goto takes the number of an event, start, end or critical")
            self.goto(int(number))
            return self.ask("where")
        count = arguments[0] if arguments else {"trace": "20", "steps": "10"}.get(word, "1")
        if not count.isdigit():
            return f"'{count}' is not a number"
        if word in ("next", "back"):
            self.goto(max(0, self.event + (int(count) if word == "next" else -int(count))))
            return self.ask("where")
        if word in ("trace", "steps"):
            return self.ask(word, int(count))
        if word in ("where", "waiting", "graph", "notes") and not arguments:
            return self.ask(word)
        return HELP if word == "help" else f"unknown command '{word}'; try `help`"


def walk(scenario, record: str) -> int:
    """Commands from standard input until `quit` or its end."""
    terminal = sys.stdin.isatty()
    shell = Shell(scenario, record)
    try:
        print(shell.answer("where"), flush=True)
        while True:
            try:
                line = input("> " if terminal else "").strip()
            except EOFError:
                return 0
            if line in ("quit", "q", "exit"):
                return 0
            if line:
                print(shell.answer(line), flush=True)
    finally:
        shell.close()
