# SPDX-License-Identifier: Apache-2.0
"""Serve a QMP session over real image files, on standard input and output or on a socket."""
import os
import sys

from blockstep.commands import program_path


def add_arguments(parser) -> None:
    parser.add_argument("--socket", metavar="PATH", help="listen on this unix socket instead")


def run(args) -> int:
    program = program_path("qmp")
    sys.stdout.flush()
    os.execv(program, [str(program), *(["--socket", args.socket] if args.socket else [])])
