# SPDX-License-Identifier: Apache-2.0
"""blockstep: a virtual machine's whole block layer in a deterministic simulated world."""
from _blockstep import Future, MemoryStore, PosixStore, StoreSnapshot, Task

from blockstep.errors import (AssertionFailure, BlockstepError, Cancelled, Deadlock, EventLimit,
                              GuestIoError, HostError, Party, PermissionRefused, PlatformError,
                              QmpError, Timeout, TraceError, WrongData)
from blockstep.units import GiB, KiB, MiB, SECTOR, ms, ns, s, us
from blockstep.world import World

__all__ = [
    "AssertionFailure", "BlockstepError", "Cancelled", "Deadlock", "EventLimit", "Future",
    "GiB", "GuestIoError", "HostError", "KiB", "MemoryStore", "MiB", "Party",
    "PermissionRefused", "PlatformError", "PosixStore", "QmpError", "SECTOR", "StoreSnapshot",
    "Task", "Timeout", "TraceError", "World", "WrongData", "ms", "ns", "s", "us",
]
