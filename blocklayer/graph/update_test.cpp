// SPDX-License-Identifier: Apache-2.0
// Holds:   every change is accepted or refused, and worded, as a plain reading of the rules says.
// Method:  random changes of a random graph, done by the graph and by a model that recomputes all
//          below the changed nodes, parents first, and compares every pair of users.
#include <optional>

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;

// The rules as the fact sheet has them, over values: a refused change is a copy thrown away.
struct Model {
    enum class Kind : char { root, filtered, image, cow };
    struct Link {
        int parent;  // -1: a root
        std::string who, name;
        Kind kind;
        int child;
        Claim claim;
    };
    struct Vertex {
        std::string name;
        bool read_only;
        PermSet takes, withholds;      // of a filter
        std::vector<int> users, below;  // links, newest first
    };
    std::vector<Vertex> nodes;
    std::vector<Link> links;

    Claim sum(int node) const {
        Claim claim;
        for (const int user : nodes[node].users) {
            claim.used = claim.used | links[user].claim.used;
            claim.shared = claim.shared & links[user].claim.shared;
        }
        return claim;
    }

    Claim rule(int node, Kind kind) const {
        const Vertex& parent = nodes[node];
        Claim claim = sum(node);
        switch (kind) {
        case Kind::root: break;
        case Kind::filtered:
            claim.used = claim.used | parent.takes;
            claim.shared = claim.shared.without(parent.withholds);
            break;
        case Kind::cow:
            claim = {claim.used & perms("C"), claim.shared.contains(Perm::write)
                                                  ? PermSet::all()
                                                  : perms("CU")};
            break;
        case Kind::image:
            claim.used = claim.used | perms(parent.read_only ? "C" : "CWR");
            if (claim.used.contains(Perm::write_unchanged)) claim.used = claim.used | Perm::write;
            if (claim.used.contains(Perm::write)) claim.used = claim.used | Perm::resize;
            claim.shared = claim.shared.without(perms("WR"));
            break;
        }
        return claim;
    }

    void collect(int node, std::vector<int>& order) const {
        if (std::find(order.begin(), order.end(), node) != order.end()) return;
        for (const int link : nodes[node].below) collect(links[link].child, order);
        order.insert(order.begin(), node);
    }

    // The refusal, if any, with all claims below the changed nodes brought up to date.
    std::optional<std::string> recheck(std::initializer_list<int> changed) {
        std::vector<int> order;
        for (const int node : changed) collect(node, order);
        for (const int node : order) {
            for (const int x : nodes[node].users)
                for (const int y : nodes[node].users) {
                    const PermSet clash = links[y].claim.used.without(links[x].claim.shared);
                    if (x != y && !clash.empty())
                        return conflict(nodes[node].name, to_words(clash), links[y].who,
                                        links[y].name, links[x].who, links[x].name);
                }
            if (sum(node).used.intersects(perms("WU")) && nodes[node].read_only)
                return "Block node is read-only";
            for (const int link : nodes[node].below)
                links[link].claim = rule(node, links[link].kind);
        }
        return std::nullopt;
    }

    int attach(int parent, std::string who, std::string name, Kind kind, int child, Claim claim) {
        links.push_back({parent, std::move(who), std::move(name), kind, child, claim});
        const int link = static_cast<int>(links.size()) - 1;
        auto& users = nodes[child].users;
        users.insert(users.begin(), link);
        if (parent >= 0) nodes[parent].below.insert(nodes[parent].below.begin(), link);
        return link;
    }

    void detach(int link) {
        std::erase(nodes[links[link].child].users, link);
        if (links[link].parent >= 0) std::erase(nodes[links[link].parent].below, link);
    }

    bool reaches(int above, int below) const {
        if (above == below) return true;
        for (const int link : nodes[above].below)
            if (reaches(links[link].child, below)) return true;
        return false;
    }

    void move_users(int from, int to) {
        for (const int link : std::vector<int>(nodes[from].users)) {
            if (links[link].parent >= 0 && reaches(to, links[link].parent)) continue;
            std::erase(nodes[from].users, link);
            links[link].child = to;
            nodes[to].users.insert(nodes[to].users.begin(), link);
        }
    }

    std::string dump() const {
        std::string text;
        for (const Vertex& node : nodes)
            for (const int user : node.users) {
                const Link& link = links[user];
                text += fmt::format("{} --{}--> {} {} / {}\n", link.who, link.name, node.name,
                                    to_letters(link.claim.used), to_letters(link.claim.shared));
            }
        return text;
    }
};

// Plays the same changes on both.
class Twins {
public:
    explicit Twins(std::uint64_t seed) : random_(seed, "update test") {
        for (int i = 0; i < 3; ++i) {
            const bool read_only = random_.chance(1, 4);
            remember(f.memory(fmt::format("m{}", i), 1 << 20, read_only), read_only);
        }
    }

    void step() {
        switch (random_.below(8)) {
        case 0: return open_filter();
        case 1: return open_format();
        case 2:
        case 3: return attach_user();
        case 4: return change_user();
        case 5: return drop_user();
        case 6: return replace();
        default: return append_filter();
        }
    }

    void compare() {
        REQUIRE(f.layer.graph().dump() == model_.dump());
        REQUIRE(f.layer.graph().check_whole() == "");
    }

    int refused = 0, accepted = 0;

private:
    struct User {
        BlockBackend* backend;
        int link;
    };

    PermSet draw(unsigned favoured = 0) {
        return PermSet::from_bits(static_cast<unsigned>(random_.below(16)) | favoured);
    }
    int any_node() { return static_cast<int>(random_.below(live_.size())); }

    void remember(Node& node, bool read_only, PermSet takes = {}, PermSet withholds = {}) {
        model_.nodes.push_back({node.name(), read_only, takes, withholds, {}, {}});
        live_.push_back(&node);
    }

    // The model's verdict after a change of a copy, held against the graph's.
    void judge(Model changed, std::optional<std::string> expected, const Status& status) {
        CHECK((status ? std::string("ok") : status.error().text) == expected.value_or("ok"));
        ++(status ? accepted : refused);
        if (!expected) model_ = std::move(changed);
    }

    // Opens a node in the graph and, child by child, in the model.
    void open_node(Value options, bool read_only, PermSet takes, PermSet withholds,
                   std::vector<std::pair<std::string, int>> children) {
        const std::string name = fmt::format("n{}", live_.size());
        options.set("node-name", name);
        Model changed = model_;
        changed.nodes.push_back({name, read_only, takes, withholds, {}, {}});
        const int self = static_cast<int>(live_.size());
        std::optional<std::string> expected;
        for (const auto& [edge, child] : children) {
            const Model::Kind kind = options.has("takes") ? Model::Kind::filtered
                                     : edge == "file"     ? Model::Kind::image
                                                          : Model::Kind::cow;
            changed.attach(self, "node '" + name + "'", edge, kind, child,
                           changed.rule(self, kind));
            if (!expected) expected = changed.recheck({self});
            options.set(edge, model_.nodes[child].name);
        }
        Result<NodeRef> opened = f.run([&](sim::Co& co) {
            Result<NodeRef> node = f.layer.open(co, options);
            if (!node) f.layer.reap(co);
            return node;
        });
        judge(std::move(changed), expected,
              opened ? Status() : Status(Unexpected(opened.error())));
        if (!opened) return;
        f.nodes.push_back(*opened);
        live_.push_back(opened->get());
    }

    void open_filter() {
        const PermSet takes = random_.chance(1, 3) ? draw() : PermSet();
        const PermSet withholds = random_.chance(1, 3) ? draw() : PermSet();
        open_node(Value::dict({{"driver", "test-filter"},
                               {"takes", to_letters(takes)},
                               {"withholds", to_letters(withholds)}}),
                  false, takes, withholds, {{"file", any_node()}});
    }

    void open_format() {
        const bool read_only = random_.chance(1, 3);
        std::vector<std::pair<std::string, int>> children{{"file", any_node()}};
        if (random_.chance(2, 3)) children.emplace_back("backing", any_node());
        open_node(Value::dict({{"driver", "test-format"}, {"read-only", read_only}}), read_only,
                  {}, {}, std::move(children));
    }

    void attach_user() {
        const int node = any_node();
        const Claim claim{draw(), draw(random_.chance(1, 2) ? 0xf : 0)};
        const std::string id = fmt::format("D{}", next_user_++);
        Model changed = model_;
        const int link = changed.attach(-1, "block device '" + id + "'", "root",
                                        Model::Kind::root, node, claim);
        const auto expected = changed.recheck({node});
        auto backend = BlockBackend::make(f.layer, claim);
        REQUIRE(backend->attach_device(id, "/machine/" + id, {}));
        judge(std::move(changed), expected, backend->insert(*live_[node]));
        if (expected) return;
        users_.push_back({backend.get(), link});
        f.backends.push_back(std::move(backend));
    }

    void change_user() {
        if (users_.empty()) return;
        const User& user = users_[random_.below(users_.size())];
        Claim claim{draw(), draw(random_.chance(1, 2) ? 0xf : 0)};
        if (random_.chance(1, 4)) claim = {};
        Model changed = model_;
        const Claim old = std::exchange(changed.links[user.link].claim, claim);
        auto expected = changed.recheck({changed.links[user.link].child});
        if (old.used.contains(claim.used) && claim.shared.contains(old.shared))
            CHECK(!expected);  // giving something up never fails
        judge(std::move(changed), expected, user.backend->set_wish(claim));
    }

    void drop_user() {
        if (users_.empty()) return;
        const std::size_t at = random_.below(users_.size());
        const User user = users_[at];
        users_.erase(users_.begin() + static_cast<std::ptrdiff_t>(at));
        Model changed = model_;
        changed.detach(user.link);
        const auto expected = changed.recheck({changed.links[user.link].child});
        f.drop(*user.backend);
        judge(std::move(changed), expected, {});
    }

    void replace() {
        const int from = any_node(), to = any_node();
        if (from == to) return;
        Model changed = model_;
        changed.move_users(from, to);
        const auto expected = changed.recheck({to, from});
        judge(std::move(changed), expected, f.layer.graph().replace_node(*live_[from], *live_[to]));
    }

    // As jobs do it: a node without a child yet goes between another one and its users.
    void append_filter() {
        const int bottom = any_node();
        Node& top = f.memory(fmt::format("n{}", live_.size()));
        remember(top, false);
        const int self = static_cast<int>(live_.size()) - 1;
        Model changed = model_;
        changed.attach(self, top.describe(), "backing", Model::Kind::filtered, bottom,
                       changed.rule(self, Model::Kind::filtered));
        changed.move_users(bottom, self);
        const auto expected = changed.recheck({self});
        judge(std::move(changed), expected,
              f.layer.graph().append(top, *live_[bottom], "backing", Role::filtered));
    }

    GraphFixture f;
    sim::RandomStream random_;
    Model model_;
    std::vector<Node*> live_;  // as in the model
    std::vector<User> users_;
    int next_user_ = 0;
};

TEST_CASE("update: random changes are judged as the rules say", "[graph][update]") {
    int refused = 0, accepted = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        INFO("seed " << seed);
        Twins twins(seed);
        for (int step = 0; step < 40; ++step) {
            INFO("step " << step);
            twins.step();
            twins.compare();
        }
        refused += twins.refused;
        accepted += twins.accepted;
    }
    CHECK(refused > 100);  // both happen often
    CHECK(accepted > 100);
}

TEST_CASE("update: refusals are the reference's first one", "[graph][update]") {
    GraphFixture f;
    Node& n = f.memory("n");
    SECTION("the older user's need comes first") {
        f.user(n, "CW", "CUR", "D1");
        CHECK(f.try_attach(n, "CW", "CUR", "D2") ==
              conflict("n", "write", "block device 'D1'", "root", "block device 'D2'", "root"));
    }
    SECTION("unless only the newcomer's is not shared") {
        f.user(n, "CW", "CUR", "D1");
        CHECK(f.try_attach(n, "CW", "ALL", "D2") ==
              conflict("n", "write", "block device 'D2'", "root", "block device 'D1'", "root"));
    }
    SECTION("of several older users the newest is named, with its bits only") {
        Node& p1 = f.filter("p1", n, "W");
        Node& p2 = f.filter("p2", n, "R");
        CHECK(f.open_error(Value::dict({{"driver", "test-filter"},
                                        {"node-name", "p3"},
                                        {"file", "n"},
                                        {"withholds", "WR"}}))
                  .text == conflict("n", "resize", p2.describe(), "file", "node 'p3'", "file"));
        CHECK(p1.child("file")->claim().used == perms("W"));
    }
    SECTION("a conflict comes before the node's being read-only") {
        Node& ro = f.memory("ro", 1 << 20, /*read_only=*/true);
        f.filter("w", ro, "", "W");
        CHECK(f.try_attach(ro, "W", "ALL") ==
              conflict("ro", "write", "an unnamed block device", "root", "node 'w'", "file"));
        CHECK(f.try_attach(ro, "U", "ALL") == "Block node is read-only");
        CHECK(f.try_attach(ro, "CR", "ALL") == "ok");  // resizing is refused when it is tried
    }
    SECTION("and both before the driver's own refusal, that before anything below") {
        Node& top = f.filter("top", n);
        f.memory_of(n).refuse_claims = true;
        CHECK(f.try_attach(top, "C", "ALL") == "the host says no");
        CHECK(f.try_attach(n, "", "CUR") == "the host says no");
        f.memory_of(n).refuse_claims = false;
        f.user(n, "", "CUR", "D");
        f.memory_of(n).refuse_claims = true;
        CHECK(f.try_attach(n, "W", "ALL") ==
              conflict("n", "write", "an unnamed block device", "root", "block device 'D'",
                       "root"));
    }
    f.check();
}

TEST_CASE("update: whoever explains a refusal sees all clashes and the graph asked for",
          "[graph][update]") {
    GraphFixture f;
    Node& n = f.memory("n");
    Node& top = f.filter("top", n, "R");
    f.user(n, "", "CUR", "D1");
    f.user(top, "", "CR", "D3");
    std::vector<Refusal> seen;
    std::string asked_for;
    f.layer.graph().on_refusal = [&](const std::vector<Refusal>& clashes) {
        seen = clashes;
        asked_for = f.layer.graph().dump();
    };
    CHECK(f.try_attach(top, "WU", "ALL", "E") ==
          conflict("top", "write, write unchanged", "block device 'E'", "root",
                   "block device 'D3'", "root"));
    CHECK(seen == std::vector<Refusal>{{"top", perms("WU"), {"block device 'E'", "root"},
                                        {"block device 'D3'", "root"}},
                                       {"n", perms("W"), {"node 'top'", "file"},
                                        {"block device 'D1'", "root"}}});
    CHECK(asked_for.find("block device 'E' --root--> top WU / ALL\n") != std::string::npos);
    CHECK(asked_for.find("node 'top' --file--> n WUR / CR\n") != std::string::npos);
    f.layer.graph().on_refusal = nullptr;
    f.check();
}

TEST_CASE("update: writing needs resize where the length is no whole block", "[graph][update]") {
    GraphFixture f;
    Node& n = f.memory("n", 1536);
    f.memory_of(n).given.request_alignment = 1024;
    f.layer.refresh_limits(n);
    const std::string refusal =
        "Cannot get 'write' permission without 'resize': Image size is not a multiple of request "
        "alignment";
    CHECK(f.try_attach(n, "W", "ALL") == refusal);
    CHECK(f.try_attach(n, "U", "ALL") == refusal);
    CHECK(f.try_attach(n, "C", "ALL") == "ok");
    BlockBackend& both = f.user(n, "WR", "ALL");
    // Giving up the right to resize would leave a writer without it: the edge stays as it is.
    REQUIRE(both.set_wish({perms("W"), PermSet::all()}));
    CHECK(both.root()->claim().used == perms("WR"));
    f.check();
}

TEST_CASE("update: force-share opens a read-only node to everybody", "[graph][update]") {
    GraphFixture f;
    Node& shared = f.open(Value::dict({{"driver", "test-memory"},
                                       {"node-name", "s"},
                                       {"read-only", true},
                                       {"force-share", true}}));
    Node& top = f.format("top", shared, nullptr, /*read_only=*/true);
    CHECK(top.child("file")->claim() == Claim{perms("C"), PermSet::all()});
    f.check();
}

}  // namespace
}  // namespace blocklayer
