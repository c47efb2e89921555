# SPDX-License-Identifier: Apache-2.0
"""Where Graphviz puts the boxes and arrows of each graph; the page lays out the rest itself."""
from blockstep.drawing import DrawError, run_dot

NODES_MAX = 120   # larger graphs take Graphviz too long
GRAPHS_MAX = 400  # likewise that many graphs

# Of the page's font, in inches: what a character takes, and what surrounds a label.
CHARACTER, MARGIN, HEIGHT = 0.088, 0.28, 0.52


def width(lines) -> float:
    return max(len(line) for line in lines) * CHARACTER + MARGIN


def source(boxes, arrows) -> str:
    """DOT of boxes [[line, ...], ...] and arrows [(from, to, label), ...]; sizes are given, so
    that no text has to be."""
    lines = ["digraph {", "nodesep=0.3; ranksep=0.55; node [shape=box fixedsize=true label=\"\"];"]
    for number, texts in enumerate(boxes):
        lines.append(f"{number} [width={width(texts):.2f} height={HEIGHT}];")
    for number, (parent, child, label) in enumerate(arrows):
        # A label of the right length in letters that need no escape; its name finds it again.
        lines.append(f"{parent} -> {child} [label=\"{'x' * len(label)}\" fontname=\"monospace\" "
                     f"fontsize=9 style=e{number}];")
    return "\n".join([*lines, "}"])


def parse(plain: str) -> list[dict]:
    """Graphviz's `plain` output of several graphs: sizes in points, y downwards."""
    graphs = []
    for line in plain.replace("\\\n", "").splitlines():
        words = line.split()
        if words[0] == "graph":
            high = float(words[3])
            graphs.append({"width": round(float(words[2]) * 72), "height": round(high * 72),
                           "boxes": {}, "arrows": {}})
        elif words[0] == "node":
            graphs[-1]["boxes"][int(words[1])] = _points(words[2:4], high)[0]
        elif words[0] == "edge":
            count = int(words[3])
            rest = words[4 + 2 * count:]
            graphs[-1]["arrows"][int(rest[-2][1:])] = [
                _points(words[4:4 + 2 * count], high), _points(rest[1:3], high)[0]]
    return [{**graph, "boxes": [graph["boxes"][i] for i in range(len(graph["boxes"]))],
             "arrows": [graph["arrows"][i] for i in range(len(graph["arrows"]))]}
            for graph in graphs]


def _points(words, high: float) -> list[list[int]]:
    return [[round(float(x) * 72), round((high - float(y)) * 72)]
            for x, y in zip(words[::2], words[1::2])]


def layouts(shapes: list[tuple]) -> list[dict | None]:
    """For each (boxes, arrows) its layout, or None where the page has to make one."""
    chosen = [i for i, (boxes, _arrows) in enumerate(shapes)
              if 0 < len(boxes) <= NODES_MAX][:GRAPHS_MAX]
    found: list[dict | None] = [None] * len(shapes)
    if not chosen:
        return found
    try:
        plain = run_dot("\n".join(source(*shapes[i]) for i in chosen), "plain")
    except DrawError:  # not installed: the page draws all the same
        return found
    for i, layout in zip(chosen, parse(plain)):
        found[i] = layout
    return found
