# SPDX-License-Identifier: Apache-2.0
"""Run a scenario: its timeline, then outcome, digest, simulated and wall time.

Exit status 0 if it passed, 1 if it failed. With --repeat each run has a fresh process, and runs
that differ in their digest fail.
"""
import collections
import json
import os
import pathlib
import sys

from blockstep.commands import CommandError


def add_arguments(parser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--schedule", metavar="NAME|FILE",
                        help="fifo, random, or the choices.txt of a report to replay")
    parser.add_argument("--repeat", type=int, default=1, metavar="N",
                        help="run N times; all must have the same digest")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", type=pathlib.Path, metavar="DIR",
                        help="write result, timeline, trace, choices and graph there")


def hash_in_a_fixed_order() -> None:
    """Starts over with Python's text hashes fixed, so that sets of a scenario keep their order."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def schedule_option(text: str | None) -> dict:
    if text is None:
        return {}
    if text in ("fifo", "random"):
        return {"schedule": text}
    from blockstep.records import record_text
    try:
        return {"record": record_text(text)}
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot replay {text}: {error}") from error


def load(path: str):
    from blockstep.scenario import ScenarioError, load_scenario
    try:
        return load_scenario(path)
    except ScenarioError as error:
        raise CommandError(str(error)) from error
    except (SyntaxError, ImportError) as error:
        raise CommandError(f"{path} cannot be loaded: {error}") from error


def in_fresh_process(function):
    """What function() returns, run in a child; it must survive JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with os.fdopen(writing, "w") as pipe:
                json.dump(function(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def repeat(scenario, seed: int, times: int, options: dict) -> list[tuple[str, str]]:
    """Outcome and digest of each run."""
    from blockstep.scenario import run_scenario

    def once():
        outcome = run_scenario(scenario, seed, **options)
        return outcome.outcome, outcome.digest

    return [tuple(in_fresh_process(once) or ("died", "")) for _ in range(times)]


def write_report(folder: pathlib.Path, outcome) -> None:
    from blockstep.drawing import to_mermaid, to_text
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "result.json": json.dumps(outcome.summary(), indent=1),
        "timeline.txt": "\n".join(timeline_lines(outcome)),
        "trace.txt": "\n".join(outcome.trace),
        "choices.txt": outcome.record.rstrip("\n"),
    }
    for number, graph in enumerate(outcome.graphs):
        files[f"graph{number}.txt"] = to_text(graph)
        files[f"graph{number}.mmd"] = to_mermaid(graph)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def timeline_lines(outcome) -> list[str]:
    return [f"{at_ns / 1e6:12.3f} ms  {text}" for at_ns, text in outcome.timeline]


def run(args) -> int:
    from blockstep.scenario import run_scenario
    if args.repeat < 1:
        raise CommandError("--repeat takes a number from 1 up")
    options = schedule_option(args.schedule)
    if args.report is not None:
        options["record_trace"] = True
    hash_in_a_fixed_order()
    scenario = load(args.scenario)

    others = repeat(scenario, args.seed, args.repeat - 1, options)
    outcome = run_scenario(scenario, args.seed, **options)
    counts = collections.Counter([*others, (outcome.outcome, outcome.digest)])
    if len(counts) > 1 and outcome.passed:
        outcome.outcome = "failed"
        outcome.error = f"{args.repeat} runs differ: " + ", ".join(
            f"{count} {how} {digest}" for (how, digest), count in sorted(counts.items()))
    if args.report is not None:
        write_report(args.report, outcome)

    if args.json:
        print(json.dumps(outcome.summary() | {"scenario": args.scenario, "runs": args.repeat}))
        return 0 if outcome.passed else 1
    for line in timeline_lines(outcome):
        print(line)
    if outcome.error:
        print(outcome.error.rstrip())
    print(f"{outcome.outcome}  seed {outcome.seed}  digest {outcome.digest}  "
          f"simulated {outcome.simulated_ns / 1e6:.3f} ms  wall {outcome.wall_s:.3f} s  "
          f"{outcome.events} events" + (f"  {args.repeat} runs" if args.repeat > 1 else ""))
    if not outcome.passed:
        print(f"again: ./blockstep run {args.scenario} --seed {args.seed}"
              + (f" --schedule {args.schedule}" if args.schedule else ""))
    return 0 if outcome.passed else 1
