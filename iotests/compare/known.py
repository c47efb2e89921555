# SPDX-License-Identifier: Apache-2.0
"""Known differences: the reference's own bugs, each with its reason, recognised where they show.

An entry of known_differences.json says in which command the programs differ, how each of them
answers and, where that is not enough, what the commands before made, as regular expressions; it
explains a difference that all of them fit. Nothing else does. Some bugs show only later, in an
answer that may be wrong in other ways as well: an entry `without_refused` explains a difference
only if it is gone when the commands before it that were refused are left out.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("known_differences.json")


@dataclass(frozen=True)
class Known:
    """name: of its section in docs/reference_bugs.md. ours, real: what each answers.

    before: searched in the commands up to this one, a line each.
    """
    name: str
    command: str
    ours: str
    real: str
    reason: str
    transcript: tuple  # the shortest one that shows it
    before: str = ""
    without_refused: bool = False

    def explains(self, command, ours, real, before):
        return (re.fullmatch(self.command, command) is not None and
                re.search(self.ours, ours) is not None and
                re.search(self.real, real) is not None and
                re.search(self.before, before) is not None)


def load():
    """All entries."""
    return [Known(**{**entry, "transcript": tuple(entry["transcript"])})
            for entry in json.loads(FILE.read_text())]


def explanation(difference, entries, commands=()):
    """The entry that explains a Difference after these commands, or None."""
    mine, theirs = difference.mine, difference.theirs
    return find(entries, mine.command["execute"],
                as_text([mine.reply, mine.events], mine.edges, theirs.edges),
                as_text([theirs.reply, theirs.events], theirs.edges, mine.edges),
                "\n".join(json.dumps(command) for command in commands))


def as_text(seen, edges, other_edges):
    """What an entry's expressions are searched in: an answer, and the edges only this one has."""
    return json.dumps([seen, [edge for edge in edges if edge not in other_edges]])


def find(entries, command, ours, real, before=""):
    """The entry that fits, or None."""
    return next((entry for entry in entries if entry.explains(command, ours, real, before)), None)
