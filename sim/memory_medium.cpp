// SPDX-License-Identifier: Apache-2.0
#include "sim/memory_medium.hpp"

#include <algorithm>

#include "sim/check.hpp"
#include "sim/co.hpp"

namespace sim {
namespace {

constexpr std::uint64_t sector = MemoryMedium::sector_bytes;
constexpr std::uint64_t zero_pieces_max = 64;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

// Pieces begin at multiples of this.
std::uint64_t piece_bytes(const PendingWrite& write) {
    if (write.op == HostOp::write) return sector;
    return std::max(sector, round_up(write.length / zero_pieces_max, sector));
}

}  // namespace

std::size_t PendingWrite::pieces() const {
    if (op == HostOp::truncate) return 1;
    const std::uint64_t unit = piece_bytes(*this);
    return (offset + length - 1) / unit - offset / unit + 1;
}

std::pair<std::uint64_t, std::uint64_t> PendingWrite::piece(std::size_t index) const {
    EXPECTS(index < pieces());
    if (op == HostOp::truncate) return {offset, offset};
    const std::uint64_t unit = piece_bytes(*this);
    const std::uint64_t begin = (offset / unit + index) * unit;
    return {std::max(begin, offset), std::min(begin + unit, offset + length)};
}

MemoryMedium::InFlight::InFlight(MemoryMedium& in, HostOp kind, std::uint64_t at, std::uint64_t n,
                                 IoView from)
    : medium(in), op(kind), offset(at), length(n), data(from), previous(in.in_flight_last_) {
    (previous != nullptr ? previous->next : medium.in_flight_first_) = this;
    medium.in_flight_last_ = this;
}

MemoryMedium::InFlight::~InFlight() {
    (previous != nullptr ? previous->next : medium.in_flight_first_) = next;
    (next != nullptr ? next->previous : medium.in_flight_last_) = previous;
}

void MemoryMedium::restore(ByteImage image) {
    contents_ = std::move(image);
    if (cache_ == WriteCache::volatile_) durable_ = contents_;
    pending_.clear();
}

void MemoryMedium::set_cache(WriteCache cache) {
    cache_ = cache;
    durable_ = cache == WriteCache::volatile_ ? contents_ : ByteImage();
    pending_.clear();
}

IoStatus MemoryMedium::take_turn(Co& co, HostOp op, std::uint64_t bytes, Label why) {
    const std::uint64_t power_cycle = power_cycle_;
    if (disk_ != nullptr && bytes > 0) {
        if (op == HostOp::read)
            disk_->read(co, bytes);
        else
            disk_->write(co, bytes);
        if (latency_.ns > 0) co.sleep(latency_);
    } else if (latency_.ns > 0) {
        co.sleep(latency_);
    } else {
        co.yield(why);
    }
    if (power_cycle != power_cycle_) [[unlikely]] return Unexpected(Errno::io);
    ++counts_[static_cast<std::size_t>(op)];
    if (!faults_.empty()) [[unlikely]] TRY(injected(op));
    if (chosen_faults_ != nullptr) [[unlikely]] {
        TRY(chosen_faults_->before(co, op));
        if (power_cycle != power_cycle_) return Unexpected(Errno::io);
    }
    return {};
}

IoStatus MemoryMedium::answer(Co& co, HostOp op) {
    if (chosen_faults_ == nullptr) [[likely]] return {};
    const std::uint64_t power_cycle = power_cycle_;
    chosen_faults_->after(co, op);
    if (power_cycle != power_cycle_) return Unexpected(Errno::io);
    return {};
}

MediumFaults& MemoryMedium::chosen_faults() {
    if (chosen_faults_ == nullptr) chosen_faults_ = std::make_unique<MediumFaults>(path_);
    return *chosen_faults_;
}

void MemoryMedium::clear_faults() {
    faults_.clear();
    if (chosen_faults_ != nullptr) chosen_faults_->disarm_all();
}

IoStatus MemoryMedium::injected(HostOp op) {
    for (HostFault& fault : faults_) {
        if (fault.op != op) continue;
        if (fault.skip > 0) {
            --fault.skip;
        } else if (fault.times > 0) {
            --fault.times;
            return Unexpected(fault.error);
        }
    }
    return {};
}

// Called once a change has been made to the contents.
void MemoryMedium::remember(HostOp op, std::uint64_t offset, std::uint64_t length, IoView data) {
    ++completed_writes_;
    if (cache_ == WriteCache::none) return;
    PendingWrite write{op, offset, length, {}, true, completed_writes_};
    if (op == HostOp::write) {
        write.data.resize(length);
        data.copy_to(write.data.data());
    }
    pending_.push_back(std::move(write));
}

// A flush covers what had completed when it was issued, nothing later.
void MemoryMedium::flushed(std::uint64_t up_to) {
    const auto rest = std::find_if(pending_.begin(), pending_.end(), [&](const PendingWrite& w) {
        return w.issued > up_to;
    });
    if (rest == pending_.end()) {
        if (cache_ == WriteCache::volatile_) durable_ = contents_;
        pending_.clear();
        return;
    }
    for (auto write = pending_.begin(); write != rest; ++write)
        for (std::size_t i = 0; i < write->pieces(); ++i) {
            const auto [begin, end] = write->piece(i);
            apply(durable_, *write, begin, end);
        }
    pending_.erase(pending_.begin(), rest);
}

std::vector<PendingWrite> MemoryMedium::pending() const {
    std::vector<PendingWrite> all = pending_;
    for (const InFlight* write = in_flight_first_; write != nullptr; write = write->next) {
        PendingWrite one{write->op, write->offset, write->length, {}, false, 0};
        if (one.op == HostOp::write) {
            one.data.resize(one.length);
            write->data.copy_to(one.data.data());
        }
        all.push_back(std::move(one));
    }
    return all;
}

ByteImage MemoryMedium::surviving(std::span<const PendingWrite> pending,
                                  const std::vector<bool>& kept) const {
    ByteImage image = durable();
    std::size_t flag = 0;
    for (const PendingWrite& write : pending)
        for (std::size_t i = 0; i < write.pieces(); ++i) {
            EXPECTS(flag < kept.size());
            if (!kept[flag++]) continue;
            const auto [begin, end] = write.piece(i);
            apply(image, write, begin, end);
        }
    EXPECTS(flag == kept.size());
    return image;
}

void MemoryMedium::apply(ByteImage& image, const PendingWrite& write, std::uint64_t begin,
                         std::uint64_t end) {
    switch (write.op) {
    case HostOp::write:
        image.write(begin, std::span(write.data).subspan(begin - write.offset, end - begin));
        break;
    case HostOp::write_zeroes: image.zero(begin, end - begin, Backing::release); break;
    case HostOp::discard:
        end = std::min(end, image.size());  // a discard never grows a file
        if (begin < end) image.zero(begin, end - begin, Backing::release);
        break;
    case HostOp::truncate: image.resize(write.offset); break;
    case HostOp::read:
    case HostOp::flush: INVARIANT(false && "never pending");
    }
}

void MemoryMedium::lose_power(ByteImage survivors) {
    restore(std::move(survivors));
    locks_.clear();
    ++power_cycle_;
    if (chosen_faults_ != nullptr) chosen_faults_->deliver_lost();
}

}  // namespace sim
