# SPDX-License-Identifier: Apache-2.0
"""Holds:   `blockstep qmp` serves a client on real files, on standard input and output or on a unix
         socket, as the real program does: the same replies and events for the same commands, also
         after nonsense; time passes as on the wall; it ends with quit, with its input, or when told
         to, and leaves no socket behind.
Method:  one conversation with both programs, compared; each way to end it once.
"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

REAL = ["qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-S", "-display", "none", "-qmp"]
OURS = [sys.executable, "-P", "-m", "blockstep", "qmp"]
# What no two runs share, and which program it is.
VARIES = [(r'"(micro)?seconds": \d+', '"": 0'), (r'"package": "[^"]*"', '""'),
          (r'"micro": \d+', '""'), (r'"arch": "[^"]*"', '""')]


class Client:
    """A plain QMP client: a line out, lines in until the reply."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.lines = [self.line()]  # the greeting

    def line(self) -> str:
        text = self.reader.readline()
        for pattern, replacement in VARIES:
            text = re.sub(pattern, replacement, text)
        return text

    def send(self, text: str) -> None:
        self.writer.write(text + "\n")
        self.writer.flush()
        while True:
            self.lines.append(self.line())
            if not self.lines[-1] or '"event"' not in self.lines[-1]:
                return

    def execute(self, command: str, **arguments) -> dict:
        self.send(json.dumps({"execute": command, "arguments": {
            name.replace("_", "-"): value for name, value in arguments.items()}}))
        return json.loads(self.lines[-1])


@contextlib.contextmanager
def running(command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, encoding="utf-8")
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def connected(path):
    """A client of the server at this path, which may not listen yet."""
    with socket.socket(socket.AF_UNIX) as link:
        for _attempt in range(1000):
            try:
                link.connect(str(path))
                break
            except OSError:
                time.sleep(0.01)
        with link.makefile("rw", encoding="utf-8") as stream:
            yield Client(stream, stream)


def conversation(client, image):
    client.execute("query-status")  # before the negotiation
    client.execute("qmp_capabilities")
    client.send('{"execute": nonsense}')
    client.send('"just text"')
    client.send('{"execute": "no-such-command", "id": [1, {"a": null}]}')
    client.execute("blockdev-add", driver="qcow2", node_name="disk",
                   file={"driver": "file", "filename": str(image)})
    client.execute("blockdev-add", driver="raw", node_name="disk", file="nothing")
    client.execute("device_add", driver="virtio-blk-pci", id="d0", drive="disk")
    client.execute("device_add", driver="virtio-blk-pci", id="d1", drive="disk")
    client.execute("human-monitor-command", command_line='qemu-io disk "read -q 0 512"')
    client.execute("query-status")
    client.execute("quit")
    client.lines.append(client.line())  # SHUTDOWN
    return client.lines


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    return path


def test_conversation_is_that_of_the_real_program(image, tmp_path):
    def over_stdio(command):
        with running(command) as process:
            lines = conversation(Client(process.stdout, process.stdin), image)
            return lines, process.wait(timeout=20)

    def over_socket(command, path):
        with running(command) as process, connected(path) as client:
            return conversation(client, image), process.wait(timeout=20)

    real = over_stdio([*REAL, "stdio"])
    assert len(real[0]) >= 14 and real[1] == 0
    assert over_stdio(OURS) == real
    assert over_socket([*OURS, "--socket", str(tmp_path / "ours")], tmp_path / "ours") == real
    assert not (tmp_path / "ours").exists()


def test_a_second_client_comes_after_the_first(image, tmp_path):
    path = tmp_path / "socket"
    with running([*OURS, "--socket", str(path)]) as process:
        with connected(path) as client:
            client.execute("qmp_capabilities")
            client.execute("blockdev-add", driver="qcow2", node_name="disk",
                           file={"driver": "file", "filename": str(image)})
        with connected(path) as client:
            client.execute("qmp_capabilities")
            [node] = [node for node in client.execute("query-named-block-nodes")["return"]
                      if node["node-name"] == "disk"]
            assert node["image"]["virtual-size"] == 1 << 20
        drawn = subprocess.run([sys.executable, "-P", "-m", "blockstep", "graph", "--socket",
                                str(path)], capture_output=True, text=True, check=True).stdout
        assert "disk" in drawn and "file: " in drawn
        process.terminate()
        assert process.wait(timeout=20) == 0
    assert not path.exists()


@pytest.mark.parametrize("end", ["end of input", signal.SIGINT, signal.SIGTERM])
def test_ends_when_told(image, end):
    with running(OURS) as process:
        client = Client(process.stdout, process.stdin)
        client.execute("qmp_capabilities")
        client.execute("blockdev-add", driver="qcow2", node_name="disk",
                       file={"driver": "file", "filename": str(image)})
        if end == "end of input":
            process.stdin.close()
        else:
            os.kill(process.pid, end)
            assert json.loads(client.line())["event"] == "SHUTDOWN"
        assert process.wait(timeout=20) == 0
    subprocess.run(["qemu-img", "check", "-q", image], check=True)  # and nobody holds its lock


@pytest.mark.parametrize("path, message", [
    ("/no/such/folder/socket", "No such file or directory"), ("x" * 200, "File name too long")])
def test_a_socket_that_cannot_be_is_one_line(path, message):
    done = subprocess.run([*OURS, "--socket", path], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
