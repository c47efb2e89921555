# SPDX-License-Identifier: Apache-2.0
"""What a QMP client sees on the wire, line by line, from our program and from the real one.

Unlike iotests/compare, which looks at parsed replies, this compares the very text: the order of
members, how numbers and strings are written, what malformed input leads to. Only what cannot be
equal is masked: dates, generated node names, the distribution's version text, measured rates.
"""

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

REAL = ["qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-S", "-display", "none",
        "-qmp", "stdio"]
MARK = "end-of-step"
RESET = b'@\x01}]"\n'  # ends a token, a value, a string
SECONDS_MAX = 10.0
SETTLE_SECONDS = 0.01

_MASKS = [
    (re.compile(r'"seconds": \d+, "microseconds": \d+'), '"seconds": S, "microseconds": U'),
    (re.compile(r'"package": "[^"]*"'), '"package": "P"'),
    (re.compile(r'"thread-id": \d+'), '"thread-id": T'),
    # qemu-io's measurements: "4 KiB, 1 ops; 00.00 sec (27.150 MiB/sec and 6950.4778 ops/sec)"
    (re.compile(r"ops; [0-9:.]+( sec)? \(.*? ops/sec\)"), "ops; TIME"),
    (re.compile(r"^(\d+),(\d+),[0-9:.]+,[0-9.]+,[0-9.]+$"), r"\1,\2,TIME"),
]
_GENERATED = re.compile(r"#block\d+")


class Wire:
    """One running program; send() gives the masked lines that a line of input led to."""

    def __init__(self, argv, cwd):
        self._names = {}
        self._buffer = b""
        self._cwd = str(cwd)
        self._process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.greeting = self._mask(self._line())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def send(self, line, settle=False, reset=False):
        """Lines that came by the time a command after this one was answered.

        settle: until no job is on its way from one state to another, and nothing is told of any.
        reset: what the line leaves open is broken off first, or the command would be part of it.
        """
        lines = self._exchange(line, RESET if reset else b"")
        quiet = 0  # looks in a row at which nothing went on: a busy machine takes its time
        while settle and quiet < 2:
            time.sleep(SETTLE_SECONDS)
            told, moving = self._look_at_jobs()
            lines += told
            quiet = 0 if moving or told else quiet + 1
        return lines

    def _exchange(self, line, after=b""):
        # The probe is a command that leaves no trace and whose reply nothing else looks like.
        probe = json.dumps({"execute": "object-del", "arguments": {"id": MARK}})
        text = line if isinstance(line, bytes) else line.encode()
        try:
            self._process.stdin.write(text + b"\n" + after + probe.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ["<ended>"]
        lines = []
        while True:
            line = self._line()
            if line is None:
                return lines + ["<ended>"]
            if MARK in line or ("Expecting capabilities" in line and '"id"' not in line and lines):
                return lines
            lines.append(self._mask(line))

    def _look_at_jobs(self):
        """What was told meanwhile, and whether a job is on its way."""
        moving = {"created", "running", "waiting", "aborting"}
        lines = self._exchange('{"execute": "query-jobs", "id": "moving?"}')
        replies = [line for line in lines if '"moving?"' in line]
        told = [line for line in lines if line not in replies and line != "<ended>"]
        return told, any(job["status"] in moving
                         for line in replies for job in json.loads(line).get("return", []))

    def _line(self):
        while b"\n" not in self._buffer:
            if not select.select([self._process.stdout], [], [], SECONDS_MAX)[0]:
                raise TimeoutError(f"nothing more than {self._buffer!r} in {SECONDS_MAX} s")
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                return None
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode(errors="replace")

    def _mask(self, line):
        for pattern, replacement in _MASKS:
            line = pattern.sub(replacement, line)
        line = line.replace(self._cwd, "DIR")
        return _GENERATED.sub(
            lambda match: self._names.setdefault(match[0], f"#block[{len(self._names)}]"), line)


def make_images(directory):
    """The image files transcripts may name."""
    def image(name, *arguments):
        subprocess.run(["qemu-img", "create", "-q", *arguments[:-1], name, arguments[-1]],
                       cwd=directory, check=True)

    image("base.qcow2", "-f", "qcow2", "1M")
    image("mid.qcow2", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "1M")
    image("top.qcow2", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "1M")
    for name in ("a", "b", "c", "o"):
        image(f"{name}.qcow2", "-f", "qcow2", "1M")
    image("v2.qcow2", "-f", "qcow2", "-o", "compat=0.10", "1M")
    image("raw.img", "-f", "raw", "1M")
    image("odd.img", "-f", "raw", "1536")


class Images:
    """The files of make_images, made once and copied for each transcript."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory()
        make_images(self._directory.name)

    def copy_to(self, directory):
        for file in Path(self._directory.name).iterdir():
            shutil.copyfile(file, Path(directory) / file.name)


def play(argv, images, steps):
    """The greeting and what came of each step of a transcript.

    A step is a line of input. A line `=== ` begins a new process over the same files; a line that
    starts with `~ ` is Python's notation for bytes; `... ` before a line waits for jobs to settle,
    `!!! ` breaks off what the line leaves open.
    """
    with tempfile.TemporaryDirectory() as directory:
        images.copy_to(directory)
        seen = []
        wire = None
        try:
            for step in steps:
                if step.startswith("==="):
                    if wire:
                        wire.close()
                    wire = None
                    continue
                if wire is None:
                    wire = Wire(argv, directory)
                    seen.append(("<greeting>", [wire.greeting]))
                settle = step.startswith("... ")
                reset = step.startswith("!!! ")
                text = step.removeprefix("... ").removeprefix("!!! ")
                if text.startswith("~ "):
                    text = eval(text[2:], {"__builtins__": {}})  # our own case files
                seen.append((step, wire.send(text, settle, reset)))
        finally:
            if wire:
                wire.close()
        return seen


def read_steps(path):
    """The steps of a case file; empty lines and lines that start with # say nothing."""
    return [line for line in Path(path).read_text().splitlines()
            if line.strip() and not line.startswith("#")]


def differences(ours, theirs):
    """Text of each step that the two saw differently."""
    found = []
    for (step, mine), (_, real) in zip(ours, theirs):
        if mine != real:
            found.append("\n".join([step, *(f"  ours: {line}" for line in mine),
                                    *(f"  real: {line}" for line in real)]))
    return found
