# SPDX-License-Identifier: Apache-2.0
"""Side by side with the real program.

Holds:   transcripts that were drawn at random lead to the same replies, events and permission
         graphs; a difference is found, shortened and told; what is known is explained, and nothing
         else is.
Method:  15 transcripts of 40 commands, kept in transcripts/ so that they stay as they are when
         more can be drawn; transcripts of one rule each in cases/, written by hand, that differ
         nowhere, known or not; a program that answers one text differently stands for one with a
         bug.
"""
import pathlib
import re
import subprocess
import sys

import pytest

from blockstep.commands import program_path
from iotests.compare import known, run as compare
from iotests.compare.play import Step
from iotests.compare.program import REAL

HERE = pathlib.Path(__file__).parent
TRANSCRIPTS = sorted((HERE / "transcripts").glob("*.qmp"))
CASES = sorted((HERE / "cases").glob("*.qmp"))


@pytest.fixture(scope="module")
def comparison():
    with compare.Comparison([str(program_path("qmp"))]) as made:
        yield made


def told(comparison, played):
    """What a person needs to look into a difference."""
    shortest = comparison.shrink(played)
    return ("differs from the real program; shortest transcript (./blockstep compare FILE):\n"
            f"{compare.to_lines(shortest.commands)}{shortest.difference.text()}")


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=[path.stem for path in TRANSCRIPTS])
def test_transcript_is_the_same(comparison, path):
    played = comparison.play(compare.from_lines(path.read_text(), path.name))
    assert not played.unexplained, told(comparison, played)
    assert len(played.commands) == 40


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_rule_is_the_same(comparison, path):
    """Transcripts with === between them; some end both programs, in the same words."""
    for part in path.read_text().split("===\n"):
        commands = compare.from_lines(part, path.name)
        played = comparison.play(commands)
        assert played.difference is None, told(comparison, played)
        assert played.commands == commands


def test_a_seed_draws_the_same_commands(comparison):
    drawn = [comparison.play_random(3, 12).commands for _ in range(2)]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 12


def with_other_words(directory, words, others):
    """A program that is the real one but for some words."""
    path = directory / "other.py"
    path.write_text(
        "import subprocess, sys\n"
        f"real = subprocess.Popen({REAL!r}, stdin=0, stdout=subprocess.PIPE)\n"
        "for line in real.stdout:\n"
        f"    sys.stdout.buffer.write(line.replace({words!r}, {others!r}))\n"
        "    sys.stdout.buffer.flush()\n")
    return [sys.executable, str(path)]


def test_a_difference_is_found_shortened_and_told(tmp_path):
    other = with_other_words(tmp_path, b"Cannot find device", b"No device")
    with compare.Comparison(other) as comparison:
        commands = [{"execute": "query-status"},
                    {"execute": "blockdev-add", "arguments": {
                        "driver": "null-co", "node-name": "n", "size": 512}},
                    {"execute": "blockdev-del", "arguments": {"node-name": "n"}},
                    {"execute": "block_resize", "arguments": {"node-name": "n", "size": 512}},
                    {"execute": "query-status"}]
        played = comparison.play(commands)
        assert played.unexplained and played.difference.index == 3
        shortest = comparison.shrink(played)
        assert shortest.commands == [commands[3]]
        assert "ours: " in shortest.difference.text() and "No device" in told(comparison, played)


def step(reply, command="job-cancel"):
    return Step({"execute": command}, reply, [], [])


def test_a_known_difference_fits_in_all_its_parts():
    entry = known.Known("a bug", "job-(cancel|complete)", '"return"', '"died": ".*block.c', "why",
                        ())
    ours, real = step({"return": {}}), step({"died": "qemu: block.c:1: assertion"})
    assert known.explanation(compare.Difference(0, ours, real), [entry]) is entry
    for other in (compare.Difference(0, step({"error": {}}), real),
                  compare.Difference(0, ours, step({"died": "out of memory"})),
                  compare.Difference(0, step({"return": {}}, "job-pause"), real)):
        assert known.explanation(other, [entry]) is None


def test_a_known_difference_may_need_what_came_before():
    entry = known.Known("a bug", "quit", '"return"', '"died"', "why", (),
                        before='"stop".*\n.*"quit"')
    difference = compare.Difference(1, step({"return": {}}, "quit"), step({"died": ""}, "quit"))
    stop, leave = {"execute": "stop"}, {"execute": "quit"}
    assert known.explanation(difference, [entry], [stop, leave]) is entry
    assert known.explanation(difference, [entry], [leave]) is None


def test_every_known_difference_shows_itself(comparison):
    pages = (HERE.parents[1] / "docs/reference_bugs.md").read_text()
    for entry in comparison.entries:
        played = comparison.play(compare.from_lines("\n".join(entry.transcript), entry.name))
        assert played.known is entry, f"{entry.name}: not shown by its transcript"
        assert f"## {entry.name}\n" in pages
        assert entry.reason


def compared(path):
    """The command's exit status and all it says; a scenario wants a process of its own."""
    done = subprocess.run([sys.executable, "-P", "-m", "blockstep", "compare", str(path)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def test_a_scenario_gives_both_programs_the_same_commands():
    scenario = HERE.parents[1] / "scenarios/unplug_under_load.py"
    status, said = compared(scenario)
    assert status == 0, said
    counts = re.findall(r"^(\d+) commands: no difference$", said, re.MULTILINE)
    assert counts and all(int(count) > 1 for count in counts)


def test_a_scenario_that_does_not_pass_is_no_transcript(tmp_path):
    path = tmp_path / "failing.py"
    path.write_text("from blockstep import scenario\n\n\n@scenario\nasync def main(world):\n"
                    "    await world.vm().qmp('query-status')\n    assert False, 'on purpose'\n")
    status, said = compared(path)
    assert status == 2 and "does not pass" in said and "on purpose" in said


def test_what_differs_without_refused_commands_too_is_not_known(tmp_path):
    other = with_other_words(tmp_path, b"unshared by node 'b'", b"unshared by node 'a'")
    entry = next(entry for entry in known.load() if entry.without_refused)
    commands = compare.from_lines("\n".join(entry.transcript))
    refused = {"execute": "blockdev-del", "arguments": {"node-name": "none"}}
    commands = [command for command in commands if command["execute"] != "blockdev-reopen"]
    with compare.Comparison(other) as comparison:
        for before in ([], [refused]):
            played = comparison.play(before + commands)
            assert played.difference is not None and played.known is None


def test_a_transcript_that_is_none_is_refused_by_line():
    with pytest.raises(ValueError, match="x:2: not JSON"):
        compare.from_lines('{"execute": "stop"}\n{"execute"', "x")
    with pytest.raises(ValueError, match='x:3: not a QMP command: needs "execute"'):
        compare.from_lines("# nothing\n\n[]", "x")
