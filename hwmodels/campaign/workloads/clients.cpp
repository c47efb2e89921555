// SPDX-License-Identifier: Apache-2.0
// Several who administer one machine, or one image: QMP clients that are lost in the middle of what
// they do, with jobs of theirs that go on; another machine that wants the same image.
#include <algorithm>
#include <deque>

#include "blocklayer/graph/backend.hpp"
#include "blocklayer/json_text.hpp"
#include "blocklayer/monitor/json.hpp"
#include "blocklayer/monitor/session.hpp"
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

using blocklayer::BlockLayer;
using blocklayer::Value;

constexpr std::uint64_t KiB = 1024, disk_bytes = 64 * KiB;
constexpr std::uint32_t any_moment = 40;

// ---- clients of one machine --------------------------------------------------------------------

class Client {
public:
    explicit Client(Rig& rig) {
        session_ = std::make_unique<blocklayer::Session>(rig.layer, [this](std::string_view line) {
            auto said = blocklayer::parse_json(line);
            if (!said) Rig::fail("a monitor says what is no JSON");
            if (said->has("event")) {
                if (!negotiated_) Rig::fail("an event before the capabilities were negotiated");
                events.push_back(*std::move(said));
            } else if (!said->has("QMP")) {
                replies_.push_back(*std::move(said));
                replied_.wake_all();
            }
        });
    }
    void negotiate(sim::Co& co) {
        co.moment("the capabilities are negotiated", 20);
        if (call(co, "query-jobs").has("return"))
            Rig::fail("a command is run before the capabilities were negotiated");
        negotiated_ = true;
        must(co, "qmp_capabilities");
    }
    void send(const char* command, const Value& arguments = Value::dict()) {
        session_->feed(to_json(Value::dict({{"execute", command}, {"arguments", arguments}})) +
                       "\n");
    }
    Value call(sim::Co& co, const char* command, const Value& arguments = Value::dict()) {
        send(command, arguments);
        return reply(co);
    }
    Value reply(sim::Co& co) {
        while (replies_.empty()) replied_.wait(co);
        Value first = std::move(replies_.front());
        replies_.pop_front();
        return first;
    }
    Value must(sim::Co& co, const char* command, const Value& arguments = Value::dict()) {
        Value said = call(co, command, arguments);
        if (const Value* error = said.find("error"))
            Rig::fail(std::string(command) + ": " + error->at("desc").as_string());
        return said.at("return");
    }
    std::vector<Value> events;

private:
    bool negotiated_ = false;
    std::deque<Value> replies_;
    sim::WaitQueue replied_{"reply of a monitor"};
    std::unique_ptr<blocklayer::Session> session_;
};

// Moves the disk to another image, one step at a time, whatever was done before; each step says
// what it found. It is done when the disk is there and no job is left.
class Mover {
public:
    Mover(Rig& rig, Client& client) : rig_(rig), client_(client) {}

    // The job may have got on since it was looked at: then its verb is refused.
    bool may_be_refused = false;
    // Asks for the next step. False: there is none, all is done.
    bool step(sim::Co& co) {
        const Value jobs = client_.must(co, "query-jobs");
        may_be_refused = false;
        if (jobs.items().empty()) return first_step(co);
        const std::string status = jobs.items().front().at("status").as_string();
        const char* verb = status == "ready"       ? "job-complete"
                           : status == "pending"   ? "job-finalize"
                           : status == "concluded" ? "job-dismiss"
                                                   : nullptr;
        may_be_refused = verb != nullptr;
        if (verb == nullptr)  // it has to get on by itself
            client_.send("query-block");
        else
            client_.send(verb, Value::dict({{"id", "m"}}));
        return true;
    }

private:
    bool first_step(sim::Co& co) {
        bool target_there = false;
        const Value nodes = client_.must(co, "query-named-block-nodes");
        for (const Value& node : nodes.items())
            target_there |= node.at("node-name") == Value("copy");
        if (!target_there) {
            const Value file = Value::dict({{"driver", "file"}, {"filename", "copy.raw"}});
            client_.send("blockdev-add", Value::dict({{"driver", "raw"},
                                                      {"node-name", "copy"},
                                                      {"discard", "unmap"},
                                                      {"file", file}}));
            return true;
        }
        const blocklayer::BlockBackend* backend = rig_.machine->find_device("d")->backend();
        if (backend->node()->name() == "copy") return false;
        client_.send("blockdev-mirror", Value::dict({{"job-id", "m"},
                                                     {"device", "disk"},
                                                     {"target", "copy"},
                                                     {"sync", "full"},
                                                     {"auto-finalize", false},
                                                     {"auto-dismiss", false}}));
        return true;
    }

    Rig& rig_;
    Client& client_;
};

void set_up(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.raw", .format = "raw", .size = disk_bytes, .filled = 1});
    rig.image({.file = "copy.raw", .format = "raw", .size = disk_bytes});
    rig.add_node(co, "disk", "raw", "disk.raw", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
}

std::size_t nodes_of_lost(sim::Co& co, Client& client) {
    const Value nodes = client.must(co, "query-named-block-nodes");
    return static_cast<std::size_t>(std::count_if(
        nodes.items().begin(), nodes.items().end(),
        [](const Value& node) { return node.at("node-name").as_string().starts_with("lost"); }));
}

void clients_lost(Rig& rig, sim::Co& co) {
    Client watcher(rig);
    watcher.negotiate(co);
    const std::size_t before = rig.events.size();
    bool done = false;
    for (unsigned process = 0; process < 2; ++process)
        start_load(rig, "d", process, {.operations = 4, .area = 24 * KiB, .until = &done});
    std::uint32_t losses = rig.world.keep("clients are lost") ? 3 : 0;
    while (!done) {
        auto client = std::make_unique<Client>(rig);
        client->negotiate(co);
        Mover mover(rig, *client);
        // Whatever those who were lost wanted has been done by now, or never will be.
        const std::size_t nodes = nodes_of_lost(co, *client);
        for (bool lost = false; !lost;) {
            if (nodes_of_lost(co, *client) != nodes)
                Rig::fail("a command of a client that was lost is run");
            if (!mover.step(co)) {
                done = true;
                break;
            }
            lost = losses > 0 && rig.world.choose(3, "the client is lost") == 1;
            if (!lost) {
                const Value said = client->reply(co);
                if (const Value* error = said.find("error"); error && !mover.may_be_refused)
                    Rig::fail("a step of the move: " + error->at("desc").as_string());
                co.sleep(sim::milliseconds(1));
                continue;
            }
            --losses;
            // What it still wanted is of no interest to anybody.
            client->send("blockdev-add",
                         Value::dict({{"driver", "null-co"},
                                      {"node-name", "lost" + std::to_string(losses)}}));
            co.moment("the client is lost", 6);
            client.reset();
        }
    }
    rig.finish(co);
    // Nothing of all that has escaped the one who watched.
    if (watcher.events.size() != rig.events.size() - before)
        Rig::fail("a monitor has not heard of every event");
    for (std::size_t i = 0; i < watcher.events.size(); ++i)
        if (watcher.events[i].at("event") != Value(rig.events[before + i]->name.name()))
            Rig::fail("a monitor has heard of events in another order");
    rig.verify(co);
}

// ---- two machines, one image -------------------------------------------------------------------

// Another machine that opens the image for itself, as long as nobody else has it.
class OtherMachine {
public:
    OtherMachine(Rig& rig, std::shared_ptr<guest::ContentOracle> oracle)
        : rig_(rig), oracle_(std::move(oracle)) {}

    void run(sim::Co& co) {
        for (int i = 0; i < 3; ++i) {
            if (!rig_.world.keep("another machine wants the image")) continue;
            co.moment("another machine wants the image", any_moment);
            use(co, rig_.world.choose(2, "only to read") == 1);
        }
    }
    // There is nobody else: it must get it.
    void must_get_it(sim::Co& co) {
        if (!use(co, false)) Rig::fail("an image is locked that nobody uses");
    }
    bool writes = false;                             // it may, just now
    bool first_reads = false, first_writes = false;  // the machine that it is not

private:
    bool use(sim::Co& co, bool only_reads) {
        BlockLayer other(rig_.world, rig_.store);
        const Value file = Value::dict({{"driver", "file"}, {"filename", "disk.qcow2"}});
        const auto opened = other.add_monitor_node(co, Value::dict({{"driver", "qcow2"},
                                                                    {"node-name", "image"},
                                                                    {"read-only", only_reads},
                                                                    {"file", file}}));
        if (!opened) {
            other.shut_down(co);
            return false;
        }
        if (first_writes || (first_reads && !only_reads))
            Rig::fail("an image is open to two machines, one of which writes");
        writes = !only_reads;
        auto backend = blocklayer::BlockBackend::make(
            other,
            {.used = only_reads ? blocklayer::PermSet(blocklayer::Perm::consistent_read)
                                : blocklayer::Perm::consistent_read | blocklayer::Perm::write,
             .shared = blocklayer::PermSet::all()});
        if (!backend->insert(*other.find_node("image"))) Rig::fail("nobody may use an open image");
        for (int i = 0; i < 2; ++i) {
            co.moment("another machine works", 20);
            one_request(co, *backend, only_reads);
        }
        backend->remove();
        backend.reset();
        other.shut_down(co);
        writes = false;
        return true;
    }

    void one_request(sim::Co& co, blocklayer::BlockBackend& backend, bool only_reads) {
        std::vector<std::byte> data(1 * KiB, static_cast<std::byte>(++number_));
        const std::uint64_t at = rig_.world.rng("another machine").below(40) * 512;
        if (only_reads) {
            const auto begun = oracle_->begin_read();
            if (!backend.read(co, at, sim::IoView(std::span(data)))) Rig::fail("it cannot read");
            if (const auto wrong = oracle_->end_read(begun, at, data)) Rig::fail(*wrong);
            return;
        }
        const auto begun = oracle_->begin_write(at, data);
        const bool written = backend.write(co, at, sim::IoView(std::span(data))).has_value();
        oracle_->end_change(begun, at, data.size(), written);
        if (!written) Rig::fail("it cannot write");
    }

    Rig& rig_;
    std::shared_ptr<guest::ContentOracle> oracle_;
    int number_ = 0;
};

// The image's file stays open here, but locks nothing while nobody uses it.
void two_machines(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.qcow2",
               .format = "qcow2",
               .size = disk_bytes,
               .create = Value::dict({{"cluster-size", 4 * KiB}}),
               .filled = 1});
    rig.qmp(
        co, "blockdev-add",
        Value::dict({{"driver", "file"},
                     {"node-name", "file"},
                     {"auto-read-only", rig.world.choose(2, "read-only while nobody writes") == 1},
                     {"filename", "disk.qcow2"}}));
    const auto node = [](bool read_only) {
        return Value::dict({{"driver", "qcow2"},
                            {"node-name", "disk"},
                            {"read-only", read_only},
                            {"file", "file"}});
    };
    rig.qmp(co, "blockdev-add", node(false));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
    const auto oracle = rig.disk("d").shared_oracle();
    rig.unplug(co, "d");
    rig.qmp(co, "blockdev-del", Value::dict({{"node-name", "disk"}}));
    OtherMachine other(rig, oracle);
    auto others = rig.world.spawn(rig.world.main_thread(), "another machine",
                                  [&](sim::Co& inner) { other.run(inner); });
    for (int i = 0; i < 3; ++i) {
        if (!rig.world.keep("the image is opened")) continue;
        co.moment("the image is opened", any_moment);
        const bool read_first = rig.world.choose(2, "first only to read") == 1;
        const std::string graph = rig.layer.graph().dump();
        if (!rig.try_qmp(co, "blockdev-add", node(read_first))) {
            if (rig.layer.graph().dump() != graph) Rig::fail("a refused image has left a trace");
            continue;
        }
        bool mine = !read_first;
        other.first_reads = true;
        if (other.writes) Rig::fail("an image is open to two machines, one of which writes");
        if (read_first) {
            co.moment("the image is to be written to", any_moment);
            mine = rig.try_qmp(co, "blockdev-reopen",
                               Value::dict({{"options", Value::list({node(false)})}}))
                       .has_value();
        }
        if (mine) {
            other.first_writes = true;
            rig.plug(co, "d", "virtio-blk-pci", "disk");
            start_load(rig, "d", 0, {.operations = 4, .area = 24 * KiB});
            rig.finish(co);
            rig.unplug(co, "d");
        }
        other.first_reads = other.first_writes = false;
        rig.qmp(co, "blockdev-del", Value::dict({{"node-name", "disk"}}));
    }
    others.join(co);
    if (rig.world.keep("another machine has the image for itself")) other.must_get_it(co);
    rig.qmp(co, "blockdev-add", node(false));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "QMP clients are lost",
                          .run = clients_lost,
                          .limits = {.job_slots = 2, .job_chunk_bytes = 8 * KiB},
                          .prepare = set_up}),
    WorkloadRegistration({.name = "two machines want one image", .run = two_machines}),
};

}  // namespace
}  // namespace hwmodels::campaign
