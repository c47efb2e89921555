# SPDX-License-Identifier: Apache-2.0
"""Holds:   a scenario on a platform is explored, replayed and walked through like any other; runs
         in processes of their own are the same runs, digest for digest, in every arrangement; one
         whose process dies is a finding that says where, and the others go on.
Method:  one scenario with a bug, with and without a platform; others that kill their process.
"""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from blockstep.__main__ import main
from blockstep.explore import ScenarioTrial, explore
from blockstep.scenario import load_scenario

# The reader is wrong if it overtakes the second write of a file that takes a disk's time.
OVERTAKES = """
from blockstep import scenario

@scenario(platform={platform!r})
async def main(world):
    world.store.put("disk", bytes(8192))
    world.store.set_disk("disk", "sata0")
    vm = world.vm()
    await vm.blockdev_add("disk", "file", filename="disk")
    backend = vm.backend("disk", use=("consistent-read", "write"))
    async def write():
        for number in range(2):
            await backend.write(4096 * number, b"w" * 4096)
        world.note("written")
    writer = world.start(write())
    for _ in world.operations(range(3)):
        await world.moment("reads")
    assert world.choose(3, "patience") < 2 or (await backend.read(4096, 1)) == b"w", "too early"
    await writer
"""
DIES = """
import os, signal
async def main(world):
    await world.sleep(1)
    if world.choose(4, "harm") == 3:
        die()
    await world.sleep(1)

def die():
    os.kill(os.getpid(), signal.{signal})
"""


@pytest.fixture
def scenario(tmp_path):
    def write(text, **values):
        path = tmp_path / "some_scenario.py"
        path.write_text(text.format(**values))
        return path
    return write


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs a command as the launcher does, in this process: its status and what it printed."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")

    def run(*arguments):
        capsys.readouterr()
        status = main([str(word) for word in arguments])
        return status, capsys.readouterr().out
    return run


def test_a_timed_scenario_is_explored_and_replayed(scenario, tmp_path, command):
    path = scenario(OVERTAKES, platform="workstation")
    found = []
    for jobs in (1, 2):
        out = tmp_path / f"out{jobs}"
        status, text = command("explore", path, "--out", out, "--schedules", 120, "--jobs", jobs,
                               "--report", tmp_path / "report", "--json")
        told = json.loads(text)
        assert (status, told["runs"], len(told["findings"])) == (1, 120, 1)
        assert told["findings"][0]["repeats"] and told["findings"][0]["shrunk"]["reproduced"]
        assert told["findings"][0]["shrunk"]["after"]["operations"] == 0
        assert "'patience' (no. 1) is 2 of 3" in told["findings"][0]["critical"]["text"]
        found.append((told["failures"], told["events"], [
            (one["signature"], one["run"], one["count"]) for one in told["findings"]],
            [file.read_text() for file in out.glob("*.record")]))
    assert found[0] == found[1]
    assert len(list((tmp_path / "report").glob("*/report.html"))) == 1

    record = told["findings"][0]["record"]
    status, text = command("replay", record, "--times", 20, "--report", tmp_path / "again")
    assert status == 1 and "the recorded run, event for event" in text
    assert "20 of 20 runs were the same" in text and "too early" in text
    assert (tmp_path / "again/report.html").exists()
    walked = subprocess.run(
        [sys.executable, "-P", "-m", "blockstep", "replay", record, "--step"], text=True,
        input="next 10\nback 5\nnext 5\ngoto end\ngoto critical\n", capture_output=True, check=True)
    where = [line for line in walked.stdout.splitlines() if line.startswith("event ")]
    assert where[1] == where[3] != where[2]
    assert "the run has failed:" in walked.stdout and "too early" in walked.stdout


def test_apart_or_not_is_the_same_search(scenario):
    path = scenario(OVERTAKES.replace('set_disk("disk", "sata0")', 'set_latency("disk", 1000)'),
                    platform="instant")
    here, apart = (explore(ScenarioTrial(load_scenario(path), apart), schedules=150)
                   for apart in (False, True))
    assert here["findings"] and here["failures"] > 1
    assert here == apart


@pytest.mark.parametrize("name, said", [("SIGSEGV", "Segmentation fault"), ("SIGKILL", "Killed")])
def test_a_process_that_dies_is_a_finding(scenario, tmp_path, command, name, said):
    path = scenario(DIES, signal=name)
    status, text = command("explore", path, "--out", tmp_path / "out", "--apart", "--schedules",
                           60, "--report", tmp_path / "report")
    assert status == 1 and f"FAILURE 1 of 1: the process died: {name}" in text
    assert f"({said})" in text and "It was in event " in text
    assert ("in die" in text) == (name == "SIGSEGV")  # none can say it after SIGKILL
    assert "critical step" in text and "'harm' (no. 1) is 3 of 4" in text
    record = next((tmp_path / "out").glob("*.record"))
    status, text = command("replay", record, "--times", 3)
    assert status == 1 and f"the process died: {name}" in text
    assert "the recorded run" in text and "3 of 3 runs were the same" in text


def test_an_interrupt_ends_the_run_under_way(scenario, tmp_path, interruptible):
    path = scenario("import time\nasync def main(world):\n    print('here', flush=True)\n"
                    "    time.sleep(1000)\n")
    running = interruptible("explore", path, "--apart", "--out", tmp_path / "out")
    assert running.stdout.readline() == "here\n"
    children = [int(word) for word in open(
        f"/proc/{running.pid}/task/{running.pid}/children", encoding="ascii").read().split()]
    for _ in range(2):
        os.kill(running.pid, signal.SIGINT)
        time.sleep(0.2)
    running.communicate(timeout=60)
    assert len(children) == 1 and not os.path.exists(f"/proc/{children[0]}")
