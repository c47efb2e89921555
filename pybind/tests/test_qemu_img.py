# SPDX-License-Identifier: Apache-2.0
"""Holds:   images made by the real program are the same bytes each time, and it runs once for each,
         also for runs that have a process of their own; its verdicts come through, bad ones as
         well; a failure names the command and what the program said.
Method:  images made, written by us, and broken on purpose; calls of the program counted.
"""
import pytest

from blockstep import KiB, MiB, World, kept_images, qemu_img
from blockstep.apart import in_fresh_process


@pytest.fixture
def store(world):
    return world.store


def test_created_images_do_not_vary(store):
    for name in ("one", "other"):
        qemu_img.create(store, name, 4 * MiB, cluster_size=4 * KiB, lazy_refcounts="on")
    assert store.get("one") == store.get("other")
    assert store.get("one", 0, 4) == b"QFI\xfb"
    assert qemu_img.check(store, "one")["corruptions"] == 0


def made_in_a_world(*calls) -> tuple[list[bytes], int]:
    """Images made by these calls of create(), and how often the program ran for them."""
    program, runs = qemu_img._run, []
    qemu_img._run = lambda *words: (runs.append(words), program(*words))[1]
    try:
        with World() as world:
            for number, (size, options) in enumerate(calls):
                qemu_img.create(world.store, str(number), size, **options)
            return [world.store.get(str(number)) for number in range(len(calls))], len(runs)
    finally:
        qemu_img._run = program


def test_the_program_runs_once_for_each_image():
    size = 3 * MiB + 512  # of no other test
    calls = [(size, {}), (size, {}), (size + 512, {}), (size, {"format": "raw"}),
             (size, {"cluster_size": 4 * KiB}), (size, {})]
    images, runs = made_in_a_world(*calls)
    assert runs == 4 and len(set(images)) == 4
    assert images[0] == images[1] == images[5]
    assert made_in_a_world(*calls) == (images, 0)


def test_an_image_is_its_own_copy():
    with World() as world:
        for name in ("one", "other"):
            qemu_img.create(world.store, name, 1 * MiB)
        world.store.patch("one", 0, b"changed")
        assert world.store.get("other", 0, 4) == b"QFI\xfb"
    assert made_in_a_world((1 * MiB, {}))[0][0][:4] == b"QFI\xfb"


def test_processes_leave_their_images_to_later_ones():
    calls = [(5 * MiB + 512, {}), (5 * MiB + 1024, {})]
    assert [in_fresh_process(lambda count=count: made_in_a_world(*calls[:count])[1])
            for count in (1, 2, 2)] == [1, 1, 0]
    assert kept_images.find(kept_images.key_of("-f", "qcow2", str(7 * MiB + 512))) is None
    assert made_in_a_world(*calls)[1] == 0


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
