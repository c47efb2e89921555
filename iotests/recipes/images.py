# SPDX-License-Identifier: Apache-2.0
"""The image files recipes work on, made by the real tools once and copied for each recipe."""
import pathlib
import subprocess
import tempfile

MIB = 1 << 20


def make(directory):
    def run(*command):
        subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)

    def create(name, *options, size=4 * MIB):
        run("qemu-img", "create", "-q", "-f", *options, name, str(size))

    # A chain of four with data in each, far apart: jobs limited to 1 byte/s are under way long.
    below = []
    for number, name in enumerate("abcd"):
        create(f"{name}.qcow2", "qcow2", *below)
        below = ["-b", f"{name}.qcow2", "-F", "qcow2"]
        run("qemu-io", "-f", "qcow2", "-c", f"write -P {number + 1} {number * MIB} 128k",
            "-c", f"write -P {number + 1} {number * MIB + 640 * 1024} 128k", f"{name}.qcow2")
    for name in ("t", "t2", "o", "o2"):
        create(f"{name}.qcow2", "qcow2")
    for name in ("raw.img", "raw2.img", "raw3.img"):
        create(name, "raw", size=MIB)
    create("odd.img", "raw", size=1536)
    make_data_file(directory)


class Images:
    def __init__(self):
        self._directory = tempfile.TemporaryDirectory()
        make(self._directory.name)

    def paths(self):
        return sorted(pathlib.Path(self._directory.name).iterdir())

    def copy_to(self, directory):
        # Reflinks and sparse copies: most bytes of these files are holes.
        subprocess.run(["cp", "--sparse=always", "-r", f"{self._directory.name}/.", directory],
                       check=True)


def make_data_file(directory):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data.raw",
                    "dataimg.qcow2", str(MIB)], cwd=directory, check=True)


def make_luks(directory):
    """luks.img, for those who need it: it takes long, and fails when the machine is too busy for
    the tool to measure how fast it is."""
    for _ in range(50):
        done = subprocess.run(
            ["qemu-img", "create", "-q", "-f", "luks", "--object", "secret,id=s,data=secret", "-o",
             "key-secret=s,iter-time=10", "luks.img", str(MIB)], cwd=directory, check=False,
            capture_output=True)
        if done.returncode == 0:
            return
    raise RuntimeError(done.stderr.decode())
