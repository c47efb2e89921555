# SPDX-License-Identifier: Apache-2.0
"""Holds:   a recorded run can be walked through forwards and backwards; the same event always looks
         the same, whichever way one came; wrong commands are told.
Method:  `replay --step` with commands from standard input, on a scenario with a machine and one
         that fails.
"""
import subprocess
import sys

import pytest

from blockstep.records import with_headers
from blockstep.scenario import load_scenario, run_scenario

MACHINE = """
async def main(world):
    vm = world.vm()
    world.note("begin")
    world.store.put("disk", bytes(4096))
    await vm.qmp("blockdev-add", {"driver": "file", "node-name": "f", "filename": "disk"})
    for i in range(30):
        await world.sleep(1000)
        if world.fault("glitch"):
            world.note("glitch")
    world.note("end")
"""
FAILING = """
async def main(world):
    await world.gather(*(world.sleep(n) for n in range(5)))
    raise ValueError("on purpose")
"""


@pytest.fixture
def walk(tmp_path):
    """Walks through a scenario's random run; gives the answers to the commands."""
    def run(text, *commands, **headers):
        path = tmp_path / "some_scenario.py"
        path.write_text(text)
        outcome = run_scenario(load_scenario(path), seed=3)
        record = tmp_path / "some.record"
        record.write_text(with_headers(outcome.record, scenario=path, **headers))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "blockstep", "replay", record, "--step"],
            input="\n".join(commands), capture_output=True, text=True, check=False, timeout=100)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout
    return run


def test_forwards_and_backwards(walk):
    out = walk(MACHINE, "goto 70", "steps 2", "back 60", "next 60", "steps 2", "goto start",
               "goto 70", "goto critical", critical_step=5, events=200)
    lines = out.splitlines()
    where = [line for line in lines if line.startswith("event ")]
    assert where[0] == "event 0 at 0.000 ms"
    assert where[1].startswith("event 70 at ") and where[1] == where[3] == where[5]
    assert where[2].startswith("event 10 at ")
    assert where[4] == "event 0 at 0.000 ms"
    assert where[6].startswith("event 5 at ")
    steps = [line for line in lines if line.startswith("     69  ")]
    assert len(steps) == 2 and steps[0] == steps[1]


def test_looks_at_the_world(walk):
    out = walk(MACHINE, "graph", "notes", "goto end", "graph", "notes", "trace 3", "back",
               "waiting")
    assert out.startswith("event 0 at 0.000 ms\nthere is no machine\nno note yet\n")
    assert "the run has passed" in out
    assert "node 'f'" in out  # the graph at the end
    assert "0.000 ms  begin" in out and "0.030 ms  end" in out
    assert "task 1 'main' awaits" in out or "nobody waits" in out


def test_stands_at_a_failure_and_before_it(walk):
    out = walk(FAILING, "goto end", "next", "back 3", "next 100")
    assert out.count('raise ValueError("on purpose")') == 3
    assert out.count("the run has failed:") == 3


def test_wrong_commands(walk):
    out = walk(FAILING, "jump", "goto", "goto nowhere", "goto critical", "next many", "next 1 2",
               "", "help", "quit", "next")
    for answer in ("unknown command 'jump'; try `help`", "goto takes the number of an event",
                   "the record names no critical step", "'many' is not a number",
                   "too many words after 'next'", "go on", "back [N]"):
        assert answer in out or answer == "go on"
    assert "event 1 " not in out
