# SPDX-License-Identifier: Apache-2.0
"""Holds:   our programs and the real ones lock image files with the same bytes, see each other's
         locks in both directions, and refuse in the same words.
Method:  the same commands to both, with the lock table of the host beside; then one holds an image
         while another opens it: ours, the real system emulator, qemu-img and qemu-io.
"""
import pathlib
import subprocess

import pytest

from blockstep.commands import program_path
from iotests.compare.program import REAL, Program

QEMU_LOCKED = 'Failed to get "write" lock'
SHARED_LOCKED = 'Failed to get shared "write" lock'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locks")
    for name, *options in (("a.qcow2", "-f", "qcow2"), ("a.raw", "-f", "raw"),
                           ("d.qcow2", "-f", "qcow2", "-o", "data_file=d.data")):
        subprocess.run(["qemu-img", "create", "-q", *options, name, "1M"], cwd=folder, check=True)
    return folder


@pytest.fixture
def start(folder):
    """Starts ours or the real program in the folder."""
    running = []

    def start(which: str) -> Program:
        running.append(Program([str(program_path("qmp"))] if which == "ours" else REAL, folder))
        return running[-1]

    yield start
    for program in running:
        program.close()


def locked_bytes(path: pathlib.Path, pid: int | None = None) -> list[int]:
    """Bytes of a file that hold a lock, from the host's table."""
    inode = path.stat().st_ino
    found = []
    for line in pathlib.Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "->" in fields or int(fields[5].rsplit(":", 1)[1]) != inode:
            continue
        assert fields[1:4] == ["OFDLCK", "ADVISORY", "READ"]
        found += range(int(fields[6]), int(fields[7]) + 1)
    return sorted(found)


def file_node(filename: str, **more) -> dict:
    return {"driver": "file", "filename": filename, **more}


def add(program: Program, **options) -> str:
    """The refusal, "" when the node is there."""
    reply = program.execute("blockdev-add", options)
    return reply.get("error", {}).get("desc", "")


def qcow2(program: Program, name: str = "q", **more) -> str:
    return add(program, **{"driver": "qcow2", "node-name": name, "file": file_node("a.qcow2"),
                           **more})


RAW = {"driver": "raw", "node-name": "r", "file": file_node("a.raw")}
HBA = {"driver": "virtio-scsi-pci", "id": "hba"}
# Name: commands, file, bytes.
STATES = {
    "unused raw": ([("blockdev-add", RAW)], "a.raw", []),
    "raw under scsi-hd": ([
        ("blockdev-add", RAW), ("device_add", HBA),
        ("device_add", {"driver": "scsi-hd", "drive": "r"})], "a.raw", [100, 101, 201]),
    "raw under scsi-hd with share-rw": ([
        ("blockdev-add", RAW), ("device_add", HBA),
        ("device_add", {"driver": "scsi-hd", "drive": "r", "share-rw": True})], "a.raw",
        [100, 101]),
    "raw under scsi-cd": ([
        ("blockdev-add", RAW), ("device_add", HBA),
        ("device_add", {"driver": "scsi-cd", "drive": "r"})], "a.raw", [100, 201, 203]),
    "qcow2": ([("blockdev-add", {"driver": "qcow2", "node-name": "q",
                                 "file": file_node("a.qcow2")})], "a.qcow2",
              [100, 101, 103, 201, 203]),
    "qcow2 read-only": ([("blockdev-add", {
        "driver": "qcow2", "node-name": "q", "read-only": True,
        "file": file_node("a.qcow2")})], "a.qcow2", [100, 201, 203]),
    "qcow2 read-only with force-share": ([("blockdev-add", {
        "driver": "qcow2", "node-name": "q", "read-only": True, "force-share": True,
        "file": file_node("a.qcow2")})], "a.qcow2", [100]),
    "qcow2 without locking": ([("blockdev-add", {
        "driver": "qcow2", "node-name": "q",
        "file": file_node("a.qcow2", locking="off")})], "a.qcow2", []),
    "qcow2 gone": ([
        ("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": file_node("a.qcow2")}),
        ("blockdev-del", {"node-name": "q"})], "a.qcow2", []),
}


@pytest.mark.parametrize("which", ("ours", "real"))
@pytest.mark.parametrize("state", STATES)
def test_lock_bytes(start, folder, which, state):
    commands, name, expected = STATES[state]
    program = start(which)
    for command, arguments in commands:
        assert program.execute(command, arguments) == {"return": {}}
    assert locked_bytes(folder / name) == expected


BOTH_WAYS = [("ours", "ours"), ("ours", "real"), ("real", "ours"), ("real", "real")]


@pytest.mark.parametrize("holder, newcomer", BOTH_WAYS)
def test_second_opener(start, folder, holder, newcomer):
    """Recipes R5 to R10, with the second node in another process."""
    first, second = start(holder), start(newcomer)
    assert qcow2(first) == ""
    before = locked_bytes(folder / "a.qcow2")
    assert qcow2(second) == QEMU_LOCKED
    assert qcow2(second, **{"read-only": True}) == SHARED_LOCKED
    assert qcow2(second, **{"force-share": True}) == (
        "force-share=on can only be used with read-only images")
    assert locked_bytes(folder / "a.qcow2") == before  # what was refused left nothing
    assert qcow2(second, "shared", **{"read-only": True, "force-share": True}) == ""
    assert qcow2(second, "unlocked", file=file_node("a.qcow2", locking="off")) == ""
    # A raw node without users asks for nothing.
    assert add(second, driver="raw", **{"node-name": "r"}, file=file_node("a.qcow2")) == ""
    for name in ("shared", "unlocked", "r"):
        assert second.execute("blockdev-del", {"node-name": name}) == {"return": {}}
    assert first.execute("blockdev-del", {"node-name": "q"}) == {"return": {}}
    assert qcow2(second) == ""


@pytest.mark.parametrize("holder, newcomer", BOTH_WAYS)
def test_readers_shut_a_writer_out(start, holder, newcomer):
    first, second = start(holder), start(newcomer)
    assert qcow2(first, **{"read-only": True}) == ""
    assert qcow2(second, "reader", **{"read-only": True}) == ""
    assert qcow2(second, "writer") == QEMU_LOCKED
    assert second.execute("blockdev-del", {"node-name": "reader"}) == {"return": {}}
    assert qcow2(second, "writer") == QEMU_LOCKED
    assert first.execute("blockdev-del", {"node-name": "q"}) == {"return": {}}
    assert qcow2(second, "writer") == ""


@pytest.mark.parametrize("holder, newcomer", BOTH_WAYS)
def test_guests_that_share(start, holder, newcomer):
    """Two guest disks on one raw file: refused unless both have share-rw."""
    programs = [start(holder), start(newcomer)]
    for program in programs:
        assert program.execute("blockdev-add", RAW) == {"return": {}}
        assert program.execute("device_add", HBA) == {"return": {}}
    disk = {"driver": "scsi-hd", "drive": "r", "id": "disk"}
    assert programs[0].execute("device_add", {**disk, "share-rw": True}) == {"return": {}}
    refused = programs[1].execute("device_add", disk)["error"]["desc"]
    assert refused == SHARED_LOCKED
    assert programs[1].execute("device_add", {**disk, "share-rw": True}) == {"return": {}}


@pytest.mark.parametrize("which", ("ours", "real"))
def test_two_nodes_in_one_process(start, which):
    """Two descriptions exclude each other, whoever holds them."""
    program = start(which)
    assert qcow2(program, "one") == ""
    assert qcow2(program, "two") == QEMU_LOCKED
    assert qcow2(program, "two", **{"read-only": True}) == SHARED_LOCKED


def tool(folder, *words) -> tuple[int, str]:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, (done.stderr + done.stdout).strip()


# R131 to R140: what the tools ask for, against our lock on the file.
@pytest.mark.parametrize("words, refusal", [
    (("qemu-img", "info", "a.qcow2"), SHARED_LOCKED),
    (("qemu-img", "info", "-U", "a.qcow2"), None),
    (("qemu-img", "check", "a.qcow2"), SHARED_LOCKED),
    (("qemu-img", "check", "-U", "a.qcow2"), None),
    (("qemu-img", "map", "a.qcow2"), SHARED_LOCKED),
    (("qemu-img", "convert", "-O", "raw", "a.qcow2", "copy"), SHARED_LOCKED),
    (("qemu-img", "convert", "-U", "-O", "raw", "a.qcow2", "copy"), None),
    (("qemu-img", "snapshot", "-c", "s", "a.qcow2"), QEMU_LOCKED),
    (("qemu-img", "resize", "a.qcow2", "2M"), QEMU_LOCKED),
    (("qemu-img", "create", "-f", "qcow2", "a.qcow2", "1M"), QEMU_LOCKED),
    (("qemu-io", "-c", "read 0 512", "a.qcow2"), QEMU_LOCKED),
    (("qemu-io", "-r", "-c", "read 0 512", "a.qcow2"), SHARED_LOCKED),
    (("qemu-io", "-r", "-U", "-c", "read 0 512", "a.qcow2"), None),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_tools_meet_our_lock(start, folder, words, refusal):
    program = start("ours")
    assert qcow2(program) == ""
    status, told = tool(folder, *words)
    if refusal is None:
        assert status == 0, told
    else:
        assert status != 0
        assert refusal in told
    # The holder's image is what it was, and no lock is left over.
    assert locked_bytes(folder / "a.qcow2") == [100, 101, 103, 201, 203]


def test_we_meet_a_tools_lock(start, folder):
    program = start("ours")
    holder = subprocess.Popen(["qemu-io", "a.qcow2"], cwd=folder, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        holder.stdin.write("length\n")
        holder.stdin.flush()
        assert "1 MiB" in holder.stdout.readline()
        assert qcow2(program) == QEMU_LOCKED
        assert qcow2(program, **{"read-only": True}) == SHARED_LOCKED
        assert qcow2(program, "shared", **{"read-only": True, "force-share": True}) == ""
    finally:
        holder.communicate("quit\n")
    assert qcow2(program) == ""
