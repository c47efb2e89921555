# SPDX-License-Identifier: Apache-2.0
"""Side by side: one transcript on two programs, and the first step in which they differ."""

import json
import os
import tempfile
from dataclasses import dataclass

from iotests.compare.generate import Generator
from iotests.compare.play import Player, Step
from iotests.compare.program import Program
from iotests.matrix.roles import fresh_copy


@dataclass
class Difference:
    """The first step that two programs saw differently."""
    index: int
    mine: Step
    theirs: Step

    def text(self):
        lines = [f"step {self.index + 1}: {json.dumps(self.mine.command)}"]
        for what in ("reply", "events", "edges"):
            a, b = getattr(self.mine, what), getattr(self.theirs, what)
            if a != b:
                lines += [f"  {what}, ours: {json.dumps(a)}", f"  {what}, real: {json.dumps(b)}"]
        return "\n".join(lines)


class Pair:
    """Both programs, each in a directory with fresh copies of the images."""

    def __init__(self, ours, real, images):
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._directories = [tempfile.TemporaryDirectory(dir=shared) for _ in range(2)]
        self._players = []
        for argv, directory in zip((ours, real), self._directories):
            fresh_copy(images, directory.name)
            self._players.append(Player(Program(argv, directory.name), directory.name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for player in self._players:
            player.program.close()
        for directory in self._directories:
            directory.cleanup()

    def play(self, command):
        return tuple(player.play(command) for player in self._players)


def play(ours, real, images, commands):
    """Plays a transcript on both; the first Difference, or None."""
    with Pair(ours, real, images) as pair:
        for index, command in enumerate(commands):
            mine, theirs = pair.play(command)
            if mine.seen() != theirs.seen():
                return Difference(index, mine, theirs)
            if "died" in theirs.reply:
                return None
    return None


def play_random(ours, real, images, seed, length):
    """Draws and plays one transcript; (commands, Difference or None)."""
    generator = Generator(seed)
    commands = []
    with Pair(ours, real, images) as pair:
        pending = generator.prologue()
        while len(commands) < length:
            command = pending.pop(0) if pending else generator.draw()
            commands.append(command)
            mine, theirs = pair.play(command)
            if mine.seen() != theirs.seen():
                return commands, Difference(len(commands) - 1, mine, theirs)
            if "died" in theirs.reply:
                break
            generator.learn(theirs)
    return commands, None


def shrink(ours, real, images, commands):
    """The shortest transcript found that still differs: drops ever smaller pieces."""
    piece = len(commands) // 2
    while piece >= 1:
        start = 0
        while start < len(commands):
            shorter = commands[:start] + commands[start + piece:]
            if shorter and play(ours, real, images, shorter):
                commands = shorter
            else:
                start += piece
        piece //= 2
    return commands


def to_lines(commands):
    """A transcript as text: one QMP command a line."""
    return "".join(json.dumps(command) + "\n" for command in commands)


def from_lines(text, name="transcript"):
    """Parses to_lines(); blank lines and lines that start with # are passed over.

    Raises ValueError naming the line that is not a QMP command.
    """
    commands = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            command = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name}:{number}: not JSON: {error}") from None
        if not isinstance(command, dict) or not isinstance(command.get("execute"), str):
            raise ValueError(f'{name}:{number}: not a QMP command: needs "execute"')
        commands.append(command)
    return commands
