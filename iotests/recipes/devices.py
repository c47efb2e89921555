# SPDX-License-Identifier: Apache-2.0
"""R31 to R51: guest devices.

Where a recipe says scsi-hd behind an HBA that is not virtio's and there is none, a virtio-blk-pci
without iothread takes its place: it wants and shares the same and asks no op blocker.
"""
from iotests.recipes.player import (ALIGNMENT, BACKING, BUSY, READ_ONLY, Table, same)

recipe = Table()
READ_ONLY_NODE = ("-blockdev", "file,node-name=n,filename=raw.img,read-only=on")


def node(p, name="n", **options):
    return p.file(name, "raw.img", **options)


@recipe(31)
def two_disks(p):
    node(p)
    p.disk("D1", "n")
    p.disk("D2", "n", lambda: p.conflict("n", "write", "B:D1@root", "B:D2@root"))


@recipe(32)
def two_sharing_disks(p):
    node(p)
    p.disk("D1", "n", share_rw=True)
    p.disk("D2", "n", share_rw=True)
    edges = [line for line in p.graph() if line.endswith("--root--> n CW / ALL")]
    assert len(edges) == 2


@recipe(33)
def only_the_second_shares(p):
    node(p)
    p.disk("D1", "n")
    p.disk("D2", "n", lambda: p.conflict("n", "write", "B:D2@root", "B:D1@root"), share_rw=True)


@recipe(34)
def a_cd_beside_a_disk(p):
    node(p)
    p.disk("D1", "n")
    p.cd("D2", "n", lambda: p.conflict("n", "write", "B:D1@root", "B:D2@root"))


@recipe(35)
def a_disk_beside_a_cd(p):
    node(p)
    p.cd("D1", "n")
    p.disk("D2", "n", lambda: p.conflict("n", "write", "B:D2@root", "B:D1@root"))


@recipe(36)
def a_sharing_disk_lets_its_backing_be_written(p):
    p.chain("abc", writable="b")
    p.disk("D", "c", share_rw=True)
    p.disk("E", "b")
    same(p.edge("c --backing--> b"), "C / ALL")
    assert any(line.endswith("--root--> b CW / CUR") for line in p.graph())


@recipe(37)
def a_disk_protects_its_backing(p):
    p.chain("ab", writable="a")
    p.disk("D", "b")
    text = lambda: p.conflict("a", "write", "B:E@root", "N:b@backing")
    p.disk("E", "a", text)
    p.disk("E", "a", text, share_rw=True)


@recipe(38, "device:lsi53c895a")
def a_cd_on_a_backing_image(p):
    p.chain("ab")
    p.disk("D", "b")
    p.cd("E", "a")


@recipe(39)
def on_virtio_scsi_the_blocker_counts(p):
    p.chain("ab")
    p.disk("D", "b")
    bus = p.hba("virtio-scsi-pci")
    p.device("scsi-cd", "E", BUSY.format("a", BACKING.format("b")), drive="a", bus=bus)


@recipe(40)
def virtio_blk_on_a_backing_image(p):
    p.ok("object-add", {"qom-type": "iothread", "id": "t0"})
    p.chain("ab")
    p.disk("D", "b")
    p.device("virtio-blk-pci", "E", "cannot start virtio-blk dataplane: "
             + BUSY.format("a", BACKING.format("b")), drive="a", iothread="t0")
    p.device("virtio-blk-pci", "E", drive="a")


@recipe(41)
def two_cds_on_a_read_only_node(p):
    node(p, read_only=True)
    p.cd("D1", "n")
    p.cd("D2", "n")


@recipe(42, "device:ide-hd", "option:-device")
def an_ide_disk_on_a_read_only_node(p):
    p.refused_at_start(READ_ONLY, *READ_ONLY_NODE, "-device", "ide-hd,drive=n")


@recipe(43, "device:sd-card", "option:-device")
def an_sd_card_on_a_read_only_node(p):
    p.refused_at_start("Cannot use read-only drive as SD card", *READ_ONLY_NODE,
                       "-device", "sdhci-pci", "-device", "sd-card,drive=n")


@recipe(44)
def disks_without_id(p):
    node(p)
    bus = p.hba("virtio-scsi-pci")
    p.device("scsi-hd", None, drive="n", bus=bus)
    p.device("scsi-hd", None, p.conflict(
        "n", "write", "B:/machine/peripheral-anon/device[0]@root",
        "B:/machine/peripheral-anon/device[1]@root"), drive="n", bus=bus)


@recipe(45)
def virtio_disks_by_their_path(p):
    node(p)
    p.device("virtio-blk-pci", "D1", drive="n")
    p.device("virtio-blk-pci", "D2", p.conflict(
        "n", "write", "B:/machine/peripheral/D1/virtio-backend@root",
        "B:/machine/peripheral/D2/virtio-backend@root"), drive="n")


@recipe(46, "option:-drive")
def two_devices_on_one_drive(p):
    p.device("virtio-blk-pci", "D1", drive="drv")
    p.device("virtio-blk-pci", "D2", "Drive 'drv' is already in use by another device",
             drive="drv")


recipe.recipes[46][0].drive = "if=none,id=drv,file=raw.img,format=raw"


@recipe(47, "driver:blkdebug")
def a_length_that_is_no_whole_block(p):
    p.file("f", "odd.img")
    p.add("blkdebug", "bd", image="f", align=4096)
    p.disk("D", "bd", ALIGNMENT)
    p.add("raw", "r", file="bd")
    p.disk("D", "r", ALIGNMENT)


@recipe(48, "driver:throttle")
def a_filter_beside_a_disk(p):
    p.chain("b")
    p.disk("D", "b")
    p.ok("object-add", {"qom-type": "throttle-group", "id": "tg"})
    p.add("throttle", "th", file="b", throttle_group="tg")
    text = lambda: p.conflict("b", "write", "B:D@root", "N:th@file")
    p.cd("E", "th", text)
    p.disk("E", "th", text)


@recipe(49, "driver:throttle", "command:qom-set")
def a_filter_slides_under_a_live_disk(p):
    p.chain("b")
    p.disk("D", "b")
    p.ok("object-add", {"qom-type": "throttle-group", "id": "tg"})
    p.add("throttle", "th", file="b", throttle_group="tg")
    p.ok("qom-set", {"path": "/machine/peripheral/D", "property": "drive", "value": "th"})
    assert any(line.endswith("--root--> th CW / CUR") for line in p.graph())
    same(p.edge("th --file--> b"), "CW / CUR")


@recipe(50, "command:qom-set")
def a_live_disk_is_given_a_read_only_node(p):
    p.chain("b")
    p.disk("D", "b")
    node(p, read_only=True)
    before = p.graph()
    p.refused(READ_ONLY, "qom-set",
              {"path": "/machine/peripheral/D", "property": "drive", "value": "n"})
    assert p.graph() == before


@recipe(51)
def two_iothreads(p):
    node(p)
    for i in range(2):
        p.ok("object-add", {"qom-type": "iothread", "id": f"t{i}"})
        p.device("virtio-scsi-pci", f"vs{i}", iothread=f"t{i}")
    p.device("scsi-hd", "D", drive="n", bus="vs0.0", share_rw=True)
    p.device("scsi-hd", "E", "Cannot change iothread of active block backend", drive="n",
             bus="vs1.0", share_rw=True)
