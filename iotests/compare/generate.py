# SPDX-License-Identifier: Apache-2.0
"""Random QMP transcripts that go somewhere: each next command is drawn from what exists.

The generator keeps a picture of names only (nodes, devices, jobs, ...), fed by what succeeded;
whether a command is legal is for the programs to say. What it can draw is what the schema of our
program has: common things by a recipe (vocabulary.py), everything else from its description in the
schema. So what registers is drawn from then on.
"""

import random

from iotests.compare import vocabulary

IMAGES = ["base", "mid", "top", "t1", "t2", "src1"]

# What is never drawn: it ends the program, lets the firmware run, or is not about block devices.
NOT_DRAWN = {"quit", "cont", "stop", "qmp_capabilities", "query-qmp-schema", "system_powerdown",
             "query-version", "query-commands", "query-events", "human-monitor-command",
             "query-blockstats", "query-iothreads", "query-pci", "device-list-properties",
             "qom-list-properties", "qom-list-types", "qom-list", "qom-get", "qom-set",
             "x-debug-query-block-graph"}


# Members that are never drawn: images of ours do not keep bitmaps yet.
MEMBERS_NOT_DRAWN = {"persistent"}


class Picture:
    """The names that exist, as far as replies and events told."""

    def __init__(self):
        self.nodes = {}      # name -> the options it was opened with, None if a job made it
        self.devices = {}    # id -> driver
        self.leaving = set()  # ids of devices that were asked to go
        self.jobs = []
        self.exports = []
        self.bitmaps = []    # (node, name)
        self.objects = {}    # id -> type
        self.edges = []      # (parent, child), as the graph showed them last

    def learn(self, command, reply, events, edges=()):
        """Takes note of a played step."""
        self.edges = [(edge.split(" --")[0], edge.split("--> ")[1].split()[0]) for edge in edges]
        arguments = command.get("arguments", {})
        name = command["execute"]
        if "return" in reply:
            learner = getattr(self, "_learn_" + name.replace("-", "_"), None)
            if learner:
                learner(arguments)
            if "job-id" in arguments:
                self.jobs.append(arguments["job-id"])
            for key in ("filter-node-name", "snapshot-node-name"):
                if key in arguments:
                    self.nodes[arguments[key]] = None
        for event in events:
            data = event.get("data", {})
            if event["event"] == "DEVICE_DELETED" and "device" in data:
                self.devices.pop(data["device"], None)
                self.leaving.discard(data["device"])
            if event["event"] == "JOB_STATUS_CHANGE" and data["status"] == "null":
                self.jobs = [job for job in self.jobs if job != data["id"]]
            if event["event"] == "BLOCK_EXPORT_DELETED":
                self.exports = [export for export in self.exports if export != data["id"]]

    def seems_free(self, name):
        """Nothing is known that would keep a writer who shares little from the node."""
        if any(child == name for _, child in self.edges):
            return False
        below = [name]
        for node in below:  # grows while it is walked; nodes without a name all look the same
            below += sorted({child for parent, child in self.edges if parent == node} - set(below))
        users = [child for _, child in self.edges if child != "#block"]
        files = [file for options in self.nodes.values() for file in filenames(options)]
        return all(users.count(node) <= 1 and writable(self.nodes.get(node, {})) and
                   all(files.count(file) == 1 for file in filenames(self.nodes.get(node)))
                   for node in below)

    def _learn_blockdev_add(self, options):
        self.nodes[options["node-name"]] = options
        for value in options.values():
            if isinstance(value, dict) and "node-name" in value:
                self._learn_blockdev_add(value)

    def _learn_blockdev_del(self, arguments):
        self.nodes.pop(arguments["node-name"], None)

    def _learn_device_add(self, arguments):
        self.devices[arguments["id"]] = arguments["driver"]

    def _learn_device_del(self, arguments):
        self.leaving.add(arguments["id"])

    def _learn_block_export_add(self, arguments):
        self.exports.append(arguments["id"])

    def _learn_block_dirty_bitmap_add(self, arguments):
        self.bitmaps.append((arguments["node"], arguments["name"]))

    def _learn_block_dirty_bitmap_remove(self, arguments):
        gone = (arguments["node"], arguments["name"])
        self.bitmaps = [bitmap for bitmap in self.bitmaps if bitmap != gone]

    def _learn_object_add(self, arguments):
        self.objects[arguments["id"]] = arguments["qom-type"]

    def _learn_object_del(self, arguments):
        self.objects.pop(arguments["id"], None)


def writable(options):
    """Was the node not opened read-only, as far as its options say?"""
    return options is not None and not options.get("read-only")


def filenames(options):
    """Of the files that a node was opened with, those of its inline children that have no name."""
    options = options or {}
    found = [options["filename"]] if "filename" in options else []
    for value in options.values():
        if isinstance(value, dict) and "node-name" not in value:
            found += filenames(value)
    return found


class Generator:
    """Draws commands; tell it what became of each with learn()."""

    def __init__(self, seed, schema):
        self.random = random.Random(seed)
        self.schema = schema
        self.known = Picture()
        self.counter = 0
        self.recipes = [recipe for recipe in vocabulary.RECIPES
                        if all(schema.has(need) for need in recipe.needs)]
        recipes = {need for recipe in vocabulary.RECIPES for need in recipe.needs}
        self.plain = [command for command in sorted(schema.commands - NOT_DRAWN)
                      if command not in recipes or self.chance(0.3)]

    def prologue(self):
        """Commands every transcript starts with: buses to plug disks into."""
        return [{"execute": "device_add", "arguments": {"driver": driver, "id": name}}
                for driver, name in vocabulary.CONTROLLERS if self.schema.has(driver)]

    def draw(self):
        """The next command."""
        while True:
            if self.plain and self.random.random() < 0.08:
                return self.from_schema(self.random.choice(self.plain))
            recipe = self.random.choices(self.recipes,
                                         [recipe.weight for recipe in self.recipes])[0]
            command = recipe.draw(self)
            if command:
                return {"execute": command[0], "arguments": command[1]}

    def learn(self, step):
        self.known.learn(step.command, step.reply, step.events, step.edges)

    # ---- names --------------------------------------------------------------------------------

    def chance(self, share):
        return self.random.random() < share

    def name(self, prefix):
        self.counter += 1
        return f"{prefix}{self.counter}"

    def one_of(self, names, otherwise="nosuch", share=0.97):
        """One of the names that exist, now and then one that does not."""
        names = list(names)
        return self.random.choice(names) if names and self.chance(share) else otherwise

    def node(self):
        return self.one_of(self.known.nodes)

    def file(self):
        return self.random.choice(IMAGES) + ".qcow2"

    # ---- from the schema ----------------------------------------------------------------------

    def from_schema(self, command):
        """A command with arguments drawn from their types; what a string means, by its name."""
        arguments = self.value(self.schema.entry(command)["arg-type"], "", command)
        return {"execute": command, **({"arguments": arguments} if arguments else {})}

    def value(self, type_name, member, about, depth=0):
        entry = self.schema.entry(type_name)
        kind = entry["meta-type"]
        if kind == "builtin":
            return self._builtin(entry["json-type"], member, about)
        if kind == "enum":
            return self.random.choice(entry["values"])
        if kind == "array":
            return [self.value(entry["element-type"], member, about, depth + 1)
                    for _ in range(self.random.choice([0, 1, 1, 2]))]
        if kind == "alternate":
            branches = [branch["type"] for branch in entry["members"]]
            texts = [branch for branch in branches if branch == "str"]
            return self.value(self.random.choice(texts or branches), member, about, depth + 1)
        drawn = self._members(entry.get("members", []), about, depth)
        if entry.get("tag") in drawn:
            for variant in entry["variants"]:
                if variant["case"] == drawn[entry["tag"]]:
                    of_case = self.schema.entry(variant["type"])
                    drawn |= self._members(of_case.get("members", []), about, depth)
        return drawn

    def _members(self, members, about, depth):
        share = 0.3 if depth == 0 else 0.1
        return {member["name"]: self.value(member["type"], member["name"], about, depth + 1)
                for member in members
                if "default" not in member or self.chance(share)
                and not member["name"].startswith("x-")
                and member["name"] not in MEMBERS_NOT_DRAWN}

    def _builtin(self, json_type, member, about):
        if json_type == "boolean":
            return self.chance(0.5)
        if json_type in ("int", "number"):
            return self.random.choice([0, 1, 2, 512, 65536, 1 << 20, 2 << 20])
        if json_type == "null":
            return None
        known = self.known
        if member in ("job-id", "filter-node-name", "snapshot-node-name") or \
                (member == "node-name" and about == "blockdev-add"):
            return self.name("j" if member == "job-id" else "n")
        if member == "id" and "-add" in about:
            return self.name("i")
        if about.startswith(("job-", "block-job-")):
            return self.one_of(known.jobs)
        if about.startswith("block-export"):
            return self.one_of(known.exports)
        if about.startswith("object-"):
            return self.one_of(known.objects)
        if member == "id":
            return self.one_of(known.devices)
        if member in ("name", "bitmap"):
            return self.one_of((name for _, name in known.bitmaps), "b0", 0.7)
        if member in ("filename", "snapshot-file", "backing-file") or "path" in member:
            return self.file()
        return self.node()
