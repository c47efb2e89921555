# SPDX-License-Identifier: Apache-2.0
"""Side by side: one transcript on two programs, and the first step in which they differ."""

import functools
import json
import os
import tempfile
from dataclasses import dataclass, field

from iotests.compare import known as known_differences
from iotests.compare.generate import Generator
from iotests.compare.play import Player, Step
from iotests.compare.program import REAL, Program
from iotests.compare.schema import read_schema
from iotests.matrix.roles import fresh_copy, make_images


@dataclass
class Difference:
    """The first step that two programs saw differently."""
    index: int
    mine: Step
    theirs: Step

    def text(self):
        lines = [f"step {self.index + 1}: {json.dumps(self.mine.command)}"]
        for what in ("reply", "events"):
            lines += [f"  {what}{line}"
                      for line in places(getattr(self.mine, what), getattr(self.theirs, what))]
        mine, theirs = self.mine.edges, self.theirs.edges
        lines += [f"  edge of ours only: {edge}" for edge in mine if edge not in theirs]
        lines += [f"  edge of the real only: {edge}" for edge in theirs if edge not in mine]
        if sorted(mine) == sorted(theirs) and mine != theirs:
            lines += [f"  order of edges, ours: {mine}", f"  order of edges, real: {theirs}"]
        return "\n".join(lines)


def places(mine, theirs, path=""):
    """Where two values differ, a line each."""
    if type(mine) is type(theirs) and isinstance(mine, (dict, list)):
        if isinstance(mine, list) and len(mine) == len(theirs):
            return [line for index, (a, b) in enumerate(zip(mine, theirs))
                    for line in places(a, b, f"{path}[{index}]")]
        if isinstance(mine, dict) and list(mine) == list(theirs):
            return [line for key in mine for line in places(mine[key], theirs[key],
                                                            f"{path}.{key}")]
    if json.dumps(mine) == json.dumps(theirs):
        return []
    return [f"{path} ours: {json.dumps(mine)}", f"{path} real: {json.dumps(theirs)}"]


@dataclass
class Played:
    """A transcript that was played, and where it came to differ, if it did."""
    commands: list
    difference: Difference | None = None
    known: known_differences.Known | None = None  # what explains the difference
    succeeded: int = 0                # commands that the real program accepted
    kinds: set = field(default_factory=set)  # names of commands, drivers and devices among them
    death: str = ""                   # what both programs said when they ended, if they did

    @property
    def unexplained(self):
        return self.difference is not None and self.known is None


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


class Comparison:
    """Two programs, the images they start with, and the differences that are known."""

    def __init__(self, ours, real=REAL):
        self.ours, self.real = ours, real
        self._images = tempfile.TemporaryDirectory()
        make_images(self._images.name)
        self.entries = known_differences.load()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._images.cleanup()

    @functools.cached_property
    def schema(self):
        return read_schema(self.ours, self.real)

    @property
    def images(self):
        return self._images.name

    def play(self, commands, images=None):
        """Plays a transcript on both, up to the first difference."""
        commands = list(commands)
        return self._play(lambda step: commands[step] if step < len(commands) else None,
                          lambda step: None, images)

    def play_random(self, seed, length):
        """Draws a transcript while playing it, fed by what succeeded."""
        generator = Generator(seed, self.schema)
        prologue = generator.prologue()

        def draw(step):
            if step >= length:
                return None
            return prologue[step] if step < len(prologue) else generator.draw()
        return self._play(draw, generator.learn)

    def _explanation(self, difference, commands, refused, images):
        """What explains a difference in the last of the commands; refused: positions in them."""
        known = known_differences.explanation(difference, self.entries, commands)
        if known is None or not known.without_refused:
            return known
        others = [command for at, command in enumerate(commands) if at not in refused]
        return known if refused and self.play(others, images).difference is None else None

    def _play(self, next_command, learn, images=None):
        played, refused = Played([]), set()
        with Pair(self.ours, self.real, images or self.images) as pair:
            while (command := next_command(len(played.commands))) is not None:
                played.commands.append(command)
                mine, theirs = pair.play(command)
                if mine.seen() != theirs.seen():
                    played.difference = Difference(len(played.commands) - 1, mine, theirs)
                    played.known = self._explanation(played.difference, played.commands, refused,
                                                     images)
                    break
                if theirs.died:
                    played.death = theirs.reply["died"]
                    break
                if "return" in theirs.reply:
                    played.succeeded += 1
                    played.kinds |= kinds_of(command)
                else:
                    refused.add(len(played.commands) - 1)
                learn(theirs)
        return played

    def shrink(self, played):
        """The shortest transcript found that still differs: drops ever smaller pieces."""
        best = played
        piece = max(1, len(best.commands) // 2)
        while True:
            start, dropped = 0, False
            while start < len(best.commands):
                shorter = best.commands[:start] + best.commands[start + piece:]
                again = self.play(shorter) if shorter else played
                if shorter and again.unexplained:
                    best, dropped = again, True
                else:
                    start += piece
            if piece == 1 and not dropped:
                return best
            piece = max(1, piece // 2)


def kinds_of(command):
    """What a command is about: its name, and the drivers and devices it names."""
    found = {command["execute"]}

    def look(value):
        if isinstance(value, dict):
            if isinstance(value.get("driver"), str):
                found.add(value["driver"])
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)
    look(command.get("arguments", {}))
    return found


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
