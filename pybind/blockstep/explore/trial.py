# SPDX-License-Identifier: Apache-2.0
"""A scenario as something to explore: built, run and judged once per call."""
import re
import traceback

import _blockstep

from blockstep.errors import AssertionFailure, Deadlock, told
from blockstep.world import World, is_timed

EVENT_LIMIT = 1_000_000  # of a run, unless the scenario says otherwise: then it counts as endless
TEXT_MAX = 20_000        # of an error's text as findings keep it


class ScenarioTrial:
    """trial(schedule, seed): (failed, signature, text, digest, events), as a search calls it.

    apart: each run has a process of its own, so that one that dies is a failure like any other.
    Worlds that take time on a platform need that: a process can have only one.
    """

    def __init__(self, scenario, apart: bool = False, **options):
        self.scenario = scenario
        self.options = {"event_limit": EVENT_LIMIT, **scenario.options, **options}
        self.options.pop("schedule", None)
        self.apart = apart or is_timed(self.options)

    def __call__(self, schedule, seed: int) -> tuple[bool, str, str, str, int]:
        world = World(**self.options, schedule=schedule, seed=seed)
        signature = text = ""
        try:
            world.run(self.scenario(world), limit_ns=self.scenario.limit_ns)
            world.check()
        except Exception as error:  # a scenario may raise anything
            signature = signature_of(error, self.scenario.path)
            text = told(error)[-TEXT_MAX:]
        finally:
            world.close()
        return bool(signature), signature, text, world.digest, world.events_run


def signature_of(error: Exception, path: str = "") -> str:
    """What makes two failures the same: kind, place in the scenario and what was said, without the
    numbers that differ from run to run."""
    said = str(error)
    if isinstance(error, Deadlock):
        lines = said.split("\nlast events:")[0].splitlines()[1:]
        return "Deadlock: " + "; ".join(sorted({without_numbers(line) for line in lines}))
    if isinstance(error, AssertionFailure):
        return f"AssertionFailure: {without_numbers(said.splitlines()[0])}"
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if path and frame.filename.endswith(path.rpartition("/")[2]):
            place = f" in {frame.name}: {(frame.line or '').strip()}"
    first = said.splitlines()[0] if said else ""
    return f"{type(error).__name__}{place}: {without_numbers(first)}"[:500]


def without_numbers(text: str) -> str:
    """Lines of the program's own source stay."""
    return re.sub(r"(\.[ch]pp:\d+)|0x[0-9a-f]+|\d+", lambda found: found[1] or "#", text)


def explore(trial, schedules: int = 1000, strategies: str = "portfolio", seed: int = 0,
            go_on=None) -> dict:
    """A search of so many runs in this process: counts and findings, none of them shrunk."""
    picks, runnables = _blockstep.measure(trial, seed)
    return _blockstep.run_batch(trial, seed=seed, strategies=strategies, picks=picks,
                                runnables=runnables, first=0, count=schedules, go_on=go_on)
