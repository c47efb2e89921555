# SPDX-License-Identifier: Apache-2.0
"""Side by side with real QEMU: the first difference in replies, events or the permission graph.

`compare FILE` plays a transcript (one QMP command a line) or, of a scenario (FILE.py), the QMP
commands it gives its machines; `compare --random N --seed S` draws N of
them, and shortens and prints any that differ. Exit status 1 when something differs that is not a
known bug of the reference (docs/reference_bugs.md).
"""
import collections
import concurrent.futures
import json
import pathlib
import signal
import sys
import tempfile

from blockstep.commands import CommandError, program_path, source_dir


def add_arguments(parser) -> None:
    parser.add_argument("file", nargs="?", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--random", type=int, metavar="N", help="draw N transcripts")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first (default 0)")
    parser.add_argument("--length", type=int, default=60, help="steps of each (default 60)")
    parser.add_argument("--workers", type=int, default=4, metavar="N",
                        help="transcripts played at the same time (default 4)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args) -> int:
    if (args.file is None) == (args.random is None):
        raise CommandError("compare takes a FILE or --random N")
    sys.path.insert(0, str(source_dir()))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a program that ends is a result
    from iotests.compare import run as compare

    with compare.Comparison([str(program_path("qmp"))]) as comparison:
        if args.file and args.file.suffix == ".py":
            return play_scenario(comparison, args.file, args.seed)
        if args.file:
            return play_file(compare, comparison, args.file)
        return play_random(compare, comparison, args)


def play_random(compare, comparison, args) -> int:
    def one(seed):
        played = comparison.play_random(seed, args.length)
        return seed, played, comparison.shrink(played) if played.unexplained else None

    different, steps, succeeded = 0, 0, 0
    explained, kinds = collections.Counter(), set()
    seeds = range(args.seed, args.seed + args.random)
    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        for seed, played, shortest in pool.map(one, seeds):
            steps += len(played.commands)
            succeeded += played.succeeded
            kinds |= played.kinds
            if played.known:
                explained[played.known.name] += 1
            if shortest:
                different += 1
                print(f"seed {seed} differs; shortest transcript:\n"
                      f"{compare.to_lines(shortest.commands)}{shortest.difference.text()}\n",
                      file=sys.stderr if args.json else sys.stdout, flush=True)
    if args.json:
        print(json.dumps({"transcripts": args.random, "steps": steps, "succeeded": succeeded,
                          "kinds": sorted(kinds), "explained": explained,
                          "differ": different}))
        return 1 if different else 0
    print(f"{args.random} transcripts from seed {args.seed}, {steps} steps, {succeeded} of them "
          f"accepted, {len(kinds)} kinds of commands, drivers and devices: {different} differ")
    for name, count in explained.items():
        print(f"  and {count} by a known bug of the reference: {name}")
    return 1 if different else 0


def play_file(compare, comparison, path) -> int:
    try:
        commands = compare.from_lines(path.read_text(), str(path))
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from None
    return tell(comparison.play(commands))


def play_scenario(comparison, path, seed) -> int:
    from blockstep.scenario import ScenarioError
    from iotests.compare import scenario

    with tempfile.TemporaryDirectory() as directory:
        try:
            machines = scenario.record(path, directory, seed)
        except ScenarioError as error:
            raise CommandError(str(error)) from None
        return max((tell(comparison.play(machine.commands, machine.images))
                    for machine in machines), default=0)


def tell(played) -> int:
    if not played.difference:
        print(f"{len(played.commands)} commands: no difference")
        return 0
    print(played.difference.text())
    if played.known:
        print(f"known: {played.known.name}: {played.known.reason}")
    return 1 if played.unexplained else 0
