// SPDX-License-Identifier: Apache-2.0
// copy-on-read: what is read from a backing file is stored in the image above it as well.
//
// The request layer does the copying (requests/copy_on_read.cpp); this filter decides which parts.
// invariant  the guest reads the same bytes with the filter as without it
// invariant  with `bottom`, the edges from this node down to it are frozen as long as it is open
// source     QAPI BlockdevOptionsCor; texts as observed. A bottom node outside of the chain makes
//            the real program hang; here it is refused.
#include "blocklayer/drivers/filters/passthrough.hpp"
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/request.hpp"

namespace blocklayer {
namespace {

constexpr PermSet derived = Perm::consistent_read | Perm::write | Perm::resize;

Edge* down(const Node& node) {
    Edge* edge = node.filtered_child();
    return edge != nullptr ? edge : node.cow_child();
}

class CopyOnRead final : public Passthrough {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        TRY(context.open_child(co, "file", role_filtered));
        if (!context.options().has("bottom")) return {};
        const std::string& name = context.options().at("bottom").as_string();
        Node* bottom = context.layer().find_node(name);
        if (bottom == nullptr) return failure(fmt::format("Bottom node '{}' not found", name));
        if (bottom->is_filter()) return failure(fmt::format("Bottom node '{}' is a filter", name));
        Graph& graph = context.layer().graph();
        TRY(graph.freeze_chain(node(), bottom));
        if (!in_chain(*bottom)) {
            graph.unfreeze_chain(node(), bottom);
            return failure(fmt::format("Bottom node '{}' is not in the backing chain of '{}'", name,
                                       below().child().name()));
        }
        bottom_ = NodeRef(bottom);
        return {};
    }

    void close(sim::Co&) override {
        if (!bottom_) return;
        node().layer().graph().unfreeze_chain(node(), bottom_.get());
        bottom_ = NodeRef();
    }

    Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                      bool writable) const override {
        Claim claim = Driver::child_claim(edge, role, cumulative, writable);
        claim.used = claim.used & derived;
        if (!node().flags().inactive) claim.used = claim.used | Perm::write_unchanged;
        claim.shared = claim.shared & derived;
        claim.shared = claim.shared | Perm::write_unchanged;
        return claim;
    }

    std::optional<std::uint64_t> length_with_child(const Edge& child) const override {
        return child.child().length();
    }

    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                  RequestFlags flags) override {
        // A stream job that has ended keeps its filter, over nothing.
        if (node().filtered_child() == nullptr) return Unexpected(Errno::not_supported);
        // An image that was handed over is not written to.
        if (!below().claim().used.contains(Perm::write_unchanged))
            return below().read(co, offset, into, flags);
        if (!bottom_) return below().read(co, offset, into, flags | RequestFlag::copy_on_read);
        for (std::uint64_t done = 0; done < into.size();) {
            const Part part = TRY(next_part(co, offset + done, into.size() - done));
            const sim::IoView there = into.sub(done, part.length);
            if (part.copied_up)
                TRY(below().read(co, offset + done, there, flags | RequestFlag::copy_on_read));
            else if (!flags.has(RequestFlag::prefetch))
                TRY(below().read(co, offset + done, there, flags));
            done += part.length;
        }
        return {};
    }

private:
    struct Part {
        std::uint64_t length;
        bool copied_up;
    };

    bool in_chain(const Node& wanted) const {
        const Node* at = &below().child();
        while (at != &wanted) {
            const Edge* edge = down(*at);
            if (edge == nullptr) return false;
            at = &edge->child();
        }
        return true;
    }

    // How far the first layer that has the data is the same one, and whether that is one between
    // the top (which needs no copy) and the bottom node.
    IoResult<Part> next_part(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
        std::uint64_t part = length;
        bool top = true;
        // The chain is frozen: its nodes stay while we wait.
        for (Node* at = &below().child();; at = &down(*at)->child()) {
            if (!at->is_filter() || at == bottom_.get()) {
                const BlockStatus status =
                    TRY(RequestLayer::block_status(co, *at, offset, part));
                part = std::min(part, status.length);
                if (status.allocated) return Part{part, !top};
                top = false;
            }
            if (at == bottom_.get()) return Part{part, false};
        }
    }

    NodeRef bottom_;
};

const DriverRegistration registration({
    .name = "copy-on-read",
    .kind = DriverKind::filter,
    .options = {required("file", "BlockdevRef", "the top of the chain"),
                optional("bottom", "str", "lowest node whose data is copied (default: the last)")},
    .make = make_driver<CopyOnRead>,
    .can_compress = true,
    .source = "QAPI BlockdevOptionsCor",
});

}  // namespace
}  // namespace blocklayer
