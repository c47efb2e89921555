// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/backend.hpp"

#include <algorithm>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {

// Counts a request from its first line to its last. While the backend is drained it stands in
// line, and does not count: the drained section must not wait for it.
class BlockBackend::InFlight {
public:
    InFlight(sim::Co& co, BlockBackend& backend) : backend_(backend) {
        while (backend_.quiesced_ > 0 && backend_.queue_when_drained &&
               !sim::mutant<"backend: drained requests go on">()) {
            ++backend_.parked_;
            backend_.resumed_.wait(co);
            if (--backend_.parked_ == 0) Drain::kick(backend_.layer_);
        }
        ++backend_.in_flight_;
    }
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;
    ~InFlight() {
        INVARIANT(backend_.in_flight_ > 0);
        if (--backend_.in_flight_ == 0 && !sim::mutant<"drain: nobody is told of the end">())
            Drain::kick(backend_.layer_);
    }

private:
    BlockBackend& backend_;
};

namespace {

constexpr PermSet writes = Perm::write | Perm::write_unchanged;

void account(const IoStatus& status, std::uint64_t bytes, std::uint64_t& byte_count,
             std::uint64_t& operations, std::uint64_t& failed) {
    if (status) {
        byte_count += bytes;
        ++operations;
    } else {
        ++failed;
    }
}

}  // namespace

std::unique_ptr<BlockBackend> BlockBackend::make(BlockLayer& layer, Claim wish, std::string name) {
    return std::unique_ptr<BlockBackend>(new BlockBackend(layer, wish, std::move(name)));
}

BlockBackend::BlockBackend(BlockLayer& layer, Claim wish, std::string name)
    : layer_(layer),
      name_(std::move(name)),
      wish_(wish),
      thread_(&layer.world().main_thread()),
      subject_(layer.world().trace().subject(name_)) {
    layer_.backends_.push_back(this);
}

BlockBackend::~BlockBackend() {
    if (layer_.dropping_) return;
    if (root_ != nullptr) remove();
    std::erase(layer_.backends_, this);
}

Status BlockBackend::insert(Node& node) {
    EXPECTS(root_ == nullptr);
    root_ = TRY(layer_.graph().attach_root(*this, node, "root", EdgeClass::root, wish_));
    // A tray is moved by itself, before and after.
    if (!callbacks_.change_media || callbacks_.is_tray_open) return {};
    Status loaded = callbacks_.change_media(true);
    if (!loaded) layer_.graph().detach(*std::exchange(root_, nullptr));
    return loaded;
}

void BlockBackend::remove() {
    EXPECTS(root_ != nullptr);
    // An ejected medium cannot be refused.
    if (callbacks_.change_media && !callbacks_.is_tray_open) (void)callbacks_.change_media(false);
    last_flags_ = root_->child().flags();
    layer_.graph().detach(*std::exchange(root_, nullptr));
}

Status BlockBackend::replace(Node& node) {
    EXPECTS(root_ != nullptr);
    Node& old = root_->child();
    if (&old == &node) return {};
    const NodeRef keep(&old);
    Transaction tx;
    Graph& graph = layer_.graph();
    graph.move(tx, *root_, node);
    Node* const changed[] = {&old, &node};
    TRY(graph.refresh(tx, changed));
    tx.commit();
    return {};
}

Status BlockBackend::set_wish(Claim wish) {
    if (root_ != nullptr) TRY(layer_.graph().set_claim(*root_, wish));
    wish_ = wish;
    return {};
}

Status BlockBackend::attach_device(std::string id, std::string qom_path,
                                   DeviceCallbacks callbacks) {
    if (has_device())
        return failure(fmt::format("Drive '{}' is already in use by another device", name_),
                       Errno::busy);
    device_id_ = std::move(id);
    qom_path_ = std::move(qom_path);
    callbacks_ = std::move(callbacks);
    if (quiesced_ > 0 && callbacks_.drained_begin) callbacks_.drained_begin();
    return {};
}

void BlockBackend::detach_device() {
    EXPECTS(has_device());
    device_id_.clear();
    qom_path_.clear();
    callbacks_ = {};
    keeps_io_state = false;
    io_state = IoState::ok;
}

std::uint64_t BlockBackend::length() const {
    return root_ == nullptr ? 0 : root_->child().length();
}

bool BlockBackend::read_only() const {
    return root_ == nullptr ? !wish_.used.intersects(writes) : root_->child().read_only();
}

IoStatus BlockBackend::check_range(std::uint64_t offset, std::uint64_t length) const {
    if (root_ == nullptr) return Unexpected(Errno::no_medium);
    if (length > INT64_MAX || offset > INT64_MAX - length) return Unexpected(Errno::io);
    if (allow_write_beyond_end) return {};
    const std::uint64_t end = root_->child().length();
    if (offset > end || length > end - offset) return Unexpected(Errno::io);
    return {};
}

IoStatus BlockBackend::read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                            RequestFlags flags) {
    const InFlight in_flight(co, *this);
    if (IoStatus status = check_range(offset, into.size()); !status) {
        ++statistics.invalid_rd;
        return status;
    }
    const IoStatus status = root_->read(co, offset, into, flags);
    account(status, into.size(), statistics.rd_bytes, statistics.rd_operations,
            statistics.failed_rd);
    return status;
}

IoStatus BlockBackend::write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                             RequestFlags flags) {
    const InFlight in_flight(co, *this);
    if (IoStatus status = check_range(offset, from.size()); !status) {
        ++statistics.invalid_wr;
        return status;
    }
    if (!write_cache && !sim::mutant<"backend: write-through is not">())
        flags = flags | RequestFlag::fua;
    const IoStatus status = root_->write(co, offset, from, flags);
    account(status, from.size(), statistics.wr_bytes, statistics.wr_operations,
            statistics.failed_wr);
    return status;
}

IoStatus BlockBackend::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                    RequestFlags flags) {
    const InFlight in_flight(co, *this);
    if (IoStatus status = check_range(offset, length); !status) {
        ++statistics.invalid_wr;
        return status;
    }
    if (!write_cache) flags = flags | RequestFlag::fua;
    const IoStatus status = root_->write_zeroes(co, offset, length, flags);
    account(status, length, statistics.wr_bytes, statistics.wr_operations, statistics.failed_wr);
    return status;
}

IoStatus BlockBackend::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    const InFlight in_flight(co, *this);
    TRY(check_range(offset, length));
    const IoStatus status = root_->discard(co, offset, length);
    account(status, length, statistics.unmap_bytes, statistics.unmap_operations,
            statistics.failed_unmap);
    return status;
}

IoStatus BlockBackend::flush(sim::Co& co) {
    const InFlight in_flight(co, *this);
    if (root_ == nullptr) return Unexpected(Errno::no_medium);
    const IoStatus status = root_->flush(co);
    std::uint64_t no_bytes = 0;
    account(status, 0, no_bytes, statistics.flush_operations, statistics.failed_flush);
    return status;
}

Status BlockBackend::truncate(sim::Co& co, std::uint64_t size, bool exact,
                              std::string_view preallocation, RequestFlags flags) {
    const InFlight in_flight(co, *this);
    if (root_ == nullptr) return failure("No medium inserted", Errno::no_medium);
    return root_->truncate(co, size, exact, preallocation, flags);
}

IoStatus BlockBackend::make_empty(sim::Co& co) {
    const InFlight in_flight(co, *this);
    if (root_ == nullptr) return Unexpected(Errno::no_medium);
    return root_->make_empty(co);
}

// source  QAPI block-core.json BLOCK_IO_ERROR; order of events as the reference sends them.
bool BlockBackend::shows_io_state() const {
    const bool stops = rerror == OnError::stop || werror == OnError::stop ||
                       werror == OnError::enospc || werror == OnError::automatic;
    return keeps_io_state && stops;
}

ErrorAction BlockBackend::on_error(bool is_read, Errno error) {
    OnError policy = is_read ? rerror : werror;
    if (policy == OnError::automatic) policy = is_read ? OnError::report : OnError::enospc;
    const bool full = error == Errno::no_space;
    if (policy == OnError::enospc) policy = full ? OnError::stop : OnError::report;
    const ErrorAction action = policy == OnError::stop     ? ErrorAction::stop
                               : policy == OnError::ignore ? ErrorAction::ignore
                                                           : ErrorAction::report;

    Value data = Value::dict();
    data.set("device", name_);
    if (root_ != nullptr) data.set("node-name", root_->child().name());
    data.set("operation", is_read ? "read" : "write");
    data.set("action", action == ErrorAction::stop     ? "stop"
                       : action == ErrorAction::ignore ? "ignore"
                                                       : "report");
    if (shows_io_state()) data.set("nospace", full);
    data.set("reason", sim::errno_text(error));
    layer_.emit_event("BLOCK_IO_ERROR", std::move(data));
    if (action == ErrorAction::stop && io_state == IoState::ok)
        io_state = full ? IoState::no_space : IoState::failed;
    if (action == ErrorAction::stop && layer_.stop_machine) layer_.stop_machine();
    return action;
}

std::string BlockBackend::describe() const {
    const std::string& text = !name_.empty() ? name_ : !device_id_.empty() ? device_id_ : qom_path_;
    if (text.empty()) return "an unnamed block device";
    return fmt::format("block device '{}'", text);
}

std::string BlockBackend::describe_2_9() const {
    if (!name_.empty()) return name_;
    if (!device_id_.empty()) return device_id_;
    return qom_path_.empty() ? "a block device" : qom_path_;
}

void BlockBackend::drained_begin(Edge&) {
    if (++quiesced_ == 1 && callbacks_.drained_begin) callbacks_.drained_begin();
}

void BlockBackend::drained_end(Edge&) {
    INVARIANT(quiesced_ > 0);
    if (--quiesced_ > 0) return;
    if (callbacks_.drained_end && !sim::mutant<"backend: the device is not told to go on">())
        callbacks_.drained_end();
    if (sim::mutant<"backend: one request goes on after a drained section">())
        resumed_.wake_one();
    else
        resumed_.wake_all();
}

void BlockBackend::arrived() {
    INVARIANT(announced_ > 0);
    if (--announced_ == 0) Drain::kick(layer_);
}

bool BlockBackend::busy(const Edge&) const {
    return in_flight_ > 0 || (callbacks_.drained_poll && callbacks_.drained_poll());
}

void BlockBackend::child_resized(Edge&) {
    if (callbacks_.resized) callbacks_.resized();
}

void BlockBackend::child_replaced(Edge&) {
    if (callbacks_.resized) callbacks_.resized();
}

}  // namespace blocklayer
