# SPDX-License-Identifier: Apache-2.0
"""Holds:   what the documents show works: every scenario in them runs, every test in them passes,
         and every command line in them names a command, a file and options that exist.
Method:  code blocks taken out and run; command lines parsed by the commands' own parsers.
"""
import importlib
import pathlib
import re
import shlex

import pytest

from blockstep import run_scenario
from blockstep.__main__ import Parser
from blockstep.commands import source_dir
from blockstep.apart import in_fresh_process
from blockstep.scenario import load_scenario

PAGES = ["README.md", *(f"docs/{path.name}" for path in (source_dir() / "docs").glob("*.md"))]
pytest_plugins = ["pytester"]

BLOCKS = [pytest.param(block, id=f"{page}-{number}") for page in PAGES
          for number, block in enumerate(
              re.findall(r"```python\n(.*?)```", (source_dir() / page).read_text(), re.DOTALL))]
COMMANDS = [(page, line) for page in PAGES for line in re.findall(
    r"^    \./blockstep (\S.*)$", (source_dir() / page).read_text(), re.MULTILINE)]
PLACEHOLDERS = {"SCENARIO", "hello.py", "some_scenario.py"}  # a file of the reader's


@pytest.mark.parametrize("block", [block for block in BLOCKS if "def main(" in block.values[0]])
def test_scenarios_in_documents_run(block, tmp_path):
    path = tmp_path / "shown.py"
    path.write_text(block)

    def run():
        outcome = run_scenario(load_scenario(path))
        return {"outcome": outcome.outcome, "error": outcome.error, "notes": outcome.timeline}

    end = in_fresh_process(run)
    assert end["outcome"] == "passed", end["error"]
    assert end["notes"]


@pytest.mark.parametrize("block", [block for block in BLOCKS
                                   if "def test_" in block.values[0]])
def test_tests_in_documents_pass(block, pytester):
    path = pytester.makepyfile(block)
    (pytester.path / "scenarios").symlink_to(source_dir() / "scenarios")
    pytester.runpytest_subprocess("-p", "blockstep.pytest_plugin", path).assert_outcomes(
        passed=block.count("def test_"))


@pytest.mark.parametrize("page, line", COMMANDS)
def test_commands_in_documents_exist(page, line):
    words = shlex.split(re.split(r"\s{2,}", line)[0].replace("[", "").replace("]", ""))
    if words[0] == "install":  # the launcher's own
        return
    command = importlib.import_module(f"blockstep.commands.{words[0]}")
    parser = Parser(prog=words[0])
    command.add_arguments(parser)
    args = parser.parse_args(words[1:])
    scenario = pathlib.PurePath(getattr(args, "scenario", None) or "SCENARIO")
    assert scenario.name in PLACEHOLDERS or (source_dir() / scenario).is_file()
