# SPDX-License-Identifier: Apache-2.0
"""Holds:   faults of files strike at the schedule's choice, at sites with stable names, and reach
         who does I/O through a machine; explore names the one that matters.
Method:  a backend that writes and reads back through a raw node, with faults armed on its file.
"""
import errno

import pytest

from blockstep import GuestIoError, World
from blockstep.explore import ScenarioTrial, explore
from blockstep.scenario import Scenario

KINDS = ("error", "no-space", "torn", "slow", "late", "lies")


async def disk(world, *kinds):
    """A backend on a disk of 64 KiB whose file has these faults."""
    vm = world.vm()
    world.store.put("disk", bytes(65536))
    await vm.qmp("blockdev-add", {"driver": "file", "node-name": "f", "filename": "disk"})
    backend = vm.backend("f", use=("consistent-read", "write"))
    world.store.arm("disk", kinds, wait_ns=1000)
    return backend


async def write_and_read(world, *kinds):
    backend = await disk(world, *kinds)
    await backend.write(0, b"x" * 4096)
    await backend.flush()
    assert world.store.get_durable("disk", 0, 4096) == b"x" * 4096, "a flush lied"


def signatures(kind):
    trial = ScenarioTrial(Scenario(lambda world: write_and_read(world, kind), {}, __file__))
    findings = explore(trial, 200)["findings"]
    return sorted({one["signature"].rpartition(": ")[2] for one in findings})


@pytest.mark.parametrize("kind, told", [
    ("error", ["Input/output error"]),
    ("no-space", ["No space left on device"]),
    ("torn", ["Input/output error"]),
    ("slow", []),
    ("late", []),
    ("lies", ["a flush lied"]),
])
def test_each_kind_is_found_and_does_what_it_says(kind, told):
    assert signatures(kind) == told


def test_power_cuts_tear_what_was_not_flushed():
    async def cut(world):
        backend = await disk(world)
        await backend.write(0, b"a" * 4096)
        await backend.flush()
        await backend.write(0, b"b" * 4096)
        await world.moment("power cut")
        world.store.power_cut()
        left = world.store.get("disk", 0, 4096)
        world.note(f"{left.count(b'b')} bytes survive")
        assert left.strip(b"ab") == b"", "a flushed byte is lost"
        assert left in (b"a" * 4096, b"b" * 4096), "torn"

    found = explore(ScenarioTrial(Scenario(cut, {}, __file__)), 100)["findings"]
    assert [one["signature"].rpartition(": ")[2] for one in found] == ["torn"]


def test_plain_runs_have_no_faults():
    with World() as world:
        world.run(write_and_read(world, *KINDS))
        assert (world.now_ns, world.faults_injected) == (0, [])


def test_sites_have_stable_names_and_faults_can_be_limited():
    async def run(world):
        backend = await disk(world, "error")
        world.limit_faults(2)
        failed = 0
        for _ in range(200):
            try:
                await backend.write(0, b"x" * 512)
            except GuestIoError as error:
                assert error.errno == errno.EIO
                failed += 1
        return failed

    with World(schedule="random", seed=1) as world:
        assert world.run(run(world)) == 2
        assert [fault[3] for fault in world.faults_injected] == ["disk: write fails"] * 2
        with pytest.raises(ValueError, match="no fault 'fire'"):
            world.store.arm("disk", ["fire"])
        world.store.disarm("disk")
