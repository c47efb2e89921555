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
# Dates, and what is measured in the other way.
_MEASURED = re.compile(r'"(thread-id|[a-z_]*time_ns)": \d+')
SECONDS_MAX = 5.0
PAUSED_AND_BACK = (("standby", "ready"), ("paused", "running"))


@dataclass
class Step:
    """What one command led to."""
    command: dict
    reply: dict
    events: list
    edges: list

    def seen(self):
        """As text: the order of members counts."""
        return json.dumps([self.reply, self.events, self.edges])

    @property
    def died(self):
        return "died" in self.reply


def without_drains(events):
    """Without a job's pauses for drained sections: how often a graph is drained is not compared."""
    kept, last = [], {}  # last: of each job, where its latest change of status is
    for event in events:
        if event["event"] != "JOB_STATUS_CHANGE":
            kept.append(event)
            continue
        job, status = event["data"]["id"], event["data"]["status"]
        before = last.get(job)
        if before is not None and (kept[before]["data"]["status"], status) in PAUSED_AND_BACK:
            kept[before] = None
            last[job] = None
        else:
            kept.append(event)
            last[job] = len(kept) - 1
    return [event for event in kept if event is not None]


class Player:
    """Plays commands one by one on a running Program."""

    def __init__(self, program, directory):
        self.program, self.directory = program, str(directory)
        self._names = {}    # generated node name -> its number here
        self._drivers = {}  # device id -> driver
        self._leaving = set()  # ids of devices that go at the next reset

    def play(self, command):
        """Executes {"execute": ..., "arguments": ...} and returns its Step."""
        events_before = len(self.program.events)
        try:
            reply = self.program.execute(command["execute"], command.get("arguments"))
            self._rest(command, reply, events_before)
            edges = graph.edges(self.program)
        except ProgramDied as death:
            reply, edges = {"died": death.reason}, []
        events = without_drains(
            [{key: value for key, value in event.items() if key != "timestamp"}
             for event in self.program.events[events_before:]])
        return Step(command, self._plain(reply), self._plain(events), self._plain(edges))

    def _rest(self, command, reply, events_before):
        arguments = command.get("arguments", {})
        if "return" in reply:
            name = command["execute"]
            if name == "device_add":
                self._drivers[arguments.get("id")] = arguments["driver"]
            if name == "device_del":
                # Only a bus that need not ask the guest lets a device go by itself.
                if self._drivers.get(arguments["id"], "").startswith(("scsi", "usb")):
                    self._gone({arguments["id"]}, events_before)
                else:
                    self._leaving.add(arguments["id"])
            if name == "system_reset":
                self._gone(self._leaving, events_before)
                self._leaving = set()
        self._poll(self._jobs_stand_still)

    def _gone(self, devices, events_before):
        def all_gone():
            deleted = {event["data"].get("device")
                       for event in self.program.events[events_before:]
                       if event["event"] == "DEVICE_DELETED"}
            return devices <= deleted
        self._poll(all_gone)

    def _jobs_stand_still(self):
        jobs = self.program.execute("query-jobs").get("return", [])
        return not any(job["status"] in MOVING for job in jobs)

    def _poll(self, done):
        end = time.monotonic() + SECONDS_MAX
        while not done() and time.monotonic() < end:
            self.program.execute("query-status")
            time.sleep(0.001)

    def _plain(self, value):
        text = json.dumps(value).replace(self.directory, "DIR")
        text = _MEASURED.sub(r'"\1": 0', text)

        def number(match):
            return self._names.setdefault(match.group(), f"#block[{len(self._names)}]")
        return json.loads(_GENERATED.sub(number, text))
