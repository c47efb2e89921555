# SPDX-License-Identifier: Apache-2.0
"""Two virtual machines want one image: the locks on its file decide.

Holds:   a second writer is refused, a reader too, unless it forces its way in; once the first
         machine has closed the image the second one may write, and reads what the first one wrote.
Shows:   several machines in one world, image locks between them, what `force-share` is for.
"""
from blockstep import KiB, MiB, QmpError, qemu_img, scenario


@scenario
async def main(world):
    qemu_img.create(world.store, "shared.qcow2", 16 * MiB)
    first, second = world.vm(), world.vm()

    await open_image(first)
    await first.device_add("virtio-blk-pci", "vda", drive="disk")
    await first.cont()
    disk = await first.guest_disk("vda")
    await disk.write(0, b"first" * 1024)
    await disk.flush()
    world.note("the first machine writes to the image")

    for what, options in (("write", {}), ("read", {"read_only": True})):
        try:
            await open_image(second, **options)
        except QmpError as error:
            world.note(f"the second may not {what}: {error.desc}")
        else:
            raise AssertionError(f"two machines on one image, one of them to {what}")
    await open_image(second, read_only=True, force_share=True)
    world.note("with force-share it may look, at its own risk")
    await second.qmp("blockdev-del", {"node-name": "disk"})

    await first.device_del("vda")
    await first.qmp("blockdev-del", {"node-name": "disk"})
    await open_image(second)
    await second.device_add("virtio-blk-pci", "vda", drive="disk")
    await second.cont()
    disk = await second.guest_disk("vda")
    assert await disk.read(0, 5 * KiB) == b"first" * 1024
    world.note("the first machine let go: the second one writes, and reads what was written")


async def open_image(vm, **options):
    await vm.blockdev_add("disk", "qcow2", file={"driver": "file", "filename": "shared.qcow2"},
                          **options)
