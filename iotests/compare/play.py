# SPDX-License-Identifier: Apache-2.0
"""Plays a transcript (a list of QMP commands) on a program and writes down what could be seen.

After each command the program is given time to come to rest: jobs stand still and unplugged devices
are gone. What is compared per step is the reply, the events in their order, and the whole
permission graph, with timestamps removed and generated names numbered by first appearance.
"""

import json
import re
import time
from dataclasses import dataclass

from iotests.compare import graph
from iotests.compare.program import ProgramDied

MOVING = {"created", "running", "waiting", "aborting"}
_GENERATED = re.compile(r"#block\d+")


@dataclass
class Step:
    """What one command led to."""
    command: dict
    reply: dict
    events: list
    edges: list

    def seen(self):
        return self.reply, self.events, self.edges


class Player:
    """Plays commands one by one on a running Program."""

    def __init__(self, program, directory):
        self.program, self.directory = program, str(directory)
        self._names = {}    # generated node name -> its number here
        self._drivers = {}  # device id -> driver

    def play(self, command):
        """Executes {"execute": ..., "arguments": ...} and returns its Step."""
        events_before = len(self.program.events)
        try:
            reply = self.program.execute(command["execute"], command.get("arguments"))
            self._rest(command, reply, events_before)
            edges = graph.edges(self.program)
        except ProgramDied as death:
            reply, edges = {"died": str(death).split(":")[0]}, []
        events = [{key: value for key, value in event.items() if key != "timestamp"}
                  for event in self.program.events[events_before:]]
        return Step(command, self._plain(reply), self._plain(events), self._plain(edges))

    def _rest(self, command, reply, events_before):
        arguments = command.get("arguments", {})
        if command["execute"] == "device_add" and "return" in reply:
            self._drivers[arguments.get("id")] = arguments["driver"]
        if command["execute"] == "device_del" and "return" in reply:
            # Only a bus that need not ask the guest lets a device go by itself.
            if self._drivers.get(arguments["id"], "").startswith("scsi"):
                self._poll(lambda: any(event["event"] == "DEVICE_DELETED" and
                                       event["data"].get("device") == arguments["id"]
                                       for event in self.program.events[events_before:]), 5.0)
        self._poll(self._jobs_stand_still, 5.0)

    def _jobs_stand_still(self):
        jobs = self.program.execute("query-jobs").get("return", [])
        return not any(job["status"] in MOVING for job in jobs)

    def _poll(self, done, limit):
        end = time.monotonic() + limit
        while not done() and time.monotonic() < end:
            self.program.execute("query-status")
            time.sleep(0.001)

    def _plain(self, value):
        text = json.dumps(value).replace(self.directory, "DIR")

        def number(match):
            return self._names.setdefault(match.group(), f"#block[{len(self._names)}]")
        return json.loads(_GENERATED.sub(number, text))
