# SPDX-License-Identifier: Apache-2.0
"""The permission matrix: every cell decided by two programs, and what differs.

    Matrix(ours).run(workers=6)  ->  pairs of cells, ours and the real one's
"""

import multiprocessing
import multiprocessing.util
import tempfile
from dataclasses import dataclass

from iotests.compare import known as known_differences
from iotests.compare.program import REAL
from iotests.compare.schema import read_schema
from iotests.matrix import operations, roles
from iotests.matrix.cells import Cell, Decider


@dataclass
class Pair:
    """One cell as both programs decided it; None where one of them has no such cell."""
    mine: Cell | None
    theirs: Cell | None
    known: known_differences.Known | None = None

    @property
    def cell(self):
        return self.mine or self.theirs

    @property
    def differs(self):
        return (self.mine is None or self.theirs is None or
                self.mine.verdict() != self.theirs.verdict())

    @property
    def unexplained(self):
        return self.differs and self.known is None

    def text(self):
        """What differs, as lines of text."""
        cell = self.cell
        lines = [f"{cell.role} | {cell.first} | {cell.second or 'alone'}"]
        for name, side in (("ours", self.mine), ("real", self.theirs)):
            lines.append(f"  {name}: {side.outcome} {side.reason}" if side
                         else f"  {name}: no cell")
        if self.mine and self.theirs and self.mine.edges != self.theirs.edges:
            lines += [f"  edge of ours only: {edge}" for edge in self.mine.edges
                      if edge not in self.theirs.edges]
            lines += [f"  edge of the real only: {edge}" for edge in self.theirs.edges
                      if edge not in self.mine.edges]
        return "\n".join(lines)


def rows_of(schema):
    """(role, first operation): what a worker decides at once.

    What a blkdebug takes or withholds matters to who comes later; to come later itself four of
    them stand for the rest, which have columns.
    """
    first = [operation for operation in operations.operations(schema)
             if operation.group != "blkdebug" or operation.name in (
                 "blkdebug takes W withholds -", "blkdebug takes - withholds W",
                 "blkdebug takes CWUR withholds -", "blkdebug takes - withholds CWUR")]
    return [(role, operation) for role in roles.ROLES
            if all(schema.has(need) for need in role.needs) for operation in first]


class _Worker:
    """What one worker process keeps: both programs, running."""

    current = None

    def __init__(self, ours, real, images, schema):
        self.deciders = [Decider(argv, images, schema) for argv in (ours, real)]
        self.rows = rows_of(schema)
        self.seconds = operations.operations(schema)

    def decide(self, index):
        role, first = self.rows[index]
        return [list(decider.row(role, first, self.seconds)) for decider in self.deciders]


def _start_worker(*arguments):
    _Worker.current = _Worker(*arguments)
    multiprocessing.util.Finalize(None, _end_worker, exitpriority=10)


def _end_worker():
    for decider in _Worker.current.deciders:
        decider.close()


def _decide(index):
    return _Worker.current.decide(index)


def run(ours, real=REAL, slice_of=(0, 1), workers=6, progress=lambda done, rows: None):
    """Decides the cells of every slice_of[1]-th row, starting at slice_of[0], on both programs."""
    schema = read_schema(ours, real)
    entries = [entry for entry in known_differences.load() if not entry.without_refused]
    indices = range(len(rows_of(schema)))[slice_of[0]::slice_of[1]]
    with tempfile.TemporaryDirectory() as images:
        roles.make_images(images)
        context = multiprocessing.get_context("fork")
        pool = context.Pool(workers, _start_worker, (ours, real, images, schema))
        pairs = []
        try:
            for done, (mine, theirs) in enumerate(pool.imap(_decide, indices), 1):
                pairs += _pair(mine, theirs, entries)
                progress(done, len(indices))
            pool.close()
        finally:
            pool.terminate()
            pool.join()
    return pairs


def _pair(mine, theirs, entries):
    by_key = {cell.key(): cell for cell in theirs}
    pairs = [Pair(cell, by_key.pop(cell.key(), None)) for cell in mine]
    pairs += [Pair(None, cell) for cell in by_key.values()]
    for pair in pairs:
        if pair.differs and pair.mine and pair.theirs:
            pair.known = _explanation(pair, entries)
    return pairs


def _explanation(pair, entries):
    mine, theirs = pair.mine, pair.theirs
    command = theirs.command if theirs.outcome == "died" else mine.command
    as_text = known_differences.as_text
    return known_differences.find(
        entries, command, as_text(_as_reply(mine), mine.edges, theirs.edges),
        as_text(_as_reply(theirs), theirs.edges, mine.edges))


def _as_reply(cell):
    if cell.outcome == "refused":
        return {"error": {"desc": cell.reason}}
    return {"died": cell.reason} if cell.outcome == "died" else {"return": {}}
