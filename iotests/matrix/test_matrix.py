# SPDX-License-Identifier: Apache-2.0
"""The permission matrix, a fixed part of it.

Holds:   ours and the real program decide each cell the same, with the same sentence and the same
         change of the graph; the page shows every cell with its reason.
Method:  every 60th row, both programs; cells made by hand for the page.
"""
import json
import re

import pytest

from blockstep.commands import program_path
from iotests.matrix import page, run as matrix
from iotests.matrix.cells import Cell, changes

SLICE = (7, 60)


@pytest.fixture(scope="module")
def pairs():
    return matrix.run([str(program_path("qmp"))], slice_of=SLICE, workers=4)


def test_slice_is_decided_the_same(pairs):
    different = [pair.text() for pair in pairs if pair.unexplained]
    assert not different, (f"{len(different)} cells differ (./blockstep perms matrix --slice "
                           f"{SLICE[0]}/{SLICE[1]}):\n" + "\n".join(different[:20]))
    outcomes = {pair.cell.outcome for pair in pairs}
    assert {"accepted", "refused"} <= outcomes and len(pairs) > 100


def data_of(html):
    return json.loads(re.search(r"const data = (.*);\n", html)[1].replace("<\\/", "</"))


def test_page_has_every_cell_and_its_reason(pairs):
    data = data_of(page.render(pairs))
    cells = [cell for role in data["roles"] for row in role["rows"] for cell in row["cells"]
             if cell]
    assert len(cells) == len(pairs) == data["cells"]
    refused = [cell for cell in cells if cell[0] == 1]
    assert len(refused) == data["refused"] > 0
    assert all(data["reasons"][cell[1]]["text"] for cell in refused)


def test_page_marks_what_differs():
    ours = Cell("role", "first", "then", "refused", "no </script> \"way\"")
    data = data_of(page.render([matrix.Pair(ours, Cell("role", "first", "then", "accepted"))]))
    assert data["unexplained"] == 1
    state, reason, real, known = data["roles"][0]["rows"][0]["cells"][0]
    assert (state, known) == (1, "")
    assert data["reasons"][reason]["text"] == ours.reason
    assert data["reasons"][real]["text"] == "accepted"


@pytest.mark.parametrize("reason, word", [
    ("Permission conflict on node 'a': permissions 'consistent read, write' are both", "CW"),
    ("Block node is read-only", "ro"),
    ("Node 'a' is busy: node is used as backing hd of 'b'", "busy"),
    ("Need a root block node", "root"),
    ('Failed to get "write" lock', "lock"),
    ("anything else", "no")])
def test_short_form_of_a_reason(reason, word):
    assert page.word(reason) == word


def test_a_cell_tells_what_it_changed():
    assert changes(["a", "b"], ["b", "c"]) == ["- a", "+ c"]
