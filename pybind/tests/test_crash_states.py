# SPDX-License-Identifier: Apache-2.0
"""Holds:   the command explores every configuration, adds up what it saw, and fails when a state is
         not as it must be.
Method:  a few workloads of each; a program that finds something, in place of the real one.
"""
import json
import subprocess
import sys

import pytest

from blockstep import commands
from blockstep.commands import crash_states


def test_a_few_workloads_of_each_configuration():
    done = subprocess.run([sys.executable, "-P", "-m", "blockstep", "crash-states", "--json",
                           "--workloads", "5"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert len(told["configurations"]) >= 10
    assert {row["workloads"] for row in told["configurations"]} == {5}
    assert told["failures"] == 0
    assert told["states"] == sum(row["distinct"] for row in told["configurations"]) > 1000


@pytest.fixture
def finding_program(tmp_path, monkeypatch):
    row = {"configuration": "odd", "workloads": 1, "moments": 2, "states": 3, "distinct": 3,
           "leaking": 0, "continued": 0,
           "failures": [{"operations": "write,flush,zero", "moment": 4, "kept": "01",
                         "what": "sector 1 reads as 0"}]}
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ncase $1 in --list) echo odd;; "
                       f"*) echo '{json.dumps(row)}'; exit 1;; esac\n")
    program.chmod(0o755)
    monkeypatch.setattr(crash_states, "program_path", lambda name: program)
    return program


class Arguments:
    json, workloads, time, jobs = False, None, None, 1


def test_a_finding_is_shown_and_fails(finding_program, capsys):
    assert crash_states.run(Arguments()) == 1
    shown = capsys.readouterr().out
    assert ("write,flush,zero, after change 4 of the file, kept 01: sector 1 reads as 0"
            in shown)
    assert shown.endswith("1 not as they must be\n")


def test_a_program_that_dies_is_an_error(finding_program):
    finding_program.write_text("#!/bin/sh\ncase $1 in --list) echo odd;; *) exit 139;; esac\n")
    with pytest.raises(commands.CommandError, match="exploring 'odd' ended with status 139"):
        crash_states.run(Arguments())
