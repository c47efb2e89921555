# SPDX-License-Identifier: Apache-2.0
"""Run the tests: unit (C++ and style), scenarios (pytest) or all.

The last line counts every test of every part: "N passed, N failed". A skipped test counts as
failed, a test program that dies without a count as one failed test.
"""
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

from blockstep.commands import CommandError, build_dir, source_dir

# Where tests in Python live.
PYTEST_FOLDERS = ("pybind", "scenarios", "iotests")
CATCH_COUNTS = re.compile(
    r"^test cases: +\d+(?: \| +(?P<passed>\d+) passed)?(?: \| +(?P<failed>\d+) failed)?"
    r"|^All tests passed \(.* in (?P<all>\d+) test cases?\)", re.MULTILINE)


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.passed + other.passed, self.failed + other.failed)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


def count_catch(output: str, ok: bool) -> Count:
    """Test cases in a Catch program's output; `ok` is whether the program succeeded."""
    count = Count()
    for match in CATCH_COUNTS.finditer(output):
        count += Count(int(match["all"] or match["passed"] or 0), int(match["failed"] or 0))
    # A program that fails without saying where, or succeeds without having run anything.
    if (not ok and count.failed == 0) or (ok and count.passed == 0):
        count.failed += 1
    return count


def count_junit(root: xml.etree.ElementTree.Element, ok: bool) -> Count:
    """Tests in pytest's JUnit report; `ok` is whether pytest succeeded."""
    count = Count()
    for case in root.iter("testcase"):
        bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
        count += Count(failed=1) if bad else Count(passed=1)
        if case.find("skipped") is not None:
            print(f"skipped, so not shown to hold: {case.get('classname')}::{case.get('name')}")
    if (not ok or count == Count()) and count.failed == 0:
        count.failed += 1
    return count


def plain_environment() -> dict[str, str]:
    """Without what the launcher sets so that the interpreter can load an asan module."""
    drop = ("LD_PRELOAD", "ASAN_OPTIONS") if build_dir().name == "asan" else ()
    return {name: value for name, value in os.environ.items() if name not in drop}


def read_report(path: pathlib.Path) -> xml.etree.ElementTree.Element:
    """The XML a test tool wrote; without cases if it died before or wrote what is not XML."""
    try:
        return xml.etree.ElementTree.parse(path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        print(f"no report of the tests: {error}")
        return xml.etree.ElementTree.Element("testsuite")


def count_ctest(root: xml.etree.ElementTree.Element) -> Count:
    """Test cases in all Catch programs that ctest ran; having run none is a failure."""
    programs = [count_catch(case.findtext("system-out") or "", case.get("status") == "run")
                for case in root.iter("testcase")]
    return sum(programs, Count()) if programs else Count(failed=1)


def run_ctest() -> Count:
    report = build_dir() / "ctest.xml"
    report.unlink(missing_ok=True)
    subprocess.run(
        ["ctest", "--test-dir", build_dir(), "-j", str(os.cpu_count()), "--output-on-failure",
         "--output-junit", report, "--test-output-size-passed", "1000000",
         "--test-output-size-failed", "100000000"],
        env=plain_environment(), check=False)
    return count_ctest(read_report(report))


def run_pytest(name: str, root: pathlib.Path, arguments: list[str]) -> Count:
    report = build_dir() / f"pytest-{name}.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", root,
         "--import-mode=importlib", "-p", "no:cacheprovider", f"--junitxml={report}",
         *arguments],
        cwd=root, check=False)
    return count_junit(read_report(report), done.returncode == 0)


def run_style() -> Count:
    """The source rules; they are the same in every build, so only the release build checks them."""
    if build_dir().name != "release":
        return Count()
    tidy = subprocess.run([sys.executable, source_dir() / ".ci/tidy.py"], check=False)
    return Count(int(tidy.returncode == 0), int(tidy.returncode != 0)) + run_pytest(
        "style", source_dir() / ".ci", [])


def run_unit(_args) -> Count:
    return run_ctest()


def run_scenarios(args) -> Count:
    folders = [folder for folder in PYTEST_FOLDERS if (source_dir() / folder).is_dir()]
    if not folders:
        raise CommandError("there are no scenarios to test")
    options = ["-p", "blockstep.pytest_plugin", "--seed", str(args.seed)]
    return run_pytest("scenarios", source_dir(),
                      options + folders + (["-k", args.k] if args.k else []))


PARTS = {"style": lambda _args: run_style(), "unit": run_unit, "scenarios": run_scenarios}
CHOICES = {"unit": ("style", "unit"), "scenarios": ("scenarios",), "all": tuple(PARTS)}


def add_arguments(parser) -> None:
    parser.add_argument("what", nargs="?", choices=CHOICES, default="all")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="seed of the worlds in scenario tests (default 0)")
    parser.add_argument("-k", metavar="EXPRESSION",
                        help="only scenario tests that match (as pytest -k)")


def run(args) -> int:
    counts = {}
    for part in CHOICES[args.what]:
        start = time.monotonic()
        counts[part] = PARTS[part](args)
        print(f"{part}: {counts[part]} ({time.monotonic() - start:.1f} s)\n", flush=True)
    total = sum(counts.values(), Count())
    print(total)
    return 0 if total.failed == 0 and total.passed > 0 else 1
