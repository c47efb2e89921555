# SPDX-License-Identifier: Apache-2.0
"""A program that speaks QMP on its standard input and output: ours or the real one."""

import contextlib
import json
import os
import select
import signal
import subprocess

REAL = ["qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-S", "-display", "none",
        "-qmp", "stdio"]
# How long an answer may take; what takes longer never comes.
SECONDS_MAX = 10.0
NO_ANSWER = "no answer"


class ProgramDied(Exception):
    """The program ended in the middle of a command; `reason` is what it said last."""

    def __init__(self, text, reason):
        super().__init__(text)
        self.reason = reason


class Program:
    """One running QMP server in a directory of its own.

    execute() returns the reply without its id: {"return": ...} or {"error": {...}}; events that
    arrive meanwhile are appended to `events`.
    """

    def __init__(self, argv, cwd):
        self.argv = argv
        self.events = []
        # It must not outlive whoever plays with it, however that ends.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv], cwd=cwd, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._buffer = b""
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command, arguments=None):
        message = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._died(command)
        while True:
            reply = self._read(command)
            if "event" not in reply:
                return reply
            self.events.append(reply)

    def wait_event(self, accept, seen=0, timeout=10.0):
        """The first event from the seen-th on, come or to come, that accept() is true of."""
        while True:
            for event in self.events[seen:]:
                if accept(event):
                    return event
            seen = len(self.events)
            if b"\n" not in self._buffer:
                ready, _, _ = select.select([self.process.stdout], [], [], timeout)
                if not ready:
                    raise TimeoutError(f"{self.argv[0]}: no such event within {timeout} s")
            message = self._read()
            if "event" in message:
                self.events.append(message)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):  # what it did not live to read
                stream.close()

    def _read(self, command="start"):
        while b"\n" not in self._buffer:
            if not select.select([self.process.stdout], [], [], SECONDS_MAX)[0]:
                self.process.kill()
                raise ProgramDied(f"{self.argv[0]} gave no answer to {command}", NO_ANSWER)
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                self._died(command)
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        # The monitor command qemu-io prints its results among the replies.
        return json.loads(line) if line.startswith(b"{") else self._read(command)

    def _died(self, command):
        self.process.wait()
        said = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        status = self.process.returncode
        # A crash says nothing: what was said before is not its reason.
        told = said and status != -signal.SIGSEGV
        reason = said[-1] if told else f"exit status {status}"
        raise ProgramDied(f"{self.argv[0]} ended with {self.process.returncode} "
                          f"in {command}: {reason}", reason)
