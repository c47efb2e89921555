// SPDX-License-Identifier: Apache-2.0
// Driver: what makes a node a qcow2, a raw, a filter or a file. One file each; it registers itself.
//
// A driver opens its children, translates requests into requests on them, and says which
// permissions it needs on each. It never sees unaligned requests (limits().request_alignment),
// never one that its parents' permissions do not cover, and past its end only writes of a parent
// that may resize it. What a filter does not override goes to its filtered child.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/edge.hpp"
#include "blocklayer/options/schema.hpp"
#include "blocklayer/requests/flags.hpp"
#include "blocklayer/value.hpp"
#include "sim/co.hpp"
#include "sim/io_view.hpp"

namespace blocklayer {

class BlockLayer;
class Breakpoints;
class Node;
class OpenContext;
class ReopenContext;
enum class DebugEvent : std::uint8_t;

// What requests a driver can take as they are. 0: no limit. units: bytes.
struct Limits {
    std::uint32_t request_alignment = 1;
    std::uint32_t opt_transfer = 0;
    std::uint64_t max_transfer = 0;
    std::uint32_t pwrite_zeroes_alignment = 0;
    std::uint64_t max_pwrite_zeroes = 0;
    std::uint32_t pdiscard_alignment = 0;
    std::uint64_t max_pdiscard = 0;
    bool supports_fua = false;      // write(fua) needs no flush after it
    bool zeroes_may_unmap = false;  // write_zeroes understands may_unmap
    bool zeroes_supports_fua = false;
    bool zeroes_no_fallback = false;
    bool truncate_zeroes = false;  // what a truncate adds reads as zeroes
    bool fires_events = false;     // wants to hear of debug events
};

struct DriverInfo {  // as query-named-block-nodes and `qemu-img info` show it
    std::uint64_t cluster_size = 0;
    bool dirty = false;
    Value format_specific;  // null: the format has none
    bool known = false;     // false: it says nothing of all this
    // As the image itself names its backing file; empty: it has none.
    std::string backing_filename, backing_format;

    // What a node that hands requests on as they are says of itself, when the one below says this.
    DriverInfo handed_on() const {
        return {.cluster_size = cluster_size, .dirty = dirty, .known = known};
    }
};

class Driver {
public:
    virtual ~Driver() = default;

    // The node this driver serves; valid from open() on.
    Node& node() const { return *node_; }

    // Reads its options from the context, opens its children. On failure nothing remains.
    virtual Status open(sim::Co& co, OpenContext& context) = 0;
    // All requests have ended; writes back what it holds. Called once, also for read-only nodes.
    virtual void close(sim::Co&) {}

    virtual IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags);
    virtual IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags);
    // not_supported: the request layer writes buffers of zeroes instead.
    virtual IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                  RequestFlags flags);
    virtual IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    // Its own caches first, then the children that are written to (the default does only those).
    // Not asked of a protocol driver when no write, zero, discard or truncate ended since the last.
    virtual IoStatus flush(sim::Co& co);
    virtual IoResult<BlockStatus> block_status(sim::Co& co, std::uint64_t offset,
                                               std::uint64_t length);
    virtual Status truncate(sim::Co& co, std::uint64_t size, bool exact,
                            std::string_view preallocation, RequestFlags flags);
    // Length of the contents as the driver sees it now; the node caches it.
    virtual IoResult<std::uint64_t> length(sim::Co& co) = 0;
    // This child's length changed: the node's own from now on, or nothing when it stays what it
    // was when the node was opened or last truncated itself.
    virtual std::optional<std::uint64_t> length_with_child(const Edge& child) const;
    virtual Limits limits() const { return {}; }
    virtual DriverInfo info();  // a filter's: what it filters hands on
    virtual IoResult<std::uint64_t> allocated_bytes();
    // What only this kind of driver counts (BlockStatsSpecific); null: nothing.
    virtual Value statistics() const { return {}; }
    // A filter's or format's whole contents back to "unallocated" (after a commit).
    virtual IoStatus make_empty(sim::Co& co);
    // New backing file reference in the image's metadata; empty: none.
    virtual Status change_backing_file(sim::Co& co, std::string_view file, std::string_view format);
    // Image check. repair_* as qemu-img check -r. not_supported by default.
    struct CheckResult {
        std::uint64_t corruptions = 0, leaks = 0, check_errors = 0;
        std::uint64_t corruptions_fixed = 0, leaks_fixed = 0;
        std::uint64_t total_clusters = 0, allocated_clusters = 0, fragmented_clusters = 0,
                      compressed_clusters = 0;
        std::uint64_t image_end_offset = 0;
        std::vector<std::string> messages;
    };
    enum class Repair : std::uint8_t { none = 0, leaks = 1, errors = 2, all = 3 };
    virtual IoResult<CheckResult> check(sim::Co& co, Repair repair);

    // Permissions its child edge needs, given what the node's own users hold. `edge` is nullptr
    // while the child is being attached. writable: read-write after the pending change.
    // Default: the rules for the role (default_child_claim).
    virtual Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                              bool writable) const;
    // A protocol driver's own veto (host locks): prepare may refuse, exactly one of commit and
    // abort follows. Never suspends.
    virtual Status prepare_claim(Claim, bool /*writable*/) { return {}; }
    virtual void commit_claim() {}
    virtual void abort_claim() {}

    // New options on a live node: prepare may refuse and leave no trace; then commit or abort.
    virtual Status reopen_prepare(sim::Co& co, ReopenContext& context);
    // False: "Block format 'x' used by node 'y' does not support reopening files".
    virtual bool supports_reopen() const { return true; }
    // Whether a reopen may give this option of the driver's own another value.
    virtual bool can_change_option(std::string_view /*name*/) const { return false; }
    virtual void reopen_commit(sim::Co&) {}
    virtual void reopen_abort(sim::Co&) {}
    // Migration hands the image over or takes it back.
    virtual IoStatus inactivate(sim::Co&) { return {}; }
    virtual IoStatus activate(sim::Co&) { return {}; }
    // Somebody is about to do this on the node; may wait. Only with limits().fires_events.
    virtual void debug_event(sim::Co&, DebugEvent) {}
    virtual Breakpoints* breakpoints() { return nullptr; }
    // A drained section of this node begins or ends.
    virtual void drain_begin() {}
    virtual void drain_end() {}

    // The filename that leads to a node like this one, made of its children's ("": only options
    // lead to that child). Empty: there is none. Only with DriverSpec::called_protocol.
    using FilenameOf = std::function<std::string(const Edge&)>;
    virtual std::string filename_over(const FilenameOf& /*below*/) const { return {}; }

private:
    friend class BlockLayer;
    friend class Node;
    Node* node_ = nullptr;
};

// The role's rule. source: facts about 7.2, cases R1..R160 of the test-suite hold it to them.
// no_io: the node was opened for looking at metadata only; child_force_shares: the child node was
// opened with force-share.
Claim default_child_claim(RoleSet role, Claim cumulative, bool writable, bool inactive, bool no_io,
                          bool child_force_shares);

enum class DriverKind : std::uint8_t { format, filter, protocol };

struct CreateContext {  // blockdev-create, qemu-img create
    BlockLayer& layer;
    const Value& options;  // validated against DriverSpec::create_options
};

struct DriverSpec {
    std::string name;  // QAPI BlockdevDriver, e.g. "copy-on-read"
    DriverKind kind = DriverKind::format;
    // Members of BlockdevOptions for this driver, besides the common ones.
    std::vector<MemberSpec> options;
    std::unique_ptr<Driver> (*make)() = nullptr;
    // Members of BlockdevCreateOptions; `create` is nullptr when it cannot make images.
    std::vector<MemberSpec> create_options;
    Status (*create)(sim::Co& co, CreateContext& context) = nullptr;
    // 0..100: how surely these first bytes are of this format; nullptr: never probed.
    int (*probe)(std::span<const std::byte> head, std::string_view filename) = nullptr;
    bool supports_backing = false;
    bool can_compress = false;  // understands RequestFlag::compressed, or hands it on
    // The edge of a filter that shows its data, "file" or "backing".
    std::string_view filtered_child = "file";
    // Options that say which image it is, not how it is used: shown in "json:" filenames.
    std::vector<std::string> strong_options;
    std::string source;  // specification of the format, for the reference docs
    bool called_protocol = false;  // a filter that a filename alone can mean: messages call it one
    // Filenames "<protocol>:..." that mean this driver, and their options (without "driver").
    std::vector<std::string> protocols;
    Result<Value> (*parse_filename)(std::string_view filename) = nullptr;
    std::vector<std::string> features = {};  // of its options, for clients
    bool named_as_child = false;  // shown with the filename of what is below, whatever that is
    bool equal_children = false;  // each of its children has the data that it shows
};

// Whether a filename alone can mean a node of this driver.
inline bool has_filename(const DriverSpec& spec) {
    return spec.kind == DriverKind::protocol || spec.called_protocol;
}

template <class D>
std::unique_ptr<Driver> make_driver() {
    return std::make_unique<D>();
}

// A static object of this type in the driver's file is all it takes to add a driver.
class DriverRegistration {
public:
    explicit DriverRegistration(DriverSpec spec);
};

const DriverSpec* find_driver(std::string_view name);
std::vector<const DriverSpec*> all_drivers();  // sorted by name

}  // namespace blocklayer
