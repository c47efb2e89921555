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
HEAD = struct.Struct("<Q32s")

_here: dict[bytes, FileContents] = {}  # by key
_shared = os.memfd_create("kept images")
_seen = 0  # how much of the shared memory is in _here


def key_of(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode()).digest()


def find(key: bytes) -> FileContents | None:
    """What was kept under this key, here or in another copy of the process."""
    global _seen
    if key in _here:
        return _here[key]
    while len(head := os.pread(_shared, HEAD.size, _seen)) == HEAD.size:
        size, other = HEAD.unpack(head)
        if other not in _here:
            _here[other] = FileContents(os.pread(_shared, size, _seen + HEAD.size))
        _seen += HEAD.size + size
    return _here.get(key)


def keep(key: bytes, data: bytes) -> FileContents:
    _here[key] = FileContents(data)
    fcntl.lockf(_shared, fcntl.LOCK_EX)
    try:
        end = os.fstat(_shared).st_size
        if end + len(data) <= KEPT_MAX:
            # In one piece, so that who is killed in between leaves nothing or the whole.
            os.pwrite(_shared, HEAD.pack(len(data), key) + data, end)
    finally:
        fcntl.lockf(_shared, fcntl.LOCK_UN)
    return _here[key]
