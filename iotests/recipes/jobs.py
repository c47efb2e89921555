# SPDX-License-Identifier: Apache-2.0
"""R67 to R112: stream, commit, mirror, backup and fleecing."""
from iotests.recipes.player import (BACKING, BUSY, BY_JOB, NOT_ROOT, READ_ONLY, Table, same)
from iotests.recipes.reopening import image

recipe = Table()
STREAM, COMMIT = "command:block-stream", "command:block-commit"
MIRROR, BACKUP = "command:blockdev-mirror", "command:blockdev-backup"
EXPORT = "command:block-export-add"
DELETE, SNAPSHOT = "blockdev-del", "blockdev-snapshot"


def busy(node, kind):
    return BUSY.format(node, BY_JOB.format(kind))


def target(p, name="t", **options):
    p.file(f"{name}f", f"{name}.qcow2")
    p.qcow2(name, **options)


def overlay_file(p, name="o"):
    p.file(f"{name}f", f"{name}.qcow2")
    p.qcow2(name, backing=None)


def streaming(p):
    p.chain("abc")
    p.stream("s0", "c")


@recipe(67, STREAM)
def a_second_stream(p):
    streaming(p)
    p.stream("s1", "c", refused=busy("c", "stream"))
    p.stream("s1", "b", refused=busy("b", "stream"))


@recipe(68, STREAM, COMMIT)
def commit_of_a_streaming_chain(p):
    streaming(p)
    p.commit("c0", "c", refused=NOT_ROOT)


@recipe(69, STREAM)
def resize_of_a_streaming_chain(p):
    streaming(p)
    p.resize("c", refused="Device '(null)' is in use")
    p.resize("b", refused="Device '(null)' is in use")


@recipe(70, STREAM, BACKUP)
def other_commands_on_a_streaming_chain(p):
    streaming(p)
    overlay_file(p)
    target(p)
    p.refused(busy("c", "stream"), SNAPSHOT, {"node": "c", "overlay": "o"})
    p.refused(busy("b", "stream"), DELETE, {"node-name": "b"})
    p.refused(busy("c", "stream"), DELETE, {"node-name": "c"})
    p.backup("b0", "c", "t", refused=busy("c", "stream"))


@recipe(71, STREAM)
def readers_of_a_streaming_chain(p):
    streaming(p)
    p.disk("E", "b")
    p.add("raw", "r", file="b", read_only=True)


@recipe(72, STREAM, EXPORT)
def stream_over_a_written_node(p):
    p.chain("abc", writable="b")
    p.nbd_server()
    p.export("b", writable=True)
    p.stream("s0", "c", refused=p.conflict("b", "write", "B:@root",
                                           "J:stream/s0@intermediate node"))


@recipe(73, STREAM, EXPORT)
def a_streaming_node_gets_a_writer(p):
    p.chain("abc")
    p.stream("s1", "c")
    p.reopen(image("b", "a", read_only=False))
    p.nbd_server()
    p.export("b", writable=True, refused=p.conflict("b", "write", "B:@root",
                                                    "J:stream/s1@intermediate node"))


@recipe(74, COMMIT, EXPORT)
def commit_from_a_written_node_is_active(p):
    p.chain("abc", writable="b")
    p.nbd_server()
    p.export("b", writable=True)
    p.commit("c0", "c", top_node="b", base_node="a", filter_node_name="cm", until="ready")
    same(p.edge("cm --backing--> b"), "W / CWU")


def active(p):
    p.chain("abcd")
    p.disk("D", "d")
    p.commit("c0", "d", base_node="b", until="ready")


def sharing_disk_on_the_base(p):
    active(p)
    p.disk("E", "b", share_rw=True)


# The real program dies of the next two: see test_recipes.DEADLY. Ours refuses the verb that would
# leave two users that do not get along, and the job goes on.
@recipe(75, COMMIT)
def cancel_would_leave_a_clash(p):
    sharing_disk_on_the_base(p)
    p.refused(p.conflict("b", "write", "B:E@root", "N:c@backing"), "job-cancel", {"id": "c0"})
    same([job["status"] for job in p.ok("query-jobs")], ["ready"])


@recipe(76, COMMIT)
def completion_would_leave_a_clash(p):
    sharing_disk_on_the_base(p)
    p.refused(p.conflict("b", "write", "B:E@root", "B:D@root"), "job-complete", {"id": "c0"})
    same([job["status"] for job in p.ok("query-jobs")], ["ready"])


@recipe(78, COMMIT)
def a_disk_between_an_active_commit(p):
    active(p)
    p.disk("E", "c", lambda: p.conflict("c", "consistent read", "B:E@root",
                                        "J:commit/c0@intermediate node"))


@recipe(79, COMMIT)
def a_disk_on_the_base_of_an_active_commit(p):
    active(p)
    p.disk("E", "b", lambda: p.conflict("b", "write", "B:@root", "B:E@root"))


@recipe(77, COMMIT)
def sharing_disks_on_both_ends_of_an_active_commit(p):
    p.chain("abcd")
    p.disk("D", "d", share_rw=True)
    p.commit("c0", "d", base_node="b", until="ready")
    p.disk("E", "b", share_rw=True)
    p.ok("job-complete", {"id": "c0"})
    p.status("c0", "pending")
    p.ok("job-finalize", {"id": "c0"})
    p.concluded_with("c0", "")
    assert sum(line.endswith("--root--> b CW / ALL") for line in p.graph()) == 2


def between(p):
    p.chain("abcd")
    p.disk("D", "d")
    p.commit("c0", "d", top_node="c", base_node="a")


@recipe(80, COMMIT)
def a_disk_between_a_commit(p):
    between(p)
    for node in "bc":
        p.disk("E", node, lambda: p.conflict(node, "consistent read", "B:E@root",
                                             "J:commit/c0@intermediate node"))


@recipe(81, COMMIT)
def a_disk_on_the_base_of_a_commit(p):
    between(p)
    p.disk("E", "a", lambda: p.conflict("a", "write", "B:@root", "B:E@root"))
    p.disk("E2", "a", lambda: p.conflict("a", "write", "B:E2@root", "B:@root"), share_rw=True)


@recipe(82, COMMIT, EXPORT)
def exports_during_a_commit(p):
    between(p)
    p.nbd_server()
    p.export("b", refused=p.conflict("b", "consistent read", "B:@root",
                                     "J:commit/c0@intermediate node"))
    p.export("a")
    p.export("a", writable=True, refused=p.conflict("a", "write", "B:@root", "B:@root"))


@recipe(83, COMMIT)
def who_asks_for_nothing_is_let_in(p):
    between(p)
    p.add("raw", "r", file="b", read_only=True)
    same(p.hmp('qemu-io b "read 0 512"'), "")  # what it prints goes to the console


@recipe(84, COMMIT)
def a_write_to_the_base_by_hand(p):
    between(p)
    text = p.hmp('qemu-io a "write 0 512"')
    same(text, p.conflict("a", "write", "B:@root", "B:@root"))


@recipe(85, COMMIT, STREAM, BACKUP)
def other_jobs_during_a_commit(p):
    between(p)
    overlay_file(p)
    target(p)
    p.stream("s0", "b", refused=busy("b", "commit"))
    p.backup("b0", "d", "t", refused=busy("d", "commit"))
    p.refused(busy("d", "commit"), SNAPSHOT, {"node": "d", "overlay": "o"})


@recipe(86, COMMIT)
def another_overlay_with_a_guest_on_the_base(p):
    p.chain("abc")
    p.file("of", "o.qcow2")
    p.qcow2("o", backing="a")
    p.disk("D", "o")
    text = p.conflict("a", "write", "B:@root", "N:o@backing")
    p.commit("c0", "c", base_node="a", refused=text)
    p.commit("c0", "c", top_node="b", base_node="a", refused=text)


@recipe(87, COMMIT)
def another_overlay_without_user(p):
    p.chain("abc")
    p.file("of", "o.qcow2")
    p.qcow2("o", backing="a")
    p.commit("c0", "c", base_node="a", until="ready")


@recipe(88, COMMIT)
def another_overlay_on_the_top(p):
    p.chain("abc")
    p.file("of", "o.qcow2")
    p.qcow2("o", backing="b")
    p.disk("D", "o")
    p.commit("c0", "c", top_node="b", base_node="a", filter_node_name="top")
    same(p.edge("o --backing--> top"), "C / CU")


@recipe(90, COMMIT, STREAM)
def files_that_are_read_only(p):
    p.file("af", read_only=True)
    p.qcow2("a", read_only=True)
    p.file("bf")
    p.qcow2("b", backing="a", read_only=True)
    p.file("cf")
    p.qcow2("c", backing="b")
    p.commit("c0", "c", base_node="a", refused=READ_ONLY)
    p.commit("c0", "c", top_node="b", base_node="a", refused=READ_ONLY)


def with_bottom(p):
    p.chain("abc")
    p.add("copy-on-read", "cor", file="c", bottom="b")


@recipe(91, "driver:copy-on-read")
def a_bottom_freezes(p):
    with_bottom(p)
    p.reopen(image("c"), refused="Cannot change frozen 'backing' link from 'c' to 'b'")


@recipe(92, "driver:copy-on-read", COMMIT)
def commit_through_a_frozen_filter(p):
    with_bottom(p)
    p.commit("c0", "cor", base_node="b", refused="Cannot change 'file' link from 'cor' to 'c'")


@recipe(93, "driver:copy-on-read", STREAM)
def stream_of_a_frozen_chain(p):
    with_bottom(p)
    p.stream("s0", "c", refused="Could not create node: "
                                "Cannot change 'backing' link from 'c' to 'b'")


@recipe(94, "driver:copy-on-read", MIRROR)
def a_bottom_below_a_mirror_filter(p):
    p.chain("ab")
    target(p)
    p.mirror("m0", "b", "t", filter_node_name="mt")
    p.file("of", "o.qcow2")
    p.qcow2("o", backing="mt")
    p.add("copy-on-read", "cor", file="o", bottom="b",
          refused="Cannot freeze 'backing' link to 'mt'")


@recipe(95, "option:-drive", "hmp:commit")
def commit_by_hand_with_another_overlay(p):
    p.file("of", "o.qcow2")
    p.qcow2("o", backing="a")
    p.disk("D", "o")
    before = p.graph()
    assert "'commit' error for 'drv': Operation not permitted" in p.hmp("commit drv")
    assert p.graph() == before


recipe.recipes[95][0].drive = ("if=none,id=drv,node-name=b,driver=qcow2,file.driver=file,"
                               "file.filename=b.qcow2,backing.driver=qcow2,backing.node-name=a,"
                               "backing.file.driver=file,backing.file.filename=a.qcow2")


@recipe(96, "option:-drive", "hmp:commit", STREAM)
def commit_by_hand_during_a_stream(p):
    p.stream("s0", "drv")
    same(p.hmp("commit drv"), "'commit' error for 'drv': Device or resource busy")
    same(p.hmp("commit all"), "'commit' error for 'all': Device or resource busy")


recipe.recipes[96][0].drive = recipe.recipes[95][0].drive


# ---- mirror, backup, fleecing ----------------------------------------------------------------

def mirroring(p):
    p.chain("ab")
    target(p)
    p.mirror("m0", "b", "t")


@recipe(97, MIRROR)
def mirror_to_a_node_in_use(p):
    p.chain("ab")
    target(p)
    p.disk("E", "t")
    p.mirror("m0", "b", "t", refused=p.conflict("t", "consistent read, write", "B:E@root",
                                                "B:@root"))


@recipe(98, MIRROR)
def users_of_a_mirror_target(p):
    mirroring(p)
    p.disk("E", "t", lambda: p.conflict("t", "write", "B:@root", "B:E@root"))


@recipe(99, MIRROR, EXPORT)
def sharing_users_of_a_mirror_target(p):
    mirroring(p)
    p.disk("E", "t", lambda: p.conflict("t", "consistent read, write", "B:E@root", "B:@root"),
           share_rw=True)
    p.nbd_server()
    p.export("t", refused=p.conflict("t", "consistent read", "B:@root", "B:@root"))


@recipe(100, MIRROR)
def mirror_targets_that_cannot_be(p):
    p.chain("ab")
    target(p, read_only=True)
    p.mirror("m0", "b", "t", refused=READ_ONLY)
    p.mirror("m0", "b", "b", refused="Can't mirror node into itself")
    p.mirror("m0", "b", "a", refused=BUSY.format("a", BACKING.format("b")))


@recipe(103, MIRROR, COMMIT)
def a_second_job_on_a_mirrored_node(p):
    mirroring(p)
    target(p, "t2")
    p.mirror("m1", "b", "t2", refused=NOT_ROOT)
    p.commit("c0", "b", refused=NOT_ROOT)


@recipe(104, MIRROR, EXPORT)
def exports_of_a_mirrored_node(p):
    p.chain("b")
    target(p)
    p.disk("D", "b")
    p.mirror("m0", "b", "t")
    p.nbd_server()
    p.export("b", writable=True, refused=p.conflict("b", "write", "B:@root", "N:#blk@backing"))
    p.export("b")


@recipe(101, "driver:copy-before-write")
def copy_before_write_beside_a_disk(p):
    p.chain("b")
    p.file("tmp", "raw.img")
    p.disk("D", "b")
    p.add("copy-before-write", "cbw", file="b", target="tmp")
    p.disk("E", "cbw", lambda: p.conflict("b", "write", "B:D@root", "N:cbw@file"))


@recipe(102, "driver:copy-before-write", "driver:snapshot-access", "command:qom-set", EXPORT)
def copy_before_write_under_the_disk(p):
    p.chain("b")
    p.file("tmp", "raw.img")
    p.disk("D", "b")
    p.add("copy-before-write", "cbw", file="b", target="tmp")
    p.ok("qom-set", {"path": "/machine/peripheral/D", "property": "drive", "value": "cbw"})
    p.add("snapshot-access", "acc", file="cbw")
    p.nbd_server()
    p.export("acc")


def backing_up(p):
    p.chain("b")
    target(p)
    p.backup("b0", "b", "t")


@recipe(105, BACKUP, EXPORT)
def users_of_a_backup_target(p):
    backing_up(p)
    p.disk("E", "t", lambda: p.conflict("t", "write", "N:#blk@target", "B:E@root"))
    p.disk("E2", "t", share_rw=True)
    p.nbd_server()
    p.export("t")


@recipe(106, BACKUP)
def a_second_backup(p):
    backing_up(p)
    target(p, "t2")
    p.backup("b1", "b", "t", refused=busy("t", "backup"))
    p.backup("b1", "b", "t2")


@recipe(107, BACKUP)
def snapshot_of_a_backed_up_node(p):
    backing_up(p)
    overlay_file(p)
    p.ok(SNAPSHOT, {"node": "b", "overlay": "o"})
    same(p.edge("o --backing--> b"), "- / CU")


@recipe(108, BACKUP)
def backup_targets_that_cannot_be(p):
    p.chain("ab", writable="a")
    p.file("small", "raw.img")
    target(p, read_only=True)
    p.backup("b0", "b", "small", refused="Source and target image have different sizes")
    p.backup("b0", "b", "t", refused="Could not create node: " + READ_ONLY)
    p.backup("b0", "b", "b", refused="Source and target cannot be the same")
    p.backup("b0", "b", "a", refused=p.conflict("a", "write", "N:#blk@target", "N:b@backing"))


@recipe(109, MIRROR)
def a_mirror_target_becomes_an_overlay(p):
    p.chain("ab")
    p.file("xf", "o.qcow2")
    p.qcow2("x", backing=None)
    target(p, backing=None)
    p.mirror("m0", "b", "t", sync="top")
    p.ok(SNAPSHOT, {"node": "x", "overlay": "t"})
    same(p.edge("t --backing--> x"), "- / CU")


@recipe(110)
def overlays_that_cannot_be(p):
    p.chain("ab")
    overlay_file(p)
    p.disk("D", "o")
    p.file("r", "raw.img")
    p.refused("The overlay is already in use", SNAPSHOT, {"node": "b", "overlay": "o"})
    p.refused("The overlay does not support backing images", SNAPSHOT,
              {"node": "b", "overlay": "r"})
    p.refused(BUSY.format("a", BACKING.format("b")), SNAPSHOT, {"node": "a", "overlay": "o"})


@recipe(111, MIRROR)
def what_a_mirror_may_replace(p):
    p.chain("ab")
    target(p)
    p.mirror("m0", "b", "t", replaces="zz", refused="Failed to find node with node-name='zz'")
    p.mirror("m0", "b", "t", replaces="a", refused=BUSY.format("a", BACKING.format("b")))
    p.mirror("m0", "b", "t", replaces="bf", refused=(
        "Cannot replace 'bf' by a node mirrored from 'b', because it cannot be guaranteed that "
        "doing so would not lead to an abrupt change of visible data"))


@recipe(112, BACKUP, "command:transaction")
def a_transaction_is_all_or_nothing(p):
    p.chain("b")
    overlay_file(p)
    p.file("small", "raw.img")
    before = p.graph()
    p.refused("Source and target image have different sizes", "transaction", {"actions": [
        {"type": "blockdev-snapshot", "data": {"node": "b", "overlay": "o"}},
        {"type": "blockdev-backup", "data": {"job-id": "b0", "device": "o", "target": "small",
                                             "sync": "full"}}]})
    assert p.graph() == before
