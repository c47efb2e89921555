# SPDX-License-Identifier: Apache-2.0
"""Explore a scenario: many runs under different orders, faults and configurations.

Each way to fail is found once, shrunk, explained and kept as a record that `replay` repeats.
Exit status 0 if no run failed, 1 if some did. An interrupt stops after the runs under way and
keeps what was found; --resume goes on from there.

strategies: portfolio (a bit of everything), fifo, random, few:N (in line but for N events), pct:N
(probabilistic concurrency testing of depth N), swarm, swarm+few:N, swarm+pct:N, several with
commas between them, or exhaustive (every run with 0, 1, 2 ... departures from the ordinary one).
"""
import json
import pathlib
import shlex
import signal
import sys
import time

from blockstep.commands import CommandError
from blockstep.commands.run import hash_in_a_fixed_order, load

SCHEDULES = 1000
SAVE_EVERY_S = 5.0
WORTH_TELLING = 0.9  # a bound above that says nothing


def add_arguments(parser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO")
    parser.add_argument("--schedules", type=int, metavar="N",
                        help=f"how many runs (default {SCHEDULES}; exhaustive: all)")
    parser.add_argument("--time", type=float, metavar="T", help="stop after so many seconds")
    parser.add_argument("--strategy", default="portfolio", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="processes of this machine; 0: one for each of its processors")
    parser.add_argument("--dask", metavar="ADDRESS",
                        help="use the workers of a Dask cluster, e.g. tcp://host:8786")
    parser.add_argument("--apart", action="store_true",
                        help="each run in a process of its own: one that dies is a failure, not "
                             "the end of the search (worlds with a platform always have one)")
    parser.add_argument("--departures", type=int, metavar="N",
                        help="exhaustive: at most N departures from the ordinary run")
    parser.add_argument("--preemptions", type=int, metavar="N",
                        help="exhaustive: at most N of them change the order")
    parser.add_argument("--depth", type=int, metavar="N",
                        help="exhaustive: only among the first N choices of a run")
    parser.add_argument("--first", action="store_true", help="stop at the first failure")
    parser.add_argument("--shrink-runs", type=int, default=4000, metavar="N",
                        help="runs to spend on making a failure smaller (default 4000)")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR",
                        help="records and state go there (default explored/SCENARIO)")
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    parser.add_argument("--report", type=pathlib.Path, metavar="DIR",
                        help="write a report of each kind of failure there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


class Interrupt:
    """The first interrupt asks to stop, the second one does."""

    def __init__(self):
        self.came = False

    def __enter__(self):
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_error):
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, _number, _frame):
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        print("\nstopping after what is under way; once more to stop at once", file=sys.stderr)


def count_of_runs(runs: int, failures: int, ways: int) -> str:
    failed = f"{failures} failed in {ways} way{'s' if ways > 1 else ''}" if ways else "none failed"
    return f"{runs} runs, {failed}"


class Progress:
    """One line on a terminal, one every ten seconds elsewhere; and the state, now and then."""

    def __init__(self, save):
        self.save = save
        self.started = self.told = time.monotonic()
        self.saved = 0.0
        self.phase = ""

    def __call__(self, campaign) -> None:
        now = time.monotonic()
        if now - self.saved > SAVE_EVERY_S:
            self.save()
            self.saved = now
        terminal = sys.stderr.isatty()
        begins = campaign.shrinking != self.phase and (terminal or now - self.started > 10)
        self.phase = campaign.shrinking
        if now - self.told < (0.2 if terminal else 10) and not begins:
            return
        self.told = now
        text = count_of_runs(campaign.runs, campaign.failures, len(campaign.findings))
        if campaign.shrinking:
            text += f"; {campaign.shrinking} (an interrupt leaves it as it is)"
        else:
            text += f", {campaign.runs / max(now - self.started, 1e-9):.0f}/s"
        if campaign.space():
            text += f"; {campaign.space()}"
        print(f"\r\033[K{text[:110]}" if terminal else text, end="" if terminal else "\n",
              file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def check(args) -> None:
    for name in ("schedules", "time", "shrink_runs", "departures", "preemptions", "depth", "jobs"):
        value = getattr(args, name)
        low = 0 if name in ("jobs", "departures", "preemptions", "depth") else 1e-9
        if value is not None and value < low:
            raise CommandError(f"--{name.replace('_', '-')} takes a number from "
                               f"{0 if low == 0 else 1} up")
    if args.seed < 0:
        raise CommandError("--seed takes a number from 0 up")
    if args.jobs > 1 and args.dask:
        raise CommandError("--jobs and --dask exclude each other")


def begin(args):
    """The campaign to go on with, or a new one."""
    from blockstep.explore.campaign import UNBOUNDED, Campaign, Spec
    import _blockstep
    if args.strategy != "exhaustive":
        try:
            _blockstep.check_strategies(args.strategy)
        except ValueError as error:
            raise CommandError(str(error)) from error
    load(args.scenario)  # says what is wrong with it
    bounds = {name: UNBOUNDED if getattr(args, name) is None else getattr(args, name)
              for name in ("departures", "preemptions", "depth")}
    spec = Spec.of(args.scenario, seed=args.seed, strategies=args.strategy,
                   shrink_runs=args.shrink_runs, apart=args.apart, **bounds)
    if not args.resume:
        return Campaign(spec)
    path = args.out / "state.json"
    try:
        campaign = Campaign.from_json(path.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot resume from {path}: {error}") from error
    if campaign.spec != spec:
        raise CommandError(f"cannot resume from {path}: it is of another scenario text, seed, "
                           "strategy or bound")
    return campaign


def keep(args, campaign) -> dict[str, pathlib.Path]:
    """Writes state and records; gives the record of each signature."""
    args.out.mkdir(parents=True, exist_ok=True)
    fresh = args.out / "state.json.new"
    fresh.write_text(campaign.to_json())
    fresh.replace(args.out / "state.json")
    paths = {}
    for finding in campaign.findings.values():
        paths[finding.signature] = args.out / f"{finding.key}.record"
        paths[finding.signature].write_text(campaign.record_of(finding))
    return paths


def run(args) -> int:
    from blockstep.explore.work import WorkerLost, processors
    check(args)
    hash_in_a_fixed_order()
    args.jobs = args.jobs or processors()
    args.out = args.out or pathlib.Path("explored", pathlib.Path(args.scenario).stem)
    campaign = begin(args)
    progress = Progress(lambda: keep(args, campaign))
    schedules = args.schedules
    if schedules is None and args.time is None and args.strategy != "exhaustive":
        schedules = SCHEDULES
    lost = None
    with Interrupt() as interrupt:
        try:
            campaign.search(schedules=schedules, seconds=args.time, jobs=args.jobs,
                            dask=args.dask, first_only=args.first,
                            go_on=lambda: not interrupt.came, progress=progress)
        except WorkerLost as error:
            lost = str(error)
        except (OSError, ImportError) as error:
            if args.dask is None:
                raise
            raise CommandError(f"no cluster at {args.dask}: {error}") from error
    progress.end()
    paths = keep(args, campaign)
    if args.report is not None:
        report(args.report, campaign, paths)
    told = summary(args, campaign, paths, interrupt.came, lost, progress.started)
    print(json.dumps(told) if args.json else "\n".join(lines(told)))
    if lost:
        raise CommandError(lost)
    return 1 if campaign.findings else 0


def report(folder: pathlib.Path, campaign, paths) -> None:
    """A report of each way to fail, in a folder of its own."""
    from blockstep.report.capture import report_apart
    scenario = campaign.spec.trial.scenario
    for finding in campaign.findings.values():
        if wrong := report_apart(scenario, paths[finding.signature], folder / finding.key):
            print(f"blockstep: {wrong}", file=sys.stderr)


def summary(args, campaign, paths, interrupted, lost, started) -> dict:
    """What --json prints."""
    return {
        "scenario": args.scenario, "seed": args.seed, "strategy": args.strategy,
        "runs": campaign.runs, "failures": campaign.failures, "events": campaign.events,
        "runs_by_strategy": campaign.runs_by_strategy, "interrupted": interrupted, "lost": lost,
        "wall_s": time.monotonic() - started, "space": campaign.space(),
        "pct": campaign.pct_bounds(),
        "findings": [{
            "signature": finding.signature, "count": finding.count, "run": finding.run,
            "seed": finding.seed, "strategy": finding.strategy, "repeats": finding.repeats,
            "error": (finding.shrunk or {}).get("text") or finding.text,
            "record": str(paths[finding.signature]),
            "again": f"./blockstep replay {shlex.quote(str(paths[finding.signature]))}",
            "report": str(args.report / finding.key / "report.html") if args.report else None,
            "shrunk": {key: finding.shrunk[key] for key in
                       ("reproduced", "runs", "before", "after")} if finding.shrunk else None,
            "critical": {key: value for key, value in finding.shrunk["critical"].items()
                         if key != "record"}
                        if finding.shrunk and "critical" in finding.shrunk else None,
        } for finding in campaign.findings.values()]}


SIZES = (("operations", "operations"), ("faults", "faults"), ("values", "values"),
         ("moves", "pre-emptions"))


def lines(told: dict) -> list[str]:
    text = []
    for number, one in enumerate(told["findings"], 1):
        text += [f"FAILURE {number} of {len(told['findings'])}: {one['signature']}",
                 *("  " + line for line in one["error"].rstrip().splitlines()[-12:]),
                 f"  {one['count']} of {told['runs']} runs; first run {one['run']} "
                 f"({one['strategy']}), seed {one['seed']}"]
        if not one["repeats"]:
            text.append("  NOT DETERMINISTIC: the same schedule did not fail the same way again")
        if one["shrunk"] and one["shrunk"]["reproduced"]:
            sizes = [f"{name} {one['shrunk']['before'][key]} -> {one['shrunk']['after'][key]}"
                     for key, name in SIZES if one["shrunk"]["before"][key]]
            if sizes:
                text.append(f"  shrunk in {one['shrunk']['runs']} runs: {', '.join(sizes)}")
        if one["critical"]:
            text += critical_lines(one["critical"])
        elif one["shrunk"] and one["shrunk"]["reproduced"]:
            text.append("  no single choice makes the difference: all runs around it fail as well")
        if one["run"] == 0:
            text.append("  the ordinary run fails as well: ./blockstep run "
                        f"{shlex.quote(told['scenario'])} --schedule fifo --seed {one['seed']}")
        text.append(f"  again: {one['again']}")
        if one["report"] and pathlib.Path(one["report"]).exists():
            text.append(f"  report: {one['report']}")
    text += [f"PCT, depth {one['depth']}: {one['runs']} runs miss a bug of that depth with a "
             f"probability of at most {one['missed_at_most']:.3g} ({one['runnables']} runnables, "
             f"{one['picks']} picks)" for one in told["pct"]
             if one["missed_at_most"] < WORTH_TELLING]
    if told["space"]:
        text.append(told["space"])
    return text + [
        count_of_runs(told["runs"], told["failures"], len(told["findings"]))
        + f"  {told['wall_s']:.1f} s" + ("  interrupted" if told["interrupted"] else "")]


def critical_lines(critical: dict) -> list[str]:
    """The critical step, and the two runs side by side."""
    text = [f"  critical step {critical['step']}: {critical['text']}",
            f"  {'this run':<46}  the nearest run that passes"]
    left, right = critical["failing"], critical["passing"]
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ""
        other = right[number] if number < len(right) else ""
        mark = " " if one == other else "|"
        text.append(f"  {one[:46]:<46} {mark} {other[:50]}".rstrip())
    return text
