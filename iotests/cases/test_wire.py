# SPDX-License-Identifier: Apache-2.0
"""The text on the wire is the real program's.

Holds:   every line that a transcript in cases/*.qmp and cases/permissions/*.qmp leads to is the
         same, byte for byte, from our program and from the real one, dates and the like masked.
Method:  each transcript is played on both over copies of the same images.
"""
import pathlib

import pytest

from blockstep.commands import program_path
from iotests.runner import wire

HERE = pathlib.Path(__file__).parent
CASES = sorted(HERE.rglob("*.qmp"))


@pytest.fixture(scope="module")
def images():
    return wire.Images()


@pytest.mark.parametrize("case", CASES, ids=[str(case.relative_to(HERE)) for case in CASES])
def test_same_as_the_real_program(case, images):
    steps = wire.read_steps(case)
    ours = wire.play([str(program_path("qmp"))], images, steps)
    theirs = wire.play(wire.REAL, images, steps)
    assert not wire.differences(ours, theirs), "\n" + "\n".join(wire.differences(ours, theirs))
    assert len(ours) == len(theirs) > 1


def test_a_difference_is_seen():
    ours = [("step", ["a"]), ("other", ["b"])]
    theirs = [("step", ["a"]), ("other", ["c"])]
    assert wire.differences(ours, theirs) == ["other\n  ours: b\n  real: c"]
