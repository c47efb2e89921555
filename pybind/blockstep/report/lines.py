# SPDX-License-Identifier: Apache-2.0
"""A trace as text, an event or a turn of the executor a line, and where two traces part."""
from blockstep.report.pack import rows
from blockstep.report.recording import Trace

CONTEXT = 4  # lines before the first difference that a report of it shows


def to_lines(trace: Trace) -> list[str]:
    """In order; a turn is marked with an arrow and names the thread."""
    lines = []
    for at_ns, (label, subject, thread), fiber, a, b in rows(trace):
        head = f"{at_ns:>14} ns  fiber {fiber:<5} "
        if thread is not None:
            lines.append(f"{head}-> {trace.names[label]} on {trace.threads[thread]}")
        else:
            lines.append(f"{head}{trace.names[label]:<24} {trace.names[subject or 0]:<16} {a} {b}")
    return lines


def first_difference(one: list[str], other: list[str]) -> str:
    """The first line in which they differ, after a few that they share; "" if they do not."""
    for number in range(max(len(one), len(other))):
        lines = [lines[number] if number < len(lines) else "(it ends here)"
                 for lines in (one, other)]
        if lines[0] != lines[1]:
            shared = one[max(number - CONTEXT, 0):number]
            return "\n".join([f"trace event {number} differs, after", *(f"    {line}"
                             for line in shared), f"  - {lines[0]}", f"  + {lines[1]}"])
    return ""
