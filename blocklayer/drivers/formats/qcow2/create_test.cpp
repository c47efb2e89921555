// SPDX-License-Identifier: Apache-2.0
// Holds:   images are made as asked, byte for byte where the real program makes them; what cannot
//          be is refused in its words, and what was in the file is untouched.
// Method:  each option; the real qemu-img makes the same image, and its info and check look at
//          ours.
#include "blocklayer/drivers/formats/qcow2/testing/image_fixture.hpp"
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

// The text of the refusal; "" when it was made.
std::string create(sim::HostStore& store, std::string_view text) {
    sim::World world;
    BlockLayer layer(world, store);
    return world.run([&](sim::Co& co) -> std::string {
        Value options = Value::dict({{"driver", "qcow2"}, {"size", 1 << 20}});
        options.set("file", Value::dict({{"driver", "file"}, {"filename", "new.qcow2"}}));
        const Value more = members(text);
        if (more.is_dict())
            for (const auto& [name, value] : more.members()) options.set(name, value);
        CreateContext context{layer, options};
        const Status made = find_driver("qcow2")->create(co, context);
        layer.shut_down(co);
        return made ? std::string() : made.error().text;
    });
}

TEST_CASE("qcow2 create: what is refused", "[qcow2]") {
    struct Refusal {
        const char* options;
        const char* text;
    };
    const Refusal refusal = GENERATE(
        Refusal{"size=1000", "Image size must be a multiple of 512 bytes"},
        Refusal{"cluster-size=256", "Cluster size must be a power of two between 512 and 2048k"},
        Refusal{"cluster-size=4194304",
                "Cluster size must be a power of two between 512 and 2048k"},
        Refusal{"cluster-size=1536", "Cluster size must be a power of two between 512 and 2048k"},
        Refusal{"refcount-bits=7",
                "Refcount width must be a power of two and may not exceed 64 bits"},
        Refusal{"refcount-bits=128",
                "Refcount width must be a power of two and may not exceed 64 bits"},
        Refusal{"version=v2,refcount-bits=8",
                "Different refcount widths than 16 bits require compatibility level 1.1 or above "
                "(use version=v3 or greater)"},
        Refusal{"version=v2,lazy-refcounts=on",
                "Lazy refcounts only supported with compatibility level 1.1 and above (use "
                "version=v3 or greater)"},
        Refusal{"version=v2,compression-type=zstd",
                "Non-zlib compression type is only supported with compatibility level 1.1 and "
                "above (use version=v3 or greater)"},
        Refusal{"backing-fmt=raw", "Backing format cannot be used without backing file"},
        Refusal{"preallocation=full,backing-file=b",
                "Backing file and preallocation can only be used at the same time if extended_l2 "
                "is on"},
        Refusal{"data-file-raw=on", "data-file-raw requires data-file"});
    sim::MemoryStore store;
    store.put("new.qcow2", {});
    CHECK(create(store, refusal.options) == refusal.text);
    CHECK(store.medium("new.qcow2")->contents().size() == 0);
}

TEST_CASE("qcow2 create: as the real program does", "[qcow2]") {
    struct Pair {
        const char* ours;
        const char* theirs;
    };
    const Pair pair = GENERATE(Pair{"", "cluster_size=64k"},
                               Pair{"cluster-size=512,refcount-bits=1",
                                    "cluster_size=512,refcount_bits=1"},
                               Pair{"version=v2", "compat=0.10"},
                               Pair{"cluster-size=4096,compression-type=zstd,lazy-refcounts=on",
                                    "cluster_size=4k,compression_type=zstd,lazy_refcounts=on"});
    const TemporaryDirectory where;
    must(where, fmt::format("qemu-img create -q -f qcow2 -o {} theirs.qcow2 1M && "
                            "truncate -s 0 new.qcow2", pair.theirs));
    sim::PosixStore store(where.path());
    REQUIRE(create(store, pair.ours) == "");
    std::vector<std::byte> ours = read_file(where.file("new.qcow2"));
    const std::vector<std::byte> theirs = read_file(where.file("theirs.qcow2"));
    // Up to zeroes at the end.
    ours.resize(std::max(ours.size(), theirs.size()));
    const auto difference = std::mismatch(theirs.begin(), theirs.end(), ours.begin());
    CHECK(difference.first - theirs.begin() == static_cast<std::ptrdiff_t>(theirs.size()));
    must(where, "qemu-img check -f qcow2 new.qcow2");
}

TEST_CASE("qcow2 create: backing file and preallocation", "[qcow2]") {
    const TemporaryDirectory where;
    must(where, "truncate -s 1M base.raw && touch new.qcow2");
    sim::PosixStore store(where.path());
    REQUIRE(create(store, "backing-file=base.raw,backing-fmt=raw") == "");
    const std::string info = must(where, "qemu-img info -f qcow2 new.qcow2");
    CHECK(info.find("backing file: base.raw") != std::string::npos);
    CHECK(info.find("backing file format: raw") != std::string::npos);
    REQUIRE(create(store, "preallocation=full") == "");
    must(where, "qemu-img check -f qcow2 new.qcow2");
    CHECK(read_file(where.file("new.qcow2")).size() > 1 << 20);
}

TEST_CASE("qcow2 create: an error while writing is told", "[qcow2]") {
    sim::MemoryStore store;
    store.put("new.qcow2", {}).add_fault({sim::HostOp::write, 0, 1, Errno::no_space});
    CHECK(create(store, "") == "Could not write qcow2 header: No space left on device");
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
