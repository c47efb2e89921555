# SPDX-License-Identifier: Apache-2.0
"""Reports: what one run was, as files to look at and files for other tools."""
import dataclasses
import json
import pathlib

from blockstep.report import junit, page, perfetto, story
from blockstep.report.recording import Recording, changes


def run_summary(recording: Recording) -> dict:
    """What run.json holds: the outcome, and all that went over QMP."""
    return {
        **{name: getattr(recording, name) for name in (
            "scenario", "seed", "outcome", "digest", "error", "simulated_ns", "wall_s", "schedule",
            "again")},
        "trace_events": len(recording.trace),
        **recording.summary,
        "timeline": [dataclasses.asdict(note) for note in recording.notes],
        "faults": [dataclasses.asdict(fault) for fault in recording.faults],
        "commands": [dataclasses.asdict(command) | (
            {} if command.refusal is None else {"reason": story.reason(command.refusal)})
            for command in recording.commands],
        "events": [dataclasses.asdict(event) for event in recording.events],
        "graphs": [dataclasses.asdict(graph) for graph in changes(recording.graphs)],
    }


def write(folder: pathlib.Path, recording: Recording) -> list[pathlib.Path]:
    """Writes report.html, trace.perfetto.json, junit.xml and run.json, replacing older ones.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def text_of(value) -> bytes:
        return (json.dumps(value, separators=(",", ":"), default=repr) + "\n").encode()

    files = {
        "report.html": page.build(recording).encode("utf-8", "replace"),
        "trace.perfetto.json": text_of(perfetto.build(recording)),
        "junit.xml": junit.build(recording),
        "run.json": text_of(run_summary(recording)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]
