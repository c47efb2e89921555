# SPDX-License-Identifier: Apache-2.0
"""An overlay is committed into its base while the guest writes to it.

Holds:   every read on the way and everything afterwards is what the guest wrote last, and the
         base alone holds it once the guest has moved there.
Shows:   a backing chain, an active commit (ready, complete, pivot), random I/O that is verified.
"""
from blockstep import MiB, ms, qemu_img, scenario
from blockstep.replay import DiskModel, random_trace, replay, verify

SIZE = 8 * MiB


@scenario(platform="workstation")
async def main(world):
    qemu_img.create(world.store, "base.qcow2", SIZE)
    qemu_img.create(world.store, "overlay.qcow2", SIZE)
    for name in ("base.qcow2", "overlay.qcow2"):
        world.store.set_disk(name, "sata0")
    vm = world.vm()
    await vm.blockdev_add("base", "qcow2", file={"driver": "file", "filename": "base.qcow2"})
    await vm.blockdev_add("overlay", "qcow2", backing="base",
                          file={"driver": "file", "filename": "overlay.qcow2"})
    await vm.device_add("virtio-blk-pci", "vda", drive="overlay")
    await vm.cont()
    disk = await vm.guest_disk("vda")

    contents = DiskModel(world.seed)
    trace = random_trace(world.rng("guest"), SIZE, 600)
    guest = world.start(replay(world, disk, trace, contents))
    await world.sleep(20 * ms)

    commit = await vm.start_job("block-commit", {"job-id": "commit", "device": "overlay"})
    world.note("commit of overlay into base begins")
    await commit.ready()
    world.note("base has caught up; the guest goes on")
    await commit.complete()
    world.note("pivot: the guest is on base")

    done = await guest
    await vm.qmp("blockdev-del", {"node-name": "overlay"})
    verified = await verify(disk, contents)
    world.note(f"{done.reads} reads verified on the way, {verified // 1024} KiB at the end")
    await vm.shut_down()
    assert qemu_img.check(world.store, "base.qcow2")["corruptions"] == 0
