// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"

#include <algorithm>
#include <sstream>

#include "blocklayer/graph/drain.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

void merge(Value& into, const Value& more) {
    if (!more.is_dict()) return;
    for (const auto& [name, value] : more.members()) into.set(name, value);
}

void create(sim::Co& co, BlockLayer& layer, const Value& options) {
    CreateContext context{layer, options};
    const Status made = find_driver(options.get_string("driver"))->create(co, context);
    INFO((made ? std::string() : made.error().text));
    REQUIRE(made.has_value());
}

}  // namespace

Value members(std::string_view text) {
    Value options;
    std::istringstream items{std::string(text)};
    for (std::string name, value;
         std::getline(items, name, '=') && std::getline(items, value, ',');) {
        const bool number = std::isdigit(static_cast<unsigned char>(value[0])) != 0;
        options.set(name, value == "on"    ? Value(true)
                          : value == "off" ? Value(false)
                          : number         ? Value(static_cast<std::int64_t>(std::stoll(value)))
                                           : Value(value));
    }
    return options;
}

MemoryImage::MemoryImage(std::string_view wanted, std::string_view open_options,
                         sim::WorldOptions options)
    : world(std::move(options)), layer(world, store) {
    layer.add_event_sink([this](const std::shared_ptr<const QmpEvent>& event) {
        events.push_back(*event);
    });
    run([&](sim::Co& co) {
        create(co, layer, Value::dict({{"driver", "file"}, {"filename", name}, {"size", 0}}));
        Value made = Value::dict({{"driver", "qcow2"}, {"size", 1 << 20}, {"cluster-size", 512}});
        made.set("file", Value::dict({{"driver", "file"}, {"filename", name}}));
        merge(made, members(wanted));
        create(co, layer, made);
    });
    const std::string refused = open(open_options);
    INFO(refused);
    REQUIRE(refused.empty());
}

MemoryImage::~MemoryImage() {
    close();
    world.close();
}

std::string MemoryImage::open(std::string_view more, bool read_only) {
    Value options = Value::dict({{"driver", "qcow2"}, {"node-name", "image"}});
    options.set("file", Value::dict({{"driver", "file"}, {"filename", name}}));
    options.set("read-only", read_only);
    options.set("discard", "unmap");
    options.set("backing", backing);
    merge(options, members(more));
    return run([&](sim::Co& co) -> std::string {
        auto opened = layer.open(co, options);
        layer.reap(co);
        if (!opened) return opened.error().text;
        node = std::move(*opened);
        Claim claim{.used = Perm::consistent_read, .shared = PermSet::all()};
        if (!read_only) claim.used = Perm::consistent_read | Perm::write | PermSet(Perm::resize);
        disk = BlockBackend::make(layer, claim);
        const Status inserted = disk->insert(*node);
        return inserted ? std::string() : inserted.error().text;
    });
}

void MemoryImage::close() {
    bare_.reset();
    disk.reset();
    node = NodeRef();
    if (!world.closing()) run([&](sim::Co& co) { layer.shut_down(co); });
}

void MemoryImage::reopen(std::string_view more) {
    close();
    REQUIRE(open(more) == "");
}

Image& MemoryImage::bare() {
    if (bare_ == nullptr) {
        bare_ = std::make_unique<Image>(*node);
        run([&](sim::Co& co) {
            REQUIRE(bare_->load_header(co, *node->child("file")));
            Settings settings{.l2_table_bytes = std::min<std::uint64_t>(
                                  4096, bare_->geometry().cluster_bytes()),
                              .l2_tables = 16};
            REQUIRE(bare_->load_tables(co, settings));
        });
    }
    return *bare_;
}

IoStatus MemoryImage::write(std::uint64_t offset, std::uint64_t length, int value,
                            RequestFlags flags) {
    const std::vector<std::byte> data(length, static_cast<std::byte>(value));
    return run([&](sim::Co& co) {
        return disk->write(co, offset, std::span<const std::byte>(data), flags);
    });
}

IoStatus MemoryImage::write_zeroes(std::uint64_t offset, std::uint64_t length,
                                   RequestFlags flags) {
    return run([&](sim::Co& co) { return disk->write_zeroes(co, offset, length, flags); });
}

IoStatus MemoryImage::discard(std::uint64_t offset, std::uint64_t length) {
    return run([&](sim::Co& co) { return disk->discard(co, offset, length); });
}

IoStatus MemoryImage::flush() {
    return run([&](sim::Co& co) { return disk->flush(co); });
}

std::string MemoryImage::resize(std::uint64_t size, std::string_view preallocation) {
    const Status done =
        run([&](sim::Co& co) { return disk->truncate(co, size, true, preallocation); });
    return done ? std::string() : done.error().text;
}

int MemoryImage::read(std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> data(length);
    const IoStatus done =
        run([&](sim::Co& co) { return disk->read(co, offset, std::span(data)); });
    if (!done) return -2;
    const bool alike =
        std::all_of(data.begin(), data.end(), [&](std::byte b) { return b == data[0]; });
    return alike ? static_cast<int>(data[0]) : -1;
}

BlockStatus MemoryImage::status(std::uint64_t offset, std::uint64_t length) {
    const auto status = run([&](sim::Co& co) {
        return node->driver().block_status(co, offset, std::min(length, disk->length() - offset));
    });
    REQUIRE(status.has_value());
    return *status;
}

Driver::CheckResult MemoryImage::check(Driver::Repair repair) {
    auto result = run([&](sim::Co& co) { return node->driver().check(co, repair); });
    REQUIRE(result.has_value());
    return std::move(*result);
}

std::string MemoryImage::check_counts(Driver::Repair repair) {
    const Driver::CheckResult result = check(repair);
    for (const std::string& message : result.messages) UNSCOPED_INFO(message);
    return fmt::format("{}/{}/{}", result.corruptions, result.leaks, result.check_errors);
}

std::vector<std::byte> MemoryImage::bytes() {
    std::vector<std::byte> bytes(medium().contents().size());
    medium().contents().read(0, bytes);
    return bytes;
}

void MemoryImage::put(const std::vector<std::byte>& bytes) {
    sim::ByteImage image;
    image.write(0, bytes);
    store.put(name, std::move(image));
}

std::uint64_t MemoryImage::number(std::uint64_t offset, unsigned bytes) {
    std::byte raw[8] = {};
    medium().contents().read(offset, std::span(raw).subspan(8 - bytes, bytes));
    return read_be<std::uint64_t>(raw);
}

void MemoryImage::patch(std::uint64_t offset, std::uint64_t value, unsigned bytes) {
    std::byte raw[8];
    write_be(raw, value);
    sim::ByteImage image = medium().contents();
    image.write(offset, std::span<const std::byte>(raw).subspan(8 - bytes, bytes));
    store.put(name, std::move(image));
}

}  // namespace blocklayer::qcow2::testing
