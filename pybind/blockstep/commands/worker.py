# SPDX-License-Identifier: Apache-2.0
"""Offer this machine's processors to a Dask cluster, for `explore --dask ADDRESS`.

ADDRESS is that of the cluster's scheduler (dask-scheduler), e.g. tcp://host:8786. Runs until it is
interrupted or the scheduler is gone; a worker process that dies is started again.
"""
import importlib.util
import os
import sys

from blockstep.commands import CommandError


def add_arguments(parser) -> None:
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("--jobs", type=int, default=0, metavar="N",
                        help="worker processes; 0: one for each processor (default)")


def run(args) -> int:
    from blockstep.explore.work import processors
    if args.jobs < 0:
        raise CommandError("--jobs takes a number from 0 up")
    if importlib.util.find_spec("distributed") is None:
        raise CommandError("Dask is not installed: ./blockstep install testing")
    # Hashes of texts are fixed, as in every process that runs scenarios: sets keep their order.
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [
        sys.executable, "-P", "-m", "distributed.cli.dask_worker", args.address,
        "--nworkers", str(args.jobs or processors()), "--nthreads", "1", "--no-dashboard",
        "--memory-limit", "0", "--death-timeout", "60"])
