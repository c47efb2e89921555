# SPDX-License-Identifier: Apache-2.0
"""pytest plugin: a world for each test, a seed for the run, and how to repeat a failure.

    python3 -m pytest -p blockstep.pytest_plugin [--seed N]

fixtures  seed, world (closed after the test), vm (a virtual machine in that world)
Coroutine tests (`async def test_...`) run inside their world. After a failure the last line names
the seed and the command that repeats the first failed test.
"""
import inspect
import os
import pathlib
import shlex
import sys

import pytest

from blockstep.world import World


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, metavar="N",
                     help="seed of every test's world (default 0)")


def pytest_configure(config):
    config.pluginmanager.register(FailureReport(config), "blockstep failures")


@pytest.fixture
def seed(request) -> int:
    """The run's seed."""
    return request.config.getoption("--seed")


@pytest.fixture
def world(seed):
    """A world with the run's seed and a random schedule."""
    with World(seed=seed, schedule="random") as world:
        yield world


@pytest.fixture
def vm(world):
    """A virtual machine on the world's store."""
    return world.vm()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Coroutine tests are driven by the world they ask for."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    world = pyfuncitem.funcargs.get("world") or getattr(pyfuncitem.funcargs.get("vm"), "world",
                                                        None)
    if world is None:
        pytest.fail("a coroutine test needs the fixture `world` or `vm`")
    names = pyfuncitem._fixtureinfo.argnames
    world.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


class FailureReport:
    """Remembers the first failure, and prints after everything else how to repeat it."""

    def __init__(self, config):
        self.config = config
        self.failed = None

    def pytest_runtest_logreport(self, report):
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_unconfigure(self):
        if self.failed is not None:
            seed = self.config.getoption("--seed")
            print(f"failing seed {seed}; again: {command(self.config, self.failed, seed)}")


def command(config, nodeid: str, seed: int) -> str:
    """A line for a shell in any folder."""
    path, separator, rest = nodeid.partition("::")
    test = str(pathlib.Path(config.rootpath, path)) + separator + rest
    variables = [f"{name}={shlex.quote(os.environ[name])}"
                 for name in ("PYTHONPATH", "BLOCKSTEP_BUILD") if name in os.environ]
    words = [sys.executable, "-m", "pytest", "-p", "blockstep.pytest_plugin", "--seed", str(seed),
             test]
    return " ".join([*variables, *map(shlex.quote, words)])
