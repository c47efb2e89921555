# SPDX-License-Identifier: Apache-2.0
"""The permission matrix: every cell decided by two programs, and what differs.

    run(ours, real, workers=2)  ->  list of (cell of ours, cell of the real one)
"""

import concurrent.futures
import tempfile

from iotests.matrix import operations, roles
from iotests.matrix.cells import Decider
from iotests.compare.program import REAL, Program


def registered(argv):
    """Names of everything a program has: commands, devices, drivers."""
    with tempfile.TemporaryDirectory() as directory:
        program = Program(argv, directory)
        try:
            schema = program.execute("query-qmp-schema")["return"]
            commands = {entry["name"] for entry in schema if entry["meta-type"] == "command"}
            drivers = {value for entry in schema if entry["meta-type"] == "enum"
                       and "qcow2" in entry["values"] for value in entry["values"]}
            listed = program.execute("qom-list-types", {"implements": "device"})
            devices = {entry["name"] for entry in listed.get("return", ())}
        finally:
            program.close()
    return commands | drivers | devices


def available(argv):
    """The operations a program can do; they grow as devices, jobs and drivers register."""
    names = registered(argv)
    return [operation for operation in operations.operations()
            if all(need in names for need in operation.needs)]


def run(ours, real=REAL, slice_of=(0, 1), workers=2, progress=lambda done, rows: None):
    """Decides the cells of every slice_of[1]-th row, starting at slice_of[0], on both programs.

    A row is a role and a first operation. Returns pairs of cells in a fixed order; a cell that one
    program has and the other lacks is paired with None.
    """
    second = available(ours)
    # What a filter takes or withholds matters to who comes later; to come later itself one
    # representative of each is enough, the rest stand in the columns.
    first = [operation for operation in second if not operation.name.startswith("blkdebug takes")
             or operation.name in ("blkdebug takes W withholds -", "blkdebug takes - withholds W",
                                   "blkdebug takes CWUR withholds -",
                                   "blkdebug takes - withholds CWUR")]
    rows = [(role, operation) for role in roles.ROLES for operation in first]
    rows = rows[slice_of[0]::slice_of[1]]
    with tempfile.TemporaryDirectory() as images:
        roles.make_images(images)

        def decide(row):
            role, operation = row
            result = []
            for argv in (ours, real):
                decider = Decider(argv, images)
                try:
                    result.append(list(decider.row(role, operation, second)))
                finally:
                    decider.close()
            return result

        pairs = []
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for done, (mine, theirs) in enumerate(pool.map(decide, rows), 1):
                pairs += _pair(mine, theirs)
                progress(done, len(rows))
    return pairs


def _pair(mine, theirs):
    by_key = {cell.key(): cell for cell in theirs}
    pairs = [(cell, by_key.pop(cell.key(), None)) for cell in mine]
    return pairs + [(None, cell) for cell in by_key.values()]


def differences(pairs):
    return [(mine, theirs) for mine, theirs in pairs
            if mine is None or theirs is None or mine.verdict() != theirs.verdict()]


def describe(mine, theirs):
    """What differs in one cell, as lines of text."""
    cell = mine or theirs
    lines = [f"{cell.role} | {cell.first} | {cell.second or 'alone'}"]
    for name, side in (("ours", mine), ("real", theirs)):
        lines.append(f"  {name}: {side.outcome} {side.reason}" if side else f"  {name}: no cell")
    if mine and theirs and mine.edges != theirs.edges:
        lines += [f"  edge of ours only: {edge}" for edge in mine.edges if edge not in theirs.edges]
        lines += [f"  edge of the real only: {edge}" for edge in theirs.edges
                  if edge not in mine.edges]
    return lines
