# SPDX-License-Identifier: Apache-2.0
"""Walking through a recorded run, forwards and backwards.

The world cannot be unwound, but a process can be forked: every so many events one is left behind
as a snapshot, with the whole world in it. Going back is going on from the last snapshot before.

    this process (commands)  <- socket ->  a process at event 0, one at 100, one at 200 ...
                                           and the one that stands where the user does
"""
import contextlib
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import tempfile

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


class Walker:
    """A process that stands at one event of the run, and serves the one with the commands."""

    def __init__(self, scenario, record: str, address: str, spacing: int):
        from _blockstep import replay_schedule
        self.address, self.spacing = address, spacing
        replay = Replay(scenario, record)
        self.world = World(**replay.options() | {
            "schedule": replay_schedule(record, replay.seed), "record_trace": True})
        self.task = self.world.start(scenario(self.world), name="main")
        self.ended = ""  # how, once it has

    @property
    def event(self) -> int:
        return self.world.events_run

    def serve(self, kind: str) -> None:
        """Says where it stands and does what it is told, until the other side is gone."""
        connection = multiprocessing.connection.Client(self.address)
        connection.send((kind, self.event, self.ended))
        while True:
            try:
                word, *arguments = connection.recv()
            except EOFError:
                os._exit(0)
            if word == "go":
                if os.fork() == 0:
                    connection.close()
                    self.go(*arguments)
                    return self.serve("arrived")
            elif word == "leave":
                os._exit(0)
            else:
                connection.send(getattr(self, f"show_{word}")(*arguments))

    def go(self, target: int, snapshots: set[int]) -> None:
        """Runs to an event, leaving snapshots where there are none yet."""
        while self.event < target and not self.ended:
            if self.event % self.spacing == 0 and self.event not in snapshots:
                if os.fork() != 0:
                    self.serve("snapshot")
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
        self._folder = tempfile.TemporaryDirectory(prefix="blockstep-")
        address = str(pathlib.Path(self._folder.name, "walkers"))
        self._listener = multiprocessing.connection.Listener(address, backlog=64)
        self._first = os.fork()
        if self._first == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the ones it leaves
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = 1
            try:
                Walker(scenario, record, address, self.spacing).serve("snapshot")
                status = 0
            finally:
                os._exit(status)
        self._accept()
        self.here = self.snapshots[0]

    def _accept(self) -> bool:
        """Takes in one walker; true if it is the one that was sent out."""
        connection = self._listener.accept()
        kind, event, ended = connection.recv()
        if kind == "snapshot":
            self.snapshots[event] = connection
            return False
        self.event, self.ended, self.here = event, ended, connection
        return True

    def goto(self, target: int) -> None:
        if target == self.event:
            return
        if target > self.event and self.ended:
            return
        start = max(event for event in self.snapshots if event <= target)
        leaving = self.here if self.here not in self.snapshots.values() else None
        source = self.here if start <= self.event <= target else self.snapshots[start]
        source.send(("go", target, set(self.snapshots)))
        while not self._accept():
            pass
        if leaving is not None:
            leaving.send(("leave",))
            leaving.close()

    def ask(self, *words) -> str:
        self.here.send(words)
        return self.here.recv()

    def close(self) -> None:
        for connection in {self.here, *self.snapshots.values()}:
            with contextlib.suppress(OSError):
                connection.close()
        self._listener.close()
        os.waitpid(self._first, 0)
        self._folder.cleanup()

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
        print(shell.ask("where"), flush=True)
        while True:
            try:
                line = input("> " if terminal else "").strip()
            except EOFError:
                return 0
            if line in ("quit", "q", "exit"):
                return 0
            if line:
                print(shell.command(line), flush=True)
    finally:
        shell.close()
