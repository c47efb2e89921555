// SPDX-License-Identifier: Apache-2.0
// file: an image file of the host, with the byte locks that keep other openers away from it.
//
// What a node's users need and withhold is shown to other processes as shared locks: byte 100 + n
// for each permission n in use, 200 + n for each one not shared. "May I?" is the question whether
// the opposite byte could be locked exclusively. Lock first and ask then: two racing openers may
// both fail, never both succeed.
//
// invariant  held_ is what this open description has locked
// source     QAPI BlockdevOptionsFile; lock bytes and texts as observed on the real program
#include <algorithm>
#include <vector>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/drivers/protocols/image_lock.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t zero_chunk_bytes = 1024 * 1024;

std::string open_failure(std::string_view filename, Errno error) {
    return fmt::format("Could not open '{}': {}", filename, sim::errno_text(error));
}

IoStatus write_zero_data(sim::Co& co, sim::HostFile& file, std::uint64_t offset,
                         std::uint64_t length) {
    const std::vector<std::byte> zeroes(std::min(length, zero_chunk_bytes));
    while (length > 0) {
        const std::uint64_t n = std::min<std::uint64_t>(length, zeroes.size());
        TRY(file.write(co, offset, std::span(zeroes).first(n)));
        offset += n;
        length -= n;
    }
    return {};
}

// Makes the file `size` bytes long; what is new is reserved as asked.
Status resize(sim::Co& co, sim::HostFile& file, std::uint64_t size,
              std::string_view preallocation) {
    if (preallocation == "metadata")
        return failure("Unsupported preallocation mode: metadata", Errno::not_supported);
    const IoResult<std::uint64_t> old_size = file.size();
    if (!old_size) return failure("Could not get file size", old_size.error());
    const bool reserve = preallocation == "falloc" || preallocation == "full";
    if (reserve && size < *old_size)
        return failure("Preallocation can only be used for growing images", Errno::not_supported);
    if (size > INT64_MAX) return failure("Could not resize file: File too large", Errno::too_big);

    IoStatus done = file.truncate(co, size);
    if (done && reserve) {
        const std::uint64_t added = size - *old_size;
        if (preallocation == "full")
            done = write_zero_data(co, file, *old_size, added);
        else
            done = file.write_zeroes(co, *old_size, added, sim::MayUnmap::no);
        if (!done && file.truncate(co, *old_size) != IoStatus()) {
            // The first error is the one that counts; the file stays longer than it should.
            return failure(fmt::format("Could not resize file: {}", sim::errno_text(done.error())),
                           done.error());
        }
    }
    if (!done)
        return failure(fmt::format("Could not resize file: {}", sim::errno_text(done.error())),
                       done.error());
    return {};
}

class File final : public Driver {
public:
    Status open(sim::Co&, OpenContext& context) override {
        const Value& options = context.options();
        filename_ = options.get_string("filename");
        store_ = &context.layer().store();
        locking_ = options.get_string("locking", "auto") != "off";
        auto_read_only_ = context.node().flags().auto_read_only;
        if (filename_.empty()) return failure("The 'file' block driver requires a file name");
        if (options.get_string("aio") == "native" && !context.node().flags().direct)
            return failure(
                "aio=native was specified, but it requires cache.direct=on, which was "
                "not specified.");
        if (options.has("pr-manager"))
            return failure(fmt::format("No persistent reservation manager with id '{}'",
                                       options.get_string("pr-manager")));
        auto opened = store_->open(filename_, access_for({}, context.writable()));
        if (!opened) return failure(open_failure(filename_, opened.error()), opened.error());
        file_ = std::move(*opened);
        context.set_filename(shown_filename());
        node().keeps_to(sim::Place::named("host file", filename_));
        return {};
    }

    void close(sim::Co&) override { file_.reset(); }

    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags) override {
        return file_->read(co, offset, into);
    }

    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags) override {
        return file_->write(co, offset, from);
    }

    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override {
        return file_->write_zeroes(
            co, offset, length,
            flags.has(RequestFlag::may_unmap) ? sim::MayUnmap::yes : sim::MayUnmap::no);
    }

    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        const IoStatus status = file_->discard(co, offset, length);
        if (status) {
            ++discards_.done;
            discards_.bytes += length;
        } else {
            ++discards_.failed;
        }
        return status;
    }

    // A failed sync leaves the host's cache in an unknown state: no later one may claim success.
    IoStatus flush(sim::Co& co) override {
        if (!flush_failure_) return flush_failure_;
        IoStatus flushed = file_->flush(co);
        if (!flushed && !node().flags().direct) flush_failure_ = flushed;
        return flushed;
    }

    IoResult<BlockStatus> block_status(sim::Co&, std::uint64_t offset,
                                       std::uint64_t length) override {
        BlockStatus status{.length = length, .allocated = true, .file = &node(), .offset = offset};
        if (offset >= TRY(file_->size())) {  // the tail that rounds the length up
            status.zero = true;
            return status;
        }
        const sim::HostExtent extent = TRY(file_->extent(offset, length));
        status.length = std::min(length, extent.length);
        status.data = extent.data;
        status.zero = !extent.data;
        return status;
    }

    Status truncate(sim::Co& co, std::uint64_t size, bool, std::string_view preallocation,
                    RequestFlags) override {
        return resize(co, *file_, size, preallocation);
    }

    IoResult<std::uint64_t> length(sim::Co&) override { return file_->size(); }
    IoResult<std::uint64_t> allocated_bytes() override { return file_->allocated_bytes(); }
    DriverInfo info() override { return {.known = true}; }

    Value statistics() const override {
        return Value::dict({{"driver", "file"},
                            {"discard-nb-ok", discards_.done},
                            {"discard-nb-failed", discards_.failed},
                            {"discard-bytes-ok", discards_.bytes}});
    }

    Limits limits() const override {
        return {.request_alignment = node().flags().direct ? file_->direct_alignment() : 1U,
                .zeroes_may_unmap = true,
                .truncate_zeroes = true};
    }

    Status prepare_claim(Claim claim, bool writable) override {
        INVARIANT(!pending_);
        pending_.emplace(Pending{.claim = claim});
        Status prepared = prepare(claim, writable);
        if (!prepared) abort_claim();
        return prepared;
    }

    void commit_claim() override {
        if (!pending_) return;
        if (pending_->file) {
            file_ = std::move(pending_->file);  // the old description goes, and its locks with it
            held_ = pending_->held;
        }
        if (locks() && !sim::mutant<"locks: what is not needed is kept">())
            held_.keep_only(*file_, LockBits::of(pending_->claim));
        pending_.reset();
    }

    void abort_claim() override {
        if (!pending_) return;
        if (!pending_->file && pending_->locked &&
            !sim::mutant<"locks: a refused user keeps them">())
            held_.keep_only(*file_, pending_->before);
        pending_.reset();
    }

    bool can_change_option(std::string_view name) const override {
        return name == "drop-cache" || name == "x-check-cache-dropped";
    }

    Status reopen_prepare(sim::Co&, ReopenContext& context) override {
        if (node().options().has("drop-cache") && !context.options().has("drop-cache"))
            return failure("Option 'drop-cache' cannot be reset to its default value");
        auto_read_only_after_ = context.flags().auto_read_only;
        return {};
    }
    void reopen_commit(sim::Co&) override { auto_read_only_ = auto_read_only_after_; }

private:
    std::string shown_filename() const {
        // A colon before the first slash would read as a protocol's name.
        const std::size_t colon = filename_.find_first_of(":/");
        const bool ambiguous = colon != std::string::npos && filename_[colon] == ':';
        return ambiguous ? "file:" + filename_ : filename_;
    }

    struct Pending {
        Claim claim;
        std::unique_ptr<sim::HostFile> file;  // a new description, when the access changes
        LockBits held;                        // what the new one has locked
        LockBits before;                      // what the old one had
        bool locked = false;
    };

    struct Discards {
        std::uint64_t done = 0, failed = 0, bytes = 0;
    };

    bool locks() const { return locking_ && !node().flags().inactive; }

    // With auto-read-only the file is opened for writing only while somebody writes.
    sim::HostAccess access_for(PermSet used, bool writable) const {
        const bool needed =
            !auto_read_only_ ||
            used.intersects(Perm::write | Perm::write_unchanged | PermSet(Perm::resize));
        return writable && needed ? sim::HostAccess::read_write : sim::HostAccess::read_only;
    }

    Status prepare(Claim claim, bool writable) {
        const sim::HostAccess access = access_for(claim.used, writable);
        if (access != file_->access()) {
            auto opened = store_->open(filename_, access);
            if (!opened) return failure(open_failure(filename_, opened.error()), opened.error());
            pending_->file = std::move(*opened);
        }
        if (!locks()) return {};
        pending_->locked = true;
        pending_->before = held_;
        const LockBits wanted = LockBits::of(claim);
        Status locked = lock_pending(wanted);
        if (locked) return locked;
        Error error = std::move(locked).error();
        error.hint = fmt::format("Is another process using the image [{}]?\n", node().filename());
        return Unexpected(std::move(error));
    }

    Status lock_pending(const LockBits& wanted) {
        if (!pending_->file) {
            if (held_.contains(wanted)) return {};
            TRY(held_.lock(*file_, wanted));
            return wanted.test(*file_);
        }
        // The old description keeps its locks until the new one takes over.
        TRY(pending_->held.lock(*pending_->file, held_));
        TRY(pending_->held.lock(*pending_->file, wanted));
        if (held_.contains(wanted) || sim::mutant<"locks: more is taken without asking">())
            return {};
        return wanted.test_ignoring(*pending_->file, held_, *file_);
    }

    sim::HostStore* store_ = nullptr;
    std::unique_ptr<sim::HostFile> file_;
    std::string filename_;
    IoStatus flush_failure_;
    Discards discards_;
    LockBits held_;
    std::optional<Pending> pending_;
    bool locking_ = true;
    bool auto_read_only_ = false;
    bool auto_read_only_after_ = false;
};

Status create_file(sim::Co& co, CreateContext& context) {
    const Value& options = context.options;
    const std::string filename = options.get_string("filename");
    const auto could_not_create = [&](Errno error) {
        return failure(fmt::format("Could not create '{}': {}", filename, sim::errno_text(error)),
                       error);
    };
    const std::string preallocation = options.get_string("preallocation", "off");
    if (preallocation == "metadata")
        return failure("Unsupported preallocation mode: metadata", Errno::not_supported);
    auto created = context.layer.store().create(filename);
    if (!created) return could_not_create(created.error());
    sim::HostFile& file = **created;

    // Nobody may use the file while it is emptied.
    const LockBits wanted = LockBits::of(
        {.used = Perm::write | Perm::resize, .shared = PermSet::all().without(Perm::resize)});
    LockBits held;
    TRY(held.lock(file, wanted));
    TRY(wanted.test(file));
    if (const IoStatus emptied = file.truncate(co, 0); !emptied)
        return failure(fmt::format("Could not resize file: {}", sim::errno_text(emptied.error())),
                       emptied.error());
    return resize(co, file, options.get_uint("size", 0), preallocation);
}

const DriverRegistration registration({
    .name = "file",
    .kind = DriverKind::protocol,
    .options = {required("filename", "str", "path to the image file"),
                optional("pr-manager", "str", "id of the persistent reservation manager"),
                optional("locking", "OnOffAuto", "whether to lock the file (default: auto)"),
                optional("aio", "BlockdevAioOptions", "host I/O backend (default: threads)"),
                optional("aio-max-batch", "int", "largest batch of requests (default: 0)"),
                optional("drop-cache", "bool", "drop the host's cache after migration"),
                with_feature("unstable", optional("x-check-cache-dropped", "bool",
                                                  "check that it was dropped"))},
    .make = make_driver<File>,
    .create_options = {required("filename", "str", "path of the new file"),
                       required("size", "size", "length in bytes"),
                       optional("preallocation", "PreallocMode", "off, falloc or full"),
                       optional("nocow", "bool", "no copy on write in the host's filesystem"),
                       optional("extent-size-hint", "size", "allocation unit for the host")},
    .create = create_file,
    .source = "QAPI BlockdevOptionsFile, BlockdevCreateOptionsFile",
    .features = {"dynamic-auto-read-only"},
});

}  // namespace
}  // namespace blocklayer
