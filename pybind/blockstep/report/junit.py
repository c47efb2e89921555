# SPDX-License-Identifier: Apache-2.0
"""junit.xml: the run as one test case, its seed and digest as properties."""
import re
import xml.etree.ElementTree as ET

from blockstep.report.recording import Recording

# What XML 1.0 cannot hold, not even escaped.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(text))


def build(recording: Recording) -> bytes:
    failed = not recording.passed
    counts = {"tests": "1", "failures": str(int(failed)), "errors": "0", "skipped": "0",
              "time": f"{recording.wall_s:.6f}"}
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", name="blockstep", **counts)
    properties = ET.SubElement(suite, "properties")
    for name, value in (("seed", recording.seed), ("digest", recording.digest),
                        ("schedule", recording.schedule), ("simulated_ns", recording.simulated_ns),
                        ("again", recording.again)):
        ET.SubElement(properties, "property", name=name, value=clean(value))
    case = ET.SubElement(suite, "testcase", classname="blockstep.scenarios",
                         name=clean(f"{recording.scenario}[seed {recording.seed}]"),
                         time=counts["time"])
    if failed:
        lines = (recording.error or "").strip().splitlines() or ["failed"]
        ET.SubElement(case, "failure", message=clean(lines[-1])).text = clean(recording.error)
    ET.SubElement(case, "system-out").text = clean("\n".join(
        f"{note.at_ns / 1e6:12.3f} ms  {note.text}" for note in recording.notes))
    return ET.tostring(suites, encoding="utf-8", xml_declaration=True)
