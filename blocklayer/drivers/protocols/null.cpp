// SPDX-License-Identifier: Apache-2.0
// null-co, null-aio: a medium that takes everything and gives anything back, after a while.
//
// source  QAPI BlockdevOptionsNull; null-aio differs in how the real program waits, not in what is
//         seen.
#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/graph/open.hpp"

namespace blocklayer {
namespace {

constexpr std::int64_t default_size_bytes = std::int64_t{1} << 30;

class Null final : public Driver {
public:
    Status open(sim::Co&, OpenContext& context) override {
        const Value& options = context.options();
        const std::int64_t size = options.get_int("size", default_size_bytes);
        const std::int64_t latency_ns = options.get_int("latency-ns", 0);
        if (size < 0) return failure("Parameter 'size' expects a non-negative number below 2^64");
        if (latency_ns < 0) return failure("latency-ns is invalid");
        size_ = static_cast<std::uint64_t>(size);
        latency_ = sim::nanoseconds(latency_ns);
        read_zeroes_ = options.get_bool("read-zeroes", false);
        node().keeps_to_itself();
        if (!options.has("size") && !options.has("read-zeroes"))
            context.set_filename(context.node().spec().name + "://");
        return {};
    }

    IoStatus read(sim::Co& co, std::uint64_t, sim::IoView into, RequestFlags) override {
        if (read_zeroes_) into.fill(std::byte{0});
        return wait(co);
    }
    IoStatus write(sim::Co& co, std::uint64_t, sim::IoView, RequestFlags) override {
        return wait(co);
    }
    IoStatus write_zeroes(sim::Co& co, std::uint64_t, std::uint64_t, RequestFlags) override {
        return wait(co);
    }
    IoStatus flush(sim::Co& co) override { return wait(co); }

    IoResult<BlockStatus> block_status(sim::Co&, std::uint64_t offset,
                                       std::uint64_t length) override {
        return BlockStatus{.length = length,
                           .zero = read_zeroes_,
                           .allocated = true,
                           .file = &node(),
                           .offset = offset};
    }

    IoResult<std::uint64_t> length(sim::Co&) override { return size_; }
    IoResult<std::uint64_t> allocated_bytes() override { return 0; }

private:
    IoStatus wait(sim::Co& co) const {
        if (latency_ > sim::nanoseconds(0)) co.sleep(latency_);
        return {};
    }

    std::uint64_t size_ = 0;
    sim::Duration latency_;
    bool read_zeroes_ = false;
};

DriverSpec spec(std::string name) {
    return {.name = std::move(name),
            .kind = DriverKind::protocol,
            .options = {optional("size", "int", "length in bytes (default: 1 GiB)"),
                        optional("latency-ns", "uint64", "time each request takes (default: 0)"),
                        optional("read-zeroes", "bool", "reads give zeroes (default: false)")},
            .make = make_driver<Null>,
            .strong_options = {"size", "read-zeroes"},
            .source = "QAPI BlockdevOptionsNull"};
}

const DriverRegistration null_co(spec("null-co"));
const DriverRegistration null_aio(spec("null-aio"));

}  // namespace
}  // namespace blocklayer
