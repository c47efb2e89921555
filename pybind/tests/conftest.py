# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import the helper modules beside them, whatever pytest's import mode is, and gives
them programs to interrupt."""
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def interruptible():
    """Starts `blockstep` with these arguments so that it hears interrupts also where the tests run
    in the background of a shell, which has their programs ignore them; nothing of it outlives the
    test."""
    started = []

    def start(*arguments, **more):
        started.append(subprocess.Popen(
            [sys.executable, "-P", "-m", "blockstep", *map(str, arguments)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more))
        return started[-1]

    yield start
    for program in started:
        try:
            os.killpg(program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of it has ended
        program.wait()
