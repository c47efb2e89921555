// SPDX-License-Identifier: Apache-2.0
// Holds:   a transaction is all or nothing, and its outcome does not depend on the order of edges.
// Method:  random transactions of several changes, broken off or made to fail at every step, with
//          the whole state compared; equal graphs built in shuffled order, judged alike.
#include "blocklayer/graph/transaction.hpp"

#include <numeric>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::GraphFixture;
using testing::perms;

TEST_CASE("transaction: undone in reverse order, finished in order, never both", "[transaction]") {
    std::string log;
    const auto fill = [&](Transaction& tx) {
        for (const char* name : {"a", "b"}) {
            tx.on_abort([&log, name] { log += std::string("-") + name; });
            tx.on_commit([&log, name] { log += std::string("+") + name; });
        }
    };
    {
        Transaction tx;
        fill(tx);
    }
    CHECK(std::exchange(log, "") == "-b-a");  // dropped without a word
    {
        Transaction tx;
        fill(tx);
        tx.commit();
        tx.abort();
    }
    CHECK(log == "+a+b");
}

// A chain with filters, overlays, users and a drained node: something of everything.
class Workshop {
public:
    explicit Workshop(std::uint64_t seed) : random_(seed, "transaction test") {
        Node& base = f.memory("base");
        Node& file = f.memory("file");
        f.memory("spare");
        Node& overlay = f.format("overlay", file, &base);
        Node& filter = f.filter("filter", overlay);
        f.user(filter, "CW", "CUR", "D1");
        f.user(base, "C", "ALL", "D2");
        f.user(base, "", "ALL", "D3");
        Drain::quiesce(base);
        for (const NodeRef& node : f.nodes) nodes_.push_back(node.get());
    }
    ~Workshop() { Drain::end(*nodes_.front()); }
    Workshop(const Workshop&) = delete;
    Workshop& operator=(const Workshop&) = delete;

    using Change = std::function<Status(Transaction&)>;

    // Some changes, the same ones each time they are asked for.
    std::vector<Change> draw() {
        std::vector<Change> changes;
        for (std::uint64_t count = 1 + random_.below(5); count > 0; --count)
            changes.push_back(draw_one());
        return changes;
    }

    Status judge(Transaction& tx) { return f.layer.graph().refresh(tx, nodes_); }

    std::string state() {
        std::string text = f.layer.graph().dump_whole();
        for (Node* node : nodes_)
            if (const auto* memory = dynamic_cast<testing::MemoryDriver*>(&node->driver()))
                text += fmt::format("host {} / {}\n", to_letters(memory->held.used),
                                    to_letters(memory->held.shared));
        return text;
    }

    std::vector<testing::MemoryDriver*> hosts() {
        std::vector<testing::MemoryDriver*> found;
        for (Node* node : nodes_)
            if (auto* memory = dynamic_cast<testing::MemoryDriver*>(&node->driver()))
                found.push_back(memory);
        return found;
    }

    GraphFixture f;

private:
    Node& any() { return *nodes_[random_.below(nodes_.size())]; }
    Claim any_claim() {
        return {PermSet::from_bits(static_cast<unsigned>(random_.below(16))),
                PermSet::from_bits(static_cast<unsigned>(random_.below(16)) | 0xb)};
    }

    Change draw_one() {
        Graph& graph = f.layer.graph();
        Node &one = any(), &other = any();
        BlockBackend& backend = *f.backends[random_.below(f.backends.size())];
        const Claim claim = any_claim();
        switch (random_.below(6)) {
        case 0:
            return [&graph, &other, this, claim](Transaction& tx) -> Status {
                TRY(graph.attach(tx, guest_, other, "guest", EdgeClass::root, {}, claim));
                return {};
            };
        case 1:
            return [&graph, &one, &other](Transaction& tx) -> Status {
                TRY(graph.attach(tx, one, other, "extra", EdgeClass::node, Role::data, {}));
                return {};
            };
        case 2:
            return [&graph, &backend, &other](Transaction& tx) -> Status {
                graph.move(tx, *backend.root(), other);
                return {};
            };
        case 3:
            return [&graph, &backend, claim](Transaction& tx) -> Status {
                graph.set_claim(tx, *backend.root(), claim);
                return {};
            };
        case 4:
            return [&graph, &one, &other](Transaction& tx) -> Status {
                if (&one == &other) return {};
                return graph.replace_parents(tx, one, other, Strict::no);
            };
        default:
            return [&graph, &other, overlay = nodes_[3]](Transaction& tx) {
                Node* child = &other == overlay ? nullptr : &other;
                return graph.set_child(tx, *overlay, "backing", Role::cow, child);
            };
        }
    }

    sim::RandomStream random_;
    std::vector<Node*> nodes_;
    testing::TestUser guest_{"block device 'guest'"};
};

TEST_CASE("transaction: broken off after any step it leaves no trace", "[transaction]") {
    int refused = 0, judged = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        INFO("seed " << seed);
        Workshop shop(seed);
        const std::string before = shop.state();
        const auto changes = shop.draw();
        for (std::size_t stop = 0; stop <= changes.size(); ++stop) {
            INFO("broken off before step " << stop);
            {
                Transaction tx;
                bool going = true;
                for (std::size_t step = 0; step < stop && going; ++step)
                    going = changes[step](tx).has_value();
                if (going) {  // judged and accepted, it can still be broken off
                    const Status status = shop.judge(tx);
                    ++judged;
                    refused += status ? 0 : 1;
                }
                tx.abort();
            }
            REQUIRE(shop.state() == before);
        }
        shop.f.check();
    }
    CHECK(refused > 10);
    CHECK(judged - refused > 10);
}

// Each prepare that was accepted is followed by one commit or abort.
bool balanced(const testing::MemoryDriver& host) {
    bool prepared = false, sound = true;
    for (const std::string& hook : host.hooks) {
        if (hook == "prepare") sound = sound && !std::exchange(prepared, true);
        if (hook == "refused") sound = sound && std::exchange(prepared, false);
        if (hook == "commit" || hook == "abort") sound = sound && std::exchange(prepared, false);
    }
    return sound && !prepared;
}

TEST_CASE("transaction: refused by any driver on the way it leaves no trace", "[transaction]") {
    int failures = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        INFO("seed " << seed);
        Workshop shop(seed);
        const std::string before = shop.state();
        const auto changes = shop.draw();
        for (testing::MemoryDriver* refusing : shop.hosts()) {
            refusing->refuse_claims = true;
            Transaction tx;
            bool going = true;
            for (const auto& change : changes) going = going && change(tx).has_value();
            const bool refused = going && !shop.judge(tx);
            tx.abort();
            refusing->refuse_claims = false;
            failures += refused ? 1 : 0;
            REQUIRE(shop.state() == before);
            for (const testing::MemoryDriver* host : shop.hosts()) CHECK(balanced(*host));
        }
    }
    CHECK(failures > 10);
}

TEST_CASE("transaction: committed, it is what was judged", "[transaction]") {
    int committed = 0;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        INFO("seed " << seed);
        Workshop shop(seed);
        const auto changes = shop.draw();
        Transaction tx;
        bool going = true;
        for (const auto& change : changes) going = going && change(tx).has_value();
        if (!going || !shop.judge(tx)) continue;
        const std::string judged = shop.f.layer.graph().dump();
        tx.commit();
        ++committed;
        CHECK(shop.f.layer.graph().dump() == judged);
        shop.f.check();
    }
    CHECK(committed > 10);
}

// ---- the order in which edges were made -----------------------------------------------------

// A graph as data: it can be built again with its edges in another order.
struct Plan {
    struct Link {
        int parent, child;  // parent < child; parent -1: a user
        RoleSet role;
        Claim claim;  // of a user
    };
    int nodes;
    std::vector<Link> links;
    std::vector<std::pair<std::size_t, Claim>> new_claims;  // of users
    std::vector<std::pair<std::size_t, int>> moves;         // users to other nodes

    explicit Plan(sim::RandomStream& random) : nodes(3 + static_cast<int>(random.below(6))) {
        const auto claim = [&] {
            return Claim{PermSet::from_bits(static_cast<unsigned>(random.below(16))),
                         PermSet::from_bits(static_cast<unsigned>(random.below(16)) | 0xb)};
        };
        for (int child = 1; child < nodes; ++child)
            for (int parent = 0; parent < child; ++parent) {
                if (!random.chance(2, 5)) continue;
                const RoleSet roles[] = {Role::data, Role::cow, Role::data | Role::metadata};
                links.push_back({parent, child, roles[random.below(parent == 0 ? 3 : 2)], {}});
            }
        for (int i = 0; i < 4; ++i) {
            const int node = static_cast<int>(random.below(static_cast<std::uint64_t>(nodes)));
            links.push_back({-1, node, {}, {PermSet(), PermSet::all()}});
            if (random.chance(1, 2)) new_claims.emplace_back(links.size() - 1, claim());
            if (random.chance(1, 2))
                moves.emplace_back(links.size() - 1,
                                   random.below(static_cast<std::uint64_t>(nodes)));
        }
    }
};

struct Outcome {
    bool built = false, accepted = false;
    std::string graph;
    bool operator==(const Outcome&) const = default;
};

std::string sorted_lines(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
        lines.push_back(text.substr(at, text.find('\n', at) - at));
    std::sort(lines.begin(), lines.end());
    return fmt::format("{}", fmt::join(lines, "\n"));
}

Outcome play(const Plan& plan, const std::vector<std::size_t>& order) {
    GraphFixture f;
    std::vector<Node*> nodes;
    for (int i = 0; i < plan.nodes; ++i) nodes.push_back(&f.memory(fmt::format("n{}", i)));
    std::vector<std::unique_ptr<testing::TestUser>> users;
    std::vector<Edge*> edges(plan.links.size());
    Graph& graph = f.layer.graph();
    Outcome outcome{.built = true};
    for (const std::size_t at : order) {
        const Plan::Link& link = plan.links[at];
        Result<Edge*> edge = nullptr;
        if (link.parent < 0) {
            users.push_back(std::make_unique<testing::TestUser>(fmt::format("user {}", at)));
            edge = graph.attach_root(*users.back(), *nodes[link.child], "root", EdgeClass::root,
                                     link.claim);
        } else {
            edge = graph.attach_child(*nodes[link.parent], *nodes[link.child],
                                      fmt::format("child{}", at), link.role);
        }
        outcome.built = outcome.built && edge.has_value();
        edges[at] = edge ? *edge : nullptr;
    }
    if (outcome.built) {
        Transaction tx;
        for (const auto& [user, claim] : plan.new_claims) graph.set_claim(tx, *edges[user], claim);
        for (const auto& [user, to] : plan.moves) graph.move(tx, *edges[user], *nodes[to]);
        outcome.accepted = graph.refresh(tx, nodes).has_value();
        if (outcome.accepted) tx.commit();
    }
    if (outcome.built) outcome.graph = sorted_lines(graph.dump());
    CHECK(graph.check_whole() == "");
    for (std::size_t at = 0; at < edges.size(); ++at)
        if (plan.links[at].parent < 0 && edges[at] != nullptr) graph.detach(*edges[at]);
    return outcome;
}

TEST_CASE("transaction: the outcome does not depend on the order of edges", "[transaction]") {
    int accepted = 0, refused = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        INFO("seed " << seed);
        sim::RandomStream random(seed, "order test");
        const Plan plan(random);
        std::vector<std::size_t> order(plan.links.size());
        std::iota(order.begin(), order.end(), 0);
        const Outcome first = play(plan, order);
        for (int shuffle = 0; shuffle < 2; ++shuffle) {
            for (std::size_t i = order.size(); i > 1; --i)
                std::swap(order[i - 1], order[random.below(i)]);
            REQUIRE(play(plan, order) == first);
        }
        if (first.built) ++(first.accepted ? accepted : refused);
    }
    CHECK(accepted > 5);
    CHECK(refused > 3);
}

TEST_CASE("transaction: a writer moves between two filters over one node", "[transaction]") {
    // The shared node is judged when both filters have been: in either order of edges.
    for (const bool f1_first : {false, true}) {
        GraphFixture f;
        Node& base = f.memory("base");
        Node* f1 = f1_first ? &f.filter("f1", base) : nullptr;
        Node& f2 = f.filter("f2", base);
        if (f1 == nullptr) f1 = &f.filter("f1", base);
        BlockBackend& top = f.user(*f1, "CW", "CU", "top");
        REQUIRE(top.replace(f2));
        CHECK(f.edge(f2, "file").claim() == Claim{perms("CW"), perms("CU")});
        CHECK(f.edge(*f1, "file").claim() == Claim{});
        REQUIRE(top.replace(*f1));
        f.check();
    }
}

}  // namespace
}  // namespace blocklayer
