# SPDX-License-Identifier: Apache-2.0
"""The permission graph as x-debug-query-block-graph shows it, in a form that can be compared."""

import re

_GENERATED = re.compile(r"#block\d+")


def edges(program):
    """Sorted lines `parent --edge--> child used / shared`, generated names made the same."""
    reply = program.execute("x-debug-query-block-graph")["return"]
    names = {}
    for node in reply["nodes"]:
        kind = {"block-driver": "", "block-backend": "BB:", "block-job": "job:"}[node["type"]]
        names[node["id"]] = kind + plain(node["name"])
    letters = {"consistent-read": "C", "write": "W", "write-unchanged": "U", "resize": "R"}

    def pack(permissions):
        text = "".join(letter for name, letter in letters.items() if name in permissions)
        return {"": "-", "CWUR": "ALL"}.get(text, text)

    return sorted(f"{names[e['parent']]} --{e['name']}--> {names[e['child']]} "
                  f"{pack(e['perm'])} / {pack(e['shared-perm'])}" for e in reply["edges"])


def plain(text):
    """Generated node names all become #block: which number they got is not behaviour."""
    return _GENERATED.sub("#block", text)
