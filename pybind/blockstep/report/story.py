# SPDX-License-Identifier: Apache-2.0
"""What a recording says about jobs, devices and graphs over time.

A span is [from_ns, from_position, to_ns, to_position, text]; one that has no end has None twice.
"""
import json

from blockstep.drawing import LETTERS, Picture, letters
from blockstep.errors import Party, refusal_reason
from blockstep.report.layout import layouts
from blockstep.report.recording import Graph, Recording, changes

TEXT_MAX = 1500      # of a command's arguments or reply in the page; run.json has all of it
PICTURES_MAX = 2000  # graph changes that the page shows


def short(value) -> str:
    """JSON of a value, cut."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]} ... ({len(text)} characters)"


def jobs(recording: Recording) -> list[dict]:
    """Each job's statuses as spans."""
    found: dict[tuple, list] = {}
    for event in recording.events:
        data = event.data if isinstance(event.data, dict) else {}
        if event.name != "JOB_STATUS_CHANGE" or "id" not in data:
            continue
        spans = found.setdefault((event.vm, str(data["id"])), [])
        if spans and spans[-1][2] is None:
            spans[-1][2:4] = event.at_ns, event.position
        if data.get("status") != "null":
            spans.append([event.at_ns, event.position, None, None, str(data.get("status"))])
    return [{"name": name, "vm": vm, "spans": spans} for (vm, name), spans in found.items()]


def devices(recording: Recording) -> list[dict]:
    """When each device was plugged: from device_add to DEVICE_DELETED."""
    moments = []
    for command in recording.commands:
        arguments = command.arguments if isinstance(command.arguments, dict) else {}
        if command.name == "device_add" and command.error is None and "id" in arguments:
            moments.append((command.at_ns, command.position, command.vm, str(arguments["id"]),
                            str(arguments.get("driver", "device"))))
    for event in recording.events:
        data = event.data if isinstance(event.data, dict) else {}
        if event.name == "DEVICE_DELETED" and "device" in data:
            moments.append((event.at_ns, event.position, event.vm, str(data["device"]), None))
    found: dict[tuple, list] = {}
    for at_ns, position, vm, name, driver in sorted(moments, key=lambda moment: moment[:2]):
        spans = found.setdefault((vm, name), [])
        if spans and spans[-1][2] is None:
            spans[-1][2:4] = at_ns, position
        if driver is not None:
            spans.append([at_ns, position, None, None, driver])
    return [{"name": name, "vm": vm, "spans": spans} for (vm, name), spans in found.items()]


def nodes(graphs: list[Graph]) -> list[dict]:
    """When each node was in the graph."""
    found: dict[tuple, list] = {}
    present: dict[int, set] = {}
    for graph in graphs:
        names = {node["name"]: node.get("driver", "") for node in graph.graph["nodes"]}
        for name in sorted(present.get(graph.vm, set()) - set(names)):
            found[graph.vm, name][-1][2:4] = graph.at_ns, graph.position
        for name, driver in names.items():
            if name not in present.get(graph.vm, set()):
                found.setdefault((graph.vm, name), []).append(
                    [graph.at_ns, graph.position, None, None, driver])
        present[graph.vm] = set(names)
    return [{"name": name, "vm": vm, "spans": spans} for (vm, name), spans in found.items()]


def picture(graph: dict, refusal=None) -> dict:
    """Boxes [lines, whether a node, more]; arrows [from, to, edge name, permissions, marks], where
    marks are of: conflict, refused, frozen."""
    drawn = Picture(graph, refusal)
    boxes, arrows = drawn.parts()
    index = {key: number for number, (key, _lines, _is_node) in enumerate(boxes)}
    details = {node["name"]: node for node in graph["nodes"]}

    def more(lines, is_node):
        node = details.get(lines[0], {}) if is_node else {}
        return [f"{key}: {node[key]}" for key in ("filename", "length", "read_only", "kind")
                if node.get(key) not in (None, "")]

    def describe(edge):
        marks = ([] if id(edge) not in drawn.bad else ["conflict"])
        marks += ["refused"] if id(edge) in drawn.refused else []
        marks += ["frozen"] if edge.get("frozen") else []
        text = drawn.edge_text(edge)[len(edge["name"]) + 2:]
        return [edge["name"], text, marks]

    return {"boxes": [[lines, is_node, more(lines, is_node)]
                      for _key, lines, is_node in boxes],
            "arrows": [[index[parent], index[child], *describe(edge)]
                       for parent, child, edge in arrows]}


def reason(refusal: dict) -> str:
    """A refusal in a sentence."""
    needs = [name for name in LETTERS if name in refusal["permissions"]]
    return refusal_reason(refusal["node"], needs, Party(**refusal["requires"]),
                          Party(**refusal["unshares"]))


def granted(before: dict, after: dict) -> list[str]:
    """What a change gave and took, an edge a line."""
    def by_key(graph):
        return {(edge["parent"], edge["name"], edge["child"]):
                f"{letters(edge['used'])} / {letters(edge['shared'])}"
                + (" frozen" if edge.get("frozen") else "") for edge in graph["edges"]}

    old, new = by_key(before), by_key(after)
    lines = [f"+ {parent} \u2192 {child} ({name}): {permissions}"
             for (parent, name, child), permissions in new.items()
             if (parent, name, child) not in old]
    lines += [f"\u2212 {parent} \u2192 {child} ({name})" for parent, name, child in old
              if (parent, name, child) not in new]
    lines += [f"~ {key[0]} \u2192 {key[2]} ({key[1]}): {old[key]} became {new[key]}"
              for key in new if key in old and old[key] != new[key]]
    return lines


def graph_story(recording: Recording) -> dict:
    """Every change of a graph and every refusal in order, each with the pictures before and after
    (numbers of `pictures`; a refusal changes nothing, its picture shows who stood in the way)."""
    entries = [(graph.at_ns, graph.position, 1, graph) for graph in changes(recording.graphs)]
    for command in recording.commands:
        if command.refusal is not None:
            entries.append((command.at_ns if command.ended_ns is None else command.ended_ns,
                            command.position if command.ended_position is None
                            else command.ended_position, 0, command))
    entries.sort(key=lambda entry: entry[:3])

    pictures: list[dict] = []
    numbers: dict[str, int] = {}

    def number_of(graph: dict, refusal=None) -> int:
        drawn = picture(graph, refusal)
        key = json.dumps(drawn)
        if key not in numbers:
            numbers[key] = len(pictures)
            pictures.append(drawn)
        return numbers[key]

    empty = {"nodes": [], "edges": []}
    current: dict[int, dict] = {}
    told = []
    for at_ns, position, _order, what in entries[:PICTURES_MAX]:
        before = current.get(what.vm, empty)
        entry = {"at": at_ns, "position": position, "vm": what.vm, "before": number_of(before)}
        if isinstance(what, Graph):
            current[what.vm] = what.graph
            entry |= {"cause": what.cause, "after": number_of(what.graph),
                      "lines": granted(before, what.graph)}
        else:
            entry |= {"cause": what.name, "after": number_of(before, what.refusal),
                      "refused": True, "lines": [reason(what.refusal)],
                      "text": (what.error or {}).get("desc", "")}
        told.append(entry)
    for drawn, layout in zip(pictures, layouts([_labels(drawn) for drawn in pictures])):
        if layout is not None:
            drawn["layout"] = layout
    return {"pictures": pictures, "changes": told, "left_out": len(entries) - len(told)}


def _labels(drawn: dict) -> tuple[list, list]:
    return ([lines for lines, _is_node, _more in drawn["boxes"]],
            [(parent, child, f"{name}: {text}")
             for parent, child, name, text, _marks in drawn["arrows"]])
