// SPDX-License-Identifier: Apache-2.0
// blkdebug: a filter that makes things go wrong on request: errors, delays and stops at events,
// limits on requests, permissions taken and withheld.
//
// Beyond the reference: "x-delay", rules that let simulated time pass at an event or in a request.
// units   bytes; ns in x-delay
// source  QAPI BlockdevOptionsBlkdebug; docs/devel/blkdebug.txt of the reference; texts as observed
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <list>

#include "blocklayer/drivers/filters/blkdebug/rules.hpp"
#include "blocklayer/drivers/filters/passthrough.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"
#include "sim/sync.hpp"

namespace blocklayer {
namespace {

using blkdebug::IoType;
using blkdebug::Rules;

constexpr std::uint64_t config_bytes_max = 1024 * 1024;

struct Sizes {
    std::uint64_t opt_write_zero = 0, max_write_zero = 0, max_transfer = 0, opt_discard = 0,
                  max_discard = 0, align = 0;
};
struct SizeOption {
    const char* name;
    std::uint64_t Sizes::*member;
};
// In the order in which faults in them are found.
constexpr SizeOption size_options[] = {
    {"opt-write-zero", &Sizes::opt_write_zero}, {"max-write-zero", &Sizes::max_write_zero},
    {"max-transfer", &Sizes::max_transfer},     {"opt-discard", &Sizes::opt_discard},
    {"max-discard", &Sizes::max_discard},       {"align", &Sizes::align},
};

Result<Sizes> read_sizes(const Value& options) {
    Sizes sizes;
    for (const SizeOption& option : size_options) {
        const std::int64_t value = options.get_int(option.name, 0);
        if (value < 0)
            return failure(fmt::format("Parameter '{}' expects a non-negative number below 2^64",
                                       option.name));
        sizes.*option.member = static_cast<std::uint64_t>(value);
    }
    return sizes;
}

// Each has to be a multiple of what requests are multiples of anyway.
Status check_sizes(const Sizes& sizes, std::uint64_t child_align) {
    const auto check = [](const char* name, std::uint64_t value, std::uint64_t align) -> Status {
        if (value == 0 || (value < INT32_MAX && value % align == 0)) return {};
        return failure(fmt::format("Cannot meet constraints with {} {}", name, value));
    };
    if (sizes.align != 0 && !std::has_single_bit(sizes.align))
        return failure(fmt::format("Cannot meet constraints with align {}", sizes.align));
    TRY(check("align", sizes.align, 1));
    const std::uint64_t align = std::max(sizes.align, child_align);
    TRY(check("max-transfer", sizes.max_transfer, align));
    TRY(check("opt-write-zero", sizes.opt_write_zero, align));
    TRY(check("max-write-zero", sizes.max_write_zero, std::max(sizes.opt_write_zero, align)));
    TRY(check("opt-discard", sizes.opt_discard, align));
    return check("max-discard", sizes.max_discard, std::max(sizes.opt_discard, align));
}

PermSet read_permissions(const Value& options, const char* name) {
    PermSet set;
    if (const Value* given = options.find(name))
        for (const Value& item : given->items())
            for (const Perm perm : {Perm::consistent_read, Perm::write, Perm::write_unchanged,
                                    Perm::resize})
                if (item.as_string() == wire_name(perm)) set = set | perm;
    return set;
}

Result<std::string> read_config(sim::Co& co, sim::HostStore& store, const std::string& path) {
    constexpr std::string_view unreadable = "Cannot read config file";
    const auto with_errno = [](std::string_view text, Errno error) {
        return failure(fmt::format("{}: {}", text, sim::errno_text(error)), error);
    };
    auto file = store.open(path, sim::HostAccess::read_only);
    if (!file && file.error() == Errno::is_directory) return with_errno(unreadable, file.error());
    if (!file) return with_errno("Could not read blkdebug config file", file.error());
    const IoResult<std::uint64_t> size = (*file)->size();
    if (!size) return with_errno(unreadable, size.error());
    if (*size > config_bytes_max) return with_errno(unreadable, Errno::too_big);
    std::string text(*size, '\0');
    const IoStatus read = (*file)->read(co, 0, std::as_writable_bytes(std::span(text)));
    if (!read) return with_errno(unreadable, read.error());
    return text;
}

class Blkdebug final : public Passthrough, private Breakpoints {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        const Value& options = context.options();
        sizes_ = TRY(read_sizes(options));
        config_ = options.get_string("config");
        if (options.has("config"))
            TRY(rules_.add_config(TRY(read_config(co, context.layer().store(), config_))));
        rules_.add_options(options);
        takes_ = read_permissions(options, "take-child-perms");
        withholds_ = read_permissions(options, "unshare-child-perms");
        TRY(context.open_child(co, "image", role_filtered));
        return check_sizes(sizes_, below().child().limits().request_alignment);
    }

    bool supports_reopen() const override { return true; }

    Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                      bool writable) const override {
        Claim claim = Driver::child_claim(edge, role, cumulative, writable);
        claim.used = claim.used | takes_;
        claim.shared = claim.shared.without(withholds_);
        return claim;
    }

    Limits limits() const override {
        Limits limits = passthrough_limits();
        limits.fires_events = true;
        if (sizes_.align != 0) limits.request_alignment = static_cast<std::uint32_t>(sizes_.align);
        limits.max_transfer = sizes_.max_transfer;
        limits.pwrite_zeroes_alignment = static_cast<std::uint32_t>(sizes_.opt_write_zero);
        limits.max_pwrite_zeroes = sizes_.max_write_zero;
        limits.pdiscard_alignment = static_cast<std::uint32_t>(sizes_.opt_discard);
        limits.max_pdiscard = sizes_.max_discard;
        return limits;
    }

    std::string filename_over(const FilenameOf& below) const override {
        for (const std::string& option : node().spec().strong_options)
            if (option != "config" && node().options().has(option)) return {};
        const std::string image = below(*node().filtered_child());
        return image.empty() ? image : fmt::format("blkdebug:{}:{}", config_, image);
    }

    // ---- requests ----------------------------------------------------------------------------
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                  RequestFlags flags) override {
        TRY(judge(co, IoType::read, offset, into.size()));
        return below().read(co, offset, into, flags);
    }
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override {
        TRY(judge(co, IoType::write, offset, from.size()));
        return below().write(co, offset, from, flags);
    }
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override {
        TRY(judge(co, IoType::write_zeroes, offset, length));
        return below().write_zeroes(co, offset, length, flags);
    }
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        TRY(judge(co, IoType::discard, offset, length));
        return below().discard(co, offset, length);
    }
    IoStatus flush(sim::Co& co) override {
        if (node().flushed_generation < node().write_generation)
            TRY(judge(co, IoType::flush, 0, 0));
        return Driver::flush(co);
    }
    IoResult<BlockStatus> block_status(sim::Co& co, std::uint64_t offset,
                                       std::uint64_t length) override {
        TRY(judge(co, IoType::block_status, offset, length));
        return Driver::block_status(co, offset, length);
    }

    // ---- events ------------------------------------------------------------------------------
    void debug_event(sim::Co& co, DebugEvent event) override {
        const sim::Duration delay = rules_.fire(event);
        std::list<Stop> stops;
        for (auto point = points_.begin(); point != points_.end();) {
            if (point->event != event) {
                ++point;
                continue;
            }
            point->say(fmt::format("blkdebug: Suspended request '{}'", point->tag));
            stops.emplace_back(*this, std::move(point->tag), std::move(point->say));
            point = points_.erase(point);  // it stops one request
        }
        for (Stop& stop : stops) stop.resumed.wait(co);
        if (delay > sim::nanoseconds(0)) co.sleep(delay);
    }
    Breakpoints* breakpoints() override { return this; }

private:
    struct Point {
        DebugEvent event;
        std::string tag;
        Say say;
    };
    // On the stack of the request that stopped.
    struct Stop {
        Stop(Blkdebug& stopped_in, std::string its_tag, Say its_say)
            : in(stopped_in), tag(std::move(its_tag)), say(std::move(its_say)) {
            in.stops_.push_back(this);
        }
        Stop(const Stop&) = delete;
        Stop& operator=(const Stop&) = delete;
        ~Stop() { std::erase(in.stops_, this); }

        Blkdebug& in;
        std::string tag;
        Say say;
        sim::Event resumed{"blkdebug resume"};
    };

    IoStatus judge(sim::Co& co, IoType type, std::uint64_t offset, std::uint64_t length) {
        if (rules_.empty()) return {};
        const blkdebug::Verdict verdict = rules_.judge(type, offset, length);
        if (verdict.delay > sim::nanoseconds(0)) co.sleep(verdict.delay);
        if (!verdict.fails) return {};
        if (!verdict.immediately) co.yield("injected error");
        return Unexpected(verdict.error);
    }

    bool set(std::string_view event, std::string tag, Say say) override {
        const auto known = find_debug_event(event);
        if (!known) return false;
        points_.push_front({*known, std::move(tag), std::move(say)});
        return true;
    }
    bool remove(std::string_view tag) override {
        const bool removed =
            points_.remove_if([&](const Point& point) { return point.tag == tag; }) > 0;
        while (resume(tag)) {}
        return removed;
    }
    bool resume(std::string_view tag) override {
        for (Stop* stop : stops_) {
            if (stop->tag != tag || stop->resumed.is_set()) continue;
            stop->say(fmt::format("blkdebug: Resuming request '{}'", tag));
            stop->resumed.set();
            return true;
        }
        return false;
    }
    bool is_suspended(std::string_view tag) const override {
        return std::any_of(stops_.begin(), stops_.end(), [&](const Stop* stop) {
            return stop->tag == tag && !stop->resumed.is_set();
        });
    }

    Rules rules_;
    Sizes sizes_;
    std::string config_;
    PermSet takes_, withholds_;
    std::list<Point> points_;  // newest first
    std::vector<Stop*> stops_;
};

// "blkdebug:CONFIG:IMAGE", CONFIG may be empty.
Result<Value> parse_filename(std::string_view filename) {
    filename.remove_prefix(std::string_view("blkdebug:").size());
    const std::size_t colon = filename.find(':');
    if (colon == std::string_view::npos)
        return failure("blkdebug requires both config file and image path");
    Value options = Value::dict();
    if (colon > 0) options.set("config", filename.substr(0, colon));
    options.set("image",
                Value::dict({{"driver", "file"}, {"filename", filename.substr(colon + 1)}}));
    return options;
}

const DriverRegistration registration({
    .name = "blkdebug",
    .kind = DriverKind::filter,
    .options = {required("image", "BlockdevRef", "the node below"),
                optional("config", "str", "file with rules"),
                optional("align", "int", "alignment of requests"),
                optional("max-transfer", "int32", "longest read or write"),
                optional("opt-write-zero", "int32", "alignment of write-zeroes"),
                optional("max-write-zero", "int32", "longest write-zeroes"),
                optional("opt-discard", "int32", "alignment of discards"),
                optional("max-discard", "int32", "longest discard"),
                optional("inject-error", "[BlkdebugInjectErrorOptions]", "rules: which fail"),
                optional("set-state", "[BlkdebugSetStateOptions]", "rules: the engine's state"),
                optional("take-child-perms", "[BlockPermission]", "also used on the image"),
                optional("unshare-child-perms", "[BlockPermission]", "not shared on the image"),
                optional("x-delay", "[BlkdebugDelayOptions]", "rules: which wait")},
    .make = make_driver<Blkdebug>,
    .filtered_child = "image",
    .strong_options = {"config", "align", "max-transfer", "opt-write-zero", "max-write-zero",
                       "opt-discard", "max-discard", "inject-error", "set-state"},
    .source = "QAPI BlockdevOptionsBlkdebug",
    .called_protocol = true,
    .protocols = {"blkdebug"},
    .parse_filename = parse_filename,
});

}  // namespace
}  // namespace blocklayer
