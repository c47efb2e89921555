// SPDX-License-Identifier: Apache-2.0
// Whole-block requests, cut to what the driver can take at once; what it cannot do is emulated.
#include "blocklayer/requests/request.hpp"

#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t largest_request = INT32_MAX;
constexpr std::size_t zero_buffer_bytes = 64 * 1024;
constexpr std::uint64_t zero_write_bytes = 16 * zero_buffer_bytes;

std::uint64_t round_down(std::uint64_t n, std::uint64_t align) { return n - n % align; }
std::uint64_t round_up(std::uint64_t n, std::uint64_t align) {
    return n % align == 0 ? n : round_down(n, align) + align;
}

std::uint64_t transfer_max(const Limits& limits) {
    const std::uint64_t max = limits.max_transfer == 0 ? largest_request : limits.max_transfer;
    return std::max<std::uint64_t>(round_down(max, limits.request_alignment),
                                   limits.request_alignment);
}

// Cuts [offset, offset + length) at multiples of `align`: a part that starts or ends between two
// of them holds no whole one, so that a driver sees aligned parts wherever there can be any.
class Parts {
public:
    Parts(std::uint64_t offset, std::uint64_t length, std::uint64_t align, std::uint64_t max)
        : at_(offset), end_(offset + length), align_(align), max_(std::max(max, align)) {}

    bool more() const { return at_ < end_; }
    std::uint64_t offset() const { return at_; }
    std::uint64_t length() const {
        const std::uint64_t left = end_ - at_;
        if (const std::uint64_t head = at_ % align_; head != 0)
            return std::min(left, align_ - head);
        if (left < align_) return left;
        return round_down(std::min(left, max_), align_);
    }
    void next() { at_ += length(); }

private:
    std::uint64_t at_, end_, align_, max_;
};

}  // namespace

// Past its end a node reads as zeroes; the driver is asked up to there, in whole blocks.
IoStatus RequestLayer::read_blocks(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView into,
                                   RequestFlags flags) {
    flags = flags.without(RequestFlag::serialising | RequestFlag::no_wait);
    const std::uint64_t end = round_up(node.length(), node.limits().request_alignment);
    const std::uint64_t readable =
        offset >= end ? 0 : std::min<std::uint64_t>(into.size(), end - offset);
    if (readable < into.size()) into.sub(readable, into.size() - readable).fill(std::byte{0});
    if (readable == 0) return {};
    if (flags.has(RequestFlag::copy_on_read))
        return copy_on_read(co, node, offset, into.sub(0, readable), flags);
    return read_parts(co, node, offset, into.sub(0, readable), flags);
}

IoStatus RequestLayer::read_parts(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView into,
                                  RequestFlags flags) {
    const std::uint64_t max = transfer_max(node.limits());
    for (std::uint64_t done = 0; done < into.size();) {
        const std::uint64_t part = std::min<std::uint64_t>(max, into.size() - done);
        TRY(node.driver().read(co, offset + done, into.sub(done, part), flags));
        done += part;
    }
    return {};
}

IoStatus RequestLayer::write_parts(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView from,
                                   RequestFlags flags) {
    const std::uint64_t max = transfer_max(node.limits());
    const bool fua = flags.has(RequestFlag::fua);
    // Written through part by part, or flushed once after the last.
    const RequestFlags given = node.limits().supports_fua ? flags : flags.without(RequestFlag::fua);
    for (std::uint64_t done = 0; done < from.size();) {
        const std::uint64_t part = std::min<std::uint64_t>(max, from.size() - done);
        TRY(node.driver().write(co, offset + done, from.sub(done, part), given));
        done += part;
    }
    if (fua && !node.limits().supports_fua && !sim::mutant<"requests: forced writes are not">()) {
        ++node.write_generation;  // there is something to flush
        return flush(co, node);
    }
    return {};
}

IoStatus RequestLayer::write_zero_buffers(sim::Co& co, Node& node, std::uint64_t offset,
                                          std::uint64_t length, RequestFlags flags) {
    static std::byte zeroes[zero_buffer_bytes];  // only ever read
    for (std::uint64_t done = 0; done < length;) {
        const std::uint64_t part = std::min(zero_write_bytes, length - done);
        sim::IoVec segments[zero_write_bytes / zero_buffer_bytes];
        std::size_t count = 0;
        for (std::uint64_t in = 0; in < part; in += zero_buffer_bytes)
            segments[count++] = {zeroes, std::min<std::size_t>(zero_buffer_bytes, part - in)};
        TRY(write_parts(co, node, offset + done,
                        sim::IoView(std::span<const sim::IoVec>(segments, count)), flags));
        done += part;
    }
    return {};
}

IoStatus RequestLayer::zero_blocks(sim::Co& co, Node& node, std::uint64_t offset,
                                   std::uint64_t length, RequestFlags flags) {
    const Limits& limits = node.limits();
    const std::uint64_t align = std::max(limits.pwrite_zeroes_alignment, limits.request_alignment);
    const std::uint64_t max =
        limits.max_pwrite_zeroes == 0 ? largest_request : limits.max_pwrite_zeroes;
    RequestFlags given = flags;
    if (!limits.zeroes_may_unmap) given = given.without(RequestFlag::may_unmap);
    const bool emulate_fua = flags.has(RequestFlag::fua) && !limits.zeroes_supports_fua;
    if (emulate_fua) given = given.without(RequestFlag::fua);
    for (Parts parts(offset, length, align, max); parts.more(); parts.next()) {
        const IoStatus status =
            node.driver().write_zeroes(co, parts.offset(), parts.length(), given);
        if (status) continue;
        if (status.error() != Errno::not_supported || flags.has(RequestFlag::no_fallback))
            return status;
        TRY(write_zero_buffers(co, node, parts.offset(), parts.length(),
                               flags.without(RequestFlag::may_unmap | RequestFlag::fua)));
        if (flags.has(RequestFlag::fua) && !emulate_fua) {
            ++node.write_generation;
            TRY(flush(co, node));
        }
    }
    if (!emulate_fua) return {};
    ++node.write_generation;
    return flush(co, node);
}

IoStatus RequestLayer::discard_blocks(sim::Co& co, Node& node, std::uint64_t offset,
                                      std::uint64_t length) {
    const Limits& limits = node.limits();
    const std::uint64_t align = std::max(limits.pdiscard_alignment, limits.request_alignment);
    const std::uint64_t max = limits.max_pdiscard == 0 ? largest_request : limits.max_pdiscard;
    for (Parts parts(offset, length, align, max); parts.more(); parts.next()) {
        const IoStatus status = node.driver().discard(co, parts.offset(), parts.length());
        if (!status && status.error() != Errno::not_supported) return status;
    }
    return {};
}

}  // namespace blocklayer
