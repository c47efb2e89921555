// SPDX-License-Identifier: Apache-2.0
// copy-before-write: what a write would overwrite is copied to the target first. So the target and
// what has not been written yet hold the state from the filter's first moment.
//
// Per cluster: `to_copy` (its old contents are still to be saved), `kept` (the old state can be
// asked for), `saved` (it is in the target). A cluster is copied by one request; others wait.
// These are bitmaps that queries show: the first of the source, the others of the filter itself.
//
// invariant  a write reaches the source only when no cluster of it is to be copied, no copy of it
//            is under way and nobody is reading the old state of it from the source
// units      bytes; s in cbw-timeout
// source     QAPI BlockdevOptionsCbw; behaviour as observed
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "blocklayer/drivers/filters/passthrough.hpp"
#include "blocklayer/drivers/filters/snapshot_source.hpp"
#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/memory.hpp"
#include "blocklayer/requests/request.hpp"
#include "sim/mutant.hpp"
#include "sim/sync.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t cluster_bytes_min = 64 * 1024;
constexpr std::uint64_t cluster_bytes_max = 64 * 1024 * 1024;
constexpr std::uint64_t clusters_max = std::uint64_t{1} << 31;

struct Range {
    std::uint64_t begin, end;  // clusters
    bool overlaps(const Range& other) const { return begin < other.end && other.begin < end; }
};

// A part of the bitmap that a later, shorter length has cut off is clean.
bool is_set(const DirtyBitmap& bitmap, std::uint64_t offset) {
    return offset < bitmap.length() && bitmap.get(offset);
}

class CopyBeforeWrite final : public Passthrough, public SnapshotSource {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        const Value& options = context.options();
        TRY(context.open_child(co, "file", role_filtered));
        target_ = TRY(context.open_child(co, "target", Role::data));
        const DirtyBitmap* bitmap = nullptr;
        if (const Value* given = options.find("bitmap"))
            bitmap = TRY(find_bitmap(context.layer(), *given));
        break_snapshot_ = options.get_string("on-cbw-error") == "break-snapshot";
        timeout_ = sim::seconds(options.get_int("cbw-timeout", 0));

        const std::uint64_t wanted = target_->child().driver().info().cluster_size;
        cluster_bytes_ = std::clamp(wanted, cluster_bytes_min, cluster_bytes_max);
        length_ = below().child().length();
        const std::uint64_t clusters = (length_ + cluster_bytes_ - 1) / cluster_bytes_;
        if (clusters > clusters_max) return failure("The image is too large to keep a state of");
        clusters_ = clusters;
        to_copy_ = add_bitmap(below().child());
        saved_ = add_bitmap(node());
        kept_ = add_bitmap(node());
        for (std::uint64_t i = 0; i < clusters; ++i) {
            const std::uint64_t begin = i * cluster_bytes_;
            const std::uint64_t bytes = std::min(cluster_bytes_, length_ - begin);
            if (bitmap != nullptr) {
                const auto dirty = bitmap->next_dirty(begin);
                if (!dirty || *dirty >= begin + bytes) continue;
            }
            to_copy_->set(begin, bytes);
            kept_->set(begin, bytes);
        }
        return {};
    }

    // The source may be another one by now.
    void close(sim::Co&) override {
        for (Node* any : node().layer().nodes()) std::erase(any->dirty_bitmaps(), to_copy_);
    }

    Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                      bool writable) const override {
        if (!role.has(Role::filtered))
            return {.used = Perm::write, .shared = PermSet::all().without(Perm::resize)};
        Claim claim = Driver::child_claim(edge, role, cumulative, writable);
        // Until somebody uses it, it refuses nothing: so it can be made beside a writer and then
        // be put in place.
        if (node().parents().empty()) return claim;
        if (cumulative.used.contains(Perm::write)) claim.used = claim.used | Perm::consistent_read;
        claim.shared = claim.shared.without(Perm::write | Perm::resize);
        return claim;
    }

    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override {
        if (!flags.has(RequestFlag::write_unchanged)) TRY(save(co, offset, from.size()));
        return below().write(co, offset, from, flags);
    }
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override {
        if (!sim::mutant<"copy-before-write: zeroes save nothing">()) TRY(save(co, offset, length));
        return below().write_zeroes(co, offset, length, flags);
    }
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        if (!sim::mutant<"copy-before-write: discards save nothing">())
            TRY(save(co, offset, length));
        return below().discard(co, offset, length);
    }

    // What is kept of the earlier state is not the guest's business.
    IoStatus flush(sim::Co& co) override { return below().flush(co); }

    // ---- the earlier state -------------------------------------------------------------------
    IoStatus snapshot_read(sim::Co& co, std::uint64_t offset, sim::IoView into) override {
        for (std::uint64_t done = 0; done < into.size();) {
            const std::uint64_t at = offset + done;
            const std::uint64_t part = TRY(kept_part(at, into.size() - done));
            const sim::IoView there = into.sub(done, part);
            if (is_set(*saved_, at)) {
                TRY(target_->read(co, at, there, RequestFlag::inconsistent_ok));
            } else {
                const Reading reading(*this, clusters(at, part));
                TRY(below().read(co, at, there, RequestFlag::inconsistent_ok));
            }
            done += part;
        }
        return {};
    }

    IoResult<BlockStatus> snapshot_status(sim::Co& co, std::uint64_t offset,
                                          std::uint64_t length) override {
        const std::uint64_t part = TRY(kept_part(offset, length));
        if (is_set(*saved_, offset)) return target_->block_status(co, offset, part);
        const Reading reading(*this, clusters(offset, part));
        return below().block_status(co, offset, part);
    }

    IoStatus snapshot_discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        const std::uint64_t end = std::min(offset + length, length_);
        const std::uint64_t first = (offset + cluster_bytes_ - 1) / cluster_bytes_;
        const std::uint64_t last = end == length_ ? clusters_ : end / cluster_bytes_;
        if (first >= last) return {};
        const std::uint64_t begin = first * cluster_bytes_;
        const std::uint64_t bytes = std::min(last * cluster_bytes_, length_) - begin;
        kept_->clear(begin, bytes);
        to_copy_->clear(begin, bytes);
        if (begin + bytes > target_->child().length()) return {};
        return target_->discard(co, begin, bytes);
    }

private:
    // Somebody reads the old state from the source: writes wait.
    struct Reading {
        Reading(CopyBeforeWrite& reading_in, Range read) : in(reading_in), range(read) {
            in.reading_.push_back(this);
        }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;
        ~Reading() {
            std::erase(in.reading_, this);
            in.changed_.wake_all();
        }
        CopyBeforeWrite& in;
        Range range;
    };

    std::shared_ptr<DirtyBitmap> add_bitmap(Node& owner) const {
        auto bitmap = std::make_shared<DirtyBitmap>("", length_,
                                                    static_cast<std::uint32_t>(cluster_bytes_));
        bitmap->enabled = false;  // only this filter sets it
        owner.dirty_bitmaps().insert(owner.dirty_bitmaps().begin(), bitmap);
        return bitmap;
    }

    static Result<const DirtyBitmap*> find_bitmap(BlockLayer& layer, const Value& given) {
        const std::string& name = given.at("name").as_string();
        Node* owner = layer.find_device_or_node(given.at("node").as_string());
        if (owner == nullptr)
            return failure(
                fmt::format("Node '{}' not found", given.at("node").as_string()));
        for (const auto& bitmap : owner->dirty_bitmaps())
            if (bitmap->name() == name) return bitmap.get();
        return failure(fmt::format("Dirty bitmap '{}' not found", name));
    }

    Range clusters(std::uint64_t offset, std::uint64_t length) const {
        const std::uint64_t end = (offset + length + cluster_bytes_ - 1) / cluster_bytes_;
        return {offset / cluster_bytes_, std::min(end, clusters_)};
    }

    // How far from `offset` the state is kept, all at one place.
    IoResult<std::uint64_t> kept_part(std::uint64_t offset, std::uint64_t length) const {
        const Range range = clusters(offset, length);
        for (std::uint64_t i = range.begin; i < range.end; ++i)
            if ((broken_ && !sim::mutant<"copy-before-write: a broken state is shown">()) ||
                !is_set(*kept_, i * cluster_bytes_))
                return Unexpected(Errno::access);
        if (range.begin >= range.end || offset + length > length_)
            return Unexpected(Errno::access);  // past what there was
        std::uint64_t last = range.begin;
        const bool saved = is_set(*saved_, last * cluster_bytes_);
        while (last + 1 < range.end && is_set(*saved_, (last + 1) * cluster_bytes_) == saved)
            ++last;
        return std::min(length, (last + 1) * cluster_bytes_ - offset);
    }

    // Before a write: everything it covers is saved, or given up.
    IoStatus save(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
        const Range range = clusters(offset, length);
        const sim::Instant deadline = co.world().now() + timeout_;
        do {
            for (std::uint64_t next; !broken_ && (next = next_to_copy(range)) < range.end;) {
                IoStatus copied = copy(co, next);
                if (copied && timeout_ > sim::nanoseconds(0) && co.world().now() > deadline)
                    copied = Unexpected(Errno::timed_out);
                if (copied) continue;
                if (!break_snapshot_) return copied;
                broken_ = true;
            }
            while (busy(range)) changed_.wait(co);
        } while (!broken_ && next_to_copy(range) < range.end &&  // somebody else's copy failed
                 !sim::mutant<"copy-before-write: a failure of others is passed over">());
        if (!broken_)
            saved_->set(range.begin * cluster_bytes_, (range.end - range.begin) * cluster_bytes_);
        return {};
    }

    std::uint64_t next_to_copy(const Range& range) const {
        std::uint64_t i = range.begin;
        while (i < range.end && !is_set(*to_copy_, i * cluster_bytes_)) ++i;
        return i;
    }

    bool busy(const Range& range) const {
        const bool copied = std::any_of(copying_.begin(), copying_.end(), [&](std::uint64_t i) {
            return i >= range.begin && i < range.end;
        });
        const bool read =
            std::any_of(reading_.begin(), reading_.end(),
                        [&](const Reading* reading) { return reading->range.overlaps(range); });
        return (copied && !sim::mutant<"copy-before-write: copies under way do not count">()) ||
               (read && !sim::mutant<"copy-before-write: readers do not count">());
    }

    IoStatus copy(sim::Co& co, std::uint64_t cluster) {
        struct Copying {
            Copying(CopyBeforeWrite& copying_in, std::uint64_t copied)
                : in(copying_in), cluster(copied) {
                in.to_copy_->clear(cluster * in.cluster_bytes_, 1);  // it is ours now
                in.copying_.push_back(cluster);
            }
            ~Copying() {
                std::erase(in.copying_, cluster);
                in.changed_.wake_all();
            }
            CopyBeforeWrite& in;
            std::uint64_t cluster;
        } const copying(*this, cluster);
        const std::uint64_t begin = cluster * cluster_bytes_;
        const IoStatus status = copy_bytes(co, begin);
        (status ? saved_ : to_copy_)->set(begin, 1);
        return status;
    }

    IoStatus copy_bytes(sim::Co& co, std::uint64_t begin) {
        const std::uint64_t length = std::min(cluster_bytes_, length_ - begin);
        if (begin + length > target_->child().length()) return Unexpected(Errno::no_space);
        const BlockStatus status = TRY(below().block_status(co, begin, length));
        if (status.zero && status.length >= length)
            return target_->write_zeroes(co, begin, length, {});
        TRY(memory_for(below().child(), "an earlier state"));
        std::vector<std::byte> bytes(length);
        TRY(below().read(co, begin, std::span(bytes), below().as_granted()));
        return target_->write(co, begin, std::span(bytes));
    }

    Edge* target_ = nullptr;
    std::uint64_t cluster_bytes_ = cluster_bytes_min, length_ = 0, clusters_ = 0;
    std::shared_ptr<DirtyBitmap> to_copy_, kept_, saved_;
    std::vector<std::uint64_t> copying_;
    std::vector<Reading*> reading_;
    sim::WaitQueue changed_{"copy before write"};
    sim::Duration timeout_;
    bool break_snapshot_ = false;
    bool broken_ = false;  // a copy failed, the earlier state is lost
};

const DriverRegistration registration({
    .name = "copy-before-write",
    .kind = DriverKind::filter,
    .options = {required("file", "BlockdevRef", "what is written to"),
                required("target", "BlockdevRef", "where old contents go"),
                optional("bitmap", "BlockDirtyBitmap", "only what is dirty in it is kept"),
                optional("on-cbw-error", "OnCbwError", "what a failed copy breaks"),
                optional("cbw-timeout", "uint32", "seconds a copy may take (0: any time)")},
    .make = make_driver<CopyBeforeWrite>,
    .source = "QAPI BlockdevOptionsCbw",
    .named_as_child = true,
});

}  // namespace
}  // namespace blocklayer
