# SPDX-License-Identifier: Apache-2.0
"""Campaign: a search from its first run to its findings, cut into pieces and put together again.

Results are merged in the order of the runs, whoever did them and whenever they came back, so that
a campaign is a function of its spec and of where it was stopped. Its state is one JSON file.
"""
import dataclasses
import hashlib
import json
import pathlib
import time

import _blockstep

from blockstep import records
from blockstep.explore.trial import ScenarioTrial
from blockstep.explore.work import open_workers, trial_for

STATE_VERSION = 1
PIECE_RUNS = 50      # of a strategy search
ROUND_PORTIONS = 8   # of an exhaustive search are done before the frontier moves
UNBOUNDED = (1 << 32) - 1


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a search is a function of."""

    path: str
    text: str  # of the scenario
    seed: int = 0
    strategies: str = "portfolio"  # or "exhaustive"
    picks: int = 1                 # measured, see measured()
    runnables: int = 1
    departures: int = UNBOUNDED    # exhaustive only, as the next two
    preemptions: int = UNBOUNDED
    depth: int = UNBOUNDED
    shrink_runs: int = 4000
    apart: bool = False            # each run in a process of its own; see ScenarioTrial

    @property
    def exhaustive(self) -> bool:
        return self.strategies == "exhaustive"

    @staticmethod
    def of(path: str, **options) -> "Spec":
        """The spec for a scenario file, with the length of its runs measured."""
        spec = Spec(path=path, text=pathlib.Path(path).read_text(encoding="utf-8"), **options)
        picks, runnables = _blockstep.measure(spec.trial, spec.seed)
        return dataclasses.replace(spec, picks=picks, runnables=runnables)

    @property
    def trial(self) -> ScenarioTrial:
        return trial_for(self.path, self.text, self.apart)


@dataclasses.dataclass
class Finding:
    """A way to fail: its first run, and what shrinking made of it."""

    signature: str
    text: str
    digest: str
    events: int
    strategy: str
    run: int
    seed: int
    count: int
    repeats: bool
    record: str
    shrunk: dict | None = None  # see _blockstep.shrink

    @property
    def key(self) -> str:
        """Names its files."""
        return hashlib.sha256(self.signature.encode()).hexdigest()[:10]


class Campaign:
    """A search that can be stopped, kept and gone on with."""

    def __init__(self, spec: Spec):
        self.spec = spec
        self.runs = self.failures = self.events = 0
        self.next_run = 0  # of a strategy search; all before it are merged
        self.runs_by_strategy: dict[str, int] = {}
        self.findings: dict[str, Finding] = {}
        self.shrinking = ""  # what is being made smaller, for who looks on
        self.frontier = _blockstep.Frontier(spec.departures, spec.preemptions, spec.depth)

    # ---- searching ------------------------------------------------------------------------------

    def search(self, schedules: int | None = None, seconds: float | None = None, jobs: int = 1,
               dask: str | None = None, first_only: bool = False, go_on=lambda: True,
               progress=lambda campaign: None) -> None:
        """Runs until there were so many runs, so many seconds went by, the space is done, or
        go_on() is false. Raises WorkerLost, with all that was merged until then kept."""
        deadline = None if seconds is None else time.monotonic() + seconds

        def more() -> bool:
            return (go_on() and (deadline is None or time.monotonic() < deadline)
                    and not (first_only and self.findings))

        workers = open_workers(dataclasses.asdict(self.spec), jobs, dask, more)
        try:
            part = self._search_space if self.spec.exhaustive else self._search_runs
            part(workers, UNBOUNDED if schedules is None else schedules, more, progress)
            self._shrink_all(workers, go_on, progress)
        finally:
            workers.close()

    def _search_runs(self, workers, schedules, more, progress) -> None:
        handed_out = self.next_run
        waiting: dict[int, dict] = {}  # results by first run, until those before them are there
        under_way = 0
        while True:
            while under_way < 2 * workers.wide and handed_out < schedules and more():
                count = min(PIECE_RUNS, schedules - handed_out)
                workers.submit({"kind": "runs", "first": handed_out, "count": count})
                handed_out += count
                under_way += 1
            if under_way == 0:
                return
            for piece, result in workers.any_done():
                under_way -= 1
                waiting[piece["first"]] = result
            while self.next_run in waiting:
                result = waiting.pop(self.next_run)
                self.next_run += result["runs"]
                self.merge(result)
            progress(self)

    def _search_space(self, workers, schedules, more, progress) -> None:
        while not self.frontier.done and self.frontier.runs < schedules and more():
            portions = self.frontier.next(ROUND_PORTIONS)
            results: dict[int, dict] = {}
            submitted = 0
            while len(results) < len(portions):
                while submitted < len(portions) and submitted - len(results) < 2 * workers.wide:
                    workers.submit({"kind": "portion", "number": submitted,
                                    "portion": portions[submitted]})
                    submitted += 1
                for piece, result in workers.any_done():
                    results[piece["number"]] = result
            in_order = [results[number] for number in range(len(portions))]
            self.frontier.finished(in_order)
            for result in in_order:
                self.merge(result)
            progress(self)

    def merge(self, result: dict) -> None:
        """Takes in the result of a piece; earlier runs first."""
        self.runs += result["runs"]
        self.failures += result["failures"]
        self.events += result["events"]
        for name, runs in result["runs_by_strategy"].items():
            self.runs_by_strategy[name] = self.runs_by_strategy.get(name, 0) + runs
        for told in result["findings"]:
            known = self.findings.get(told["signature"])
            if known is None:
                self.findings[told["signature"]] = Finding(**told)
            else:
                known.count += told["count"]

    def _shrink_all(self, workers, go_on, progress) -> None:
        under_way = 0
        for number, finding in enumerate(self.findings.values(), 1):
            if finding.shrunk is None and go_on():
                self.shrinking = f"shrinking failure {number} of {len(self.findings)}"
                progress(self)
                workers.submit({"kind": "shrink", "seed": finding.seed, "record": finding.record,
                                "signature": finding.signature})
                under_way += 1
        while under_way > 0:
            for piece, result in workers.any_done():
                under_way -= 1
                self.findings[piece["signature"]].shrunk = result
                progress(self)

    # ---- keeping --------------------------------------------------------------------------------

    def to_json(self) -> str:
        state = {"version": STATE_VERSION, "spec": dataclasses.asdict(self.spec)}
        state |= {name: getattr(self, name) for name in (
            "runs", "failures", "events", "next_run", "runs_by_strategy")}
        state["findings"] = [dataclasses.asdict(one) for one in self.findings.values()]
        state["frontier"] = self.frontier.to_text() if self.spec.exhaustive else None
        return json.dumps(state)

    @staticmethod
    def from_json(text: str) -> "Campaign":
        """Raises ValueError if it is no state of a campaign."""
        try:
            state = json.loads(text)
            if state["version"] != STATE_VERSION:
                raise ValueError(f"of version {state['version']}")
            campaign = Campaign(Spec(**state["spec"]))
            for name in ("runs", "failures", "events", "next_run", "runs_by_strategy"):
                setattr(campaign, name, state[name])
            found = [Finding(**one) for one in state["findings"]]
            campaign.findings = {one.signature: one for one in found}
            if state["frontier"] is not None:
                campaign.frontier = _blockstep.parse_frontier(state["frontier"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a campaign: {error!r}") from error
        return campaign

    # ---- telling --------------------------------------------------------------------------------

    def space(self) -> str | None:
        """What part of the space is done; only an exhaustive search knows."""
        return self.frontier.told if self.spec.exhaustive else None

    def pct_bounds(self) -> list[dict]:
        """For each depth of the PCT runs so far, how likely it is that they missed a bug."""
        runs_of: dict[int, int] = {}
        for name, runs in self.runs_by_strategy.items():
            if name.startswith("pct:"):
                runs_of[int(name[4:])] = runs
        return [{"depth": depth, "runs": runs, "picks": self.spec.picks,
                 "runnables": self.spec.runnables,
                 "missed_at_most": _blockstep.pct_miss_bound(
                     runs, depth, self.spec.picks, self.spec.runnables)}
                for depth, runs in sorted(runs_of.items())]

    def record_of(self, finding: Finding) -> str:
        """The record to keep of a finding: the shrunk run if there is one."""
        best = finding.shrunk if finding.shrunk and finding.shrunk["reproduced"] else None
        critical = (best or {}).get("critical")
        told = {
            "scenario": self.spec.path, "scenario_text": records.fingerprint(self.spec.text),
            "version": records.version(), "seed": finding.seed, "outcome": "failed",
            "strategy": f"{finding.strategy}, run {finding.run}", "signature": finding.signature,
            "digest": (best or dataclasses.asdict(finding))["digest"],
            "events": (best or dataclasses.asdict(finding))["events"],
        }
        if critical:
            told |= {"critical": critical["text"], "critical_step": critical["step"],
                     "critical_at_ns": critical["at_ns"]}
        return records.with_headers((best or {"record": finding.record})["record"], **told)
