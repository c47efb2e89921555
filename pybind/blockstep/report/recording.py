# SPDX-License-Identifier: Apache-2.0
"""Recording: all that a report tells of one run, as plain values.

Moments are pairs: simulated nanoseconds, and a position: how many trace events came before. The
position orders what happens at one instant, and in an untimed world it is all there is.
"""
import dataclasses


@dataclasses.dataclass
class Trace:
    """Trace events as columns, and who ran when.

    label, subject: indices into names; subject 0 is nobody. fiber 0 is an event handler.
    A step is one turn of the executor: (at_ns, position, runnable, label, thread), where a fiber is
    the runnable of the same number, and thread an index into threads.
    """

    names: list[str] = dataclasses.field(default_factory=lambda: [""])
    at_ns: list[int] = dataclasses.field(default_factory=list)
    label: list[int] = dataclasses.field(default_factory=list)
    fiber: list[int] = dataclasses.field(default_factory=list)
    subject: list[int] = dataclasses.field(default_factory=list)
    a: list[int] = dataclasses.field(default_factory=list)
    b: list[int] = dataclasses.field(default_factory=list)
    steps: list[tuple[int, int, int, int, int]] = dataclasses.field(default_factory=list)
    threads: list[str] = dataclasses.field(default_factory=list)

    def add(self, at_ns, label, fiber=0, subject="", a=0, b=0) -> None:
        """One event, for traces made by hand."""
        self.at_ns.append(at_ns)
        self.label.append(self.name(label))
        self.fiber.append(fiber)
        self.subject.append(self.name(subject))
        self.a.append(a)
        self.b.append(b)

    def name(self, text: str) -> int:
        if text not in self.names:
            self.names.append(text)
        return self.names.index(text)

    def __len__(self) -> int:
        return len(self.at_ns)


@dataclasses.dataclass
class Command:
    """A QMP command and what came of it; ended_ns is None if it never answered."""

    at_ns: int
    position: int
    name: str
    arguments: object = None
    ended_ns: int | None = None
    ended_position: int | None = None
    reply: object = None
    error: dict | None = None    # {"class", "desc"}
    refusal: dict | None = None  # members of PermissionRefused, see blockstep.drawing
    vm: int = 0


@dataclasses.dataclass
class Event:
    """A QMP event."""

    at_ns: int
    position: int
    name: str
    data: object = None
    vm: int = 0


@dataclasses.dataclass
class Graph:
    """The block graph from this moment on (see blockstep.drawing for its shape)."""

    at_ns: int
    position: int
    graph: dict
    cause: str = ""
    vm: int = 0


@dataclasses.dataclass
class Note:
    """A line of the scenario's timeline, or a fault."""

    at_ns: int
    position: int
    text: str


@dataclasses.dataclass
class Recording:
    scenario: str = ""
    seed: int = 0
    outcome: str = "passed"
    digest: str = ""
    error: str | None = None
    simulated_ns: int = 0
    wall_s: float = 0.0
    schedule: str = ""
    again: str = ""  # the command that repeats the run
    trace: Trace = dataclasses.field(default_factory=Trace)
    commands: list[Command] = dataclasses.field(default_factory=list)
    events: list[Event] = dataclasses.field(default_factory=list)
    graphs: list[Graph] = dataclasses.field(default_factory=list)
    notes: list[Note] = dataclasses.field(default_factory=list)
    faults: list[Note] = dataclasses.field(default_factory=list)
    critical: Note | None = None  # the step that made the difference, where an explorer named one
    summary: dict = dataclasses.field(default_factory=dict)  # goes into run.json as it is

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def changes(graphs: list[Graph]) -> list[Graph]:
    """Only those that differ from the graph before, of the same machine, in more than what is
    merely in flight."""
    last: dict[int, object] = {}
    kept = []
    for graph in graphs:
        shape = ([{key: value for key, value in node.items()
                   if key not in ("in_flight", "drained", "length")}
                  for node in graph.graph["nodes"]], graph.graph["edges"])
        if last.get(graph.vm) != shape:
            last[graph.vm] = shape
            kept.append(graph)
    return kept
