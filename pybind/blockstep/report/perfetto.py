# SPDX-License-Identifier: Apache-2.0
"""trace.perfetto.json: the run in Chrome's trace event format, which Perfetto opens.

Processes are groups of lanes (scenario, QMP, jobs, devices, nodes, threads), threads are lanes.
units: microseconds of simulated time, with fractions.
"""
from blockstep.report import story
from blockstep.report.recording import Recording, changes

GROUPS = ("scenario", "qmp", "jobs", "devices", "nodes", "fibers")


class _Lanes:
    def __init__(self):
        self.events: list[dict] = []
        self._numbers: dict[tuple[str, str], int] = {}
        for group in GROUPS:
            self._name("process_name", group, 0, group)

    def _name(self, kind: str, group: str, tid: int, text: str) -> None:
        self.events.append({"ph": "M", "name": kind, "pid": GROUPS.index(group) + 1, "tid": tid,
                            "args": {"name": text}})

    def at(self, group: str, lane: str) -> dict:
        if (group, lane) not in self._numbers:
            self._numbers[group, lane] = len(self._numbers) + 1
            self._name("thread_name", group, len(self._numbers), lane)
        return {"pid": GROUPS.index(group) + 1, "tid": self._numbers[group, lane]}

    def instant(self, group, lane, at_ns, name, **args) -> None:
        self.events.append({"ph": "i", "s": "t", "name": name, "ts": at_ns / 1000, "args": args,
                            **self.at(group, lane)})

    def span(self, group, lane, from_ns, to_ns, name, **args) -> None:
        self.events.append({"ph": "X", "name": name, "ts": from_ns / 1000,
                            "dur": max(to_ns - from_ns, 0) / 1000, "args": args,
                            **self.at(group, lane)})


def build(recording: Recording) -> dict:
    lanes = _Lanes()
    trace = recording.trace
    end_ns = max([recording.simulated_ns, *trace.at_ns[-1:]])
    for kind, notes in (("notes", recording.notes), ("faults", recording.faults)):
        for note in notes:
            lanes.instant("scenario", kind, note.at_ns, note.text)
    for command in recording.commands:
        args = {"arguments": command.arguments}
        args |= {"error": command.error} if command.error else {"return": command.reply}
        lanes.span("qmp", f"vm{command.vm} commands", command.at_ns,
                   end_ns if command.ended_ns is None else command.ended_ns, command.name, **args)
    for event in recording.events:
        lanes.instant("qmp", f"vm{event.vm} events", event.at_ns, event.name, data=event.data)
    for group, things in (("jobs", story.jobs(recording)), ("devices", story.devices(recording)),
                          ("nodes", story.nodes(changes(recording.graphs)))):
        for thing in things:
            for from_ns, _from, to_ns, _to, text in thing["spans"]:
                lanes.span(group, thing["name"], from_ns, end_ns if to_ns is None else to_ns, text)

    fibers = {step[2]: (step[3], step[4]) for step in trace.steps}
    for at_ns, label, fiber, subject, a, b in zip(trace.at_ns, trace.label, trace.fiber,
                                                  trace.subject, trace.a, trace.b):
        name = f"fiber {fiber}" if fiber else "handlers"
        if fiber in fibers:
            name += f" {trace.names[fibers[fiber][0]]}"
        lanes.instant("fibers", name, at_ns, trace.names[label],
                      subject=trace.names[subject], a=a, b=b)
    return {"displayTimeUnit": "ns", "traceEvents": lanes.events,
            "otherData": {"scenario": recording.scenario, "seed": recording.seed,
                          "digest": recording.digest, "outcome": recording.outcome}}
