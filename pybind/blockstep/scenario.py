# SPDX-License-Identifier: Apache-2.0
"""Scenarios: Python files with an `async def main(world)`, and what running one gives.

    from blockstep import scenario

    @scenario(platform="workstation")      # optional: options of the world, see blockstep.World
    async def main(world):
        ...

A scenario passes if main ends without an exception, in less than an hour of simulated time unless
`limit_ns` says another. Its world is built, run and closed once per run; a run is a function of the
file and the seed.
"""
import dataclasses
import importlib.util
import inspect
import json
import pathlib
import sys
import time

from _blockstep import replay_schedule

from blockstep import units
from blockstep.errors import BlockstepError, told
from blockstep.report.collect import collect
from blockstep.report.recording import Recording
from blockstep.world import World, is_timed


class ScenarioError(BlockstepError):
    """The file holds no scenario."""


LIMIT_NS = 3600 * units.s


@dataclasses.dataclass(frozen=True)
class Scenario:
    main: object  # async def main(world)
    options: dict  # of its world
    path: str = ""
    limit_ns: int = LIMIT_NS

    def __call__(self, world):
        return self.main(world)

    @property
    def timed(self) -> bool:
        """Whether its worlds take time on a platform: a process can have only one of them."""
        return is_timed(self.options)


def scenario(main=None, *, limit_ns: int = LIMIT_NS, **options):
    """Marks `async def main(world)`, with options of its world."""
    if main is not None:
        return Scenario(main, options, limit_ns=limit_ns)
    return lambda function: Scenario(function, options, limit_ns=limit_ns)


def load_scenario(path: str | pathlib.Path) -> Scenario:
    """The scenario in a file. Raises ScenarioError, and what the file itself raises."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ScenarioError(f"no such scenario: {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None:
        raise ScenarioError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    found = getattr(module, "main", None)
    if inspect.iscoroutinefunction(found):
        found = Scenario(found, {})
    if not isinstance(found, Scenario):
        raise ScenarioError(f"{path}: a scenario has an `async def main(world)`")
    return dataclasses.replace(found, path=str(path))


@dataclasses.dataclass
class Outcome:
    """How a run ended. Times are nanoseconds, except for the seconds on the wall."""

    outcome: str  # "passed" or "failed"
    seed: int
    digest: str
    simulated_ns: int
    wall_s: float
    events: int
    timeline: list[tuple[int, str]]
    error: str | None = None  # with its traceback
    result: object = None     # what main returned
    record: str = ""          # of its choices
    trace: list = dataclasses.field(default_factory=list)  # its last lines
    graphs: list[dict] = dataclasses.field(default_factory=list)  # of each VM, at the end
    recording: Recording | None = None  # with record_trace: all that a report tells

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    def summary(self) -> dict:
        """What --json prints."""
        summary = {name: getattr(self, name) for name in (
            "outcome", "digest", "seed", "simulated_ns", "wall_s", "events", "error", "result")}
        summary["timeline"] = [{"at_ns": at_ns, "text": text} for at_ns, text in self.timeline]
        try:
            json.dumps(summary["result"])
        except (TypeError, ValueError):
            summary["result"] = repr(summary["result"])
        return summary


def run_scenario(scenario: Scenario, seed: int = 0, record: str | None = None,
                 **options) -> Outcome:
    """Runs it in a world of its own; options override the scenario's. record: choices to repeat.
    Raises nothing of its own: what goes wrong inside is in the outcome."""
    started = time.perf_counter()
    result = error = recording = None
    if record is not None:
        options["schedule"] = replay_schedule(record, seed)
    options = {"schedule": "random", **scenario.options, **options, "seed": seed}
    world = World(**options)
    try:
        result = world.run(scenario(world), limit_ns=scenario.limit_ns)
        world.check()
    except Exception as raised:  # a scenario may raise anything
        error = told(raised)
    try:
        graphs = [vm.graph() for vm in world.vms]
        trace, record = world.trace, world.record({"seed": str(seed)})
        if options.get("record_trace"):
            recording = collect(world)
    finally:
        world.close()
    if recording is not None:
        recording.scenario, recording.error = scenario.path, error
        recording.outcome = "failed" if error else "passed"
        recording.digest = world.digest
        recording.wall_s = time.perf_counter() - started
        schedule = options["schedule"]
        recording.schedule = schedule if isinstance(schedule, str) else "replayed record"
    return Outcome(
        outcome="failed" if error else "passed", seed=seed, digest=world.digest,
        simulated_ns=world.now_ns, wall_s=time.perf_counter() - started, events=world.events_run,
        timeline=world.timeline, error=error, result=result, record=record, trace=trace,
        graphs=graphs, recording=recording)
