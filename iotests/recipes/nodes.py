# SPDX-License-Identifier: Apache-2.0
"""R1 to R30: nodes only."""
from iotests.recipes.images import make_luks
from iotests.recipes.player import FORCE_SHARE, READ_ONLY, Table, lock, same

recipe = Table()
WRITE_RESIZE = "write, resize"
ALL_WORDS = "consistent read, write, write unchanged, resize"


def blkdebug(p, name, take=(), unshare=(), image="f", **options):
    # The real program refuses empty lists here.
    if take:
        options["take_child_perms"] = list(take)
    if unshare:
        options["unshare_child_perms"] = list(unshare)
    p.add("blkdebug", name, image=image, **options)


@recipe(1)
def two_formats_on_one_file(p):
    p.file("f", "a.qcow2")
    p.qcow2("q0", "f")
    p.qcow2("q1", "f", refused=p.conflict("f", WRITE_RESIZE, "N:q0@file", "N:q1@file"))


@recipe(2)
def the_second_read_only(p):
    p.file("f", "a.qcow2")
    p.qcow2("q0", "f")
    p.qcow2("qro", "f", read_only=True,
            refused=p.conflict("f", WRITE_RESIZE, "N:q0@file", "N:qro@file"))


@recipe(3)
def a_writer_after_two_readers(p):
    p.file("f", "a.qcow2", read_only=True)
    p.qcow2("q1", "f", read_only=True)
    p.qcow2("q2", "f", read_only=True)
    p.qcow2("q3", "f", refused=p.conflict("f", WRITE_RESIZE, "N:q3@file", "N:q2@file"))


@recipe(4)
def raw_beside_a_format(p):
    p.file("f", "a.qcow2")
    p.qcow2("q", "f")
    p.add("raw", "r", file="f")
    same(p.edge("r --file--> f"), "- / ALL")


@recipe(5)
def one_path_twice_without_users(p):
    for i in range(2):
        p.file(f"f{i}", "raw.img")
        p.add("raw", f"r{i}", file=f"f{i}")


@recipe(6)
def one_path_written_twice(p):
    p.file("f0", "a.qcow2")
    p.qcow2("q0", "f0")
    p.file("f1", "a.qcow2")
    p.qcow2("q1", "f1", refused=lock("write"))


@recipe(7)
def one_path_written_and_read(p):
    p.file("f0", "a.qcow2")
    p.qcow2("q0", "f0")
    p.file("f1", "a.qcow2", read_only=True)
    p.qcow2("q1", "f1", read_only=True, refused=lock("write", shared=True))


@recipe(8)
def force_share_on_the_reader(p):
    p.file("f0", "a.qcow2")
    p.qcow2("q0", "f0")
    p.add("qcow2", "q1", read_only=True, force_share=True,
          file={"driver": "file", "node-name": "f1", "filename": "a.qcow2"})
    same(p.edge("q1 --file--> f1"), "C / ALL")


@recipe(9)
def force_share_of_a_writable_node(p):
    p.file("f", "a.qcow2")
    p.qcow2("q", "f", force_share=True, refused=FORCE_SHARE)


@recipe(10)
def without_locking(p):
    p.file("f0", "a.qcow2", locking="off")
    p.qcow2("q0", "f0")
    p.file("f1", "a.qcow2")
    p.qcow2("q1", "f1")


@recipe(11, "driver:blkdebug")
def blkdebug_takes_and_withholds_writing(p):
    p.file("f", "raw.img")
    blkdebug(p, "bd", take=["write"])
    blkdebug(p, "bd2", unshare=["write"],
             refused=p.conflict("f", "write", "N:bd@image", "N:bd2@image"))


@recipe(12, "driver:blkdebug")
def resize_of_a_withheld_node(p):
    p.file("f", "raw.img")
    blkdebug(p, "bd3", unshare=["resize"])
    p.resize("f", refused=p.conflict("f", "resize", "B:@root", "N:bd3@image"))


@recipe(13, "driver:blkdebug")
def resize_through_raw(p):
    p.file("f", "raw.img")
    blkdebug(p, "bd3", unshare=["resize"])
    p.add("raw", "raw", file="f")
    p.resize("raw", refused=p.conflict("f", "resize", "N:raw@file", "N:bd3@image"))


@recipe(14)
def resize_beside_a_window(p):
    p.file("f", "raw.img")
    p.add("raw", "rawoff", file="f", offset=512, size=512)
    p.add("raw", "raw", file="f")
    p.resize("raw", refused=p.conflict("f", "resize", "N:raw@file", "N:rawoff@file"))


@recipe(15, "driver:blkdebug")
def reading_withheld(p):
    p.file("f", "raw.img")
    blkdebug(p, "bd4", unshare=["consistent-read"])
    blkdebug(p, "bd5", take=["consistent-read"],
             refused=p.conflict("f", "consistent read", "N:bd5@image", "N:bd4@image"))


@recipe(16, "driver:blkdebug", "driver:copy-on-read")
def copy_on_read_where_unchanged_writes_are_withheld(p):
    p.file("f", "raw.img")
    blkdebug(p, "bd6", unshare=["write-unchanged"])
    p.add("raw", "raw", file="f")
    p.add("copy-on-read", "cor", file="raw",
          refused=p.conflict("f", "write unchanged", "N:raw@file", "N:bd6@image"))


@recipe(17, "driver:copy-on-read")
def copy_on_read_of_a_read_only_node(p):
    p.file("f", "raw.img", read_only=True)
    p.add("copy-on-read", "cor", file="f", refused=READ_ONLY)


@recipe(18, "driver:blkdebug")
def everything_withheld(p):
    everything = ["consistent-read", "write", "write-unchanged", "resize"]
    p.file("f", "raw.img")
    blkdebug(p, "p7", unshare=everything)
    blkdebug(p, "p8", take=everything,
             refused=p.conflict("f", ALL_WORDS, "N:p8@image", "N:p7@image"))


@recipe(19, "driver:blkdebug")
def the_newest_of_two_is_named(p):
    p.file("f", "raw.img")
    blkdebug(p, "p1", take=["write"])
    blkdebug(p, "p2", take=["resize"])
    blkdebug(p, "p3", unshare=["write", "resize"],
             refused=p.conflict("f", "resize", "N:p2@image", "N:p3@image"))


@recipe(20, "driver:blkdebug")
def the_one_in_conflict_is_named(p):
    p.file("f", "raw.img")
    blkdebug(p, "p1", take=["write"])
    blkdebug(p, "p2", take=["resize"])
    blkdebug(p, "p3", take=["consistent-read"], unshare=["write"],
             refused=p.conflict("f", "write", "N:p1@image", "N:p3@image"))


@recipe(21, "driver:blkdebug")
def writing_a_read_only_file(p):
    p.file("f", "raw.img", read_only=True)
    blkdebug(p, "bd", take=["write"], refused=READ_ONLY)
    blkdebug(p, "bd", take=["write-unchanged"], refused=READ_ONLY)


@recipe(22, "driver:blkdebug")
def resizing_a_read_only_file(p):
    p.file("f", "raw.img", read_only=True)
    blkdebug(p, "bd", take=["resize"])


def quorum(p, name, children, **options):
    p.add("quorum", name, children=list(children), vote_threshold=1, **options)


@recipe(23, "driver:quorum")
def two_quorums_one_rewriting(p):
    p.file("f", "raw.img")
    p.add("raw", "raw", file="f")
    p.file("g", "raw2.img")
    quorum(p, "quo", ["raw", "g"])
    quorum(p, "quo2", ["raw", "g"], rewrite_corrupted=True,
           refused=p.conflict("raw", "write", "N:quo2@children.0", "N:quo@children.0"))


@recipe(24, "driver:quorum", "command:block-export-add")
def export_of_a_quorum_child(p):
    p.file("x", "raw.img")
    p.file("y", "raw2.img")
    quorum(p, "q", ["x", "y"])
    p.nbd_server()
    p.export("q", writable=True)
    p.export("x", writable=True, refused=p.conflict("x", "write", "B:@root", "N:q@children.0"))
    p.export("x")


@recipe(25, "driver:quorum", "command:block-export-add", "command:x-blockdev-change")
def an_exported_node_joins_a_quorum(p):
    p.file("x", "raw.img")
    p.file("y", "raw2.img")
    p.file("z", "raw3.img")
    quorum(p, "q", ["x", "y"])
    p.nbd_server()
    p.export("z")
    p.refused("The node z already has a parent", "x-blockdev-change",
              {"parent": "q", "node": "z"})


def luks_and_raw_users(p):
    make_luks(p.directory)
    p.ok("object-add", {"qom-type": "secret", "id": "s", "data": "secret"})
    p.file("lf", "luks.img")
    p.add("luks", "lk", file="lf", key_secret="s")
    p.disk("D", "lk", share_rw=True)
    p.add("raw", "lr", file="lf")
    p.disk("E", "lr", share_rw=True)


@recipe(26, "driver:luks")
def luks_and_raw_shared(p):
    luks_and_raw_users(p)
    same(p.edge("lk --file--> lf"), "CW / ALL")


@recipe(27, "driver:luks", "command:x-blockdev-amend")
def luks_keys_are_rewritten(p):
    luks_and_raw_users(p)
    p.refused(p.conflict("lf", "consistent read, write", "N:lr@file", "N:lk@file"),
              "x-blockdev-amend",
              {"job-id": "am", "node-name": "lk",
               "options": {"driver": "luks", "state": "active", "new-secret": "s"}})


@recipe(28, "format:data-file")
def metadata_file_of_an_external_data_file(p):
    p.file("df", "dataimg.qcow2")
    p.file("dd", "data.raw")
    p.qcow2("d", "df", data_file="dd")
    p.file("df2", "dataimg.qcow2", read_only=True)
    p.file("dd2", "data.raw", read_only=True)
    p.qcow2("dro", "df2", data_file="dd2", read_only=True, refused=lock("write", shared=True))


@recipe(29, "command:blockdev-create")
def creation_on_a_node_in_use(p):
    p.chain("b")
    p.ok("blockdev-create", {"job-id": "cr", "options": {
        "driver": "qcow2", "file": "bf", "size": 1 << 20}})
    p.concluded_with("cr", p.conflict("bf", WRITE_RESIZE, "B:@root", "N:b@file"))


@recipe(30, "command:blockdev-create")
def creation_over_an_open_image(p):
    for i, read_only in enumerate([False, True]):
        p.file(f"f{i}", f"{'ab'[i]}.qcow2", read_only=read_only)
        p.qcow2(f"q{i}", f"f{i}", read_only=read_only, backing=None)
        p.ok("blockdev-create", {"job-id": f"cr{i}", "options": {
            "driver": "file", "filename": f"{'ab'[i]}.qcow2", "size": 1 << 20}})
        p.concluded_with(f"cr{i}", lock("write"))
