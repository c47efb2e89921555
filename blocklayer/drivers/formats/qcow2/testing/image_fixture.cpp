// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/testing/image_fixture.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "blocklayer/graph/backend.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qcow2-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

CommandResult shell(const TemporaryDirectory& where, const std::string& command) {
    const std::string line = "cd '" + where.path() + "' && ( " + command + " ) 2>&1";
    std::FILE* pipe = ::popen(line.c_str(), "r");
    REQUIRE(pipe != nullptr);
    CommandResult result{-1, {}};
    std::array<char, 4096> buffer;
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
        result.output.append(buffer.data(), n);
    const int status = ::pclose(pipe);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
}

std::string must(const TemporaryDirectory& where, const std::string& command) {
    const CommandResult result = shell(where, command);
    INFO(command << "\n" << result.output);
    REQUIRE(result.status == 0);
    return result.output;
}

std::vector<std::byte> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

void write_file(const std::string& path, const std::vector<std::byte>& bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
}

Value image_options(std::string_view filename, std::string_view more, bool read_only) {
    Value file = Value::dict({{"driver", "file"}, {"filename", filename}});
    Value options = Value::dict({{"driver", "qcow2"}, {"node-name", "image"}});
    options.set("file", std::move(file));
    options.set("discard", "unmap");
    options.set("read-only", read_only);
    std::istringstream items{std::string(more)};
    for (std::string name, value;
         std::getline(items, name, '=') && std::getline(items, value, ',');) {
        Value parsed = value == "on"    ? Value(true)
                       : value == "off" ? Value(false)
                       : std::isdigit(static_cast<unsigned char>(value[0])) != 0
                           ? Value(static_cast<std::int64_t>(std::stoll(value)))
                           : Value(value);
        options.set(name, std::move(parsed));
    }
    return options;
}

OpenImage::OpenImage(sim::World& world, sim::HostStore& store, const Value& options,
                     LayerOptions layer_options)
    : layer(std::make_unique<BlockLayer>(world, store, layer_options)), world_(world) {
    world_.run([&](sim::Co& co) {
        auto opened = layer->open(co, options);
        if (!opened) {
            error = opened.error().text;
            return;
        }
        node = *opened;
        const bool read_only = node->flags().read_only;
        const PermSet uses = read_only
                                 ? PermSet(Perm::consistent_read)
                                 : Perm::consistent_read | Perm::write | PermSet(Perm::resize);
        backend = BlockBackend::make(*layer, {.used = uses, .shared = PermSet::all()});
        const Status inserted = backend->insert(*node);
        if (!inserted) error = inserted.error().text;
    });
}

OpenImage::~OpenImage() { close(); }

void OpenImage::close() {
    if (layer == nullptr) return;
    backend.reset();
    node = NodeRef();
    world_.run([&](sim::Co& co) { layer->shut_down(co); });
    layer.reset();
}

namespace {

struct Range {
    std::uint64_t offset, length;
};

Range draw_range(sim::RandomStream& random, std::uint64_t size, std::uint32_t alignment,
                 std::uint64_t longest) {
    const std::uint64_t blocks = size / alignment;
    const std::uint64_t offset = random.below(blocks);
    const std::uint64_t most = std::max<std::uint64_t>(1, longest / alignment);
    const std::uint64_t length =
        1 + random.below(std::min(blocks - offset, random.below(4) == 0 ? most : most / 16 + 1));
    return {offset * alignment, length * alignment};
}

}  // namespace

void run_history(sim::World& world, OpenImage& image, Model& model, sim::RandomStream& random,
                 const HistoryOptions& options) {
    const std::uint64_t size = model.bytes.size();
    world.run([&](sim::Co& co) {
        BlockBackend& disk = *image.backend;
        for (int i = 0; i < options.operations; ++i) {
            const Range range = draw_range(random, size, options.alignment, 512 * 1024);
            const std::span<std::byte> place =
                std::span(model.bytes).subspan(range.offset, range.length);
            const std::uint64_t kind = random.below(10);
            INFO("operation " << i << " kind " << kind << " at " << range.offset << " length "
                              << range.length);
            if (kind < 5 || (kind < 8 && !options.zeroes)) {
                const auto value = static_cast<std::byte>(1 + random.below(255));
                std::fill(place.begin(), place.end(), value);
                // Not one pattern all over: blocks that are swapped must show.
                for (std::size_t j = 0; j < place.size(); j += 512)
                    place[j] = static_cast<std::byte>(random.below(256));
                REQUIRE(disk.write(co, range.offset, std::span<const std::byte>(place)));
            } else if (kind < 8) {
                std::fill(place.begin(), place.end(), std::byte{0});
                const RequestFlags flags =
                    kind == 5 ? RequestFlags(RequestFlag::may_unmap) : RequestFlags();
                REQUIRE(disk.write_zeroes(co, range.offset, range.length, flags));
            } else if (kind == 8) {
                REQUIRE(disk.discard(co, range.offset, range.length));
                // What a discard leaves behind is the driver's choice: it becomes the truth.
                REQUIRE(disk.read(co, range.offset, place));
            } else {
                REQUIRE(disk.flush(co));
            }
        }
    });
}

std::int64_t first_difference(sim::World& world, OpenImage& image, const Model& model) {
    std::vector<std::byte> seen(model.bytes.size());
    world.run([&](sim::Co& co) {
        for (std::size_t at = 0; at < seen.size(); at += 1 << 20) {
            const std::size_t n = std::min<std::size_t>(1 << 20, seen.size() - at);
            REQUIRE(image.backend->read(co, at, std::span(seen).subspan(at, n)));
        }
    });
    const auto [mine, theirs] = std::mismatch(seen.begin(), seen.end(), model.bytes.begin());
    return mine == seen.end() ? -1 : mine - seen.begin();
}

}  // namespace blocklayer::qcow2::testing
