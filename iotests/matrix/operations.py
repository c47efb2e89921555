# SPDX-License-Identifier: Apache-2.0
"""What can be done to a node: the rows and columns of the permission matrix.

An operation is a list of QMP commands on one node; it is refused when one of them is. Each comes in
two copies (1 and 2) so that an operation can meet itself. It joins when everything it needs is
registered; filters that the tables here do not know join by their schema.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    name: str
    group: str
    commands: tuple          # of (command, arguments); {N} the node, {IMAGE} its file, {i} the copy
    needs: tuple = ()        # device, driver and command names that must be registered
    helpers: tuple = ()      # nodes beside the chain that must be there first, see roles.HELPERS
    settles: str = ""        # job id to wait for until it stands still
    undo: tuple = ()         # commands that take it back, where that is cheaper than a new start
    harmless: bool = False   # once done, nothing can tell that it was

    def applies_to(self, node, options):
        """A node that a job made has no options to be reopened with."""
        return node in options or all(command != "blockdev-reopen" for command, _ in self.commands)

    def back(self, role, copy, options):
        return _filled(self.undo, role, copy, options)

    def steps(self, role, copy, options):
        """The commands with names filled in; `options` are what each node was opened with."""
        return _filled(self.commands, role, copy, options)


def _filled(commands, role, copy, options):
    filled = []
    for command, arguments in commands:
        arguments = fill(arguments, role, copy)
        if command == "blockdev-reopen":
            arguments = {"options": [{**options[entry["node-name"]], **entry}
                                     for entry in arguments["options"]]}
        filled.append((command, arguments))
    return filled


def fill(value, role, copy):
    if isinstance(value, str):
        return (value.replace("{N}", role.node).replace("{IMAGE}", role.image)
                .replace("{i}", str(copy)))
    if isinstance(value, dict):
        return {key: fill(item, role, copy) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, role, copy) for item in value]
    return value


# ---- devices ----------------------------------------------------------------------------------

# What each kind of disk is plugged into, and what it cannot be without.
DEVICE_KINDS = {
    "scsi-hd": {"bus": "s0.0"},
    "scsi-cd": {"bus": "s0.0"},
    "virtio-blk-pci": {},
    "nvme": {"serial": "x"},
    "usb-storage": {"bus": "xhci.0"},
    "ide-hd": {"bus": "ide.0"},
    "ide-cd": {"bus": "ide.1"},
    "floppy": {"unit": 1},
    "sd-card": {"bus": "sdhci.0"},
}


def _device(kind, share_rw=False, read_only=False):
    arguments = {"driver": kind, "id": "dev{i}", "drive": "{N}",
                 **DEVICE_KINDS.get(kind, {})}
    commands, undo = [], [("device_del", {"id": "dev{i}"})]
    if share_rw:
        arguments["share-rw"] = True
    if read_only:
        arguments["drive"] = "ro{i}"
        commands = [_add("ro{i}", driver="raw", file="{N}", **{"read-only": True})]
    if not kind.startswith(("scsi", "usb")):
        undo.append(("system_reset", {}))  # it waits for the guest, or for this
    if read_only:
        undo.append(("blockdev-del", {"node-name": "ro{i}"}))
    name = kind + " read-only" * read_only + " share-rw" * share_rw
    return Operation("attach " + name, "devices", (*commands, ("device_add", arguments)), (kind,),
                     undo=tuple(undo))


def devices(schema):
    known = [kind for kind in DEVICE_KINDS if kind in schema.disks]
    for kind in known + sorted(schema.disks - set(known)):
        for read_only in (False, True):
            for share_rw in (False, True):
                if "share-rw" in schema.devices[kind] or not share_rw:
                    yield _device(kind, share_rw, read_only)
    if schema.has("blockdev-insert-medium"):
        drive = ("device_add", {"driver": "scsi-cd", "id": "cd{i}", "bus": "s0.0"})
        gone = ("device_del", {"id": "cd{i}"})
        opened = ("blockdev-open-tray", {"id": "cd{i}"})
        yield Operation("insert as a medium", "devices", (
            drive, opened, ("blockdev-insert-medium", {"id": "cd{i}", "node-name": "{N}"})),
            ("scsi-cd",), undo=(gone,))
        for mode in ("read-only", "retain"):
            yield Operation(f"change medium to its file, {mode}", "devices", (
                drive, ("blockdev-change-medium", {
                    "id": "cd{i}", "filename": "{IMAGE}.qcow2", "format": "qcow2",
                    "read-only-mode": mode})),
                ("scsi-cd", "blockdev-change-medium"), undo=(gone,))
        yield Operation("insert and remove as a medium", "devices", (
            drive, opened, ("blockdev-insert-medium", {"id": "cd{i}", "node-name": "{N}"}),
            ("blockdev-remove-medium", {"id": "cd{i}"})),
            ("scsi-cd", "blockdev-remove-medium"), undo=(gone,))


# ---- nodes ------------------------------------------------------------------------------------


def _add(name, **options):
    return "blockdev-add", {"node-name": name, **options}


def _node(label, driver, helpers=(), group="filters and formats", **options):
    return Operation(label, group, (_add("new{i}", driver=driver, **options),),
                     (driver, "blockdev-add"), helpers,
                     undo=(("blockdev-del", {"node-name": "new{i}"}),))


READ_ONLY = {"read-only": True}
FORCED = {"read-only": True, "force-share": True}
FLAGS = {"": {}, " read-only": READ_ONLY, " force-share": FORCED}


def nodes(schema):
    for label, flags in FLAGS.items():
        yield _node("raw" + label, "raw", file="{N}", **flags)
    yield _node("raw with offset", "raw", file="{N}", offset=512)
    for label, flags in FLAGS.items():
        yield _node("qcow2 on it" + label, "qcow2", file="{N}", **flags)
    for label, flags in FLAGS.items():
        yield _node("overlay" + label, "qcow2", ("o{i}f",), file="o{i}f", backing="{N}", **flags)
    for label, flags in FLAGS.items():
        yield _node("second opener" + label, "qcow2",
                    file={"driver": "file", "filename": "{IMAGE}.qcow2"}, **flags)
    yield _node("copy-on-read", "copy-on-read", file="{N}")
    yield _node("copy-on-read read-only", "copy-on-read", file="{N}", **READ_ONLY)
    for label, flags in list(FLAGS.items())[:2]:
        yield _node("throttle" + label, "throttle", file="{N}",
                    **{"throttle-group": "tg0"}, **flags)
    yield _node("copy-before-write from it", "copy-before-write", ("t{i}",), file="{N}",
                target="t{i}")
    yield _node("copy-before-write onto it", "copy-before-write", ("src{i}",), file="src{i}",
                target="{N}")
    yield _node("quorum", "quorum", ("src{i}",), children=["{N}", "src{i}"],
                **{"vote-threshold": 1})
    yield _node("quorum rewriting", "quorum", ("src{i}",), children=["{N}", "src{i}"],
                **{"vote-threshold": 2, "rewrite-corrupted": True})
    yield _node("blkverify raw", "blkverify", ("src{i}",), raw="{N}", test="src{i}")
    yield _node("blkverify test", "blkverify", ("src{i}",), raw="src{i}", test="{N}")
    yield _node("blklogwrites", "blklogwrites", ("src{i}",), file="{N}", log="src{i}")
    yield _node("blklogwrites log", "blklogwrites", ("src{i}",), file="src{i}", log="{N}")
    yield from _other_filters(schema)


# These have rows of their own, or lead out of the process.
NOT_PLAIN = {"raw", "qcow2", "copy-on-read", "throttle", "copy-before-write", "quorum", "blkdebug",
             "blkverify", "blklogwrites", "nbd", "file", "host_device", "host_cdrom"}


def _other_filters(schema):
    """Drivers whose one required child is all they need, from the schema."""
    if not schema.has("blockdev-add"):
        return
    for driver, members in sorted(schema.variants("blockdev-add").items()):
        required = [member["name"] for member in members if "default" not in member]
        if driver in NOT_PLAIN or required not in (["file"], ["image"]):
            continue
        for label, flags in FLAGS.items():
            yield _node(driver + label, driver, **{required[0]: "{N}"}, **flags)


LETTERS = {"C": "consistent-read", "W": "write", "U": "write-unchanged", "R": "resize"}


def _sets():
    for bits in range(16):
        yield "".join(letter for i, letter in enumerate(LETTERS) if bits >> i & 1)


def _blkdebug(take, withhold):
    return _node(f"blkdebug takes {take or '-'} withholds {withhold or '-'}", "blkdebug",
                 group="blkdebug", image="{N}", **{
                     "take-child-perms": [LETTERS[letter] for letter in take],
                     "unshare-child-perms": [LETTERS[letter] for letter in withhold]})


def blkdebug(_schema):
    for letters in _sets():
        yield _blkdebug(letters, "")
    for letters in list(_sets())[1:]:
        yield _blkdebug("", letters)


# ---- jobs and exports -------------------------------------------------------------------------


CANCEL = (("block-job-cancel", {"device": "job{i}", "force": True}),)


def _mirror(label, source, target, helper, **extra):
    return Operation(label, "jobs", (("blockdev-mirror", {
        "job-id": "job{i}", "device": source, "target": target, **extra}),),
        ("blockdev-mirror",), (helper,), settles="job{i}", undo=CANCEL)


def _held_job(label, command, helpers=(), undo=(), **arguments):
    """A job that stops before it would change the graph."""
    return Operation(label, "jobs", ((command, {
        "job-id": "job{i}", "auto-finalize": False, **arguments}),), (command,), helpers,
        settles="job{i}", undo=undo)


def jobs(_schema):
    for sync in ("full", "top", "none"):
        yield _mirror(f"mirror {sync} from it", "{N}", "t{i}", "t{i}", sync=sync)
    yield _mirror("mirror write-blocking from it", "{N}", "t{i}", "t{i}", sync="full",
                  **{"copy-mode": "write-blocking"})
    yield _mirror("mirror full onto it", "src{i}", "{N}", "src{i}", sync="full")
    yield _held_job("commit all of it", "block-commit", device="{N}")
    yield _held_job("commit everything above it into it", "block-commit", device="top",
                    **{"base-node": "{N}"})
    yield _held_job("commit it into base", "block-commit", device="top",
                    **{"top-node": "{N}", "base-node": "base"})
    yield _held_job("stream into it", "block-stream", device="{N}")
    yield _held_job("stream into it from above base", "block-stream", device="{N}",
                    **{"base-node": "base"})
    yield _held_job("stream into top from above it", "block-stream", device="top",
                    **{"base-node": "{N}"})
    for sync in ("full", "top", "none"):
        yield _held_job(f"backup {sync} of it", "blockdev-backup", ("t{i}",), CANCEL,
                        device="{N}", target="t{i}", sync=sync)
    yield _held_job("backup onto it", "blockdev-backup", ("src{i}",), CANCEL, device="src{i}",
                    target="{N}", sync="full")
    for writable in (False, True):
        yield Operation("export " + ("writable" if writable else "read-only"), "jobs", (
            ("block-export-add", {"type": "nbd", "id": "exp{i}", "name": "exp{i}",
                                  "node-name": "{N}", "writable": writable}),),
            ("block-export-add", "nbd-server-start"),
            undo=(("block-export-del", {"id": "exp{i}", "mode": "hard"}),))


# ---- other commands ----------------------------------------------------------------------------


def _command(label, command, arguments, helpers=(), undo=(), harmless=False):
    return Operation(label, "commands", ((command, arguments),), (command,), helpers, undo=undo,
                     harmless=harmless)


def commands(_schema):
    for label, size in (("larger", 2 << 20), ("smaller", 65536)):
        yield _command(f"block_resize {label}", "block_resize", {"node-name": "{N}", "size": size},
                       undo=(("block_resize", {"node-name": "{N}", "size": 1 << 20}),))
    yield _command("snapshot of it", "blockdev-snapshot", {"node": "{N}", "overlay": "ov{i}"},
                   ("ov{i}",))
    yield _command("it as a snapshot's overlay", "blockdev-snapshot",
                   {"node": "src{i}", "overlay": "{N}"}, ("src{i}",))
    yield _command("blockdev-snapshot-sync", "blockdev-snapshot-sync", {
        "node-name": "{N}", "snapshot-file": "o{i}.qcow2", "snapshot-node-name": "snap{i}",
        "format": "qcow2"})
    yield _command("blockdev-del", "blockdev-del", {"node-name": "{N}"})
    for read_only in (True, False):
        yield _command(f"reopen {'read-only' if read_only else 'read-write'}", "blockdev-reopen",
                       {"options": [{"node-name": "{N}", "read-only": read_only}]},
                       undo=(("blockdev-reopen", {"options": [{"node-name": "{N}"}]}),))
    yield _command("reopen without backing", "blockdev-reopen",
                   {"options": [{"node-name": "{N}", "backing": None}]})
    yield _command("reopen over another backing", "blockdev-reopen",
                   {"options": [{"node-name": "{N}", "backing": "src{i}"}]}, ("src{i}",))
    yield _command("change-backing-file", "change-backing-file",
                   {"device": "top", "image-node-name": "{N}", "backing-file": "base.qcow2"},
                   harmless=True)
    yield _command("block-dirty-bitmap-add", "block-dirty-bitmap-add",
                   {"node": "{N}", "name": "b{i}"},
                   undo=(("block-dirty-bitmap-remove", {"node": "{N}", "name": "b{i}"}),))
    for text in ("write 0 4k", "read 0 4k", "discard 0 64k", "truncate 2M", "flush"):
        yield _command(f"qemu-io {text}", "human-monitor-command",
                       {"command-line": f'qemu-io {{N}} "{text}"'},
                       harmless="truncate" not in text)


def operations(schema):
    """All that this schema can do, in a fixed order."""
    groups = (devices, nodes, jobs, commands, blkdebug)
    return [operation for group in groups for operation in group(schema)
            if all(schema.has(need) for need in operation.needs)]
