// SPDX-License-Identifier: Apache-2.0
// virtio-scsi: a SCSI host adapter. Queue 0 takes task management, queue 1 carries events to the
// driver, the others take commands.
//
// source     VIRTIO 1.2 section 5.6.
// invariant  a task management request is answered after the commands it aborted
#include <fmt/format.h>
#include <cstring>
#include <deque>
#include <map>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/iothread.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/qdev/block_properties.hpp"
#include "hwmodels/scsi/bus.hpp"
#include "hwmodels/scsi/transfer.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {
namespace {

using blocklayer::failure;
using blocklayer::Status;

namespace wire {  // values from the specification; never invented, never renumbered
constexpr std::uint64_t feature_inout = 1 << 0, feature_hotplug = 1 << 1, feature_change = 1 << 2;
constexpr std::uint8_t ok = 0, overrun = 1, aborted = 2, bad_target = 3, reset = 4, failure = 9,
                       function_succeeded = 10, function_rejected = 11, incorrect_lun = 12;
constexpr std::uint32_t type_tmf = 0, type_subscribe = 2;
constexpr std::uint32_t tmf_abort_task = 0, tmf_abort_task_set = 1, tmf_clear_aca = 2,
                        tmf_clear_task_set = 3, tmf_nexus_reset = 4, tmf_lun_reset = 5,
                        tmf_query_task = 6, tmf_query_task_set = 7;
constexpr std::uint32_t event_transport_reset = 1, event_param_change = 3,
                        events_missed = 0x8000'0000;
constexpr std::uint32_t reason_rescan = 1, reason_removed = 2;
constexpr std::size_t request_header = 19, response_header = 12, event_bytes = 16, tmf_bytes = 24;
constexpr std::uint32_t sense_default = 96, cdb_default = 32, sense_limit = 252, cdb_limit = 255;
}  // namespace wire

constexpr std::size_t control_queue = 0, event_queue = 1, first_command_queue = 2;
constexpr std::uint64_t queues_unset = UINT32_MAX;

struct Command {
    ScsiRequest scsi;
    Chain chain;
    std::uint32_t target = 0;
    bool addressed = false;  // as units of this bus are
    std::size_t queue = 0;
    std::uint64_t epoch = 0;
    std::uint32_t sense_size = 0;
};

struct Event {
    std::uint32_t kind = 0, reason = 0;
    std::uint32_t target = 0, lun = 0;
};

class VirtioScsi final : public VirtioDevice, private ScsiHost {
public:
    VirtioScsi(Device& host, VirtioTransport& transport) : VirtioDevice(host, transport) {}

    Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    std::uint64_t device_features() const override;
    void config_write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) override;

protected:
    void on_notify(std::size_t index) override;
    void on_reset() override;
    void fill_config(std::vector<std::byte>& config) override;

private:
    // ScsiHost
    sim::Thread& thread() const override;
    bool supports_iothread() const override { return true; }
    Status unit_added(ScsiDevice& device) override;
    void unit_removed(ScsiDevice& device) override;
    void unit_attention(ScsiDevice& device, const scsi::Sense& sense) override;

    void start_command(std::size_t index, Chain& chain);
    ScsiDevice* unit_of(const Command& command) const;
    void serve(sim::Co& co, Command& command);
    void respond(Command& command, std::uint8_t response);
    void start_control(Chain& chain);
    std::uint8_t manage(sim::Co& co, const std::byte* request);
    void send_event(const Event& event);
    void deliver_events();
    ScsiBus& bus() const { return static_cast<ScsiBus&>(*host().buses().front()); }

    sim::Thread* iothread_ = nullptr;
    std::uint32_t sense_size_ = wire::sense_default, cdb_size_ = wire::cdb_default;
    bool events_lost_ = false;
    std::deque<Event> events_;
};

// ---- life --------------------------------------------------------------------------------------

sim::Thread& VirtioScsi::thread() const {
    return iothread_ != nullptr ? *iothread_ : host().machine().world().main_thread();
}

Status VirtioScsi::realize(sim::Co&) {
    Properties& p = host().properties();
    if (p.number("num_queues") == queues_unset) p.set("num_queues", 1);
    const std::uint64_t queues = p.number("num_queues"), size = p.number("virtqueue_size");
    if (queues == 0 || queues > VirtQueue::size_max - first_command_queue)
        return failure(
            fmt::format("Invalid number of queues (= {}), must be a positive integer "
                        "less than {}.",
                        queues, VirtQueue::size_max - first_command_queue));
    if (size <= 2 || size > VirtQueue::size_max || (size & (size - 1)) != 0)
        return failure(
            fmt::format("invalid virtqueue_size property (= {}), must be a power of 2 "
                        "between 4 and {}.",
                        size, VirtQueue::size_max));
    if (!p.text("iothread").empty())
        iothread_ = find_iothread(host().machine().layer(), p.text("iothread"))->thread;
    add_queues(first_command_queue + queues, static_cast<std::uint16_t>(size), thread());
    auto& pci = static_cast<VirtioPci&>(host());
    const std::string name = host().id().empty()
                                 ? fmt::format("scsi.{}", host().machine().next_bus_number("scsi"))
                                 : host().id() + ".0";
    ScsiHost& adapter = *this;
    pci.add_bus(std::make_unique<ScsiBus>(name, &host(), adapter, ScsiLimits{}));
    return {};
}

void VirtioScsi::unrealize(sim::Co& co) {
    wait_requests(co);
    drop_queues();
    static_cast<VirtioPci&>(host()).drop_buses();
}

Status VirtioScsi::unit_added(ScsiDevice& device) {
    // The adapter's doorbells may be served by another thread, which old-style jobs do not allow.
    if (const blocklayer::BlockBackend* backend = device.backend();
        backend != nullptr && backend->has_medium())
        TRY(host().machine().layer().check_blocked(*backend->node(), blocklayer::op_dataplane));
    send_event({wire::event_transport_reset, wire::reason_rescan, device.target, device.lun});
    return {};
}

void VirtioScsi::unit_removed(ScsiDevice& device) {
    send_event({wire::event_transport_reset, wire::reason_removed, device.target, device.lun});
}

void VirtioScsi::unit_attention(ScsiDevice& device, const scsi::Sense& sense) {
    if (!has_feature(wire::feature_change)) return;
    send_event({wire::event_param_change,
                static_cast<std::uint32_t>(sense.code | sense.qualifier << 8), device.target,
                device.lun});
}

void VirtioScsi::on_reset() {
    sense_size_ = wire::sense_default;
    cdb_size_ = wire::cdb_default;
    events_lost_ = false;
    events_.clear();
    if (host().buses().empty()) return;
    for (Device* device : bus().devices()) device->reset();
}

// ---- what the driver sees ----------------------------------------------------------------------

std::uint64_t VirtioScsi::device_features() const {
    std::uint64_t features = 0;
    if (host().properties().flag("hotplug")) features |= wire::feature_hotplug;
    if (host().properties().flag("param_change")) features |= wire::feature_change;
    return features;
}

void VirtioScsi::fill_config(std::vector<std::byte>& config) {
    const Properties& p = host().properties();
    config.resize(36);
    std::byte* at = config.data();
    store<std::uint32_t>(at, static_cast<std::uint32_t>(p.number("num_queues")));
    store<std::uint32_t>(at + 4, static_cast<std::uint32_t>(p.number("virtqueue_size")) - 2);
    store<std::uint32_t>(at + 8, static_cast<std::uint32_t>(p.number("max_sectors")));
    store<std::uint32_t>(at + 12, static_cast<std::uint32_t>(p.number("cmd_per_lun")));
    store<std::uint32_t>(at + 16, wire::event_bytes);
    store<std::uint32_t>(at + 20, sense_size_);
    store<std::uint32_t>(at + 24, cdb_size_);
    store<std::uint16_t>(at + 28, 0);
    store<std::uint16_t>(at + 30, 255);
    store<std::uint32_t>(at + 32, 16383);
}

void VirtioScsi::config_write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
    if (size != 4) return;
    if (offset == 20 && value <= wire::sense_limit) sense_size_ = static_cast<std::uint32_t>(value);
    if (offset == 24 && value <= wire::cdb_limit) cdb_size_ = static_cast<std::uint32_t>(value);
}

// ---- commands ----------------------------------------------------------------------------------

void VirtioScsi::on_notify(std::size_t index) {
    if (index == event_queue) {
        deliver_events();
        return;
    }
    while (may_run()) {
        Chain chain;
        const PopResult popped = queue(index).pop(chain);
        if (popped == PopResult::broken) {
            set_broken();
            return;
        }
        if (popped == PopResult::empty) {
            if (!queue(index).enable_notify()) return;
            continue;
        }
        if (index == control_queue)
            start_control(chain);
        else
            start_command(index, chain);
    }
}

void VirtioScsi::start_command(std::size_t index, Chain& chain) {
    const std::size_t header = wire::request_header + cdb_size_,
                      response = wire::response_header + sense_size_;
    if (chain.out_bytes < header || chain.in_bytes < response) {
        set_broken();
        return;
    }
    auto command = std::make_unique<Command>();
    command->chain = std::move(chain);
    command->queue = index;
    command->epoch = epoch();
    command->sense_size = sense_size_;
    const sim::IoView out{std::span<const sim::IoVec>(command->chain.out)};
    const sim::IoView in{std::span<const sim::IoVec>(command->chain.in)};
    std::vector<std::byte> bytes(header);
    out.sub(0, header).copy_to(bytes.data());
    ScsiRequest& scsi = command->scsi;
    scsi.tag = load<std::uint64_t>(bytes.data() + 8);
    scsi.lun = static_cast<std::uint16_t>(scsi::get_be(bytes.data() + 2, 2) & 0x3fff);
    std::memcpy(scsi.cdb.data(), bytes.data() + wire::request_header,
                std::min<std::size_t>(cdb_size_, scsi.cdb.size()));
    scsi.to_device = out.sub(header, out.size() - header);
    scsi.from_device = in.sub(response, in.size() - response);
    command->addressed = bytes[0] == std::byte{1};
    command->target = std::to_integer<std::uint32_t>(bytes[1]);
    begin_request();
    host().machine().command_begun();
    host().machine().world().spawn(
        VirtioDevice::thread(), "virtio-scsi command",
        [this, command = std::move(command)](sim::Co& co) { serve(co, *command); });
}

ScsiDevice* VirtioScsi::unit_of(const Command& command) const {
    if (!command.addressed) return nullptr;
    ScsiDevice* unit = bus().find(0, command.target, command.scsi.lun);
    return unit != nullptr ? unit : bus().find_target(0, command.target);
}

void VirtioScsi::serve(sim::Co& co, Command& command) {
    host().machine().command_arrived();
    ScsiDevice* unit = unit_of(command);  // there as long as it has the request
    const bool both = command.scsi.to_device.size() > 0 && command.scsi.from_device.size() > 0;
    const auto too_little = [&] {
        const auto transfer = scsi::transfer_of(command.scsi.cdb, unit->block_bytes());
        return transfer.bytes > (transfer.to_device ? command.scsi.to_device.size()
                                                    : command.scsi.from_device.size());
    };
    std::uint8_t response = wire::ok;
    if (unit == nullptr) {
        response = wire::bad_target;
    } else if (both && !has_feature(wire::feature_inout)) {
        response = wire::failure;
    } else if (too_little()) {
        command.scsi.transferred = command.scsi.to_device.size() + command.scsi.from_device.size();
        response = wire::overrun;
    } else {
        unit->execute(co, command.scsi);
        switch (command.scsi.abort) {
        case Abort::none:
            if (command.scsi.overrun) response = wire::overrun;
            break;
        case Abort::aborted: response = wire::aborted; break;
        case Abort::reset: response = wire::reset; break;
        }
    }
    if (command.epoch == epoch() || sim::mutant<"virtio-scsi: completions outlive a reset">())
        respond(command, response);
    end_request();
}

void VirtioScsi::respond(Command& command, std::uint8_t response) {
    const ScsiRequest& scsi = command.scsi;
    const std::size_t size = wire::response_header + command.sense_size;
    std::vector<std::byte> bytes(size);
    std::uint64_t data_in = 0;
    if (response == wire::ok || response == wire::overrun) {
        const std::uint64_t given = scsi.to_device.size() + scsi.from_device.size();
        const std::uint64_t left = given > scsi.transferred ? given - scsi.transferred : 0;
        store<std::uint32_t>(bytes.data() + 4, static_cast<std::uint32_t>(left));
        bytes[10] = std::byte{scsi.status};
        if (scsi.status == scsi::check_condition) {
            const auto sense = scsi::fixed_sense(scsi.sense);
            const std::size_t length = std::min<std::size_t>(sense.size(), command.sense_size);
            store<std::uint32_t>(bytes.data(), static_cast<std::uint32_t>(length));
            std::memcpy(bytes.data() + wire::response_header, sense.data(), length);
        }
        if (scsi.from_device.size() > 0) data_in = scsi.transferred;
    }
    bytes[11] = std::byte{response};
    const sim::IoView in{std::span<const sim::IoVec>(command.chain.in)};
    in.sub(0, size).copy_from(bytes.data());
    complete(command.queue, command.chain.head, static_cast<std::uint32_t>(size + data_in));
}

// ---- task management ---------------------------------------------------------------------------

void VirtioScsi::start_control(Chain& chain) {
    const sim::IoView out{std::span<const sim::IoVec>(chain.out)};
    std::array<std::byte, wire::tmf_bytes> request{};
    if (out.size() < 4) {
        set_broken();
        return;
    }
    out.sub(0, std::min(out.size(), request.size())).copy_to(request.data());
    const auto type = load<std::uint32_t>(request.data());
    const bool tmf = type == wire::type_tmf;
    const std::size_t answer = tmf ? 1 : 5;
    if (type > wire::type_subscribe || chain.in_bytes < answer ||
        out.size() < (tmf ? wire::tmf_bytes : 16)) {
        set_broken();
        return;
    }
    const sim::IoView in{std::span<const sim::IoVec>(chain.in)};
    if (!tmf) {
        // No unit here sends asynchronous notifications.
        const std::array<std::byte, 5> none{};
        in.sub(0, none.size()).copy_from(none.data());
        complete(control_queue, chain.head, none.size());
        return;
    }
    std::byte* result = in.sub(0, 1).contiguous();
    begin_request();
    host().machine().world().spawn(
        VirtioDevice::thread(), "virtio-scsi task management",
        [this, request, result, head = chain.head, since = epoch()](sim::Co& co) {
            const std::uint8_t response = manage(co, request.data());
            if (since == epoch()) {
                store(result, response);
                complete(control_queue, head, 1);
            }
            end_request();
        });
}

std::uint8_t VirtioScsi::manage(sim::Co& co, const std::byte* request) {
    const auto subtype = load<std::uint32_t>(request + 4);
    const auto target = std::to_integer<std::uint32_t>(request[9]);
    const auto lun = static_cast<std::uint32_t>(scsi::get_be(request + 10, 2) & 0x3fff);
    const auto tag = load<std::uint64_t>(request + 16);
    if (subtype == wire::tmf_clear_aca || subtype > wire::tmf_query_task_set)
        return wire::function_rejected;
    const bool whole_target = subtype == wire::tmf_nexus_reset;
    if (request[8] != std::byte{1} || (!whole_target && bus().find_target(0, target) == nullptr))
        return wire::bad_target;
    std::vector<ScsiDevice*> units;
    if (whole_target) {
        units = bus().units(0, target);
    } else if (ScsiDevice* unit = bus().find(0, target, lun)) {
        units = {unit};
    } else {
        return wire::incorrect_lun;
    }
    const bool one = subtype == wire::tmf_abort_task || subtype == wire::tmf_query_task;
    switch (subtype) {
    case wire::tmf_query_task:
    case wire::tmf_query_task_set:
        return units.front()->has_request(one ? &tag : nullptr) ? wire::function_succeeded
                                                                : wire::ok;
    case wire::tmf_abort_task:
    case wire::tmf_abort_task_set:
    case wire::tmf_clear_task_set:
        units.front()->abort_requests(Abort::aborted, one ? &tag : nullptr);
        break;
    case wire::tmf_lun_reset:
    case wire::tmf_nexus_reset:
        for (ScsiDevice* unit : units) unit->reset();
        break;
    default: return wire::function_rejected;
    }
    // Units may go while we wait for the first of them: by address, not by pointer.
    std::vector<std::uint32_t> luns;
    for (const ScsiDevice* unit : units) luns.push_back(unit->lun);
    for (const std::uint32_t each : luns)
        if (ScsiDevice* unit = bus().find(0, target, each)) unit->wait_aborted(co);
    return wire::ok;
}

// ---- events ------------------------------------------------------------------------------------

void VirtioScsi::send_event(const Event& event) {
    if (!driver_ok() || broken()) return;
    if (event.kind == wire::event_transport_reset && !has_feature(wire::feature_hotplug)) return;
    constexpr std::size_t kept_max = 64;
    if (events_.size() >= kept_max)
        events_lost_ = true;
    else
        events_.push_back(event);
    notify(event_queue);
}

void VirtioScsi::deliver_events() {
    while (may_run() && (!events_.empty() || events_lost_)) {
        Chain chain;
        const PopResult popped = queue(event_queue).pop(chain);
        if (popped == PopResult::empty) return;  // goes on when the driver gives buffers
        if (popped == PopResult::broken || chain.in_bytes < wire::event_bytes) {
            set_broken();
            return;
        }
        Event event;
        if (!events_.empty()) {
            event = events_.front();
            events_.pop_front();
        }
        if (std::exchange(events_lost_, false)) event.kind |= wire::events_missed;
        std::array<std::byte, wire::event_bytes> bytes{};
        store(bytes.data(), event.kind);
        bytes[4] = std::byte{1};
        bytes[5] = static_cast<std::byte>(event.target);
        scsi::put_be(&bytes[6], 2, event.lun >= 256 ? event.lun | 0x4000 : event.lun);
        store(bytes.data() + 12, event.reason);
        const sim::IoView in{std::span<const sim::IoVec>(chain.in)};
        in.sub(0, bytes.size()).copy_from(bytes.data());
        complete(event_queue, chain.head, bytes.size());
    }
}

const DeviceRegistration registration({
    .name = "virtio-scsi-pci",
    .bus = "PCI",
    .properties = virtio_pci_properties() +
                  std::vector<PropertySpec>{
                      {"num_queues", PropertyKind::uint32, queues_unset},
                      {"virtqueue_size", PropertyKind::uint32, 256},
                      {"seg_max_adjust", PropertyKind::boolean, true},
                      {"max_sectors", PropertyKind::uint32, 65535},
                      {"cmd_per_lun", PropertyKind::uint32, 128},
                      {"hotplug", PropertyKind::boolean, true},
                      {"param_change", PropertyKind::boolean, true},
                      {"iothread", PropertyKind::iothread, ""},
                  },
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        const PciIds ids{0x1af4, 0x1004, 0x1af4, 8, 0, 0x010000, true};
        return std::make_unique<VirtioPci>(
            machine, spec, ids,
            [](Device& host, VirtioTransport& transport) -> std::unique_ptr<VirtioDevice> {
                return std::make_unique<VirtioScsi>(host, transport);
            });
    },
    .inner = "virtio-scsi-device",
    .source = "VIRTIO 1.2, 5.6",
});

}  // namespace
}  // namespace hwmodels
