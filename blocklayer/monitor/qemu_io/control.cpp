// SPDX-License-Identifier: Apache-2.0
// flush, length, truncate, discard, alloc, map, sleep.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "blocklayer/monitor/qemu_io/qemu_io.hpp"
#include "blocklayer/options/schema.hpp"
#include "sim/world.hpp"

namespace blocklayer::qemu_io {
namespace {

Status flush(sim::Co& co, Call& call) {
    (void)call.backend.flush(co);  // its failure is seen in the exit status of the program only
    return {};
}

Status length(sim::Co&, Call& call) {
    if (!call.backend.has_medium())
        call.say(fmt::format("getlength: {}", sim::errno_text(Errno::no_medium)));
    else
        call.say(human_bytes(static_cast<double>(call.backend.length())));
    return {};
}

Status truncate(sim::Co& co, Call& call) {
    const auto options = parse_options(call, "m:");
    if (!options) return {};
    std::string preallocation = "off";
    if (const std::string* mode = options->value('m')) {
        preallocation = *mode;
        if (!check_value(Value(*mode), "PreallocMode"))
            return failure(fmt::format("Invalid preallocation mode '{}'", *mode));
    }
    if (options->rest.empty()) return call.usage(), Status();
    const auto size = parse_number(call, options->rest[0]);
    if (!size) return {};
    return call.backend.truncate(co, *size, /*exact=*/false, preallocation);
}

Status discard(sim::Co& co, Call& call) {
    const auto options = parse_options(call, "Cq");
    if (!options) return {};
    if (options->rest.size() != 2) return call.usage(), Status();
    const auto offset = parse_number(call, options->rest[0]);
    if (!offset) return {};
    const auto bytes = parse_number(call, options->rest[1]);
    if (!bytes) return {};
    if (*bytes > request_bytes_max) {
        call.say(
            fmt::format("length cannot exceed {}, given {}", request_bytes_max, options->rest[1]));
        return {};
    }
    const sim::Instant start = co.world().now();
    const IoStatus status = call.backend.discard(co, *offset, *bytes);
    if (!status)
        call.say(fmt::format("discard failed: {}", sim::errno_text(status.error())));
    else if (!options->has('q'))
        report(call, "discard", options->has('C') ? Style::machine : Style::human, *offset, *bytes,
               *bytes, co.world().now() - start);
    return {};
}

// One run of equal allocation from `offset`, inside [offset, end).
struct Run {
    std::uint64_t length;
    bool allocated;
};
IoResult<Run> next_run(sim::Co& co, Call& call, std::uint64_t offset, std::uint64_t end) {
    Run run{0, false};
    while (offset + run.length < end) {
        const std::uint64_t at = offset + run.length;
        const BlockStatus status = TRY(call.backend.root()->block_status(co, at, end - at));
        if (run.length > 0 && status.allocated != run.allocated) break;
        run.allocated = status.allocated;
        run.length += std::min(status.length, end - at);
    }
    return run;
}

Status alloc(sim::Co& co, Call& call) {
    const auto offset = parse_number(call, call.words[1]);
    if (!offset) return {};
    std::optional<std::uint64_t> count = 512;
    if (call.words.size() > 2) count = parse_number(call, call.words[2]);
    if (!count) return {};
    if (!call.backend.has_medium()) return {};
    const std::uint64_t size = call.backend.length();
    const std::uint64_t end = *offset + std::min(*count, size - std::min(*offset, size));
    std::uint64_t allocated = 0;
    for (std::uint64_t at = *offset; at < end;) {
        const auto run = next_run(co, call, at, end);
        if (!run) {
            call.say(fmt::format("is_allocated failed: {}", sim::errno_text(run.error())));
            return {};
        }
        if (run->allocated) allocated += run->length;
        at += run->length;
    }
    call.say(fmt::format("{}/{} bytes allocated at offset {}", allocated,
                         end - std::min(*offset, end), human_bytes(static_cast<double>(*offset))));
    return {};
}

Status map(sim::Co& co, Call& call) {
    if (!call.backend.has_medium()) return {};
    const std::uint64_t end = call.backend.length();
    for (std::uint64_t at = 0; at < end;) {
        const auto run = next_run(co, call, at, end);
        if (!run)
            return failure(fmt::format("Failed to get allocation status: {}",
                                       sim::errno_text(run.error())),
                           run.error());
        call.say(fmt::format("{} ({:#x}) bytes {} at offset {} ({:#x})",
                             human_bytes(static_cast<double>(run->length)), run->length,
                             run->allocated ? "    allocated" : "not allocated",
                             human_bytes(static_cast<double>(at)), at));
        at += run->length;
    }
    return {};
}

Status sleep(sim::Co& co, Call& call) {
    const std::string& text = call.words[1];
    std::uint32_t ms = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), ms);
    if (ec != std::errc() || end != text.data() + text.size())
        call.say(fmt::format("{} is not a valid number", text));
    else
        co.sleep(sim::milliseconds(ms));
    return {};
}

constexpr Command commands[] = {
    {"flush", "f", flush, 0, 0, {}, "", "flush all in-core file state to disk"},
    {"length", "l", length, 0, 0, {}, "", "gets the length of the current file"},
    {"truncate", "t", truncate, 1, 3, Perm::write | Perm::resize, "[-m prealloc_mode] off",
     "truncates the current file at the given offset"},
    {"discard", "d", discard, 2, -1, Perm::write, "[-Cq] off len",
     "discards a number of bytes at a specified offset"},
    {"alloc", "a", alloc, 1, 2, {}, "offset [count]", "checks if offset is allocated in the file"},
    {"map", "", map, 0, 0, {}, "", "prints the allocated areas of a file"},
    {"sleep", "", sleep, 1, 1, {}, "", "waits for the given value in milliseconds"},
};
const CommandList list(commands);

}  // namespace
}  // namespace blocklayer::qemu_io
