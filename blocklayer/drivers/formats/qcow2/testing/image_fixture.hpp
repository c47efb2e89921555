// SPDX-License-Identifier: Apache-2.0
// Images in a directory of real files, worked on by our driver and by the real qemu-img.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/layer.hpp"
#include "sim/posix_store.hpp"
#include "sim/rng.hpp"
#include "sim/world.hpp"

namespace blocklayer::qcow2::testing {

// An empty directory that goes away with its owner.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();
    const std::string& path() const { return path_; }
    std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

private:
    std::string path_;
};

struct CommandResult {
    int status;
    std::string output;  // both streams
};
// A shell command, run in a directory.
CommandResult shell(const TemporaryDirectory& where, const std::string& command);
// The same, which must succeed; gives what it printed.
std::string must(const TemporaryDirectory& where, const std::string& command);

std::vector<std::byte> read_file(const std::string& path);
void write_file(const std::string& path, const std::vector<std::byte>& bytes);

// What the guest must see.
struct Model {
    std::vector<std::byte> bytes;
    explicit Model(std::uint64_t size) : bytes(size) {}
};

struct HistoryOptions {
    std::uint64_t size = 4 << 20;
    int operations = 60;
    std::string image_options;  // more members for blockdev-add, as "name=number,..."
    bool compressed = false;
    bool zeroes = true;
    std::uint32_t alignment = 512;
};

// A node on a host store, and a user of it.
class OpenImage {
public:
    OpenImage(sim::World& world, sim::HostStore& store, const Value& options,
              LayerOptions layer_options = {});
    ~OpenImage();
    bool opened() const { return error.empty(); }
    void close();

    std::string error;
    std::unique_ptr<BlockLayer> layer;
    NodeRef node;
    std::unique_ptr<BlockBackend> backend;

private:
    sim::World& world_;
};

Value image_options(std::string_view filename, std::string_view more = "", bool read_only = false);

// Random writes, zeroes, discards and flushes, kept in step with the model.
void run_history(sim::World& world, OpenImage& image, Model& model, sim::RandomStream& random,
                 const HistoryOptions& options);
// Everything the guest sees, compared with the model: offset of the first difference, or -1.
std::int64_t first_difference(sim::World& world, OpenImage& image, const Model& model);

}  // namespace blocklayer::qcow2::testing
