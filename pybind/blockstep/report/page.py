# SPDX-License-Identifier: Apache-2.0
"""report.html: the page's own files and one run's data in a single file that needs no network.

Nothing of the run is ever markup: it travels as base64 and becomes text nodes. A content security
policy lets only this one script run, by its hash, and nothing be fetched.
"""
import base64
import hashlib
import html
import pathlib
import re

from blockstep.report import story
from blockstep.report.pack import pack
from blockstep.report.recording import Recording, changes

FILES = pathlib.Path(__file__).parent / "page"
SCRIPTS = ("inflate.js", "data.js", "lanes.js", "search.js", "timeline.js", "graph.js",
           "tables.js", "main.js")


def data(recording: Recording) -> dict:
    """All but the trace, in the shape that page/data.js reads."""
    return {
        "run": {name: getattr(recording, name) for name in (
            "scenario", "seed", "outcome", "digest", "error", "simulated_ns", "wall_s", "schedule",
            "again")} | {"events": len(recording.trace)},
        "commands": [{
            "vm": command.vm, "at": command.at_ns, "position": command.position,
            "name": command.name, "arguments": story.short(command.arguments or {}),
            "end": command.ended_ns, "end_position": command.ended_position,
            "reply": (story.short(command.reply) if command.error is None
                      else f"{command.error.get('class')}: {command.error.get('desc')}"),
            "failed": command.error is not None,
            "refused": None if command.refusal is None else story.reason(command.refusal),
        } for command in recording.commands],
        "events": [{"vm": event.vm, "at": event.at_ns, "position": event.position,
                    "name": event.name, "data": story.short(event.data or {})}
                   for event in recording.events],
        "notes": _notes(recording.notes),
        "faults": _notes(recording.faults),
        "critical": _notes([recording.critical] if recording.critical else []),
        "jobs": story.jobs(recording),
        "devices": story.devices(recording),
        "nodes": story.nodes(changes(recording.graphs)),
        "graph": story.graph_story(recording),
    }


def _notes(notes) -> list[dict]:
    return [{"at": note.at_ns, "position": note.position, "text": note.text} for note in notes]


def build(recording: Recording) -> str:
    """The page as text."""
    script = "\n".join((FILES / name).read_text() for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    title = f"{recording.outcome}: {recording.scenario}, seed {recording.seed}"
    parts = {
        "TITLE": html.escape(title),
        "POLICY": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        "STYLE": (FILES / "page.css").read_text(),
        "DATA": pack(data(recording), recording.trace),
        "SCRIPT": script,
    }
    return re.sub("@([A-Z]+)@", lambda mark: parts[mark[1]], (FILES / "page.html").read_text())
