# SPDX-License-Identifier: Apache-2.0
"""Holds:   a report's files say what the run was, stay small, and hold no markup of the run's own.
Method:  recordings by hand, read back: the page's data unpacked as its script does it.
"""
import base64
import json
import random
import re
import struct
import xml.etree.ElementTree as ET
import zlib

import pytest

from blockstep import report
from blockstep.report import layout, page, story
from blockstep.report.pack import pack_rows, zigzag32
from blockstep.report.recording import Command, Graph, Note, Recording, Trace, changes
from report_samples import MIRRORING, OPENED, PLUGGED, REFUSAL, mirror_run

HOSTILE = ('</script><script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"><svg onload=x>',
           "@DATA@", "@SCRIPT@", "]]>", "<!--", "\x00\x1b\x08", "\ud800", "\u2028", "&lt;")


def hostile_run() -> Recording:
    """Every text of the run is hostile."""
    recording = mirror_run(200)
    recording.scenario = recording.schedule = recording.again = "".join(HOSTILE)
    recording.outcome, recording.error = "failed", "\n".join(HOSTILE)
    recording.trace.names = [recording.trace.names[0], *(
        f"{name}{HOSTILE[i % len(HOSTILE)]}" for i, name in enumerate(recording.trace.names[1:]))]
    for text in HOSTILE:
        recording.notes.append(Note(0, 0, text))
        recording.commands.append(Command(0, 0, text, {text: text}, 0, 0, reply={text: text}))
        recording.graphs.append(Graph(0, 0, {
            "nodes": [{"name": text, "driver": text, "filename": text}], "edges": []}, text))
    recording.commands.append(Command(
        0, 0, "x", None, 0, 0, error={"class": HOSTILE[0], "desc": HOSTILE[1]},
        refusal={"node": HOSTILE[2], "permissions": ["write"],
                 "requires": {"description": HOSTILE[0], "edge": HOSTILE[1]},
                 "unshares": {"description": HOSTILE[3], "edge": HOSTILE[4]}}))
    return recording


def unpacked(text: str) -> tuple[dict, list[list[int]]]:
    """The page's data, and its seven columns."""
    packed = re.search(r'<script type="text/plain" id="data">([^<]*)</script>', text)[1]
    raw = zlib.decompress(base64.b64decode(packed))
    length, = struct.unpack("<I", raw[:4])
    data = json.loads(raw[4:4 + length])
    values, value, shift = [], 0, 0
    for byte in raw[4 + length:]:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    count = data["rows"]
    assert len(values) == 7 * count
    return data, [values[i * count:(i + 1) * count] for i in range(7)]


def test_files(tmp_path):
    written = report.write(tmp_path / "deep" / "folder", mirror_run(500))
    assert [path.name for path in written] == [
        "report.html", "trace.perfetto.json", "junit.xml", "run.json"]
    assert all(path.stat().st_size > 100 for path in written)


def test_rows_survive_packing():
    draw = random.Random(3)
    trace = Trace(threads=["main"])
    for i in range(300):
        if i % 3 == 0:
            trace.steps.append((i * 10, len(trace), i, trace.name("turn"), 0))
        trace.add(i * 10, draw.choice("xyz"), draw.randrange(9), draw.choice(("", "n0")),
                  draw.choice((0, 5, 1 << 31, (1 << 64) - 1, draw.randrange(1 << 64))),
                  draw.randrange(1 << 40))
    recording = Recording(trace=trace)
    data, (time, kind, fiber, a_low, a_high, b_low, b_high) = unpacked(page.build(recording))

    def back(value):
        return -(value + 1) // 2 if value % 2 else value // 2

    at = number = 0
    last: dict[int, list[int]] = {}
    events, steps = [], []
    for i in range(data["rows"]):
        at += time[i]
        number += back(fiber[i])
        label, subject, thread = data["kinds"][kind[i]]
        low = last.setdefault(kind[i], [0, 0])
        low[0] = (low[0] + back(a_low[i])) % 2**32
        low[1] = (low[1] + back(b_low[i])) % 2**32
        if thread is not None:
            steps.append((at, len(events), number, label, thread))
        else:
            events.append((at, label, number, subject or 0, a_high[i] << 32 | low[0],
                           b_high[i] << 32 | low[1]))
    assert steps == trace.steps
    assert events == list(zip(trace.at_ns, trace.label, trace.fiber, trace.subject, trace.a,
                              trace.b))


def test_zigzag_of_differences_goes_the_short_way_round():
    assert [zigzag32(value) for value in (0, -1, 1, 2**32 - 1, 1 - 2**32)] == [0, 1, 2, 1, 2]


def test_hundred_thousand_events_fit(tmp_path):
    recording = mirror_run(100_000)
    assert len(recording.trace) >= 100_000 and len(recording.trace.steps) > 30_000
    report.write(tmp_path, recording)
    assert (tmp_path / "report.html").stat().st_size <= 2_000_000


def test_nothing_of_the_run_becomes_markup(tmp_path):
    report.write(tmp_path, hostile_run())
    text = (tmp_path / "report.html").read_text()
    assert text.count("<script") == 2 and text.count("</script") == 2
    assert "onerror=alert" not in re.sub(r"<title>.*?</title>", "", text, flags=re.DOTALL)
    title = re.search("<title>(.*?)</title>", text, re.DOTALL)[1]
    assert not set(title) & set('<>"')
    data, _columns = unpacked(text)
    assert data["run"]["scenario"] == "".join(HOSTILE)
    assert {note["text"] for note in data["notes"]} >= set(HOSTILE)
    ET.parse(tmp_path / "junit.xml")
    json.loads((tmp_path / "trace.perfetto.json").read_text())
    json.loads((tmp_path / "run.json").read_text())


def test_page_refers_to_nothing_outside():
    text = page.build(mirror_run(200))
    assert not re.findall(r'(?:src|href)="(?!#)', text)
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", text)
    addresses = set(re.findall(r"https?://[^\s\"']+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_junit_tells_the_seed(tmp_path):
    recording = mirror_run(200)
    report.write(tmp_path, recording)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert (properties["seed"], properties["digest"]) == ("7", "0123456789abcdef")
    assert root.find("testsuite").attrib["failures"] == "0" and root.find(".//failure") is None

    recording.outcome, recording.error = "failed", "Traceback\nValueError: no\x00pe"
    report.write(tmp_path, recording)
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite.find("testcase/failure").get("message") == "ValueError: no\ufffdpe"


def test_perfetto_trace_has_lanes_and_spans(tmp_path):
    report.write(tmp_path, mirror_run(400))
    events = json.loads((tmp_path / "trace.perfetto.json").read_text())["traceEvents"]
    named = {(one["pid"], one["tid"]): one["args"]["name"] for one in events
             if one["name"] == "thread_name"}
    processes = {one["pid"]: one["args"]["name"] for one in events
                 if one["name"] == "process_name"}
    lanes = {(processes[pid], name) for (pid, _tid), name in named.items()}
    assert {("jobs", "m0"), ("devices", "d0"), ("nodes", "#block1"), ("scenario", "faults"),
            ("qmp", "vm0 commands")} <= lanes
    assert any(group == "fibers" and "virtio-blk request" in name for group, name in lanes)
    for one in events:
        assert one["ph"] in "MXi"
        if one["ph"] != "M":
            assert (one["pid"], one["tid"]) in named and one["ts"] >= 0
    spans = [one["name"] for one in events if one["ph"] == "X"]
    assert "ready" in spans and "virtio-blk-pci" in spans and "blockdev-mirror" in spans


def test_run_json_tells_outcome_and_reasons(tmp_path):
    report.write(tmp_path, mirror_run(400))
    told = json.loads((tmp_path / "run.json").read_text())
    assert (told["outcome"], told["seed"], told["trace_events"]) == ("passed", 7, 400)
    refused = [command for command in told["commands"] if command["refusal"]]
    assert [command["reason"] for command in refused] == [
        "block device '/machine/peripheral/d1' (edge 'root') needs write on node 'disk'; "
        "block device '/machine/peripheral/d0' (edge 'root') does not share it"]


def test_spans_of_jobs_devices_and_nodes():
    recording = mirror_run(1000)
    (job,), (device,) = story.jobs(recording), story.devices(recording)
    assert [span[4] for span in job["spans"]] == [
        "created", "running", "ready", "waiting", "pending", "concluded"]
    assert all(span[2] is not None for span in job["spans"]), "the job ended"
    assert (device["name"], device["spans"][0][4]) == ("d0", "virtio-blk-pci")
    assert device["spans"][0][2] > device["spans"][0][0]
    nodes = {node["name"]: node["spans"] for node in story.nodes(changes(recording.graphs))}
    assert nodes["#block1"][0][2] is not None and nodes["disk"][0][2] is None


def test_refused_device_has_no_span():
    recording = Recording(commands=[Command(5, 0, "device_add", {"driver": "x", "id": "d1"}, 6, 0,
                                            error={"class": "GenericError", "desc": "no"})])
    assert story.devices(recording) == []


def test_changes_leave_out_what_stays():
    def with_in_flight(count):
        return {"nodes": [{"name": "n", "driver": "raw", "in_flight": count}], "edges": []}

    graphs = [Graph(0, 0, with_in_flight(0)), Graph(1, 0, with_in_flight(4)), Graph(2, 0, OPENED),
              Graph(3, 0, OPENED, vm=1), Graph(4, 0, OPENED)]
    assert [graph.at_ns for graph in changes(graphs)] == [0, 2, 3]


def test_graph_story_shows_each_change_and_refusal_in_order():
    told = story.graph_story(mirror_run(1000))
    assert [(one["cause"], one.get("refused", False)) for one in told["changes"]] == [
        ("blockdev-add", False), ("device_add", False), ("device_add", True),
        ("blockdev-add", False), ("blockdev-mirror", False), ("m0 completes", False)]
    assert told["changes"][1]["lines"] == [
        "+ block device '/machine/peripheral/d0' \u2192 disk (root): CW / CU"]
    mirror = told["changes"][4]
    assert "\u2212 block device '/machine/peripheral/d0' \u2192 disk (root)" in mirror["lines"]
    refused = told["pictures"][told["changes"][2]["after"]]
    marked = [arrow for arrow in refused["arrows"] if "conflict" in arrow[4]]
    assert [(refused["boxes"][arrow[0]][0][0], arrow[3], arrow[4]) for arrow in marked] == [
        ("block device '/machine/peripheral/d0'", "CW / CU", ["conflict"]),
        ("block device '/machine/peripheral/d1'", "refused W", ["conflict", "refused"])]
    assert all(told["pictures"][one["before"]] for one in told["changes"])


def test_permission_that_changes_is_told():
    after = {**PLUGGED, "edges": [PLUGGED["edges"][0], {**PLUGGED["edges"][1],
                                                        "used": ("consistent-read",)}]}
    assert story.granted(PLUGGED, after) == [
        "~ block device '/machine/peripheral/d0' \u2192 disk (root): CW / CU became C / CU"]


@pytest.mark.parametrize("graph, refusal", [(MIRRORING, None), (PLUGGED, REFUSAL)])
def test_layout_of_graphviz_has_every_box_and_arrow(graph, refusal):
    drawn = story.picture(graph, refusal)
    shapes = [([lines for lines, _is_node, _more in drawn["boxes"]],
               [(parent, child, f"{name}: {text}")
                for parent, child, name, text, _marks in drawn["arrows"]])]
    first, nothing, again = layout.layouts([*shapes, ([], []), *shapes])
    assert nothing is None and first == again
    assert (len(first["boxes"]), len(first["arrows"])) == (
        len(drawn["boxes"]), len(drawn["arrows"]))
    assert len({tuple(point) for point in first["boxes"]}) == len(first["boxes"])
    for (parent, child, *_rest), (points, _label) in zip(drawn["arrows"], first["arrows"]):
        assert len(points) % 3 == 1
        assert points[0][1] >= first["boxes"][parent][1] and points[-1][1] < points[0][1] + 999
        assert points[-1][1] <= first["boxes"][child][1]


def test_without_graphviz_the_page_lays_out(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    told = story.graph_story(mirror_run(300))
    assert told["pictures"] and not any("layout" in drawn for drawn in told["pictures"])


def test_long_replies_are_cut_in_the_page_only(tmp_path):
    recording = Recording(commands=[Command(0, 0, "query", {}, 1, 0, reply=["x" * 50_000])])
    report.write(tmp_path, recording)
    data, _columns = unpacked((tmp_path / "report.html").read_text())
    assert len(data["commands"][0]["reply"]) < 2000
    told = json.loads((tmp_path / "run.json").read_text())
    assert len(told["commands"][0]["reply"][0]) == 50_000


def test_kinds_are_shared():
    trace = Trace()
    for i in range(50):
        trace.add(i, "read", 1, "disk", i, 0)
    assert pack_rows(trace)[:2] == ([[1, 2, None]], 50)
