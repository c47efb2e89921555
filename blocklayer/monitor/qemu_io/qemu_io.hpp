// SPDX-License-Identifier: Apache-2.0
// The command language of qemu-io: one line does one request on a backend and prints what came of
// it. The monitor command of that name and the program share it.
//
// Results go to the console (console.hpp); faults that the reference reports apart from them are
// returned.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/backend.hpp"
#include "blocklayer/permissions/permissions.hpp"
#include "sim/co.hpp"

namespace blocklayer::qemu_io {

// Runs one line on the backend. What the command needs is added to the backend's wish and stays.
// errors: the refusal of a permission, a failed truncate.
Status run_line(sim::Co& co, BlockBackend& backend, std::string_view line);
// Waits for the asynchronous requests of the backend's layer.
void wait_for_requests(sim::Co& co, BlockBackend& backend);

// ---- for the commands ------------------------------------------------------------------------

struct Call {
    BlockBackend& backend;
    std::vector<std::string> words;  // the command's name first

    void say(std::string_view text) const;  // a line on the console
    void complain(std::string_view text) const;  // a line on the error console
    void usage() const;
};

struct Command {
    std::string_view name, alias;
    Status (*run)(sim::Co& co, Call& call);
    int words_min = 0, words_max = -1;  // besides the name; -1: any number
    PermSet needs;
    std::string_view arguments, summary;  // as the usage line has them
};

class CommandList {
public:
    explicit CommandList(std::span<const Command> commands);  // a static object registers them
};

const Command* find(std::string_view name);

// Options as getopt gives them, and what is left. nullopt: the fault and the usage were printed.
struct Options {
    std::vector<std::pair<char, std::string>> given;
    std::vector<std::string> rest;
    bool has(char option) const;
    const std::string* value(char option) const;  // nullptr: not given
};
// `accepted` as for getopt: "CP:q".
std::optional<Options> parse_options(const Call& call, std::string_view accepted);

// A size with its suffix; nullopt: the fault was printed.
std::optional<std::uint64_t> parse_number(const Call& call, const std::string& text);
std::optional<std::uint8_t> parse_pattern(const Call& call, const std::string& text);
// "64 KiB", "1.500 KiB", "512 bytes"
std::string human_bytes(double bytes);

enum class Style : std::uint8_t { human, machine };
// "read 512/512 bytes at offset 0" and the line of rates.
void report(const Call& call, std::string_view verb, Style style, std::uint64_t offset,
            std::uint64_t wanted, std::uint64_t done, sim::Duration took);

constexpr std::uint64_t request_bytes_max = 2147483136;

}  // namespace blocklayer::qemu_io
