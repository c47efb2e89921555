# SPDX-License-Identifier: Apache-2.0
"""R113 to R143: exports, resize, media, migration and other processes."""
from iotests.recipes.player import (BACKING, BUSY, FORCE_SHARE, READ_ONLY, Table, lock, same)

recipe = Table()
EXPORT = "command:block-export-add"
IS_IN_USE = "Node b is in use"


@recipe(113, EXPORT)
def exports_beside_a_disk(p):
    p.chain("b")
    p.disk("D", "b")
    p.nbd_server()
    p.export("b", writable=True, refused=p.conflict("b", "write", "B:@root", "B:D@root"))
    p.export("b")


@recipe(114, EXPORT)
def an_export_fixes_the_length(p):
    p.chain("b")
    p.nbd_server()
    p.export("b")
    p.resize("b", refused=p.conflict("b", "resize", "B:@root", "B:@root"))


@recipe(115, EXPORT)
def exports_that_cannot_be(p):
    p.file("r", "raw.img", read_only=True)
    p.nbd_server()
    p.export("r", writable=True, refused="Cannot export read-only node as writable")
    p.export("nosuch", refused="Cannot find device='' nor node-name='nosuch'")


@recipe(116, EXPORT)
def users_of_a_file_under_a_format(p):
    p.chain("b")
    p.nbd_server()
    p.export("bf", refused=p.conflict("bf", "resize", "N:b@file", "B:@root"))
    p.cd("C", "bf", lambda: p.conflict("bf", "write, resize", "N:b@file", "B:C@root"))
    p.cd("C", "bf", lambda: p.conflict("bf", "resize", "N:b@file", "B:C@root"), share_rw=True)


@recipe(117, EXPORT)
def two_writable_exports(p):
    p.file("n", "raw.img")
    p.nbd_server()
    p.export("n", writable=True, id="e0")
    p.refused("NBD server already has export named 'n'", "block-export-add",
              {"type": "nbd", "id": "e1", "node-name": "n", "writable": True})
    p.ok("block-export-add", {"type": "nbd", "id": "e1", "node-name": "n", "writable": True,
                              "name": "another"})


@recipe(118)
def resize_under_devices(p):
    p.file("n", "raw.img")
    p.disk("D", "n", share_rw=True)
    p.device("virtio-blk-pci", "V", drive="n", share_rw=True)
    p.resize("n", size=2 << 20)
    p.file("m", "raw2.img")
    p.cd("CD", "m")
    p.resize("m", refused=p.conflict("m", "resize", "B:@root", "B:CD@root"))


@recipe(119)
def resize_of_a_file_under_a_format(p):
    p.chain("ab")
    p.resize("bf", refused=p.conflict("bf", "resize", "B:@root", "N:b@file"))
    p.resize("af", refused=p.conflict("af", "resize", "B:@root", "N:a@file"))


@recipe(120)
def resize_of_a_backing_image(p):
    p.chain("ab")
    p.resize("a", refused="Device '(null)' is in use")


@recipe(121)
def resize_of_a_backing_image_through_raw(p):
    p.chain("ab", writable="a")
    p.disk("D", "b")
    p.add("raw", "rr", file="a")
    p.resize("rr", refused=p.conflict("a", "resize", "N:rr@file", "N:b@backing"))


FLOPPY = ("device:floppy", "command:blockdev-insert-medium")


def empty_floppy(p):
    p.device("isa-fdc", "fdc")
    p.device("floppy", "FD", bus="fdc.0")


@recipe(122, "driver:blkdebug", "option:-device", *FLOPPY)
def a_medium_that_must_not_be_written(p):
    p.file("f", "raw.img")
    p.add("raw", "m2", file="f")
    p.add("blkdebug", "bd", image="m2", unshare_child_perms=["write"])
    p.refused(p.conflict("m2", "write", "B:FD@root", "N:bd@image"), "blockdev-insert-medium",
              {"id": "FD", "node-name": "m2"})
    assert not any("FD" in line for line in p.graph())


@recipe(123, "option:-device", *FLOPPY)
def a_medium_with_a_device(p):
    p.file("m0", "raw.img")
    p.disk("D", "m0", share_rw=True)
    p.refused("Node 'm0' is already in use", "blockdev-insert-medium",
              {"id": "FD", "node-name": "m0"})


@recipe(124, "option:-device", "command:blockdev-change-medium", *FLOPPY)
def a_new_medium_that_is_locked(p):
    p.file("m0", "raw.img")
    p.disk("D", "m0")
    p.file("m1", "raw2.img")
    p.ok("blockdev-insert-medium", {"id": "FD", "node-name": "m1"})
    p.refused(lock("write"), "blockdev-change-medium",
              {"id": "FD", "filename": "raw.img", "format": "raw"})
    assert not any("FD" in line for line in p.graph())


@recipe(125, "option:-device", "command:blockdev-change-medium", *FLOPPY)
def a_new_medium_that_is_locked_read_only(p):
    p.file("m0", "raw.img")
    p.disk("D", "m0")
    p.refused(lock("write", shared=True), "blockdev-change-medium",
              {"id": "FD", "filename": "raw.img", "format": "raw",
               "read-only-mode": "read-only"})


for number in (122, 123, 124, 125):
    recipe.recipes[number][0].device = "floppy,id=FD"


@recipe(126, "command:blockdev-insert-medium", "command:blockdev-remove-medium")
def a_closed_tray(p):
    p.file("m0", "raw.img", read_only=True)
    p.file("m1", "raw2.img", read_only=True)
    p.cd("CD", "m0")
    p.refused("Tray of device 'CD' is not open", "blockdev-remove-medium", {"id": "CD"})
    bus = p.hba("virtio-scsi-pci")
    p.device("scsi-cd", "CE", bus=bus)
    p.refused("Tray of the device is not open", "blockdev-insert-medium",
              {"id": "CE", "node-name": "m1"})


def migrate(p, status):
    p.ok("migrate", {"uri": "exec:cat >/dev/null"})
    while (reply := p.ok("query-migrate"))["status"] not in ("completed", "failed"):
        pass
    assert reply["status"] == status, reply


@recipe(127, "command:migrate")
def a_migrated_image_belongs_to_others(p):
    p.chain("b")
    p.disk("D", "b")
    migrate(p, "completed")
    p.shell("qemu-io", "-f", "qcow2", "-c", "write 0 512", "b.qcow2")
    with p.opened_elsewhere("b.qcow2"):
        p.refused(lock("write"), "cont")
    p.ok("cont")


@recipe(128, "command:migrate", EXPORT, "command:block-commit", "command:blockdev-backup")
def what_holds_up_a_migration(p):
    p.chain("b")
    p.nbd_server()
    p.export("b", writable=True)
    migrate(p, "failed")


@recipe(129, "command:migrate", "command:block-stream", "command:blockdev-mirror")
def what_does_not_hold_up_a_migration(p):
    p.chain("abc")
    p.stream("s0", "c")
    p.file("of", "o.qcow2")
    p.qcow2("o")
    p.file("tf", "t.qcow2")
    p.qcow2("t")
    p.mirror("m0", "o", "t")
    migrate(p, "completed")


@recipe(130, "command:migrate", "option:-incoming", EXPORT)
def a_machine_that_waits_for_migration(p):
    p.chain("b")
    p.disk("D", "b")
    assert any(line.endswith("--root--> b - / ALL") for line in p.graph())
    p.nbd_server()
    p.export("b", writable=True)
    same(p.edge("b --file--> bf"), "CWR / CU")


recipe.recipes[130][0].arguments = ["-incoming", "defer"]


# ---- other processes --------------------------------------------------------------------------

def owned(p):
    p.chain("b")
    p.disk("D", "b")


@recipe(131)
def tools_that_read_an_image_in_use(p):
    owned(p)
    text = lock("write", shared=True)
    commands = [("info",), ("map",), ("check",), ("measure", "-O", "raw"), ("snapshot", "-l")]
    for command in commands:
        p.shell("qemu-img", *command, "b.qcow2", refused=text)
        p.shell("qemu-img", command[0], "-U", *command[1:], "b.qcow2")
    p.shell("qemu-img", "convert", "-O", "raw", "b.qcow2", "out.img", refused=text)
    p.shell("qemu-img", "convert", "-U", "-O", "raw", "b.qcow2", "out.img")
    p.shell("qemu-img", "compare", "b.qcow2", "t.qcow2", refused=text)
    p.shell("qemu-img", "bench", "-c", "1", "-f", "qcow2", "b.qcow2", refused=text)
    p.shell("qemu-img", "bench", "-U", "-c", "1", "-f", "qcow2", "b.qcow2")


@recipe(132)
def tools_that_write_an_image_in_use(p):
    owned(p)
    text = lock("write")
    for command in (["resize", "-f", "qcow2", "b.qcow2", "8M"], ["commit", "b.qcow2"],
                    ["amend", "-f", "qcow2", "-o", "lazy_refcounts=on", "b.qcow2"],
                    ["rebase", "-u", "-b", "t.qcow2", "-F", "qcow2", "b.qcow2"],
                    ["rebase", "-U", "-u", "-b", "t.qcow2", "-F", "qcow2", "b.qcow2"],
                    ["bitmap", "--add", "b.qcow2", "bm"], ["snapshot", "-c", "s", "b.qcow2"],
                    ["create", "-f", "qcow2", "b.qcow2", "1M"]):
        p.shell("qemu-img", *command, refused=text)
    p.shell("qemu-img", "snapshot", "-U", "-c", "s", "b.qcow2", refused=FORCE_SHARE)


@recipe(133)
def tools_on_the_backing_image_in_use(p):
    p.chain("ab")
    p.disk("D", "b")
    p.shell("qemu-img", "info", "a.qcow2")
    p.shell("qemu-img", "map", "a.qcow2")
    p.shell("qemu-img", "check", "a.qcow2")
    p.shell("qemu-img", "convert", "-O", "raw", "a.qcow2", "out.img")
    for command in (["resize", "-f", "qcow2", "a.qcow2", "8M"], ["check", "-r", "all", "a.qcow2"],
                    ["bench", "-w", "-c", "1", "-f", "qcow2", "a.qcow2"],
                    ["create", "-f", "qcow2", "a.qcow2", "1M"],
                    ["convert", "-n", "-f", "qcow2", "-O", "qcow2", "t.qcow2", "a.qcow2"]):
        p.shell("qemu-img", *command, refused=lock("write"))
    p.shell("qemu-img", "check", "-U", "-r", "all", "a.qcow2", refused=FORCE_SHARE)
    p.shell("qemu-img", "bench", "-U", "-w", "-c", "1", "-f", "qcow2", "a.qcow2",
            refused=FORCE_SHARE)


@recipe(134)
def an_overlay_of_an_image_in_use(p):
    owned(p)
    p.shell("qemu-img", "create", "-q", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2",
            "new.qcow2")


@recipe(135, "command:blockdev-mirror")
def tools_on_a_mirror_target(p):
    p.chain("b")
    p.file("tf", "t.qcow2")
    p.qcow2("t")
    p.mirror("m0", "b", "t")
    p.shell("qemu-img", "info", "-U", "t.qcow2")
    p.shell("qemu-img", "map", "-U", "t.qcow2", refused=lock("consistent read"))
    p.shell("qemu-img", "check", "-U", "t.qcow2", refused=lock("consistent read"))


def raw_owned(p, **properties):
    p.file("f", "raw.img")
    p.add("raw", "n", file="f")
    p.disk("D", "n", **properties)


@recipe(136)
def tools_on_a_raw_image_in_use(p):
    raw_owned(p)
    for command in (["info", "raw.img"], ["map", "-f", "raw", "raw.img"],
                    ["dd", "-f", "raw", "-O", "raw", "if=raw.img", "of=out.img"],
                    ["compare", "-f", "raw", "-F", "raw", "raw.img", "raw2.img"]):
        p.shell("qemu-img", *command)
    p.shell("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", "raw.img")
    p.shell("qemu-img", "convert", "-f", "raw", "-O", "raw", "raw.img", "out.img",
            refused=lock("write", shared=True))
    p.shell("qemu-io", "-f", "raw", "-c", "write 0 512", "raw.img", refused=lock("write"))


@recipe(137)
def tools_on_a_shared_raw_image_in_use(p):
    raw_owned(p, share_rw=True)
    p.shell("qemu-io", "-f", "raw", "-c", "write 0 512", "raw.img")
    p.shell("qemu-img", "resize", "-q", "-f", "raw", "raw.img", "2M")
    p.shell("qemu-img", "create", "-q", "-f", "raw", "raw.img", "1M")
    p.shell("qemu-img", "convert", "-f", "raw", "-O", "raw", "raw.img", "out.img",
            refused=lock("write", shared=True))


@recipe(138)
def two_machines_on_a_raw_image(p):
    other = p.other_machine()
    cases = [(True, True, None), (True, False, lock("write", shared=True)),
             (False, True, lock("write")), (False, False, lock("write"))]
    for number, (first, second, text) in enumerate(cases):
        for machine, share, refused in ((p, first, None), (other, second, text)):
            machine.file(f"f{number}", ["raw.img", "raw2.img", "raw3.img", "odd.img"][number])
            machine.disk(f"D{number}", f"f{number}", refused, share_rw=share)


@recipe(139)
def two_machines_on_a_format(p):
    other = p.other_machine()
    p.chain("b")
    p.disk("D", "b", share_rw=True)
    other.file("bf", "b.qcow2")
    other.qcow2("b", backing=None, refused=lock("write"))


@recipe(140, EXPORT)
def tools_on_an_exported_raw_image(p):
    p.file("f", "raw.img")
    p.nbd_server()
    p.export("f", writable=True)
    p.shell("qemu-io", "-f", "raw", "-c", "write 0 512", "raw.img")
    p.shell("qemu-img", "resize", "-f", "raw", "raw.img", "2M", refused=lock("resize"))


@recipe(141)
def nodes_that_cannot_go(p):
    p.chain("ab")
    p.disk("D", "b")
    p.add("qcow2", "q", file={"driver": "file", "node-name": "qf", "filename": "t.qcow2"})
    p.file("f", "raw.img")
    p.add("raw", "r", file="f")
    for node, text in (("b", IS_IN_USE), ("f", "Block device f is in use"),
                       ("a", BUSY.format("a", BACKING.format("b"))),
                       ("qf", "Node qf is not owned by the monitor")):
        p.refused(text, "blockdev-del", {"node-name": node})


@recipe(142, "option:-drive", "device:ide-hd")
def drives_in_use(p):
    raw = "file=raw.img,format=raw"
    p.refused_at_start(READ_ONLY, "-drive", f"if=none,id=d,{raw},read-only=on",
                       "-device", "ide-hd,drive=d")
    image = "if=none,file=a.qcow2,format=qcow2"
    p.refused_at_start(lock("write"), "-drive", image, "-drive", image)
    disks = ["-drive", f"if=none,id=d0,{raw}", "-drive", f"if=none,id=d1,{raw}",
             "-device", "virtio-blk-pci,drive=d0", "-device", "virtio-blk-pci,drive=d1"]
    p.refused_at_start(lock("write"), *disks)


@recipe(143, "hmp:savevm", "option:-drive", "command:block-stream")
def savevm_during_a_stream(p):
    p.stream("s0", "drv")
    same(p.hmp("savevm s"), "")


recipe.recipes[143][0].drive = "if=virtio,id=drv,file=c.qcow2,format=qcow2"
