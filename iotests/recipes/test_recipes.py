# SPDX-License-Identifier: Apache-2.0
"""Holds:   each recipe of the permission system's fact sheet, and each of its golden graphs, comes
         out as written there, on our program and on the real one.
Method:  a table of recipes, numbered as in the sheet; each plays on a fresh process over fresh
         images. Those that need what is not registered here yet play on the real one only.
"""
import functools
import tempfile

import pytest

from blockstep.commands import program_path
from iotests.compare.program import REAL, Program, ProgramDied
from iotests.recipes import devices, exports, golden, images, jobs, nodes, reopening
from iotests.recipes.player import HBA, Player

RECIPES = {}
for module in (nodes, devices, reopening, jobs, exports, golden):
    assert not RECIPES.keys() & module.recipe.recipes.keys()
    RECIPES |= module.recipe.recipes

ELSEWHERE = {89}  # 2.9 only; its wording: test_recipes_2_9.py
DEADLY = {75, 76}  # to the real program
OURS = [str(program_path("qmp"))]


@functools.cache
def registered():
    """Everything that our program has, as recipes name it."""
    with tempfile.TemporaryDirectory() as directory:
        program = Program(OURS, directory)
        try:
            schema = program.execute("query-qmp-schema")["return"]
            types = {entry["name"]: entry for entry in schema}
            add = next(entry for entry in schema if entry["name"] == "blockdev-add")
            options = types[add["arg-type"]]
            found = {"command:" + entry["name"] for entry in schema
                     if entry["meta-type"] == "command"}
            found |= {"driver:" + variant["case"] for variant in options["variants"]}
            devices_named = {need for _, needs in RECIPES.values() for need in needs
                             if need.startswith("device:")} | {"device:" + HBA}
            for need in devices_named:
                reply = program.execute("device-list-properties",
                                        {"typename": need.removeprefix("device:")})
                if "return" in reply:
                    found.add(need)
            images.make_data_file(directory)
            program.execute("blockdev-add", {"driver": "file", "node-name": "dd",
                                             "filename": "data.raw"})
            reply = program.execute("blockdev-add", {
                "driver": "qcow2", "node-name": "d", "data-file": "dd",
                "file": {"driver": "file", "filename": "dataimg.qcow2"}})
            if "return" in reply:
                found.add("format:data-file")
            for command in ("commit", "savevm"):
                reply = program.execute("human-monitor-command", {"command-line": command})
                if "unknown command" not in reply["return"]:
                    found.add("hmp:" + command)
            return found
        finally:
            program.close()


def missing(label):
    return [need for need in RECIPES[label][1] if need not in registered()]


@pytest.fixture(scope="module")
def image_files():
    return images.Images()


def play(label, argv, devices_there, image_files):
    function = RECIPES[label][0]
    programs = []
    with tempfile.TemporaryDirectory() as directory:
        def start(extra=()):
            programs.append(Program([*argv, *extra], directory))
            return programs[-1]

        image_files.copy_to(directory)
        try:
            extra = [*getattr(function, "arguments", ())]
            for option in ("drive", "device"):
                if hasattr(function, option):
                    extra += ["-" + option, getattr(function, option)]
            function(Player(start(extra), directory, devices_there, start))
        finally:
            for program in programs:
                program.close()


def name(label):
    return f"R{label}" if isinstance(label, int) else label


@pytest.mark.parametrize("label", [label for label in RECIPES if not missing(label)], ids=name)
def test_ours(label, image_files):
    play(label, OURS, registered_devices(), image_files)


@pytest.mark.parametrize("label", RECIPES, ids=name)
def test_real(label, image_files):
    if label in DEADLY:
        with pytest.raises((AssertionError, ProgramDied), match="was accepted|ended with"):
            play(label, REAL, {HBA}, image_files)
    else:
        play(label, REAL, {HBA}, image_files)


def registered_devices():
    return {need.removeprefix("device:") for need in registered() if need.startswith("device:")}


def test_every_recipe_is_there():
    """And those that do not play on ours wait for something that is truly not registered."""
    assert {label for label in RECIPES if isinstance(label, int)} == set(range(1, 144)) - ELSEWHERE
    for label in RECIPES:
        if waits_for := missing(label):
            print(f"{name(label)} waits for {', '.join(waits_for)}")
            assert not registered() & set(waits_for)
