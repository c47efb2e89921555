// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/qdev/block_properties.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "blocklayer/layer.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {

using blocklayer::BlockBackend;
using blocklayer::failure;
using blocklayer::OnError;
using blocklayer::Perm;
using blocklayer::PermSet;
using blocklayer::Status;

namespace {

constexpr std::uint64_t unset_granularity = UINT32_MAX;

OnError on_error_of(const std::string& text) {
    if (text == "report") return OnError::report;
    if (text == "ignore") return OnError::ignore;
    if (text == "stop") return OnError::stop;
    if (text == "enospc") return OnError::enospc;
    return OnError::automatic;
}

struct Geometry {
    std::uint64_t cylinders, heads, sectors;
};

// What the table's first plausible partition was laid out for; else sixteen heads of 63 sectors.
// An unreadable sector has no table.
// source  as observed; the PC partition table: four entries of 16 bytes from 446 on
Geometry guess_geometry(sim::Co& co, BlockBackend& disk) {
    constexpr std::size_t first_entry = 446, entry_bytes = 16, entries = 4, magic = 510;
    constexpr std::uint64_t cylinders_max = 16383, heads_max = 16, track_sectors = 63;
    const std::uint64_t total = disk.length() / 512;
    std::array<std::byte, 512> sector{};
    const blocklayer::IoStatus read =
        disk.read(co, 0, {sector.data(), sector.size()}, blocklayer::RequestFlag::inconsistent_ok);
    const bool found = read && sector[magic] == std::byte{0x55} &&
                       sector[magic + 1] == std::byte{0xaa};
    for (std::size_t i = 0; found && i < entries; ++i) {
        const std::byte* entry = &sector[first_entry + i * entry_bytes];
        const bool used = std::any_of(entry + 12, entry + 16,
                                      [](std::byte b) { return b != std::byte{0}; });
        const std::uint64_t heads = std::to_integer<std::uint64_t>(entry[5]) + 1,
                            sectors = std::to_integer<std::uint64_t>(entry[6]) & 63;
        if (!used || heads == 1 || sectors == 0) continue;
        const std::uint64_t cylinders = total / (heads * sectors);
        if (cylinders < 1 || cylinders > cylinders_max) continue;
        if (heads <= heads_max) return {cylinders, heads, sectors};
        break;  // laid out for more heads than a disk can tell of
    }
    const std::uint64_t cylinders = total / (heads_max * track_sectors);
    return {std::clamp<std::uint64_t>(cylinders, 2, cylinders_max), heads_max, track_sectors};
}

}  // namespace

std::vector<PropertySpec> block_properties() {
    return {
        {"drive", PropertyKind::drive, ""},
        {"backend_defaults", PropertyKind::on_off_auto, "auto"},
        {"logical_block_size", PropertyKind::block_size, 0},
        {"physical_block_size", PropertyKind::block_size, 0},
        {"min_io_size", PropertyKind::size, 0},
        {"opt_io_size", PropertyKind::size, 0},
        {"discard_granularity", PropertyKind::size, unset_granularity},
        {"write-cache", PropertyKind::on_off_auto, "auto"},
        {"share-rw", PropertyKind::boolean, false},
        {"account-invalid", PropertyKind::on_off_auto, "auto"},
        {"account-failed", PropertyKind::on_off_auto, "auto"},
        {"bootindex", PropertyKind::int32, -1},
    };
}

std::vector<PropertySpec> error_properties() {
    return {{"rerror", PropertyKind::on_error, "auto"}, {"werror", PropertyKind::on_error, "auto"}};
}

std::vector<PropertySpec> geometry_properties() {
    std::vector<PropertySpec> list;
    for (const char* name : {"cyls", "heads", "secs", "lcyls", "lheads", "lsecs"})
        list.push_back({name, PropertyKind::uint32, 0});
    return list;
}

// All guest devices over one node run in one thread: the node cannot be in two. nullptr: there is
// no other one.
sim::Thread* Drive::thread_of_others() const {
    blocklayer::BlockLayer& layer = device_.machine().layer();
    for (const BlockBackend* other : layer.backends()) {
        if (other == backend_ || !other->has_device() || other->node() == nullptr) continue;
        if (!other->holds_thread) continue;
        if (layer.graph().reaches(*other->node(), *backend_->node()) ||
            layer.graph().reaches(*backend_->node(), *other->node()))
            return &other->thread();
    }
    return nullptr;
}

// A device inside another has no id: it is known by its path.
std::string Drive::device_id() const {
    return device_.backend_path() == device_.path() ? device_.id() : std::string();
}

Status Drive::attach(std::string_view name, std::string_view model, sim::Thread& thread,
                     blocklayer::DeviceCallbacks callbacks, OtherThread other_thread) {
    EXPECTS(backend_ == nullptr);
    blocklayer::BlockLayer& layer = device_.machine().layer();
    sim::Thread* runs_in = &thread;
    backend_ = layer.find_backend(name);
    if (backend_ != nullptr && backend_->has_device()) {
        backend_ = nullptr;
        return failure(fmt::format("Drive '{}' is already in use by another device", name));
    }
    if (backend_ == nullptr) {
        blocklayer::Node* node = layer.find_node(name);
        if (node == nullptr)
            return failure(fmt::format("Property '{}.drive' can't find value '{}'", model, name));
        owned_ = BlockBackend::make(layer, {});
        backend_ = owned_.get();
        Status inserted = backend_->insert(*node);
        if (inserted) {
            if (sim::Thread* others = thread_of_others(); others != nullptr) runs_in = others;
            if (runs_in != &thread && other_thread == OtherThread::refuse)
                inserted = failure("Cannot change iothread of active block backend");
        }
        if (!inserted) {
            backend_ = nullptr;
            owned_.reset();
            return inserted;
        }
    }
    backend_->set_thread(*runs_in);
    backend_->holds_thread = other_thread == OtherThread::refuse;
    return backend_->attach_device(device_id(), device_.backend_path(), std::move(callbacks));
}

Status Drive::attach_empty(sim::Thread& thread, blocklayer::DeviceCallbacks callbacks) {
    EXPECTS(backend_ == nullptr);
    owned_ = BlockBackend::make(device_.machine().layer(), {});
    backend_ = owned_.get();
    backend_->set_thread(thread);
    return backend_->attach_device(device_id(), device_.backend_path(), std::move(callbacks));
}

Status Drive::check_sizes() {
    Properties& p = device_.properties();
    const std::uint64_t logical = p.number("logical_block_size"),
                        physical = p.number("physical_block_size");
    logical_block_size_ = static_cast<std::uint32_t>(logical != 0 ? logical : 512);
    physical_block_size_ = static_cast<std::uint32_t>(physical != 0 ? physical : 512);
    p.set("logical_block_size", logical_block_size_);
    p.set("physical_block_size", physical_block_size_);
    if (logical_block_size_ > physical_block_size_)
        return failure("logical_block_size > physical_block_size not supported");
    for (const sim::Label name :
         std::initializer_list<sim::Label>{"min_io_size", "opt_io_size", "discard_granularity"}) {
        const std::uint64_t value = p.number(name);
        if (value == unset_granularity || value % logical_block_size_ == 0) continue;
        return failure(fmt::format("{} must be a multiple of logical_block_size", name.name()));
    }
    const std::uint64_t granularity = p.number("discard_granularity");
    discard_granularity_ = granularity == unset_granularity ? logical_block_size_ : granularity;
    return {};
}

Status Drive::take_permissions(ReadOnlyMedium read_only, Resizable resizable) {
    EXPECTS(backend_ != nullptr);
    const Properties& p = device_.properties();
    PermSet used = Perm::consistent_read, shared = Perm::consistent_read | Perm::write_unchanged;
    if (read_only == ReadOnlyMedium::no) used = used | Perm::write;
    if (resizable == Resizable::yes) shared = shared | Perm::resize;
    if (p.flag("share-rw")) shared = shared | Perm::write;
    TRY(backend_->set_wish({used, shared}));
    if (find_property(device_.spec(), "rerror") != nullptr) {
        backend_->keeps_io_state = true;
        backend_->rerror = on_error_of(p.text("rerror"));
        backend_->werror = on_error_of(p.text("werror"));
    }
    if (p.text("write-cache") != "auto") backend_->write_cache = p.text("write-cache") == "on";
    return {};
}

Status Drive::find_geometry(sim::Co& co, std::uint64_t heads_max) {
    EXPECTS(backend_ != nullptr);
    Properties& p = device_.properties();
    const bool given = p.number("cyls") != 0 || p.number("heads") != 0 || p.number("secs") != 0;
    if (!given) {
        const Geometry guess = guess_geometry(co, *backend_);
        p.set("cyls", guess.cylinders);
        p.set("heads", guess.heads);
        p.set("secs", guess.sectors);
        return {};
    }
    const struct {
        sim::Label name;
        std::uint64_t max;
    } limits[] = {{"cyls", 65535}, {"heads", heads_max}, {"secs", 255}};
    for (const auto& [name, max] : limits)
        if (p.number(name) < 1 || p.number(name) > max)
            return failure(fmt::format("{} must be between 1 and {}", name.name(), max));
    return {};
}

void Drive::drop() {
    if (backend_ == nullptr) return;
    const Status loosened = backend_->set_wish({});
    INVARIANT(loosened.has_value());
    backend_->detach_device();
    if (owned_ && backend_->has_medium()) backend_->remove();
    backend_ = nullptr;
    owned_.reset();
}

Status Drive::change(std::string_view name) {
    blocklayer::BlockLayer& layer = device_.machine().layer();
    blocklayer::Node* node = layer.find_node(name);
    if (node == nullptr)
        return failure(fmt::format("Cannot find device='' nor node-name='{}'", name));
    return backend_->has_medium() ? backend_->replace(*node) : backend_->insert(*node);
}

std::string Drive::shown_name() const {
    if (backend_ == nullptr) return "";
    if (!backend_->name().empty()) return backend_->name();
    return backend_->node() != nullptr ? backend_->node()->name() : "";
}

}  // namespace hwmodels
