# SPDX-License-Identifier: Apache-2.0
"""Two processes of a guest, a mirror, a commit and an unplug meet, in whatever order.

Holds:   every read of the guest is what was written last, before, while and after its disk moves;
         in the end everything it wrote is there, and its image is whole.
Shows:   loads that the guest does by itself, and a scenario made to be explored: nothing takes
         time, so that some 800 runs a second each meet in another order,
             ./blockstep explore scenarios/jobs_meet_in_any_order.py --schedules 10000
"""
from blockstep import KiB, MiB, qemu_img, scenario

SIZE = 4 * MiB


@scenario
async def main(world):
    for name in ("base", "top", "copy", "scratch"):
        qemu_img.create(world.store, f"{name}.qcow2", SIZE)
    vm = world.vm()
    await open_image(vm, "base")
    await open_image(vm, "top", backing="base")
    await vm.device_add("virtio-blk-pci", "vda", drive="top")
    await vm.cont()
    vm.set_hotplug(delay_ns=0)

    loads = [vm.guest_load("vda", operations=16, area=96 * KiB, longest=8 * KiB) for _ in range(2)]
    await world.gather(move_the_disk(world, vm), use_a_disk_for_a_while(world, vm))
    done = await world.gather(*loads)
    world.note(f"{sum(one.reads for one in done)} reads verified on the way, "
               f"{sum(one.writes for one in done)} writes")
    verified = await vm.guest_verify("vda")
    check = await vm.check("copy")
    assert check["corruptions"] == check["leaks"] == 0, check
    world.note(f"{verified // KiB} KiB read back; the copy is whole")
    await vm.shut_down()


async def open_image(vm, name, **options):
    await vm.blockdev_add(name, "qcow2", discard="unmap",
                          file={"driver": "file", "filename": f"{name}.qcow2"}, **options)


async def move_the_disk(world, vm):
    """First what is on top goes into the base, then the base is copied and the guest moves on."""
    await world.moment("commit begins")
    commit = await vm.start_job("block-commit", {"job-id": "commit", "device": "top"})
    await commit.ready()
    await world.moment("commit is completed")
    await commit.complete()
    await vm.qmp("blockdev-del", {"node-name": "top"})

    await open_image(vm, "copy")
    mirror = await vm.start_job("blockdev-mirror", {
        "job-id": "mirror", "device": "base", "target": "copy", "sync": "full"})
    await mirror.ready()
    await world.moment("mirror is completed")
    await mirror.complete()
    world.note("the guest's disk has moved twice")


async def use_a_disk_for_a_while(world, vm):
    """Another disk comes and goes, with requests under way."""
    await open_image(vm, "scratch")
    await vm.device_add("virtio-blk-pci", "vdb", drive="scratch")
    busy = vm.guest_load("vdb", operations=12)
    await world.moment("scratch disk is unplugged")
    await vm.device_del("vdb")
    done = await busy
    await vm.qmp("blockdev-del", {"node-name": "scratch"})
    world.note(f"scratch disk unplugged, {done.cut_off} requests came too late")
