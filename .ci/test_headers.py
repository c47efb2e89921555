# SPDX-License-Identifier: Apache-2.0
"""Holds:   a header that needs another one's includes is reported, one that does not is counted."""
import pathlib
import subprocess
import sys

HEADERS = pathlib.Path(__file__).with_name("headers.py")


def test_only_the_header_that_leans_on_others_is_reported(tmp_path):
    alone, leaning = tmp_path / "alone.hpp", tmp_path / "leaning.hpp"
    alone.write_text("#pragma once\n#include <string>\ninline std::string f();\n")
    leaning.write_text("#pragma once\ninline std::string f();\n")
    done = subprocess.run([sys.executable, HEADERS, alone, leaning], stdout=subprocess.PIPE,
                          text=True, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0]) == (1, f"{leaning}: does not stand alone")
    assert lines[-1] == "1 passed, 1 failed"
