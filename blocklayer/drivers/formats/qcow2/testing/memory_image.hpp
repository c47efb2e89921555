// SPDX-License-Identifier: Apache-2.0
// A qcow2 image in simulated memory, open twice over: as a node with a user, and as a bare Image
// over the same file for tests that look inside. Use one of the two at a time.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "blocklayer/graph/backend.hpp"
#include "blocklayer/layer.hpp"
#include "sim/memory_store.hpp"
#include "sim/world.hpp"

namespace blocklayer::qcow2::testing {

class MemoryImage {
public:
    static constexpr const char* name = "image.qcow2";

    // create, open: more members, as "name=value,..."; a size of 1 MiB and clusters of 512 bytes
    // unless told otherwise.
    explicit MemoryImage(std::string_view create = "", std::string_view open = "",
                         sim::WorldOptions options = {});
    ~MemoryImage();

    template <class Body>
    auto run(Body&& body) {
        return world.run(std::forward<Body>(body));
    }

    // The text of the refusal; "" when it is open.
    std::string open(std::string_view more = "", bool read_only = false);
    void close();
    // Closes, and opens again: what is on the disk, nothing else.
    void reopen(std::string_view more = "");
    // A bare Image of its own; the node must not be used any more.
    Image& bare();

    IoStatus write(std::uint64_t offset, std::uint64_t length, int value, RequestFlags flags = {});
    IoStatus write_zeroes(std::uint64_t offset, std::uint64_t length, RequestFlags flags = {});
    IoStatus discard(std::uint64_t offset, std::uint64_t length);
    IoStatus flush();
    // The text of the refusal; "" when it is done.
    std::string resize(std::uint64_t size, std::string_view preallocation = "off");
    // The value all these bytes have, -1 when they differ; -2: cannot be read.
    int read(std::uint64_t offset, std::uint64_t length);
    BlockStatus status(std::uint64_t offset, std::uint64_t length = 1 << 20);
    Driver::CheckResult check(Driver::Repair repair = Driver::Repair::none);
    // "corruptions/leaks/check errors"
    std::string check_counts(Driver::Repair repair = Driver::Repair::none);

    sim::MemoryMedium& medium() { return *store.medium(name); }
    std::vector<std::byte> bytes();
    void put(const std::vector<std::byte>& bytes);
    std::uint64_t number(std::uint64_t offset, unsigned bytes = 8);
    void patch(std::uint64_t offset, std::uint64_t value, unsigned bytes = 8);
    std::uint64_t l1_offset() { return number(40); }
    std::uint64_t l2_offset(std::uint64_t index = 0) {
        return number(l1_offset() + index * 8) & entry_offset_mask;
    }

    sim::MemoryStore store;
    sim::World world;
    BlockLayer layer;
    NodeRef node;
    std::unique_ptr<BlockBackend> disk;
    std::vector<QmpEvent> events;
    Value backing;  // of what is opened next; null: none

private:
    std::unique_ptr<Image> bare_;
};

// "name=value,..." as members of an option dictionary.
Value members(std::string_view text);

}  // namespace blocklayer::qcow2::testing
