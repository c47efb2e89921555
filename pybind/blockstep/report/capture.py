# SPDX-License-Identifier: Apache-2.0
"""Capture: a scenario run with everything written down that a report tells.

The world is looked at between its events and never told anything, so that the run is the same one,
digest and all, as without.
"""
import pathlib
import time
import traceback

from _blockstep import replay_schedule

from blockstep import records
from blockstep.errors import PermissionRefused, QmpError
from blockstep.explore.trial import EVENT_LIMIT
from blockstep.report.recording import Command, Event, Graph, Note, Recording, Trace
from blockstep.vm import VM
from blockstep.world import World


class WatchedVM(VM):
    """A VM whose commands are written down."""

    def qmp(self, command, arguments=None):
        future = super().qmp(command, arguments)
        self.world.commands_under_way.append((future, Command(
            at_ns=self.world.now_ns, position=self.world.trace_events, name=command,
            arguments=arguments, vm=self.world.vms.index(self))))
        return future


class WatchedWorld(World):
    """A world that is driven event by event and looked at after each."""

    vm_type = WatchedVM

    def __init__(self, **options):
        super().__init__(**options)
        self.commands: list[Command] = []
        self.commands_under_way: list[tuple[object, Command]] = []
        self.qmp_events: list[Event] = []
        self.graphs: list[Graph] = []
        self._known: dict[int, int] = {}  # QMP events of each VM so far

    def run(self, awaitable):
        task = self.start(awaitable, name="main")
        while not task.done and self.step():
            self.look()
        return self.run_until_done(task)

    def look(self) -> None:
        """Takes down what the last event changed."""
        causes: dict[int, str] = {}
        for future, command in list(self.commands_under_way):
            if future.done:
                self.commands_under_way.remove((future, command))
                self._ended(future, command)
                causes[command.vm] = command.name
        for number, vm in enumerate(self.vms):
            fresh = vm.events_from(self._known.get(number, 0))
            self._known[number] = self._known.get(number, 0) + len(fresh)
            for name, data, at_ns in fresh:
                self.qmp_events.append(Event(at_ns, self.trace_events, name, data, number))
                causes.setdefault(number, name)
        for number, cause in causes.items():
            self.graphs.append(Graph(self.now_ns, self.trace_events, self.vms[number].graph(),
                                     cause, number))

    def _ended(self, future, command: Command) -> None:
        command.ended_ns, command.ended_position = self.now_ns, self.trace_events
        self.commands.append(command)
        try:
            command.reply = future.result()
        except QmpError as error:
            command.error = {"class": error.cls, "desc": error.desc}
            if isinstance(error, PermissionRefused):
                command.refusal = {
                    "node": error.node, "permissions": list(error.permissions),
                    "requires": vars(error.requires), "unshares": vars(error.unshares)}


class Replay:
    """A record's run, as often as wanted."""

    def __init__(self, scenario, record: str):
        self.scenario = scenario
        self.record = record
        self.headers = records.headers(record)
        try:
            self.seed = int(self.headers.get("seed", "0"))
        except ValueError:
            self.seed = 0

    def options(self) -> dict:
        """Of a world for it, but for the schedule."""
        return {"event_limit": EVENT_LIMIT, **self.scenario.options, "seed": self.seed}

    def run(self) -> dict:
        """Runs it; says how it ended."""
        schedule = replay_schedule(self.record, self.seed)
        world = World(**self.options() | {"schedule": schedule})
        error = drive(world, self.scenario)
        world.close()
        return {
            "outcome": "failed" if error else "passed", "seed": self.seed, "error": error,
            "digest": world.digest, "events": world.events_run,
            "simulated_ns": world.now_ns, "diverged": schedule.diverged,
            "timeline": [{"at_ns": at_ns, "text": text} for at_ns, text in world.timeline],
            "faults": [{"at_ns": fault[0], "step": fault[2], "site": fault[3]}
                       for fault in world.faults_injected]}

    def recording(self, path: str = "") -> Recording:
        """Runs it; gives all that a report tells."""
        started = time.perf_counter()
        world = WatchedWorld(**self.options() | {
            "schedule": replay_schedule(self.record, self.seed), "record_trace": True})
        error = drive(world, self.scenario)
        world.close()
        columns = world.trace_columns()
        recording = Recording(
            scenario=self.scenario.path, seed=self.seed,
            outcome="failed" if error else "passed", digest=world.digest, error=error,
            simulated_ns=world.now_ns, wall_s=time.perf_counter() - started,
            schedule=self.headers.get("strategy", "replay"),
            again=f"./blockstep replay {path}" if path else "", trace=Trace(**columns),
            commands=world.commands + [command for _, command in world.commands_under_way],
            events=world.qmp_events, graphs=world.graphs)
        recording.notes = [Note(at_ns, position, text) for (at_ns, text), (position, _step)
                           in zip(world.timeline, world.note_positions)]
        recording.faults = [Note(at_ns, position, site)
                            for at_ns, position, _step, site, _answer in world.faults_injected]
        recording.critical = self._critical(columns["steps"])
        recording.summary = {"record": self.headers}
        return recording

    def _critical(self, steps) -> Note | None:
        number = self.headers.get("critical_step", "")
        if not number.isdigit() or not 0 < int(number) <= len(steps):
            return None
        at_ns, position = steps[int(number) - 1][:2]
        return Note(at_ns, position, self.headers.get("critical", "critical step"))


def drive(world, scenario) -> str | None:
    """Runs the scenario in the world; gives the error it ended with, traceback and all."""
    try:
        world.run(scenario(world))
        world.check()
    except Exception:  # a scenario may raise anything
        return traceback.format_exc()
    return None


def replayed(scenario, path: pathlib.Path) -> Recording:
    """The recording of a record's run."""
    return Replay(scenario, records.record_text(path)).recording(str(path))
