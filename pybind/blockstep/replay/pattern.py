# SPDX-License-Identifier: Apache-2.0
"""Pattern: contents of sectors that say who they are.

    0   8 bytes  "blkstep\\n"
    8   8 bytes  sector number, little-endian
    16  8 bytes  generation: which write of the run it was, from 1 up
    24  8 bytes  seed of the world
    32  4 bytes  CRC-32 of the 32 bytes before
    36  476 bytes  the first 36 bytes repeated, cut at the end

A sector in the wrong place, of another run, torn inside or flipped in any bit is told from a right
one, and a stale one is told from the newest. Generation 0 stands for zeroes.
"""
import struct

from _blockstep import pattern_data

from blockstep.units import SECTOR

MAGIC = b"blkstep\n"
_HEAD = struct.Struct("<8sQQQ")
ZERO_SECTOR = bytes(SECTOR)


class Pattern:
    def __init__(self, seed: int):
        self.seed = seed & ((1 << 64) - 1)

    def sector(self, number: int, generation: int) -> bytes:
        return pattern_data(number, 1, generation, self.seed)

    def data(self, offset: int, length: int, generation: int) -> bytes:
        """Contents of a write; in whole sectors."""
        return pattern_data(offset // SECTOR, length // SECTOR, generation, self.seed)

    def generation_of(self, number: int, contents: bytes) -> int | None:
        """Which write these 512 bytes are from; None: from no write of this run to this sector."""
        if contents == ZERO_SECTOR:
            return 0
        _magic, _number, generation, _seed = _HEAD.unpack_from(contents)
        return generation if contents == self.sector(number, generation) else None

    def describe(self, number: int, contents: bytes) -> str:
        """What these 512 bytes are, for a report."""
        generation = self.generation_of(number, contents)
        if generation is not None:
            return "zeroes" if generation == 0 else f"write {generation}"
        magic, other, generation, seed = _HEAD.unpack_from(contents)
        if magic != MAGIC or contents != Pattern(seed).sector(other, generation):
            return f"no written sector (starts {contents[:16].hex()})"
        if seed != self.seed:
            return f"a sector of another run (seed {seed})"
        return f"write {generation} of sector {other}"
