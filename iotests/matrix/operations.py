# SPDX-License-Identifier: Apache-2.0
"""What can be done to a node: the rows and columns of the permission matrix.

An operation is a list of QMP commands on one node; it is refused when one of them is. Each comes in
two copies (1 and 2) so that an operation can meet itself. Device kinds, drivers and jobs join by
being added to the tables here; `registered` drops those that a program does not have.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    name: str
    group: str
    commands: tuple          # of (command, arguments); {N} the node, {IMAGE} its file, {i} the copy
    needs: tuple = ()        # device, driver and command names that must be registered
    settles: str = ""        # job id to wait for until it stands still
    undo: tuple = ()         # commands that take it back, where that is cheaper than a new start

    def applies_to(self, node, options):
        """A node that a job made has no options to be reopened with."""
        return node in options or all(command != "blockdev-reopen" for command, _ in self.commands)

    def back(self, role, copy):
        return [(command, _fill(arguments, role, copy)) for command, arguments in self.undo]

    def steps(self, role, copy, options):
        """The commands with names filled in; `options` are what each node was opened with."""
        filled = []
        for command, arguments in self.commands:
            arguments = _fill(arguments, role, copy)
            if command == "blockdev-reopen":
                arguments = {"options": [{**options[entry["node-name"]], **entry}
                                         for entry in arguments["options"]]}
            filled.append((command, arguments))
        return filled


def _fill(value, role, copy):
    if isinstance(value, str):
        return (value.replace("{N}", role.node).replace("{IMAGE}", role.image)
                .replace("{i}", str(copy)))
    if isinstance(value, dict):
        return {key: _fill(item, role, copy) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, role, copy) for item in value]
    return value


def _device(kind, **properties):
    label = kind + "".join(f" {key}={str(value).lower()}" for key, value in properties.items())
    arguments = {"driver": kind, "id": "dev{i}", "drive": "{N}"}
    if kind.startswith("scsi"):
        arguments["bus"] = "s0.0"
    arguments.update({key.replace("_", "-"): value for key, value in properties.items()})
    # Buses whose unplug asks the guest keep the device until it answers: no way back there.
    undo = (("device_del", {"id": "dev{i}"}),) if kind.startswith("scsi") else ()
    return Operation("attach " + label, "device", (("device_add", arguments),), (kind,), undo=undo)


DEVICE_KINDS = {
    "scsi-hd": [{}, {"share_rw": True}],
    "scsi-cd": [{}, {"share_rw": True}],
    "virtio-blk-pci": [{}, {"share_rw": True}],
    "nvme": [{"serial": "x"}, {"serial": "x", "share_rw": True}],
    "ide-hd": [{}, {"share_rw": True}],
    "ide-cd": [{}, {"share_rw": True}],
    "usb-storage": [{}, {"share_rw": True}],
    "floppy": [{}, {"share_rw": True}],
}


def _node(label, options, driver=None):
    arguments = {"node-name": "new{i}", **options}
    return Operation(label, "node", (("blockdev-add", arguments),),
                     (driver or options["driver"],),
                     undo=(("blockdev-del", {"node-name": "new{i}"}),))


LETTERS = {"C": "consistent-read", "W": "write", "U": "write-unchanged", "R": "resize"}


def _sets():
    for bits in range(16):
        yield "".join(letter for i, letter in enumerate(LETTERS) if bits >> i & 1)


def _blkdebug(take, withhold):
    return _node(f"blkdebug takes {take or '-'} withholds {withhold or '-'}", {
        "driver": "blkdebug", "image": "{N}",
        "take-child-perms": [LETTERS[letter] for letter in take],
        "unshare-child-perms": [LETTERS[letter] for letter in withhold]})


def _mirror(label, source, target, **extra):
    return Operation(label, "job", (("blockdev-mirror", {
        "job-id": "job{i}", "device": source, "target": target, **extra}),),
        ("blockdev-mirror",), "job{i}")


def _commit(label, **extra):
    return Operation(label, "job", (("block-commit", {
        "job-id": "job{i}", "device": "top", "auto-finalize": False, **extra}),),
        ("block-commit",), "job{i}")


def operations():
    """All of them, in a fixed order."""
    for kind, variants in DEVICE_KINDS.items():
        for properties in variants:
            yield _device(kind, **properties)
    yield _node("raw", {"driver": "raw", "file": "{N}"})
    yield _node("raw read-only", {"driver": "raw", "file": "{N}", "read-only": True})
    yield _node("raw with offset", {"driver": "raw", "file": "{N}", "offset": 512})
    yield _node("copy-on-read", {"driver": "copy-on-read", "file": "{N}"})
    yield _node("qcow2 on it", {"driver": "qcow2", "file": "{N}"})
    yield _node("qcow2 on it read-only", {"driver": "qcow2", "file": "{N}", "read-only": True})
    yield _node("overlay", {"driver": "qcow2", "file": "o{i}f", "backing": "{N}"}, "qcow2")
    yield _node("overlay read-only",
                {"driver": "qcow2", "file": "o{i}f", "backing": "{N}", "read-only": True}, "qcow2")
    yield _node("second opener", {"driver": "qcow2", "file": {
        "driver": "file", "filename": "{IMAGE}.qcow2"}})
    yield _node("second opener read-only", {"driver": "qcow2", "read-only": True, "file": {
        "driver": "file", "filename": "{IMAGE}.qcow2"}})
    yield _node("second opener read-only force-share", {
        "driver": "qcow2", "read-only": True, "force-share": True,
        "file": {"driver": "file", "filename": "{IMAGE}.qcow2"}})
    for sync in ("full", "top", "none"):
        yield _mirror(f"mirror sync={sync} from it", "{N}", "t{i}", sync=sync)
    yield _mirror("mirror write-blocking from it", "{N}", "t{i}", sync="full",
                  **{"copy-mode": "write-blocking"})
    yield _mirror("mirror onto it", "src{i}", "{N}", sync="full")
    yield _commit("commit everything above it into it", **{"base-node": "{N}"})
    yield _commit("commit it into base", **{"top-node": "{N}", "base-node": "base"})
    yield Operation("block_resize larger", "command",
                    (("block_resize", {"node-name": "{N}", "size": 2 << 20}),), ("block_resize",))
    yield Operation("block_resize smaller", "command",
                    (("block_resize", {"node-name": "{N}", "size": 65536}),), ("block_resize",))
    yield Operation("snapshot of it", "command",
                    (("blockdev-snapshot", {"node": "{N}", "overlay": "ov{i}"}),),
                    ("blockdev-snapshot",))
    yield Operation("it as a snapshot's overlay", "command",
                    (("blockdev-snapshot", {"node": "src{i}", "overlay": "{N}"}),),
                    ("blockdev-snapshot",))
    yield Operation("blockdev-del", "command", (("blockdev-del", {"node-name": "{N}"}),),
                    ("blockdev-del",))
    for read_only in (True, False):
        yield Operation(f"reopen {'read-only' if read_only else 'read-write'}", "command",
                        (("blockdev-reopen", {"options": [
                            {"node-name": "{N}", "read-only": read_only}]}),),
                        ("blockdev-reopen",))
    for command in ("write 0 4k", "read 0 4k", "discard 0 64k", "truncate 2M", "flush"):
        yield Operation(f"qemu-io {command}", "command", (("human-monitor-command", {
            "command-line": f'qemu-io {{N}} "{command}"'}),), ("human-monitor-command",))
    for letters in _sets():
        yield _blkdebug(letters, "")
    for letters in list(_sets())[1:]:
        yield _blkdebug("", letters)
