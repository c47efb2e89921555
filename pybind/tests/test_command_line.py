# SPDX-License-Identifier: Apache-2.0
"""Holds:   a wrong command line is answered by one line and status 2, and a test run never counts
         too few failures: a program that dies, skips or runs nothing is not a success. What is
         measured of exploring runs.
Method:  the launcher and the package started as a user would; the counters fed with real output.
"""
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from blockstep.commands import source_dir
from blockstep.commands.bench import exploring_rows
from blockstep.commands.test import (Count, count_catch, count_ctest, count_junit,
                                     read_report)


def told(*command) -> str:
    """The one line with which a command fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr.strip()


@pytest.mark.parametrize("arguments, message", [
    (["fly"], "blockstep: unknown command 'fly' (known: "),
    (["run", "scenarios/no_such.py"], "blockstep: no such scenario: scenarios/no_such.py"),
    (["install", "nothing"], "blockstep: no section 'nothing' in packages.txt"),
])
def test_launcher_says_what_is_wrong(arguments, message):
    assert told(source_dir() / "blockstep", *arguments).startswith(message)


@pytest.mark.parametrize("arguments, message", [
    (["fly"], "blockstep: unknown command 'fly' (known: "),
    (["test", "everything"], "blockstep: argument what: invalid choice: 'everything'"),
    (["bench", "--fast"], "blockstep: unrecognized arguments: --fast"),
])
def test_package_says_what_is_wrong(arguments, message):
    assert told(sys.executable, "-m", "blockstep", *arguments).startswith(message)


def test_launcher_lists_commands():
    done = subprocess.run([source_dir() / "blockstep"], capture_output=True, text=True, check=True)
    commands = done.stdout.split("commands: ")[1].split()
    assert {"bench", "install", "test"} <= set(commands)


def test_exploring_is_measured():
    rows = exploring_rows("explore", schedules=5)
    assert len(rows) == 2 and all(
        0 < row["value"] < 5000 and row["unit"] == "runs/CPU-s" for row in rows)
    assert exploring_rows("virtio") == []


@pytest.mark.parametrize("output, ok, count", [
    ("All tests passed (12 assertions in 6 test cases)\n", True, Count(6, 0)),
    ("All tests passed (1 assertion in 1 test case)\n", True, Count(1, 0)),
    ("test cases:  8 |  7 passed | 1 failed\nassertions: 14 | 13 passed | 1 failed\n", False,
     Count(7, 1)),
    ("test cases: 1 | 1 failed\nassertions: 1 | 1 failed\n", False, Count(0, 1)),
    ("test cases: 2 | 2 passed\nassertions: - none -\n", True, Count(2, 0)),
    ("Segmentation fault\n", False, Count(0, 1)),
    ("All tests passed (12 assertions in 6 test cases)\nleaked 8 bytes\n", False, Count(6, 1)),
    ("No tests ran\n", True, Count(0, 1)),
])
def test_catch_output_is_counted(output, ok, count):
    assert count_catch(output, ok) == count


@pytest.mark.parametrize("cases, ok, count", [
    ('<testcase name="a"/><testcase name="b"/>', True, Count(2, 0)),
    ('<testcase name="a"/><testcase name="b"><failure/></testcase>', False, Count(1, 1)),
    ('<testcase name="a"><error/></testcase>', False, Count(0, 1)),
    ('<testcase name="a"><skipped/></testcase>', True, Count(0, 1)),
    ('<testcase name="a"/>', False, Count(1, 1)),
    ("", False, Count(0, 1)),
])
def test_pytest_report_is_counted(cases, ok, count):
    report = f"<testsuites><testsuite>{cases}</testsuite></testsuites>"
    root = xml.etree.ElementTree.fromstring(report)
    assert count_junit(root, ok) == count


@pytest.mark.parametrize("cases, count", [
    ('<testcase status="run"><system-out>All tests passed (2 assertions in 2 test cases)'
     '</system-out></testcase><testcase status="fail"><system-out>Killed</system-out></testcase>',
     Count(2, 1)),
    ('<testcase status="notrun"/>', Count(0, 1)),
    ("", Count(0, 1)),
])
def test_ctest_report_is_counted(cases, count):
    assert count_ctest(xml.etree.ElementTree.fromstring(f"<testsuite>{cases}</testsuite>")) == count


@pytest.mark.parametrize("text", [None, "", "<testsuite><testcase>"])
def test_a_lost_report_is_a_failure(tmp_path, text):
    path = tmp_path / "report.xml"
    if text is not None:
        path.write_text(text)
    assert count_ctest(read_report(path)) == count_junit(read_report(path), True) == Count(0, 1)
