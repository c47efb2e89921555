# SPDX-License-Identifier: Apache-2.0
"""Holds:   a transaction is answered as the real program answers it, and one that fails leaves
         the graph and the bitmaps as they were.
Method:  random transactions on both programs, half of them ending in an abort action; graphs and
         bitmaps looked at after each.
"""
import random
import tempfile

import pytest

from iotests.compare import graph
from iotests.compare.program import REAL, Program
from iotests.recipes import images
from iotests.recipes.test_recipes import OURS

NAMES = ("a", "b", "o", "r", "none")
STEPS = 40


def draw(rng):
    # Not enable and disable: when one of them cannot prepare, the real program dies.
    kind = rng.choice(["snapshot", "snapshot", "add", "remove", "clear"])
    node = rng.choice(NAMES)
    if kind == "snapshot":
        return {"type": "blockdev-snapshot", "data": {"node": node, "overlay": rng.choice(NAMES)}}
    return {"type": f"block-dirty-bitmap-{kind}",
            "data": {"node": node, "name": rng.choice(["x", "y"])}}


def transactions(rng):
    for _ in range(STEPS):
        actions = [draw(rng) for _ in range(rng.randrange(1, 4))]
        if rng.random() < 0.5:
            actions.append({"type": "abort", "data": {}})
        yield {"actions": actions}


def state(program):
    nodes = program.execute("query-named-block-nodes", {"flat": True})["return"]
    bitmaps = {node["node-name"]: node.get("dirty-bitmaps", []) for node in nodes
               if node["node-name"] in NAMES}
    return graph.edges(program), bitmaps


def play(argv, seed, directory):
    program = Program(argv, directory)
    try:
        for name, image in (("a", "t"), ("b", "t2"), ("o", "o")):
            program.execute("blockdev-add", {
                "driver": "qcow2", "node-name": name, "backing": None,
                "file": {"driver": "file", "filename": f"{image}.qcow2"}})
        program.execute("blockdev-add", {"driver": "file", "node-name": "r",
                                         "filename": "raw.img"})
        for transaction in transactions(random.Random(seed)):
            before = state(program)
            reply = program.execute("transaction", transaction)
            after = state(program)
            yield transaction, reply, after, "error" in reply and after != before
    finally:
        program.close()


@pytest.mark.parametrize("test_seed", range(3))
def test_random_transactions(test_seed):
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        files = images.Images()
        files.copy_to(ours)
        files.copy_to(theirs)
        succeeded = 0
        for mine, real in zip(play(OURS, test_seed, ours), play(REAL, test_seed, theirs),
                              strict=True):
            transaction, reply, after, left_a_trace = mine
            assert not left_a_trace, transaction
            assert reply == real[1], f"seed {test_seed}: {transaction}"
            if real[3]:  # its way back moves users of the overlay that were there before
                break
            assert after == real[2], f"seed {test_seed}: {transaction}"
            succeeded += "return" in reply
        assert succeeded > 0
