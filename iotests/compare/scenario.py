# SPDX-License-Identifier: Apache-2.0
"""The management part of a scenario: the QMP commands it gives each of its virtual machines.

The scenario is run in its simulated world; what it asked for is written down, with the image files
as they were before the first command. That is a transcript, which both programs can play.
"""

import pathlib
from dataclasses import dataclass, field

from blockstep.scenario import ScenarioError, load_scenario, run_scenario
from blockstep.vm import VM


@dataclass
class Recorded:
    """What one virtual machine was asked to do; its files are in `images`."""
    images: pathlib.Path
    commands: list = field(default_factory=list)
    _drivers: dict = field(default_factory=dict)  # of devices, by id

    def add(self, command, arguments):
        if command in ("cont", "stop"):
            return  # there is no guest to run: firmware would, and reset the machine as it likes
        self.commands.append(
            {"execute": command, **({"arguments": arguments} if arguments else {})})
        if command == "device_add":
            self._drivers[arguments.get("id")] = arguments["driver"]
        if command == "device_del" and not \
                self._drivers.get(arguments["id"], "").startswith(("scsi", "usb")):
            # There is no guest to let go of it; a reset does that as well.
            self.commands.append({"execute": "system_reset"})


def record(path, directory, seed=0):
    """Runs the scenario; a Recorded for each of its virtual machines, in order of creation.

    directory: where their files go. Raises ScenarioError if there is no scenario in the file, or if
    it does not pass.
    """
    recorded = {}
    plain = VM.qmp

    def qmp(vm, command, arguments=None):
        if vm not in recorded:
            recorded[vm] = Recorded(pathlib.Path(directory) / str(len(recorded)))
            export(vm.store, recorded[vm].images)
        recorded[vm].add(command, arguments or {})
        return plain(vm, command, arguments)

    scenario = load_scenario(path)
    VM.qmp = qmp
    try:
        outcome = run_scenario(scenario, seed)
    finally:
        VM.qmp = plain
    if outcome.error:
        raise ScenarioError(f"{path} does not pass:\n{outcome.error}")
    return list(recorded.values())


def export(store, directory):
    """Every file of a store as a real one."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in store.list():
        target = directory / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        store.export_file(name, str(target))
