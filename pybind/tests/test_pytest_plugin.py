# SPDX-License-Identifier: Apache-2.0
"""Holds:   the plugin gives each test a world of the run's seed, drives coroutine tests, and ends a
         failed run with a line that repeats the failure.
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
