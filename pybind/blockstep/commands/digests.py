# SPDX-License-Identifier: Apache-2.0
"""The same campaign in several builds: every run has to have one digest in all of them.

A build is a preset of CMakePresets.json; each is built first. The campaign is every workload of
hwmodels/campaign in turn, under the portfolio's strategies. The first build plays it twice. Exit
status 1 when a digest differs or a run fails.
"""
import concurrent.futures
import os
import pathlib
import subprocess

from blockstep.commands import CommandError, source_dir

BUILDS = ("gcc-O0", "gcc-O3", "asan", "clang")


def add_arguments(parser) -> None:
    parser.add_argument("builds", nargs="*", metavar="BUILD",
                        help=f"presets to compare (default {' '.join(BUILDS)})")
    parser.add_argument("--runs", type=int, default=10_000, metavar="N",
                        help="runs of the campaign (default 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run (default 1)")


def program_of(build: str) -> pathlib.Path:
    """The program of that build, made up to date."""
    done = subprocess.run([source_dir() / "blockstep", "build", "blockstep-digests"], check=False,
                          env=os.environ | {"BLOCKSTEP_PRESET": build})
    if done.returncode:
        raise CommandError(f"'{build}' cannot be built")
    return source_dir() / "build" / build / "blockstep-digests"


def played(program: pathlib.Path, seed: int, runs: int) -> list[str]:
    done = subprocess.run([program, str(seed), str(runs)], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise CommandError(f"{program} died: {done.stderr.strip()}")
    return done.stdout.splitlines()


def run(args) -> int:
    builds = args.builds or list(BUILDS)
    programs = {build: program_of(build) for build in builds}
    programs |= {f"{builds[0]}, again": programs[builds[0]]}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = dict(zip(programs, pool.map(
            lambda program: played(program, args.seed, args.runs), programs.values())))
    first = runs[builds[0]]
    differing = 0
    for name, lines in runs.items():
        pairs = [(a, b) for a, b in zip(first, lines, strict=True) if a != b]
        differing += len(pairs)
        if pairs:
            print(f"{builds[0]}: {pairs[0][0]}\n{name}: {pairs[0][1]}   ({len(pairs)} differ)")
    failed = [line for line in first if line.endswith(" failed")]
    if failed:
        print(f"{len(failed)} runs failed, the first: {failed[0]}")
    print(f"{len(first)} runs each in {'; '.join(runs)}: "
          f"{f'{differing} digests differ' if differing else 'one digest each'}")
    return 1 if differing or failed else 0
