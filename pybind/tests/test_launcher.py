# SPDX-License-Identifier: Apache-2.0
"""Holds:   the launcher touches no network when nothing is missing, installs only what is missing,
         builds what the command needs, and says in one last line, with status 2, what failed.
Method:  a checkout of the launcher alone, with stand-ins for dpkg-query, apt-get, cmake, ninja and
         the interpreter that write down how they were called.
"""
import os
import shutil
import subprocess

import pytest

from blockstep.commands import source_dir

STAND_IN = """#!/bin/bash
echo "${0##*/} $*" >>"$CALLS"
%s
"""
INSTALLED = 'for name; do [[ $name == -* ]] || printf "%s/installed " "$name"; done'
# What the launcher itself calls.
TOOLS = ("bash", "dirname", "readlink", "mkdir", "flock", "grep", "tail", "env", "cat")


@pytest.fixture
def checkout(tmp_path):
    top, tools = tmp_path / "checkout", tmp_path / "tools"
    tools.mkdir()
    (top / "pybind/blockstep/commands").mkdir(parents=True)
    shutil.copy(source_dir() / "blockstep", top)
    (top / "packages.txt").write_text("[run]\ncmake\ng++\n[testing]\nfio\n")
    for command in ("run", "test", "qmp"):
        (top / f"pybind/blockstep/commands/{command}.py").touch()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))
    # The interpreter is named by its path, so its stand-in is put into the copy.
    launcher = top / "blockstep"
    launcher.write_text(launcher.read_text().replace("/usr/bin/python3", f"{tools}/python3"))
    checkout = Checkout(top, tools)
    for name in ("apt-get", "cmake", "ninja", "python3", "sudo"):
        checkout.stand_in(name)
    checkout.stand_in("dpkg-query", INSTALLED)
    return checkout


class Checkout:
    def __init__(self, top, tools):
        self.top, self.tools, self.calls = top, tools, top.parent / "calls"

    def stand_in(self, name, body="exit 0"):
        path = self.tools / name
        path.write_text(STAND_IN % body)
        path.chmod(0o755)

    def launch(self, *arguments):
        self.calls.write_text("")
        done = subprocess.run(
            [self.top / "blockstep", *arguments], capture_output=True, text=True, check=False,
            cwd=self.top, env={"PATH": str(self.tools), "CALLS": str(self.calls), "HOME": "/"})
        return done, [line for line in self.calls.read_text().splitlines()
                      if not line.startswith("dpkg-query")]


def test_nothing_missing_no_network(checkout):
    (checkout.top / "some.py").touch()
    done, calls = checkout.launch("run", "some.py", "--seed", "3")
    assert (done.returncode, done.stdout) == (0, "")
    assert [call.split()[0] for call in calls] == ["cmake", "ninja", "python3"]
    assert calls[1].endswith("_blockstep")
    assert calls[2] == "python3 -P -m blockstep run some.py --seed 3"


def test_only_what_is_missing_is_installed(checkout):
    checkout.stand_in("dpkg-query", 'printf "cmake/installed fio/config-files "')
    done, calls = checkout.launch("test")
    assert done.returncode == 0
    installs = [call for call in calls if "install" in call]
    assert len(installs) == 1 and installs[0].endswith(" g++ fio")
    assert done.stderr.startswith("blockstep: installing g++ fio\n")


@pytest.mark.parametrize("tool, body, message", [
    ("cmake", "echo no compiler; exit 1", "blockstep: configuring failed; see "),
    ("ninja", "echo 'x.cpp:1: error: no such thing'; exit 1", "blockstep: build failed; see "),
])
def test_failed_build_ends_with_one_line_and_status_2(checkout, tool, body, message):
    checkout.stand_in(tool, body)
    done, calls = checkout.launch("qmp")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(message)
    assert ("no compiler" in done.stderr) or ("error: no such thing" in done.stderr)
    assert not any(call.startswith("python3") for call in calls)


def test_failed_install_ends_with_one_line_and_status_2(checkout):
    checkout.stand_in("dpkg-query", "true")
    checkout.stand_in("apt-get", "echo 'E: no network'; exit 100")
    done, calls = checkout.launch("qmp")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:][0] == "E: no network"
    assert done.stderr.splitlines()[-1].startswith("blockstep: apt-get update failed; see ")


def test_sudo_only_when_not_root(checkout):
    checkout.stand_in("dpkg-query", "true")
    _done, calls = checkout.launch("qmp")
    assert any(call.startswith("sudo ") for call in calls) == (os.geteuid() != 0)


@pytest.mark.parametrize("arguments, line", [
    (["fly"], "blockstep: unknown command 'fly' (known: qmp run test build install)"),
    (["run", "none.py"], "blockstep: no such scenario: none.py"),
    (["install", "none"], "blockstep: no section 'none' in packages.txt"),
])
def test_wrong_command_lines_cost_nothing(checkout, arguments, line):
    done, calls = checkout.launch(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line + "\n")
    assert calls == []
