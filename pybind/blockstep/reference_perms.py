# SPDX-License-Identifier: Apache-2.0
"""What a permission update costs the real program: the rows beside those of our "perms" benches."""
import json
import os
import pathlib
import subprocess

PROGRAM = ["qemu-system-x86_64", "-nodefaults", "-machine", "none", "-S", "-display", "none",
           "-qmp", "stdio"]
DEPTHS = (30, 100, 300)
TIMES = 100


class Monitor:
    """A QMP session with the real program."""

    def __init__(self):
        self.process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.process.stdout.readline()
        self.execute("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def execute(self, command, arguments=None):
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments or {}})
                                 + "\n")
        self.process.stdin.flush()
        while True:
            reply = json.loads(self.process.stdout.readline())
            if "error" in reply:
                raise RuntimeError(f"{command}: {reply['error']['desc']}")
            if "return" in reply:
                return

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")")[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def one_more_filter(depth: int) -> float:
    """CPU seconds of a node put on top of a chain of raw nodes and taken away again."""
    with Monitor() as monitor:
        monitor.execute("blockdev-add", {"driver": "null-co", "node-name": "n0"})
        for i in range(1, depth + 1):
            monitor.execute("blockdev-add", {"driver": "raw", "node-name": f"n{i}",
                                             "file": f"n{i - 1}"})
        before = monitor.cpu_seconds()
        for _ in range(TIMES):
            monitor.execute("blockdev-add", {"driver": "raw", "node-name": "x",
                                             "file": f"n{depth}"})
            monitor.execute("blockdev-del", {"node-name": "x"})
        return (monitor.cpu_seconds() - before) / TIMES


def rows(name: str) -> list[dict]:
    names = {depth: f"qemu perms chain of {depth}, one more filter" for depth in DEPTHS}
    return [{"name": names[depth], "value": one_more_filter(depth) * 1e6, "unit": "us"}
            for depth in DEPTHS if name in names[depth]]
