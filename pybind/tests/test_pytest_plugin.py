# SPDX-License-Identifier: Apache-2.0
"""Holds:   the plugin gives each test a world of the run's seed, drives coroutine tests, and ends a
         failed run with a line that repeats the failure; tests with worlds that take a
         platform's time have processes of their own, and so have those that ask for one: what they
         come to is told like that of any other, fixtures included.
Method:  pytest run on scratch tests, and the printed line given to a shell.
"""
import subprocess

pytest_plugins = ["pytester"]

TESTS = """
import pytest

async def test_time(world):
    await world.sleep(7)
    assert world.now_ns == 7

def test_seed(world, seed):
    assert world.seed == seed == 12

@pytest.mark.parametrize("name", ["a b", "c"])
async def test_lottery(world, name):
    assert world.rng("lottery").below(1000) == -1, "never wins"
"""


def run(pytester, *arguments):
    return pytester.runpytest_subprocess("-p", "blockstep.pytest_plugin", *arguments)


def test_seed_and_coroutines(pytester):
    path = pytester.makepyfile(TESTS)
    run(pytester, "--seed", "12", "-k", "not lottery").assert_outcomes(passed=2)
    run(pytester, "--seed", "13", f"{path}::test_seed").assert_outcomes(failed=1)


def test_last_line_repeats_the_first_failure(pytester):
    path = pytester.makepyfile(TESTS)
    result = run(pytester, "--seed", "12")
    result.assert_outcomes(passed=2, failed=2)
    last = [line for line in result.outlines if line][-1]
    told, _, line = last.partition("; again: ")
    assert told == "failing seed 12"
    assert "--seed 12" in line and f"{path}::test_lottery[a b]" in line
    again = subprocess.run(line, shell=True, cwd="/", capture_output=True, text=True, check=False)
    assert "1 failed" in again.stdout and "never wins" in again.stdout


def test_a_passing_run_says_nothing(pytester):
    pytester.makepyfile("def test_nothing():\n    assert True\n")
    assert "again" not in run(pytester).stdout.str()


def test_coroutine_without_a_world_is_told_so(pytester):
    pytester.makepyfile("async def test_lost():\n    pass\n")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a coroutine test needs the fixture `world` or `vm`*"])


TIMED = """
import os, signal
import pytest
from blockstep.scenario import load_scenario, run_scenario

pytestmark = pytest.mark.world(event_limit=100000)
PID = os.getpid()

@pytest.mark.world(platform="workstation")
@pytest.mark.parametrize("disk", ["nvme0", "hdd0"])
async def test_disks_take_time(world, disk):
    world.store.put("disk", bytes(4096))
    world.store.set_disk("disk", disk)
    vm = world.vm()
    await vm.blockdev_add("disk", "file", filename="disk")
    await vm.backend("disk").read(0, 4096)
    assert world.now_ns > 0 and os.getpid() != PID

@pytest.mark.apart
@pytest.mark.parametrize("more", range(2))
def test_scenario(seed, more, tmp_path):
    path = tmp_path / "some_scenario.py"
    path.write_text("from blockstep import scenario\\n@scenario(platform='workstation')\\n"
                    "async def main(world): return await world.sleep(5)\\n")
    outcome = run_scenario(load_scenario(path), seed + more)
    assert outcome.passed, outcome.error

async def test_untimed(world):
    assert os.getpid() == PID
    for _ in range(100):
        await world.sleep(0)

@pytest.mark.world(event_limit=20)
async def test_options(world):
    assert os.getpid() == PID
    while True:
        await world.sleep(0)
"""


def test_worlds_that_take_time(pytester):
    pytester.makepyfile(TIMED)
    result = run(pytester, "-rA")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*EventLimit: more than 20 events*"])
    run(pytester, "-p", "no:cacheprovider", "-k", "not options", "-s").assert_outcomes(passed=5)


OUTCOMES = """
import os, signal, warnings
import pytest

pytestmark = pytest.mark.apart

def test_says():
    print("said before")
    assert [1, 2] == [1, 3]

@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_dies(number):
    print("said at last", flush=True)
    os.kill(os.getpid(), number)

def test_ends():
    os._exit(7)

@pytest.mark.EXPECTED(strict=True)
def test_expected():
    assert False

@pytest.fixture
def spoilt():
    yield
    raise RuntimeError("on the way out")

def test_teardown(spoilt):
    pass

def test_skipped():
    pytest.LEFT_OUT("not today")

def test_passes(record_property):
    record_property("seed", 5)
"""


def test_outcomes_of_processes_of_their_own(pytester):
    pytester.makepyfile(OUTCOMES.replace("EXPECTED", "xfail").replace("LEFT_OUT", "skip"))
    result = run(pytester, "--junitxml=report.xml")
    result.assert_outcomes(passed=2, failed=4, errors=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines([
        "*assert [[]1, 2] == [[]1, 3]*", "*said before*",
        "the process died: SIGSEGV", "*in test_dies*", "*said at last*",
        "the process died: SIGKILL", "*said at last*", "the process ended with status 7"])
    assert [line for line in result.outlines if "::test_says" in line][-1].startswith("failing")
    report = (pytester.path / "report.xml").read_text()
    assert 'errors="1" failures="4" skipped="2"' in report
    assert '<property name="seed" value="5"' in report


FIXTURES = """
import os
import pytest

LOG = os.environ["FIXTURE_LOG"]

def told(what):
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(what + chr(10))

@pytest.fixture(scope="session")
def everywhere():
    told("everywhere begins")
    yield
    told("everywhere ends")

@pytest.fixture(scope="module")
def here():
    told("here begins")
    yield
    told("here ends")

@pytest.fixture
def own():
    told("own begins")
    yield
    told("own ends")
"""


def test_fixtures_of_others_are_left_alone(pytester, monkeypatch):
    monkeypatch.setenv("FIXTURE_LOG", str(pytester.path / "log"))
    pytester.makeconftest(FIXTURES)
    pytester.makepyfile(
        test_a="import pytest\ndef test_1(here, everywhere): pass\n"
               "@pytest.mark.apart\ndef test_2(here, everywhere, own): pass\n",
        test_b="import pytest\n@pytest.mark.apart\ndef test_3(here): pass\n"
               "def test_4(everywhere): pass\n")
    run(pytester).assert_outcomes(passed=4)
    assert (pytester.path / "log").read_text().splitlines() == [
        "everywhere begins", "here begins", "own begins", "own ends", "here ends",
        "here begins", "here ends", "everywhere ends"]
