// SPDX-License-Identifier: Apache-2.0
// raw: the contents of the file below as they are, or a window of them.
//
// invariant  offset_ + the window's length is within the child, as it was when the options were set
// source     QAPI BlockdevOptionsRaw; texts as observed on the real program
#include <limits>
#include <optional>

#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/graph/open.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t sector_bytes = 512;

struct Window {
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> size;  // nullopt: to the end of the file
    bool given = false;                 // not just the whole file

    bool operator==(const Window&) const = default;
};

Result<std::uint64_t> non_negative(const Value& options, std::string_view name) {
    const std::int64_t value = options.get_int(name, 0);
    if (value < 0)
        return failure(
            fmt::format("Parameter '{}' expects a non-negative number below 2^64", name));
    return static_cast<std::uint64_t>(value);
}

Result<Window> read_window(const Value& options) {
    Window window;
    window.offset = TRY(non_negative(options, "offset"));
    window.given = window.offset > 0 || options.has("size");
    if (options.has("size")) window.size = TRY(non_negative(options, "size"));
    return window;
}

Status check_window(const Window& window, std::uint64_t file_length) {
    if (window.offset > file_length)
        return failure(fmt::format("Offset ({}) cannot be greater than size of the containing "
                                   "file ({})",
                                   window.offset, file_length));
    if (!window.size) return {};
    if (*window.size > file_length - window.offset)
        return failure(fmt::format("The sum of offset ({}) and size ({}) has to be smaller or "
                                   "equal to the  actual size of the containing file ({})",
                                   window.offset, *window.size, file_length));
    if (*window.size % sector_bytes != 0)
        return failure("Specified size is not multiple of 512");
    return {};
}

class Raw final : public Driver {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        window_ = TRY(read_window(context.options()));
        const RoleSet role = window_.given ? Role::data | Role::primary : role_filtered;
        file_ = TRY(context.open_child(co, "file", role));
        TRY(check_window(window_, file_->child().length()));
        node().keeps_to_itself();
        if (!window_.given) context.set_filename(file_->child().filename());
        return {};
    }

    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                  RequestFlags flags) override {
        TRY(check_range(offset, into.size()));
        file_->fire(co, DebugEvent::read_aio);
        return file_->read(co, offset + window_.offset, into, flags);
    }

    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override {
        TRY(check_range(offset, from.size()));
        file_->fire(co, DebugEvent::write_aio);
        return file_->write(co, offset + window_.offset, from, flags);
    }

    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override {
        TRY(check_range(offset, length));
        return file_->write_zeroes(co, offset + window_.offset, length, flags);
    }

    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        TRY(check_range(offset, length));
        return file_->discard(co, offset + window_.offset, length);
    }

    IoResult<BlockStatus> block_status(sim::Co&, std::uint64_t offset,
                                       std::uint64_t length) override {
        return BlockStatus{.length = length,
                           .recurse = true,
                           .file = &file_->child(),
                           .offset = offset + window_.offset};
    }

    Status truncate(sim::Co& co, std::uint64_t size, bool exact, std::string_view preallocation,
                    RequestFlags flags) override {
        if (window_.size)
            return failure("Cannot resize fixed-size raw disks", Errno::not_supported);
        if (size > std::uint64_t{INT64_MAX} - window_.offset)
            return failure("Disk size too large for the chosen offset");
        return file_->truncate(co, size + window_.offset, exact, preallocation, flags);
    }

    IoResult<std::uint64_t> length(sim::Co&) override { return length_now(); }
    std::optional<std::uint64_t> length_with_child(const Edge&) const override {
        return length_now();
    }
    DriverInfo info() override { return file_->child().driver().info().handed_on(); }

    Limits limits() const override {
        return {.supports_fua = true,
                .zeroes_may_unmap = file_->child().limits().zeroes_may_unmap,
                .zeroes_supports_fua = true,
                .zeroes_no_fallback = true,
                .truncate_zeroes = true};
    }

    // A window passes writes on; it makes none of its own, so it needs no more than its users.
    Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                      bool writable) const override {
        Claim claim = Driver::child_claim(edge, role, cumulative, writable);
        if (role.has(Role::data)) {
            const PermSet own = Perm::write | Perm::resize;
            claim.used = claim.used.without(own) | (cumulative.used & own);
        }
        return claim;
    }

    bool can_change_option(std::string_view name) const override {
        return name == "offset" || name == "size";
    }
    Status reopen_prepare(sim::Co&, ReopenContext& context) override {
        const Window window = TRY(read_window(context.options()));
        TRY(check_window(window, file_->child().length()));
        window_after_ = window;
        return {};
    }
    void reopen_commit(sim::Co&) override { window_ = window_after_; }

private:
    // A file that shrank behind a window of fixed size leaves nothing to read there.
    std::uint64_t length_now() const {
        if (window_.size) return *window_.size;
        const std::uint64_t below = file_->child().length();
        return below > window_.offset ? below - window_.offset : 0;
    }

    IoStatus check_range(std::uint64_t offset, std::uint64_t length) const {
        if (window_.size && (offset > *window_.size || length > *window_.size - offset))
            return Unexpected(Errno::no_space);
        if (offset > std::uint64_t{INT64_MAX} - window_.offset) return Unexpected(Errno::invalid);
        return {};
    }

    Edge* file_ = nullptr;
    Window window_, window_after_;
};

int probe(std::span<const std::byte>, std::string_view) { return 1; }  // anything may be raw

const DriverRegistration registration({
    .name = "raw",
    .kind = DriverKind::format,
    .options = {required("file", "BlockdevRef", "the image's contents"),
                optional("offset", "int", "where the image begins in it (default: 0)"),
                optional("size", "int", "length in bytes (default: up to the end)")},
    .make = make_driver<Raw>,
    .probe = probe,
    .strong_options = {"offset", "size"},
    .source = "QAPI BlockdevOptionsRaw",
});

}  // namespace
}  // namespace blocklayer
