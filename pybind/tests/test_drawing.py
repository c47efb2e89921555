# SPDX-License-Identifier: Apache-2.0
"""Holds:   pictures show every node, user and permission, mark conflicts and refusals, and stay
         well formed whatever the names are.
Method:  one graph by hand, drawn in each format; Graphviz itself reads what is made for it.
"""
import xml.etree.ElementTree

import pytest

from blockstep import drawing
from blockstep.errors import Party, PermissionRefused

ALL = ("consistent-read", "write", "write-unchanged", "resize")
GRAPH = {
    "nodes": [{"name": "file0", "driver": "file"}, {"name": 'disk "0"', "driver": "qcow2"},
              {"name": "spare", "driver": "null-co"}],
    "edges": [
        {"parent": "node 'disk \"0\"'", "parent_node": 'disk "0"', "child": "file0",
         "name": "file", "used": ALL, "shared": ("consistent-read",), "frozen": True},
        {"parent": "block device 'd0'", "parent_node": None, "child": 'disk "0"', "name": "root",
         "used": ("consistent-read", "write"), "shared": ALL, "frozen": False},
    ],
}
CONFLICT = {**GRAPH, "edges": [*GRAPH["edges"], {
    "parent": "block device 'd1'", "parent_node": None, "child": "file0", "name": "root",
    "used": ("write",), "shared": ALL, "frozen": False}]}
REFUSAL = {"node": "file0", "permissions": ["write"],
           "requires": {"description": "block device 'd1'", "edge": "root"},
           "unshares": {"description": "node 'disk \"0\"'", "edge": "file"}}
HOSTILE = ['"];evil[label="', "\\", "\\N", "<b>&amp;</b><script>", "a\nb\x00\x1b[31m", "\udc80",
           "|", "`x`", "#quot;", "end", "\u202e", "-->", ""]


def test_text():
    assert drawing.to_text(GRAPH).splitlines() == [
        "block device 'd0'",
        "  root: CW / CWUR -> disk \"0\" (qcow2)",
        "    file: CWUR / C frozen -> file0 (file)",
        "node 'spare' (null-co), used by nobody",
    ]


def test_conflicts_are_marked_in_every_format():
    assert drawing.conflicts(GRAPH) == []
    assert [(one["parent"], other["parent"]) for one, other in drawing.conflicts(CONFLICT)] == [
        ("block device 'd1'", "node 'disk \"0\"'")]
    assert drawing.to_text(CONFLICT).count("CONFLICT") == 2
    assert drawing.to_mermaid(CONFLICT).count("stroke:red") == 2
    assert drawing.to_dot(CONFLICT).count(' color="red"') == 2


@pytest.mark.parametrize("refusal", [REFUSAL, PermissionRefused(
    "GenericError", "no", "file0", ("write",), Party("block device 'd1'", "root"),
    Party("node 'disk \"0\"'", "file"))])
def test_refusal_shows_who_asked_and_who_stood_in_the_way(refusal):
    text = drawing.to_text(GRAPH, refusal).splitlines()
    assert "    file: CWUR / C frozen -> file0 (file)  CONFLICT" in text
    assert text[3:5] == ["block device 'd1'", "  root: refused W -> file0 (file)  CONFLICT"]
    assert drawing.to_mermaid(GRAPH, refusal).splitlines()[-5:] == [
        '    n1 -->|"file: CWUR / C frozen"| n0', "    linkStyle 0 stroke:red,color:red",
        '    u0 -->|"root: CW / CWUR"| n1',
        '    u1 -.->|"root: refused W"| n0', "    linkStyle 2 stroke:red,color:red"]
    assert drawing.to_dot(GRAPH, refusal).count("style=dashed") == 1
    assert len(GRAPH["edges"]) == 2, "the graph itself is left alone"


def test_mermaid():
    assert drawing.to_mermaid(GRAPH).splitlines() == [
        "flowchart TD",
        '    n0["file0<br/>file"]',
        '    n1["disk #34;0#34;<br/>qcow2"]',
        '    n2["spare<br/>null-co"]',
        '    u0(["block device \'d0\'"])',
        '    n1 -->|"file: CWUR / C frozen"| n0',
        '    u0 -->|"root: CW / CWUR"| n1',
    ]


def test_svg_of_graphviz():
    root = xml.etree.ElementTree.fromstring(drawing.to_svg(CONFLICT))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {'disk "0"', "qcow2", "block device 'd1'", "root: W / CWUR"} <= set(texts)
    red = [element for element in root.iter("{http://www.w3.org/2000/svg}path")
           if element.get("stroke") == "red"]
    assert len(red) == 2


def test_svg_or_a_clear_error(monkeypatch, tmp_path):
    tool = tmp_path / "dot"
    tool.write_text("#!/bin/sh\necho no good >&2; exit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(drawing.DrawError, match="dot failed: no good"):
        drawing.to_svg(GRAPH)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(drawing.DrawError, match="svg needs Graphviz"):
        drawing.to_svg(GRAPH)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_break_out(name):
    graph = {"nodes": [{"name": name, "driver": name}, {"name": "plain", "driver": "raw"}],
             "edges": [{"parent": name, "parent_node": None, "child": name, "name": name,
                        "used": (), "shared": ALL}]}
    shown = drawing.printable(name)
    assert drawing.to_text(graph).splitlines() == [
        shown, f"  {shown}: - / CWUR -> {shown}" + (f" ({shown})" if name else ""),
        "node 'plain' (raw), used by nobody"]

    boxes = 3
    mermaid = drawing.to_mermaid(graph).splitlines()
    assert len(mermaid) == 1 + boxes + 1
    for line in mermaid[1:]:
        assert line.count('"') == 2
        quoted = line.split('"')[1].replace("<br/>", "")
        assert not set(quoted) & set('"<>&|`[]{}\\\n')

    root = xml.etree.ElementTree.fromstring(drawing.to_svg(graph))
    groups = [group.get("class") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert (groups.count("node"), groups.count("edge")) == (boxes, 1)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    if name.strip():
        assert shown in [text.replace("\xa0", " ") for text in texts]


def test_text_of_a_very_deep_chain_and_of_a_cycle():
    chain = {"nodes": [{"name": f"n{i}", "driver": "raw"} for i in range(5000)], "edges": [
        {"parent": f"node 'n{i}'", "parent_node": f"n{i}", "child": f"n{i + 1}", "name": "file",
         "used": (), "shared": ALL} for i in range(4999)]}
    assert len(drawing.to_text(chain).splitlines()) == 5000
    cycle = {**chain, "edges": [*chain["edges"], {**chain["edges"][0], "parent_node": "n4999",
                                                  "child": "n0"}]}
    assert len(drawing.to_text(cycle).splitlines()) == 5001


def test_reply_of_the_debug_query_has_the_same_shape():
    reply = {
        "nodes": [{"id": 1, "type": "block-driver", "name": "file0"},
                  {"id": 2, "type": "block-backend", "name": "d0"}],
        "edges": [{"parent": 2, "child": 1, "name": "root", "perm": ["write"],
                   "shared-perm": ["consistent-read"]}]}
    assert drawing.to_text(drawing.from_debug_query(reply)).splitlines() == [
        "block device 'd0'", "  root: W / C -> file0"]
