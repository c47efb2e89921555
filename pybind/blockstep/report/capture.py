# SPDX-License-Identifier: Apache-2.0
"""Capture: a record's run again, with everything written down that a report tells.

Writing it down changes nothing: the run is the same one, digest and all, as without.
"""
import pathlib
import time

from _blockstep import replay_schedule

from blockstep import records, report
from blockstep.apart import run_apart
from blockstep.errors import told
from blockstep.explore.trial import EVENT_LIMIT
from blockstep.report.collect import collect
from blockstep.report.recording import Note, Recording
from blockstep.world import World


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
        """Runs it, in a process of its own; says how it ended."""
        outcome, death = run_apart(self._run)
        if death:
            return {"outcome": "failed", "seed": self.seed, "error": death, "digest": "0" * 16,
                    "events": 0, "simulated_ns": 0, "diverged": "", "timeline": [], "faults": []}
        return outcome

    def _run(self) -> dict:
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
        world = World(**self.options() | {
            "schedule": replay_schedule(self.record, self.seed), "record_trace": True})
        error = drive(world, self.scenario)
        recording = collect(world)
        world.close()
        recording.scenario, recording.error = self.scenario.path, error
        recording.outcome = "failed" if error else "passed"
        recording.digest = world.digest
        recording.wall_s = time.perf_counter() - started
        recording.schedule = self.headers.get("strategy", "replay")
        recording.again = f"./blockstep replay {path}" if path else ""
        recording.critical = self._critical(recording.trace.steps)
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
        world.run(scenario(world), limit_ns=scenario.limit_ns)
        world.check()
    except Exception as error:  # a scenario may raise anything
        return told(error)
    return None


def report_apart(scenario, path: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes a report of a record's run, which has a process of its own, into the folder. Gives
    why there is none, or ""."""
    def write() -> str:
        try:
            replay = Replay(scenario, records.record_text(path))
            report.write(folder, replay.recording(str(path)))
        except OSError as error:
            return f"cannot write the report: {error}"
        return ""

    wrong, death = run_apart(write)
    return f"no report of {path}: {death.splitlines()[0]}" if death else wrong
