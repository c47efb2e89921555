# SPDX-License-Identifier: Apache-2.0
"""Holds:   `run` says how a scenario ended, in words, JSON and exit status; a repeated run has the
         same digest and a report replays; wrong command lines end with status 2 and one line.
Method:  small scenarios in scratch files, run as a user would.
"""
import json
import re
import subprocess
import sys

import pytest

GOOD = """
async def main(world):
    names = {"b", "a", "c"}
    for name in names:
        await world.sleep(1000)
        world.note(name)
    return len(names)
"""
BAD = """
async def main(world):
    await world.sleep(5)
    raise ValueError("broken on purpose")
"""
UNSTEADY = """
import os
async def main(world):
    world.note(str(os.getpid()))
"""
UNTRACED = """
import pathlib
async def main(world):
    count = pathlib.Path(__file__).with_suffix(".count")
    if count.exists():
        raise ValueError("only the first run is good")
    count.touch()
"""
PLUGGING = """
from blockstep import refused
async def main(world):
    vm = world.vm()
    await vm.blockdev_add("disk", "null-co", size=1 << 20)
    await vm.device_add("virtio-blk-pci", "d0", drive="disk")
    world.note("plugged")
    await refused(vm.device_add("virtio-blk-pci", "d1", drive="disk"))
    await vm.cont()
    world.power_cut()
"""
CHOOSING = """
async def worker(world, name):
    for _ in range(5):
        await world.sleep(0)
        world.note(name)

async def main(world):
    await world.gather(*(worker(world, name) for name in "abc"))
"""


def command(*arguments):
    return subprocess.run([sys.executable, "-P", "-m", "blockstep", *map(str, arguments)],
                          capture_output=True, text=True, check=False)


@pytest.fixture
def scenario(tmp_path):
    def write(text):
        path = tmp_path / "some_scenario.py"
        path.write_text(text)
        return path
    return write


def test_passing_scenario(scenario):
    done = command("run", scenario(GOOD), "--seed", 4)
    *timeline, last = done.stdout.splitlines()
    assert done.returncode == 0
    assert sorted(line.split("  ")[-1] for line in timeline) == ["a", "b", "c"]
    assert last.startswith("passed  seed 4  digest ")


def test_long_notes_go_over_several_lines(scenario):
    text = "word " * 40 + "x" * 120
    done = command("run", scenario(f"async def main(world):\n    world.note({text!r})\n"))
    *lines, _last = done.stdout.splitlines()
    assert len(lines) == 4 and " ".join(" ".join(lines).split()) == f"0.000 ms {text}"
    assert all(line.startswith(" " * 17) for line in lines[1:])


def test_json_of_any_process_is_the_same(scenario):
    runs = [json.loads(command("run", scenario(GOOD), "--json").stdout) for _ in range(3)]
    for run in runs:
        assert run.pop("wall_s") < 5
    assert runs[0] == runs[1] == runs[2]
    assert (runs[0]["outcome"], runs[0]["simulated_ns"], runs[0]["result"]) == ("passed", 3000, 3)


def test_failing_scenario_shows_where_and_how_to_repeat(scenario):
    path = scenario(BAD)
    done = command("run", path, "--seed", 9)
    assert done.returncode == 1
    assert 'raise ValueError("broken on purpose")' in done.stdout
    assert done.stdout.splitlines()[-1] == f"again: ./blockstep run {path} --seed 9"
    told = json.loads(command("run", path, "--json").stdout)
    assert (told["outcome"], told["error"].splitlines()[-1]) == (
        "failed", "ValueError: broken on purpose")


def test_the_first_run_that_differs_is_shown_with_its_first_differing_event(scenario):
    done = command("run", scenario(UNSTEADY), "--repeat", 3)
    assert done.returncode == 1
    text = done.stdout
    assert "run 2 differs from run 1: passed and passed, digests " in text
    assert re.search(r"trace event \d+ differs, after\n(    .*\n)*  - .* note .*\n  \+ .* note ",
                     text)


def test_what_is_not_traced_is_told_too(scenario):
    path = scenario(UNTRACED)
    told = json.loads(command("run", path, "--repeat", 9, "--json").stdout)
    assert told["outcome"] == "failed"
    assert "run 2 differs from run 1: passed and failed" in told["error"]


def test_repeated_runs_agree(scenario):
    told = json.loads(command("run", scenario(CHOOSING), "--repeat", 5, "--json").stdout)
    assert (told["outcome"], told["runs"]) == ("passed", 5)
    once = json.loads(command("run", scenario(CHOOSING), "--json").stdout)
    assert once["digest"] == told["digest"]


def test_report_holds_what_replays_the_run(scenario, tmp_path):
    path, report = scenario(CHOOSING), tmp_path / "report"
    first = command("run", path, "--seed", 5, "--report", report)
    assert {file.name for file in report.iterdir()} == {
        "report.html", "run.json", "trace.perfetto.json", "junit.xml", "trace.txt",
        "choices.txt"}
    assert first.stdout.splitlines()[-1] == f"report: {report / 'report.html'}"
    again = command("run", path, "--schedule", report / "choices.txt", "--json")
    assert f"digest {json.loads(again.stdout)['digest']} " in first.stdout
    assert command("run", path, "--seed", 6).stdout != first.stdout


def test_report_tells_commands_events_and_graphs(scenario, tmp_path):
    command("run", scenario(PLUGGING), "--report", tmp_path / "report")
    told = json.loads((tmp_path / "report/run.json").read_text())
    assert [(one["name"], one["error"] is None) for one in told["commands"]] == [
        ("blockdev-add", True), ("device_add", True), ("device_add", False), ("cont", True)]
    assert told["commands"][2]["refusal"]["node"] == "disk"
    assert "does not share" in told["commands"][2]["reason"]
    assert [one["name"] for one in told["events"]] == ["RESUME"]
    assert [one["cause"] for one in told["graphs"]] == ["blockdev-add", "device_add"]
    assert [note["text"] for note in told["timeline"]] == ["plugged"]
    assert [fault["text"] for fault in told["faults"]] == [
        "power cut: 0 writes of the host are not flushed"]
    assert told["trace_events"] > 0
    assert "-> main on main" in (tmp_path / "report/trace.txt").read_text()


def test_a_report_that_cannot_be_written_is_one_line(scenario, tmp_path):
    (tmp_path / "file").touch()
    done = command("run", scenario(GOOD), "--report", tmp_path / "file")
    assert done.returncode == 2
    assert done.stderr.startswith("blockstep: cannot write the report: ")


@pytest.mark.parametrize("text, message", [
    ("x = 1\n", "a scenario has an `async def main(world)`"),
    ("def main(world):\n    pass\n", "a scenario has an `async def main(world)`"),
    ("async def main(world)\n", "cannot be loaded"),
    ("import no_such_module\n", "cannot be loaded: No module named 'no_such_module'"),
])
def test_files_that_are_no_scenario(scenario, text, message):
    done = command("run", scenario(text))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize("arguments, message", [
    (["run", "no/such.py"], "blockstep: no such scenario: no/such.py"),
    (["run"], "blockstep: the following arguments are required: SCENARIO"),
    (["run", "x.py", "--seed", "many"], "blockstep: argument --seed: invalid int value: 'many'"),
    (["run", "x.py", "--repeat", "0"], "blockstep: --repeat takes a number from 1 up"),
    (["run", "x.py", "--schedule", "nowhere"], "blockstep: cannot replay nowhere: "),
    (["graph"], "blockstep: graph takes a scenario or --socket PATH"),
    (["graph", "--socket", "/no/socket"], "blockstep: no QMP server answers on /no/socket: "),
])
def test_wrong_command_lines(arguments, message):
    done = command(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(message)
