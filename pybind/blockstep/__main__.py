# SPDX-License-Identifier: Apache-2.0
"""The command line: `python3 -m blockstep COMMAND`, normally started by ./blockstep.

A command is a module in blockstep/commands/ with `add_arguments(parser)` and `run(args) -> int`;
its name has `-` where the module's has `_`, and the first line of its docstring is its help. Only
the module of the command in use is imported.
"""
import argparse
import importlib
import os
import pkgutil
import sys

from blockstep import commands


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with status 2."""

    def error(self, message):
        self.exit(2, f"blockstep: {message}\n")


def main(argv: list[str]) -> int:
    names = sorted(module.name.replace("_", "-")
                   for module in pkgutil.iter_modules(commands.__path__))
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: ./blockstep COMMAND [ARGUMENT...]    (COMMAND --help tells more)")
        print("commands:", *names)
        return 0
    if argv[0] not in names:
        print(f"blockstep: unknown command '{argv[0]}' (known: {' '.join(names)})", file=sys.stderr)
        return 2

    module = argv[0].replace("-", "_")
    command = importlib.import_module(f"blockstep.commands.{module}")
    parser = Parser(prog=f"blockstep {argv[0]}", description=command.__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    command.add_arguments(parser)
    try:
        status = command.run(parser.parse_args(argv[1:]))
        sys.stdout.flush()
        return status
    except commands.CommandError as error:
        print(f"blockstep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`): say nothing, now or when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
