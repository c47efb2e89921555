# SPDX-License-Identifier: Apache-2.0
"""Disks leave while the guest uses them: asked, refused, and without a word.

Holds:   what was acknowledged before a disk left is on the image afterwards, whichever way it left,
         and no request is left hanging.
Shows:   the hotplug handshake with I/O under way, a guest that refuses, a device pulled out.
"""
from blockstep import GuestIoError, KiB, MiB, UnplugRefused, ms, qemu_img, scenario
from blockstep.replay import DiskModel, random_trace, replay, verify

SIZE = 4 * MiB


@scenario(platform="workstation")
async def main(world):
    qemu_img.create(world.store, "disk.qcow2", SIZE)
    world.store.set_disk("disk.qcow2", "sata0")
    vm = world.vm()
    await vm.blockdev_add("disk", "qcow2", file={"driver": "file", "filename": "disk.qcow2"})
    await vm.cont()
    contents = DiskModel(world.seed)

    disk, busy = await plug(world, vm, contents)
    vm.set_hotplug(refuse=True)
    try:
        await vm.device_del("vda")
    except UnplugRefused as refusal:
        world.note(f"{refusal}; it goes on")
    vm.set_hotplug()
    await vm.device_del("vda")
    done = await busy
    world.note(f"asked again it finishes what is under way: {done.writes} writes ended, "
               f"{done.failed} requests came too late")

    disk, busy = await plug(world, vm, contents)
    await vm.pull_out("vda")
    done = await busy
    world.note(f"pulled out: {done.writes} writes ended, {done.failed} requests failed")
    try:
        await disk.read(0, 4 * KiB)
    except GuestIoError as error:
        world.note(f"a read afterwards: {error}")
    else:
        raise AssertionError("a disk that is gone answered")

    await vm.device_add("virtio-blk-pci", "vda", drive="disk")
    verified = await verify(await vm.guest_disk("vda"), contents)
    world.note(f"plugged in again: {verified // 1024} KiB are what was acknowledged")


async def plug(world, vm, contents):
    """A disk with a guest's requests on it for some milliseconds already."""
    await vm.device_add("virtio-blk-pci", "vda", drive="disk")
    disk = await vm.guest_disk("vda")
    trace = random_trace(world.rng("guest"), SIZE, 1500, flush_every=16)
    busy = world.start(replay(world, disk, trace, contents, failures_allowed=True))
    await world.sleep(30 * ms)
    return disk, busy
