# SPDX-License-Identifier: Apache-2.0
"""R52 to R66: reopening."""
from iotests.recipes.player import CYCLE, NO_WRITERS, READ_ONLY, Table, same

recipe = Table()


def file_of(name, **options):
    return {"driver": "file", "node-name": f"{name}f", "filename": f"{name}.qcow2", **options}


def image(name, backing=None, **options):
    return {"driver": "qcow2", "node-name": name, "file": f"{name}f", "backing": backing,
            **options}


def read_only_pair(p):
    p.file("af", read_only=True)
    p.qcow2("a", read_only=True)


@recipe(52)
def a_format_over_a_read_only_file(p):
    read_only_pair(p)
    p.reopen(image("a", read_only=False), refused=READ_ONLY)


@recipe(53)
def the_file_first(p):
    read_only_pair(p)
    p.reopen(file_of("a", read_only=False))
    p.reopen(image("a", read_only=False))
    same(p.edge("a --file--> af"), "CWR / CU")


@recipe(54)
def a_file_under_a_writable_format(p):
    p.chain("a")
    p.reopen(file_of("a", read_only=True), refused=NO_WRITERS.format("af"))


@recipe(55)
def both_in_one_list(p):
    read_only_pair(p)
    p.reopen(image("a", read_only=False), file_of("a", read_only=False))
    p.reopen(file_of("a", read_only=True), image("a", read_only=True))
    same(p.edge("a --file--> af"), "C / CU")


INLINE = {"driver": "file", "filename": "a.qcow2"}


@recipe(56)
def an_inline_file_keeps_read_only(p):
    p.add("qcow2", "a", file={**INLINE, "node-name": "af"}, read_only=True, backing=None)
    p.reopen({"driver": "qcow2", "node-name": "a", "file": "af", "backing": None},
             refused=READ_ONLY)


@recipe(57)
def an_inline_file_follows(p):
    p.add("qcow2", "a", file={**INLINE, "node-name": "af"}, read_only=True, backing=None)
    p.reopen({"driver": "qcow2", "node-name": "a", "file": "af", "backing": None,
              "read-only": False})
    same(p.edge("a --file--> af"), "CWR / CU")


@recipe(58)
def under_a_disk_not_read_only(p):
    p.chain("b")
    p.disk("D", "b")
    p.reopen(image("b", read_only=True), refused=NO_WRITERS.format("b"))


@recipe(59)
def backing_must_be_named(p):
    p.chain("ab")
    p.disk("D", "b")
    options = image("b")
    del options["backing"]
    p.reopen(options, refused="backing is missing for 'b'")


@recipe(60)
def a_backing_image_turns_writable(p):
    p.file("af", read_only=True)
    p.qcow2("a", read_only=True)
    p.file("bf")
    p.qcow2("b", backing="a")
    p.disk("D", "b")
    p.reopen(file_of("a", read_only=False), image("a", read_only=False))


@recipe(61)
def no_cycles(p):
    p.chain("ab")
    p.reopen(image("a", "b", read_only=True), refused=CYCLE.format("b", "backing", "a"))


@recipe(62)
def a_file_in_use_by_another(p):
    p.chain("b")
    p.file("cf")
    p.qcow2("c", backing=None)
    p.reopen({**image("b"), "file": "cf"},
             refused=p.conflict("cf", "write, resize", "N:c@file", "N:b@file"))
    same(p.edge("b --file--> bf"), "CWR / CU")


@recipe(63, "command:block-stream")
def a_streaming_chain_is_frozen(p):
    p.chain("abc")
    p.stream("s0", "c")
    p.reopen(image("c", "a"), refused="Cannot change frozen 'backing' link from 'c' to 'b'")


@recipe(64, "command:block-commit")
def above_an_implicit_filter(p):
    p.chain("abcd")
    p.commit("c0", "d", top_node="c", base_node="a")
    p.reopen(image("d", "b"), refused="Cannot replace implicit backing child of d")


@recipe(65, "command:blockdev-mirror")
def a_mirror_target_stays_writable(p):
    p.chain("b")
    p.file("tf", "t.qcow2")
    p.qcow2("t")
    p.mirror("m0", "b", "t")
    p.reopen(image("t", read_only=True), refused=NO_WRITERS.format("t"))


@recipe(66, "command:blockdev-mirror")
def a_mirror_freezes_nothing(p):
    p.chain("ab")
    p.file("tf", "t.qcow2")
    p.qcow2("t")
    p.mirror("m0", "b", "t")
    p.reopen(image("b", None))
