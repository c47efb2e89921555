# SPDX-License-Identifier: Apache-2.0
"""Traces made at random, for scenarios that need a busy guest and have no recording of one."""
from blockstep.replay.trace import Action, Request, Trace
from blockstep.units import KiB, us

LENGTHS = (4 * KiB, 4 * KiB, 4 * KiB, 8 * KiB, 16 * KiB, 64 * KiB)


def random_trace(rng, size: int, requests: int, *, gap_ns: int = 100 * us, reads: int = 30,
                 discards: int = 0, flush_every: int = 32, name: str = "random") -> Trace:
    """A guest's requests on a disk of `size` bytes.

    rng: a stream of the world, as world.rng("guest") gives. gap_ns: mean time between requests.
    reads, discards: percent of the requests; the others are writes. flush_every: a flush after so
    many writes; 0: none.
    """
    made, at_ns, writes = [], 0, 0
    while len(made) < requests:
        at_ns += rng.below(2 * gap_ns + 1)
        length = min(LENGTHS[rng.below(len(LENGTHS))], size)
        offset = rng.below((size - length) // (4 * KiB) + 1) * 4 * KiB
        kind = rng.below(100)
        if kind < reads:
            made.append(Request(at_ns, Action.READ, offset, length))
        elif kind < reads + discards:
            made.append(Request(at_ns, Action.DISCARD, offset, length))
        else:
            made.append(Request(at_ns, Action.WRITE, offset, length))
            writes += 1
            if flush_every and writes % flush_every == 0:
                made.append(Request(at_ns, Action.FLUSH))
    return Trace(name, made)
