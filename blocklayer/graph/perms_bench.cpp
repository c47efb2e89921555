// SPDX-License-Identifier: Apache-2.0
// What a permission update costs: a user attached to a long chain of filters where nothing has to
// change above or below, one whose claim goes all the way down, and a lattice of diamonds in which
// every node has to be visited.
#include <memory>
#include <string>

#include "blocklayer/layer.hpp"
#include "sim/memory_store.hpp"
#include "sim/testing/bench.hpp"
#include "sim/world.hpp"

namespace blocklayer {
namespace {

using sim::testing::BenchReport;

class Bench {
public:
    ~Bench() {
        user_.reset();
        world_.close();
    }
    Bench() : layer_(world_, store_) {}
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    Node& add(std::string name) {
        const Value options = Value::dict({{"driver", "null-co"}, {"node-name", std::move(name)}});
        Result<NodeRef> node = world_.run([&](sim::Co& co) { return layer_.open(co, options); });
        EXPECTS(node.has_value());
        nodes_.push_back(*node);
        return **node;
    }

    // n0 is the bottom, each other one a filter on the one before.
    void make_chain(std::size_t depth) {
        add("n0");
        while (nodes_.size() <= depth) {
            Node& below = *nodes_.back();
            attach(add("n" + std::to_string(nodes_.size())), below, "file", Role::filtered);
        }
    }

    // Rows of `width` nodes, each on two of the next row; one node on top of all.
    void make_lattice(std::size_t width, std::size_t rows) {
        Node& top = add("top");
        for (std::size_t i = 0; i < width * rows; ++i) add("n" + std::to_string(i));
        const auto at = [&](std::size_t row, std::size_t column) -> Node& {
            return *nodes_[1 + row * width + column % width];
        };
        for (std::size_t row = rows - 1; row > 0; --row)
            for (std::size_t column = 0; column < width; ++column) {
                attach(at(row - 1, column), at(row, column), "left", Role::data);
                attach(at(row - 1, column), at(row, column + 1), "right", Role::data);
            }
        for (std::size_t column = 0; column < width; ++column)
            attach(top, at(0, column), "child" + std::to_string(column), Role::data);
    }

    void attach(Node& parent, Node& child, std::string name, Role role) {
        const auto edge = layer_.graph().attach_child(parent, child, std::move(name), role);
        EXPECTS(edge.has_value());
    }

    // Seconds of CPU for one attach and one detach of such a user.
    double attach_cost(Node& node, Claim claim, int times) {
        const sim::testing::CpuTimer timer;
        for (int i = 0; i < times; ++i) {
            const auto user = BlockBackend::make(layer_, claim);
            EXPECTS(user->insert(node).has_value());
        }
        return timer.seconds() / times;
    }

    void keep_user(Node& node, Claim claim) {
        user_ = BlockBackend::make(layer_, claim);
        EXPECTS(user_->insert(node).has_value());
    }

    Node& node(std::size_t i) { return *nodes_[i]; }
    std::size_t edges() { return layer_.graph().edge_count(); }

private:
    sim::World world_;
    sim::MemoryStore store_;
    BlockLayer layer_;
    std::vector<NodeRef> nodes_;
    std::unique_ptr<BlockBackend> user_;
};

constexpr Claim reader{Perm::consistent_read, PermSet::all()};
constexpr Claim writer{Perm::consistent_read | Perm::write, PermSet::all()};

void chain(BenchReport& report) {
    for (const std::size_t depth : {100u, 1000u, 10000u}) {
        Bench bench;
        bench.make_chain(depth);
        const std::string name = "perms chain of " + std::to_string(depth) + ", attach ";
        const auto row = [&](const char* where, Node& node, Claim claim, int times) {
            report.row(name + where, bench.attach_cost(node, claim, times) * 1e6, "us");
        };
        row("at the bottom", bench.node(0), reader, 2000);
        bench.keep_user(bench.node(depth), reader);
        row("on top, nothing new", bench.node(depth), reader, 2000);
        row("on top, all new", bench.node(depth), writer, depth > 1000 ? 10 : 100);
        const sim::testing::CpuTimer timer;
        for (int i = 0; i < 100; ++i)
            bench.attach(bench.add("x" + std::to_string(i)), bench.node(depth), "file",
                         Role::filtered);
        report.row(name + "one more filter", timer.seconds() / 100 * 1e6, "us");
    }
}

void lattice(BenchReport& report) {
    for (const std::size_t rows : {25u, 50u, 100u, 200u}) {
        Bench bench;
        bench.make_lattice(100, rows);
        const double seconds = bench.attach_cost(bench.node(0), reader, 10);
        report.row("perms lattice of " + std::to_string(100 * rows) + " nodes, update",
                   seconds * 1e9 / static_cast<double>(bench.edges()), "ns/edge");
    }
}

const sim::testing::BenchRegistration chain_bench("perms chain", chain);
const sim::testing::BenchRegistration lattice_bench("perms lattice", lattice);

}  // namespace
}  // namespace blocklayer
