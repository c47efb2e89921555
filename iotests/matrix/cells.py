# SPDX-License-Identifier: Apache-2.0
"""Deciding cells: role x first operation x second operation, on one program.

The program is kept running. What is refused leaves no trace, so the next second operation may
follow at once; what was accepted is taken back where that is cheap, else the graph is taken down
and built again. Both programs go through exactly the same commands.
"""

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field

from iotests.compare import graph
from iotests.compare.program import Program, ProgramDied
from iotests.compare.vocabulary import CONTROLLERS
from iotests.matrix.roles import HELPERS, fresh_copy

STANDS_STILL = ("ready", "pending", "concluded", "null", "paused", "standby")
SECONDS_MAX = 10.0


class SetUpFailed(Exception):
    """A role's own graph could not be built."""


@dataclass
class Cell:
    role: str
    first: str
    second: str            # "" for the first operation alone
    outcome: str = ""      # "accepted", "refused", "died"
    reason: str = ""       # the error's text
    command: str = ""      # the command that was refused, or the last one
    edges: list = field(default_factory=list)  # what it added to the graph ("+ ") and removed

    def key(self):
        return self.role, self.first, self.second

    def verdict(self):
        return self.outcome, self.reason, self.edges

    def as_dict(self):
        return asdict(self)


def changes(before, after):
    """The lines that were removed and added."""
    return ([f"- {edge}" for edge in before if edge not in after] +
            [f"+ {edge}" for edge in after if edge not in before])


class Decider:
    """Decides cells on one program; images lie in a directory of this decider's own."""

    def __init__(self, argv, images, schema):
        self.argv, self.images, self.schema = argv, images, schema
        self.directory = tempfile.TemporaryDirectory(
            dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.program = None
        self.options = {}   # of each node, as it was opened
        self.devices = {}   # id -> driver

    def close(self):
        if self.program:
            self.program.close()
        self.directory.cleanup()

    def row(self, role, first, seconds):
        """The cells (role, first, *): one for `first` alone, then one for each second."""
        try:
            self._set_up(role)
        except SetUpFailed as failure:
            yield Cell(role.name, first.name, "", "set-up failed", str(failure))
            return
        if not first.applies_to(role.node, self.options):
            return
        cell, before = self._decide(role, first, 1, Cell(role.name, first.name, ""))
        yield cell
        if cell.outcome != "accepted":
            return
        dirty = False
        for second in seconds:
            if dirty:
                self._set_up(role)
                self._decide(role, first, 1, Cell(role.name, first.name, ""))
                dirty = False
            if not second.applies_to(role.node, self.options):
                continue
            cell, before = self._decide(role, second, 2, Cell(role.name, first.name, second.name))
            dirty = cell.outcome == "died" or not (
                self._undone(role, second, before) if cell.outcome == "accepted"
                else not cell.edges)
            yield cell

    def _decide(self, role, operation, copy, cell):
        """Does it; the cell, and the graph before."""
        before = []
        try:
            for helper in operation.helpers:
                self._add_helper(helper.replace("{i}", str(copy)))
            before = graph.edges(self.program)
            self._apply(operation.steps(role, copy, self.options), cell)
            if cell.outcome == "accepted" and operation.settles:
                self._settle(operation.settles.replace("{i}", str(copy)))
            cell.edges = changes(before, graph.edges(self.program))
        except ProgramDied as death:
            cell.outcome, cell.reason = "died", death.reason
        return cell, before

    def _apply(self, steps, cell):
        done = []
        for command, arguments in steps:
            cell.command = command
            reply = self._execute(command, arguments)
            text = reply["error"]["desc"] if "error" in reply else ""
            if command == "human-monitor-command" and reply.get("return", "").strip():
                text = reply["return"].strip()
            if text:
                cell.outcome, cell.reason = "refused", graph.plain(text)
                self._take_back(done)
                return
            done.append((command, arguments))
        cell.outcome = "accepted"

    # What came before a refused command of the same operation goes again.
    def _take_back(self, done):
        for command, arguments in reversed(done):
            if command == "blockdev-add":
                self._execute("blockdev-del", {"node-name": arguments["node-name"]})
            if command == "device_add":
                self._unplug([arguments["id"]])

    def _undone(self, role, operation, before):
        if operation.harmless:
            return True
        if not operation.undo:
            return False
        for command, arguments in operation.back(role, 2, self.options):
            if command == "device_del":
                self._unplug([arguments["id"]])
            elif command == "block-job-cancel":
                self._cancel_jobs([arguments["device"]])
            elif command != "system_reset":  # that was done to unplug
                self._execute(command, arguments)
        return graph.edges(self.program) == before

    # ---- graphs up and down -----------------------------------------------------------------

    def _execute(self, command, arguments=None):
        reply = self.program.execute(command, arguments)
        if "return" in reply:
            if command == "blockdev-add":
                self.options[arguments["node-name"]] = arguments
            if command == "blockdev-del":
                self.options.pop(arguments["node-name"], None)
            if command == "device_add":
                self.devices[arguments["id"]] = arguments["driver"]
        return reply

    def _must(self, command, arguments):
        reply = self._execute(command, arguments)
        if "error" in reply:
            raise SetUpFailed(f"{command} {json.dumps(arguments)}: {reply['error']['desc']}")

    def _add_helper(self, name):
        for options in HELPERS[name]:
            if options["node-name"] not in self.options:
                self._must("blockdev-add", options)

    def _set_up(self, role):
        if not self._take_down():
            self._start()
        self.options = {}
        fresh_copy(self.images, self.directory.name)
        for options in role.nodes():
            self._must("blockdev-add", options)
        for helper in role.helpers:
            self._add_helper(helper)
        for command, arguments in role.extra:
            self._must(command, arguments)
        for job in role.settles:
            self._settle(job)

    def _start(self):
        if self.program:
            self.program.close()
        self.program = Program(self.argv, self.directory.name)
        self.devices = {}
        for driver, name in (*CONTROLLERS, ("sdhci-pci", "sdhci")):
            if self.schema.has(driver):
                self.program.execute("device_add", {"driver": driver, "id": name})
        if self.schema.has("throttle"):
            self.program.execute("object-add", {"qom-type": "throttle-group", "id": "tg0"})
        if self.schema.has("nbd-server-start"):
            self.program.execute("nbd-server-start", {
                "addr": {"type": "unix", "data": {"path": "nbd.sock"}}})

    def _take_down(self):
        """True when nothing is left of the graph; the program is then as good as new."""
        if not self.program:
            return False
        try:
            self._cancel_jobs()
            for export in self.program.execute("query-block-exports").get("return", []):
                self.program.execute("block-export-del", {"id": export["id"], "mode": "hard"})
            self._unplug(list(self.devices))
            known = True
            while known:
                reply = self.program.execute("x-debug-query-block-graph")["return"]
                known = [node["name"] for node in reply["nodes"] if node["type"] == "block-driver"]
                gone = [name for name in known if "return" in self.program.execute(
                    "blockdev-del", {"node-name": name})]
                if not gone:
                    return not reply["nodes"]
            return True
        except (ProgramDied, TimeoutError):
            return False

    def _unplug(self, names):
        seen = len(self.program.events)
        ask_guest = False
        for name in names:
            self._execute("device_del", {"id": name})
            ask_guest |= not self.devices[name].startswith(("scsi", "usb"))
        if ask_guest:
            self.program.execute("system_reset")
        for name in names:
            self.program.wait_event(lambda event, name=name: event["event"] == "DEVICE_DELETED" and
                                    event["data"].get("device") == name, seen, SECONDS_MAX)
            self.devices.pop(name)

    def _cancel_jobs(self, names=None):
        end = time.monotonic() + SECONDS_MAX
        while time.monotonic() < end:
            jobs = [job for job in self.program.execute("query-jobs").get("return", [])
                    if names is None or job["id"] in names]
            if not jobs:
                return
            for job in jobs:
                if job["status"] == "concluded":
                    self.program.execute("job-dismiss", {"id": job["id"]})
                elif job["status"] != "aborting":
                    self.program.execute("block-job-cancel", {"device": job["id"], "force": True})
            time.sleep(0.001)

    def _settle(self, job):
        seen = [event for event in self.program.events if event["event"] == "JOB_STATUS_CHANGE"]
        if any(event["data"]["id"] == job and event["data"]["status"] in STANDS_STILL
               for event in seen[-1:]):
            return
        end = time.monotonic() + SECONDS_MAX
        while time.monotonic() < end:
            jobs = {entry["id"]: entry["status"]
                    for entry in self.program.execute("query-jobs").get("return", [])}
            if jobs.get(job, "null") in STANDS_STILL:
                return
            time.sleep(0.001)
