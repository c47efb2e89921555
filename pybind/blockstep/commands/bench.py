# SPDX-License-Identifier: Apache-2.0
"""Measure: rows of name, value, unit, from our benches, from exploring scenarios in Python, and
from the real programs beside them.

With NAME, only benches whose name contains it. Rates per CPU-second count user and system time of
the whole program, so another program on the machine changes them less than wall time would.
"""
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

from blockstep import reference_perms
from blockstep.commands import CommandError, build_dir, source_dir

IMAGE_MIB = 64
REQUESTS = 200_000
SMALL_SCENARIO = """
from blockstep import KiB, MiB, qemu_img

async def main(world):
    vm = world.vm()
    for name in ("disk", "copy"):
        qemu_img.create(world.store, name, 4 * MiB)
        await vm.blockdev_add(name, "qcow2", file={"driver": "file", "filename": name})
    await vm.device_add("virtio-blk-pci", "vda", drive="disk")
    await vm.cont()
    load = vm.guest_load("vda", operations=24, area=64 * KiB)
    await world.moment("mirror begins")
    job = await vm.start_job("blockdev-mirror", {
        "job-id": "m", "device": "disk", "target": "copy", "sync": "full"})
    await job.ready()
    await job.complete()
    await load
    await vm.guest_verify("vda")
"""


def our_rows(name: str) -> list[dict]:
    program = build_dir() / "blockstep-bench"
    if not program.exists():
        raise CommandError(f"there is no bench program: {program}")
    done = subprocess.run([program, name], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"a bench failed with status {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def cpu_seconds_of(command: list) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        raise CommandError(f"{command[0]} {command[1]} failed: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def reference_rows(name: str) -> list[dict]:
    """The real program on an image of the same shape: qcow2, every cluster allocated, in tmpfs."""
    kinds = {"qemu-img bench qcow2 read": [], "qemu-img bench qcow2 overwrite": ["-w"]}
    wanted = {row: flags for row, flags in kinds.items() if name in row}
    if not wanted:
        return []
    tmpfs = pathlib.Path("/dev/shm")
    rows = []
    with tempfile.TemporaryDirectory(dir=tmpfs if tmpfs.is_dir() else None) as folder:
        image = pathlib.Path(folder, "bench.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, f"{IMAGE_MIB}M"],
                       check=True)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -P 165 0 {IMAGE_MIB}M", image],
                       check=True, stdout=subprocess.DEVNULL)
        for row, flags in wanted.items():
            seconds = cpu_seconds_of(["qemu-img", "bench", "-f", "qcow2", "-t", "writeback",
                                      "-d", "32", "-s", "4096", "-c", str(REQUESTS), *flags, image])
            rows.append({"name": row, "value": REQUESTS / seconds, "unit": "requests/CPU-s"})
    return rows


def exploring_rows(name: str, schedules: int = 4000) -> list[dict]:
    """Whole searches, start of the program included, of scenarios that never fail."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = pathlib.Path(folder, "small.py")
        small.write_text(SMALL_SCENARIO)
        for row, scenario in (
                ("explore a small Python scenario", small),
                ("explore jobs_meet_in_any_order.py",
                 source_dir() / "scenarios/jobs_meet_in_any_order.py")):
            if name not in row:
                continue
            seconds = cpu_seconds_of([
                sys.executable, "-P", "-m", "blockstep", "explore", scenario, "--out", folder,
                "--schedules", str(schedules)])
            rows.append({"name": row, "value": schedules / seconds, "unit": "runs/CPU-s"})
    return rows


def add_arguments(parser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON array of rows")


def run(args) -> int:
    rows = (our_rows(args.name) + exploring_rows(args.name) + reference_rows(args.name)
            + reference_perms.rows(args.name))
    if not rows:
        raise CommandError(f"no bench has '{args.name}' in its name")
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            value = f"{row['value']:,.0f}" if row["value"] >= 1000 else f"{row['value']:.4g}"
            print(f"{row['name']:{width}}  {value:>12}  {row['unit']}")
    return 0
