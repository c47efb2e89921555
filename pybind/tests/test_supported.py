# SPDX-License-Identifier: Apache-2.0
"""Holds:   docs/supported.md names what is built, all of it and nothing else, with its source.
Method:  made again and compared; `./blockstep supported --write` makes it.
"""
import _blockstep
from blockstep.commands import source_dir
from blockstep.commands.supported import PAGE, page


def test_the_page_is_that_of_what_is_built():
    assert (source_dir() / PAGE).read_text() == page(), "run ./blockstep supported --write"


def test_everything_registered_says_where_it_comes_from():
    for kind, things in _blockstep.registered().items():
        assert things, kind
        for thing in things:
            assert thing["source"], thing["name"]
