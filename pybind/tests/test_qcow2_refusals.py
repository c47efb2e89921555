# SPDX-License-Identifier: Apache-2.0
"""Holds:   images with something wrong in the header are refused in the words of the real qemu-img,
         and those it opens are opened.
Method:  one field at a time of images made by it, spoilt; both are asked.
"""
import dataclasses
import pathlib
import subprocess

import pytest

from blockstep import QmpError, World

KNOWN_WORDS = "qemu-img: Could not open 'image.qcow2': "


@dataclasses.dataclass(frozen=True)
class Patch:
    name: str
    offset: int
    value: int
    width: int = 4
    create: str = ""
    more: tuple = ()  # (offset, value, width) of further fields


V2 = "compat=0.10"
PATCHES = [
    Patch("magic", 0, 0x51464900),
    Patch("version 1", 4, 1),
    Patch("version 4", 4, 4),
    Patch("cluster bits 8", 20, 8),
    Patch("cluster bits 22", 20, 22),
    Patch("cluster bits huge", 20, 0xffffffff),
    Patch("header length 0", 100, 0),
    Patch("header length 100", 100, 100),
    Patch("header length beyond cluster", 100, 65544),
    Patch("header length huge", 100, 0xfffffff8),
    Patch("backing offset beyond cluster", 8, 65544, 8),
    Patch("backing offset huge", 8, 1 << 63, 8),
    Patch("backing name too long", 8, 0x200, 8, more=((16, 1024, 4),)),
    Patch("backing name past cluster", 8, 65530, 8, more=((16, 100, 4),)),
    Patch("refcount order 7", 96, 7),
    Patch("refcount order huge", 96, 0x80000000),
    Patch("encryption 3", 32, 3),
    Patch("refcount table unaligned", 48, 0x10001, 8),
    Patch("refcount table beyond 2^63", 48, 1 << 63, 8),
    Patch("refcount table too large", 56, 129),
    Patch("refcount table huge", 56, 0xffffffff),
    Patch("no refcount table", 56, 0),
    Patch("snapshots too many", 60, 65537),
    Patch("snapshots huge", 60, 0xffffffff),
    Patch("snapshot table unaligned", 60, 1, more=((64, 0x101, 8),)),
    Patch("snapshot table beyond 2^63", 60, 1, more=((64, 0xffffffffffff0000, 8),)),
    Patch("L1 too large", 36, (32 << 20) // 8 + 1),
    Patch("L1 huge", 36, 0xffffffff),
    Patch("L1 unaligned", 40, 0x30001, 8),
    Patch("L1 beyond 2^63", 40, 0xffffffffffff0000, 8),
    Patch("L1 too small", 36, 0),
    Patch("disk larger than L1", 24, 1 << 40, 8),
    Patch("disk huge", 24, 1 << 63, 8),
    Patch("disk with all bits", 24, (1 << 64) - 1, 8),
    Patch("disk of no size", 24, 0, 8),
    Patch("disk of odd size", 24, 1000, 8),
    Patch("unknown incompatible bit 5", 72, 1 << 5, 8),
    Patch("unknown incompatible bits", 72, 1 << 63 | 1 << 40, 8),
    Patch("corrupt bit", 72, 2, 8),
    Patch("unknown compatible bits", 80, 1 << 63 | 1 << 9, 8),
    Patch("unknown autoclear bits", 88, 1 << 63 | 1 << 9, 8),
    Patch("compression 2", 104, 2, 1),
    Patch("compression 1 without the bit", 104, 1, 1),
    Patch("compression bit without a type", 72, 8, 8),
    Patch("extension longer than the cluster", 112, 0x12345678, more=((116, 0xfffffff0, 4),)),
    Patch("extension past the cluster", 112, 0x12345678, more=((116, 65536 - 112, 4),)),
    Patch("unknown extension", 112, 0x12345678, more=((116, 8, 4),)),
    Patch("backing format too long", 112, 0xe2792aca, more=((116, 16, 4),)),
    Patch("bitmaps of a wrong length", 112, 0x23852875, more=((116, 16, 4), (88, 1, 8))),
    Patch("no bitmaps", 112, 0x23852875, more=((116, 24, 4), (120, 0, 8), (88, 1, 8))),
    Patch("bitmaps with a reserved field", 112, 0x23852875,
          more=((116, 24, 4), (120, 1, 4), (124, 1, 4), (88, 1, 8))),
    Patch("bitmaps too many", 112, 0x23852875,
          more=((116, 24, 4), (120, 65536, 4), (124, 0, 4), (88, 1, 8))),
    Patch("bitmaps unaligned", 112, 0x23852875,
          more=((116, 24, 4), (120, 1, 4), (124, 0, 4), (128, 64, 8), (136, 0x10001, 8),
                (88, 1, 8))),
    Patch("bitmap directory too large", 112, 0x23852875,
          more=((116, 24, 4), (120, 1, 4), (124, 0, 4), (128, 1 << 40, 8), (136, 0x10000, 8),
                (88, 1, 8))),
    Patch("version 2: cluster bits 8", 20, 8, create=V2),
    Patch("version 2: L1 too large", 36, (32 << 20) // 8 + 1, create=V2),
    Patch("version 2 with an extension", 72, 0x12345678, create=V2, more=((76, 8, 4),)),
    Patch("version 2: extension too long", 72, 0x12345678, create=V2, more=((76, 1 << 30, 4),)),
    Patch("small clusters: header length", 100, 520, create="cluster_size=512"),
    Patch("nothing wrong", 24, 1 << 20, 8),
]


def make_image(folder: pathlib.Path, patch: Patch) -> None:
    options = ["-o", patch.create] if patch.create else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, "image.qcow2", "1M"],
                   cwd=folder, check=True)
    with open(folder / "image.qcow2", "r+b") as file:
        for offset, value, width in ((patch.offset, patch.value, patch.width), *patch.more):
            file.seek(offset)
            file.write(value.to_bytes(width, "big"))


def theirs(folder: pathlib.Path) -> str:
    done = subprocess.run(["qemu-img", "info", "-f", "qcow2", "image.qcow2"], cwd=folder,
                          capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().removeprefix(KNOWN_WORDS)


def ours(folder: pathlib.Path) -> str:
    async def open_image(vm):
        await vm.qmp("blockdev-add", {
            "driver": "qcow2", "node-name": "image", "read-only": True, "backing": None,
            "file": {"driver": "file", "filename": "image.qcow2"}})

    with World() as world:
        world.store.import_file("image.qcow2", str(folder / "image.qcow2"))
        try:
            world.run(open_image(world.vm()))
        except QmpError as error:
            return error.desc
        return ""


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_refused_in_the_same_words(patch, tmp_path):
    make_image(tmp_path, patch)
    assert ours(tmp_path) == theirs(tmp_path)
