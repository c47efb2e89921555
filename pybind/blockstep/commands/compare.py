# SPDX-License-Identifier: Apache-2.0
"""Side by side with real QEMU: the first difference in replies, events or the permission graph.

`compare FILE` plays a transcript (one QMP command a line); `compare --random N --seed S` draws N of
them, and shortens and prints any that differ. Exit status 1 when something differs.
"""
import concurrent.futures
import pathlib
import sys
import tempfile

from blockstep.commands import CommandError, program_path, source_dir


def add_arguments(parser) -> None:
    parser.add_argument("file", nargs="?", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--random", type=int, metavar="N", help="draw N transcripts")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first (default 0)")
    parser.add_argument("--length", type=int, default=60, help="steps of each (default 60)")
    parser.add_argument("--workers", type=int, default=2, metavar="N",
                        help="transcripts played at the same time (default 2)")


def run(args) -> int:
    if (args.file is None) == (args.random is None):
        raise CommandError("compare takes a FILE or --random N")
    sys.path.insert(0, str(source_dir()))
    from iotests.compare import run as compare
    from iotests.compare.program import REAL
    from iotests.matrix import roles

    ours = [str(program_path("qmp"))]
    with tempfile.TemporaryDirectory() as images:
        roles.make_images(images)
        if args.file:
            return play_file(compare, ours, REAL, images, args.file)

        def one(seed):
            commands, difference = compare.play_random(ours, REAL, images, seed, args.length)
            if difference is None:
                return seed, None, None
            commands = compare.shrink(ours, REAL, images, commands)
            return seed, commands, compare.play(ours, REAL, images, commands)

        seeds = range(args.seed, args.seed + args.random)
        different = 0
        with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
            for seed, commands, difference in pool.map(one, seeds):
                if commands is None:
                    continue
                different += 1
                print(f"seed {seed} differs; shortest transcript:\n{compare.to_lines(commands)}"
                      f"{difference.text() if difference else 'did not differ again'}\n",
                      flush=True)
        print(f"{args.random} transcripts of {args.length} steps from seed {args.seed}: "
              f"{different} differ")
        return 1 if different else 0


def play_file(compare, ours, real, images, path) -> int:
    try:
        commands = compare.from_lines(path.read_text(), str(path))
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from None
    difference = compare.play(ours, real, images, commands)
    print(difference.text() if difference else f"{len(commands)} commands: no difference")
    return 1 if difference else 0
