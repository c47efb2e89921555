# SPDX-License-Identifier: Apache-2.0
"""The matrix as one self-contained HTML page: a table per role, the reason in each refused cell."""

import json
import re
from collections import Counter
from pathlib import Path

TEMPLATE = Path(__file__).with_name("page.html")

# A word for each kind of refusal: what a cell shows until it is pointed at.
_WORDS = (
    (r"Permission conflict .* permissions '([^']*)'", None),
    (r"Block node is read-only|read-only", "ro"),
    (r"is busy|is in use|already in use", "busy"),
    (r"Need a root block node", "root"),
    (r"not in .* format", "format"),
    (r"lock", "lock"),
    (r"frozen|freeze|cannot change|Cannot change", "frozen"),
    (r"cycle|itself", "cycle"),
    (r"not found|Cannot find|Failed to find|No such", "none"),
)
_LETTERS = {"consistent read": "C", "write": "W", "write unchanged": "U", "resize": "R"}


def word(reason):
    """The short form of a refusal: the letters of the permissions in conflict, or a word."""
    for pattern, short in _WORDS:
        match = re.search(pattern, reason)
        if match and short is None:
            return "".join(_LETTERS.get(name, "?") for name in match[1].split(", "))
        if match:
            return short
    return "no"


def render(pairs):
    """HTML of all cells."""
    reasons, roles = {}, {}
    for pair in pairs:
        cell = pair.cell
        rows = roles.setdefault(cell.role, {})
        rows.setdefault(cell.first, {})[cell.second] = _entry(pair, reasons)
    counts = Counter(pair.cell.outcome for pair in pairs)
    data = {
        "reasons": [{"text": text, "word": word(text)} for text in reasons],
        "roles": [_role(name, rows) for name, rows in roles.items()],
        "cells": len(pairs), "accepted": counts["accepted"],
        "refused": counts["refused"],
        "explained": sum(1 for pair in pairs if pair.differs and pair.known),
        "unexplained": sum(1 for pair in pairs if pair.unexplained),
    }
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return TEMPLATE.read_text().replace("/*DATA*/", text)


def _role(name, rows):
    columns = list(dict.fromkeys(second for cells in rows.values() for second in cells))
    return {"name": name, "columns": columns,
            "rows": [{"first": first, "cells": [cells.get(column) for column in columns]}
                     for first, cells in rows.items()]}


def _entry(pair, reasons):
    """[state, reason, what the real program says, why that is no difference]."""
    cell = pair.cell
    state = {"accepted": 0, "refused": 1}.get(cell.outcome, 2)
    entry = [state, reasons.setdefault(cell.reason, len(reasons)) if cell.reason else -1]
    if pair.differs:
        real = pair.theirs
        said = f"{real.outcome} {real.reason}".strip() if real else "no such cell"
        entry += [reasons.setdefault(said, len(reasons)),
                  pair.known.reason if pair.known else ""]
    return entry
