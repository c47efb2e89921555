# SPDX-License-Identifier: Apache-2.0
"""What recipes are written in: a program to give commands to, and short names for what they need.

A recipe is a function of a Player. It says what must be accepted (ok, file, qcow2, disk ...) and
what must be refused, with which words (refused). Parties of a conflict are written as in the fact
sheet: `N:q0@file` a node, `B:D@root` a block device, `B:@root` an unnamed one, `J:commit/c0@base` a
job.
"""
import contextlib
import re
import subprocess

from iotests.compare import graph

CYCLE = "Making '{}' a {} child of '{}' would create a cycle"
READ_ONLY = "Block node is read-only"
FORCE_SHARE = "force-share=on can only be used with read-only images"
NO_WRITERS = "Read-only block node '{}' cannot support read-write users"
ALIGNMENT = ("Cannot get 'write' permission without 'resize': Image size is not a multiple of "
             "request alignment")
NOT_ROOT = "Need a root block node"
BUSY = "Node '{}' is busy: {}"
BY_JOB = "block device is in use by block job: {}"
BACKING = "node is used as backing hd of '{}'"
HBA = "lsi53c895a"  # one whose disks do not ask whether a node may be used by dataplane


def lock(permission, shared=False):
    return f'Failed to get {"shared " if shared else ""}"{permission}" lock'


def same(seen, expected, what=""):
    assert seen == expected, f"{what}\n  seen:     {seen}\n  expected: {expected}"


class Player:
    """Gives a program commands and holds its answers against the recipe."""

    def __init__(self, program, directory, devices, start=None):
        self.program, self.directory = program, directory
        self.devices = devices  # registered device kinds that recipes may choose from
        self._start = start     # makes another program in the same directory
        self._described = {}    # device id -> as messages name it
        self._buses = 0

    # ---- commands ------------------------------------------------------------------------------

    def ok(self, command, arguments=None):
        reply = self.program.execute(command, arguments)
        assert "error" not in reply, f"{command} {arguments}: {reply['error']['desc']}"
        return reply["return"]

    def refused(self, text, command, arguments=None):
        reply = self.program.execute(command, arguments)
        assert "error" in reply, f"{command} {arguments} was accepted, not refused with: {text}"
        desc = re.sub(r"#block\d+", "#blk", reply["error"]["desc"])
        same(desc, text, f"{command} {arguments}")
        same(reply["error"]["class"], "GenericError", command)

    def refused_as(self, error_class, command, arguments=None):
        same(self.program.execute(command, arguments)["error"]["class"], error_class, command)

    def hmp(self, line):
        return self.ok("human-monitor-command", {"command-line": line}).strip()

    def conflict(self, node, permissions, requires, unshares):
        def party(text):
            who, edge = text.rsplit("@", 1)
            kind, name = who.split(":", 1)
            if kind == "B":
                name = self._described.get(name, name)
                who = f"block device '{name}'" if name else "an unnamed block device"
            elif kind == "J":
                kind, job = name.split("/")
                who = f"{kind} job '{job}'"
            else:
                who = f"node '{name}'"
            return f"{who} (uses node '{node}' as '{edge}' child)"
        return (f"Permission conflict on node '{node}': permissions '{permissions}' are both "
                f"required by {party(requires)} and unshared by {party(unshares)}.")

    # ---- nodes ---------------------------------------------------------------------------------

    def add(self, driver, name, refused=None, **options):
        arguments = {"driver": driver, "node-name": name, **plain(options)}
        if refused is None:
            self.ok("blockdev-add", arguments)
        else:
            self.refused(refused, "blockdev-add", arguments)
        return arguments

    def file(self, name, image=None, **options):
        return self.add("file", name, filename=image or f"{name.removesuffix('f')}.qcow2",
                        **options)

    def qcow2(self, name, file=None, **options):
        return self.add("qcow2", name, file=file or f"{name}f", **options)

    def chain(self, names, writable=()):
        """Images each over the one before; all but the last read-only; files read-write."""
        below = None
        for name in names:
            last = name == names[-1]
            self.file(name + "f")
            self.qcow2(name, backing=below, read_only=not last and name not in writable)
            below = name

    def reopen(self, *entries, refused=None):
        arguments = {"options": [plain(entry) for entry in entries]}
        if refused is None:
            self.ok("blockdev-reopen", arguments)
        else:
            self.refused(refused, "blockdev-reopen", arguments)

    def resize(self, node, refused=None, size=8 << 20):
        arguments = {"node-name": node, "size": size}
        if refused is None:
            self.ok("block_resize", arguments)
        else:
            self.refused(refused, "block_resize", arguments)

    def edge(self, start):
        """What the edge `parent --name--> child` uses and shares."""
        found = [line.removeprefix(start + " ") for line in graph.edges(self.program)
                 if line.startswith(start + " ")]
        assert len(found) == 1, f"{start}: {graph.edges(self.program)}"
        return found[0]

    def graph(self):
        return graph.edges(self.program)

    def described(self, edge):
        """An edge of a device as the program names that device."""
        return re.sub(r"^BB:(\w+) ", lambda match: "BB:" + self._described.get(
            match[1], match[1]) + " ", edge)

    # ---- devices -------------------------------------------------------------------------------

    def device(self, kind, id, refused=None, **properties):
        arguments = {"driver": kind, **plain(properties)}
        if id is not None:
            arguments["id"] = id
            described = {"virtio-blk-pci": f"/machine/peripheral/{id}/virtio-backend"}
            self._described[id] = described.get(kind, id)
        if refused is None:
            self.ok("device_add", arguments)
        else:
            self.refused(refused() if callable(refused) else refused, "device_add", arguments)

    def hba(self, kind):
        self._buses += 1
        self.device(kind, f"hba{self._buses}")
        return f"hba{self._buses}.0"

    def _disk(self, scsi, id, node, refused, properties):
        # A disk behind an HBA that is not virtio's; where there is none, a virtio disk (without
        # iothread) wants and shares the same and asks no op blocker either.
        if HBA in self.devices:
            properties["bus"] = self.hba(HBA)
            self.device(scsi, id, refused, drive=node, **properties)
        elif scsi == "scsi-hd":
            self.device("virtio-blk-pci", id, refused, drive=node, **properties)
        else:
            properties["bus"] = self.hba("virtio-scsi-pci")
            self.device(scsi, id, refused, drive=node, **properties)

    def disk(self, id, node, refused=None, **properties):
        self._disk("scsi-hd", id, node, refused, properties)

    def cd(self, id, node, refused=None, **properties):
        self._disk("scsi-cd", id, node, refused, properties)

    # ---- exports and jobs ----------------------------------------------------------------------

    def nbd_server(self):
        self.ok("nbd-server-start", {"addr": {"type": "unix", "data": {
            "path": f"{self.directory}/nbd.sock"}}})

    def export(self, node, writable=False, refused=None, id=None):
        arguments = {"type": "nbd", "id": id or f"e{node}{int(writable)}", "node-name": node,
                     "writable": writable}
        if refused is None:
            self.ok("block-export-add", arguments)
        else:
            self.refused(refused, "block-export-add", arguments)

    def job(self, command, id, refused=None, until="running", **arguments):
        """Starts a job that goes on for long, or waits for the status asked for."""
        arguments = {"job-id": id, "speed": 1, "auto-finalize": False, "auto-dismiss": False,
                     **plain(arguments)}
        if until == "ready":
            arguments["speed"] = 0
        if refused is not None:
            if arguments["auto-finalize"] is False:
                self.refused(refused, command, arguments)
            return
        self.ok(command, arguments)
        self.status(id, until)

    def stream(self, id, device, **arguments):
        self.job("block-stream", id, device=device, **arguments)

    def commit(self, id, device, **arguments):
        self.job("block-commit", id, device=device, **arguments)

    def mirror(self, id, device, target, sync="full", **arguments):
        self.job("blockdev-mirror", id, device=device, target=target, sync=sync, **arguments)

    def backup(self, id, device, target, sync="full", **arguments):
        self.job("blockdev-backup", id, device=device, target=target, sync=sync, **arguments)

    def status(self, id, wanted):
        """Waits until the job is in this status."""
        event = self.program.wait_event(
            lambda event: event["event"] == "JOB_STATUS_CHANGE" and event["data"]["id"] == id
            and event["data"]["status"] in (wanted, "concluded"))
        seen = [event for event in self.ok("query-jobs") if event["id"] == id]
        assert event["data"]["status"] == wanted, seen

    def concluded_with(self, id, error):
        """The job has ended with this error."""
        self.program.wait_event(
            lambda event: event["event"] == "JOB_STATUS_CHANGE"
            and event["data"] == {"id": id, "status": "concluded"})
        job, = [job for job in self.ok("query-jobs") if job["id"] == id]
        assert re.sub(r"#block\d+", "#blk", job.get("error", "")) == error

    # ---- other processes -----------------------------------------------------------------------

    def other_machine(self):
        return Player(self._start(), self.directory, self.devices)

    @contextlib.contextmanager
    def opened_elsewhere(self, image):
        """Another process has the image open read-write."""
        with subprocess.Popen(["qemu-io", "-f", "qcow2", image], cwd=self.directory, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write("read 0 512\n")
            process.stdin.flush()
            process.stdout.readline()
            yield
            process.stdin.close()

    def refused_at_start(self, text, *arguments):
        """Started with these arguments the program ends at once, saying this."""
        self.shell(*self.program.argv, *arguments, refused=text)

    def shell(self, *command, refused=None):
        """A tool of another process on the same files: succeeds, or says this."""
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True,
                              check=False)
        if refused is None:
            assert done.returncode == 0, f"{command}: {done.stderr}"
        else:
            assert done.returncode != 0, f"{command} succeeded"
            assert refused in done.stderr, f"{command}: {done.stderr}"


def plain(options):
    """Names with - for _."""
    return {key.replace("_", "-"): value for key, value in options.items()}


class Table:
    """The recipes of one section of the fact sheet, by number."""

    def __init__(self):
        self.recipes = {}

    def __call__(self, number, *needs):
        """Registers a recipe. needs: mechanisms besides what every recipe uses: "driver:quorum",
        "device:ide-hd", "command:block-stream", "hmp:commit", "option:-drive",
        "format:data-file"."""
        def register(function):
            assert number not in self.recipes, f"R{number} is there twice"
            self.recipes[number] = (function, needs)
            return function
        return register
