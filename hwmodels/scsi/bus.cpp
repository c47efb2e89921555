// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/scsi/bus.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "hwmodels/machine.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {

using blocklayer::failure;
using blocklayer::Status;

namespace {
constexpr std::uint64_t any = UINT32_MAX;  // the property's value for "find one"
constexpr std::size_t inquiry_missing_bytes = 36;
}  // namespace

ScsiDevice* ScsiBus::find(std::uint32_t channel, std::uint32_t target, std::uint32_t lun) const {
    for (Device* device : devices()) {
        auto* unit = static_cast<ScsiDevice*>(device);
        if (unit->placed && unit->channel == channel && unit->target == target && unit->lun == lun)
            return unit;
    }
    return nullptr;
}

std::vector<ScsiDevice*> ScsiBus::units(std::uint32_t channel, std::uint32_t target) const {
    std::vector<ScsiDevice*> found;
    for (Device* device : devices()) {
        auto* unit = static_cast<ScsiDevice*>(device);
        if (unit->placed && unit->channel == channel && unit->target == target)
            found.push_back(unit);
    }
    std::sort(found.begin(), found.end(),
              [](const ScsiDevice* a, const ScsiDevice* b) { return a->lun < b->lun; });
    return found;
}

ScsiDevice* ScsiBus::find_target(std::uint32_t channel, std::uint32_t target) const {
    const auto found = units(channel, target);
    return found.empty() ? nullptr : found.front();
}

Status ScsiBus::place(ScsiDevice& device) {
    Properties& p = device.properties();
    const std::uint64_t channel = p.number("channel"), id = p.number("scsi-id"),
                        lun = p.number("lun");
    if (channel > limits_.channel_max)
        return failure(fmt::format("bad scsi channel id: {}", channel));
    if (id != any && id > limits_.target_max)
        return failure(fmt::format("bad scsi device id: {}", id));
    if (lun != any && lun > limits_.lun_max)
        return failure(fmt::format("bad scsi device lun: {}", lun));
    const auto taken = [&](std::uint64_t target, std::uint64_t unit) {
        return find(static_cast<std::uint32_t>(channel), static_cast<std::uint32_t>(target),
                    static_cast<std::uint32_t>(unit));
    };
    std::uint64_t target = id == any ? 0 : id, unit = lun == any ? 0 : lun;
    if (id == any) {
        while (target < limits_.target_max && taken(target, unit) != nullptr) ++target;
        if (taken(target, unit) != nullptr) return failure("no free target");
    } else if (lun == any) {
        while (unit < limits_.lun_max && taken(target, unit) != nullptr) ++unit;
        if (taken(target, unit) != nullptr) return failure("no free lun");
    } else if (const ScsiDevice* other = taken(target, unit)) {
        return failure(fmt::format("lun already used by '{}'", other->id()));
    }
    device.channel = static_cast<std::uint32_t>(channel);
    device.target = static_cast<std::uint32_t>(target);
    device.lun = static_cast<std::uint32_t>(unit);
    device.placed = true;
    p.set("scsi-id", target);
    p.set("lun", unit);
    return {};
}

// ---- requests ----------------------------------------------------------------------------------

void ScsiDevice::report_luns(ScsiRequest& request) const {
    const std::uint64_t allowed = request.field(6, 4);
    if (allowed < 16 || request.field(2, 1) > 2) {
        request.fail(scsi::invalid_field);
        return;
    }
    const auto all = scsi_bus().units(channel, target);
    const bool zero = !all.empty() && all.front()->lun == 0;
    std::vector<std::byte> list(8 + 8 * (all.size() + (zero ? 0 : 1)));
    std::byte* at = list.data() + (zero ? 8 : 16);  // unit 0 is always reported
    for (const ScsiDevice* unit : all) {
        if (unit->lun < 256)
            scsi::put_be(at + 1, 1, unit->lun);
        else
            scsi::put_be(at, 2, 0x4000 | unit->lun);
        at += 8;
    }
    scsi::put_be(list.data(), 4, list.size() - 8);
    request.reply(list.data(), list.size(), allowed);
}

// A unit that does not exist, but its target does: a few commands have an answer all the same.
bool ScsiDevice::answer_for_missing_unit(ScsiRequest& request) const {
    if (request.lun == lun) return false;
    if (request.op() == scsi::report_luns && request.lun == 0) {
        report_luns(request);
        return true;
    }
    if (request.op() == scsi::inquiry) {
        std::array<std::byte, inquiry_missing_bytes> bytes{};
        bytes[0] = std::byte{0x7f};  // no unit here, none possible
        bytes[4] = std::byte{inquiry_missing_bytes - 5};
        request.reply(bytes.data(), bytes.size(), request.field(3, 2));
    } else if (request.op() == scsi::request_sense) {
        const auto bytes = scsi::fixed_sense(scsi::lun_not_supported);
        request.reply(bytes.data(), bytes.size(), request.field(4, 1));
    } else {
        request.fail(scsi::lun_not_supported);
    }
    return true;
}

void ScsiDevice::execute(sim::Co& co, ScsiRequest& request) {
    requests_.push_back(&request);
    const std::uint8_t op = request.op();
    // These neither report an attention nor clear it.
    const bool silent = op == scsi::inquiry || op == scsi::report_luns ||
                        op == scsi::get_configuration || op == scsi::get_event_status;
    if (!silent && unit_attention_ != scsi::no_sense) {
        const scsi::Sense attention = std::exchange(unit_attention_, scsi::no_sense);
        if (op == scsi::request_sense) {
            const auto bytes = scsi::fixed_sense(attention);
            request.reply(bytes.data(), bytes.size(), request.field(4, 1));
        } else {
            request.fail(attention);
        }
    } else if (answer_for_missing_unit(request)) {
        // Done.
    } else if (op == scsi::report_luns) {
        report_luns(request);
    } else {
        run_command(co, request);
    }
    std::erase(requests_, &request);
    finished_.wake_all();
}

std::size_t ScsiDevice::abort_requests(Abort how, const std::uint64_t* tag) {
    std::size_t count = 0;
    for (ScsiRequest* request : requests_) {
        if (tag != nullptr && request->tag != *tag &&
            !sim::mutant<"scsi: an abort takes its neighbours along">())
            continue;
        if (request->abort == Abort::none) request->abort = how;
        ++count;
    }
    retry_.wake_all();
    return count;
}

bool ScsiDevice::has_request(const std::uint64_t* tag) const {
    return std::any_of(requests_.begin(), requests_.end(), [&](const ScsiRequest* request) {
        return tag == nullptr || request->tag == *tag;
    });
}

bool ScsiDevice::has_aborted() const {
    return std::any_of(requests_.begin(), requests_.end(),
                       [](const ScsiRequest* r) { return r->abort != Abort::none; });
}

void ScsiDevice::wait_aborted(sim::Co& co) {
    ++waiters_;
    while (has_aborted()) finished_.wait(co);
    if (--waiters_ == 0) finished_.wake_all();
}

void ScsiDevice::wait_requests(sim::Co& co) {
    while ((!requests_.empty() || waiters_ > 0) &&
           !sim::mutant<"scsi: a unit goes under its commands">())
        finished_.wait(co);
    ENSURES(requests_.empty() && waiters_ == 0);  // they would use a unit that is no more
}

void ScsiDevice::set_unit_attention(const scsi::Sense& sense) {
    // The one of a reset says more than any other.
    if (unit_attention_ == scsi::power_on_reset) return;
    unit_attention_ = sense;
}

bool ScsiDevice::wait_for_retry(sim::Co& co, const ScsiRequest& request) {
    // The stop that was asked for may not have happened yet.
    do {
        if (request.abort != Abort::none) return false;
        retry_.wait(co);
    } while (!machine().running());
    return request.abort == Abort::none;
}

void ScsiDevice::run_state_changed(bool running) {
    if (running) retry_.wake_all();
}

void ScsiDevice::reset() {
    abort_requests(Abort::reset);
    unit_reset();
    unit_attention_ = scsi::power_on_reset;
}

}  // namespace hwmodels
