# SPDX-License-Identifier: Apache-2.0
"""Holds:   each rule of tidy.py fires on the line that breaks it and stays quiet beside it.
Method:  one list of small sources per rule, bad ones with the number of the bad line.
"""
import importlib.util
import pathlib
import sys

import pytest

spec = importlib.util.spec_from_file_location(
    "tidy", pathlib.Path(__file__).with_name("tidy.py"))
tidy = importlib.util.module_from_spec(spec)
sys.modules["tidy"] = tidy  # dataclasses look their module up
spec.loader.exec_module(tidy)

HEAD = "// SPDX-License-Identifier: Apache-2.0\n"

# rule, path, text after the head, bad line (counting the head) or None, text of x.hpp beside it
EXAMPLES = [
    ("length", "sim/x.cpp", "\n" * 800, 801),
    ("length", "sim/x.cpp", "\n" * 799, None),
    ("width", "sim/x.cpp", "\n" + "x" * 101, 3),
    ("width", "sim/x.cpp", "\n" + "é" * 100, None),
    ("leftovers", "sim/x.cpp", "// TODO: later\n", 2),
    ("leftovers", "sim/x.cpp", "int TODOLESS;\n", None),
    ("arrows", "sim/x.cpp", '#include "blocklayer/errors.hpp"\n', 2),
    ("arrows", "blocklayer/x.cpp", '#include "hwmodels/device.hpp"\n', 2),
    ("arrows", "blocklayer/x_test.cpp", '#include "hwmodels/device.hpp"\n', 2),
    ("arrows", "hwmodels/x.cpp", '#include "blocklayer/errors.hpp"\n', None),
    ("arrows", "blocklayer/x.cpp", '#include "sim/testing/catch.hpp"\n', 2),
    ("arrows", "blocklayer/x_test.cpp", '#include "sim/testing/catch.hpp"\n', None),
    ("arrows", "blocklayer/x_bench.cpp", '#include "sim/testing/bench.hpp"\n', None),
    ("blocklayer-arrows", "blocklayer/graph/x.cpp",
     '#include "blocklayer/drivers/filters/throttle.hpp"\n', 2),
    ("blocklayer-arrows", "blocklayer/graph/x.cpp",
     '#include "blocklayer/drivers/driver.hpp"\n', None),
    ("blocklayer-arrows", "blocklayer/drivers/a/x.hpp",
     '#pragma once\n#include "blocklayer/jobs/job.hpp"\n', 3),
    ("blocklayer-arrows", "blocklayer/jobs/x.cpp", '#include "blocklayer/graph/node.hpp"\n', None),
    ("blocklayer-arrows", "blocklayer/graph/x_test.cpp",
     '#include "blocklayer/drivers/driver.hpp"\n', None),
    ("homes", "sim/x.hpp", "#pragma once\n#include <simgrid/s4u.hpp>\n", 3),
    ("homes", "sim/x.cpp", "#include <simgrid/s4u.hpp>\n", None),
    ("homes", "sim/x.cpp", "#include <boost/context/fiber.hpp>\n", 2),
    ("homes", "sim/fiber.cpp", "#include <boost/context/fiber.hpp>\n", None),
    ("homes", "blocklayer/x.cpp", "#include <nlohmann/json.hpp>\n", 2),
    ("homes", "blocklayer/x.cpp", "#include <nlohmann/json_fwd.hpp>\n", None),
    ("homes", "hwmodels/x.cpp", "#include <pybind11/pybind11.h>\n", 2),
    ("homes", "pybind/section_x.cpp", "#include <pybind11/pybind11.h>\n", None),
    ("homes", "sim/x_test.cpp", "#include <catch2/catch.hpp>\n", 2),
    ("header-guard", "sim/x.hpp", "int f();\n", 1),
    ("header-guard", "sim/x.hpp", "#pragma once\nint f();\n", None),
    ("clock", "blocklayer/x.cpp", "auto t = std::chrono::steady_clock::now();\n", 2),
    ("clock", "blocklayer/x.cpp", "auto t = time(nullptr);\n", 2),
    ("clock", "blocklayer/x.cpp", "// not steady_clock\nworld.time(0);\n", None),
    ("clock", "sim/wall_clock.cpp", "auto t = std::chrono::steady_clock::now();\n", None),
    ("random", "sim/x.cpp", "std::random_device device;\n", 2),
    ("random", "sim/x.cpp", "int n = rand();\n", 2),
    ("random", "sim/x.cpp", "int n = rng.rand(); auto s = operand();\n", None),
    ("thread", "sim/x.cpp", "std::thread t(f);\n", 2),
    ("thread", "sim/x.cpp", "static thread_local int x;\n", 2),
    ("thread", "sim/x.cpp", "sim::Mutex mutex; sim::Thread thread;\n", None),
    ("unordered", "sim/x.cpp",
     "std::unordered_map<int, int> seen;\nfor (auto& [k, v] : seen) {}\n", 3),
    ("unordered", "sim/x.cpp", "for (auto& [k, v] : this->seen_) {}\n", 2,
     "std::unordered_map<std::string, std::vector<int>> seen_;\n"),
    ("unordered", "sim/x.cpp", "auto it = seen_.begin();\n", 2, "std::unordered_set<int> seen_;\n"),
    ("unordered", "sim/x.cpp", "auto it = seen_.find(3);\n", None,
     "std::unordered_set<int> seen_;\n"),
    ("unordered", "sim/x.cpp", "std::map<int, int> seen;\nfor (auto& [k, v] : seen) {}\n", None),
    ("pointer-order", "sim/x.cpp", "std::map<const Node*, int> ids;\n", 2),
    ("pointer-order", "sim/x.cpp", "std::set<Node *> nodes;\n", 2),
    ("pointer-order", "sim/x.cpp", "std::map<int, Node*> nodes;\n", None),
    ("kept-co", "blocklayer/x.cpp", "auto f = [&co] { g(co); };\n", 2),
    ("kept-co", "blocklayer/x.cpp", "    sim::Co& co_;\n", 2),
    ("kept-co", "blocklayer/x.cpp", "auto f = [&](sim::Co& co) { g(co); };\n", None),
    ("skipped", "sim/x_test.cpp", 'TEST_CASE("x", "[.]") {}\n', 2),
    ("skipped", "sim/x_test.cpp", 'TEST_CASE("x", "[slow]") {}\n', None),
    ("skipped", "scenarios/test_x.py", "@pytest.mark.skip\n", 2),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e[0]} {e[1]} {e[3]}")
def test_rule(example):
    name, path, text, bad_line = example[:4]
    found = tidy.check(tidy.Source(path, HEAD + text, *example[4:]))
    found = [line.split(": ")[:2] for line in found if f": {name}: " in line]
    assert found == ([[f"{path}:{bad_line}", name]] if bad_line else [])


@pytest.mark.parametrize("path, text, bad_line", [
    ("sim/x.cpp", HEAD, None),
    ("sim/x.cpp", "// a model of x\n" + HEAD, 1),
    ("x.py", "#!/usr/bin/python3\n# SPDX-License-Identifier: Apache-2.0\n", None),
    ("x.py", '"""x"""\n', 1),
    ("x.sh", "#!/bin/bash\necho\n", 2),
    ("README.md", "# x\n", None),
])
def test_spdx(path, text, bad_line):
    found = [line for line in tidy.check(tidy.Source(path, text)) if ": spdx: " in line]
    assert [line.split(":")[1] for line in found] == ([str(bad_line)] if bad_line else [])


def test_every_rule_has_an_example_that_fires():
    fired = {example[0] for example in EXAMPLES if example[3]} | {"spdx"}
    assert fired == {function.__name__.replace("_", "-") for function in tidy.RULES}


def test_blank_keeps_lines_and_hides_words():
    text = 'a("rand()"); /* time(0)\n x */ b(); // TODO\nc(\'"\'); d("\\"rand()"); 1\'000;\n'
    hidden = tidy.blank(text)
    assert hidden.count("\n") == text.count("\n")
    assert hidden.replace(" ", "") == "a();\nb();\nc();d();1'000;\n"


def test_this_checkout_is_listed():
    assert {"CMakeLists.txt", ".ci/tidy.py"} <= set(tidy.project_files())
