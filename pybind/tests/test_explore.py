# SPDX-License-Identifier: Apache-2.0
"""Holds:   explore finds what a scenario hides, shrinks it, names the cause and keeps a record;
         the record replays the run a thousand times of a thousand, and survives edits of the
         scenario; the same seeds give the same findings however the work is spread, and a stopped
         search goes on where it was.
Method:  small scenarios with one known bug each, explored as a user would.
"""
import collections
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from blockstep.__main__ import main
from blockstep.explore import explore
from blockstep.explore.work import trial_for

# An update is lost if one of the adders meets the fault; the other operations are beside the point.
LOST_UPDATE = """
async def main(world):
    number = 0
    async def add():
        nonlocal number
        seen = number
        if world.fault("the disk is slow"):
            await world.sleep(0)
        number = seen + 1
    adders = [add() for _ in world.operations(range(5))]
    await world.gather(*adders)
    world.note(f"the number is {number}")
    assert number == len(adders), f"{number} of {len(adders)}"
"""
# Fails in one order of six, without any fault.
WRONG_ORDER = """
async def main(world):
    order = []
    async def put(name):
        order.append(name)
    await world.gather(*(put(name) for name in "abc"))
    assert "".join(order) != "cba", "backwards"
"""
STUCK = """
async def main(world):
    if world.feature("reply") or world.choose(2, "half") == 0:
        return
    await world.future("a reply")
"""
GOOD = """
async def main(world):
    await world.moment("start")
    await world.sleep(5)
"""


Done = collections.namedtuple("Done", "returncode stdout stderr")


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs a command as the launcher does, in this process."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # else it would start over to fix that

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(word) for word in arguments])
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())
    return run


@pytest.fixture
def explored(command):
    def run(path, out, *arguments):
        done = command("explore", path, "--out", out, "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)
    return run


@pytest.fixture
def scenario(tmp_path):
    def write(text, name="some_scenario.py"):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write


def test_finds_shrinks_explains_and_replays(scenario, tmp_path, command, explored):
    path = scenario(LOST_UPDATE)
    done = command("explore", path, "--out", tmp_path / "out", "--schedules", 300)
    assert done.returncode == 1
    assert "FAILURE 1 of 1: AssertionError in main: assert number == len(adders)" in done.stdout
    shrunk = re.search(r"operations (\d+) -> 2, faults (\d+) -> 1, pre-emptions (\d+) -> 0\n",
                       done.stdout)
    assert shrunk and int(shrunk[1]) > 2
    assert "PCT, depth 2:" in done.stdout and "values" not in done.stdout
    assert "blockstep/" not in done.stdout  # no frame that only drives the scenario
    assert "the fault 'the disk is slow' strikes" in done.stdout
    again = [line for line in done.stdout.splitlines() if line.startswith("  again: ")]
    record = again[0].split()[-1]
    assert open(record, encoding="utf-8").read().startswith("blockstep choices 2\n")

    replayed = command("replay", record)
    assert replayed.returncode == 1
    assert "the recorded run, event for event" in replayed.stdout
    assert f"again: ./blockstep replay {record}" in replayed.stdout
    assert "critical step" in replayed.stdout
    told = json.loads(command("replay", record, "--times", 1000, "--json").stdout)
    assert (told["same"], told["outcome"], told["diverged"]) == (1000, "failed", "")
    assert told["faults"][0]["site"] == "the disk is slow"


def test_record_survives_edits_of_the_scenario(scenario, tmp_path, command, explored):
    path = scenario(WRONG_ORDER)
    told = explored(path, tmp_path / "out", "--strategy", "random", "--schedules", 60)
    record = told["findings"][0]["record"]
    scenario(WRONG_ORDER + "    # a comment\n")
    assert "the recorded run, event for event" in command("replay", record).stdout
    scenario(WRONG_ORDER.replace('"abc"', '"abcd"').replace("async def put", "async def place")
             .replace("put(name)", "place(name)"))
    replayed = command("replay", record)
    assert "the record no longer fits: " in replayed.stdout
    assert "under the random schedule of seed" in replayed.stdout
    moved = tmp_path / "elsewhere.py"
    moved.write_text(WRONG_ORDER)
    assert command("replay", record, "--scenario", moved).returncode == 1
    path.unlink()
    assert command("replay", record).returncode == 2


def test_same_findings_in_every_arrangement(scenario, tmp_path, command, explored):
    path = scenario(LOST_UPDATE)
    found = []
    for name, arguments in (("one", []), ("two", ["--jobs", 2])):
        told = explored(path, tmp_path / name, "--schedules", 230, "--seed", 7, *arguments)
        found.append((told["runs"], told["failures"], told["runs_by_strategy"], [
            (one["signature"], one["run"], one["count"], one["shrunk"]["after"])
            for one in told["findings"]]))
        found[-1] += tuple(sorted(file.read_text() for file in (tmp_path / name).glob("*.record")))
    assert found[0] == found[1]


def test_a_scenario_that_is_not_on_this_machine_fails_the_same_way(scenario, tmp_path):
    path = scenario(LOST_UPDATE)
    here = explore(trial_for(str(path), LOST_UPDATE), schedules=50)
    away = explore(trial_for("/no/such/folder/some_scenario.py", LOST_UPDATE), schedules=50)
    assert here["findings"][0]["signature"] == away["findings"][0]["signature"]
    assert here["findings"][0]["record"] == away["findings"][0]["record"]


def test_exhaustive_search_says_what_is_done(scenario, tmp_path, command, explored):
    path = scenario(WRONG_ORDER)
    whole = explored(path, tmp_path / "out", "--strategy", "exhaustive")
    assert whole["space"].startswith("the whole space is done: ")
    assert [one["count"] > 0 for one in whole["findings"]] == [True]
    assert whole["findings"][0]["shrunk"]["after"]["moves"] == 2
    bounded = explored(path, tmp_path / "out", "--strategy", "exhaustive", "--departures", 1)
    assert bounded["space"].startswith("all runs with at most 1 departures are done: ")
    assert bounded["runs"] < whole["runs"] and bounded["findings"] == []
    spread = explored(path, tmp_path / "out", "--strategy", "exhaustive", "--jobs", 2)
    assert (spread["runs"], spread["space"]) == (whole["runs"], whole["space"])


@pytest.mark.parametrize("strategy", ["portfolio", "exhaustive"])
def test_resumes_where_it_stopped(scenario, tmp_path, strategy, command, explored):
    path = scenario(LOST_UPDATE.replace("range(5)", "range(3)"))
    arguments = ["--strategy", strategy]
    whole = explored(path, tmp_path / "whole", "--schedules", 500, *arguments)
    part = explored(path, tmp_path / "part", "--schedules", 120, *arguments)
    assert part["runs"] < whole["runs"]
    rest = explored(path, tmp_path / "part", "--schedules", 500, "--resume", *arguments)
    keys = ("runs", "failures", "runs_by_strategy", "space")
    assert {key: rest[key] for key in keys} == {key: whole[key] for key in keys}
    refused = command("explore", path, "--out", tmp_path / "part", "--resume", "--seed", 9)
    assert (refused.returncode, "cannot resume" in refused.stderr) == (2, True)


def test_interrupt_keeps_what_was_found(scenario, tmp_path, command, explored):
    path = scenario(LOST_UPDATE)
    running = subprocess.Popen(
        [sys.executable, "-P", "-m", "blockstep", "explore", str(path), "--out",
         str(tmp_path / "out"), "--json", "--schedules", "100000000", "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out/state.json").exists():
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGINT)
    out, _err = running.communicate(timeout=60)
    told = json.loads(out)
    assert running.returncode == 1
    assert told["interrupted"] and told["findings"][0]["shrunk"] is None
    assert json.loads((tmp_path / "out/state.json").read_text())["next_run"] == told["runs"]
    assert command("replay", told["findings"][0]["record"]).returncode == 1


def test_swarm_finds_what_needs_a_feature_left_out(scenario, tmp_path, command, explored):
    path = scenario(STUCK)
    told = explored(path, tmp_path / "out", "--strategy", "swarm", "--schedules", 60)
    assert [one["signature"].split(":")[0] for one in told["findings"]] == ["Deadlock"]
    assert told["findings"][0]["critical"]["text"] in ("'reply' is left out",
                                                       "'half' (no. 1) is 1 of 2")
    assert explored(path, tmp_path / "out", "--strategy", "random,few:2")["findings"] == []


def test_what_always_fails_is_told_so(scenario, tmp_path, command, explored):
    path = scenario("async def main(world):\n    raise ValueError(f'step {world.now_ns + 7}')\n")
    done = command("explore", path, "--out", tmp_path / "out", "--schedules", 20)
    assert "FAILURE 1 of 1: ValueError in main: " in done.stdout
    assert "20 of 20 runs; first run 0 (fifo), seed 0" in done.stdout
    assert (f"the ordinary run fails as well: ./blockstep run {path} --schedule fifo --seed 0"
            in done.stdout)
    assert command("run", path, "--schedule", "fifo", "--seed", 0).returncode == 1
    assert "no single choice makes the difference: all runs around it fail as well" in done.stdout


def test_progress_on_a_terminal(scenario, tmp_path):
    path = scenario(LOST_UPDATE)
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "blockstep", "explore", str(path), "--out",
         str(tmp_path / "with a space"), "--schedules", "5000"], stderr=theirs,
        stdout=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "; shrinking failure 1 of 1 (an interrupt leaves it as it is)" in shown
    assert re.search(r"\r\033\[K\d+ runs, \d+ failed in 1 way, \d+/s", shown)
    assert shown.endswith("\r\033[K") and shown.count("\n") == 0
    assert re.search(r"again: \./blockstep replay '.*with a space/\w+\.record'\n", done.stdout)


def test_refusals_are_shown_where_the_scenario_asked(scenario, tmp_path, command):
    path = scenario("async def main(world):\n    await world.vm().blockdev_add('a', 'raw')\n")
    done = command("explore", path, "--out", tmp_path / "out", "--schedules", 20)
    assert "await world.vm().blockdev_add('a', 'raw')\n  blockstep.errors.QmpError" in done.stdout
    assert "pybind/blockstep" not in done.stdout
    assert "vm.py" not in command("run", path).stdout


def test_nothing_to_find(scenario, tmp_path, command, explored):
    done = command("explore", scenario(GOOD), "--out", tmp_path / "out", "--schedules", 50)
    assert (done.returncode, done.stdout.count("FAILURE")) == (0, 0)
    assert "50 runs, none failed" in done.stdout
    assert explored(scenario(GOOD), tmp_path / "out", "--time", "0.2")["runs"] > 0


def test_reports_show_fault_and_critical_step(scenario, tmp_path, command, explored):
    done = command("explore", scenario(LOST_UPDATE), "--out", tmp_path / "out", "--report",
                   tmp_path / "report")
    page = [line for line in done.stdout.splitlines() if line.startswith("  report: ")]
    assert len(page) == 1 and os.path.exists(page[0].split()[-1])
    told = explored(scenario(LOST_UPDATE), tmp_path / "out", "--report", tmp_path / "report")
    folder = next((tmp_path / "report").iterdir())
    run = json.loads((folder / "run.json").read_text())
    assert run["faults"][0]["text"] == "the disk is slow"
    assert run["digest"] == json.loads(
        command("replay", told["findings"][0]["record"], "--json").stdout)["digest"]
    seed = told["findings"][0]["seed"]
    assert f'name="seed" value="{seed}"' in (folder / "junit.xml").read_text()
    command("replay", told["findings"][0]["record"], "--report", tmp_path / "again")
    assert (tmp_path / "again/report.html").stat().st_size < 2_000_000


@pytest.mark.parametrize("arguments, message", [
    (["explore", "no/such.py"], "blockstep: no such scenario: no/such.py"),
    (["explore", "SCENARIO", "--strategy", "best"], "blockstep: no strategy 'best' (known: "),
    (["explore", "SCENARIO", "--schedules", "0"], "blockstep: --schedules takes a number from 1"),
    (["explore", "SCENARIO", "--jobs", "2", "--dask", "x"], "blockstep: --jobs and --dask exclude"),
    (["explore", "SCENARIO", "--resume", "--out", "/no/dir"], "blockstep: cannot resume from "),
    (["replay", "no/such"], "blockstep: cannot replay no/such: "),
    (["replay", "SCENARIO"], "blockstep: cannot replay "),
])
def test_wrong_command_lines(scenario, arguments, message, command):
    path = scenario(GOOD)
    done = command(*(str(path) if word == "SCENARIO" else word for word in arguments))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(message)
