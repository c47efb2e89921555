# SPDX-License-Identifier: Apache-2.0
"""Holds:   our check counts the damage and the leaks that the real qemu-img counts; what we repair
         it finds clean, or left as its own repair leaves it, with the same contents.
Method:  images with clusters of every kind, made by the real programs, spoilt in one place of their
         tables; the places and values are drawn from a seed.
"""
import json
import pathlib
import random
import subprocess

import pytest

from blockstep import GuestIoError, World

CLUSTER = 512
SIZE = 96 * 1024
OFFSET = 0x00fffffffffffe00
COPIED, COMPRESSED = 1 << 63, 1 << 62


def tool(folder: pathlib.Path, *words) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in words], cwd=folder, capture_output=True,
                          text=True, check=False)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("original")
    tool(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", "a",
         SIZE)
    tool(folder, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 6k", "-c", "write -z 1k 1k",
         "-c", "write -P 2 40k 2k", "-c", "write -c -P 3 20k 2k", "a")
    tool(folder, "qemu-img", "snapshot", "-c", "before", "a")
    tool(folder, "qemu-io", "-f", "qcow2", "-c", "write -P 4 2k 1k", "-c", "write -P 5 80k 1k", "a")
    return (folder / "a").read_bytes()


def number(image: bytes, at: int, width: int = 8) -> int:
    return int.from_bytes(image[at:at + width], "big")


def places(image: bytes) -> dict[str, list[int]]:
    """Offsets of the entries in use, by kind of table."""
    l1 = number(image, 40)
    l1_entries = [l1 + 8 * i for i in range(number(image, 36, 4)) if number(image, l1 + 8 * i)]
    l2_entries = [at for entry in l1_entries
                  for at in range(number(image, entry) & OFFSET,
                                  (number(image, entry) & OFFSET) + CLUSTER, 8)
                  if number(image, at)]
    table = number(image, 48)
    block = number(image, table)
    counts = [block + 2 * i for i in range(len(image) // CLUSTER)]
    return {"L1": l1_entries, "L2": l2_entries, "refcount": counts, "refcount table": [table]}


def spoil(image: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    spoilt = bytearray(image)
    kind = rng.choice(("L1", "L2", "L2", "L2", "refcount", "refcount", "refcount table"))
    at = rng.choice(places(image)[kind])
    if kind == "refcount":
        spoilt[at:at + 2] = rng.choice((0, 1, 2, 3, 0xffff)).to_bytes(2, "big")
        return bytes(spoilt)
    entry = number(image, at)
    value = rng.choice((
        0, entry ^ COPIED, entry ^ 0x100, entry | 1, entry ^ COMPRESSED,
        (entry & ~OFFSET) | rng.randrange(1, len(image) // CLUSTER) * CLUSTER,
        (entry & ~OFFSET) | (len(image) + rng.randrange(8) * CLUSTER),
        (entry & ~OFFSET) | rng.randrange(1 << 40) * CLUSTER & OFFSET,
        entry + CLUSTER // 2))
    spoilt[at:at + 8] = (value & (1 << 64) - 1).to_bytes(8, "big")
    return bytes(spoilt)


def their_check(folder: pathlib.Path, name: str, *repair) -> tuple[int, int, int] | None:
    """Damage, leaks and errors; None when it gave up."""
    done = tool(folder, "qemu-img", "check", "--output=json", "-f", "qcow2", *repair, name)
    if not done.stdout:
        return None
    told = json.loads(done.stdout)
    return (told.get("corruptions", 0), told.get("leaks", 0), told["check-errors"])


def contents(folder: pathlib.Path, name: str) -> bytes | None:
    done = tool(folder, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, "contents")
    return (folder / "contents").read_bytes() if done.returncode == 0 else None


def our_check(folder: pathlib.Path, name: str, repair: str) -> tuple[int, int, int] | None:
    async def check(vm):
        await vm.qmp("blockdev-add", {
            "driver": "qcow2", "node-name": "image", "read-only": repair == "none",
            "file": {"driver": "file", "filename": "image"}})
        checked = await vm.check("image", repair=repair)
        await vm.qmp("blockdev-del", {"node-name": "image"})
        return checked["corruptions"], checked["leaks"], checked["check_errors"]

    with World() as world:
        world.store.import_file("image", str(folder / name))
        try:
            return world.run(check(world.vm()))
        except GuestIoError:
            return None
        finally:
            world.store.export_file("image", str(folder / name))


def both(image: bytes, seed: int, folder: pathlib.Path) -> None:
    spoilt = spoil(image, seed)
    for name in ("ours", "theirs"):
        (folder / name).write_bytes(spoilt)
    counted = their_check(folder, "theirs")
    assert our_check(folder, "ours", "none") == counted
    assert (folder / "ours").read_bytes() == spoilt
    their_check(folder, "theirs", "-r", "all")
    our_check(folder, "ours", "all")
    left = their_check(folder, "ours")
    assert left in ((0, 0, 0), their_check(folder, "theirs"))
    assert contents(folder, "ours") == contents(folder, "theirs")


@pytest.mark.parametrize("seed", range(30))
def test_counts_and_repairs_agree(original, seed, tmp_path):
    both(original, seed, tmp_path)


def test_original_is_clean(original, tmp_path):
    (tmp_path / "a").write_bytes(original)
    assert our_check(tmp_path, "a", "none") == their_check(tmp_path, "a") == (0, 0, 0)
