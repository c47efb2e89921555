// SPDX-License-Identifier: Apache-2.0
// read, readv, aio_read, write, writev, aio_write, aio_flush.
#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/qemu_io/qemu_io.hpp"
#include "sim/sync.hpp"

namespace blocklayer::qemu_io {
namespace {

using Bytes = std::vector<std::byte>;

struct Transfer {
    std::string verb;        // "read", "wrote"
    std::string fault_verb;  // "read", "readv", "write"
    std::uint64_t offset = 0, length = 0;
    Style style = Style::human;
    bool quiet = false, dump = false, zeroes = false;
    RequestFlags flags;
    std::optional<std::uint8_t> expected;  // reads
    std::uint64_t check_offset = 0, check_length = 0;
    Bytes data;
};

// ---- asynchronous requests ----------------------------------------------------------------------

struct Outstanding {
    std::uint64_t count = 0;
    sim::WaitQueue idle{"asynchronous requests of qemu-io"};
};

std::shared_ptr<Outstanding> outstanding(BlockLayer& layer) {
    std::any& place = layer.extensions["qemu-io requests"];
    if (!place.has_value()) place = std::make_shared<Outstanding>();
    return std::any_cast<std::shared_ptr<Outstanding>>(place);
}

// ---- doing one ----------------------------------------------------------------------------------

void hex_dump(const Call& call, const Transfer& transfer) {
    for (std::size_t row = 0; row < transfer.data.size(); row += 16) {
        std::string line = fmt::format("{:08x}:  ", transfer.offset + row), text;
        for (std::size_t i = row; i < std::min(row + 16, transfer.data.size()); ++i) {
            const auto byte = static_cast<unsigned char>(transfer.data[i]);
            line += fmt::format("{:02x} ", byte);
            text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
        }
        call.say(line + " " + text);
    }
}

IoStatus perform(sim::Co& co, BlockBackend& backend, Transfer& transfer) {
    if (transfer.verb == "read")  // of whatever is there: the user looks, nothing relies on it
        return backend.read(co, transfer.offset, sim::IoView(std::span(transfer.data)),
                            RequestFlag::inconsistent_ok);
    if (transfer.zeroes)
        return backend.write_zeroes(co, transfer.offset, transfer.length, transfer.flags);
    return backend.write(co, transfer.offset, sim::IoView(std::span(transfer.data)),
                         transfer.flags);
}

void verify(const Call& call, const Transfer& transfer) {
    if (!transfer.expected) return;
    const std::span part =
        std::span(transfer.data).subspan(transfer.check_offset, transfer.check_length);
    const bool same = std::all_of(part.begin(), part.end(), [&](std::byte byte) {
        return byte == static_cast<std::byte>(*transfer.expected);
    });
    if (!same)
        call.say(fmt::format("Pattern verification failed at offset {}, {} bytes",
                             transfer.offset + transfer.check_offset, transfer.check_length));
}

void transfer_and_report(sim::Co& co, const Call& call, Transfer& transfer) {
    const sim::Instant start = co.world().now();
    const IoStatus status = perform(co, call.backend, transfer);
    if (!status)
        return call.say(
            fmt::format("{} failed: {}", transfer.fault_verb, sim::errno_text(status.error())));
    verify(call, transfer);
    if (transfer.quiet) return;
    if (transfer.dump) hex_dump(call, transfer);
    report(call, transfer.verb, transfer.style, transfer.offset, transfer.length, transfer.length,
           co.world().now() - start);
}

// ---- reading the words --------------------------------------------------------------------------

// One offset, then one length or several that are added up.
bool read_range(const Call& call, const Options& options, bool vector, Transfer& transfer) {
    if (options.rest.size() < 2 || (!vector && options.rest.size() > 2)) return call.usage(), false;
    const auto offset = parse_number(call, options.rest[0]);
    if (!offset) return false;
    transfer.offset = *offset;
    for (std::size_t i = 1; i < options.rest.size(); ++i) {
        const auto length = parse_number(call, options.rest[i]);
        if (!length) return false;
        transfer.length += *length;
        if (transfer.length > request_bytes_max) {
            call.say(fmt::format("length cannot exceed {}{}, given {}", request_bytes_max,
                                 transfer.zeroes ? " without -n" : "", options.rest[i]));
            return false;
        }
    }
    return true;
}

bool read_check(const Call& call, const Options& options, Transfer& transfer) {
    if (const std::string* pattern = options.value('P')) {
        transfer.expected = parse_pattern(call, *pattern);
        if (!transfer.expected) return false;
    }
    if (const std::string* start = options.value('s')) {
        const auto offset = parse_number(call, *start);
        if (!offset) return false;
        transfer.check_offset = *offset;
    }
    if (const std::string* length = options.value('l')) {
        const auto bytes = parse_number(call, *length);
        if (!bytes) return false;
        transfer.check_length = *bytes;
    }
    return true;
}

bool place_check(const Call& call, const Options& options, Transfer& transfer) {
    if (!transfer.expected && (options.has('s') || options.has('l'))) return call.usage(), false;
    const std::uint64_t left =
        transfer.check_offset > transfer.length ? 0 : transfer.length - transfer.check_offset;
    if (!options.has('l')) transfer.check_length = left;
    if (transfer.check_offset <= transfer.length && transfer.check_length <= left) return true;
    call.say("pattern verification range exceeds end of read data");
    return false;
}

std::optional<Transfer> read_transfer(const Call& call, std::string_view accepted, bool vector) {
    const auto options = parse_options(call, accepted);
    if (!options) return std::nullopt;
    Transfer transfer{.verb = "read", .fault_verb = vector ? "readv" : "read"};
    transfer.quiet = options->has('q');
    transfer.dump = options->has('v');
    if (options->has('C')) transfer.style = Style::machine;
    if (!read_check(call, *options, transfer) || !read_range(call, *options, vector, transfer) ||
        !place_check(call, *options, transfer))
        return std::nullopt;
    if (options->has('b')) {  // there is no state of a machine to read
        call.say("read failed: Operation not supported");
        return std::nullopt;
    }
    // What a failed read leaves is not zeroes.
    transfer.data.assign(transfer.length, std::byte{0xab});
    return transfer;
}

// The fault in a combination of options, if there is one.
std::string_view combination_fault(const Options& options, bool vector) {
    const auto has = [&](char option) { return options.has(option); };
    if (!vector && has('b') && has('z')) return "-b and -z cannot be specified at the same time";
    if (!vector && has('f') && (has('b') || has('c')))
        return "-f and -b or -c cannot be specified at the same time";
    if (has('n') && !has('z')) return "-n requires -z to be specified";
    if (has('u') && !has('z')) return "-u requires -z to be specified";
    if (!vector && has('z') + has('P') + has('s') > 1)
        return "Only one of -z, -P, and -s can be specified at the same time";
    if (vector && has('z') && options.rest.size() > 2)
        return "-z supports only a single length parameter";
    return {};
}

RequestFlags write_flags(const Options& options) {
    RequestFlags flags;
    if (options.has('c')) flags = flags | RequestFlag::compressed;
    if (options.has('f')) flags = flags | RequestFlag::fua;
    if (options.has('n')) flags = flags | RequestFlag::no_fallback;
    if (options.has('u')) flags = flags | RequestFlag::may_unmap;
    return flags;
}

// The contents of a host file, over and over.
IoStatus fill_from_file(sim::Co& co, const Call& call, const std::string& path, Bytes& data) {
    const auto file = TRY(call.backend.layer().store().open(path, sim::HostAccess::read_only));
    const std::uint64_t size = std::min<std::uint64_t>(TRY(file->size()), data.size());
    if (size == 0) return Unexpected(Errno::invalid);
    TRY(file->read(co, 0, sim::IoView(std::span(data).first(size))));
    for (std::size_t i = size; i < data.size(); ++i) data[i] = data[i - size];
    return {};
}

std::optional<Transfer> write_transfer(sim::Co& co, const Call& call, std::string_view accepted,
                                       bool vector) {
    const auto options = parse_options(call, accepted);
    if (!options) return std::nullopt;
    Transfer transfer{.verb = "wrote", .fault_verb = vector ? "writev" : "write"};
    transfer.quiet = options->has('q');
    transfer.zeroes = options->has('z');
    transfer.flags = write_flags(*options);
    if (options->has('C')) transfer.style = Style::machine;
    std::uint8_t pattern = 0xcd;
    if (const std::string* text = options->value('P')) {
        const auto given = parse_pattern(call, *text);
        if (!given) return std::nullopt;
        pattern = *given;
    }
    const bool too_few = options->rest.size() < 2 || (!vector && options->rest.size() > 2);
    const std::string_view fault = too_few ? "" : combination_fault(*options, vector);
    if (!fault.empty()) {
        call.say(fault);
        return std::nullopt;
    }
    if (!read_range(call, *options, vector, transfer)) return std::nullopt;
    if (options->has('b')) {
        call.say("write failed: Operation not supported");
        return std::nullopt;
    }
    if (transfer.zeroes) return transfer;
    transfer.data.assign(transfer.length, static_cast<std::byte>(pattern));
    if (const std::string* path = options->value('s'))
        if (const IoStatus filled = fill_from_file(co, call, *path, transfer.data); !filled) {
            call.say(fmt::format("{}: {}", *path, sim::errno_text(filled.error())));
            return std::nullopt;
        }
    return transfer;
}

// ---- the commands -------------------------------------------------------------------------------

Status now(sim::Co& co, Call& call, std::optional<Transfer> transfer) {
    if (transfer) transfer_and_report(co, call, *transfer);
    return {};
}

Status later(sim::Co& co, Call& call, std::optional<Transfer> transfer) {
    if (!transfer) return {};
    auto requests = outstanding(call.backend.layer());
    ++requests->count;
    struct Work {
        Call call;
        Transfer transfer;
    };
    auto work = std::make_shared<Work>(Work{call, *std::move(transfer)});
    co.world().spawn(co.world().main_thread(), "qemu-io request", [requests, work](sim::Co& own) {
        transfer_and_report(own, work->call, work->transfer);
        if (--requests->count == 0) requests->idle.wake_all();
    });
    // A request that has nothing to wait for ends before the next command.
    co.yield("qemu-io request begun");
    return {};
}

Status read(sim::Co& co, Call& call) {
    return now(co, call, read_transfer(call, "bCl:pP:qs:v", /*vector=*/false));
}
Status readv(sim::Co& co, Call& call) {
    return now(co, call, read_transfer(call, "CP:qv", /*vector=*/true));
}
Status aio_read(sim::Co& co, Call& call) {
    return later(co, call, read_transfer(call, "CP:iqv", /*vector=*/true));
}
Status write(sim::Co& co, Call& call) {
    return now(co, call, write_transfer(co, call, "bcCfnpP:qs:uz", /*vector=*/false));
}
Status writev(sim::Co& co, Call& call) {
    return now(co, call, write_transfer(co, call, "CfqP:", /*vector=*/true));
}
Status aio_write(sim::Co& co, Call& call) {
    return later(co, call, write_transfer(co, call, "CfiP:quz", /*vector=*/true));
}
Status aio_flush(sim::Co& co, Call& call) {
    wait_for_requests(co, call.backend);
    return {};
}

constexpr Command commands[] = {
    {"read",
     "r",
     read,
     2,
     -1,
     {},
     "[-abCqv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset"},
    {"readv",
     "",
     readv,
     2,
     -1,
     {},
     "[-Cqv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset"},
    {"aio_read",
     "",
     aio_read,
     2,
     -1,
     {},
     "[-Ciqv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes"},
    {"write", "w", write, 2, -1, Perm::write, "[-bcCfnquz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset"},
    {"writev", "", writev, 2, -1, Perm::write, "[-Cfq] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset"},
    {"aio_write", "", aio_write, 2, -1, Perm::write, "[-Cfiquz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes"},
    {"aio_flush", "", aio_flush, 0, -1, {}, "", "completes all outstanding aio requests"},
};
const CommandList list(commands);

}  // namespace

void wait_for_requests(sim::Co& co, BlockBackend& backend) {
    const auto requests = outstanding(backend.layer());
    while (requests->count > 0) requests->idle.wait(co);
}

}  // namespace blocklayer::qemu_io
