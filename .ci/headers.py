# SPDX-License-Identifier: Apache-2.0
"""Compile each header by itself, without the precompiled one that hides a missing include.

    python3 .ci/headers.py [HEADER...]    all headers of the checkout, unless some are named
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import sysconfig

TOP = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("sim", "blocklayer", "hwmodels", "pybind", "iotests")
COMMAND = ["g++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-DBLOCKSTEP_MUTANTS=0",
           "-DFMT_SHARED", f"-I{TOP}", f"-isystem{sysconfig.get_path('include')}", "-include"]


def complaint(header: pathlib.Path) -> str:
    """What the compiler says, or nothing if the header stands alone."""
    done = subprocess.run([*COMMAND, header, os.devnull], stderr=subprocess.PIPE, text=True,
                          check=False)
    return done.stderr if done.returncode else ""


def main(names: list[str]) -> int:
    headers = [pathlib.Path(name).resolve() for name in names] or [
        header for folder in FOLDERS for header in sorted((TOP / folder).rglob("*.hpp"))]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, text in zip(headers, pool.map(complaint, headers)):
            if text:
                failed += 1
                print(f"{header}: does not stand alone\n{text}")
    print(f"{len(headers) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
