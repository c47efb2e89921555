# SPDX-License-Identifier: Apache-2.0
"""The roles a node can have, each a small graph with one node to operate on.

Every graph has the chain base <- mid <- top of qcow2 images, the lower two read-only. What
operations need beside it (targets, sources, overlays) is in HELPERS and made when first needed.
"""

import shutil
import subprocess
from dataclasses import dataclass

SIZE = 1 << 20
CHAIN = ("base", "mid", "top")
LONE = ("t1", "t2", "src1", "src2", "o1", "o2", "ov1", "ov2")


def make_images(directory):
    """The images every cell starts from, made by the real qemu-img."""
    def create(name, *extra):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *extra, f"{name}.qcow2",
                        str(SIZE)], cwd=directory, check=True)

    create("base")
    create("mid", "-b", "base.qcow2", "-F", "qcow2")
    create("top", "-b", "mid.qcow2", "-F", "qcow2")
    for name in LONE:
        create(name)
    for name in ("base", "top"):
        subprocess.run(["qemu-io", "-c", f"write -P {ord(name[0])} 0 64k", f"{name}.qcow2"],
                       cwd=directory, check=True, stdout=subprocess.DEVNULL)


def fresh_copy(images, directory):
    """The images again as they were made."""
    shutil.copytree(images, directory, dirs_exist_ok=True)


def _file(name):
    return {"driver": "file", "node-name": f"{name}f", "filename": f"{name}.qcow2"}


def _qcow2(name, **extra):
    return {"driver": "qcow2", "node-name": name, "file": f"{name}f", **extra}


# Nodes beside the chain, by name: what to add, in order.
HELPERS = {name: [_file(name), _qcow2(name)] for name in ("t1", "t2", "src1", "src2")}
HELPERS |= {name: [_file(name), _qcow2(name, backing=None)] for name in ("ov1", "ov2")}
HELPERS |= {f"{name}f": [_file(name)] for name in ("o1", "o2")}


@dataclass(frozen=True)
class Role:
    name: str
    node: str
    extra: tuple = ()       # commands after the chain
    helpers: tuple = ()     # what those commands need
    settles: tuple = ()     # job ids to wait for
    read_write: tuple = ()  # nodes of the chain that are opened read-write here
    read_only: tuple = ()   # and read-only
    needs: tuple = ()       # what must be registered

    @property
    def image(self):
        """The image that the node's contents lie in."""
        return {"flt": "top", "mt": "top", "topf": "top", "basef": "base"}.get(self.node, self.node)

    def nodes(self):
        """blockdev-add options of the chain, bottom up."""
        below = None
        for name in CHAIN:
            options = _qcow2(name, backing=below)
            if name in self.read_only or name != "top" and name not in self.read_write:
                options["read-only"] = True
            yield _file(name)  # read-write, so that a commit may switch the image
            yield options
            below = name


def _guest(device="scsi-hd", drive="top", **properties):
    return ("device_add", {"driver": device, "id": "guest", "bus": "s0.0", "drive": drive,
                           **properties})


def _job(command, **arguments):
    return command, {"job-id": "job0", **{k.replace("_", "-"): v for k, v in arguments.items()}}


def _mirror_role(name, node):
    mirror = _job("blockdev-mirror", device="top", target="t1", sync="full", filter_node_name="mt")
    return Role(name, node, (_guest(), mirror), ("t1",), ("job0",), needs=("blockdev-mirror",))


def _commit_role(name, node, **arguments):
    commit = _job("block-commit", device="top", base_node="base", auto_finalize=False, **arguments)
    return Role(name, node, (_guest(), commit), (), ("job0",), needs=("block-commit",))


def _stream_role(name, node):
    stream = _job("block-stream", device="top", base_node="base", auto_finalize=False)
    return Role(name, node, (_guest(), stream), (), ("job0",), needs=("block-stream",))


def _backup_role(name, node):
    backup = _job("blockdev-backup", device="top", target="t1", sync="none")
    return Role(name, node, (_guest(), backup), ("t1",), (), needs=("blockdev-backup",))


_FILTER = ("blockdev-add", {"driver": "blkdebug", "node-name": "flt", "image": "top"})
_RAW = ("blockdev-add", {"driver": "raw", "node-name": "flt", "file": "top"})

ROLES = (
    Role("active layer", "top"),
    Role("active layer, read-only", "top", read_only=("top",)),
    Role("active layer under a guest disk", "top", (_guest(),)),
    Role("active layer under a sharing guest disk", "top", (_guest(**{"share-rw": True}),)),
    Role("between", "mid", (_guest(),)),
    Role("backing", "base", (_guest(),)),
    Role("backing, read-write", "base", (_guest(),), read_write=("base",)),
    Role("protocol node", "topf", (_guest(),)),
    Role("protocol node of a backing image", "basef", (_guest(),)),
    Role("filter", "flt", (_FILTER,), needs=("blkdebug",)),
    Role("under a filter with a user", "top", (_RAW, _guest(drive="flt"))),
    _mirror_role("mirror source", "top"),
    _mirror_role("mirror filter", "mt"),
    _mirror_role("mirror target", "t1"),
    _commit_role("commit top", "mid", top_node="mid"),
    _commit_role("commit base", "base", top_node="mid"),
    _commit_role("active commit top", "top"),
    _commit_role("active commit between", "mid"),
    _commit_role("active commit base", "base"),
    _stream_role("stream target", "top"),
    _stream_role("stream between", "mid"),
    _backup_role("backup source", "top"),
    _backup_role("backup target", "t1"),
)
