// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/virtio_scsi.hpp"

#include <algorithm>
#include <any>
#include <cstring>
#include <map>

#include "blocklayer/layer.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/scsi/bus.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/check.hpp"
#include "sim/fiber.hpp"

namespace hwmodels::guest {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using sim::Errno;
using sim::IoResult;
using sim::IoStatus;
using sim::Unexpected;

namespace {

constexpr std::size_t control_queue = 0, event_queue = 1, first_command_queue = 2;
constexpr std::uint16_t pci_device_transitional = 0x1004, pci_device_modern = 0x1048;
constexpr std::uint64_t feature_inout = 1;
// Per slot: the request, then from response_at the response.
constexpr std::uint64_t slot_bytes = 256, response_at = 64;
constexpr std::uint32_t request_bytes = 19 + 32, response_bytes = 12 + 96, event_bytes = 16,
                        task_bytes = 24;
constexpr std::uint16_t event_buffers = 16;
constexpr std::uint8_t response_ok = 0, response_overrun = 1, response_aborted = 2,
                       response_bad_target = 3, response_reset = 4, response_unset = 0xff;
constexpr std::uint32_t events_missed = 0x8000'0000;

using Adapters = std::map<int, std::weak_ptr<VirtioScsi>>;

Adapters& adapters_of(Machine& machine) {
    std::any& place = machine.layer().extensions["guest virtio-scsi adapters"];
    if (!place.has_value()) place = Adapters();
    return std::any_cast<Adapters&>(place);
}

void put_unit(std::byte* at, std::uint32_t target, std::uint32_t lun) {
    at[0] = std::byte{1};
    at[1] = static_cast<std::byte>(target);
    scsi::put_be(at + 2, 2, lun | 0x4000);
    std::memset(at + 4, 0, 4);
}

}  // namespace

class VirtioScsi::Path final : public ScsiPath {
public:
    Path(std::shared_ptr<VirtioScsi> adapter, std::uint32_t target, std::uint32_t lun)
        : adapter_(std::move(adapter)), target_(target), lun_(lun) {
        ++adapter_->paths_;
    }
    ~Path() override { release(); }

    Machine& machine() const override { return adapter_->machine(); }
    IoStatus execute(sim::Co& co, ScsiCommand& command) override {
        return adapter_->execute(co, command, target_, lun_);
    }
    IoStatus reset(sim::Co& co, ScsiReset what) override {
        if (what == ScsiReset::adapter)
            return adapter_->reset(co) ? IoStatus() : Unexpected(Errno::io);
        const TaskFunction function = what == ScsiReset::tasks  ? TaskFunction::abort_task_set
                                      : what == ScsiReset::unit ? TaskFunction::lun_reset
                                                                : TaskFunction::target_reset;
        const std::uint8_t answer = TRY(adapter_->manage(co, function, target_, lun_));
        return answer == response_ok ? IoStatus() : Unexpected(Errno::no_medium);
    }
    void shut_down(sim::Co& co) override {
        if (release() && !adapter_->gone()) adapter_->shut_down(co);
    }
    void surprise_removed() override { adapter_->surprise_removed(); }

private:
    // True: it was the last one.
    bool release() {
        if (released_) return false;
        released_ = true;
        return --adapter_->paths_ == 0;
    }
    std::shared_ptr<VirtioScsi> adapter_;
    std::uint32_t target_, lun_;
    bool released_ = false;
};

Result<std::shared_ptr<VirtioScsi>> VirtioScsi::adapter_at(sim::Co& co, Machine& machine, int devfn,
                                                           const ScsiAdapterOptions& options) {
    auto adapter = adapters_of(machine)[devfn].lock();
    if (adapter != nullptr && !adapter->gone()) return adapter;
    auto driver = TRY(VirtioPciDriver::probe(machine, devfn));
    const std::uint16_t id = driver->pci_device_id();
    if (id != pci_device_transitional && id != pci_device_modern)
        return failure("not a virtio SCSI adapter");
    adapter.reset(new VirtioScsi(std::move(driver), options));
    TRY(adapter->start(co));
    adapters_of(machine)[devfn] = adapter;
    return adapter;
}

VirtioScsi::~VirtioScsi() {
    // The rings' memory is about to be used for something else: the device must not see them.
    if (!gone_ && !queues_.empty()) driver_->write_common(virtio_pci::device_status, 1, 0);
    drop_queues();
}

std::unique_ptr<ScsiPath> VirtioScsi::path(std::uint32_t target, std::uint32_t lun) {
    return std::make_unique<Path>(shared_from_this(), target, lun);
}

// ---- start and end -----------------------------------------------------------------------------

Status VirtioScsi::start_queue(std::size_t index) {
    TRY(driver_->setup_queue(index, options_.queue_size_max,
                             [this, index] { on_interrupt(index); }));
    auto queue = std::make_unique<Queue>();
    const std::uint16_t size = driver_->ring(index).slots();
    queue->area = heap_of(machine()).take(size * slot_bytes);
    if (queue->area == 0) return failure("the guest is out of memory");
    queue->bytes = machine().memory().span(queue->area, size * slot_bytes);
    queue->waiters.resize(size);
    for (std::uint16_t slot = 0; slot < size; ++slot)
        queue->free.push_back(static_cast<std::uint16_t>(size - 1 - slot));
    queues_.push_back(std::move(queue));
    return {};
}

Status VirtioScsi::start(sim::Co& co) {
    const std::uint64_t features =
        driver_->device_features() & ~options_.features_off & ~feature_inout;
    TRY(driver_->negotiate(co, features));
    const auto count = static_cast<std::size_t>(driver_->config(0, 4));
    const std::size_t commands = std::min<std::size_t>(count, options_.queues_max);
    for (std::size_t index = 0; index < first_command_queue + commands; ++index)
        TRY(start_queue(index));
    driver_->driver_ok();
    const std::uint16_t buffers = std::min(driver_->ring(event_queue).slots(), event_buffers);
    for (std::uint16_t slot = 0; slot < buffers; ++slot) give_event_buffer(slot);
    driver_->kick(event_queue);
    return {};
}

void VirtioScsi::drop_queues() {
    for (const auto& queue : queues_) heap_of(machine()).give_back(queue->area);
    queues_.clear();
}

void VirtioScsi::fail_all(Errno error) {
    ++generation_;
    for (const auto& queue : queues_) {
        for (Waiter*& waiter : queue->waiters) {
            if (waiter == nullptr) continue;
            waiter->status = Unexpected(error);
            waiter->done = true;
            waiter->fiber->wake();
            waiter = nullptr;
        }
        queue->has_room.wake_all();
    }
    in_flight_ = 0;
    idle_.wake_all();
}

Status VirtioScsi::reset(sim::Co& co) {
    driver_->reset(co);
    fail_all(Errno::canceled);
    drop_queues();
    return start(co);
}

void VirtioScsi::shut_down(sim::Co& co) {
    while (in_flight_ > 0 && !gone_) idle_.wait(co);
    if (gone_) return;
    driver_->reset(co);
    drop_queues();
    gone_ = true;
}

void VirtioScsi::surprise_removed() {
    if (gone_) return;
    gone_ = true;
    fail_all(Errno::no_medium);
    driver_->forget();
    drop_queues();
}

// ---- commands ----------------------------------------------------------------------------------

IoResult<std::uint16_t> VirtioScsi::take_slot(sim::Co& co, std::size_t index) {
    const std::uint64_t generation = generation_;
    while (true) {
        if (gone_) return Unexpected(Errno::no_medium);
        if (generation != generation_ || index >= queues_.size())
            return Unexpected(Errno::canceled);
        if (!machine().running()) {
            machine().wait_running(co);
            continue;
        }
        Queue& queue = *queues_[index];
        if (queue.free.empty()) {
            queue.has_room.wait(co);
            continue;
        }
        const std::uint16_t slot = queue.free.back();
        queue.free.pop_back();
        return slot;
    }
}

IoStatus VirtioScsi::wait(sim::Co& co, std::size_t index, std::uint16_t slot, Waiter& waiter,
                          std::span<const Segment> segments) {
    waiter.fiber = &co.fiber();
    queues_[index]->waiters[slot] = &waiter;
    ++in_flight_;
    driver_->ring(index).add(slot, segments);
    driver_->kick(index);
    while (!waiter.done) co.park("guest scsi command");
    return waiter.status;
}

IoStatus VirtioScsi::execute(sim::Co& co, ScsiCommand& command, std::uint32_t target,
                             std::uint32_t lun) {
    if (gone_) return Unexpected(Errno::no_medium);
    if (queues_.size() <= first_command_queue) return Unexpected(Errno::canceled);
    const std::size_t commands = queues_.size() - first_command_queue;
    const std::size_t index = first_command_queue + next_queue_++ % commands;
    const std::uint16_t slot = TRY(take_slot(co, index));
    const GuestAddress at = queues_[index]->area + slot * slot_bytes;
    std::byte* bytes = queues_[index]->bytes + slot * slot_bytes;
    std::memset(bytes, 0, slot_bytes);
    command.tag = next_tag_++;
    put_unit(bytes, target, lun);
    store(bytes + 8, command.tag);
    std::memcpy(bytes + 19, command.cdb.data(), command.cdb.size());
    store(bytes + response_at + 11, response_unset);
    std::array<Segment, 3> segments;
    std::size_t count = 0;
    segments[count++] = {at, request_bytes, false};
    const bool data = command.length > 0 && command.direction != DataDirection::none;
    if (data && command.direction == DataDirection::to_device)
        segments[count++] = {command.data, command.length, false};
    segments[count++] = {at + response_at, response_bytes, true};
    if (data && command.direction == DataDirection::from_device)
        segments[count++] = {command.data, command.length, true};
    Waiter waiter;
    // The slot's answer is read in the interrupt: the slot may be another's once we run again.
    std::array<std::byte, response_bytes> response{};
    waiter.response_bytes = response.data();
    TRY(wait(co, index, slot, waiter, std::span(segments.data(), count)));
    switch (std::to_integer<std::uint8_t>(response[11])) {
    case response_ok:
    case response_overrun: break;
    case response_aborted:
    case response_reset: return Unexpected(Errno::canceled);
    case response_bad_target: return Unexpected(Errno::no_medium);
    default: return Unexpected(Errno::io);
    }
    command.overrun = std::to_integer<std::uint8_t>(response[11]) == response_overrun;
    command.status = load<std::uint8_t>(&response[10]);
    command.residual = load<std::uint32_t>(&response[4]);
    command.sense = {};
    if (load<std::uint32_t>(&response[0]) >= 14)
        command.sense = {load<std::uint8_t>(&response[12 + 2]),
                         load<std::uint8_t>(&response[12 + 12]),
                         load<std::uint8_t>(&response[12 + 13])};
    return {};
}

IoResult<std::uint8_t> VirtioScsi::manage(sim::Co& co, TaskFunction function, std::uint32_t target,
                                          std::uint32_t lun, std::uint64_t tag) {
    const std::uint16_t slot = TRY(take_slot(co, control_queue));
    const GuestAddress at = queues_[control_queue]->area + slot * slot_bytes;
    std::byte* bytes = queues_[control_queue]->bytes + slot * slot_bytes;
    std::memset(bytes, 0, slot_bytes);
    store(bytes + 4, static_cast<std::uint32_t>(function));
    put_unit(bytes + 8, target, lun);
    store(bytes + 16, tag);
    store(bytes + response_at, response_unset);
    const std::array<Segment, 2> segments{Segment{at, task_bytes, false},
                                          Segment{at + response_at, 1, true}};
    Waiter waiter;
    std::array<std::byte, response_bytes> response{};
    waiter.response_bytes = response.data();
    TRY(wait(co, control_queue, slot, waiter, segments));
    return std::to_integer<std::uint8_t>(response[0]);
}

void VirtioScsi::on_interrupt(std::size_t index) {
    if (index >= queues_.size()) return;
    if (index == event_queue) {
        take_events();
        return;
    }
    Queue& queue = *queues_[index];
    driver_->ring(index).poll([&](std::uint16_t slot, std::uint32_t) {
        queue.free.push_back(slot);
        --in_flight_;
        Waiter* waiter = std::exchange(queue.waiters[slot], nullptr);
        std::memcpy(waiter->response_bytes, queue.bytes + slot * slot_bytes + response_at,
                    response_bytes);
        waiter->done = true;
        waiter->fiber->wake();
        queue.has_room.wake_one();
    });
    if (in_flight_ == 0) idle_.wake_all();
}

// ---- events ------------------------------------------------------------------------------------

void VirtioScsi::give_event_buffer(std::uint16_t slot) {
    Queue& queue = *queues_[event_queue];
    std::memset(queue.bytes + slot * slot_bytes, 0, event_bytes);
    const Segment buffer{queue.area + slot * slot_bytes, event_bytes, true};
    driver_->ring(event_queue).add(slot, std::span(&buffer, 1));
}

void VirtioScsi::take_events() {
    std::vector<std::uint16_t> slots;
    driver_->ring(event_queue).poll([&](std::uint16_t slot, std::uint32_t) {
        slots.push_back(slot);
    });
    std::vector<ScsiEvent> told;
    for (const std::uint16_t slot : slots) {
        const std::byte* at = queues_[event_queue]->bytes + slot * slot_bytes;
        const auto kind = load<std::uint32_t>(at);
        told.push_back({.kind = kind & ~events_missed,
                        .lost = (kind & events_missed) != 0,
                        .target = load<std::uint8_t>(at + 5),
                        .lun = static_cast<std::uint32_t>(scsi::get_be(at + 6, 2) & 0x3fff),
                        .reason = load<std::uint32_t>(at + 12)});
        give_event_buffer(slot);
    }
    driver_->kick(event_queue);
    for (const ScsiEvent& event : told)
        if (on_event) on_event(event);
}

namespace {

const DiskDriverRegistration registration(
    {.model = "virtio-scsi-pci",
     .drives = Drives::disks_on_its_bus,
     .open = [](sim::Co& co, Machine& machine,
                Device& device) -> Result<std::unique_ptr<GuestDisk>> {
         const auto& unit = static_cast<const ScsiDevice&>(device);
         // The call below waits, and the unit may go meanwhile: its address is all we keep.
         const std::uint32_t target = unit.target, lun = unit.lun;
         const auto adapter =
             TRY(VirtioScsi::adapter_at(co, machine, pci_function_of(device)->devfn));
         return ScsiGuestDisk::attach(co, adapter->path(target, lun));
     }});

}  // namespace

}  // namespace hwmodels::guest
