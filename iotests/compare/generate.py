# SPDX-License-Identifier: Apache-2.0
"""Random QMP transcripts that go somewhere: each next command is drawn from what exists.

The generator keeps a picture of names only (nodes, devices, jobs), fed by what succeeded; whether a
command is legal is for the programs to say. New kinds join by a method `do_<what>` and a weight.
"""

import random

LETTERS = ["consistent-read", "write", "write-unchanged", "resize"]
IMAGES = ["base", "mid", "top", "t1", "t2", "src1"]
FILES = ["o1", "o2"]


class Generator:
    """Draws commands; tell it what became of each with learn()."""

    WEIGHTS = {"add_node": 6, "add_filter": 6, "add_device": 6, "del_device": 3, "del_node": 4,
               "mirror": 3, "commit": 2, "job_verb": 5, "resize": 2, "snapshot": 2, "reopen": 3,
               "qemu_io": 2}

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.nodes = {}           # name -> options it was opened with
        self.devices = []
        self.jobs = []
        self.counter = 0

    def prologue(self):
        """Commands every transcript starts with."""
        return [{"execute": "device_add", "arguments": {"driver": "virtio-scsi-pci", "id": "s0"}}]

    def draw(self):
        """The next command."""
        while True:
            kind = self.random.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
            command = getattr(self, "do_" + kind)()
            if command:
                return {"execute": command[0], "arguments": command[1]}

    def learn(self, step):
        """Takes note of a played step."""
        arguments = step.command.get("arguments", {})
        name = step.command["execute"]
        for event in step.events:
            data = event.get("data", {})
            if event["event"] == "DEVICE_DELETED" and data.get("device") in self.devices:
                self.devices.remove(data["device"])
            if event["event"] == "JOB_STATUS_CHANGE" and data["status"] == "null" \
                    and data["id"] in self.jobs:
                self.jobs.remove(data["id"])
        if "error" in step.reply:
            return
        if name == "blockdev-add":
            self._opened(arguments)
        elif name == "blockdev-del":
            self.nodes.pop(arguments["node-name"], None)
        elif name == "device_add":
            self.devices.append(arguments["id"])
        elif name in ("blockdev-mirror", "block-commit"):
            if not any(event["event"] == "JOB_STATUS_CHANGE" and
                       event["data"]["status"] == "null" for event in step.events):
                self.jobs.append(arguments["job-id"])
            if "filter-node-name" in arguments:
                self.nodes[arguments["filter-node-name"]] = None

    def _opened(self, options):
        self.nodes[options["node-name"]] = options
        for value in options.values():
            if isinstance(value, dict) and "node-name" in value:
                self._opened(value)

    # ---- what can be done ---------------------------------------------------------------------

    def _name(self, prefix):
        self.counter += 1
        return f"{prefix}{self.counter}"

    def _node(self):
        known = list(self.nodes)
        return self.random.choice(known) if known and self.random.random() < 0.97 else "nosuch"

    def _flags(self, options):
        if self.random.random() < 0.3:
            options["read-only"] = True
            if self.random.random() < 0.2:
                options["force-share"] = True
        elif self.random.random() < 0.03:
            options["force-share"] = True
        return options

    def do_add_node(self):
        image = self.random.choice(IMAGES)
        name = self._name("n")
        file_options = {"driver": "file", "filename": f"{image}.qcow2"}
        if self.random.random() < 0.7:
            file_options["node-name"] = name + "f"
        if self.random.random() < 0.1:
            file_options["locking"] = "off"
        draw = self.random.random()
        if draw < 0.1:
            return "blockdev-add", self._flags({**file_options, "node-name": name})
        if draw < 0.2:
            return "blockdev-add", self._flags({"driver": "null-co", "node-name": name,
                                                "size": 1 << 20, "read-zeroes": True})
        options = {"driver": "qcow2", "node-name": name}
        options["file"] = file_options if self.random.random() < 0.8 else self._node()
        if self.random.random() < 0.6:
            options["backing"] = self._node() if self.random.random() < 0.7 else None
        return "blockdev-add", self._flags(options)

    def do_add_filter(self):
        driver = self.random.choice(["raw", "copy-on-read", "blkdebug", "raw"])
        options = {"driver": driver, "node-name": self._name("x")}
        options["image" if driver == "blkdebug" else "file"] = self._node()
        if driver == "blkdebug":
            for key in ("take-child-perms", "unshare-child-perms"):
                if self.random.random() < 0.5:
                    options[key] = [p for p in LETTERS if self.random.random() < 0.3]
        elif driver == "copy-on-read" and self.random.random() < 0.3:
            options["bottom"] = self._node()
        elif driver == "raw" and self.random.random() < 0.2:
            options["offset"] = 512
        return "blockdev-add", self._flags(options)

    def do_add_device(self):
        driver = self.random.choice(["scsi-hd", "scsi-cd", "virtio-blk-pci"])
        arguments = {"driver": driver, "id": self._name("d"), "drive": self._node()}
        if driver.startswith("scsi"):
            arguments["bus"] = "s0.0"
        if self.random.random() < 0.4:
            arguments["share-rw"] = True
        return "device_add", arguments

    def do_del_device(self):
        if self.devices:
            return "device_del", {"id": self.random.choice(self.devices)}
        return None

    def do_del_node(self):
        return "blockdev-del", {"node-name": self._node()}

    def do_mirror(self):
        arguments = {"job-id": self._name("j"), "device": self._node(), "target": self._node(),
                     "sync": self.random.choice(["full", "top", "none"])}
        if self.random.random() < 0.4:
            arguments["filter-node-name"] = self._name("mt")
        if self.random.random() < 0.2:
            arguments["copy-mode"] = "write-blocking"
        if self.random.random() < 0.1:
            arguments["replaces"] = self._node()
        return "blockdev-mirror", arguments

    def do_commit(self):
        arguments = {"job-id": self._name("j"), "device": self._node()}
        if self.random.random() < 0.6:
            arguments["base-node"] = self._node()
        if self.random.random() < 0.5:
            arguments["top-node"] = self._node()
        if self.random.random() < 0.5:
            arguments["auto-finalize"] = False
        if self.random.random() < 0.4:
            arguments["filter-node-name"] = self._name("ct")
        return "block-commit", arguments

    def do_job_verb(self):
        if not self.jobs:
            return None
        verb = self.random.choice(["job-cancel", "job-complete", "job-pause", "job-resume",
                                   "job-finalize", "job-dismiss", "block-job-cancel"])
        job = self.random.choice(self.jobs)
        return verb, {"device" if verb.startswith("block-") else "id": job}

    def do_resize(self):
        return "block_resize", {"node-name": self._node(),
                                "size": self.random.choice([1 << 20, 2 << 20, 65536])}

    def do_snapshot(self):
        return "blockdev-snapshot", {"node": self._node(), "overlay": self._node()}

    def do_reopen(self):
        name = self._node()
        options = dict(self.nodes.get(name) or {"driver": "qcow2", "node-name": name})
        for key, value in options.items():
            if isinstance(value, dict) and "node-name" in value:
                options[key] = value["node-name"]
        draw = self.random.random()
        if draw < 0.5:
            options["read-only"] = self.random.random() < 0.5
        elif draw < 0.8 and options.get("driver") == "qcow2":
            options["backing"] = self._node() if self.random.random() < 0.7 else None
        elif "file" in options:
            options["file"] = self._node()
        return "blockdev-reopen", {"options": [options]}

    def do_qemu_io(self):
        command = self.random.choice(["write -P 7 0 64k", "read 0 64k", "discard 0 64k", "flush"])
        return "human-monitor-command", {"command-line": f'qemu-io {self._node()} "{command}"'}
