# SPDX-License-Identifier: Apache-2.0
"""Power fails in the middle of a guest's writes, five times in a row on one image.

Holds:   after each cut the image opens and holds every byte that had been flushed, and no cluster
         of it belongs to two owners: leaks are allowed, corruptions are not.
Shows:   a volatile write cache, cuts at moments that the seed chooses, torn writes, crash recovery.
"""
from blockstep import MiB, ms, qemu_img, scenario
from blockstep.replay import DiskModel, random_trace, replay, verify

SIZE = 4 * MiB


@scenario(platform="workstation")
async def main(world):
    qemu_img.create(world.store, "disk.qcow2", SIZE)
    world.store.set_disk("disk.qcow2", "sata0")
    contents = DiskModel(world.seed)
    for number in range(1, 6):
        vm = world.vm()
        await vm.blockdev_add("disk", "qcow2", discard="unmap",
                              file={"driver": "file", "filename": "disk.qcow2"})
        await vm.device_add("virtio-blk-pci", "vda", drive="disk")
        await vm.cont()
        disk = await vm.guest_disk("vda")
        verified = await verify(disk, contents, after_power_cut=True)

        trace = random_trace(world.rng("guest"), SIZE, 300, discards=5, flush_every=12)
        guest = world.start(replay(world, disk, trace, contents, failures_allowed=True))
        await world.sleep(world.rng("moment").between(1 * ms, 25 * ms))
        world.power_cut()
        done = await guest
        check = qemu_img.check(world.store, "disk.qcow2")
        assert check["corruptions"] == check["check-errors"] == 0, check
        world.note(f"cut {number}: {verified // 1024} KiB verified, {done.writes} writes "
                   f"acknowledged, {done.failed} lost, {check['leaks']} clusters leaked")
