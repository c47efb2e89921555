# SPDX-License-Identifier: Apache-2.0
"""One module per command; blockstep/__main__.py finds them by name."""
import os
import pathlib


class CommandError(Exception):
    """What the user asked for cannot be done: shown as one line, exit status 2."""


def source_dir() -> pathlib.Path:
    """The checkout this package is part of."""
    return pathlib.Path(__file__).resolve().parents[3]


def build_dir() -> pathlib.Path:
    """Where the programs are: told by the launcher, else the release build."""
    return pathlib.Path(os.environ.get("BLOCKSTEP_BUILD", source_dir() / "build/release"))


def program_path(name: str) -> pathlib.Path:
    """A program of the build, e.g. "qmp"."""
    path = build_dir() / f"blockstep-{name}"
    if not path.exists():
        raise CommandError(f"there is no program {path}: build it first")
    return path
