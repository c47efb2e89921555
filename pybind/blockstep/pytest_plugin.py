# SPDX-License-Identifier: Apache-2.0
"""pytest plugin: a world for each test, a seed for the run, and how to repeat a failure.

    python3 -m pytest -p blockstep.pytest_plugin [--seed N]

fixtures  seed, world (closed after the test), vm (a virtual machine in that world)
markers   world(platform="workstation", ...): options of the fixture `world`, as of blockstep.World
          apart: the test has a process of its own

Coroutine tests (`async def test_...`) run inside their world. After a failure the last line names
the seed and the command that repeats the first failed test.

A process can have only one world that takes time on a platform. So a test whose marker asks for
such a one, and each that is marked `apart`, runs in a copy of this process, set-up and tear-down of
what it alone uses included. Fixtures that other tests before it have set up are there, and stay.
"""
import inspect
import os
import pathlib
import pickle
import shlex
import sys
import time

import pytest
from _pytest.runner import runtestprotocol

from blockstep.apart import run_apart
from blockstep.world import World, is_timed


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, metavar="N",
                     help="seed of every test's world (default 0)")


def pytest_configure(config):
    config.addinivalue_line("markers", "world(**options): options of the test's world")
    config.addinivalue_line("markers", "apart: the test has a process of its own")
    config.pluginmanager.register(FailureReport(config), "blockstep failures")


@pytest.fixture
def seed(request) -> int:
    """The run's seed."""
    return request.config.getoption("--seed")


@pytest.fixture
def world(request, seed):
    """A world with the run's seed and a random schedule, unless the marker `world` says another."""
    with World(**{"seed": seed, "schedule": "random", **world_options(request.node)}) as world:
        yield world


def world_options(item) -> dict:
    """What the test's marker says, over what that of its class or module says."""
    options = {}
    for marker in item.iter_markers("world"):
        options = marker.kwargs | options
    return options


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Tests that need a process of their own run in one; what they report comes back as text."""
    if item.get_closest_marker("apart") is None and not is_timed(world_options(item)):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports_of_copy(item):
        item.ihook.pytest_runtest_logreport(report=report)
    # What others set up, in this process, and the next test does not need.
    ended = pytest.CallInfo.from_call(
        lambda: item.session._setupstate.teardown_exact(nextitem), when="teardown")
    if ended.excinfo is not None:
        item.ihook.pytest_runtest_logreport(
            report=item.ihook.pytest_runtest_makereport(item=item, call=ended))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def reports_of_copy(item) -> list[pytest.TestReport]:
    """Runs the test in a copy of this process. One that dies has failed."""
    hook = item.config.hook

    def run() -> str:
        # What was set up before is still needed: nobody here may end it.
        for finalizers, _error in item.session._setupstate.stack.values():
            finalizers.clear()
        for fixtures in item.session._fixturemanager._arg2fixturedefs.values():
            for one in fixtures:
                one._finalizers.clear()
        return pickle.dumps([
            hook.pytest_report_to_serializable(config=item.config, report=report)
            for report in runtestprotocol(item, log=False, nextitem=None)]).hex()

    began = time.time()
    reports, death = run_apart(run)
    if not death:
        return [hook.pytest_report_from_serializable(config=item.config, data=report)
                for report in pickle.loads(bytes.fromhex(reports))]
    said = item.config.pluginmanager.getplugin("capturemanager").read_global_capture()
    captured = [(f"Captured {name} call", text)
                for name, text in zip(("stdout", "stderr"), said) if text]
    return [pytest.TestReport(
        item.nodeid, item.location, {name: 1 for name in item.keywords}, outcome="failed",
        longrepr=death.rstrip(), when="call", sections=captured, duration=time.time() - began)]


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
