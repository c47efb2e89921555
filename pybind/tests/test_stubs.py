# SPDX-License-Identifier: Apache-2.0
"""Holds:   the type stubs are those of the module, they are Python, every type in them is known,
         and every class is documented.
Method:  made again and compared; every name in them looked up.
"""
import ast
import builtins
import inspect

import _blockstep
from blockstep import stubs
from blockstep.commands import source_dir


def test_stubs_in_the_checkout_are_those_of_the_module():
    assert (source_dir() / "pybind/_blockstep.pyi").read_text() == stubs.stubs()


def test_every_type_in_the_stubs_is_known():
    tree = ast.parse(stubs.stubs())
    known = {"typing", *dir(builtins), *vars(_blockstep)}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used <= known


def test_classes_have_docstrings():
    for value in vars(_blockstep).values():
        if inspect.isclass(value):
            assert value.__doc__ and len(value.__doc__) > 10
