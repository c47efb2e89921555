// SPDX-License-Identifier: Apache-2.0
// Holds:   whatever an image contains, opening, reading, writing, checking and repairing it ends
//          in an answer or an error: no assertion, no endless loop, no memory without bound.
// Method:  sound images of several kinds, spoilt in a few places (fields and table entries above
//          all) drawn from a seed; the limit on events ends loops, one on the file's length ends
//          growth.
#include "blocklayer/drivers/formats/qcow2/testing/image_fixture.hpp"
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

// With clusters of every kind, a backing name, a snapshot.
std::vector<std::byte> sample(const char* options) {
    const TemporaryDirectory where;
    must(where, fmt::format("truncate -s 64k base && "
                            "qemu-img create -q -f qcow2 -F raw -b base -o {} a 64k && "
                            "qemu-io -f qcow2 -c 'write -P 1 0 4k' -c 'write -z 8k 4k' "
                            "-c 'write -c -P 2 16k 4k' a && qemu-img snapshot -c s a && "
                            "qemu-io -f qcow2 -c 'write -P 3 1k 2k' a", options));
    return read_file(where.file("a"));
}

std::uint64_t interesting(sim::RandomStream& random, std::uint64_t old, std::uint64_t length) {
    const std::uint64_t clusters = length / 512 + 1;
    switch (random.below(8)) {
    case 0: return 0;
    case 1: return ~0ull;
    case 2: return old ^ 1ull << random.below(64);
    case 3: return (old & ~entry_offset_mask) | random.below(clusters) * 512;
    case 4: return (old & ~entry_offset_mask) | random.below(1ull << 40) * 512;
    case 5: return old + random.below(1024) - 512;
    case 6: return 1ull << random.below(64);
    default: return random.next();
    }
}

void spoil(std::vector<std::byte>& image, sim::RandomStream& random) {
    for (std::uint64_t left = 1 + random.below(3); left > 0; --left) {
        if (random.chance(1, 10)) {
            image.resize(random.below(image.size()) + 1);
            image.resize(std::max<std::size_t>(image.size(), 16));
        }
        // The header, whole tables of offsets, or anywhere; all numbers are at multiples of four.
        const std::uint64_t at =
            random.chance(1, 3) ? random.below(112) / 4 * 4
                                : random.below(image.size() / 8) * 8;
        const std::uint64_t width = std::min<std::uint64_t>(at % 8 == 0 ? 8 : 4, image.size() - at);
        std::byte raw[8] = {};
        std::memcpy(raw, image.data() + at, width);
        write_be(raw, interesting(random, read_be<std::uint64_t>(raw), image.size()));
        std::memcpy(image.data() + at, raw, width);
    }
}

// Everything a user may do. Results do not matter; that there are some does.
void use(sim::Co& co, BlockBackend& disk, sim::RandomStream& random, bool writable) {
    const std::uint64_t size = std::min<std::uint64_t>(disk.length(), 1 << 20);
    if (size < 4096) return;
    std::vector<std::byte> data(4096, std::byte{7});
    for (int i = 0; i < 12; ++i) {
        const std::uint64_t offset = random.below((size - 4096) / 512 + 1) * 512;
        Driver& driver = disk.node()->driver();
        switch (writable ? random.below(8) : 0) {
        case 0: (void)disk.read(co, offset, std::span(data)).has_value(); break;
        case 1:
            (void)disk.write(co, offset, std::span<const std::byte>(data)).has_value();
            break;
        case 2: (void)disk.write_zeroes(co, offset, 4096).has_value(); break;
        case 3: (void)disk.discard(co, offset, 4096).has_value(); break;
        case 4: (void)driver.block_status(co, offset, 4096).has_value(); break;
        case 5:
            (void)disk.write(co, offset / 4096 * 4096, std::span<const std::byte>(data),
                             RequestFlag::compressed).has_value();
            break;
        case 6: (void)disk.truncate(co, size + 65536, false).has_value(); break;
        default: (void)disk.flush(co).has_value();
        }
    }
}

// Whether it could be opened.
bool survive(const std::vector<std::byte>& contents, sim::RandomStream& random) {
    sim::MemoryStore store;
    sim::ByteImage image;
    image.write(0, contents);
    store.put("image.qcow2", std::move(image));
    store.set_capacity(64 << 20);
    sim::World world({.event_limit = 2'000'000});
    BlockLayer layer(world, store);
    const bool writable = random.chance(2, 3);
    const auto repair = static_cast<Driver::Repair>(random.below(4));
    return world.run([&](sim::Co& co) {
        Value options = image_options("image.qcow2", "l2-cache-size=1024", !writable);
        options.set("backing", nullptr);
        auto opened = layer.open(co, options);
        if (opened) {
            NodeRef node = std::move(*opened);
            const auto disk = BlockBackend::make(
                layer, {.used = writable ? Perm::consistent_read | Perm::write |
                                               PermSet(Perm::resize)
                                         : PermSet(Perm::consistent_read),
                        .shared = PermSet::all()});
            if (disk->insert(*node)) {
                use(co, *disk, random, writable);
                (void)node->driver().check(co, writable ? repair : Driver::Repair::none)
                    .has_value();
                use(co, *disk, random, writable);
                disk->remove();
            }
        }
        layer.shut_down(co);
        return opened.has_value();
    });
}

TEST_CASE("qcow2 hostile: spoilt images do no harm", "[qcow2]") {
    const auto options = GENERATE("cluster_size=512", "cluster_size=4k,compression_type=zstd",
                                  "cluster_size=512,refcount_bits=8", "cluster_size=1k,compat=0.10",
                                  "cluster_size=512,refcount_bits=64,lazy_refcounts=on");
    const std::vector<std::byte> sound = sample(options);
    // The number of images; a longer campaign sets it higher.
    const char* wished = std::getenv("BLOCKSTEP_HOSTILE_IMAGES");
    const int images = wished != nullptr ? std::atoi(wished) : 60;
    int opened = 0;
    for (int seed = 0; seed < images; ++seed) {
        INFO("options " << options << " seed " << seed);
        sim::RandomStream random(static_cast<std::uint64_t>(seed), options);
        std::vector<std::byte> spoilt = sound;
        spoil(spoilt, random);
        bool is_open = false;
        REQUIRE_NOTHROW(is_open = survive(spoilt, random));
        opened += is_open;
    }
    CHECK(opened > images / 4);
    CHECK(opened < images);
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
