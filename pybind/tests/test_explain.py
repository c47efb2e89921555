# SPDX-License-Identifier: Apache-2.0
"""Holds:   an explanation says what the command then does, names all who stand in the way, and
         leaves no trace: not in the graph, the events, the files, the clock or the digest.
Method:  each command explained, then given, in a world beside one where nothing was explained.
"""
import subprocess
import xml.etree.ElementTree

import pytest

from blockstep import PermissionRefused, PosixStore, QmpError, World

MIB = 1 << 20
CHAIN = [("blockdev-add", {"driver": "file", "node-name": "af", "filename": "a.img"}),
         ("blockdev-add", {"driver": "raw", "node-name": "a", "file": "af"}),
         ("device_add", {"driver": "virtio-scsi-pci", "id": "s"}),
         ("device_add", {"driver": "scsi-hd", "id": "D", "bus": "s.0", "drive": "a"})]
DISK = ("device_add", {"driver": "scsi-hd", "id": "E", "bus": "s.0", "drive": "a"})
SHARING = ("device_add", {**DISK[1], "share-rw": True})
RAW = ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "af"})
RESIZE = ("block_resize", {"node-name": "a", "size": 2 * MIB})
UNKNOWN = ("blockdev-del", {"node-name": "nobody"})


def machine(world):
    world.store.put("a.img", bytes(MIB))
    vm = world.vm()
    for command, arguments in CHAIN:
        world.run(vm.qmp(command, arguments))
    return vm


@pytest.fixture
def vm():
    with World(seed=3) as world:
        vm = machine(world)
        vm.the_world = world
        yield vm


def outcome(vm, command, arguments):
    try:
        vm.the_world.run(vm.qmp(command, arguments))
    except QmpError as error:
        return error.desc
    return None


def state(vm):
    world = vm.the_world
    return (vm.dump(), vm.graph(), vm.events, world.digest, world.now_ns,
            world.store.get("a.img"), world.store.list())


@pytest.mark.parametrize("command", [DISK, SHARING, RAW, RESIZE, UNKNOWN],
                         ids=["disk", "sharing", "raw", "resize", "unknown"])
def test_it_says_what_the_command_then_does_and_leaves_no_trace(vm, command):
    before = state(vm)
    explained = vm.explain(*command)
    again = vm.explain(*command)
    assert explained == again
    assert state(vm) == before
    assert outcome(vm, *command) == explained.error
    assert explained.accepted == (explained.error is None)
    if explained.accepted:
        assert vm.graph()["edges"] == explained.graph["edges"]


def test_who_stands_in_the_way(vm):
    explained = vm.explain(*DISK)
    assert [(c["node"], c["permissions"], c["requires"]["description"],
             c["unshares"]["description"]) for c in explained.conflicts] == [
        ("a", ["write"], "block device 'D'", "block device 'E'"),
        ("a", ["write"], "block device 'E'", "block device 'D'")]
    assert [(edge["parent"], edge["child"]) for edge in explained.needs] == [
        ("block device 'E'", "a")]
    assert str(explained).splitlines()[1:] == [
        "  block device 'D' needs write on node 'a', block device 'E' does not share it",
        "  block device 'E' needs write on node 'a', block device 'D' does not share it",
        "  needs block device 'E' --root--> a: CW / CUR"]
    assert explained.to_text().count("CONFLICT") == 2
    assert explained.to_mermaid().count("stroke:red") == 2
    root = xml.etree.ElementTree.fromstring(explained.to_svg())
    assert sum(path.get("stroke") == "red" for path in
               root.iter("{http://www.w3.org/2000/svg}path")) == 2


def test_an_operation_on_the_graph_that_somebody_withholds(tmp_path):
    with World(seed=3) as world:
        vm = world.vm()
        vm.the_world = world
        for name, backing in (("a", None), ("b", "a")):
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / name, "1M"],
                           check=True)
            world.store.import_file(f"{name}.img", str(tmp_path / name))
            world.run(vm.qmp("blockdev-add", {
                "driver": "qcow2", "node-name": name, "backing": backing,
                "read-only": name == "a", "file": {"driver": "file", "filename": f"{name}.img"}}))
        before = state_of_graph(vm)
        command = "blockdev-snapshot", {"node": "a", "overlay": "b"}
        explained = vm.explain(*command)
        assert state_of_graph(vm) == before
        assert [(c["graph_mod"], c["node"], c["unshares"]) for c in explained.conflicts] == [
            ("external-snapshot", "a", {"description": "node 'b'", "edge": "backing"})]
        with pytest.raises(PermissionRefused) as refused:
            world.run(vm.qmp(*command))
        assert refused.value.graph_mod == "external-snapshot"
        assert refused.value.desc == explained.error
        assert refused.value.reason == ("external-snapshot of node 'a' is withheld by node 'b'")
        text = explained.to_text()
        assert "external-snapshot: refused -> a (qcow2)  CONFLICT" in text
        assert "backing: - / CWUR -> a (qcow2) (see above)  CONFLICT" in text


def state_of_graph(vm):
    return vm.dump(), vm.graph(), vm.the_world.digest


def test_from_inside_a_scenario_while_others_run(vm):
    world = vm.the_world
    seen = []

    async def other():
        for _ in range(5):
            seen.append(world.now_ns)
            await world.sleep(10)

    async def main():
        task = world.start(other(), name="other")
        await world.sleep(25)
        explained = vm.explain(*DISK)
        await task
        return explained

    assert not world.run(main()).accepted
    assert [at - seen[0] for at in seen] == [0, 10, 20, 30, 40]


def test_real_files_are_not_tried_on():
    with World() as world:
        vm = world.vm(PosixStore(world))
        with pytest.raises(ValueError, match="explain needs images in memory"):
            vm.explain(*UNKNOWN)
        with pytest.raises(TypeError, match="dictionary"):
            vm.explain("query-version", 5)
