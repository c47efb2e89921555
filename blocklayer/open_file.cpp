// SPDX-License-Identifier: Apache-2.0
// Nodes by filename: which protocol it names, and which format its first bytes have.
#include <algorithm>
#include <array>

#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"

namespace blocklayer {
namespace {

constexpr std::size_t probe_bytes = 2048;

// The "nbd" of "nbd://host/disk"; empty for a path.
std::string_view protocol_of(std::string_view filename) {
    const std::size_t colon = filename.find(':');
    if (colon == std::string_view::npos || filename.find('/') < colon) return {};
    return filename.substr(0, colon);
}

Result<Value> protocol_options(std::string_view filename) {
    const std::string_view protocol = protocol_of(filename);
    if (protocol.empty() || protocol == "file") {
        const std::string_view path = protocol.empty() ? filename : filename.substr(5);
        return Value::dict({{"driver", "file"}, {"filename", path}});
    }
    for (const DriverSpec* spec : all_drivers()) {
        if (std::find(spec->protocols.begin(), spec->protocols.end(), protocol) ==
            spec->protocols.end())
            continue;
        Value options = TRY(spec->parse_filename(filename));
        options.set("driver", spec->name);
        return options;
    }
    return failure(fmt::format("Unknown protocol '{}'", protocol), Errno::no_entry);
}

// The driver that is surest of the first bytes; raw when nobody is.
Result<const DriverSpec*> probe(sim::Co& co, Node& file, std::string_view filename) {
    std::array<std::byte, probe_bytes> head{};
    const std::size_t size = std::min<std::uint64_t>(file.length(), head.size());
    if (size > 0) {  // looking at whatever is there needs no permission
        const auto reader = BlockBackend::make(file.layer(), Claim{});
        TRY(reader->insert(file));
        const IoStatus status =
            reader->read(co, 0, {head.data(), size}, RequestFlag::inconsistent_ok);
        if (!status)
            return failure(fmt::format("Could not read image for determining its format: {}",
                                       sim::errno_text(status.error())),
                           status.error());
    }
    const DriverSpec* best = find_driver("raw");
    int best_score = 0;
    for (const DriverSpec* spec : all_drivers()) {
        if (spec->probe == nullptr) continue;
        const int score = spec->probe(std::span(head).first(size), filename);
        if (score > best_score) best = spec, best_score = score;
    }
    if (best == nullptr)
        return failure("Could not determine image format: No compatible driver found",
                       Errno::no_entry);
    return best;
}

}  // namespace

Result<NodeRef> BlockLayer::open_file(sim::Co& co, std::string_view filename, Value options,
                                      NodeFlags inherited) {
    if (options.is_null()) options = Value::dict();
    Value below = TRY(protocol_options(filename));
    const DriverSpec* spec = nullptr;
    if (const Value* name = options.find("driver")) {
        spec = find_driver(name->as_string());
        if (spec == nullptr)
            return failure(fmt::format("Unknown driver '{}'", name->as_string()), Errno::invalid);
    }
    if (spec != nullptr && spec->kind == DriverKind::protocol) {
        for (const auto& [key, value] : options.members()) below.set(key, value);
        return open(co, below, inherited);
    }
    const NodeFlags flags = flags_of_options(options, inherited);
    TRY(check_flags(flags));
    NodeRef file = TRY(open(co, below, inherited_flags(flags, role_image)));
    if (spec == nullptr) {
        spec = TRY(probe(co, *file, filename));
        options.set("driver", spec->name);
    }
    options.set("file", std::move(below));
    TRY(check_value(options, "BlockdevOptions"));
    return open_node(co, options, inherited, std::move(file));
}

}  // namespace blocklayer
