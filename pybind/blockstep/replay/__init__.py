# SPDX-License-Identifier: Apache-2.0
"""Recorded guest I/O, replayed with contents that can be verified.

Reading order: trace.py (what a recorded request is), fio.py and blkparse.py (files that hold them),
generated.py (traces made at random), pattern.py (contents of sectors), model.py (what a disk must
contain), player.py (replay itself).
"""
from blockstep.replay.blkparse import parse_blkparse
from blockstep.replay.fio import parse_fio
from blockstep.replay.generated import random_trace
from blockstep.replay.model import DiskModel
from blockstep.replay.pattern import Pattern
from blockstep.replay.player import ReplayResult, replay, verify
from blockstep.replay.trace import Action, Request, Trace, load

__all__ = ["Action", "DiskModel", "Pattern", "ReplayResult", "Request", "Trace", "load",
           "parse_blkparse", "parse_fio", "random_trace", "replay", "verify"]
