# SPDX-License-Identifier: Apache-2.0
"""Holds:   a Dask cluster finds what one process finds, for the same seeds, also when a worker is
         killed in the middle, and in runs that have a process of their own.
Method:  a scheduler and two workers on 127.0.0.1, as separate processes; one worker gets SIGKILL
         while its part of the search is under way; what is left of the cluster explores a scenario
         on a platform, one run of which kills its process.
"""
import os
import signal
import socket
import subprocess
import sys

import pytest

from blockstep.explore.campaign import Campaign, Spec

# Two ways to fail; slow enough that a worker can be killed in the middle of the search.
SCENARIO = """
import time
async def main(world):
    order = []
    async def put(name):
        order.append(name)
    time.sleep(0.002)
    await world.gather(*(put(name) for name in "abcd"))
    assert order[0] != "d", "too early"
    assert order[3] != "a", "too late"
"""
TIMED = """
import os
from blockstep import scenario

@scenario(platform="workstation")
async def main(world):
    world.store.put("disk", bytes(4096))
    world.store.set_disk("disk", "sata0")
    vm = world.vm()
    await vm.blockdev_add("disk", "file", filename="disk")
    await vm.backend("disk").read(0, 4096)
    harm = world.choose(8, "harm")
    assert harm != 1, f"harm at {world.now_ns}"
    if harm == 2:
        os.abort()
"""


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, and its two workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    log = open(tmp_path / "cluster.log", "w", encoding="utf-8")
    options = {"stdout": log, "stderr": log, "env": environment, "cwd": tmp_path}
    scheduler = subprocess.Popen(
        [sys.executable, "-P", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
         "--port", str(port), "--no-dashboard"], **options)
    address = f"tcp://127.0.0.1:{port}"
    workers = [subprocess.Popen(
        [sys.executable, "-P", "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
         "--no-nanny", "--no-dashboard", "--memory-limit", "0", "--host", "127.0.0.1"], **options)
        for _ in range(2)]
    yield address, workers
    for process in [*workers, scheduler]:
        process.kill()
        process.wait()
    log.close()


def found(campaign) -> list:
    return [(one.signature, one.run, one.seed, one.count, one.record, one.shrunk)
            for one in campaign.findings.values()]


def test_cluster_finds_the_same_and_survives_the_loss_of_a_worker(cluster, tmp_path):
    import distributed
    address, workers = cluster
    path = tmp_path / "some_scenario.py"
    path.write_text(SCENARIO)
    spec = Spec.of(str(path), strategies="random")
    alone = Campaign(spec)
    alone.search(schedules=600)
    assert len(alone.findings) == 2 and alone.failures > 100

    with distributed.Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    together, killed = Campaign(spec), []

    def kill_one(campaign):
        if campaign.runs >= 100 and not killed:
            killed.append(campaign.runs)
            workers[0].send_signal(signal.SIGKILL)

    together.search(schedules=600, dask=address, progress=kill_one)
    assert killed and workers[0].wait() == -signal.SIGKILL
    assert found(together) == found(alone)
    assert (together.runs, together.failures, together.runs_by_strategy) == (
        alone.runs, alone.failures, alone.runs_by_strategy)

    timed = tmp_path / "timed.py"
    timed.write_text(TIMED)
    spec = Spec.of(str(timed), strategies="random")
    alone, together = Campaign(spec), Campaign(spec)
    alone.search(schedules=40)
    together.search(schedules=40, dask=address)
    assert sorted(alone.findings) == [
        'AssertionError in main: assert harm != 1, f"harm at {world.now_ns}": harm at #',
        "the process died: SIGABRT"]
    assert found(together) == found(alone)
