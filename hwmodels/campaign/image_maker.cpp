// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/image_maker.hpp"

#include <cstring>
#include <span>
#include <tuple>
#include <vector>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/layer.hpp"
#include "sim/check.hpp"
#include "sim/memory_store.hpp"
#include "sim/mutant.hpp"
#include "sim/world.hpp"

namespace hwmodels::campaign {
namespace {

using blocklayer::Value;

// Contents of a filled image: every sector different from every other.
std::vector<std::byte> fill_pattern(std::uint64_t offset, std::uint64_t length, unsigned number) {
    std::vector<std::byte> data(length);
    for (std::uint64_t at = 0; at < length; at += sizeof(std::uint64_t)) {
        const std::uint64_t word =
            (offset + at + 1) * 0x9e3779b97f4a7c15U + number * 0xbf58476d1ce4e5b9U;
        std::memcpy(data.data() + at, &word, sizeof word);
    }
    return data;
}

template <class Result>
void must(const Result& result) {
    if (!result) throw sim::AssertionFailure("making an image: " + result.error().text);
}

std::string to_text(const Value& create) {
    std::string all;
    if (!create.is_dict()) return all;
    for (const auto& [name, value] : create.members())
        all += name + "=" +
               (value.is_string() ? value.as_string()
                : value.is_int()  ? std::to_string(value.as_int())
                                  : std::to_string(value.as_bool())) +
               ",";
    return all;
}

void fill(sim::Co& co, blocklayer::BlockLayer& layer, const ImageSpec& image) {
    Value options =
        Value::dict({{"driver", image.format}, {"node-name", "image"}, {"file", "file"}});
    if (blocklayer::find_driver(image.format)->supports_backing) options.set("backing", nullptr);
    must(layer.add_monitor_node(co, options));
    auto backend = blocklayer::BlockBackend::make(
        layer, {.used = blocklayer::Perm::write, .shared = blocklayer::PermSet::all()});
    must(backend->insert(*layer.find_node("image")));
    auto data = fill_pattern(0, image.size, image.filled);
    EXPECTS(backend->write(co, 0, sim::IoView(std::span(data))).has_value());
}

}  // namespace

bool ImageSpec::operator<(const ImageSpec& other) const {
    return std::tuple(file, format, size, filled, to_text(create)) <
           std::tuple(other.file, other.format, other.size, other.filled, to_text(other.create));
}

ImageSpec overlay_image(std::string file, std::uint64_t size, std::string backing_file,
                        std::string backing_format, std::uint64_t cluster_bytes) {
    return {.file = std::move(file),
            .format = "qcow2",
            .size = size,
            .create = Value::dict({{"cluster-size", cluster_bytes},
                                   {"backing-file", std::move(backing_file)},
                                   {"backing-fmt", std::move(backing_format)}})};
}

sim::ByteImage make_image(const ImageSpec& image) {
    const sim::WithoutMutants right;
    sim::World world;
    sim::MemoryStore store;
    blocklayer::BlockLayer layer(world, store);
    sim::ByteImage empty;
    if (image.format == "raw") empty.resize(image.size);
    store.put(image.file, std::move(empty));
    world.run([&](sim::Co& co) {
        must(layer.add_monitor_node(
            co,
            Value::dict({{"driver", "file"}, {"node-name", "file"}, {"filename", image.file}})));
        if (image.format != "raw") {
            Value create =
                Value::dict({{"driver", image.format}, {"file", "file"}, {"size", image.size}});
            if (image.create.is_dict())
                for (const auto& [name, value] : image.create.members()) create.set(name, value);
            const blocklayer::DriverSpec* driver = blocklayer::find_driver(image.format);
            EXPECTS(driver != nullptr && driver->create != nullptr);
            blocklayer::CreateContext context{layer, create};
            must(driver->create(co, context));
        }
        if (image.filled != 0) fill(co, layer, image);
        layer.shut_down(co);
    });
    const sim::ByteImage made = store.medium(image.file)->contents();
    world.close();
    return made;
}

}  // namespace hwmodels::campaign
