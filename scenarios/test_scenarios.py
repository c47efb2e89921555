# SPDX-License-Identifier: Apache-2.0
"""Holds:   every scenario passes for every seed tried, twice with the same digest: once in a fresh
         process and once in another with a recorded trace, which must not show in the digest.
Method:  each run in a process of its own, because a timed world needs one; where digests differ the
         first differing event is told.
"""
import pathlib

import pytest

from blockstep.apart import in_fresh_process
from blockstep.scenario import load_scenario, run_scenario

SCENARIOS = sorted(path for path in pathlib.Path(__file__).parent.glob("*.py")
                   if not path.name.startswith("test_"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("more", range(2))
def test_passes_twice_with_one_digest(path, more, seed):
    scenario = load_scenario(path)

    def once(**options):
        outcome = run_scenario(scenario, seed + more, **options)
        return {"outcome": outcome.outcome, "digest": outcome.digest, "error": outcome.error,
                "notes": [text for _at, text in outcome.timeline]}

    first = in_fresh_process(once)
    again = in_fresh_process(lambda: once(record_trace=True))
    assert first["outcome"] == "passed", first["error"]
    assert first["notes"] and first == again


def test_seeds_make_different_runs():
    scenario = load_scenario(SCENARIOS[0])
    digests = {in_fresh_process(lambda: run_scenario(scenario, seed).digest)
               for seed in range(3)}
    assert len(digests) == 3
