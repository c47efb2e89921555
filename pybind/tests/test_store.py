# SPDX-License-Identifier: Apache-2.0
"""Holds:   files go into simulated media and back unchanged, holes included; snapshots give back
         what was; every error names its file.
Method:  real files in a scratch directory.
"""
import errno
import os

import pytest

from blockstep import HostError, MemoryStore, PlatformError, PosixStore, World
from blockstep.apart import in_fresh_process


@pytest.fixture
def world():
    with World() as world:
        yield world


@pytest.fixture
def store(world):
    return MemoryStore(world)


def test_bytes_and_ranges(store):
    store.put("a.img", b"0123456789")
    assert store.get("a.img") == b"0123456789"
    assert store.get("a.img", 3, 4) == b"3456"
    assert store.get("a.img", 10) == b""
    store.patch("a.img", 8, b"xyz")
    assert store.get_durable("a.img") == b"01234567xyz"
    assert (store.size("a.img"), store.list(), store.exists("a.img")) == (11, ["a.img"], True)
    with pytest.raises(ValueError, match="past the end"):
        store.get("a.img", 12)


def test_real_files_in_and_out_with_holes(store, tmp_path):
    real, copy = tmp_path / "real", tmp_path / "copy"
    with open(real, "wb") as file:
        file.truncate(64 << 20)
        file.seek(40 << 20)
        file.write(b"in the middle")
    store.import_file("big", str(real))
    assert store.size("big") == 64 << 20
    assert store.allocated("big") <= 1 << 20
    assert store.get("big", 40 << 20, 13) == b"in the middle"
    store.export_file("big", str(copy))
    assert os.stat(copy).st_blocks * 512 <= 1 << 20
    assert copy.read_bytes() == real.read_bytes()


def test_snapshot_in_another_world(store):
    store.put("a", b"before")
    snapshot = store.snapshot()
    store.put("a", b"after")
    store.put("b", b"new")
    assert snapshot.files == ["a"]
    with World() as other_world:
        other = MemoryStore(other_world)
        other.restore(snapshot)
        assert other.get("a") == b"before"
    store.restore(snapshot)
    assert (store.list(), store.get("a")) == (["a"], b"before")


def test_errors_name_the_file(store, tmp_path):
    for call, number in (
            (lambda: store.get("none"), errno.ENOENT),
            (lambda: store.remove("none"), errno.ENOENT),
            (lambda: store.import_file("x", str(tmp_path / "none")), errno.ENOENT),
            (lambda: store.import_file("x", str(tmp_path)), errno.EISDIR)):
        with pytest.raises(HostError, match="none|test_errors") as caught:
            call()
        assert caught.value.errno == number
    store.put("a", b"")
    for call in (lambda: store.power_cut(keep="some"), lambda: store.fail("a", "scribble")):
        with pytest.raises(ValueError):
            call()


def test_posix_store_sees_real_files(world, tmp_path):
    (tmp_path / "image").write_bytes(b"x")
    store = PosixStore(world)
    assert store.exists(str(tmp_path / "image"))
    store.remove(str(tmp_path / "image"))
    assert not (tmp_path / "image").exists()


def test_stores_end_with_their_world(tmp_path):
    world = World()
    store = MemoryStore(world)
    world.close()
    with pytest.raises(RuntimeError, match="the world is closed"):
        store.list()


def test_a_disk_that_is_not_there_is_told_with_those_that_are(store):
    store.put("file", b"")
    with pytest.raises(ValueError, match='give it one, such as platform="workstation"'):
        store.set_disk("file", "sata0")

    def timed():  # in a process of its own: there can be one timed world in each
        with World(platform="workstation") as world:
            world.store.put("file", b"")
            world.store.set_disk("file", "sata0")
            try:
                world.store.set_disk("file", "tape")
            except PlatformError as error:
                return str(error)
        return ""

    assert in_fresh_process(timed) == (
        "the platform has no disk 'tape' (it has hdd0, nvme0, remote0, sata0)")
