# SPDX-License-Identifier: Apache-2.0
"""What a program says it can do: its commands, their arguments, drivers and devices."""

import tempfile

from iotests.compare.program import REAL, Program


class Schema:
    """query-qmp-schema, made easy to look things up in."""

    def __init__(self, entries, devices=None):
        self._entries = {entry["name"]: entry for entry in entries}
        self.devices = devices or {}  # name -> names of its properties
        self.commands = {name for name, entry in self._entries.items()
                         if entry["meta-type"] == "command"}
        self.events = {name for name, entry in self._entries.items()
                       if entry["meta-type"] == "event"}

    def entry(self, name):
        return self._entries[name]

    def members(self, command):
        """The argument members of a command, as the schema has them."""
        return self._entries[self._entries[command]["arg-type"]].get("members", [])

    def arguments(self, command):
        """The entry of a command's argument type."""
        return self._entries[self._entries[command]["arg-type"]]

    def variants(self, command):
        """Of a command whose arguments are a union: {tag value: members}."""
        return {variant["case"]: self._entries[variant["type"]].get("members", [])
                for variant in self.arguments(command).get("variants", [])}

    @property
    def drivers(self):
        return set(self.variants("blockdev-add")) if "blockdev-add" in self.commands else set()

    @property
    def actions(self):
        """What a transaction may hold: {type: members of its data}."""
        if "transaction" not in self.commands:
            return {}
        element = next(member for member in self.members("transaction")
                       if member["name"] == "actions")
        action = self._entries[self._entries[element["type"]]["element-type"]]
        found = {}
        for variant in action.get("variants", []):
            data = self._entries[variant["type"]].get("members", [])
            if data:
                found[variant["case"]] = self._entries[data[0]["type"]].get("members", [])
        return found

    @property
    def disks(self):
        """Devices that are plugged in with a node."""
        return {name for name, properties in self.devices.items() if "drive" in properties}

    def has(self, name):
        return name in self.commands or name in self.devices or name in self.drivers


def read_schema(ours, real=REAL):
    """The Schema of the program `ours`; of devices, it is asked for all that `real` lists."""
    with tempfile.TemporaryDirectory() as directory:
        program = Program(real, directory)
        try:
            listed = program.execute("qom-list-types", {"implements": "device"})["return"]
        finally:
            program.close()
        program = Program(ours, directory)
        try:
            devices = {}
            for entry in listed:
                known = program.execute("device-list-properties", {"typename": entry["name"]})
                if "return" in known:
                    devices[entry["name"]] = {item["name"] for item in known["return"]}
            return Schema(program.execute("query-qmp-schema")["return"], devices)
        finally:
            program.close()
