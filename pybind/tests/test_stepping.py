# SPDX-License-Identifier: Apache-2.0
"""Holds:   a recorded run can be walked through forwards and backwards; the same event always looks
         the same, whichever way one came; a process that dies or does not end on the way leaves
         the user where they were, and it is told how; wrong commands are told.
Method:  `replay --step` with commands from standard input, on a scenario with a machine, one that
         fails and some that end their process; processes killed from outside.
"""
import os
import signal
import subprocess
import sys
import time

import pytest

from blockstep.commands import CommandError
from blockstep.explore.stepping import Shell, Walker
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
DYING = """
import os, signal
async def main(world):
    world.note("alive")
    for i in range(30):
        await world.sleep(1000)
    die()

def die():
    {death}
"""
FAILING = """
async def main(world):
    await world.gather(*(world.sleep(n) for n in range(5)))
    raise ValueError("on purpose")
"""


@pytest.fixture
def record(tmp_path):
    """The record of a scenario's random run, made when it did no harm yet."""
    def run(text, **headers):
        path = tmp_path / "some_scenario.py"
        path.write_text(text.replace("    die()", "    pass"))
        outcome = run_scenario(load_scenario(path), seed=3)
        path.write_text(text)
        made = path.with_suffix(".record")
        made.write_text(with_headers(outcome.record, scenario=path, **headers))
        return made
    return run


@pytest.fixture
def walk(record):
    """Walks through a scenario's random run; gives the answers to the commands."""
    def run(text, *commands, **headers):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "blockstep", "replay", record(text, **headers), "--step"],
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


def test_a_process_that_dies_leaves_the_user_where_they_were(walk):
    out = walk(DYING.format(death="os.kill(os.getpid(), signal.SIGSEGV)"), "goto 60", "goto end",
               "where", "back 20", "next 30", "next 1000", "notes", "quit")
    lines = out.splitlines()
    where = [line for line in lines if line.startswith("event ")]
    assert [line.split()[1] for line in where] == ["0", "60", "60", "40", "70"]
    died = [number for number, line in enumerate(lines) if "the process died: SIGSEGV" in line]
    assert len(died) == 2 and lines[died[0]] == lines[died[1]]
    event = int(lines[died[0]].split()[2].rstrip(":"))
    assert event > 70
    assert out.count(" in die\n") == 2  # the line of the scenario it was at
    assert "you stand at event 60:" in out and "you stand at event 70:" in out
    assert lines[-1].endswith("ms  alive")
    # Just before it there is something to look at.
    assert f"event {event - 1} at " in walk(DYING.format(death="os.abort()"), f"goto {event - 1}")


@pytest.mark.parametrize("death, said", [
    ("os.kill(os.getpid(), signal.SIGKILL)", "the process died: SIGKILL"),
    ("os._exit(3)", "the process ended with status 3")])
def test_whatever_it_dies_of(walk, death, said):
    out = walk(DYING.format(death=death), "goto end", "next 2")
    assert said in out and "you stand at event 0:" in out
    assert out.splitlines()[-1].startswith("event 2 at ")


def test_a_run_that_cannot_begin(record):
    path = record(MACHINE)
    path.with_suffix(".py").write_text(
        f"from blockstep import scenario\n@scenario(platform='no/such.xml'){MACHINE}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "blockstep", "replay", path, "--step"],
        input="where", capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2 and "no/such.xml" in done.stderr
    assert "blockstep: the run cannot begin: " in done.stderr


def test_somebody_kills_processes_that_stand_still(record, monkeypatch):
    monkeypatch.setattr(Walker, "show_pid", lambda self: os.getpid(), raising=False)

    def kill(walker):
        walker.send(("pid",))
        os.kill(walker.recv(), signal.SIGKILL)

    path = record(MACHINE, events=200)
    shell = Shell(load_scenario(path.with_suffix(".py")), path.read_text())
    try:
        shell.goto(40)
        kill(shell.here)
        assert "is gone" in shell.answer("where") and shell.event == 32
        assert shell.answer("next 8").startswith("event 40 at ")
        kill(shell.snapshots[32])
        assert "is gone" in shell.answer("back 4") and shell.event == 40
        assert shell.answer("back 4").startswith("event 36 at ")
        kill(shell.snapshots[0])
        assert "is gone" in shell.answer("goto 4") and shell.event == 36
        assert "no process is left" in shell.answer("goto 4")
        assert shell.answer("next").startswith("event 37 at ")
        kill(shell.here)
        assert "is gone" in shell.answer("where") and shell.event == 32
        kill(shell.here)
        with pytest.raises(CommandError, match="there is no other to go on from"):
            shell.answer("where")
    finally:
        shell.close()


def test_an_interrupt_ends_a_run_that_does_not(record, interruptible):
    path = record(DYING.format(death="while True: pass"))
    running = interruptible("replay", path, "--step", stdin=subprocess.PIPE)
    running.stdin.write("goto 10\ngoto end\n")
    running.stdin.flush()
    assert [running.stdout.readline()[:8] for _ in range(2)] == ["event 0 ", "event 10"]
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate("where\nquit\n", timeout=60)
    assert (running.returncode, errors) == (0, "")
    assert out.startswith("interrupted in event ") and "\nevent 10 at " in out
