# SPDX-License-Identifier: Apache-2.0
"""Images that the real program made, kept for as long as this process and the copies of it live.

Exploring makes the same empty images in each of thousands of runs. They are a function of the
command line, so one that was made is used again; a run that has a process of its own leaves what
it made to those after it, in memory that all copies of the process share.
"""
import fcntl
import hashlib
import os
import struct

from _blockstep import FileContents

KEPT_MAX = 1 << 28  # bytes of all of them; what comes later is made each time
END = struct.Struct("<Q")      # where the last whole one ends; then they follow one another:
HEAD = struct.Struct("<Q32s")  # length and key, then the bytes

_here: dict[bytes, FileContents] = {}  # by key
_shared = os.memfd_create("kept images")
os.pwrite(_shared, END.pack(END.size), 0)
_seen = END.size  # how much of the shared memory is in _here


def _end() -> int:
    return END.unpack(os.pread(_shared, END.size, 0))[0]


def key_of(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode()).digest()


def find(key: bytes) -> FileContents | None:
    """What was kept under this key, here or in another copy of the process."""
    global _seen
    if key in _here:
        return _here[key]
    end = _end()
    while _seen < end:
        size, other = HEAD.unpack(os.pread(_shared, HEAD.size, _seen))
        if other not in _here:
            _here[other] = FileContents(os.pread(_shared, size, _seen + HEAD.size))
        _seen += HEAD.size + size
    return _here.get(key)


def keep(key: bytes, data: bytes) -> FileContents:
    _here[key] = FileContents(data)
    fcntl.lockf(_shared, fcntl.LOCK_EX)
    try:
        end = _end()
        if end + len(data) <= KEPT_MAX:
            # The end comes last: who is killed in between leaves nothing behind.
            whole = HEAD.pack(len(data), key) + data
            if os.pwrite(_shared, whole, end) == len(whole):
                os.pwrite(_shared, END.pack(end + len(whole)), 0)
    finally:
        fcntl.lockf(_shared, fcntl.LOCK_UN)
    return _here[key]
