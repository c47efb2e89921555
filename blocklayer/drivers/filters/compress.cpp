// SPDX-License-Identifier: Apache-2.0
// compress: every write is stored compressed.
//
// source  QAPI BlockdevDriver "compress"; behaviour as observed
#include <bit>

#include "blocklayer/drivers/filters/passthrough.hpp"
#include "blocklayer/graph/open.hpp"

namespace blocklayer {
namespace {

class Compress final : public Passthrough {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        TRY(context.open_child(co, "file", role_filtered));
        const Node& child = below().child();
        if (!child.spec().can_compress)
            return failure(fmt::format("Compression is not supported for underlying format: {}",
                                       child.spec().name),
                           Errno::not_supported);
        cluster_bytes_ = below().child().driver().info().cluster_size;
        return {};
    }

    // What is compressed is a whole cluster.
    Limits limits() const override {
        Limits limits = passthrough_limits();
        if (std::has_single_bit(cluster_bytes_) && cluster_bytes_ <= UINT32_MAX)
            limits.request_alignment = static_cast<std::uint32_t>(cluster_bytes_);
        return limits;
    }

    std::optional<std::uint64_t> length_with_child(const Edge& child) const override {
        return child.child().length();
    }

    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override {
        return below().write(co, offset, from, flags | RequestFlag::compressed);
    }

private:
    std::uint64_t cluster_bytes_ = 0;  // 0: the format says none
};

const DriverRegistration registration({
    .name = "compress",
    .kind = DriverKind::filter,
    .options = {required("file", "BlockdevRef", "a node whose format can compress")},
    .make = make_driver<Compress>,
    .source = "QAPI BlockdevOptionsGenericFormat",
});

}  // namespace
}  // namespace blocklayer
