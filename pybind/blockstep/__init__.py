# SPDX-License-Identifier: Apache-2.0
"""blockstep: a virtual machine's whole block layer in a deterministic simulated world."""
from _blockstep import (FileContents, Future, GuestContents, GuestDisk, LoadResult, MemoryStore,
                        PosixStore, StoreSnapshot, Task)

from blockstep.errors import (AssertionFailure, BlockstepError, Cancelled, Deadlock, EventLimit,
                              GuestIoError, HostError, Party, PermissionRefused, PlatformError,
                              QmpError, Timeout, TraceError, WrongData, refused)
from blockstep.scenario import Scenario, ScenarioError, run_scenario, scenario
from blockstep.units import GiB, KiB, MiB, SECTOR, ms, ns, s, us
from blockstep.vm import VM, Event, Job, JobFailed, UnplugRefused
from blockstep.world import World

__all__ = [
    "AssertionFailure", "BlockstepError", "Cancelled", "Deadlock", "Event", "EventLimit",
    "FileContents", "Future", "GiB", "GuestContents", "GuestDisk", "GuestIoError", "HostError",
    "Job", "JobFailed", "KiB", "LoadResult", "MemoryStore", "MiB", "Party", "PermissionRefused",
    "PlatformError", "PosixStore", "QmpError", "SECTOR", "Scenario", "ScenarioError",
    "StoreSnapshot", "Task", "Timeout", "TraceError", "UnplugRefused", "VM", "World",
    "WrongData", "ms", "ns", "refused", "run_scenario", "s", "scenario", "us",
]
