# SPDX-License-Identifier: Apache-2.0
"""Hunt for known bugs: each mutant is switched on alone, and ordinary workloads have to go wrong.

Rows of id, killed, schedules (runs until it was found) and cpu_s. Exit status 1 if any survives.
With --table, the runs each strategy needs over several seeds: median and worst.
"""
import concurrent.futures
import json
import os
import statistics
import subprocess

from blockstep.commands import CommandError, program_path

STRATEGIES = ("random", "few:2", "pct:3", "swarm", "portfolio")


def add_arguments(parser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="NAME",
                        help="only mutants whose name contains this")
    parser.add_argument("--json", action="store_true", help="print one JSON array of rows")
    parser.add_argument("--runs", type=int, default=100_000, metavar="N",
                        help="give a mutant up after this many runs (default 100000)")
    parser.add_argument("--strategy", default="portfolio", metavar="S",
                        help="as of explore (default portfolio)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run (default 1)")
    parser.add_argument("--examine", action="store_true",
                        help="also shrink, explain and repeat what was found")
    parser.add_argument("--table", type=int, metavar="SEEDS",
                        help="every strategy, over this many seeds")


def output(*words) -> tuple[str, float]:
    """What the program prints, and the CPU seconds it took."""
    process = subprocess.Popen([program_path("mutants"), *map(str, words)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process.stdout, process.stderr:
        text, complaint = process.stdout.read(), process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandError(complaint.strip() or f"it died with status {process.returncode}")
    return text, used.ru_utime + used.ru_stime


def hunt(mutant: str, strategy: str, seed: int, runs: int, word: str = "hunt") -> dict:
    text, cpu_s = output(word, mutant, strategy, seed, runs)
    return json.loads(text) | {"cpu_s": round(cpu_s, 3)}


def table(mutants: list[str], seeds: int, runs: int, pool) -> None:
    print(f"| mutant | {' | '.join(STRATEGIES)} |\n|---|{'---|' * len(STRATEGIES)}")
    for mutant in mutants:
        cells = []
        for strategy in STRATEGIES:
            rows = list(pool.map(lambda k, s=strategy: hunt(mutant, s, 1 + 1_000_000 * k, runs),
                                 range(seeds)))
            found = [row["schedules"] for row in rows if row["killed"]]
            cell = f"{statistics.median(found):.0f} ({max(found)})" if found else "-"
            cells.append(cell if len(found) == seeds else f"{cell}, {len(found)}/{seeds}")
        print(f"| {mutant} | {' | '.join(cells)} |", flush=True)


def examined(row: dict) -> str:
    """What shrinking and explaining made of one, in a line."""
    sizes = ", ".join(f"{name} {row['before'][key]} -> {row['after'][key]}" for key, name in (
        ("operations", "requests"), ("values", "values"), ("moves", "pre-emptions")))
    return (f"          {sizes}; {row['repeats']} of {row['repeats_wanted']} replays\n"
            f"          {row['critical'] or 'no critical step was found'}")


def examination(rows: list[dict]) -> str:
    """All of them in a line."""
    rows = [row for row in rows if row["killed"]]
    if not rows:
        return "nothing to examine"
    median = {key: statistics.median(row["after"][key] for row in rows)
              for key in ("operations", "moves")}
    named = sum(bool(row["critical"]) for row in rows)
    repeated = sum(row["repeats"] == row["repeats_wanted"] for row in rows)
    return (f"median of {median['operations']:g} requests and {median['moves']:g} pre-emptions; "
            f"critical step named for {named} of {len(rows)}; every replay the same run for "
            f"{repeated} of {len(rows)}")


def run(args) -> int:
    mutants = [name for name in output("list")[0].splitlines() if args.name in name]
    if not mutants:
        raise CommandError(f"no mutant has '{args.name}' in its name")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        if args.table:
            table(mutants, args.table, args.runs, pool)
            return 0
        rows = []
        word = "examine" if args.examine else "hunt"
        for row in pool.map(lambda name: hunt(name, args.strategy, args.seed, args.runs, word),
                            mutants):
            rows.append(row)
            if not args.json:
                verdict = "killed" if row["killed"] else "SURVIVED"
                by = f"  by {row['workload']}" if row["killed"] else ""
                print(f"{verdict:8}  {row['schedules']:>7} runs  {row['cpu_s']:>7.2f} s  "
                      f"{row['id']}{by}", flush=True)
                if args.examine and row["killed"]:
                    print(examined(row), flush=True)
    killed = sum(row["killed"] for row in rows)
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        if args.examine:
            print(examination(rows))
        print(f"{killed} of {len(rows)} killed in {sum(row['cpu_s'] for row in rows):.0f} s of CPU")
    return 0 if killed == len(rows) else 1
