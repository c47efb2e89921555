# SPDX-License-Identifier: Apache-2.0
"""Replay a record: the run that an exploration kept, choice for choice.

Where an edited scenario no longer fits the record, the run goes on under the seeded random
schedule, and says so. Exit status 1 if the run fails, 0 if it passes. --step walks through the run
instead, forwards and backwards, with commands from standard input (try `help`).
"""
import json
import pathlib
import sys

from blockstep import records
from blockstep.commands import CommandError, source_dir
from blockstep.commands.run import hash_in_a_fixed_order, load


def add_arguments(parser) -> None:
    parser.add_argument("record", metavar="FILE")
    parser.add_argument("--scenario", metavar="PATH", help="instead of the one the record names")
    parser.add_argument("--times", type=int, default=1, metavar="N",
                        help="run N times; all must be the same run")
    parser.add_argument("--report", type=pathlib.Path, metavar="DIR",
                        help="write a report of the run there")
    parser.add_argument("--step", action="store_true", help="walk through the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def find_scenario(named: str) -> str:
    """The scenario's path: as the record says, from here or from the top of the checkout."""
    if not named:
        raise CommandError("the record names no scenario: give --scenario PATH")
    if not pathlib.Path(named).exists() and (source_dir() / named).exists():
        return str(source_dir() / named)
    return named


def run(args) -> int:
    if args.times < 1:
        raise CommandError("--times takes a number from 1 up")
    try:
        text = records.record_text(args.record)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot replay {args.record}: {error}") from error
    hash_in_a_fixed_order()
    told = records.headers(text)
    scenario = load(args.scenario or find_scenario(told.get("scenario", "")))
    if args.step:
        from blockstep.explore.stepping import walk
        return walk(scenario, text)

    from blockstep.report import capture
    replay = capture.Replay(scenario, text)
    runs = [replay.run() for _ in range(args.times)]
    outcome = runs[0]
    unwritten = (capture.report_apart(scenario, args.record, args.report)
                 if args.report is not None else "")
    same = sum(one["digest"] == outcome["digest"] for one in runs)
    outcome |= {"record": args.record, "runs": args.times, "same": same,
                "recorded": {key: told.get(key) for key in (
                    "outcome", "signature", "digest", "critical", "critical_step", "version")}}
    if args.json:
        print(json.dumps(outcome))
    else:
        print("\n".join(lines(args, outcome)))
    if unwritten:
        print(f"blockstep: {unwritten}", file=sys.stderr)
    return 0 if outcome["outcome"] == "passed" and same == args.times and not unwritten else 1


def lines(args, outcome: dict) -> list[str]:
    text = [f"{note['at_ns'] / 1e6:12.3f} ms  {note['text']}" for note in outcome["timeline"]]
    text += [f"{fault['at_ns'] / 1e6:12.3f} ms  FAULT {fault['site']}"
             for fault in outcome["faults"]]
    if outcome["error"]:
        text += outcome["error"].rstrip().splitlines()
    recorded = outcome["recorded"]
    if recorded["critical"]:
        text.append(f"critical step {recorded['critical_step']}: {recorded['critical']}")
    if outcome["diverged"]:
        text.append(f"the record no longer fits: {outcome['diverged']}; from there on the run went "
                    f"on under the random schedule of seed {outcome['seed']}")
    elif recorded["digest"] and recorded["digest"] != outcome["digest"]:
        text.append("every choice fitted, but this is not the recorded run: the scenario or the "
                    f"program changed (recorded with {recorded['version']})")
    else:
        text.append("the recorded run, event for event")
    if args.times > 1:
        text.append(f"{outcome['same']} of {args.times} runs were the same")
    text.append(f"{outcome['outcome']}  seed {outcome['seed']}  digest {outcome['digest']}  "
                f"{outcome['events']} events")
    if outcome["outcome"] == "failed":
        text.append(f"again: ./blockstep replay {args.record}"
                    + (f" --scenario {args.scenario}" if args.scenario else ""))
    return text
