# SPDX-License-Identifier: Apache-2.0
"""Recipes for the generator: how the commands that matter are drawn so that they often succeed.

A recipe says which commands, drivers or devices it needs and joins when all of them are
registered; its function takes the Generator and returns (command, arguments), or None when there
is nothing to do it to.
"""

from dataclasses import dataclass
from typing import Callable

PERMISSIONS = ["consistent-read", "write", "write-unchanged", "resize"]
CONTROLLERS = [("virtio-scsi-pci", "s0"), ("qemu-xhci", "xhci"), ("lsi53c895a", "lsi")]


@dataclass(frozen=True)
class Recipe:
    draw: Callable
    weight: float
    needs: tuple


RECIPES: list[Recipe] = []


def recipe(weight, *needs):
    """Registers a function as a recipe."""
    def register(function):
        RECIPES.append(Recipe(function, weight, needs))
        return function
    return register


# ---- nodes ------------------------------------------------------------------------------------


def flags(g, options):
    """Common node options, now and then."""
    if g.chance(0.3):
        options["read-only"] = True
        if g.chance(0.2):
            options["force-share"] = True
    elif g.chance(0.03):
        options["force-share"] = True
    if g.chance(0.05):
        options["auto-read-only"] = True
    if g.chance(0.1):
        options["discard"] = g.random.choice(["unmap", "ignore"])
    if g.chance(0.05):
        options["detect-zeroes"] = g.random.choice(["off", "on", "unmap"])
    if g.chance(0.05):
        options["cache"] = {"direct": g.chance(0.3), "no-flush": g.chance(0.5)}
    return options


def file_node(g, name=None):
    options = {"driver": "file", "filename": g.file()}
    if name:
        options["node-name"] = name
    if g.chance(0.1):
        options["locking"] = g.random.choice(["off", "on", "auto"])
    return options


@recipe(5, "blockdev-add", "qcow2")
def add_qcow2(g):
    name = g.name("n")
    options = {"driver": "qcow2", "node-name": name}
    if g.chance(0.8):
        options["file"] = file_node(g, name + "f" if g.chance(0.7) else None)
    else:
        options["file"] = g.node()
    if g.chance(0.6):
        options["backing"] = g.node() if g.chance(0.7) else None
    return "blockdev-add", flags(g, options)


@recipe(1, "blockdev-add", "file")
def add_file(g):
    return "blockdev-add", flags(g, file_node(g, g.name("f")))


@recipe(1, "blockdev-add", "null-co")
def add_null(g):
    size = g.random.choice([1 << 20, 1 << 20, 65536, 1000])
    return "blockdev-add", flags(g, {"driver": "null-co", "node-name": g.name("z"), "size": size,
                                     "read-zeroes": True})


@recipe(3, "blockdev-add", "raw")
def add_raw(g):
    options = {"driver": "raw", "node-name": g.name("r"), "file": g.node()}
    if g.chance(0.2):
        options["offset"] = g.random.choice([512, 65536, 2 << 20])
    if g.chance(0.1):
        options["size"] = g.random.choice([512, 65536, 1000])
    return "blockdev-add", flags(g, options)


@recipe(3, "blockdev-add", "blkdebug")
def add_blkdebug(g):
    options = {"driver": "blkdebug", "node-name": g.name("d"), "image": g.node()}
    for key in ("take-child-perms", "unshare-child-perms"):
        if g.chance(0.5):
            options[key] = [p for p in PERMISSIONS if g.chance(0.3)]
    if g.chance(0.1):
        options["align"] = g.random.choice([512, 4096, 1000])
    return "blockdev-add", flags(g, options)


@recipe(2, "blockdev-add", "copy-on-read")
def add_copy_on_read(g):
    options = {"driver": "copy-on-read", "node-name": g.name("x"), "file": g.node()}
    if g.chance(0.04):  # a wrong one ends the transcript: the real program gives no answer
        options["bottom"] = g.node()
    return "blockdev-add", flags(g, options)


@recipe(1.5, "blockdev-add", "throttle", "object-add")
def add_throttle(g):
    groups = [name for name, kind in g.known.objects.items() if kind == "throttle-group"]
    if not groups:
        return "object-add", {"qom-type": "throttle-group", "id": g.name("tg")}
    return "blockdev-add", flags(g, {"driver": "throttle", "node-name": g.name("h"),
                                     "throttle-group": g.one_of(groups), "file": g.node()})


@recipe(1.5, "blockdev-add", "copy-before-write")
def add_copy_before_write(g):
    return "blockdev-add", flags(g, {"driver": "copy-before-write", "node-name": g.name("c"),
                                     "file": g.node(), "target": g.node()})


@recipe(1, "blockdev-add", "quorum")
def add_quorum(g):
    children = [g.node() for _ in range(g.random.choice([1, 2, 2, 3]))]
    return "blockdev-add", flags(g, {"driver": "quorum", "node-name": g.name("q"),
                                     "children": children,
                                     "vote-threshold": g.random.choice([1, 2])})


def simple_filter(driver, **children):
    @recipe(0.7, "blockdev-add", driver)
    def add(g):
        return "blockdev-add", flags(g, {"driver": driver, "node-name": g.name("y"),
                                         **{child: g.node() for child in children}})
    return add


for _driver, _children in {"compress": ["file"], "preallocate": ["file"],
                           "snapshot-access": ["file"], "blkverify": ["test", "raw"],
                           "blklogwrites": ["file", "log"], "blkreplay": ["image"]}.items():
    simple_filter(_driver, **dict.fromkeys(_children))


@recipe(4, "blockdev-del")
def del_node(g):
    return "blockdev-del", {"node-name": g.node()}


@recipe(3, "blockdev-reopen")
def reopen(g):
    entries = []
    for _ in range(g.random.choice([1, 1, 1, 2])):
        name = g.node()
        options = dict(g.known.nodes.get(name) or {"driver": "qcow2", "node-name": name})
        for key, value in options.items():
            if isinstance(value, dict) and "node-name" in value:
                options[key] = value["node-name"]
        draw = g.random.random()
        if draw < 0.5:
            options["read-only"] = g.chance(0.5)
        elif draw < 0.8 and options.get("driver") == "qcow2":
            options["backing"] = g.node() if g.chance(0.7) else None
        elif "file" in options:
            options["file"] = g.node()
        entries.append(options)
    return "blockdev-reopen", {"options": entries}


@recipe(2, "block_resize")
def resize(g):
    return "block_resize", {"node-name": g.node(),
                            "size": g.random.choice([1 << 20, 2 << 20, 65536, 1000])}


@recipe(2, "blockdev-snapshot")
def snapshot(g):
    return "blockdev-snapshot", {"node": g.node(), "overlay": g.node()}


@recipe(0.7, "x-blockdev-change")
def change_child(g):
    if g.chance(0.5):
        return "x-blockdev-change", {"parent": g.node(), "node": g.node()}
    return "x-blockdev-change", {"parent": g.node(), "child": f"children.{g.random.choice('012')}"}


# ---- devices ----------------------------------------------------------------------------------

PLUGS = {"scsi-hd": ["s0.0", "lsi.0"], "scsi-cd": ["s0.0", "lsi.0"], "virtio-blk-pci": [None],
         "nvme": [None], "usb-storage": ["xhci.0"]}
BUSES = {"s0.0": "virtio-scsi-pci", "lsi.0": "lsi53c895a", "xhci.0": "qemu-xhci"}


@recipe(6, "device_add")
def add_device(g):
    driver = g.random.choice(sorted(g.schema.disks))
    # An nvme that is refused ends the transcript (a known bug): most are not to be.
    free = [name for name in g.known.nodes if g.known.seems_free(name)]
    if driver == "nvme" and not free and g.chance(0.97):
        driver = "scsi-hd"
    buses = [bus for bus in PLUGS.get(driver, [None]) if bus is None or g.schema.has(BUSES[bus])]
    bus = g.random.choice(buses or [None])
    arguments = {"driver": driver, "id": g.name("d")}
    if driver != "scsi-cd" or g.chance(0.8):
        arguments["drive"] = g.node()
    if bus:
        arguments["bus"] = bus
    if driver == "nvme":
        arguments |= {"serial": "x", "drive": g.one_of(free, arguments["drive"])}
    if g.chance(0.4):
        arguments["share-rw"] = True
    threads = [name for name, kind in g.known.objects.items() if kind == "iothread"]
    if driver == "virtio-blk-pci" and threads and g.chance(0.5):
        arguments["iothread"] = g.one_of(threads)
    return "device_add", arguments


@recipe(3, "device_del")
def del_device(g):
    disks = [name for name in g.known.devices if name.startswith("d")]
    return ("device_del", {"id": g.one_of(disks)}) if disks else None


@recipe(0.7, "system_reset")
def system_reset(g):
    return "system_reset", {}


def cds(g):
    return [name for name, driver in g.known.devices.items() if driver in ("scsi-cd", "floppy")]


def on_medium(command, weight):
    @recipe(weight, command)
    def act(g):
        if not cds(g):
            return None
        arguments = {"id": g.one_of(cds(g))}
        if command == "blockdev-insert-medium":
            arguments["node-name"] = g.node()
        if command == "blockdev-change-medium":
            arguments |= {"filename": g.file(), "format": "qcow2"}
            if g.chance(0.5):
                arguments["read-only-mode"] = g.random.choice(["retain", "read-only",
                                                               "read-write"])
        if command in ("blockdev-open-tray", "eject") and g.chance(0.4):
            arguments["force"] = True
        return command, arguments
    return act


for _command in ("blockdev-open-tray", "blockdev-close-tray", "blockdev-remove-medium", "eject",
                 "blockdev-change-medium"):
    on_medium(_command, 0.7)
on_medium("blockdev-insert-medium", 1.5)


@recipe(0.5, "object-add")
def add_iothread(g):
    return "object-add", {"qom-type": "iothread", "id": g.name("io")}


@recipe(0.3, "object-del")
def del_object(g):
    return ("object-del", {"id": g.one_of(g.known.objects)}) if g.known.objects else None


# ---- jobs -------------------------------------------------------------------------------------


def job_options(g, arguments, filtered=0.4):
    arguments["job-id"] = g.name("j")
    if g.chance(0.3):
        arguments["auto-finalize"] = False
    if g.chance(0.2):
        arguments["auto-dismiss"] = False
    if g.chance(filtered):
        arguments["filter-node-name"] = g.name("m")
    return arguments


@recipe(3, "blockdev-mirror")
def mirror(g):
    arguments = job_options(g, {"device": g.node(), "target": g.node(),
                                "sync": g.random.choice(["full", "top", "none"])})
    if g.chance(0.2):
        arguments["copy-mode"] = "write-blocking"
    if g.chance(0.1):
        arguments["replaces"] = g.node()
    return "blockdev-mirror", arguments


@recipe(3, "block-commit")
def commit(g):
    arguments = job_options(g, {"device": g.node()})
    if g.chance(0.6):
        arguments["base-node"] = g.node()
    if g.chance(0.5):
        arguments["top-node"] = g.node()
    return "block-commit", arguments


@recipe(2, "block-stream")
def stream(g):
    arguments = job_options(g, {"device": g.node()})
    if g.chance(0.5):
        arguments[g.random.choice(["base-node", "bottom"])] = g.node()
    return "block-stream", arguments


@recipe(2, "blockdev-backup")
def backup(g):
    return "blockdev-backup", job_options(g, {"device": g.node(), "target": g.node(),
                                              "sync": g.random.choice(["full", "top", "none"])})


@recipe(5, "job-cancel")
def job_verb(g):
    if not g.known.jobs:
        return None
    verb = g.random.choice([verb for verb in ("job-cancel", "job-complete", "job-pause",
                                              "job-resume", "job-finalize", "job-dismiss",
                                              "block-job-cancel", "block-job-complete",
                                              "block-job-pause", "block-job-resume",
                                              "block-job-finalize", "block-job-dismiss")
                            if verb in g.schema.commands])
    old_name = verb in ("block-job-cancel", "block-job-complete", "block-job-pause",
                        "block-job-resume")
    arguments = {"device" if old_name else "id": g.one_of(g.known.jobs)}
    if verb == "block-job-cancel" and g.chance(0.5):
        arguments["force"] = True
    return verb, arguments


# ---- exports, bitmaps, requests ------------------------------------------------------------------


@recipe(1, "block-export-add", "nbd-server-start")
def export(g):
    if g.chance(0.3):
        return "nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd.sock"}}}
    arguments = {"type": "nbd", "id": g.name("e"), "node-name": g.node()}
    if g.chance(0.5):
        arguments["writable"] = True
    return "block-export-add", arguments


@recipe(0.7, "block-export-del")
def del_export(g):
    return ("block-export-del", {"id": g.one_of(g.known.exports)}) if g.known.exports else None


@recipe(1, "block-dirty-bitmap-add")
def add_bitmap(g):
    arguments = {"node": g.node(), "name": g.name("b")}
    if g.chance(0.2):
        arguments["disabled"] = True
    if g.chance(0.2):
        arguments["granularity"] = g.random.choice([512, 65536, 1000])
    return "block-dirty-bitmap-add", arguments


@recipe(1, "block-dirty-bitmap-remove")
def bitmap_verb(g):
    if not g.known.bitmaps:
        return None
    node, name = g.random.choice(g.known.bitmaps)
    verb = g.random.choice(["remove", "clear", "enable", "disable"])
    return f"block-dirty-bitmap-{verb}", {"node": node, "name": name}


@recipe(2, "human-monitor-command")
def qemu_io(g):
    request = g.random.choice(["write -P 7 0 64k", "read 0 64k", "discard 0 64k", "flush",
                               "write -z 64k 64k", "truncate 2M", "length"])
    return "human-monitor-command", {"command-line": f'qemu-io {g.node()} "{request}"'}


@recipe(1.5, "query-named-block-nodes")
def query(g):
    queries = [name for name in ("query-named-block-nodes", "query-block", "query-jobs",
                                 "query-block-jobs", "query-block-exports", "query-status")
               if name in g.schema.commands]
    return g.random.choice(queries), {}


@recipe(1, "transaction")
def transaction(g):
    actions = []
    known = [action for action in ("blockdev-snapshot", "block-dirty-bitmap-add",
                                   "blockdev-backup") if action in g.schema.actions]
    for _ in range(g.random.choice([1, 2, 2, 3])):
        kind = g.random.choice(known)
        if kind == "blockdev-snapshot":
            data = {"node": g.node(), "overlay": g.node()}
        elif kind == "block-dirty-bitmap-add":
            data = {"node": g.node(), "name": g.name("b")}
        else:
            data = backup(g)[1]
        actions.append({"type": kind, "data": data})
    return "transaction", {"actions": actions}
