// SPDX-License-Identifier: Apache-2.0
// Holds:   whoever keeps within what an edge was granted is never stopped further down: each driver
//          asks its children for what it sends them, and hands on that a read may be inconsistent.
// Method:  random towers of drivers, users with random claims that send what their claims allow.
#include "blocklayer/requests/request.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::GraphFixture;

class Tower {
public:
    Tower(GraphFixture& f, sim::RandomStream& random) : f_(f), random_(random) {
        nodes_.push_back(&f.memory("n0"));
        const std::uint64_t height = 1 + random.below(4);
        while (nodes_.size() <= height) add();
    }
    Node& top() { return *nodes_.back(); }

private:
    std::string next_name() const { return fmt::format("n{}", nodes_.size()); }

    // A refused driver (a copy-on-read where nobody may write, say) leaves the tower as it is.
    void open(Value options) {
        options.set("node-name", next_name());
        Result<NodeRef> node = f_.run([&](sim::Co& co) {
            Result<NodeRef> opened = f_.layer.open(co, options);
            if (!opened) f_.layer.reap(co);
            return opened;
        });
        if (!node) return open_filter();
        f_.nodes.push_back(*node);
        nodes_.push_back(node->get());
    }
    void open_filter() { nodes_.push_back(&f_.filter(next_name(), top())); }

    void add() {
        Value options = Value::dict({{"driver", "raw"}, {"file", top().name()}});
        switch (random_.below(5)) {
        case 0: return open_filter();
        case 1: return open(std::move(options));
        case 2:
            options.set("offset", 512);
            return open(std::move(options));
        case 3:
            if (find_driver("copy-on-read") != nullptr) options.set("driver", "copy-on-read");
            return open(std::move(options));
        default: {
            Node& below = top();
            const std::string file = fmt::format("file{}", nodes_.size());
            nodes_.push_back(&f_.format(next_name(), f_.memory(file), &below));
        }
        }
    }

    GraphFixture& f_;
    sim::RandomStream& random_;
    std::vector<Node*> nodes_;
};

// Sends one request of each kind that the claim allows; what comes of it is not the question.
void use_all(sim::Co& co, Edge& edge, std::uint64_t offset) {
    const PermSet used = edge.claim().used;
    std::vector<std::byte> data(700);
    const sim::IoView view{std::span<std::byte>(data)};
    const bool reads = used.contains(Perm::consistent_read);
    const bool writes = used.contains(Perm::write);
    const bool writes_unchanged = writes || used.contains(Perm::write_unchanged);
    (void)edge.read(co, offset, view, edge.as_granted());
    (void)edge.read(co, offset, view, RequestFlag::inconsistent_ok);
    (void)edge.block_status(co, offset, 700);
    (void)edge.flush(co);
    if (reads && writes_unchanged) (void)edge.read(co, offset, view, RequestFlag::copy_on_read);
    if (writes) {
        (void)edge.write(co, offset, view);
        (void)edge.write_zeroes(co, offset, 70000);
        (void)edge.discard(co, offset, 70000);
    }
    if (writes_unchanged) {
        (void)edge.write(co, offset, view, RequestFlag::write_unchanged);
        (void)edge.write_zeroes(co, offset, 700, RequestFlag::write_unchanged);
        (void)edge.make_empty(co);
    }
    if (used.contains(Perm::resize))
        (void)edge.truncate(co, edge.child().length() + 65536, true, "off");
}

TEST_CASE("enforcement: what an edge was granted is enough all the way down", "[requests]") {
    int users = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        GraphFixture f(seed);
        sim::RandomStream random(seed, "enforcement test");
        Tower tower(f, random);
        const PermSet used = PermSet::from_bits(static_cast<unsigned>(random.below(16)));
        INFO("seed " << seed << ", " << to_letters(used) << "\n" << f.layer.graph().dump());
        const auto user = f.attach(tower.top(), to_letters(used), "ALL", "D");
        if (!user) continue;
        ++users;
        CHECK_NOTHROW(f.run([&](sim::Co& co) {
            for (int i = 0; i < 3; ++i)
                use_all(co, *(*user)->root(), random.below(tower.top().length() - 70000));
        }));
    }
    CHECK(users > 30);
}

}  // namespace
}  // namespace blocklayer
