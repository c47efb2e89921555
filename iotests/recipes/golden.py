# SPDX-License-Identifier: Apache-2.0
"""Golden graphs: every edge of a state with what it uses and shares, as the real program has it.

`D` is a guest disk on the top node; all nodes of a chain below the top are read-only.
"""
from iotests.recipes.jobs import BACKUP, COMMIT, EXPORT, MIRROR, STREAM, target
from iotests.recipes.images import make_luks
from iotests.recipes.player import Table, same

recipe = Table()
CHAIN = ["b --file--> bf CWR / CU", "b --backing--> a C / CU", "a --file--> af C / CU"]


def check(p, *edges):
    same(p.graph(), sorted(p.described(edge) for edge in edges))


def chain(p, names="ab", **properties):
    p.chain(names)
    p.disk("D", names[-1], **properties)


@recipe("chain")
def _(p):
    chain(p)
    check(p, "BB:D --root--> b CW / CUR", *CHAIN)


@recipe("chain, shared")
def _(p):
    chain(p, share_rw=True)
    check(p, "BB:D --root--> b CW / ALL", "b --file--> bf CWR / CU", "b --backing--> a C / ALL",
          "a --file--> af C / CU")


@recipe("chain, unused")
def _(p):
    p.chain("ab")
    check(p, "b --file--> bf CWR / CU", "b --backing--> a - / ALL", "a --file--> af C / CU")


@recipe("stream of a whole chain", STREAM)
def _(p):
    chain(p, "abc")
    p.stream("s0", "c", filter_node_name="F")
    check(p, "BB:D --root--> F CW / CUR", "BB: --root--> F C / CWU",
          "job:s0 --main node--> F - / ALL", "F --file--> c CWU / CU",
          "job:s0 --active node--> c - / CWU", "c --file--> cf ALL / CU",
          "c --backing--> b C / CU", "job:s0 --intermediate node--> b - / CU",
          "job:s0 --intermediate node--> a - / CU", "b --file--> bf C / CU",
          "b --backing--> a C / CU", "a --file--> af C / CU")


@recipe("stream to a base", STREAM)
def _(p):
    chain(p, "abcd")
    p.stream("s0", "c", base_node="a", filter_node_name="flt")
    check(p, "BB:D --root--> d CW / CUR", "d --file--> df CWR / CU", "d --backing--> flt C / CU",
          "flt --file--> c CU / CU", "c --file--> cf ALL / CU",
          "job:s0 --main node--> flt - / ALL", "job:s0 --active node--> c - / CWU",
          "job:s0 --intermediate node--> b - / CU", "BB: --root--> flt C / CWU",
          "c --backing--> b C / CU", "b --file--> bf C / CU", "b --backing--> a C / CU",
          "a --file--> af C / CU")


@recipe("commit", COMMIT)
def _(p):
    chain(p, "abcd")
    p.commit("c0", "d", top_node="c", base_node="a", filter_node_name="F")
    check(p, "BB:D --root--> d CW / CUR", "d --file--> df CWR / CU", "d --backing--> F C / CU",
          "F --backing--> c - / ALL", "c --file--> cf C / U", "c --backing--> b - / ALL",
          "b --file--> bf C / U", "b --backing--> a - / ALL", "a --file--> af CWR / CU",
          "job:c0 --main node--> d - / ALL", "job:c0 --intermediate node--> c - / WU",
          "job:c0 --intermediate node--> b - / WU", "job:c0 --base--> a - / ALL",
          "BB: --root--> c - / ALL", "BB: --root--> a CW / CU")


@recipe("active commit", COMMIT)
def _(p):
    chain(p, "abcd")
    p.commit("c0", "d", base_node="b", filter_node_name="cm", until="ready")
    check(p, "BB:D --root--> cm CW / CUR", "cm --backing--> d W / CWU", "d --file--> df CWR / CU",
          "d --backing--> c - / ALL", "c --file--> cf C / U", "c --backing--> b - / ALL",
          "b --file--> bf CWR / CU", "b --backing--> a - / ALL", "a --file--> af C / CU",
          "job:c0 --main node--> cm C / CWU", "job:c0 --source--> d - / CWU",
          "job:c0 --target--> b - / ALL", "job:c0 --intermediate node--> c - / WU",
          "BB: --root--> b W / CWU")


@recipe("mirror", MIRROR)
def _(p):
    chain(p)
    target(p)
    p.mirror("m0", "b", "t", filter_node_name="F")
    check(p, "BB:D --root--> F CW / CUR", "F --backing--> b CW / CU", "t --file--> tf CWR / U",
          "job:m0 --main node--> F C / CWU", "job:m0 --source--> b - / CWU",
          "job:m0 --target--> t - / ALL", "BB: --root--> t W / U", *CHAIN)


@recipe("mirror, completed", MIRROR)
def _(p):
    chain(p)
    target(p)
    p.mirror("m0", "b", "t", until="ready")
    p.ok("job-complete", {"id": "m0"})
    p.status("m0", "pending")
    p.ok("job-finalize", {"id": "m0"})
    p.concluded_with("m0", "")
    check(p, "BB:D --root--> t CW / CUR", "t --file--> tf CWR / CU", "b --file--> bf CWR / CU",
          "b --backing--> a - / ALL", "a --file--> af C / CU")


@recipe("backup", BACKUP)
def _(p):
    chain(p)
    target(p)
    p.backup("b0", "b", "t", filter_node_name="F")
    check(p, "BB:D --root--> F CW / CUR", "F --file--> b CW / CU", "F --target--> t W / CWU",
          "t --file--> tf CWR / CU", "job:b0 --main node--> F - / ALL",
          "job:b0 --target--> t - / ALL", *CHAIN)


@recipe("copy before write, unused", "driver:copy-before-write")
def _(p):
    p.chain("b")
    p.file("tmp", "raw.img")
    p.add("copy-before-write", "cbw", file="b", target="tmp")
    check(p, "cbw --file--> b - / ALL", "cbw --target--> tmp W / CWU", "b --file--> bf CWR / CU")


@recipe("copy before write, in use", "driver:copy-before-write", "driver:snapshot-access",
        "command:qom-set")
def _(p):
    p.chain("b")
    p.file("tmp", "raw.img")
    p.disk("D", "b")
    p.add("copy-before-write", "cbw", file="b", target="tmp")
    p.ok("qom-set", {"path": "/machine/peripheral/D", "property": "drive", "value": "cbw"})
    p.add("snapshot-access", "acc", file="cbw")
    check(p, "BB:D --root--> cbw CW / CUR", "cbw --file--> b CW / CU",
          "cbw --target--> tmp W / CWU", "acc --file--> cbw - / ALL", "b --file--> bf CWR / CU")


@recipe("two backups and a snapshot", BACKUP)
def _(p):
    chain(p, "b")
    target(p)
    target(p, "t2")
    p.file("of", "o.qcow2")
    p.qcow2("sn", "of", backing=None)
    p.backup("b1", "b", "t", filter_node_name="F1")
    p.backup("b2", "b", "t2", filter_node_name="F2")
    p.ok("blockdev-snapshot", {"node": "b", "overlay": "sn"})
    edges = [edge for edge in p.graph() if "--file--> sn" in edge or "--backing--> b" in edge
             or "--file--> F2" in edge or "--root--> F1" in edge]
    same(edges, sorted(p.described(edge) for edge in (
        "BB:D --root--> F1 CW / CUR", "F1 --file--> F2 CW / CU", "F2 --file--> sn CW / CU",
        "sn --backing--> b C / CU")))


@recipe("read-only export", EXPORT)
def _(p):
    chain(p)
    p.nbd_server()
    p.export("b")
    check(p, "BB:D --root--> b CW / CUR", "BB: --root--> b C / CWU", *CHAIN)


@recipe("data file", "format:data-file")
def _(p):
    p.file("df", "dataimg.qcow2")
    p.file("dd", "data.raw")
    p.qcow2("d", "df", data_file="dd")
    check(p, "d --file--> df CWR / CU", "d --data-file--> dd - / CWU")
    p.disk("D", "d")
    check(p, "BB:D --root--> d CW / CUR", "d --file--> df CWR / CU",
          "d --data-file--> dd CWR / CU")


@recipe("luks", "driver:luks")
def _(p):
    make_luks(p.directory)
    p.ok("object-add", {"qom-type": "secret", "id": "s", "data": "secret"})
    p.file("lf", "luks.img")
    p.add("luks", "lk", file="lf", key_secret="s")
    check(p, "lk --file--> lf C / ALL")
    p.disk("D", "lk", share_rw=True)
    check(p, "BB:D --root--> lk CW / ALL", "lk --file--> lf CW / ALL")


@recipe("blklogwrites", "driver:blklogwrites")
def _(p):
    p.file("f", "raw.img")
    p.file("g", "raw2.img")
    p.add("blklogwrites", "w", file="f", log="g")
    check(p, "w --file--> f - / ALL", "w --log--> g CWR / CU")
    p.disk("D", "w")
    check(p, "BB:D --root--> w CW / CUR", "w --file--> f CW / CUR", "w --log--> g CWR / CU")


@recipe("preallocate", "driver:preallocate")
def _(p):
    p.file("cf", "c.qcow2")
    p.add("preallocate", "pre", file="cf")
    p.disk("D", "pre", share_rw=True)
    check(p, "BB:D --root--> pre CW / ALL", "pre --file--> cf CW / ALL")


@recipe("preallocate below a format", "driver:preallocate")
def _(p):
    p.file("cf", "t.qcow2")
    p.add("preallocate", "pre", file="cf")
    p.qcow2("c", "pre")
    check(p, "c --file--> pre CWR / CU", "pre --file--> cf CWR / CU")


@recipe("blkverify", "driver:blkverify")
def _(p):
    p.file("f", "raw.img")
    p.file("g", "raw2.img")
    p.add("blkverify", "v", raw="f", test="g")
    check(p, "v --raw--> f - / ALL", "v --test--> g - / CWU")
    p.disk("D", "v")
    check(p, "BB:D --root--> v CW / CUR", "v --raw--> f CW / CUR", "v --test--> g CWR / CU")


@recipe("copy-on-read, unused", "driver:copy-on-read")
def _(p):
    p.file("f", "raw.img")
    p.add("raw", "r", file="f")
    p.add("copy-on-read", "cor", file="r")
    check(p, "cor --file--> r U / ALL", "r --file--> f U / ALL")


@recipe("quorum", "driver:quorum", EXPORT)
def _(p):
    p.file("x", "raw.img")
    p.file("y", "raw2.img")
    p.add("quorum", "q", children=["x", "y"], vote_threshold=1)
    check(p, "q --children.0--> x - / CU", "q --children.1--> y - / CU")
    p.nbd_server()
    p.export("q", writable=True)
    check(p, "BB: --root--> q CW / CWU", "q --children.0--> x CW / CU",
          "q --children.1--> y CW / CU")


@recipe("after qemu-io's truncate", "option:-drive")
def _(p):
    p.device("virtio-blk-pci", "D", drive="drv")
    p.hmp('qemu-io drv "truncate 1M"')
    check(p, "BB:drv --root--> #block CWR / CUR", "#block --file--> #block CWR / CUR")


recipe.recipes["after qemu-io's truncate"][0].drive = "if=none,id=drv,file=raw.img,format=raw"
