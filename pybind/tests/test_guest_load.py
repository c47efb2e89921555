# SPDX-License-Identifier: Apache-2.0
"""Holds:   a guest load does what it is told, by kinds and places; whatever it reads is checked,
         also what Python writes beside it, what another machine finds after a power cut and what
         is there at the end; it ends with its disk; the explorer leaves out its requests and kinds
         of them; no machine's loads know of another's; wrong options are named.
Method:  loads on small images in memory, which lose or change data on purpose.
"""
import errno
import json

import pytest

from blockstep import (AssertionFailure, GuestContents, GuestIoError, KiB, MemoryStore, MiB,
                       QmpError, World, ms)
from blockstep.__main__ import main as blockstep

SIZE = 1 * MiB


async def plugged(vm, **properties):
    await vm.blockdev_add("disk", "raw", file={"driver": "file", "filename": "disk"},
                          discard="unmap")
    await vm.device_add("virtio-blk-pci", "vda", {"drive": "disk", **properties})
    await vm.cont()
    return vm


@pytest.fixture
def machine(world):
    """A machine that drives `vda`, on a disk of zeroes."""
    world.store.put("disk", bytes(SIZE))
    return world.run(plugged(world.vm()))


def total(done) -> int:
    return done.reads + done.writes + done.zeroes + done.discards + done.flushes


async def test_does_what_it_is_told(machine):
    done = await machine.guest_load("vda", operations=300)
    assert total(done) == 300 and min(
        done.reads, done.writes, done.zeroes, done.discards, done.flushes) > 0
    assert (done.failed, done.left_out, done.cut_off) == (0, 0, 0)
    only = await machine.guest_load("vda", operations=20, reads=16, zeroes=0, discards=0,
                                    flushes=0)
    assert only.reads == 20
    assert "20 reads, 0 writes" in repr(only)


async def test_keeps_to_its_place(machine):
    await machine.guest_load("vda", operations=400, area=8 * KiB, pieces=3, stride=64 * KiB,
                             longest=2 * KiB, zeroes=0, discards=0)
    data = machine.store.get("disk")
    for begin in (0, 64 * KiB, 128 * KiB):
        assert any(data[begin:begin + 8 * KiB])
        data = data[:begin] + bytes(8 * KiB) + data[begin + 8 * KiB:]
    assert not any(data)
    assert await machine.guest_verify("vda") == 3 * 64 * KiB


def test_is_the_same_each_time(seed):
    def digest():
        with World(seed=seed, schedule="random") as world:
            world.store.put("disk", bytes(SIZE))
            async def run():
                vm = await plugged(world.vm())
                await world.gather(vm.guest_load("vda", think=5), vm.guest_load("vda", think=5))
            world.run(run())
            return world.digest
    assert digest() == digest()


def test_a_moment_is_amid_a_load():
    """Its requests take no time, and still a moment lies before, among and after them."""
    def events_left(seed):
        with World(seed=seed, schedule="random") as world:
            world.store.put("disk", bytes(SIZE))
            async def run():
                vm = await plugged(world.vm())
                load = vm.guest_load("vda", operations=8)
                begun = world.events_run
                await world.moment("the moment")
                moment = world.events_run
                was_done = load.done
                await load
                return moment - begun, was_done, world.events_run - moment
            return world.run(run())
    moments = [events_left(seed) for seed in range(30)]
    assert any(was_done for _before, was_done, _after in moments)
    amid = [before for before, was_done, after in moments if not was_done and after > 3 < before]
    assert len(amid) > 10 and len(set(amid)) > 5


def test_what_a_machine_does_is_its_own_affair(seed):
    """What the second machine's loads write is the same with and without those of the first, and
    not what the first one's write."""
    def contents(first_works):
        with World(seed=seed, schedule="random") as world:
            async def run():
                machines = []
                for store in (world.store, MemoryStore(world)):
                    store.put("disk", bytes(SIZE))
                    machines.append(await plugged(world.vm(store)))
                first, second = machines
                if first_works:
                    await first.guest_load("vda", operations=30)
                await second.guest_load("vda", operations=30)
                return [vm.store.get("disk") for vm in machines]
            return world.run(run())
    (_, alone), (first, second) = contents(False), contents(True)
    assert second == alone and second != first


async def test_whoever_writes_what_it_reads_is_known(machine):
    disk = await machine.guest_disk("vda")
    await disk.write(0, b"w" * 4 * KiB)  # before: learned when it is read
    load = machine.guest_load("vda", operations=200, area=16 * KiB)
    for number in range(30):
        await disk.write(number % 8 * KiB, bytes([number]) * 2 * KiB)
        await disk.read(0, 16 * KiB)
    await load
    assert await machine.guest_verify("vda") == 64 * KiB
    with pytest.raises(GuestIoError):  # nothing to know there, and no room for it either
        await disk.write(1 << 60, b"w" * 512)


@pytest.mark.parametrize("how", ["load", "verify", "disk"])
def test_wrong_data_ends_the_run(world, machine, how):
    async def run():
        await machine.guest_load("vda", operations=60, area=4 * KiB, reads=0)
        machine.store.patch("disk", 0, b"x" * 4 * KiB)
        if how == "load":
            await machine.guest_load("vda", operations=40, area=4 * KiB, reads=16, zeroes=0,
                                     discards=0, flushes=0)
        elif how == "verify":
            await machine.guest_verify("vda")
        else:
            await (await machine.guest_disk("vda")).read(0, 512)
    with pytest.raises(AssertionFailure, match="disk 'vda': sector . .* reads as data that nobody"):
        world.run(run())


async def test_failures_end_it_or_are_counted(machine):
    machine.store.fail("disk", "write", times=1)
    with pytest.raises(GuestIoError) as error:
        await machine.guest_load("vda", operations=50, reads=0, zeroes=0, discards=0, flushes=0)
    assert error.value.errno == errno.EIO
    machine.store.fail("disk", "write", times=3)
    done = await machine.guest_load("vda", operations=50, errors_allowed=True, reads=0, zeroes=0,
                                    discards=0, flushes=0)
    assert (done.writes, done.failed) == (47, 3)
    await machine.guest_verify("vda")


async def test_ends_with_its_disk(machine):
    machine.store.set_latency("disk", 1 * ms)
    load = machine.guest_load("vda", operations=100)
    await machine.world.sleep(5 * ms)
    await machine.device_del("vda")
    done = await load
    assert 0 < total(done) < 100 and total(done) + done.cut_off == 100
    # The same contents when it is plugged in again.
    await machine.device_add("virtio-blk-pci", "vda", drive="disk")
    await machine.guest_verify("vda")
    assert await machine.guest_verify("vda") == 64 * KiB


async def test_goes_on_until_it_is_told(machine):
    job = machine.world.start(sleep_a_while(machine.world))
    done = await machine.guest_load("vda", operations=2, until=job)
    assert job.done and 45 < total(done) < 55 and machine.world.now_ns >= 50 * ms


async def sleep_a_while(world):
    await world.sleep(50 * ms)


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("cache", ["on", "off"])
def test_what_was_flushed_is_there_after_a_power_cut(world, lies, cache):
    """cache off: every write that was acknowledged counts as flushed."""
    world.store.put("disk", bytes(SIZE))
    contents = GuestContents("the disk")
    flushes = {"flushes": 0 if cache == "off" else 2}

    async def run():
        vm = await plugged(world.vm(), **{"write-cache": cache})
        await vm.guest_load("vda", operations=100, contents=contents, discards=0, **flushes)
        if cache == "on":
            await (await vm.guest_disk("vda")).flush()
        elif lies:
            world.store.set_latency("disk", 1)
        lost = world.store.get("disk")
        load = vm.guest_load("vda", operations=100, errors_allowed=True, contents=contents,
                             **flushes)
        await world.sleep(1 * ms if cache == "off" else 0)
        world.power_cut()
        await load
        if lies:
            world.store.put("disk", bytes(len(lost)))
        vm = await plugged(world.vm())
        return await vm.guest_verify("vda", contents)

    if lies:
        with pytest.raises(AssertionFailure, match="disk 'the disk': sector "):
            world.run(run())
    else:
        assert world.run(run()) == 64 * KiB


async def test_contents_belong_to_one_device(machine):
    await machine.guest_load("vda")
    with pytest.raises(RuntimeError, match="disk 'vda' has contents of its own already"):
        machine.guest_verify("vda", GuestContents("other"))
    with pytest.raises(QmpError, match="Device 'vdb' not found"):
        await machine.guest_load("vdb")


async def test_requests_under_way_must_be_known(machine):
    disk = await machine.guest_disk("vda")
    machine.store.set_latency("disk", 1 * ms)
    write = disk.write(0, b"w" * 512)
    await machine.world.sleep(0)
    with pytest.raises(RuntimeError, match="disk 'vda' has requests under way: nobody would know"):
        machine.guest_load("vda")
    await write
    await machine.guest_load("vda")


@pytest.mark.parametrize("options, message", [
    ({"reads": 10, "zeroes": 9}, r"chances out of 16, together: 10 \+ 9 \+ 1 \+ 1"),
    ({"longest": 17 * MiB}, "longest: 17825792 bytes in one request, more than 16 MiB"),
    ({"pieces": 0}, "pieces: at least 1"),
    ({"pieces": 2}, "stride: pieces of 65536 bytes overlap when each begins 0 bytes after"),
    ({"area": 1000}, "area: 1000 bytes are not whole blocks of 512 bytes on disk 'vda'"),
    ({"longest": 0}, "longest: 0 bytes are not whole blocks of 512 bytes"),
    ({"area": 1 * KiB}, "longest: a request of 4096 bytes does not fit an area of 1024"),
    ({"area": 2 * MiB}, "area: 1 pieces of 2097152 bytes, 0 bytes apart, do not fit disk 'vda' of"),
    ({"pieces": 3, "stride": 512 * KiB}, "do not fit disk 'vda' of 1048576 bytes"),
])
async def test_wrong_options_are_named(machine, options, message):
    with pytest.raises(ValueError, match=message):
        await machine.guest_load("vda", **options)


async def test_blocks_of_4_kib(world):
    world.store.put("disk", bytes(SIZE))
    vm = await plugged(world.vm(), logical_block_size=4096, physical_block_size=4096)
    done = await vm.guest_load("vda", operations=100, longest=16 * KiB)
    assert total(done) == 100
    with pytest.raises(ValueError, match="longest: 512 bytes are not whole blocks of 4096"):
        await vm.guest_load("vda", longest=512)


LOST_WRITE = """
from blockstep import KiB, scenario

@scenario
async def main(world):
    world.store.put("disk", bytes(1 << 20))
    vm = world.vm()
    await vm.blockdev_add("disk", "raw", file={"driver": "file", "filename": "disk"})
    await vm.device_add("virtio-blk-pci", "vda", drive="disk")
    await vm.cont()
    load = vm.guest_load("vda", operations=30, area=4 * KiB, zeroes=0, think=3)
    await world.moment("something happens to the medium")
    if world.choose(2, "what") == 1:
        world.store.patch("disk", 0, b"x" * 4096)
    done = await load
    if not world.feature("looked at in the end"):
        return
    await vm.guest_verify("vda")
"""


def test_the_explorer_leaves_out_requests(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    path = tmp_path / "some_scenario.py"
    path.write_text(LOST_WRITE)
    assert blockstep(["explore", str(path), "--out", str(tmp_path / "out"), "--schedules", "300",
                      "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert len(told["findings"]) == 1  # one way to fail, whichever sector it shows at
    finding = told["findings"][0]
    assert finding["signature"] == ("AssertionFailure: disk 'vda': sector # (byte #) reads as data "
                                    "that nobody wrote, not as the last acknowledged write")
    assert finding["shrunk"]["before"]["operations"] > 2
    assert finding["shrunk"]["after"]["operations"] <= 2
    assert "'what' (no. 1) is 1 of 2" in finding["critical"]["text"]
