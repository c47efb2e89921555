# SPDX-License-Identifier: Apache-2.0
"""A guest's recorded I/O goes on while its disk is mirrored, disks come and go, and power fails.

Holds:   whatever happens in between, every byte that the guest was told is on stable storage is on
         the copy after the power cut, and the real qemu-img finds the images whole.
Shows:   replay of a recorded trace through virtio-blk, a mirror job with its pivot, hotplug and
         unplug with I/O under way, a second writer refused and, with share-rw, accepted, a power
         cut, and images made and judged by the real qemu-img.
"""
import pathlib

from blockstep import MiB, ms, qemu_img, refused, scenario
from blockstep.replay import DiskModel, load, replay, verify

TRACES = pathlib.Path(__file__).parent / "traces"
SIZE = 8 * MiB


@scenario(platform="workstation")
async def main(world):
    for name in ("source", "copy", "scratch"):
        qemu_img.create(world.store, f"{name}.qcow2", 2 * SIZE if name == "scratch" else SIZE)
        world.store.set_disk(f"{name}.qcow2", "sata0")
    world.note("qemu-img made source.qcow2, copy.qcow2 and scratch.qcow2")

    vm = world.vm()
    await open_image(vm, "source")
    await vm.device_add("virtio-blk-pci", "vda", drive="source", share_rw=True)
    await vm.cont()
    disk = await vm.guest_disk("vda")
    contents = DiskModel(world.seed)  # what each sector may hold, given what the guest was told
    guest = world.start(replay(world, disk, load(TRACES / "randrw.iolog"), contents))
    world.note(f"the guest replays what fio did on {disk.size // MiB} MiB")

    await world.sleep(40 * ms)
    await open_image(vm, "copy")
    mirror = await vm.start_job("blockdev-mirror", {
        "job-id": "mirror", "device": "source", "target": "copy", "sync": "full",
        "speed": 16 * MiB, "filter-node-name": "mirror-top"})
    world.note("a mirror to copy.qcow2 begins, at 16 MiB/s")

    scratch = world.start(use_scratch_disk(world, vm))
    await world.sleep(20 * ms)
    await second_writer(world, vm, contents)
    done = await scratch
    world.note(f"scratch disk unplugged with I/O under way: {done.writes} writes and {done.reads} "
               f"reads ended, {done.failed} requests came too late")

    await mirror.set_speed(0)
    await mirror.ready()
    world.note("without a speed limit the mirror has caught up; the guest goes on")
    await world.sleep(30 * ms)
    await mirror.complete()
    world.note(f"pivot: the guest is now on {on_node(vm, 'vda')}")

    done = await guest
    world.note(f"the trace ends: {done.reads} reads verified, {done.writes} writes, "
               f"{done.flushes} flushes")
    world.power_cut()
    await after_the_power_cut(world, contents)
    return {"reads": done.reads, "writes": done.writes, "flushes": done.flushes}


async def open_image(vm, name):
    await vm.blockdev_add(name, "qcow2", discard="unmap",
                          file={"driver": "file", "filename": f"{name}.qcow2"})


async def use_scratch_disk(world, vm):
    """Plugs a disk in, keeps it busy and unplugs it without waiting for its I/O."""
    await open_image(vm, "scratch")
    await vm.device_add("virtio-blk-pci", "vdb", drive="scratch")
    disk = await vm.guest_disk("vdb")
    world.note("scratch disk plugged in; the guest boots from it")
    busy = world.start(replay(world, disk, load(TRACES / "boot.blkparse"), speed=0.2, depth=4,
                              failures_allowed=True))
    await world.sleep(15 * ms)
    await vm.device_del("vdb")
    await vm.qmp("blockdev-del", {"node-name": "scratch"})
    return await busy


async def second_writer(world, vm, contents):
    """Another disk on what the guest writes to: a matter of who shares what."""
    refusal = await refused(vm.device_add("virtio-blk-pci", "vdc", drive="mirror-top"))
    world.note(f"second writer refused: {refusal.reason}")
    refusal = await refused(vm.device_add("virtio-blk-pci", "vdc", drive="copy", share_rw=True))
    world.note(f"writer on the mirror's target refused: {refusal.reason}")

    await vm.device_add("virtio-blk-pci", "vdc", drive="mirror-top", share_rw=True)
    world.note("second writer accepted: both disks have share-rw")
    disk = await vm.guest_disk("vdc")
    for number in range(8):
        write = contents.begin_write(number * MiB, 4096)
        await disk.write(write.offset, write.data)
        contents.acknowledge(write)
    flush = contents.begin_flush()
    await disk.flush()
    contents.end_flush(flush)
    await vm.device_del("vdc")
    world.note("second writer wrote 8 blocks, flushed, and was unplugged")


def on_node(vm, device):
    """The node that a device's backend is on."""
    for edge in vm.graph()["edges"]:
        if device in edge["parent"]:
            return edge["child"]
    raise AssertionError(f"no device '{device}' in the graph")


async def after_the_power_cut(world, contents):
    """A new machine reads back what was promised; the real programs have the last word."""
    vm = world.vm()
    await open_image(vm, "copy")
    await vm.device_add("virtio-blk-pci", "vda", drive="copy")
    await vm.cont()
    disk = await vm.guest_disk("vda")
    verified = await verify(disk, contents, after_power_cut=True)
    world.note(f"{verified // 1024} KiB read back: nothing that was flushed is lost")
    world.store.put("as_read.raw", await disk.read(0, disk.size))
    ours = await vm.check("copy")
    await vm.shut_down()

    for name in ("copy", "source"):
        theirs = qemu_img.check(world.store, f"{name}.qcow2")
        assert theirs["corruptions"] == theirs["check-errors"] == 0, theirs
        if name == "copy":
            assert theirs["leaks"] == ours["leaks"], (theirs, ours)
        world.note(f"qemu-img check {name}.qcow2: no corruption, leaked clusters: "
                   f"{theirs['leaks']}")
    difference = qemu_img.compare(world.store, "copy.qcow2", "as_read.raw", other_format="raw")
    assert not difference, difference
    world.note("qemu-img compare: copy.qcow2 holds what the guest read")
