// SPDX-License-Identifier: Apache-2.0
// virtio-blk: the guest's doorbell on one side, a block backend on the other.
//
// units      sectors of 512 bytes on the wire (whatever the logical block size), bytes inside
// invariant  a request is served by one fiber, or waits in retry_ for the machine to run again
// source     VIRTIO 1.2 section 5.2.
#include <fmt/format.h>
#include <bit>
#include <cstring>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/iothread.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/qdev/block_properties.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {
namespace {

using blocklayer::Errno;
using blocklayer::ErrorAction;
using blocklayer::failure;
using blocklayer::IoStatus;
using blocklayer::RequestFlag;
using blocklayer::Status;

namespace wire {  // values from the specification; never invented, never renumbered
constexpr std::uint32_t type_in = 0, type_out = 1, type_flush = 4, type_get_id = 8,
                        type_discard = 11, type_write_zeroes = 13;
constexpr std::uint8_t status_ok = 0, status_ioerr = 1, status_unsupported = 2;
constexpr std::uint64_t feature_seg_max = 1 << 2, feature_geometry = 1 << 4, feature_ro = 1 << 5,
                        feature_blk_size = 1 << 6, feature_flush = 1 << 9,
                        feature_topology = 1 << 10, feature_config_wce = 1 << 11,
                        feature_mq = 1 << 12, feature_discard = 1 << 13,
                        feature_write_zeroes = 1 << 14;
constexpr std::uint32_t write_zeroes_unmap = 1;
constexpr std::uint32_t type_barrier = 0x8000'0000, type_scsi = 2;
constexpr std::size_t header_bytes = 16, id_bytes = 20, segment_bytes = 16, config_bytes = 57;
constexpr std::uint64_t config_writeback = 32, sector_bytes = 512;
}  // namespace wire

constexpr std::uint32_t sectors_limit =
    4194303;  // what fits into the block layer's largest request

struct Request {
    Chain chain;
    std::size_t queue = 0;
    std::uint64_t epoch = 0;
    std::uint32_t type = 0;
    std::uint64_t offset = 0;  // bytes
    sim::IoView data;
    std::byte* status = nullptr;  // where the driver wants it
    Request* next = nullptr;      // free or waiting ones
};

class VirtioBlk final : public VirtioDevice {
public:
    VirtioBlk(Device& host, VirtioTransport& transport)
        : VirtioDevice(host, transport), drive_(host) {}

    Status set_drive(std::string_view name) override;
    Status change_drive(std::string_view name) override { return drive_.change(name); }
    blocklayer::BlockBackend* backend() const override { return drive_.backend(); }
    Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    void run_state_changed(bool running) override;

    std::uint64_t device_features() const override;
    void config_write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) override;

protected:
    void on_notify(std::size_t index) override;
    void on_reset() override;
    void on_queue_reset(std::size_t index) override;
    void on_driver_ok() override;
    void fill_config(std::vector<std::byte>& config) override;

private:
    Status check_queues() const;
    Status check_limits() const;
    Request& take_request();
    void give_back(Request& request) { request.next = std::exchange(free_, &request); }
    bool parse(Request& request);
    void start(Request& request);
    void serve(sim::Co& co, Request& request);
    IoStatus execute(sim::Co& co, Request& request);
    IoStatus write(sim::Co& co, Request& request);
    IoStatus discard_or_zero(sim::Co& co, Request& request);
    void get_id(Request& request);
    void finish(Request& request, std::uint8_t status);

    Drive drive_;
    struct {
        std::uint64_t features = 0;
        std::uint32_t segments_max = 0, min_io_blocks = 0, opt_io_blocks = 0,
                      discard_sectors_max = 0, zeroes_sectors_max = 0;
        std::uint16_t cylinders = 0;
        std::uint8_t heads = 0, sectors = 0;
    } config_;  // what the properties put into features and configuration space
    blocklayer::IoThread* iothread_ = nullptr;
    std::vector<std::unique_ptr<Request>> all_requests_;
    Request* free_ = nullptr;
    std::vector<Request*> retry_;  // failed, to be repeated when the machine runs again
    bool original_write_cache_ = true;
};

// ---- life --------------------------------------------------------------------------------------

Status VirtioBlk::set_drive(std::string_view name) {
    const std::string& iothread = host().properties().text("iothread");
    if (!iothread.empty()) iothread_ = find_iothread(host().machine().layer(), iothread);
    sim::Thread& thread =
        iothread_ != nullptr ? *iothread_->thread : host().machine().world().main_thread();
    return drive_.attach(name, "virtio-blk-device", thread,
                         {.drained_begin = [this] { pause(); },
                          .drained_end = [this] { unpause(); },
                          .resized = [this] { config_changed(); }},
                         OtherThread::join);
}

Status VirtioBlk::check_queues() const {
    const Properties& p = host().properties();
    const std::uint64_t queues = p.number("num-queues"), size = p.number("queue-size");
    if (queues == 0) return failure("num-queues property must be larger than 0");
    if (queues > 1023 && queues != UINT16_MAX)
        return failure(fmt::format("invalid num-queues property ({}), must be below 1024", queues));
    if (size <= 2)
        return failure(fmt::format("invalid queue-size property ({}), must be > 2", size));
    if (!std::has_single_bit(size) || size > VirtQueue::size_max)
        return failure(
            fmt::format("invalid queue-size property ({}), must be a power of 2 (max {})", size,
                        VirtQueue::size_max));
    return {};
}

Status VirtioBlk::check_limits() const {
    const Properties& p = host().properties();
    for (const sim::Label name :
         std::initializer_list<sim::Label>{"max-discard-sectors", "max-write-zeroes-sectors"}) {
        const std::uint64_t sectors = p.number(name);
        if (sectors == 0 || sectors > sectors_limit)
            return failure(fmt::format("invalid {} property ({}), must be between 1 and {}",
                                       name.name(), sectors, sectors_limit));
    }
    return {};
}

Status VirtioBlk::realize(sim::Co& co) {
    if (drive_.backend() == nullptr) return failure("drive property not set");
    if (!drive_.backend()->has_medium()) return failure("Device needs media, but drive is empty");
    TRY(check_queues());
    const ReadOnlyMedium read_only =
        drive_.backend()->read_only() ? ReadOnlyMedium::yes : ReadOnlyMedium::no;
    TRY(drive_.take_permissions(read_only, Resizable::yes));
    TRY(drive_.find_geometry(co));
    TRY(drive_.check_sizes());
    TRY(check_limits());
    blocklayer::BlockLayer& layer = host().machine().layer();
    if (iothread_ != nullptr) {
        const Status allowed =
            layer.check_blocked(*drive_.backend()->node(), blocklayer::op_dataplane);
        if (!allowed) return failure("cannot start virtio-blk dataplane: " + allowed.error().text);
    }
    Properties& p = host().properties();
    if (p.number("num-queues") == UINT16_MAX) p.set("num-queues", 1);
    original_write_cache_ = drive_.backend()->write_cache;
    const auto number = [&](sim::Label name) {
        return static_cast<std::uint32_t>(p.number(name));
    };
    std::uint64_t features = wire::feature_seg_max | wire::feature_geometry |
                             wire::feature_topology | wire::feature_blk_size | wire::feature_flush;
    if (p.flag("config-wce")) features |= wire::feature_config_wce;
    if (p.flag("discard")) features |= wire::feature_discard;
    if (p.flag("write-zeroes")) features |= wire::feature_write_zeroes;
    config_ = {.features = features,
               .segments_max = number("queue-size") - 2,
               .min_io_blocks = number("min_io_size") / drive_.logical_block_size(),
               .opt_io_blocks = number("opt_io_size") / drive_.logical_block_size(),
               .discard_sectors_max = number("max-discard-sectors"),
               .zeroes_sectors_max = number("max-write-zeroes-sectors"),
               .cylinders = static_cast<std::uint16_t>(number("cyls")),
               .heads = static_cast<std::uint8_t>(number("heads")),
               .sectors = static_cast<std::uint8_t>(number("secs"))};
    add_queues(p.number("num-queues"), static_cast<std::uint16_t>(p.number("queue-size")),
               drive_.backend()->thread());
    keeps_to_itself();
    return {};
}

void VirtioBlk::unrealize(sim::Co& co) {
    if (!sim::mutant<"virtio: unplugged under its requests">()) wait_requests(co);
    drop_queues();
    drive_.drop();
}

void VirtioBlk::run_state_changed(bool running) {
    VirtioDevice::run_state_changed(running);
    if (!running) return;
    for (Request* request : std::exchange(retry_, {}))
        if (!sim::mutant<"virtio: stopped requests are not repeated">()) start(*request);
}

void VirtioBlk::on_reset() {
    for (Request* request : retry_) give_back(*request);
    retry_.clear();
    if (drive_.backend() == nullptr) return;
    drive_.backend()->write_cache = original_write_cache_;
    drive_.backend()->holds_thread = false;
}

void VirtioBlk::on_queue_reset(std::size_t index) {
    for (Request*& request : retry_) {
        if (request->queue != index) continue;
        complete(index, request->chain.head, 0);
        give_back(*std::exchange(request, nullptr));
    }
    std::erase(retry_, nullptr);
}

// A driver that can neither flush nor switch the cache is given a disk without one.
void VirtioBlk::on_driver_ok() {
    drive_.backend()->holds_thread = true;
    if (!has_feature(wire::feature_config_wce))
        drive_.backend()->write_cache = has_feature(wire::feature_flush);
}

// ---- what the driver sees ----------------------------------------------------------------------

std::uint64_t VirtioBlk::device_features() const {
    std::uint64_t features = config_.features;
    if (queue_count() > 1) features |= wire::feature_mq;
    if (drive_.backend() != nullptr && drive_.backend()->read_only()) features |= wire::feature_ro;
    return features;
}

void VirtioBlk::fill_config(std::vector<std::byte>& config) {
    config.resize(wire::config_bytes);
    std::byte* at = config.data();
    const std::uint64_t sectors = drive_.backend()->length() / wire::sector_bytes;
    const std::uint64_t blocks = drive_.logical_block_size() / wire::sector_bytes;
    store<std::uint64_t>(at, sectors / blocks * blocks);
    store<std::uint32_t>(at + 12, config_.segments_max);
    store<std::uint16_t>(at + 16, config_.cylinders);
    store<std::uint8_t>(at + 18, config_.heads);
    store<std::uint8_t>(at + 19, config_.sectors);
    store<std::uint32_t>(at + 20, drive_.logical_block_size());
    store<std::uint8_t>(at + 24, static_cast<std::uint8_t>(std::countr_zero(
                                     drive_.physical_block_size() / drive_.logical_block_size())));
    store<std::uint16_t>(at + 26, static_cast<std::uint16_t>(config_.min_io_blocks));
    store<std::uint32_t>(at + 28, config_.opt_io_blocks);
    store<std::uint8_t>(at + wire::config_writeback, drive_.backend()->write_cache ? 1 : 0);
    store<std::uint16_t>(at + 34, static_cast<std::uint16_t>(queue_count()));
    store<std::uint32_t>(at + 36, config_.discard_sectors_max);
    store<std::uint32_t>(at + 40, 1);
    store<std::uint32_t>(
        at + 44, static_cast<std::uint32_t>(drive_.discard_granularity() / wire::sector_bytes));
    store<std::uint32_t>(at + 48, config_.zeroes_sectors_max);
    store<std::uint32_t>(at + 52, 1);
    store<std::uint8_t>(at + 56, 1);  // zeroes may unmap
}

void VirtioBlk::config_write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
    if (offset != wire::config_writeback || size != 1 || value > 1) return;
    if (!has_feature(wire::feature_config_wce)) return;
    drive_.backend()->write_cache = value == 1;
}

// ---- requests ----------------------------------------------------------------------------------

Request& VirtioBlk::take_request() {
    if (free_ == nullptr) {
        all_requests_.push_back(std::make_unique<Request>());
        return *all_requests_.back();
    }
    return *std::exchange(free_, free_->next);
}

// Event handler: holds no Co, and so cannot wait for the disk. It starts one fiber per request.
void VirtioBlk::on_notify(std::size_t index) {
    VirtQueue& ring = queue(index);
    while (may_run()) {
        Request& request = take_request();
        const PopResult popped = ring.pop(request.chain);
        if (popped == PopResult::chain) {
            request.queue = index;
            request.epoch = epoch();
            if (!parse(request)) {
                set_broken();
                give_back(request);
                return;
            }
            start(request);
            continue;
        }
        give_back(request);
        if (popped == PopResult::broken) {
            set_broken();
            return;
        }
        if (!ring.enable_notify()) return;
    }
}

// Finds header, data and status in the chain. False: the driver does not speak this protocol.
bool VirtioBlk::parse(Request& request) {
    Chain& chain = request.chain;
    if (chain.out_bytes < wire::header_bytes || chain.in_bytes < 1) return false;
    // Both may be cut into any pieces, also with empty ones among them.
    std::byte header[wire::header_bytes];
    const sim::IoView out{std::span<const sim::IoVec>(chain.out)};
    const sim::IoView in{std::span<const sim::IoVec>(chain.in)};
    out.sub(0, sizeof header).copy_to(header);
    request.type = load<std::uint32_t>(header) & ~wire::type_barrier;
    // One bit tells the direction; the other types come in one direction only.
    if (const std::uint32_t plain = request.type & ~wire::type_out;
        plain == wire::type_flush || plain == wire::type_get_id || plain == wire::type_scsi)
        request.type = plain;
    const bool ranged =
        request.type == wire::type_discard || request.type == wire::type_write_zeroes;
    if (ranged && chain.out_bytes < wire::header_bytes + wire::segment_bytes) return false;
    const auto sector = load<std::uint64_t>(header + 8);
    if (sector > UINT64_MAX / wire::sector_bytes)
        request.offset = UINT64_MAX;
    else
        request.offset = sector * wire::sector_bytes;
    request.status = in.sub(in.size() - 1, 1).contiguous();
    const bool reads = request.type == wire::type_in || request.type == wire::type_get_id;
    request.data =
        reads ? in.sub(0, in.size() - 1) : out.sub(sizeof header, out.size() - sizeof header);
    return true;
}

void VirtioBlk::start(Request& request) {
    begin_request();
    drive_.backend()->announce();
    host()
        .machine()
        .world()
        .spawn(thread(), "virtio-blk request",
               [this, &request](sim::Co& co) { serve(co, request); })
        .in(place());
}

void VirtioBlk::serve(sim::Co& co, Request& request) {
    drive_.backend()->arrived();
    const IoStatus done = execute(co, request);
    // From here on only the error matters: the world may have changed meanwhile.
    if (request.epoch != epoch() && !sim::mutant<"virtio: completions outlive a reset">()) {
        give_back(request);
        end_request();
        return;
    }
    std::uint8_t status = wire::status_ok;
    if (!done && done.error() == Errno::not_supported) {
        status = wire::status_unsupported;
    } else if (!done) {
        const bool reads = request.type == wire::type_in;
        // What the guest asked wrongly is its own fault, not the medium's.
        const ErrorAction action = done.error() == Errno::invalid
                                       ? ErrorAction::report
                                       : drive_.backend()->on_error(reads, done.error());
        if (action == ErrorAction::stop) {
            retry_.push_back(&request);
            end_request();
            return;
        }
        if (action == ErrorAction::report) status = wire::status_ioerr;
    }
    finish(request, status);
}

IoStatus VirtioBlk::execute(sim::Co& co, Request& request) {
    blocklayer::BlockBackend& backend = *drive_.backend();
    const std::uint64_t size = request.data.size(), length = backend.length();
    switch (request.type) {
    case wire::type_in:
    case wire::type_out:
        if (size % drive_.logical_block_size() != 0 || request.offset > length ||
            request.offset % drive_.logical_block_size() != 0 || size > length - request.offset)
            return blocklayer::Unexpected(Errno::invalid);
        if (request.type == wire::type_in) return backend.read(co, request.offset, request.data);
        return write(co, request);
    case wire::type_flush: return backend.flush(co);
    case wire::type_get_id: get_id(request); return {};
    case wire::type_scsi: return blocklayer::Unexpected(Errno::invalid);
    case wire::type_discard:
    case wire::type_write_zeroes: return discard_or_zero(co, request);
    default: return blocklayer::Unexpected(Errno::not_supported);
    }
}

IoStatus VirtioBlk::write(sim::Co& co, Request& request) {
    blocklayer::BlockBackend& backend = *drive_.backend();
    if (backend.read_only()) return blocklayer::Unexpected(Errno::invalid);
    return backend.write(co, request.offset, request.data);
}

IoStatus VirtioBlk::discard_or_zero(sim::Co& co, Request& request) {
    const bool discard = request.type == wire::type_discard;
    const auto refuse = [](Errno error) { return blocklayer::Unexpected(error); };
    if (request.data.size() > wire::segment_bytes) return refuse(Errno::not_supported);
    std::byte segment[wire::segment_bytes];
    request.data.copy_to(segment);
    const auto sector = load<std::uint64_t>(segment);
    const auto sectors = load<std::uint32_t>(segment + 8);
    const auto flags = load<std::uint32_t>(segment + 12);
    blocklayer::BlockBackend& backend = *drive_.backend();
    const std::uint64_t all = backend.length() / wire::sector_bytes;
    if ((flags & ~wire::write_zeroes_unmap) != 0 || (discard && flags != 0))
        return refuse(Errno::not_supported);
    const std::uint32_t limit = discard ? config_.discard_sectors_max : config_.zeroes_sectors_max;
    if (sectors > limit || sector > all || sectors > all - sector ||
        backend.read_only())
        return refuse(Errno::invalid);
    const std::uint64_t offset = sector * wire::sector_bytes,
                        length = std::uint64_t{sectors} * wire::sector_bytes;
    if ((offset | length) % drive_.logical_block_size() != 0) return refuse(Errno::invalid);
    if (discard) return backend.discard(co, offset, length);
    blocklayer::RequestFlags request_flags;
    if (flags != 0) request_flags = RequestFlag::may_unmap;
    return backend.write_zeroes(co, offset, length, request_flags);
}

void VirtioBlk::get_id(Request& request) {
    std::byte id[wire::id_bytes] = {};
    const std::string& serial = host().properties().text("serial");
    std::memcpy(id, serial.data(), std::min(serial.size(), wire::id_bytes));
    const std::size_t size = std::min(request.data.size(), wire::id_bytes);
    request.data.sub(0, size).copy_from(id);
}

void VirtioBlk::finish(Request& request, std::uint8_t status) {
    store(request.status, status);
    // All of it counts as written, whatever the request was: drivers do not rely on it.
    const std::uint64_t written = request.chain.in_bytes;
    const std::size_t index = request.queue;
    const std::uint16_t head = request.chain.head;
    give_back(request);
    complete(index, head, static_cast<std::uint32_t>(written));
    end_request();
}

std::vector<PropertySpec> blk_properties() {
    return block_properties() + error_properties() + geometry_properties() +
           virtio_pci_properties() +
           std::vector<PropertySpec>{
               {"serial", PropertyKind::string, ""},
               {"num-queues", PropertyKind::uint16, UINT16_MAX},
               {"queue-size", PropertyKind::uint16, 256},
               {"seg-max-adjust", PropertyKind::boolean, true},
               {"iothread", PropertyKind::iothread, ""},
               {"discard", PropertyKind::boolean, true},
               {"write-zeroes", PropertyKind::boolean, true},
               {"config-wce", PropertyKind::boolean, true},
               {"request-merging", PropertyKind::boolean, true},
               {"report-discard-granularity", PropertyKind::boolean, true},
               {"max-discard-sectors", PropertyKind::uint32, std::uint64_t{sectors_limit}},
               {"max-write-zeroes-sectors", PropertyKind::uint32, std::uint64_t{sectors_limit}},
               {"scsi", PropertyKind::boolean, false},
           };
}

const DeviceRegistration registration({
    .name = "virtio-blk-pci",
    .bus = "PCI",
    .properties = blk_properties(),
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        const PciIds ids{0x1af4, 0x1001, 0x1af4, 2, 0, 0x010000, true};
        return std::make_unique<VirtioPci>(
            machine, spec, ids,
            [](Device& host, VirtioTransport& transport) -> std::unique_ptr<VirtioDevice> {
                return std::make_unique<VirtioBlk>(host, transport);
            });
    },
    .inner = "virtio-blk-device",
    .source = "VIRTIO 1.2, 5.2",
});

}  // namespace
}  // namespace hwmodels
