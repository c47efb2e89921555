# SPDX-License-Identifier: Apache-2.0
"""Random lives of qcow2 images: ours read by qemu-img and libqcow, theirs read by us.

Ends with a count; exit status 1 if any reader disagrees or any check is not clean.
"""
import pathlib
import tempfile

from blockstep.commands import CommandError


def add_arguments(parser) -> None:
    parser.add_argument("--count", type=int, default=200, metavar="N", help="histories (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first (0)")


def run(args) -> int:
    from blockstep import histories
    from blockstep.errors import BlockstepError
    try:
        histories.need_tools()
    except BlockstepError as error:
        raise CommandError(str(error)) from error
    failed, by_libqcow = 0, 0
    for seed in range(args.seed, args.seed + args.count):
        history = histories.draw(seed)
        by_libqcow += not history.may_have_zero_clusters
        for lived_by_us in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    histories.verify(history, pathlib.Path(folder), lived_by_us)
                except BlockstepError as error:
                    failed += 1
                    print(f"{'ours' if lived_by_us else 'theirs'}: {error}", flush=True)
    print(f"{args.count} histories in both directions ({by_libqcow} also by libqcow): "
          f"{failed} differ")
    return 1 if failed else 0
