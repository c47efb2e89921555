# SPDX-License-Identifier: Apache-2.0
"""Random lives of qcow2 images, lived by us and read by others, and the other way round.

A history is drawn from a seed: images of some version, cluster size and refcount width, each on top
of the one before, and writes, zeroes and discards on the newest. Afterwards our qcow2, the real
qemu-img and libqcow must read the same bytes, and both checks must find the image clean.

libqcow (as packaged) takes a cluster marked as zeroes for an unallocated one, so it is asked about
histories in which none can be; and where it goes to the parent it stays there for the rest of the
request, so it is asked for a sector at a time.
"""
import dataclasses
import pathlib
import random
import shutil
import subprocess

import _blockstep

from blockstep.errors import BlockstepError
from blockstep.units import KiB, SECTOR
from blockstep.world import World

TOOLS = ("qemu-img", "qemu-io")


class Mismatch(BlockstepError):
    """Two readers of one image disagree, or a check is not clean."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """Options of one image."""

    version: int
    cluster_size: int
    refcount_bits: int
    lazy_refcounts: bool


@dataclasses.dataclass(frozen=True)
class Step:
    """write, zero, unmap (zero that gives room back), discard, flush; bytes."""

    action: str
    offset: int = 0
    length: int = 0
    byte: int = 0


@dataclasses.dataclass(frozen=True)
class History:
    seed: int
    size: int
    layers: list[Layer]
    steps: list[list[Step]]  # of each layer, oldest layer first

    @property
    def may_have_zero_clusters(self) -> bool:
        return any(layer.version == 3 for layer in self.layers) and any(
            step.action in ("zero", "unmap", "discard") for steps in self.steps for step in steps)


def draw(seed: int) -> History:
    """The history of a seed."""
    rng = random.Random(seed)
    size = rng.randrange(1, 4096) * SECTOR if rng.random() < 0.7 else rng.randrange(1, 4) << 20
    layers, steps = [], []
    for _ in range(rng.choice((1, 1, 2, 3))):
        version = rng.choice((2, 3))
        layers.append(Layer(
            version=version, cluster_size=rng.choice((512, KiB, 4 * KiB, 64 * KiB, 256 * KiB)),
            refcount_bits=rng.choice((1, 2, 4, 8, 16, 32, 64)) if version == 3 else 16,
            lazy_refcounts=version == 3 and rng.random() < 0.2))
        kinds = rng.choice((("write",), ("write", "write", "zero", "unmap", "discard", "flush")))
        steps.append([_draw_step(rng, kinds, size) for _ in range(rng.randrange(1, 30))])
    return History(seed, size, layers, steps)


def _draw_step(rng, kinds, size) -> Step:
    action = rng.choice(kinds)
    if action == "flush":
        return Step(action)
    sectors = size // SECTOR
    first = rng.randrange(sectors)
    count = min(rng.choice((1, rng.randrange(1, 16), rng.randrange(1, 513))), sectors - first)
    if rng.random() < 0.3:  # whole clusters are where formats take short cuts
        first = first // 128 * 128
        count = min(128 * rng.randrange(1, 4), sectors - first)
    return Step(action, first * SECTOR, count * SECTOR, rng.randrange(1, 256))


def image_name(number: int) -> str:
    return f"layer{number}.qcow2"


# ---- ours --------------------------------------------------------------------------------------


async def create_image(vm, name: str, layer: Layer, size: int, backing: str | None) -> None:
    """Makes an empty image with our own driver."""
    await _blockstep.create_image(vm, {"driver": "file", "filename": name, "size": 0})
    await vm.qmp("blockdev-add", {"driver": "file", "node-name": "new", "filename": name})
    options = {"driver": "qcow2", "file": "new", "size": size,
               "version": f"v{layer.version}", "cluster-size": layer.cluster_size,
               "refcount-bits": layer.refcount_bits}
    if layer.lazy_refcounts:
        options["lazy-refcounts"] = True
    if backing is not None:
        options |= {"backing-file": backing, "backing-fmt": "qcow2"}
    await _blockstep.create_image(vm, options)
    await vm.qmp("blockdev-del", {"node-name": "new"})


async def open_image(vm, name: str, read_only: bool = False) -> None:
    await vm.qmp("blockdev-add", {
        "driver": "qcow2", "node-name": "top", "discard": "unmap", "read-only": read_only,
        "file": {"driver": "file", "filename": name, "discard": "unmap"}})


async def live(world: World, history: History) -> None:
    """Our own images go through the history; they lie in world.store."""
    vm = world.vm()
    for number, layer in enumerate(history.layers):
        name = image_name(number)
        backing = image_name(number - 1) if number else None
        await create_image(vm, name, layer, history.size, backing)
        await open_image(vm, name)
        disk = vm.backend("top", use=("consistent-read", "write"))
        for step in history.steps[number]:
            await _perform(disk, step)
        await disk.flush()
        await disk.close()
        await vm.qmp("blockdev-del", {"node-name": "top"})


async def _perform(disk, step: Step) -> None:
    if step.action == "write":
        await disk.write(step.offset, bytes([step.byte]) * step.length)
    elif step.action in ("zero", "unmap"):
        await disk.write_zeroes(step.offset, step.length, unmap=step.action == "unmap")
    elif step.action == "discard":
        await disk.discard(step.offset, step.length)
    else:
        await disk.flush()


async def read_by_us(vm, name: str) -> tuple[bytes, dict]:
    """Contents and result of our check."""
    await open_image(vm, name, read_only=True)
    disk = vm.backend("top")
    contents = await disk.read(0, disk.size)
    checked = await vm.check("top")
    await disk.close()
    await vm.qmp("blockdev-del", {"node-name": "top"})
    return contents, checked


# ---- the others --------------------------------------------------------------------------------


def need_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise BlockstepError(f"needs {' and '.join(missing)}: install qemu-utils")


def run_tool(*command, folder: pathlib.Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        raise Mismatch(f"{' '.join(map(str, command[:4]))} ...: "
                       f"{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def live_for_real(history: History, folder: pathlib.Path) -> None:
    """The real programs' images go through the history."""
    words = {"write": "write -P {byte} {offset} {length}", "zero": "write -z {offset} {length}",
             "unmap": "write -z -u {offset} {length}", "discard": "discard {offset} {length}",
             "flush": "flush"}
    for number, layer in enumerate(history.layers):
        options = [f"compat={'1.1' if layer.version == 3 else '0.10'}",
                   f"cluster_size={layer.cluster_size}"]
        if layer.version == 3:
            options += [f"refcount_bits={layer.refcount_bits}",
                        f"lazy_refcounts={'on' if layer.lazy_refcounts else 'off'}"]
        backing = ["-b", image_name(number - 1), "-F", "qcow2"] if number else []
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options), *backing,
                 image_name(number), history.size, folder=folder)
        steps = [word for step in history.steps[number]
                 for word in ("-c", words[step.action].format(**dataclasses.asdict(step)))]
        run_tool("qemu-io", "-f", "qcow2", "-d", "unmap", *steps, image_name(number),
                 folder=folder)


def read_by_qemu(folder: pathlib.Path, name: str) -> bytes:
    run_tool("qemu-img", "check", "-q", "-f", "qcow2", name, folder=folder)
    run_tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, "contents.raw",
             folder=folder)
    return (folder / "contents.raw").read_bytes()


def read_by_libqcow(folder: pathlib.Path, history: History) -> bytes:
    import pyqcow
    chain = []  # an image does not keep its parent alive
    for number in range(len(history.layers)):
        image = pyqcow.file()
        image.open(str(folder / image_name(number)))
        if chain:
            image.set_parent(chain[-1])
        chain.append(image)
    return b"".join(chain[-1].read_buffer_at_offset(SECTOR, at)
                    for at in range(0, chain[-1].get_media_size(), SECTOR))


# ---- both ways ---------------------------------------------------------------------------------


def compare(history: History, what: str, ours: bytes, theirs: bytes) -> None:
    if ours == theirs:
        return
    if len(ours) != len(theirs):
        raise Mismatch(f"history {history.seed}: {len(ours)} bytes by us, {len(theirs)} by {what}")
    wrong = [at // SECTOR for at in range(0, len(ours), SECTOR)
             if ours[at:at + SECTOR] != theirs[at:at + SECTOR]]
    raise Mismatch(f"history {history.seed}: {what} reads {len(wrong)} sectors otherwise, "
                   f"the first is {wrong[0]}")


def verify(history: History, folder: pathlib.Path, lived_by_us: bool) -> None:
    """Lives the history in the folder, by us or for real, and has everybody read it.

    Raises Mismatch.
    """
    names = [image_name(number) for number in range(len(history.layers))]
    with World(seed=history.seed, schedule="random") as world:
        if lived_by_us:
            world.run(live(world, history))
            for name in names:
                world.store.export_file(name, str(folder / name))
        else:
            live_for_real(history, folder)
            for name in names:
                world.store.import_file(name, str(folder / name))
        vm = world.vm()
        for name in names:
            ours, checked = world.run(read_by_us(vm, name))
            if checked["corruptions"] or checked["leaks"] or checked["check_errors"]:
                raise Mismatch(f"history {history.seed}: our check of {name}: {checked}")
            compare(history, "qemu-img", ours, read_by_qemu(folder, name))
        world.check()
    if not history.may_have_zero_clusters:
        compare(history, "libqcow", ours, read_by_libqcow(folder, history))
