# SPDX-License-Identifier: Apache-2.0
"""Holds:   images made by the real program are the same bytes each time; its verdicts come through,
         bad ones as well; a failure names the command and what the program said.
Method:  images made, written by us, and broken on purpose.
"""
import pytest

from blockstep import KiB, MiB, qemu_img


@pytest.fixture
def store(world):
    return world.store


def test_created_images_do_not_vary(store):
    for name in ("one", "other"):
        qemu_img.create(store, name, 4 * MiB, cluster_size=4 * KiB, lazy_refcounts="on")
    assert store.get("one") == store.get("other")
    assert store.get("one", 0, 4) == b"QFI\xfb"
    assert qemu_img.check(store, "one")["corruptions"] == 0


async def test_check_and_compare_tell_what_is_wrong(world, vm):
    store = world.store
    qemu_img.create(store, "a", 1 * MiB)
    store.put("b", b"\x11" * 64 * KiB + bytes(1 * MiB - 64 * KiB))
    await vm.blockdev_add("a", "qcow2", file={"driver": "file", "filename": "a"})
    backend = vm.backend("a", use=("consistent-read", "write"))
    await backend.write(0, b"\x11" * 64 * KiB)
    await backend.close()
    await vm.shut_down()
    assert qemu_img.compare(store, "a", "b", other_format="raw") == ""
    store.patch("b", 5000, b"?")
    assert "mismatch at offset 4608" in qemu_img.compare(store, "a", "b", other_format="raw")
    assert qemu_img.check(store, "a")["leaks"] == 0
    store.patch("a", 2 * 64 * KiB, b"\x00\x09")  # a refcount
    assert sum(qemu_img.check(store, "a")[key] for key in ("corruptions", "leaks")) > 0


def test_failures_say_which_command(store):
    store.put("text", b"no image")
    with pytest.raises(qemu_img.ProgramError, match="qemu-img check .* status 1: .*text"):
        qemu_img.check(store, "text")
    assert "raw" in qemu_img.run(store, "info", "text", files=["text"])
