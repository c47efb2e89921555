// SPDX-License-Identifier: Apache-2.0
// Dirty bitmaps under load: several of them, on a disk and on its file, of which one of each takes
// note at any moment. They are switched, cleared, added and removed together; some of that is taken
// back. Together they have to hold whatever has changed.
#include <algorithm>
#include <map>

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t disk_bytes = 48 * KiB, granule = 1 * KiB;
constexpr int bitmaps = 3;  // of each node

std::string name_of(int number) { return "bitmap" + std::to_string(number); }

Value action(const std::string& what, const std::string& node, int number) {
    Value data = Value::dict({{"node", node}, {"name", name_of(number)}});
    if (what == "add") {
        data.set("granularity", granule);
        data.set("disabled", true);
    }
    return Value::dict({{"type", "block-dirty-bitmap-" + what}, {"data", std::move(data)}});
}

Value together(const std::vector<Value>& actions) {
    Value list = Value::list();
    for (const Value& one : actions) list.push(one);
    return Value::dict({{"actions", std::move(list)}});
}

class Keeper {
public:
    Keeper(Rig& rig, std::string node) : rig_(rig), node_(std::move(node)) {}

    void begin(sim::Co& co) {
        std::vector<Value> actions;
        for (int i = 0; i < bitmaps; ++i) actions.push_back(action("add", node_, i));
        actions.push_back(action("enable", node_, 0));
        run(co, actions);
        then_ = rig_.store.medium("disk.raw")->contents();
    }

    // Another one takes note from here on.
    void turn(sim::Co& co, bool taken_back) {
        const int next = (now_ + 1) % bitmaps;
        std::vector<Value> actions{action("disable", node_, now_), action("enable", node_, next)};
        if (taken_back) return run_in_vain(co, actions);
        run(co, actions);
        kept_[now_] = find(now_)->dirty_granules();
        kept_.erase(next);
        now_ = next;
    }

    // All that was noted has been dealt with.
    void clear(sim::Co& co, bool taken_back) {
        std::vector<Value> actions;
        for (int i = 0; i < bitmaps; ++i) actions.push_back(action("clear", node_, i));
        if (taken_back) return run_in_vain(co, actions);
        run(co, actions);
        then_ = rig_.store.medium("disk.raw")->contents();
        kept_.clear();
    }

    // One goes, one of the same name comes. Only one that takes no note, and holds nothing.
    void replace(sim::Co& co, bool taken_back) {
        const int which = (now_ + 1) % bitmaps;
        if (find(which)->dirty_granules() != 0) taken_back = true;
        std::vector<Value> actions{action("remove", node_, which)};
        if (taken_back) return run_in_vain(co, actions);
        run(co, actions);
        if (find(which) != nullptr) Rig::fail("a bitmap that was removed is there");
        run(co, {action("add", node_, which)});
        kept_.erase(which);
    }

    void check() {
        const sim::ByteImage& now = rig_.store.medium("disk.raw")->contents();
        std::array<std::byte, granule> was{}, is{};
        for (std::uint64_t at = 0; at < now.size(); at += granule) {
            was.fill(std::byte{0});
            if (at < then_.size()) then_.read(at, was);
            now.read(at, is);
            if (was == is) continue;
            bool noted = false;
            for (int i = 0; i < bitmaps; ++i) noted |= find(i)->get(at);
            if (!noted)
                Rig::fail("bytes from " + std::to_string(at) + " have changed, and no bitmap of '" +
                          node_ + "' has them");
        }
        for (const auto& [number, granules] : kept_)
            if (find(number)->dirty_granules() != granules)
                Rig::fail("a bitmap that takes no note has changed");
    }

private:
    void run(sim::Co& co, const std::vector<Value>& actions) {
        rig_.qmp(co, "transaction", together(actions));
    }
    // Nothing comes of it but what is written meanwhile.
    void run_in_vain(sim::Co& co, std::vector<Value> actions) {
        const std::vector<State> before = states();
        actions.push_back(Value::dict({{"type", "abort"}, {"data", Value::dict()}}));
        if (rig_.try_qmp(co, "transaction", together(actions)))
            Rig::fail("an aborted transaction succeeds");
        if (states() != before) Rig::fail("an aborted transaction has left a trace");
    }

    struct State {
        std::string name;
        bool enabled, busy;
        bool operator==(const State&) const = default;
    };
    std::vector<State> states() const {
        std::vector<State> all;
        for (const auto& bitmap : rig_.layer.find_node(node_)->dirty_bitmaps())
            all.push_back({bitmap->name(), bitmap->enabled, bitmap->busy});
        return all;
    }
    const blocklayer::DirtyBitmap* find(int number) const {
        for (const auto& bitmap : rig_.layer.find_node(node_)->dirty_bitmaps())
            if (bitmap->name() == name_of(number)) return bitmap.get();
        return nullptr;
    }

    Rig& rig_;
    std::string node_;
    sim::ByteImage then_;
    std::map<int, std::uint64_t> kept_;  // what those hold that take no note
    int now_ = 0;
};

void set_up(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.raw", .format = "raw", .size = disk_bytes, .filled = 3});
    rig.add_node(co, "disk", "raw", "disk.raw", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
}

void kept(Rig& rig, sim::Co& co) {
    Keeper disk(rig, "disk"), file(rig, "disk-file");
    for (Keeper* keeper : {&disk, &file}) keeper->begin(co);
    for (unsigned process = 0; process < 3; ++process)
        start_load(rig, "d", process,
                   {.operations = 10, .area = 40 * KiB, .zeroes = 3, .discards = 3});
    rig.slow("disk.raw", 4);
    for (int i = 0; i < 5; ++i) {
        if (!rig.world.keep("bitmaps are changed")) continue;
        Keeper& keeper = rig.world.choose(2, "whose bitmaps") == 0 ? disk : file;
        const std::uint32_t what = rig.world.choose(3, "what is done with bitmaps");
        const bool taken_back = rig.world.choose(3, "taken back") == 1;
        co.moment("bitmaps are changed", 40);
        if (what == 0) keeper.turn(co, taken_back);
        if (what == 1) keeper.clear(co, taken_back);
        if (what == 2) keeper.replace(co, taken_back);
    }
    if (rig.world.keep("resize")) {
        co.moment("resize", 20);
        auto& oracle = rig.disk("d").oracle();
        const auto begun = oracle.begin_zeroes(disk_bytes, 16 * KiB);
        rig.qmp(co, "block_resize",
                Value::dict({{"node-name", "disk"}, {"size", disk_bytes + 16 * KiB}}));
        oracle.end_change(begun, disk_bytes, 16 * KiB, true);
        start_load(rig, "d", 3, {.operations = 5, .area = disk_bytes + 16 * KiB});
    }
    rig.finish(co);
    disk.check();
    file.check();
    rig.verify(co);
}

const WorkloadRegistration registration({.name = "bitmaps under load",
                                         .run = kept,
                                         .prepare = set_up});

}  // namespace
}  // namespace hwmodels::campaign
