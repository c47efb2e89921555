# SPDX-License-Identifier: Apache-2.0
"""Holds:   with compat="2.9" refusals are worded as that release's: R144 to R154. What that release
         did not refuse at all (R155 to R160) is refused as 7.2 does: compat is about words.
Method:  the recipes on a virtual machine in this process. Where a recipe needs an export, any
         unnamed user that wants and shares the same takes its place; where it needs an IDE
         device, a SCSI one.
"""
import pytest

from blockstep import PermissionRefused, QmpError, World
from iotests.recipes import images
from iotests.recipes.player import NO_WRITERS, Player, lock
from iotests.recipes.reopening import file_of, image
from iotests.recipes.test_recipes import registered

SHARED = ("consistent-read", "write", "write-unchanged")


class InProcess:
    """A virtual machine of this process that answers as a program on a socket does."""

    def __init__(self, world, vm):
        self._world, self._vm = world, vm
        self.argv = []

    def execute(self, command, arguments=None):
        try:
            return {"return": self._world.run(self._vm.qmp(command, arguments))}
        except QmpError as error:
            return {"error": {"class": error.cls, "desc": error.desc}}

    def wait_event(self, accept):
        while True:
            for event in self._vm.events:
                if accept({"event": event.name, "data": event.data}):
                    return {"event": event.name, "data": event.data}
            self._world.run(self._vm.event_arrived())


@pytest.fixture(scope="module")
def image_files():
    return images.Images()


def machine(image_files):
    with World(seed=1) as world:
        for file in image_files.paths():
            world.store.import_file(file.name, str(file))
        vm = world.vm(compat="2.9")
        player = Player(InProcess(world, vm), None, set())
        player.vm = vm
        yield player


@pytest.fixture
def p(image_files):
    yield from machine(image_files)


def other_user(p, node, use=("consistent-read", "write")):
    with pytest.raises(PermissionRefused) as refused:
        p.vm.backend(node, use=use, share=SHARED)
    return refused.value.desc


def scsi(p, kind, id, node, refused=None, **properties):
    p.device(kind, id, refused, drive=node, bus=p.hba("virtio-scsi-pci"), **properties)


def test_r144_two_disks(p):
    p.file("n", "raw.img")
    scsi(p, "scsi-hd", "D1", "n")
    scsi(p, "scsi-hd", "D2", "n",
         "Conflicts with use by D1 as 'root', which does not allow 'write' on n")


def test_r145_a_cd_beside_a_disk(p):
    p.file("n", "raw.img")
    scsi(p, "scsi-hd", "D1", "n")
    scsi(p, "scsi-cd", "D2", "n", "Conflicts with use by D1 as 'root', which uses 'write' on n")


def test_r146_r147_two_formats_on_one_file(p):
    p.file("f", "a.qcow2")
    p.qcow2("q0", "f", backing=None)
    p.qcow2("q1", "f", backing=None, refused="Conflicts with use by q0 as 'file', "
            "which does not allow 'write, resize' on f")
    p.qcow2("qro", "f", backing=None, read_only=True, refused="Conflicts with use by q0 as "
            "'file', which uses 'write, resize' on f")


def test_r148_a_writer_of_a_read_only_node(p):
    p.file("f", "raw.img", read_only=True)
    assert "Block node is read-only" == pytest.raises(
        QmpError, p.vm.backend, "f", use=("write",)).value.desc


def test_r149_a_writable_export_of_a_disks_node(p):
    p.chain("b")
    scsi(p, "scsi-hd", "D", "b")
    assert other_user(p, "b") == ("Conflicts with use by D as 'root', which does not allow "
                                  "'write' on b")


def test_r150_resize_under_a_device_of_fixed_size(p):
    p.file("n", "raw.img")
    scsi(p, "scsi-cd", "N", "n")
    p.resize("n", refused="Conflicts with use by N as 'root', which does not allow 'resize' on n")


def commit_between(p):
    p.chain("abcd")
    p.commit("c0", "d", top_node="c", base_node="a")
    scsi(p, "scsi-hd", "E", "b", "Conflicts with use by commit job 'c0' as 'intermediate node', "
         "which does not allow 'consistent read' on b")


def mirror_target(p):
    p.chain("b")
    p.file("tf", "t.qcow2")
    p.qcow2("t")


def mirror_to_a_node_in_use(p):
    mirror_target(p)
    scsi(p, "scsi-hd", "E", "t")
    p.mirror("m0", "b", "t", refused="Conflicts with use by E as 'root', which does not allow "
             "'write' on t")


def sharing_disk_on_a_mirror_target(p):
    mirror_target(p)
    p.mirror("m0", "b", "t")
    scsi(p, "scsi-hd", "E", "t", "Conflicts with use by a block device as 'root', which does not "
         "allow 'consistent read, write' on t", share_rw=True)


JOBS = {"block-commit": [commit_between],
        "blockdev-mirror": [mirror_to_a_node_in_use, sharing_disk_on_a_mirror_target]}


@pytest.mark.parametrize("command", JOBS)
def test_r151_to_r154_jobs(command, image_files):
    for recipe in JOBS[command]:
        for p in machine(image_files):
            if "command:" + command in registered():
                recipe(p)
            else:
                p.refused_as("CommandNotFound", command)


def test_r155_to_r160_what_2_9_let_pass_is_refused(p):
    # Another opener of one image (R158) and a reopen under a writer (R160).
    p.file("bf0", "b.qcow2")
    p.qcow2("b0", "bf0", backing=None)
    p.file("bf1", "b.qcow2")
    p.qcow2("b1", "bf1", backing=None, refused=lock("write"))
    p.chain("c")
    scsi(p, "scsi-hd", "D", "c")
    p.reopen(image("c", read_only=True), refused=NO_WRITERS.format("c"))
    p.reopen(file_of("c", read_only=True), refused=NO_WRITERS.format("cf"))
