# SPDX-License-Identifier: Apache-2.0
"""The permission matrix: every pair of operations on every role, decided by us and by real QEMU.

`perms matrix` prints a summary and each cell in which the two differ; exit status 1 if any does.
"""
import json
import pathlib
import sys

from blockstep.commands import CommandError, program_path, source_dir


def add_arguments(parser) -> None:
    parser.add_argument("what", choices=["matrix"])
    parser.add_argument("--slice", default="0/1", metavar="K/N",
                        help="only every N-th row, starting at row K (0-based)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all cells")
    parser.add_argument("--html", type=pathlib.Path, metavar="FILE", help="write the table page")
    parser.add_argument("--workers", type=int, default=2, metavar="N",
                        help="rows decided at the same time (default 2)")


def parse_slice(text: str) -> tuple[int, int]:
    try:
        start, step = (int(part) for part in text.split("/"))
    except ValueError:
        raise CommandError(f"--slice takes K/N, not '{text}'") from None
    if not 0 <= start < step:
        raise CommandError(f"--slice {text}: K must be below N and not negative")
    return start, step


def run(args) -> int:
    sys.path.insert(0, str(source_dir()))
    from iotests.matrix import page, run as matrix

    def progress(done, rows):
        if sys.stderr.isatty():
            print(f"\r{done} of {rows} rows", end="", file=sys.stderr, flush=True)

    pairs = matrix.run([str(program_path("qmp"))], slice_of=parse_slice(args.slice),
                       workers=args.workers, progress=progress)
    different = matrix.differences(pairs)
    if args.json:
        args.json.write_text(json.dumps(
            [{"ours": mine and mine.as_dict(), "real": theirs and theirs.as_dict()}
             for mine, theirs in pairs], indent=1))
    if args.html:
        args.html.write_text(page.render(pairs))
    for mine, theirs in different:
        print("\n".join(matrix.describe(mine, theirs)))
    accepted = sum(1 for mine, _ in pairs if mine and mine.outcome == "accepted")
    print(f"{len(pairs)} cells: {accepted} accepted, {len(pairs) - accepted} refused; "
          f"{len(different)} differ from the real program")
    return 1 if different else 0
