# SPDX-License-Identifier: Apache-2.0
"""Deciding cells: role x first operation x second operation, on one program.

A program is started anew for each first operation, and again after each second one that changed
something; what is refused leaves no trace, so the next second operation may follow at once. Both
programs go through exactly the same commands, hence the same number of cells.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field

from iotests.compare import graph
from iotests.compare.program import Program, ProgramDied
from iotests.matrix.roles import fresh_copy

STANDS_STILL = ("ready", "pending", "concluded", "null", "paused", "standby")


@dataclass
class Cell:
    role: str
    first: str
    second: str            # "" for the first operation alone
    outcome: str           # "accepted", "refused", "died"
    reason: str = ""       # the error's text
    edges: list = field(default_factory=list)

    def key(self):
        return self.role, self.first, self.second

    def verdict(self):
        return self.outcome, self.reason, self.edges

    def as_dict(self):
        return asdict(self)


def harmless(operation):
    """True when an accepted operation changes nothing that a later one could notice."""
    return operation.name.startswith("qemu-io") and "truncate" not in operation.name


class Decider:
    """Decides cells on one program; images lie in a directory of this decider's own."""

    def __init__(self, argv, images):
        self.argv, self.images = argv, images
        self.directory = tempfile.TemporaryDirectory(
            dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.program = None

    def close(self):
        if self.program:
            self.program.close()
        self.directory.cleanup()

    def row(self, role, first, seconds):
        """The cells (role, first, *): one for `first` alone, then one for each second."""
        self._set_up(role)
        if not first.applies_to(role.node, self.options):
            return
        cell = self._apply(role, first, 1, Cell(role.name, first.name, "", ""))
        cell.edges = self._edges()
        yield cell
        if cell.outcome != "accepted":
            return
        before, dirty = cell.edges, False
        for second in seconds:
            if not second.applies_to(role.node, self.options):
                continue
            if dirty:
                self._set_up(role)
                self._apply(role, first, 1, Cell(role.name, first.name, "", ""))
            cell = self._apply(role, second, 2, Cell(role.name, first.name, second.name, ""))
            cell.edges = self._edges()
            if cell.outcome == "accepted" and second.undo:
                self._take_back(role, second)
                dirty = self._edges() != before
            else:
                dirty = cell.edges != before or cell.outcome == "accepted" and not harmless(second)
            if cell.edges == before:
                cell.edges = []  # as the row's own
            yield cell

    def _set_up(self, role):
        if self.program:
            self.program.close()
        fresh_copy(self.images, self.directory.name)
        self.program = Program(self.argv, self.directory.name)
        self.options = {options["node-name"]: options for options in role.nodes()}
        for command, arguments in role.commands():
            reply = self.program.execute(command, arguments)
            if "error" in reply:
                raise RuntimeError(f"role '{role.name}': {command} {json.dumps(arguments)}: "
                                   f"{reply['error']['desc']}")
            if command == "blockdev-add":
                self.options[arguments["node-name"]] = arguments
        for job in role.settles:
            self._settle(job)

    def _apply(self, role, operation, copy, cell):
        try:
            for command, arguments in operation.steps(role, copy, self.options):
                reply = self.program.execute(command, arguments)
                text = reply["error"]["desc"] if "error" in reply else ""
                if command == "human-monitor-command" and "Permission conflict" in reply["return"]:
                    text = reply["return"].strip()
                if text:
                    cell.outcome, cell.reason = "refused", graph.plain(text)
                    return cell
            if operation.settles:
                self._settle(operation.settles.replace("{i}", str(copy)))
            cell.outcome = "accepted"
        except ProgramDied as death:
            cell.outcome, cell.reason = "died", str(death)
        return cell

    def _take_back(self, role, operation):
        for command, arguments in operation.back(role, copy=2):
            seen = len(self.program.events)
            self.program.execute(command, arguments)
            if command == "device_del":
                self.program.wait_event(lambda event: event["event"] == "DEVICE_DELETED", seen)

    def _settle(self, job):
        self.program.wait_event(lambda event: event["event"] == "JOB_STATUS_CHANGE" and
                                event["data"]["id"] == job and
                                event["data"]["status"] in STANDS_STILL)

    def _edges(self):
        try:
            return graph.edges(self.program)
        except ProgramDied:
            return []
