# SPDX-License-Identifier: Apache-2.0
"""The permission matrix: every pair of operations on every role, decided by us and by real QEMU.

`perms matrix` prints a summary and each cell in which the two differ; exit status 1 if any does
that is not a known bug of the reference.
"""
import collections
import json
import pathlib
import signal
import sys
import time

from blockstep.commands import CommandError, program_path, source_dir


def add_arguments(parser) -> None:
    parser.add_argument("what", choices=["matrix"])
    parser.add_argument("--slice", default="0/1", metavar="K/N",
                        help="only every N-th row, starting at row K (0-based)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all cells")
    parser.add_argument("--html", type=pathlib.Path, metavar="FILE", help="write the table page")
    parser.add_argument("--workers", type=int, default=6, metavar="N",
                        help="rows decided at the same time (default 6)")


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
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a program that ends is a result
    from iotests.matrix import page, run as matrix

    def progress(done, rows):
        if sys.stderr.isatty():
            print(f"\r{done} of {rows} rows", end="", file=sys.stderr, flush=True)

    start = time.monotonic()
    pairs = matrix.run([str(program_path("qmp"))], slice_of=parse_slice(args.slice),
                       workers=args.workers, progress=progress)
    took = time.monotonic() - start
    if args.json:
        args.json.write_text(json.dumps(
            [{"ours": pair.mine and pair.mine.as_dict(),
              "real": pair.theirs and pair.theirs.as_dict(),
              "known": pair.known and pair.known.name} for pair in pairs], indent=1))
    if args.html:
        args.html.write_text(page.render(pairs))
    different = [pair for pair in pairs if pair.unexplained]
    for pair in different:
        print(pair.text())
    counts = collections.Counter(pair.cell.outcome for pair in pairs)
    explained = collections.Counter(pair.known.name for pair in pairs if pair.known)
    print(f"{len(pairs)} cells in {took:.0f} s: {counts['accepted']} accepted, "
          f"{counts['refused']} refused; {len(different)} differ from the real program")
    for name, count in explained.items():
        print(f"  and {count} by a known bug of the reference: {name}")
    return 1 if different else 0
