# SPDX-License-Identifier: Apache-2.0
"""Records: runs as small text files that replay anywhere.

A record holds the scenario's path, the seed and the choices of a run, by name; its headers say what
the run was and how it ended. The text itself is made and read by the C++ side (sim/choice_record).
"""
import hashlib
import pathlib
import subprocess

import _blockstep

# No record is longer, so that a wrong file is refused before it is read.
BYTES_MAX = 1 << 28


def record_text(path: str | pathlib.Path) -> str:
    """The text of a record file. Raises OSError, and ValueError if it is none."""
    path = pathlib.Path(path)
    if path.stat().st_size > BYTES_MAX:
        raise ValueError("too long for a record")
    text = path.read_text(encoding="utf-8")
    _blockstep.record_headers(text)
    return text


def headers(text: str) -> dict[str, str]:
    """The key=value lines. Raises ValueError if it is no record."""
    return _blockstep.record_headers(text)


def with_headers(text: str, **more: object) -> str:
    """The record with these headers as well; those it had stay, line ends become spaces."""
    merged = headers(text) | {
        key: " ".join(str(value).split("\n")) for key, value in more.items()}
    lines = [f"{key}={value}" for key, value in sorted(merged.items())]
    first, _, rest = text.partition("\n")
    return "\n".join([first, *lines, "", rest.partition("\n\n")[2] if not rest.startswith("\n")
                      else rest[1:]])


def version() -> str:
    """Of this checkout: what git calls it, or 'unknown' where there is no git."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                              text=True, check=False, cwd=pathlib.Path(__file__).parent)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def fingerprint(scenario_text: str) -> str:
    """Tells one text of a scenario from another."""
    return hashlib.sha256(scenario_text.encode()).hexdigest()[:16]
