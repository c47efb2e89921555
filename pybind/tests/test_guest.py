# SPDX-License-Identifier: Apache-2.0
"""Holds:   a guest disk goes through its device and back; hotplug, unplug, refusal, reset, removal
         without a word and power cuts leave no request hanging, and a disk that is gone says so;
         misuse is an exception, never a crash.
Method:  machines with virtio and SCSI disks on small images in memory, each moment made on purpose.
"""
import errno

import pytest

from blockstep import (KiB, MiB, Deadlock, GuestIoError, QmpError, Timeout, UnplugRefused, World,
                       ms)

SIZE = 1 * MiB


async def raw_disk(vm, name="disk"):
    vm.world.store.put(name, bytes(SIZE))
    return await vm.blockdev_add(name, "raw", file={"driver": "file", "filename": name},
                                 discard="unmap")


async def plugged(vm, driver="virtio-blk-pci", id="d0"):
    await raw_disk(vm)
    if driver == "scsi-hd":
        await vm.device_add("virtio-scsi-pci", "hba")
    await vm.device_add(driver, id, drive="disk")
    await vm.cont()
    return await vm.guest_disk(id)


async def io_error(future) -> int:
    with pytest.raises(GuestIoError) as error:
        await future
    return error.value.errno


@pytest.mark.parametrize("driver", ["virtio-blk-pci", "scsi-hd"])
async def test_requests_arrive_at_the_image(vm, driver):
    disk = await plugged(vm, driver)
    assert (disk.size, disk.block_size, disk.read_only, disk.lost) == (SIZE, 512, False, False)
    await disk.write(4 * KiB, b"\x5a" * 8 * KiB)
    assert await disk.read(4 * KiB, 8 * KiB) == b"\x5a" * 8 * KiB
    await disk.write_zeroes(4 * KiB, 512)
    await disk.discard(8 * KiB, 4 * KiB)
    await disk.flush()
    stored = vm.world.store.get_durable("disk", 4 * KiB, 4 * KiB)
    assert stored == bytes(512) + b"\x5a" * (4 * KiB - 512)
    assert await vm.guest_disk("d0") is not None and disk.in_flight == 0


async def test_many_requests_at_once(vm):
    disk = await plugged(vm)
    await vm.world.gather(*(disk.write(n * 4 * KiB, bytes([n]) * 4 * KiB) for n in range(200)))
    read = await vm.world.gather(*(disk.read(n * 4 * KiB, 4 * KiB) for n in range(200)))
    assert read == [bytes([n]) * 4 * KiB for n in range(200)]


async def test_misuse_is_an_exception(vm):
    disk = await plugged(vm)
    for call in (lambda: disk.read(1, 512), lambda: disk.write(0, b"x"),
                 lambda: disk.discard(0, 100), lambda: disk.read(0, 2 << 30)):
        with pytest.raises(ValueError):
            call()
    assert await io_error(disk.read(SIZE, 512)) == errno.EIO
    with pytest.raises(QmpError, match="Device 'nobody' not found"):
        await vm.guest_disk("nobody")
    with pytest.raises(QmpError, match="the guest has no disk driver for 'virtio-scsi-pci'"):
        await vm.device_add("virtio-scsi-pci", "hba")
        await vm.guest_disk("hba")


async def test_hotplug_is_noticed_after_the_guests_delay(vm):
    world = vm.world
    await vm.cont()
    await raw_disk(vm)
    vm.set_hotplug(delay_ns=3 * ms)
    await vm.device_add("virtio-blk-pci", "d0", drive="disk")
    assert world.now_ns == 3 * ms
    await vm.device_del("d0")
    assert world.now_ns == 6 * ms


async def test_unplug_waits_for_requests_and_refuses_later_ones(vm):
    disk = await plugged(vm)
    vm.world.store.set_latency("disk", 50 * ms)
    under_way = disk.read(0, 4 * KiB)
    await vm.device_del("d0")
    assert under_way.done and under_way.result() == bytes(4 * KiB)
    assert disk.lost and await io_error(disk.read(0, 512)) == errno.ENOMEDIUM
    with pytest.raises(QmpError, match="not found"):
        await vm.guest_disk("d0")


async def test_a_guest_may_refuse(vm):
    disk = await plugged(vm)
    vm.set_hotplug(refuse=True)
    with pytest.raises(UnplugRefused, match="'d0'"):
        await vm.device_del("d0")
    assert await disk.read(0, 512) == bytes(512)
    vm.set_hotplug()
    await vm.device_del("d0")
    assert disk.lost


@pytest.mark.parametrize("driver", ["virtio-blk-pci", "scsi-hd"])
async def test_pulled_out_with_requests_under_way(vm, driver):
    disk = await plugged(vm, driver)
    vm.world.store.set_latency("disk", 50 * ms)
    under_way = disk.write(0, b"y" * 512)
    await vm.world.sleep(1 * ms)
    await vm.pull_out("d0")
    await vm.event("DEVICE_DELETED", device="d0")
    try:
        await under_way  # it may have been told in time
    except GuestIoError:
        pass
    assert disk.lost and await io_error(disk.flush()) == errno.ENOMEDIUM
    assert vm.world.store.get("disk", 0, 512) == b"y" * 512


async def test_reset_loses_disks_and_they_open_again(vm):
    disk = await plugged(vm)
    await disk.write(0, b"z" * 512)
    await vm.reset()
    assert disk.lost and await io_error(disk.read(0, 512)) == errno.ENOMEDIUM
    again = await vm.guest_disk("d0")
    assert not again.lost and await again.read(0, 512) == b"z" * 512


async def test_reset_finishes_a_pending_unplug(vm):
    await plugged(vm)
    vm.set_hotplug(delay_ns=10_000 * ms)
    await vm.qmp("device_del", {"id": "d0"})
    await vm.reset()
    await vm.event("DEVICE_DELETED", device="d0")
    assert vm.world.now_ns < 10_000 * ms


async def test_stopped_machine_keeps_requests_for_later(vm):
    disk = await plugged(vm)
    await vm.stop()
    assert await vm.status() == "paused"
    future = disk.read(0, 512)
    await vm.world.sleep(5 * ms)
    assert not future.done
    await vm.cont()
    assert await future == bytes(512)


async def test_closed_disk_can_be_opened_again(vm):
    disk = await plugged(vm)
    await disk.close()
    await disk.close()
    assert disk.lost and await io_error(disk.read(0, 512)) == errno.ENOMEDIUM
    disk = await vm.guest_disk("d0")
    assert await disk.read(0, 512) == bytes(512)


async def test_power_cut_ends_everything_in_the_machine(vm):
    world = vm.world
    disk = await plugged(vm)
    await disk.write(0, b"k" * 512)
    await disk.flush()
    await disk.write(0, b"l" * 512)
    world.store.set_latency("disk", 50 * ms)
    under_way = disk.write(512, b"m" * 512)
    await world.sleep(1 * ms)
    world.power_cut(keep="none")
    assert await io_error(under_way) == errno.ENOMEDIUM
    with pytest.raises(RuntimeError, match="lost power"):
        await vm.qmp("query-status")
    with pytest.raises(QmpError, match="lost power"):
        await vm.guest_disk("d0")
    other = world.vm()
    await other.blockdev_add("disk", "raw", file={"driver": "file", "filename": "disk"})
    await other.device_add("virtio-blk-pci", "d0", drive="disk")
    await other.cont()
    again = await other.guest_disk("d0")
    assert await again.read(0, 1024) == b"k" * 512 + bytes(512)
    assert [text for _at, text in world.timeline] == [
        "power cut: 2 writes of the host are not flushed"]


async def test_two_open_the_same_disk_at_once(vm):
    await plugged(vm)
    await vm.reset()
    one, other = await vm.world.gather(vm.guest_disk("d0"), vm.guest_disk("d0"))
    assert await one.read(0, 512) == await other.read(0, 512) == bytes(512)


def test_a_disk_kept_after_its_world_is_harmless(seed):
    with World(seed=seed) as world:
        disk = world.run(plugged(world.vm()))
    assert disk.lost
    with pytest.raises(RuntimeError, match="closed"):
        disk.read(0, 512)
    del world, disk


def test_who_waits_is_told(seed):
    with World(seed=seed) as world:
        with pytest.raises(Deadlock, match="machine runs again"):
            world.run(world.vm().guest_disk("d0"))
    with World(seed=seed) as world:
        async def endless():
            while True:
                await world.sleep(1 * ms)
        with pytest.raises(Timeout, match="'main' not done after 5000000 simulated ns\n.*sleep"):
            world.run(endless(), limit_ns=5 * ms)
        assert world.now_ns == 6 * ms
