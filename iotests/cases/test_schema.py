# SPDX-License-Identifier: Apache-2.0
"""query-qmp-schema says of what is built what the real program says.

Holds:   every command and event of ours has the same arguments, results and features, down to the
         last member of the last type. Only the cases of a union (drivers, objects) may be fewer,
         and there may be experimental options of our own, which begin with "x-".
Method:  both schemas, with types written out in full instead of by number.
"""
import tempfile

import pytest

from blockstep.commands import program_path
from iotests.compare.program import REAL, Program


def read(argv):
    with tempfile.TemporaryDirectory() as directory:
        program = Program(argv, directory)
        try:
            entries = program.execute("query-qmp-schema")["return"]
        finally:
            program.close()
    return {entry["name"]: entry for entry in entries}


@pytest.fixture(scope="module")
def schemas():
    return read([str(program_path("qmp"))]), read(REAL)


class Differ:
    """Walks two types side by side; `found` gets a line for each difference."""

    def __init__(self, ours, real):
        self.ours, self.real, self.found, self.walked = ours, real, [], set()

    def walk(self, mine, theirs, path, is_tag=False):
        if (mine, theirs) in self.walked and not is_tag:
            return
        self.walked.add((mine, theirs))
        a, b = self.ours[mine], self.real[theirs]
        if a["meta-type"] != b["meta-type"]:
            self.found.append(f"{path}: {a['meta-type']}, real: {b['meta-type']}")
            return
        self.same(a.get("features"), b.get("features"), path + " features")
        getattr(self, "walk_" + a["meta-type"])(a, b, path, is_tag)

    def same(self, mine, theirs, path):
        if mine != theirs:
            self.found.append(f"{path}: {mine}, real: {theirs}")

    def walk_builtin(self, a, b, path, _is_tag):
        self.same(a["json-type"], b["json-type"], path)

    def walk_enum(self, a, b, path, is_tag):
        if is_tag:
            self.same([value for value in a["values"] if value not in b["values"]], [], path)
        else:
            self.same(a["values"], b["values"], path)
            self.same(a["members"], b["members"], path)

    def walk_array(self, a, b, path, _is_tag):
        self.walk(a["element-type"], b["element-type"], path + "[]")

    def walk_alternate(self, a, b, path, _is_tag):
        self.same(len(a["members"]), len(b["members"]), path + " branches")
        for mine, theirs in zip(a["members"], b["members"]):
            self.walk(mine["type"], theirs["type"], path + "|")

    def walk_object(self, a, b, path, _is_tag):
        mine = {member["name"]: member for member in a["members"]}
        theirs = {member["name"]: member for member in b["members"]}
        self.same(sorted(name for name in mine if name in theirs or not name.startswith("x-")),
                  sorted(theirs), path + " members")
        self.same(a.get("tag"), b.get("tag"), path + " tag")
        for name in mine.keys() & theirs.keys():
            one, other = mine[name], theirs[name]
            self.same("default" in one, "default" in other, f"{path}.{name} optional")
            self.same(one.get("features"), other.get("features"), f"{path}.{name} features")
            self.walk(one["type"], other["type"], f"{path}.{name}", name == a.get("tag"))
        cases = {variant["case"]: variant["type"] for variant in b.get("variants", [])}
        for variant in a.get("variants", []):
            if variant["case"] not in cases:
                self.found.append(f"{path}: case {variant['case']} is none of the real ones")
            else:
                self.walk(variant["type"], cases[variant["case"]],
                          f"{path}({variant['case']})")


def test_entries_are_the_real_ones(schemas):
    ours, real = schemas
    differ = Differ(ours, real)
    compared = 0
    for name, entry in ours.items():
        if entry["meta-type"] not in ("command", "event"):
            continue
        if name not in real:
            differ.found.append(f"{name}: the real program has none")
            continue
        assert list(entry) == list(real[name]), name
        differ.same(entry.get("features"), real[name].get("features"), name + " features")
        differ.same(entry.get("allow-oob"), real[name].get("allow-oob"), name + " out of band")
        for what in ("arg-type", "ret-type"):
            if what in entry:
                differ.walk(entry[what], real[name][what], f"{name} {what}")
        compared += 1
    assert not differ.found, "\n" + "\n".join(differ.found)
    assert compared > 30
