# SPDX-License-Identifier: Apache-2.0
"""Pictures of block graphs: plain text, Mermaid, DOT, SVG.

A graph is what vm.graph() gives: `nodes` (name, driver, ...) and `edges` (parent, parent_node,
child, name, used, shared); from_debug_query() makes one of x-debug-query-block-graph's reply.
Permissions are letters: C consistent read, W write, U unchanged write, R resize. An edge reads
"uses / shares". What stands in conflict is marked: edges that use what another one does not share,
and, given a refusal (a PermissionRefused, or a dictionary with its members, or a list of them), the
edge that was asked for and the one that stood in its way. Where it is the graph itself that is
withheld, the operation and its holder are shown.

Names come from users and images and may hold anything: each format escapes what it must.
"""
import shutil
import subprocess

from blockstep.errors import BlockstepError

LETTERS = {"consistent-read": "C", "write": "W", "write-unchanged": "U", "resize": "R"}
KINDS = {"block-backend": "block device", "block-job": "job", "block-driver": "node"}
INDENT_MAX = 60  # deeper levels are not indented further: chains may be thousands deep


class DrawError(BlockstepError):
    """The picture cannot be made."""


def letters(permissions) -> str:
    names = [letter for name, letter in LETTERS.items() if name in permissions]
    return "".join(names) if names else "-"


def from_debug_query(reply: dict) -> dict:
    """A graph from the reply of x-debug-query-block-graph."""
    by_id = {node["id"]: node for node in reply["nodes"]}
    nodes = [{"name": node["name"], "driver": ""} for node in reply["nodes"]
             if node["type"] == "block-driver"]
    edges = []
    for edge in reply["edges"]:
        parent, child = by_id[edge["parent"]], by_id[edge["child"]]
        is_node = parent["type"] == "block-driver"
        edges.append({
            "parent": f"{KINDS[parent['type']]} '{parent['name']}'",
            "parent_node": parent["name"] if is_node else None, "child": child["name"],
            "name": edge["name"], "used": tuple(edge["perm"]),
            "shared": tuple(edge["shared-perm"]), "frozen": False})
    return {"nodes": nodes, "edges": edges}


def refusal_to_dict(refusal) -> dict:
    """The members of a PermissionRefused as a dictionary; a dictionary as it is."""
    if isinstance(refusal, dict):
        return refusal
    return {"node": refusal.node, "permissions": list(refusal.permissions),
            "graph_mod": refusal.graph_mod,
            "requires": {"description": refusal.requires.description,
                         "edge": refusal.requires.edge},
            "unshares": {"description": refusal.unshares.description,
                         "edge": refusal.unshares.edge}}


def conflicts(graph: dict) -> list[tuple[dict, dict]]:
    """Pairs of edges into one node where the first uses what the second does not share."""
    users: dict[str, list[dict]] = {}
    for edge in graph["edges"]:
        users.setdefault(edge["child"], []).append(edge)
    return [(one, other) for edges in users.values() for one in edges for other in edges
            if one is not other and not set(one["used"]) <= set(other["shared"])]


class Picture:
    """A graph with its edges marked, the one that a refusal turned away among them."""

    def __init__(self, graph: dict, refusal=None):
        refusals = refusal if isinstance(refusal, (list, tuple)) else [refusal] if refusal else []
        self.edges = list(graph["edges"])
        self.drivers = {node["name"]: node.get("driver", "") for node in graph["nodes"]}
        for edge in self.edges:  # a partial graph may name nodes it does not list
            self.drivers.setdefault(edge["child"], "")
            if edge["parent_node"] is not None:
                self.drivers.setdefault(edge["parent_node"], "")
        self.bad = {id(edge) for pair in conflicts(graph) for edge in pair}
        self.refused: set[int] = set()
        for one in refusals:
            self._mark(refusal_to_dict(one))

    def _mark(self, refusal: dict) -> None:
        self.drivers.setdefault(refusal["node"], "")
        operation = refusal.get("graph_mod", "")
        for party, uses in ((refusal["unshares"], ()),
                            (refusal["requires"], tuple(refusal["permissions"]))):
            if operation and not party["edge"]:  # no edge of the graph: an operation, a holder
                party = {**party, "edge": operation if party == refusal["requires"] else "holds"}
            found = [edge for edge in self.edges
                     if (edge["parent"], edge["name"], edge["child"])
                     == (party["description"], party["edge"], refusal["node"])]
            if not found:  # it was asked for and does not exist
                parent = next((name for name in self.drivers
                               if party["description"] == f"node '{name}'"), None)
                found = [{"parent": party["description"], "parent_node": parent,
                          "child": refusal["node"], "name": party["edge"], "used": uses,
                          "shared": () if not uses else tuple(LETTERS),
                          "graph_mod": operation}]
                self.edges += found
                self.refused.add(id(found[0]))
            self.bad.update(id(edge) for edge in found)

    def edge_text(self, edge: dict) -> str:
        if edge.get("graph_mod"):
            return "holds it" if edge["name"] == "holds" else f"{edge['graph_mod']}: refused"
        if id(edge) in self.refused:
            return f"{edge['name']}: " + (f"refused {letters(edge['used'])}" if edge["used"]
                                          else "does not share it")
        return (f"{edge['name']}: {letters(edge['used'])} / {letters(edge['shared'])}"
                + (" frozen" if edge.get("frozen") else ""))

    def parts(self):
        """Boxes (key, lines, whether a node) and arrows (from key, to key, edge)."""
        keys = {name: f"n{number}" for number, name in enumerate(self.drivers)}
        boxes = [(keys[name], [name, driver] if driver else [name], True)
                 for name, driver in self.drivers.items()]
        users: dict[str, str] = {}
        for edge in self.edges:
            if edge["parent_node"] is None and edge["parent"] not in users:
                users[edge["parent"]] = f"u{len(users)}"
                boxes.append((users[edge["parent"]], [edge["parent"]], False))
        return boxes, [(users[edge["parent"]] if edge["parent_node"] is None
                        else keys[edge["parent_node"]], keys[edge["child"]], edge)
                       for edge in self.edges]


def printable(text: str) -> str:
    """One line of text without control characters, which terminals and XML do not bear."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def to_text(graph: dict, refusal=None) -> str:
    """A line for each user that is no node, its nodes indented below; a node that was shown before
    is only named."""
    picture = Picture(graph, refusal)
    below: dict[tuple[bool, str], list[dict]] = {}
    for edge in picture.edges:
        is_user = edge["parent_node"] is None
        below.setdefault((is_user, edge["parent"] if is_user else edge["parent_node"]),
                         []).append(edge)
    shown: set[str] = set()
    lines: list[str] = []

    def show_below(parent: tuple[bool, str]) -> None:
        waiting = [(edge, 1) for edge in reversed(below.get(parent, []))]
        while waiting:
            edge, depth = waiting.pop()
            child = edge["child"]
            driver = picture.drivers[child]
            again = child in shown and (False, child) in below
            lines.append(printable(
                "  " * min(depth, INDENT_MAX) + f"{picture.edge_text(edge)} -> {child}"
                + (f" ({driver})" if driver else "") + (" (see above)" if again else ""))
                + ("  CONFLICT" if id(edge) in picture.bad else ""))
            if child not in shown:
                shown.add(child)
                waiting += [(edge, depth + 1) for edge in reversed(below.get((False, child), []))]

    for is_user, name in below:
        if is_user:
            lines.append(printable(name))
            show_below((True, name))
    used = {edge["child"] for edge in picture.edges}
    # Those that nobody uses first; what is left then is a cycle, which no sound graph has.
    for name in sorted(picture.drivers, key=lambda name: name in used):
        if name not in shown:
            shown.add(name)
            driver = picture.drivers[name]
            lines.append(printable(f"node '{name}'" + (f" ({driver})" if driver else ""))
                         + ("" if name in used else ", used by nobody"))
            show_below((False, name))
    return "\n".join(lines)


def to_mermaid(graph: dict, refusal=None) -> str:
    picture = Picture(graph, refusal)

    def quoted(text):
        return '"' + "".join(char if char.isalnum() and char.isascii() or char in " -_./:,()'"
                             else f"#{ord(char)};" for char in printable(text)) + '"'

    boxes, arrows = picture.parts()
    lines = ["flowchart TD"]
    for key, texts, is_node in boxes:
        label = '"' + "<br/>".join(quoted(text)[1:-1] for text in texts) + '"'
        lines.append(f"    {key}[{label}]" if is_node else f"    {key}([{label}])")
    for number, (source, target, edge) in enumerate(arrows):
        line = "-.->" if id(edge) in picture.refused else "-->"
        lines.append(f"    {source} {line}|{quoted(picture.edge_text(edge))}| {target}")
        if id(edge) in picture.bad:
            lines.append(f"    linkStyle {number} stroke:red,color:red")
    return "\n".join(lines)


def to_dot(graph: dict, refusal=None) -> str:
    picture = Picture(graph, refusal)

    def escaped(text):
        # Graphviz reads HTML entities in labels: what looks like one must not become one.
        return (printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"'))

    boxes, arrows = picture.parts()
    lines = ["digraph blocks {", '  node [fontname="DejaVu Sans Mono" fontsize=11];',
             '  edge [fontname="DejaVu Sans Mono" fontsize=9];']
    for key, texts, is_node in boxes:
        label = "\\n".join(escaped(text) for text in texts)
        lines.append(f'  {key} [label="{label}" shape={"box" if is_node else "ellipse"}];')
    for source, target, edge in arrows:
        mark = ' color="red" fontcolor="red"' if id(edge) in picture.bad else ""
        style = " style=dashed" if id(edge) in picture.refused else ""
        lines.append(f'  {source} -> {target} [label="{escaped(picture.edge_text(edge))}"'
                     f"{mark}{style}];")
    return "\n".join([*lines, "}"])


def to_svg(graph: dict, refusal=None) -> str:
    """Raises DrawError when Graphviz is not installed."""
    return run_dot(to_dot(graph, refusal), "svg")


def run_dot(source: str, output: str) -> str:
    """Graphviz's answer. Raises DrawError when it is not installed or fails."""
    if shutil.which("dot") is None:
        raise DrawError("svg needs Graphviz: ./blockstep install extras")
    done = subprocess.run(["dot", f"-T{output}"], input=source.encode("utf-8", "replace"),
                          capture_output=True, check=False)
    if done.returncode != 0:
        message = done.stderr.decode("utf-8", "replace").strip()
        raise DrawError(f"dot failed: {message}")
    return done.stdout.decode("utf-8")
