# SPDX-License-Identifier: Apache-2.0
"""The matrix as one self-contained HTML page: a table per role, the reason in each refused cell."""

import html
from collections import defaultdict

_STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;max-width:none;color:#222}
table{border-collapse:collapse;margin:.5em 0 2em} td,th{border:1px solid #ccc;padding:2px 5px;
font-size:12px;vertical-align:top} th{background:#f4f4f4;text-align:left;position:sticky;top:0}
td.accepted{background:#e2f4e2}td.refused{background:#fbe5e0}td.died{background:#888;color:#fff}
td.differs{outline:3px solid #c00} td div{max-width:22em;max-height:1.4em;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap} td:hover div{max-height:none;white-space:normal}
tbody th{position:static;white-space:nowrap}
"""


def render(pairs):
    """HTML of all cells; cells in which the programs differ are outlined and listed first."""
    roles = defaultdict(lambda: defaultdict(dict))
    different = []
    for mine, theirs in pairs:
        cell = mine or theirs
        roles[cell.role][cell.first][cell.second] = (mine, theirs)
        if mine is None or theirs is None or mine.verdict() != theirs.verdict():
            different.append((mine, theirs))
    parts = ["<!doctype html><meta charset=utf-8><title>Permission matrix</title>",
             f"<style>{_STYLE}</style><h1>Permission matrix</h1>",
             f"<p>{len(pairs)} cells, {len(different)} differ. Rows: what was done first; columns: "
             "what was tried after it, on the same node. Point at a cell to read its reason.</p>"]
    for role, rows in roles.items():
        columns = list(dict.fromkeys(second for cells in rows.values() for second in cells))
        parts.append(f"<h2>{html.escape(role)}</h2><table><thead><tr><th>first</th>")
        parts += [f"<th>{html.escape(column or 'alone')}</th>" for column in columns]
        parts.append("</tr></thead><tbody>")
        for first, cells in rows.items():
            parts.append(f"<tr><th>{html.escape(first)}</th>")
            parts += [_cell(*cells[column]) if column in cells else "<td></td>"
                      for column in columns]
            parts.append("</tr>")
        parts.append("</tbody></table>")
    return "\n".join(parts)


def _cell(mine, theirs):
    cell = mine or theirs
    differs = mine is None or theirs is None or mine.verdict() != theirs.verdict()
    text = html.escape(cell.reason or cell.outcome)
    if differs:
        other = theirs.reason or theirs.outcome if theirs else "no such cell"
        text += "<br><b>real:</b> " + html.escape(other)
    return f"<td class='{cell.outcome}{' differs' if differs else ''}'><div>{text}</div></td>"
