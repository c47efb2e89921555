// SPDX-License-Identifier: Apache-2.0
// Holds:   images with internal snapshots made by the real program are read, written to and
//          checked, and their snapshots still show what they did; tables of snapshots that are not
//          what they should be are refused.
// Method:  the real qemu-img makes snapshots and looks at them afterwards; tables spoilt by hand.
#include "blocklayer/drivers/formats/qcow2/testing/image_fixture.hpp"
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

TEST_CASE("qcow2 snapshots: what they show stays", "[qcow2]") {
    const auto options = GENERATE("cluster_size=4k", "cluster_size=512,compat=0.10");
    const TemporaryDirectory where;
    must(where, fmt::format("qemu-img create -q -f qcow2 -o {} a.qcow2 1M && "
                            "qemu-io -f qcow2 -c 'write -P 1 0 256k' -c 'write -c -P 2 256k 64k' "
                            "a.qcow2 && qemu-img snapshot -c one a.qcow2", options));
    sim::PosixStore store(where.path());
    sim::World world({.seed = 1});
    Model model(1 << 20);
    {
        OpenImage image(world, store, image_options("a.qcow2", "l2-cache-size=1024"));
        REQUIRE(image.error == "");
        world.run([&](sim::Co& co) {
            REQUIRE(image.backend->read(co, 0, std::span(model.bytes)));
        });
        run_history(world, image, model, world.rng("history"), {.size = 1 << 20, .operations = 30});
        REQUIRE(first_difference(world, image, model) == -1);
    }
    must(where, "qemu-img check -f qcow2 a.qcow2");
    write_file(where.file("model.raw"), model.bytes);
    must(where, "qemu-img compare -f qcow2 -F raw a.qcow2 model.raw");
    must(where, "qemu-img snapshot -a one a.qcow2 && qemu-img check -f qcow2 a.qcow2 && "
                "qemu-io -f qcow2 -r -c 'read -P 1 0 256k' -c 'read -P 2 256k 64k' "
                "-c 'read -P 0 320k 704k' a.qcow2 | (! grep -i 'verif')");
}

// An image with one snapshot, in memory.
struct WithSnapshot : MemoryImage {
    WithSnapshot() : MemoryImage("cluster-size=4096") {
        const TemporaryDirectory where;
        must(where, "qemu-img create -q -f qcow2 -o cluster_size=4k a 1M && "
                    "qemu-io -f qcow2 -c 'write -P 1 0 4k' a && qemu-img snapshot -c one a");
        close();
        put(read_file(where.file("a")));
    }
    std::uint64_t table() { return number(64); }
};

TEST_CASE("qcow2 snapshots: read as they are", "[qcow2]") {
    WithSnapshot image;
    REQUIRE(image.open() == "");
    Image& bare = image.bare();
    REQUIRE(bare.snapshots.size() == 1);
    const Snapshot* found = &bare.snapshots.front();
    CHECK(found->id == "1");
    CHECK(found->name == "one");
    CHECK(found->disk_bytes == 1 << 20);
    CHECK(found->l1_entries == 1);
    CHECK(found->vm_state_bytes == 0);
    CHECK(bare.metadata.at(found->l1_offset / 4096) == mask_of(MetadataKind::inactive_l1));
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 snapshots: their tables are guarded if asked to", "[qcow2]") {
    WithSnapshot image;
    REQUIRE(image.open("overlap-check=all") == "");
    REQUIRE(image.write(0, 4096, 2));  // the snapshot's L2 table is its own now
    REQUIRE(image.flush());
    image.reopen("overlap-check=all");
    Image& bare = image.bare();
    bare.settings.overlap_check = mask_of(MetadataKind::inactive_l2);
    image.run([&](sim::Co& co) { REQUIRE(bare.map_snapshots(co)); });
    const std::uint64_t l2 = image.number(bare.snapshots[0].l1_offset) & entry_offset_mask;
    CHECK(bare.metadata.at(l2 / 4096) == mask_of(MetadataKind::inactive_l2));
    image.run([&](sim::Co& co) { CHECK_FALSE(bare.check_overlap(co, l2, 512)); });
    CHECK(image.events.back().data.get_string("msg") ==
          "Preventing invalid write on metadata (overlaps with inactive L2 table)");
}

TEST_CASE("qcow2 snapshots: what is refused", "[qcow2]") {
    WithSnapshot image;
    const std::uint64_t table = image.table();
    SECTION("extra data too long") {
        image.patch(table + 36, 1025, 4);
        CHECK(image.open() == "Too much extra metadata in snapshot table entry 0");
    }
    SECTION("L1 table unaligned") {
        image.patch(table, image.number(table) + 8);
        CHECK(image.open() == "Snapshot L1 table offset invalid");
    }
    SECTION("L1 table too long") {
        image.patch(table + 8, UINT32_MAX, 4);
        CHECK(image.open() == "Snapshot L1 table offset invalid");
    }
    SECTION("all L1 tables together too long") {
        std::vector<std::byte> entry(56);
        const std::uint64_t each = 8192;  // clusters
        write_be<std::uint64_t>(entry.data(), 1 << 20);
        write_be<std::uint32_t>(entry.data() + 8, each * 4096 / 8);
        write_be<std::uint32_t>(entry.data() + 36, 16);
        std::vector<std::byte> bytes = image.bytes();
        const std::uint64_t place = round_up(bytes.size(), 4096);
        bytes.resize(place);
        for (int i = 0; i < 600; ++i) bytes.insert(bytes.end(), entry.begin(), entry.end());
        image.put(bytes);
        image.patch(60, 600, 4);
        image.patch(64, place);
        CHECK(image.open() == "Snapshot L1 table too large");
    }
}

TEST_CASE("qcow2 snapshots: the disk of an old one is not resized", "[qcow2]") {
    const TemporaryDirectory where;
    must(where, "qemu-img create -q -f qcow2 -o compat=0.10 a 1M && qemu-img snapshot -c one a");
    MemoryImage image;
    image.close();
    image.put(read_file(where.file("a")));
    REQUIRE(image.open() == "");
    CHECK(image.resize(2 << 20) == "Can't resize a v2 image which has snapshots");
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
