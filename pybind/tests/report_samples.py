# SPDX-License-Identifier: Apache-2.0
"""Recordings made by hand, for tests of reports."""
import random

from blockstep.report.recording import Command, Event, Graph, Note, Recording, Trace

ALL = ("consistent-read", "write", "write-unchanged", "resize")
READ = ("consistent-read",)
WRITE = ("consistent-read", "write")


def node(name, driver, **more):
    return {"name": name, "driver": driver, **more}


def edge(parent, child, name, used, shared=ALL, is_node=False):
    return {"parent": f"node '{parent}'" if is_node else parent,
            "parent_node": parent if is_node else None, "child": child, "name": name,
            "used": tuple(used), "shared": tuple(shared), "frozen": False}


SOURCE = [node("disk-file", "file", filename="source.qcow2"), node("disk", "qcow2", length=1 << 26)]
TARGET = [node("copy-file", "file", filename="target.qcow2"), node("copy", "qcow2")]
GUEST = edge("block device '/machine/peripheral/d0'", "disk", "root", WRITE,
             READ + ("write-unchanged",))
OPENED = {"nodes": SOURCE, "edges": [
    edge("disk", "disk-file", "file", WRITE + ("resize",), READ, is_node=True)]}
PLUGGED = {"nodes": SOURCE, "edges": [*OPENED["edges"], GUEST]}
WITH_TARGET = {"nodes": SOURCE + TARGET, "edges": [*PLUGGED["edges"], edge(
    "copy", "copy-file", "file", WRITE + ("resize",), READ, is_node=True)]}
MIRRORING = {"nodes": [*WITH_TARGET["nodes"], node("#block1", "mirror_top")], "edges": [
    *[one for one in WITH_TARGET["edges"] if one is not GUEST],
    {**GUEST, "child": "#block1"},
    edge("#block1", "disk", "backing", WRITE, ALL, is_node=True),
    edge("mirror job 'm0'", "copy", "target", WRITE, ALL),
    edge("mirror job 'm0'", "#block1", "main node", (), ALL)]}
PIVOTED = {"nodes": WITH_TARGET["nodes"], "edges": [
    *[one for one in WITH_TARGET["edges"] if one is not GUEST], {**GUEST, "child": "copy"}]}

REFUSAL = {"node": "disk", "permissions": ["write"],
           "requires": {"description": "block device '/machine/peripheral/d1'", "edge": "root"},
           "unshares": {"description": "block device '/machine/peripheral/d0'", "edge": "root"}}
REFUSED_TEXT = ("Conflicts with use by /machine/peripheral/d0 as 'root', which does not allow "
                "'write' on disk")


def fill_trace(trace: Trace, count: int, seed: int = 1, names=("disk", "copy", "disk-file",
               "copy-file"), labels=("read", "write", "write zeroes", "flush")) -> int:
    """Requests of guest fibers and job workers at random; gives the time of the last."""
    draw = random.Random(seed)
    trace.threads = ["main loop", "iothread0"]
    subjects = [trace.name(name) for name in names]
    kinds = [trace.name(label) for label in labels]
    request, copy = trace.name("virtio-blk request"), trace.name("mirror copy")
    at, next_fiber, alive = 0, 10, []
    while len(trace) < count:
        at += draw.choice((0, 0, 250, 1000, draw.randrange(20_000)))
        if len(alive) < 8 or draw.random() < 0.1:
            next_fiber += 1
            alive.append((next_fiber, draw.choice((0, 1))))
        fiber, thread = draw.choice(alive)
        trace.steps.append((at, len(trace), fiber, copy if thread else request, thread))
        for _ in range(draw.randrange(1, 4)):
            trace.at_ns.append(at)
            trace.label.append(draw.choice(kinds))
            trace.fiber.append(fiber)
            trace.subject.append(draw.choice(subjects))
            trace.a.append(draw.randrange(1 << 24) * 4096)
            trace.b.append(draw.choice((4096, 4096, 512, 65536)))
        if draw.random() < 0.12:
            alive.remove((fiber, thread))
    return at


def mirror_run(count: int = 3000) -> Recording:
    """A mirror under a guest's I/O, with a writer refused, a fault and a pivot."""
    recording = Recording(
        scenario="scenarios/mirror_meets_hotplug.py", seed=7, digest="0123456789abcdef",
        schedule="random", wall_s=0.4, again="./blockstep run scenarios/x.py --seed 7")
    last = fill_trace(recording.trace, count)
    recording.simulated_ns = last + 1000

    def moment(part):
        position = int(len(recording.trace) * part)
        return recording.trace.at_ns[position], position

    def command(part, name, arguments, to=None, **more):
        end = moment(to or part + 0.005)
        recording.commands.append(Command(*moment(part), name, arguments, *end, **more))

    def status(part, value):
        recording.events.append(Event(*moment(part), "JOB_STATUS_CHANGE",
                                      {"status": value, "id": "m0"}))

    command(0.01, "blockdev-add", {"driver": "qcow2", "node-name": "disk"}, reply={})
    command(0.05, "device_add", {"driver": "virtio-blk-pci", "id": "d0", "drive": "disk"}, reply={})
    command(0.15, "blockdev-add", {"driver": "qcow2", "node-name": "copy"}, reply={})
    command(0.20, "blockdev-mirror", {"job-id": "m0", "device": "disk", "target": "copy"},
            reply={})
    command(0.10, "device_add", {"driver": "virtio-blk-pci", "id": "d1", "drive": "disk"},
            error={"class": "GenericError", "desc": REFUSED_TEXT}, refusal=REFUSAL)
    command(0.75, "job-complete", {"id": "m0"}, reply={})
    command(0.90, "device_del", {"id": "d0"}, reply={})
    for part, value in ((0.2, "created"), (0.202, "running"), (0.6, "ready"), (0.76, "waiting"),
                        (0.77, "pending"), (0.8, "concluded"), (0.81, "null")):
        status(part, value)
    recording.events.append(Event(*moment(0.95), "DEVICE_DELETED", {"device": "d0"}))
    for part, graph, cause in ((0.01, OPENED, "blockdev-add"), (0.05, PLUGGED, "device_add"),
                               (0.15, WITH_TARGET, "blockdev-add"),
                               (0.2, MIRRORING, "blockdev-mirror"),
                               (0.5, MIRRORING, "nothing changed"), (0.8, PIVOTED, "m0 completes")):
        recording.graphs.append(Graph(*moment(part), graph, cause))
    recording.notes = [Note(*moment(0.11), "a second writer is refused"),
                       Note(*moment(0.85), "the guest runs on the copy")]
    recording.faults = [Note(*moment(0.98), "power cut: 3 of 17 unflushed writes survive")]
    return recording
