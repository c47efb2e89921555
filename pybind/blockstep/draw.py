# SPDX-License-Identifier: Apache-2.0
"""Pictures of block graphs: plain text, Mermaid, SVG.

A graph is what vm.graph() gives: `nodes` (name, driver, ...) and `edges` (parent, parent_node,
child, name, used, shared). Permissions are letters: C consistent read, W write, U unchanged
write, R resize. An edge reads "uses / shares".
"""
import shutil
import subprocess

from blockstep.errors import BlockstepError

LETTERS = {"consistent-read": "C", "write": "W", "write-unchanged": "U", "resize": "R"}


class DrawError(BlockstepError):
    """The picture cannot be made."""


def letters(permissions) -> str:
    names = [letter for name, letter in LETTERS.items() if name in permissions]
    return "".join(names) if names else "-"


def conflicts(graph: dict) -> list[tuple[dict, dict]]:
    """Pairs of edges into one node where the first uses what the second does not share."""
    return [(one, other) for one in graph["edges"] for other in graph["edges"]
            if one is not other and one["child"] == other["child"]
            and not set(one["used"]) <= set(other["shared"])]


def from_debug_query(reply: dict) -> dict:
    """The same shape from the reply of x-debug-query-block-graph."""
    by_id = {node["id"]: node for node in reply["nodes"]}
    kinds = {"block-backend": "block device", "block-job": "job", "block-driver": "node"}
    nodes = [{"name": node["name"], "driver": ""} for node in reply["nodes"]
             if node["type"] == "block-driver"]
    edges = []
    for edge in reply["edges"]:
        parent, child = by_id[edge["parent"]], by_id[edge["child"]]
        is_node = parent["type"] == "block-driver"
        edges.append({
            "parent": f"{kinds[parent['type']]} '{parent['name']}'",
            "parent_node": parent["name"] if is_node else None, "child": child["name"],
            "name": edge["name"], "used": tuple(edge["perm"]),
            "shared": tuple(edge["shared-perm"]), "frozen": False})
    return {"nodes": nodes, "edges": edges}


def _edge_text(edge: dict) -> str:
    return (f"{edge['name']}: {letters(edge['used'])} / {letters(edge['shared'])}"
            + (" frozen" if edge.get("frozen") else ""))


def _in_conflict(graph: dict) -> set[int]:
    return {id(edge) for pair in conflicts(graph) for edge in pair}


def to_text(graph: dict) -> str:
    """A line for each user that is no node, its nodes indented below; a node that was shown before
    is only named."""
    drivers = {node["name"]: node["driver"] for node in graph["nodes"]}
    bad = _in_conflict(graph)
    below: dict = {}
    for edge in graph["edges"]:
        below.setdefault(edge["parent_node"] or edge["parent"], []).append(edge)
    shown: set[str] = set()
    lines: list[str] = []

    def show(edge, depth):
        mark = "  CONFLICT" if id(edge) in bad else ""
        driver = f" ({drivers[edge['child']]})" if drivers.get(edge["child"]) else ""
        again = " (see above)" if edge["child"] in shown and below.get(edge["child"]) else ""
        lines.append(f"{'  ' * depth}{_edge_text(edge)} -> {edge['child']}{driver}{again}{mark}")
        if edge["child"] not in shown:
            shown.add(edge["child"])
            for child in below.get(edge["child"], []):
                show(child, depth + 1)

    for edge in graph["edges"]:
        if edge["parent_node"] is None and edge["parent"] not in shown:
            shown.add(edge["parent"])
            lines.append(edge["parent"])
            for child in below[edge["parent"]]:
                show(child, 1)
    for node in graph["nodes"]:
        if node["name"] not in shown and not any(edge["child"] == node["name"]
                                                 for edge in graph["edges"]):
            lines.append(f"node '{node['name']}' ({node['driver']}), used by nobody")
            shown.add(node["name"])
            for child in below.get(node["name"], []):
                show(child, 1)
    return "\n".join(lines)


def _parts(graph: dict):
    """Boxes (key, label, whether a node) and arrows (from key, to key, label, whether bad)."""
    keys = {node["name"]: f"n{number}" for number, node in enumerate(graph["nodes"])}
    boxes = [(keys[node["name"]], f"{node['name']}\n{node['driver']}".strip(), True)
             for node in graph["nodes"]]
    users: dict[str, str] = {}
    for edge in graph["edges"]:
        if edge["parent_node"] is None and edge["parent"] not in users:
            users[edge["parent"]] = f"u{len(users)}"
            boxes.append((users[edge["parent"]], edge["parent"], False))
    bad = _in_conflict(graph)
    arrows = [(keys[edge["parent_node"]] if edge["parent_node"] else users[edge["parent"]],
               keys[edge["child"]], _edge_text(edge), id(edge) in bad) for edge in graph["edges"]]
    return boxes, arrows


def to_mermaid(graph: dict) -> str:
    boxes, arrows = _parts(graph)
    lines = ["flowchart TD"]
    for key, label, is_node in boxes:
        label = label.replace('"', "#quot;").replace("\n", "<br/>")
        lines.append(f'    {key}["{label}"]' if is_node else f'    {key}(["{label}"])')
    for number, (source, target, label, bad) in enumerate(arrows):
        lines.append(f'    {source} -->|"{label}"| {target}')
        if bad:
            lines.append(f"    linkStyle {number} stroke:red")
    return "\n".join(lines)


def to_dot(graph: dict) -> str:
    def quoted(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    boxes, arrows = _parts(graph)
    lines = ["digraph blocks {", "node [fontname=monospace]; edge [fontname=monospace fontsize=10]"]
    for key, label, is_node in boxes:
        lines.append(f"{key} [label={quoted(label)} shape={'box' if is_node else 'ellipse'}]")
    for source, target, label, bad in arrows:
        lines.append(f"{source} -> {target} [label={quoted(label)}{' color=red' if bad else ''}]")
    return "\n".join([*lines, "}"])


def to_svg(graph: dict) -> str:
    """Raises DrawError when Graphviz is not installed."""
    if shutil.which("dot") is None:
        raise DrawError("svg needs Graphviz: ./blockstep install extras")
    done = subprocess.run(["dot", "-Tsvg"], input=to_dot(graph), capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise DrawError(f"dot failed: {done.stderr.strip()}")
    return done.stdout
