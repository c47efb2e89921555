# SPDX-License-Identifier: Apache-2.0
"""Run a scenario: its timeline, then outcome, digest, simulated and wall time.

Exit status 0 if it passed, 1 if it failed. With --repeat each run has a fresh process, and runs
that differ in their digest fail.
"""
import json
import os
import pathlib
import sys
import textwrap

from blockstep.apart import in_fresh_process
from blockstep.commands import CommandError


def add_arguments(parser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--schedule", metavar="NAME|FILE",
                        help="fifo, random, or the choices.txt of a report to replay")
    parser.add_argument("--repeat", type=int, default=1, metavar="N",
                        help="N runs, each in a fresh process, must have the same digest; the "
                             "first that differs is shown up to its first differing event")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", type=pathlib.Path, metavar="DIR",
                        help="write report.html there, with the trace and the choices that "
                             "replay the run")


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


def differing_run(scenario, seed: int, times: int, options: dict) -> tuple[int, dict] | None:
    """Runs it again and again, each in a fresh process; the number of the first run whose digest
    is not that of run 1, and what differs. None: all `times` runs agree."""
    from blockstep.report.lines import first_difference, to_lines
    from blockstep.scenario import run_scenario

    def once(expected=None):
        outcome = run_scenario(scenario, seed, **options | {"record_trace": True})
        end = {"outcome": outcome.outcome, "digest": outcome.digest, "trace": []}
        if end["digest"] != expected:
            end["trace"] = to_lines(outcome.recording.trace)
        return end

    died = {"outcome": "died", "digest": "", "trace": []}
    first = in_fresh_process(once) or died
    for number in range(2, times + 1):
        other = in_fresh_process(lambda: once(first["digest"])) or died
        if other["digest"] != first["digest"] or other["outcome"] != first["outcome"]:
            where = first_difference(first["trace"], other["trace"])
            return number, {
                "digests": [first["digest"], other["digest"]],
                "outcomes": [first["outcome"], other["outcome"]],
                "where": where or "their traces are equal: what differs is not traced"}
    return None


def write_report(folder: pathlib.Path, outcome, again: str) -> None:
    """The page and its companions, the trace as text, and the choices, which replay the run."""
    from blockstep import report
    from blockstep.report.lines import to_lines
    outcome.recording.again = again
    outcome.recording.summary = {"result": outcome.summary()["result"],
                                 "events_run": outcome.events}
    try:
        report.write(folder, outcome.recording)
        (folder / "trace.txt").write_text("\n".join(to_lines(outcome.recording.trace)) + "\n")
        (folder / "choices.txt").write_text(outcome.record)
    except OSError as error:
        raise CommandError(f"cannot write the report: {error}") from error


def timeline_lines(outcome) -> list[str]:
    """Its notes, each with when it was; long ones over several lines."""
    return ["\n".join(textwrap.wrap(
        f"{at_ns / 1e6:12.3f} ms  {text}", 100, subsequent_indent=" " * 17,
        drop_whitespace=True, break_long_words=False, break_on_hyphens=False))
        for at_ns, text in outcome.timeline]


def run(args) -> int:
    from blockstep.scenario import run_scenario
    if args.repeat < 1:
        raise CommandError("--repeat takes a number from 1 up")
    options = schedule_option(args.schedule)
    hash_in_a_fixed_order()
    scenario = load(args.scenario)
    again = (f"./blockstep run {args.scenario} --seed {args.seed}"
             + (f" --schedule {args.schedule}" if args.schedule else ""))

    differs = (differing_run(scenario, args.seed, args.repeat, options) if args.repeat > 1
               else None)
    outcome = run_scenario(scenario, args.seed, **options | (
        {"record_trace": True} if args.report is not None else {}))
    if differs is not None:
        number, how = differs
        outcome.outcome = "failed"
        outcome.error = (f"run {number} differs from run 1: {' and '.join(how['outcomes'])}, "
                         f"digests {' and '.join(how['digests'])}\n{how['where']}\n")
    if args.report is not None:
        write_report(args.report, outcome, again)

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
    if args.report is not None:
        print(f"report: {args.report / 'report.html'}")
    if not outcome.passed:
        print(f"again: {again}")
    return 0 if outcome.passed else 1
