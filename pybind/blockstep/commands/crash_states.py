# SPDX-License-Identifier: Apache-2.0
"""Cut the power at every moment of small qcow2 workloads, and look at every state that can be left.

Each image is opened, checked and read: no flushed byte may be lost, and nothing beyond leaked
clusters may be wrong. Workloads are all sequences of three operations, on images of several
configurations; each of these is explored by a process of its own. Exit status 1 if a state is not
as it must be.
"""
import concurrent.futures
import json
import os
import subprocess
import time

from blockstep.commands import CommandError, program_path


def add_arguments(parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--workloads", type=int, metavar="N",
                        help="at most N of each configuration (default: all)")
    parser.add_argument("--time", type=float, metavar="T",
                        help="seconds for each configuration (default: as long as it takes)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="configurations explored at a time (default: one for each processor)")


def explore(program, configuration: str, limits: list[str]) -> dict:
    done = subprocess.run([program, configuration, *limits], capture_output=True, text=True,
                          check=False)
    if done.returncode not in (0, 1):
        raise CommandError(f"exploring '{configuration}' ended with status {done.returncode}: "
                           f"{done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def run(args) -> int:
    program = program_path("crash-states")
    listed = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    limits = []
    if args.workloads is not None:
        limits += ["--workloads", str(args.workloads)]
    if args.time is not None:
        limits += ["--time", str(args.time)]
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max(1, args.jobs)) as pool:
        rows = list(pool.map(lambda name: explore(program, name, limits),
                             listed.stdout.splitlines()))
    result = {"states": sum(row["distinct"] for row in rows),
              "failures": sum(len(row["failures"]) for row in rows),
              "wall_s": round(time.monotonic() - start, 1), "configurations": rows}
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
    return 1 if result["failures"] else 0


def show(result: dict) -> None:
    width = max(len(row["configuration"]) for row in result["configurations"])
    print(f"{'':{width}}  workloads  moments     states   distinct    leaking")
    for row in result["configurations"]:
        print(f"{row['configuration']:{width}}  {row['workloads']:>9,}  {row['moments']:>7,}  "
              f"{row['states']:>9,}  {row['distinct']:>9,}  {row['leaking']:>9,}")
        for failure in row["failures"]:
            print(f"  {failure['operations']}, after change {failure['moment']} of the file, kept "
                  f"{failure['kept'] or 'nothing'}: {failure['what']}")
    print(f"{result['states']:,} distinct states in {result['wall_s']} s: "
          f"{result['failures']} not as they must be")
