# SPDX-License-Identifier: Apache-2.0
"""The roles a node can have, each a small graph with one node to operate on.

Every graph has the chain base <- mid <- top of qcow2 images (the lower two read-only), two mirror
targets t1 t2, two sources src1 src2 to copy from, two files o1f o2f that hold empty overlays, and
two opened overlays ov1 ov2.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SIZE = 1 << 20
LONE = ("t1", "t2", "src1", "src2")


def make_images(directory):
    """The images every cell starts from, made by the real qemu-img."""
    def create(name, *extra):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *extra, f"{name}.qcow2",
                        str(SIZE)], cwd=directory, check=True)

    create("base")
    create("mid", "-b", "base.qcow2", "-F", "qcow2")
    create("top", "-b", "mid.qcow2", "-F", "qcow2")
    for name in (*LONE, "o1", "o2", "ov1", "ov2"):
        create(name)
    for name in ("base", "top"):
        subprocess.run(["qemu-io", "-c", f"write -P {ord(name[0])} 0 64k", f"{name}.qcow2"],
                       cwd=directory, check=True, stdout=subprocess.DEVNULL)


def _file(name):
    return {"driver": "file", "node-name": f"{name}f", "filename": f"{name}.qcow2"}


def _qcow2(name, **extra):
    return {"driver": "qcow2", "node-name": name, "file": f"{name}f", **extra}


def _common():
    def pair(options):  # the files are read-write, so that a commit may switch the images
        return [_file(options["node-name"]), options]

    chain = [_qcow2("base", **{"read-only": True, "backing": None}),
             _qcow2("mid", **{"read-only": True, "backing": "base"}),
             _qcow2("top", backing="mid")]
    others = [_qcow2(name) for name in LONE]
    overlays = [_qcow2(name, backing=None) for name in ("ov1", "ov2")]
    nodes = [node for options in chain + others + overlays for node in pair(options)]
    return nodes + [_file("o1"), _file("o2")]


@dataclass(frozen=True)
class Role:
    name: str
    node: str
    extra: tuple = ()       # commands after the common graph
    settles: tuple = ()     # job ids to wait for
    read_write: tuple = ()  # nodes of the chain that are opened read-write here

    @property
    def image(self):
        """The image that the node's contents lie in."""
        return {"flt": "top", "mt": "top", "topf": "top", "basef": "base"}.get(self.node, self.node)

    def nodes(self):
        """blockdev-add options of the whole graph, bottom up."""
        return [{**options, "read-only": False} if options["node-name"] in self.read_write
                else options for options in _common()]

    def commands(self):
        yield "device_add", {"driver": "virtio-scsi-pci", "id": "s0"}
        for options in self.nodes():
            yield "blockdev-add", options
        yield from self.extra


def _guest(device="scsi-hd", **properties):
    return ("device_add", {"driver": device, "id": "guest", "bus": "s0.0", "drive": "top",
                           **properties})


def _job(command, **arguments):
    return command, {"job-id": "job0", **{k.replace("_", "-"): v for k, v in arguments.items()}}


ROLES = (
    Role("active layer", "top"),
    Role("active layer under a guest disk", "top", (_guest(),)),
    Role("active layer under a sharing guest disk", "top", (_guest(**{"share-rw": True}),)),
    Role("between", "mid", (_guest(),)),
    Role("backing", "base", (_guest(),)),
    Role("backing, read-write", "base", (_guest(),), read_write=("base",)),
    Role("protocol node", "topf", (_guest(),)),
    Role("protocol node of a backing image", "basef", (_guest(),)),
    Role("filter", "flt", (("blockdev-add", {"driver": "blkdebug", "node-name": "flt",
                                             "image": "top"}),)),
    Role("under a filter with a user", "top",
         (("blockdev-add", {"driver": "raw", "node-name": "flt", "file": "top"}),
          ("device_add", {"driver": "scsi-hd", "id": "guest", "bus": "s0.0", "drive": "flt"}))),
    Role("mirror source", "top",
         (_guest(), _job("blockdev-mirror", device="top", target="t1", sync="full",
                         filter_node_name="mt")), ("job0",)),
    Role("mirror filter", "mt",
         (_guest(), _job("blockdev-mirror", device="top", target="t1", sync="full",
                         filter_node_name="mt")), ("job0",)),
    Role("mirror target", "t1",
         (_guest(), _job("blockdev-mirror", device="top", target="t1", sync="full",
                         filter_node_name="mt")), ("job0",)),
    Role("commit top", "mid",
         (_guest(), _job("block-commit", device="top", top_node="mid", base_node="base",
                         auto_finalize=False)), ("job0",)),
    Role("commit base", "base",
         (_guest(), _job("block-commit", device="top", top_node="mid", base_node="base",
                         auto_finalize=False)), ("job0",)),
    Role("active commit top", "top",
         (_guest(), _job("block-commit", device="top", base_node="base")), ("job0",)),
    Role("active commit between", "mid",
         (_guest(), _job("block-commit", device="top", base_node="base")), ("job0",)),
    Role("active commit base", "base",
         (_guest(), _job("block-commit", device="top", base_node="base")), ("job0",)),
)


def fresh_copy(images, directory):
    """The images again as they were made."""
    for image in sorted(Path(images).glob("*.qcow2")):
        (Path(directory) / image.name).write_bytes(image.read_bytes())
