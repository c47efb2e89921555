# SPDX-License-Identifier: Apache-2.0
"""Holds:   the report of an explored failure shows the fault, the critical step and the machine's
         commands, as the run was.
Method:  a machine whose write meets an armed fault, explored, shrunk, captured and looked at in a
         headless Chromium.
"""
import pytest

from blockstep import report
from blockstep.explore.campaign import Campaign, Spec
from blockstep.report.capture import Replay
from browser import Browser

SCENARIO = """
async def main(world):
    vm = world.vm()
    world.store.put("disk", bytes(65536))
    await vm.qmp("blockdev-add", {"driver": "file", "node-name": "f", "filename": "disk"})
    world.store.arm("disk", ["error", "slow"])
    backend = vm.backend("f", use=("consistent-read", "write"))
    for number in world.operations(range(6)):
        await backend.write(number * 4096, b"x" * 4096)
        world.note(f"wrote {number}")
"""


@pytest.fixture(scope="module", name="explored")
def one_explored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored")
    path = folder / "some_scenario.py"
    path.write_text(SCENARIO)
    campaign = Campaign(Spec.of(str(path)))
    campaign.search(schedules=300)
    (finding,) = campaign.findings.values()
    record = campaign.record_of(finding)
    recording = Replay(campaign.spec.trial.scenario, record).recording("some.record")
    report.write(folder / "report", recording)
    return folder / "report", recording, finding


def test_the_recording_is_the_run(explored):
    _folder, recording, finding = explored
    assert recording.digest == finding.shrunk["digest"]
    assert [one.name for one in recording.commands] == ["blockdev-add"]
    assert [one.text for one in recording.faults] == ["disk: write fails"]
    assert len(recording.trace.steps) == finding.shrunk["events"]
    assert "again" in vars(recording) and recording.again == "./blockstep replay some.record"


def test_the_page_shows_fault_and_critical_step(explored):
    folder, _recording, _finding = explored
    critical = "the fault 'disk: write fails' strikes at its chance no. 1"
    with Browser() as browser:
        browser.open(folder / "report.html")
        assert {"faults", "critical step", "f"} <= set(browser.texts("#names .name"))
        assert browser.texts("#faults td.data").count("disk: write fails") >= 1
        assert critical in browser.texts("#faults td.data")
        assert browser.text("#outcome") == "failed"
        assert browser.errors == []
