# SPDX-License-Identifier: Apache-2.0
"""The real qemu-img, on files of a MemoryStore: it makes images for a run and judges the results.

Files are copied to a scratch folder and back, so the program is outside the simulated world: it
takes no simulated time and its work is not traced. A copy holds the file's bytes, not its holes:
where a host's file system puts those must not show in a run.
"""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile

from blockstep import kept_images
from blockstep.errors import BlockstepError

PROGRAM = "qemu-img"


class ProgramError(BlockstepError):
    """The real program failed; the text is its command and what it said."""


def create(store, path: str, size: int, format: str = "qcow2", **options) -> None:
    """Makes an empty image of `size` bytes in the store; options as `-o` takes them, _ for -.

    The program runs once for each image: one like an earlier one, but for its path, is its copy.
    """
    words = [f"{name}={value}" for name, value in options.items()]
    command = ["-f", format, *(["-o", ",".join(words)] if words else [])]
    key = kept_images.key_of(*command, str(size))
    contents = kept_images.find(key)
    if contents is None:
        with _scratch(store) as folder:
            _run(folder, "create", "-q", *command, path, str(size))
            contents = kept_images.keep(key, (folder / path).read_bytes())
    store.put_contents(path, contents)


def check(store, path: str, format: str = "qcow2") -> dict:
    """`qemu-img check`: its JSON, where `corruptions`, `leaks` and `check-errors` always are."""
    with _scratch(store, path) as folder:
        # 2 and 3 stand for corruptions and leaks: an answer, not a failure.
        text = _run(folder, "check", "-f", format, "--output=json", path, accept=(0, 2, 3))
    return {"corruptions": 0, "leaks": 0, "check-errors": 0} | json.loads(text)


def compare(store, one: str, other: str, one_format: str = "qcow2",
            other_format: str = "qcow2") -> str:
    """`qemu-img compare`: "" if both have the same contents, else where they first differ."""
    with _scratch(store, one, other) as folder:
        text = _run(folder, "compare", "-f", one_format, "-F", other_format, one, other,
                    accept=(0, 1))
    return "" if text.startswith("Images are identical") else text.strip().splitlines()[0]


def run(store, *words: str, files=()) -> str:
    """Any other command line, with copies of these files in its folder; gives what it printed."""
    with _scratch(store, *files) as folder:
        return _run(folder, *words)


@contextlib.contextmanager
def _scratch(store, *paths):
    with tempfile.TemporaryDirectory(prefix="blockstep-") as name:
        for path in paths:
            store.export_file(path, str(pathlib.Path(name, path)))
        yield pathlib.Path(name)


def _run(folder: pathlib.Path, *words: str, accept=(0,)) -> str:
    # Not with what an interpreter needs to load an instrumented module: the program would hang.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    try:
        done = subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True,
                              check=False, env=environment)
    except OSError as error:
        raise ProgramError(f"{PROGRAM}: {error.strerror}") from error
    if done.returncode not in accept:
        raise ProgramError(f"{PROGRAM} {' '.join(words)}: status {done.returncode}: "
                           f"{(done.stderr or done.stdout).strip()}")
    return done.stdout
