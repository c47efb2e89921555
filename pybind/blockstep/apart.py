# SPDX-License-Identifier: Apache-2.0
"""Work done in a copy of this process, which ends with it: for worlds of which a process can have
only one, and for runs that may take their process with them."""
import faulthandler
import json
import os
import pathlib
import signal
import sys

LAST_WORDS_MAX = 16 * 1024


def run_apart(function) -> tuple[object, str]:
    """What function() returns, run in a child; it must survive JSON. The other text is "" or, of a
    child that came to no end, how it died; then there is no value."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    words = os.memfd_create("last words")
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            faulthandler.enable(words, all_threads=False)
            with os.fdopen(writing, "w") as pipe:
                json.dump(function(), pipe)
            sys.stdout.flush()
            status = 0
        except Exception:  # whatever it is, it shows on standard error
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _pid, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    said = os.pread(words, LAST_WORDS_MAX, 0).decode(errors="replace")
    os.close(words)
    return (json.loads(text), "") if code == 0 else (None, death(code, said))


def death(code: int, said: str) -> str:
    """How a process came to its end before its time: from its exit code as Popen.returncode gives
    it, and what Python's fault handler wrote of it."""
    if code >= 0:
        return f"the process ended with status {code}"
    return f"the process died: {signal.Signals(-code).name}\n{last_words(said)}"


def last_words(text: str) -> str:
    """What Python's fault handler wrote of a process that died, without the frames of this package
    that only drive it."""
    kept = []
    for line in text.splitlines():
        if f'File "{pathlib.Path(__file__).parent}' in line:
            break
        if line.strip():
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def in_fresh_process(function):
    """The same; None if the child died."""
    return run_apart(function)[0]
