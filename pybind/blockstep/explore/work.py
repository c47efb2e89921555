# SPDX-License-Identifier: Apache-2.0
"""Pieces of a search, and who does them: this process, others on this machine, or a cluster.

A piece is plain values in, plain values out, and a function of them alone: who does it, and how
often it is begun again after a loss, changes nothing.
"""
import concurrent.futures
import contextlib
import functools
import hashlib
import linecache
import os
import pathlib
import signal
import tempfile

import _blockstep

from blockstep.explore.trial import ScenarioTrial
from blockstep.scenario import load_scenario

DASK_RETRIES = 10  # of a piece whose worker was lost


class WorkerLost(Exception):
    """A process died while it did a piece, more than once."""


@functools.lru_cache(maxsize=4)
def trial_for(path: str, text: str, apart: bool = False) -> ScenarioTrial:
    """The trial of a scenario: of the file if it has this text here, else of a copy."""
    here = pathlib.Path(path)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if here.read_text(encoding="utf-8") == text:
            return ScenarioTrial(load_scenario(here), apart)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    with tempfile.TemporaryDirectory(prefix=f"blockstep-{digest}-") as folder:
        copy = pathlib.Path(folder, here.name)
        copy.write_text(text, encoding="utf-8")
        # Tracebacks quote the source when the file is gone; without a date nobody looks for it.
        name = str(copy.resolve())
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        return ScenarioTrial(load_scenario(copy), apart)


def do_piece(spec: dict, piece: dict, go_on=None) -> dict:
    """Does a piece of a search. KeyboardInterrupt and SystemExit pass."""
    trial = trial_for(spec["path"], spec["text"], spec["apart"])
    if piece["kind"] == "runs":
        return _blockstep.run_batch(
            trial, seed=spec["seed"], strategies=spec["strategies"], picks=spec["picks"],
            runnables=spec["runnables"], first=piece["first"], count=piece["count"], go_on=go_on)
    if piece["kind"] == "portion":
        return _blockstep.run_portion(trial, seed=spec["seed"], preemptions=spec["preemptions"],
                                      depth=spec["depth"], portion=piece["portion"])
    return _blockstep.shrink(trial, seed=piece["seed"], record=piece["record"],
                             signature=piece["signature"], runs_max=spec["shrink_runs"],
                             go_on=go_on)


class Inline:
    """Does pieces here, one after the other, when they are handed in."""

    wide = 1

    def __init__(self, spec: dict, go_on):
        self.spec = spec
        self.go_on = go_on
        self._done = []

    def submit(self, piece: dict) -> None:
        self._done.append((piece, do_piece(self.spec, piece, self.go_on)))

    def any_done(self) -> list[tuple[dict, dict]]:
        """Pieces that are done, with their results; waits for one."""
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        pass


def _start_worker() -> None:
    # An interrupt is for the one who hands out the work; workers end with their pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Processes:
    """Does pieces in so many processes of this machine."""

    def __init__(self, spec: dict, jobs: int):
        self.spec = spec
        self.wide = jobs
        self._pool = concurrent.futures.ProcessPoolExecutor(jobs, initializer=_start_worker)
        self._under_way = {}

    def submit(self, piece: dict) -> None:
        self._under_way[self._pool.submit(do_piece, self.spec, piece)] = piece

    def any_done(self) -> list[tuple[dict, dict]]:
        done, _ = concurrent.futures.wait(
            self._under_way, return_when=concurrent.futures.FIRST_COMPLETED)
        try:
            return [(self._under_way.pop(future), future.result()) for future in done]
        except concurrent.futures.process.BrokenProcessPool as error:
            raise WorkerLost("a process died while it ran the scenario; with --apart the run that "
                             "does it is found and kept") from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class Cluster:
    """Does pieces on the workers of a Dask cluster; those of a lost worker are begun again."""

    def __init__(self, spec: dict, address: str):
        import distributed
        self._distributed = distributed
        self.spec = spec
        self._client = distributed.Client(address, timeout=10)
        self._under_way = {}

    @property
    def wide(self) -> int:
        return max(1, len(self._client.scheduler_info()["workers"]))

    def submit(self, piece: dict) -> None:
        future = self._client.submit(do_piece, self.spec, piece, pure=False,
                                     retries=DASK_RETRIES)
        self._under_way[future] = piece

    def any_done(self) -> list[tuple[dict, dict]]:
        self._distributed.wait(list(self._under_way), return_when="FIRST_COMPLETED")
        done = [future for future in self._under_way if future.done()]
        try:
            return [(self._under_way.pop(future), future.result()) for future in done]
        except self._distributed.scheduler.KilledWorker as error:
            raise WorkerLost("a worker died each time it ran the scenario; with --apart the run "
                             "that does it is found and kept") from error

    def close(self) -> None:
        self._client.close()


def open_workers(spec: dict, jobs: int, dask: str | None, go_on):
    """Who does the pieces. Raises OSError if the cluster does not answer."""
    if dask is not None:
        return Cluster(spec, dask)
    if jobs > 1:
        return Processes(spec, jobs)
    return Inline(spec, go_on)


def processors() -> int:
    return len(os.sched_getaffinity(0))
