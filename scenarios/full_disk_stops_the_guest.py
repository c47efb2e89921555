# SPDX-License-Identifier: Apache-2.0
"""The host's disk is full: the guest is stopped instead of being told, and goes on later.

Holds:   with werror=enospc a guest never sees that the host had no room: its writes end after the
         machine has been continued, and all of them are there.
Shows:   error policies, the BLOCK_IO_ERROR event, stop and continue with requests under way.
"""
from blockstep import KiB, MiB, qemu_img, scenario
from blockstep.replay import DiskModel, random_trace, replay, verify

SIZE = 8 * MiB


@scenario
async def main(world):
    qemu_img.create(world.store, "disk.qcow2", SIZE)
    world.store.set_capacity(1 * MiB)
    vm = world.vm()
    await vm.blockdev_add("disk", "qcow2", file={"driver": "file", "filename": "disk.qcow2"})
    await vm.device_add("virtio-blk-pci", "vda", drive="disk", werror="enospc")
    await vm.cont()
    disk = await vm.guest_disk("vda")
    contents = DiskModel(world.seed)
    guest = world.start(replay(world, disk, random_trace(world.rng("guest"), SIZE, 400), contents,
                               depth=8))

    stops = 0
    for room in (2 * MiB, 3 * MiB, 0):
        error = await vm.event("BLOCK_IO_ERROR", operation="write")
        assert error.data["nospace"] and error.data["action"] == "stop"
        await vm.event("STOP")
        assert await vm.status() == "io-error" and not guest.done
        stops += 1
        world.store.set_capacity(room)
        world.note(f"no room left: the guest stands still; now there is "
                   f"{f'{room // MiB} MiB' if room else 'enough'}")
        await vm.cont()

    done = await guest
    verified = await verify(disk, contents)
    assert done.failed == 0
    world.note(f"stopped {stops} times, {done.writes} writes and no error seen by the guest; "
               f"{verified // KiB} KiB verified")
