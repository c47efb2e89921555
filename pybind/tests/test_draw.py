# SPDX-License-Identifier: Apache-2.0
"""Holds:   pictures show every node, user and permission, and mark conflicts.
Method:  one graph by hand, drawn in each format; Graphviz itself reads what is made for it.
"""
import xml.etree.ElementTree

import pytest

from blockstep import draw

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


def test_text():
    assert draw.to_text(GRAPH).splitlines() == [
        "block device 'd0'",
        "  root: CW / CWUR -> disk \"0\" (qcow2)",
        "    file: CWUR / C frozen -> file0 (file)",
        "node 'spare' (null-co), used by nobody",
    ]


def test_conflicts_are_marked_in_every_format():
    assert draw.conflicts(GRAPH) == []
    assert [(one["parent"], other["parent"]) for one, other in draw.conflicts(CONFLICT)] == [
        ("block device 'd1'", "node 'disk \"0\"'")]
    assert draw.to_text(CONFLICT).count("CONFLICT") == 2
    assert draw.to_mermaid(CONFLICT).count("stroke:red") == 2
    assert draw.to_dot(CONFLICT).count("color=red") == 2


def test_mermaid():
    assert draw.to_mermaid(GRAPH).splitlines() == [
        "flowchart TD",
        '    n0["file0<br/>file"]',
        '    n1["disk #quot;0#quot;<br/>qcow2"]',
        '    n2["spare<br/>null-co"]',
        '    u0(["block device \'d0\'"])',
        '    n1 -->|"file: CWUR / C frozen"| n0',
        '    u0 -->|"root: CW / CWUR"| n1',
    ]


def test_svg_or_a_clear_error(monkeypatch, tmp_path):
    tool = tmp_path / "dot"
    tool.write_text("#!/bin/sh\nprintf '<svg>'; cat | tr '\"<>' '   '; printf '</svg>'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    root = xml.etree.ElementTree.fromstring(draw.to_svg(CONFLICT))
    assert root.text.count("color=red") == 2
    tool.write_text("#!/bin/sh\necho no good >&2; exit 1\n")
    with pytest.raises(draw.DrawError, match="dot failed: no good"):
        draw.to_svg(GRAPH)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(draw.DrawError, match="svg needs Graphviz"):
        draw.to_svg(GRAPH)


def test_dot_text_has_balanced_quotes():
    for line in draw.to_dot(GRAPH).splitlines():
        assert line.replace('\\"', "").count('"') % 2 == 0


def test_reply_of_the_debug_query_has_the_same_shape():
    reply = {
        "nodes": [{"id": 1, "type": "block-driver", "name": "file0"},
                  {"id": 2, "type": "block-backend", "name": "d0"}],
        "edges": [{"parent": 2, "child": 1, "name": "root", "perm": ["write"],
                   "shared-perm": ["consistent-read"]}]}
    assert draw.to_text(draw.from_debug_query(reply)).splitlines() == [
        "block device 'd0'", "  root: W / C -> file0"]
