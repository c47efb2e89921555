// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/rig.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/jobs/job.hpp"
#include "blocklayer/json_text.hpp"
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "sim/arena.hpp"
#include "sim/check.hpp"

namespace hwmodels::campaign {

namespace {

template <class T>
T must(blocklayer::Result<T> result, std::string_view what) {
    if (!result) Rig::fail(fmt::format("{}: {}", what, result.error().text));
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

const blocklayer::Node& below_filters(const blocklayer::Node& node) {
    const blocklayer::Node* below = &node;
    while (below->is_filter()) below = &below->filtered_child()->child();
    return *below;
}

// The file a node of these options is on; empty: there is something in between.
std::string file_of(const Value& options) {
    const Value& file = options.at("file");
    if (!file.is_dict() || file.at("driver") != Value("file")) return {};
    return file.at("filename").as_string();
}

}  // namespace

void Rig::fail(const std::string& what) { throw sim::AssertionFailure(what); }

Rig::Rig(RigOptions options)
    : world(std::move(options.world)),
      store(options.cache),
      layer(world, store, options.layer),
      checks_(options.checks) {
    machine = &Machine::of(layer);
    events.reserve(32);
    layer.add_event_sink([this](const std::shared_ptr<const blocklayer::QmpEvent>& event) {
        check_event(*event);
        events.push_back(event);
        event_came_.wake_all();
    });
    machine->resume();
    if (checks_ == Checks::on) guest::heap_of(*machine).watch();
    hotplug_ = std::make_unique<guest::HotplugHandler>(*machine);
}

Rig::~Rig() {
    world.close();
    hotplug_.reset();
}

void Rig::image(const ImageSpec& image) {
    static std::map<ImageSpec, sim::ByteImage> made;
    auto known = made.find(image);
    if (known == made.end()) {
        const sim::Arena::Outside outside;
        known = made.emplace(image, make_image(image)).first;
    }
    store.put(image.file, known->second);
}

blocklayer::Result<Value> Rig::try_qmp(sim::Co& co, std::string_view command, Value arguments) {
    auto result = blocklayer::execute(co, layer, command, arguments);
    note_lengths();
    return result;
}

Value Rig::qmp(sim::Co& co, std::string_view command, Value arguments) {
    return must(try_qmp(co, command, std::move(arguments)), command);
}

void Rig::add_node(sim::Co& co, const std::string& name, const std::string& format,
                   const std::string& file, Value more) {
    Value options = Value::dict(
        {{"driver", format},
         {"node-name", name},
         {"file",
          Value::dict({{"driver", "file"}, {"node-name", name + "-file"}, {"filename", file}})}});
    if (more.is_dict())
        for (const auto& [key, value] : more.members()) options.set(key, value);
    qmp(co, "blockdev-add", std::move(options));
}

guest::CheckedDisk& Rig::plug(sim::Co& co, const std::string& id, const std::string& model,
                              const std::string& node, Value more, Plug how) {
    Value arguments = Value::dict({{"driver", model}, {"id", id}, {"drive", node}});
    // What guests' drivers make use of is the world's choice too.
    if (model.starts_with("virtio-") && !preparing) {
        if (!world.feature("event index")) arguments.set("event_idx", false);
        if (!world.feature("indirect descriptors")) arguments.set("indirect_desc", false);
    }
    if (more.is_dict())
        for (const auto& [key, value] : more.members()) arguments.set(key, value);
    const bool write_through = arguments.get_string("write-cache", "") == "off";
    if (how == Plug::cold)
        must(machine->add_device(co, arguments, how), "a device of a machine that is built");
    else
        qmp(co, "device_add", std::move(arguments));
    guest::CheckedDisk& disk = open_again(co, id, node);
    if (write_through) disk.set_write_through();
    return disk;
}

guest::CheckedDisk& Rig::open_again(sim::Co& co, const std::string& id, const std::string& node) {
    forget_disk(id);
    auto opened = guest::open_disk(co, *machine, id);
    if (!opened) fail(fmt::format("disk '{}': {}", id, opened.error().text));
    std::shared_ptr<guest::ContentOracle> oracle;
    if (checks_ == Checks::on) {
        auto& known = oracles_[node];
        if (!known) known = std::make_shared<guest::ContentOracle>(node);
        oracle = known;
    }
    auto& disk = disks_[id].disk;
    disk = std::make_unique<guest::CheckedDisk>(*std::move(opened), oracle);
    if (const PciFunction* function = guest::pci_function_of(*machine->find_device(id))) {
        hotplug_->add_disk(function->devfn >> 3, disk->disk());
        disk->keeps_to(function->place());
    }
    return *disk;
}

void Rig::forget_disk(const std::string& id) {
    const auto known = disks_.find(id);
    if (known == disks_.end() || known->second.disk == nullptr) return;
    hotplug_->remove_disk(known->second.disk->disk());
    known->second.disk.reset();
}

const Rig::KnownDisk& Rig::known_disk(const std::string& id) const {
    const auto known = disks_.find(id);
    if (known == disks_.end() || known->second.disk == nullptr)
        fail(fmt::format("the guest has no disk '{}'", id));
    return known->second;
}

void Rig::unplug(sim::Co& co, const std::string& id) {
    const std::size_t before = events.size();
    qmp(co, "device_del", Value::dict({{"id", id}}));
    wait_event(co, "DEVICE_DELETED", Value::dict({{"device", id}}), before);
}

// A job that its user has paused goes on when the user says so, or is cancelled.
void Rig::check_event(const blocklayer::QmpEvent& event) {
    if (event.name != "JOB_STATUS_CHANGE") return;
    const std::string& id = event.data.at("id").as_string();
    const blocklayer::Job* job = layer.jobs().find(id);
    if (job == nullptr) return;
    JobSeen& seen_of_it = jobs_[id];
    const JobStatus now = job->status(), before = std::exchange(seen_of_it.last, now);
    seen_of_it.had |= 1U << static_cast<unsigned>(now);
    const bool goes_on = now == JobStatus::running || now == JobStatus::ready;
    const bool stood = before == JobStatus::paused || before == JobStatus::standby;
    if (goes_on && stood && job->user_paused() && !job->is_cancelled())
        fail(fmt::format("job '{}' goes on although its user has paused it", id));
}

// A guest's disk never gets shorter, whatever node it comes to be on.
void Rig::note_lengths() {
    for (auto& [id, known] : disks_) {
        if (known.disk == nullptr) continue;
        const Device* device = machine->find_device(id);
        if (device == nullptr || device->backend() == nullptr) continue;
        const std::uint64_t length = device->backend()->length();
        if (length < known.longest)
            fail(fmt::format("disk '{}' had {} bytes and has {}", id, known.longest, length));
        known.longest = length;
    }
}

bool Rig::has_event(sim::Label name, const Value& members, std::size_t from) const {
    const auto is_it = [&](const std::shared_ptr<const blocklayer::QmpEvent>& event) {
        if (event->name != name) return false;
        return std::all_of(members.members().begin(), members.members().end(), [&](const auto& m) {
            const Value* found = event->data.find(m.first);
            return found != nullptr && *found == m.second;
        });
    };
    return std::any_of(events.begin() + static_cast<std::ptrdiff_t>(from), events.end(), is_it);
}

void Rig::wait_event(sim::Co& co, sim::Label name, const Value& members, std::size_t from) {
    while (!has_event(name, members, from)) {
        from = events.size();
        event_came_.wait(co);
    }
}

bool Rig::wait_job(sim::Co& co, const std::string& id, JobStatus status) {
    const JobSeen& job = jobs_[id];
    const auto had = [&](JobStatus one) {
        return (job.had >> static_cast<unsigned>(one) & 1) != 0;
    };
    while (!had(status) && !had(JobStatus::null)) event_came_.wait(co);
    return had(status);
}

void Rig::finish(sim::Co& co) {
    for (std::size_t i = 0; i < fibers_.size(); ++i) fibers_[i].join(co);
    fibers_.clear();
}

std::string Rig::end() const {
    std::string text;
    for (const auto& [path, image] : store.snapshot()) {
        std::vector<std::byte> bytes(image.size());
        image.read(0, bytes);
        text += fmt::format("{}: {} bytes, {:x}\n", path, bytes.size(),
                            sim::hash_text({reinterpret_cast<const char*>(bytes.data()),
                                            bytes.size()}));
    }
    for (const auto& event : events)
        text += fmt::format("{} {}\n", event->name.name(), blocklayer::to_json(event->data));
    for (const auto& [client, what] : seen) text += fmt::format("{} saw {}\n", client, what);
    return text;
}

bool Rig::finished() const {
    return std::all_of(fibers_.begin(), fibers_.end(),
                       [](const sim::FiberRef& fiber) { return fiber.get() == nullptr; });
}

void Rig::learn(sim::Co& co, const std::string& id) { read_whole(co, disk(id)); }

void Rig::remove_file(const std::string& file) {
    if (!store.remove(file)) fail(fmt::format("'{}' cannot be removed", file));
}

void Rig::slow(const std::string& file, unsigned most) {
    store.medium(file)->chosen_faults().set_wait(sim::milliseconds(2));
    arm(file, {sim::MediumFault::slow}, most);
}

void Rig::read_whole(sim::Co& co, guest::CheckedDisk& disk) {
    std::vector<std::byte> data(std::min<std::uint64_t>(64 * 1024, disk.length()));
    for (std::uint64_t at = 0; at < disk.length(); at += data.size()) {
        const std::uint64_t part = std::min<std::uint64_t>(data.size(), disk.length() - at);
        if (!disk.read(co, at, std::span(data).first(part)))
            fail(fmt::format("reading the whole disk failed at {}", at));
    }
}

void Rig::check_counters() {
    for (const blocklayer::Node* node : layer.nodes()) {
        if (node->in_flight() != 0 || node->drained())
            fail(fmt::format("node '{}' is left with {} requests in flight{}", node->name(),
                             node->in_flight(), node->drained() ? ", drained" : ""));
    }
    for (const blocklayer::BlockBackend* backend : layer.backends())
        if (backend->in_flight() != 0)
            fail(fmt::format("{} is left with {} requests in flight", backend->describe(),
                             backend->in_flight()));
    if (const std::string wrong = blocklayer::Drain::check(layer); !wrong.empty()) fail(wrong);
    if (const std::string wrong = layer.graph().check_whole(); !wrong.empty()) fail(wrong);
}

void Rig::check_image(sim::Co& co, blocklayer::Node& node, bool leaks_allowed) {
    const blocklayer::NodeRef alive(&node);
    const auto result = node.driver().check(co, blocklayer::Driver::Repair::none);
    if (!result) fail(fmt::format("checking the image of node '{}' failed", node.name()));
    const std::uint64_t wrong = result->corruptions + result->check_errors;
    if (wrong == 0 && (leaks_allowed || result->leaks == 0)) return;
    fail(fmt::format("the image of node '{}' is damaged: {}", node.name(),
                     result->messages.empty() ? "" : result->messages.front()));
}

void Rig::check_images(sim::Co& co) {
    for (blocklayer::Node* node : layer.nodes())
        if (node->spec().name == "qcow2") check_image(co, *node, errors_injected);
}

void Rig::arm(const std::string& file, std::initializer_list<sim::MediumFault> kinds,
              unsigned most) {
    world.limit_faults(most);
    for (const sim::MediumFault kind : kinds) store.medium(file)->chosen_faults().arm(kind);
}

void Rig::disarm(const std::string& file) { store.medium(file)->chosen_faults().disarm_all(); }

Rig::Contents Rig::verify_running(sim::Co& co, Reading reading) {
    finish(co);
    for (const auto& [id, known] : disks_)
        if (machine->find_device(id) == nullptr) forget_disk(id);
    for (const auto& [id, known] : disks_) {
        const auto& disk = known.disk;
        if (disk == nullptr) continue;
        if (const auto flushed = disk->flush(co); !flushed && !errors_injected)
            fail(fmt::format("disk '{}': the last flush failed", id));
        if (reading == Reading::by_guests) read_whole(co, *disk);
        const blocklayer::BlockBackend* backend = machine->find_device(id)->backend();
        if (backend != nullptr && disk->length() != backend->length())
            fail(fmt::format("the guest takes disk '{}' for {} bytes, it has {}", id,
                             disk->length(), backend->length()));
    }
    note_lengths();
    Contents last = contents();
    for (const auto& [id, known] : disks_) {
        if (known.disk == nullptr) continue;
        known.disk->shut_down(co);
        forget_disk(id);
    }
    if (checks_ == Checks::on) {
        guest::heap_of(*machine).check();
        check_counters();
        check_images(co);
    }
    return last;
}

void Rig::verify(sim::Co& co) {
    const Contents last = verify_running(co);
    layer.shut_down(co);
    reopen_and_read(co, last, errors_injected);
}

void Rig::verify_file(const std::string& file, guest::ContentOracle* oracle) {
    if (oracle == nullptr) return;
    const sim::ByteImage& contents = store.medium(file)->contents();
    std::array<std::byte, 4096> data;
    for (std::uint64_t at = 0; at < contents.size(); at += data.size()) {
        const auto part =
            std::span(data).first(std::min<std::uint64_t>(data.size(), contents.size() - at));
        const auto begun = oracle->begin_read();
        contents.read(at, part);
        if (const auto wrong = oracle->end_read(begun, at, part)) fail(*wrong);
    }
}

void Rig::read_back(sim::Co& co, blocklayer::Node& node, guest::ContentOracle& oracle) {
    const blocklayer::NodeRef alive(&node);
    auto backend = blocklayer::BlockBackend::make(
        node.layer(),
        {.used = blocklayer::Perm::consistent_read, .shared = blocklayer::PermSet::all()});
    must(backend->insert(node), "a reader of what was opened again");
    std::vector<std::byte> data(std::min<std::uint64_t>(64 * 1024, node.length()));
    for (std::uint64_t at = 0; at < node.length(); at += data.size()) {
        const auto into =
            std::span(data).first(std::min<std::uint64_t>(data.size(), node.length() - at));
        const auto begun = oracle.begin_read();
        if (!backend->read(co, at, sim::IoView(into)))
            fail(fmt::format("node '{}' cannot be read when opened again", node.name()));
        if (const auto wrong = oracle.end_read(begun, at, into)) fail(*wrong);
    }
    backend->remove();
}

Rig::Contents Rig::contents() const {
    Contents found;
    for (const blocklayer::Node* node : layer.nodes()) {
        // Filters are of the run, not of what it leaves.
        if (node->spec().kind != blocklayer::DriverKind::format ||
            !node->options().has("node-name"))
            continue;
        Value& options = found.nodes.emplace_back(node->options());
        if (const blocklayer::Edge* file = node->child("file");
            file != nullptr && options.at("file").is_string()) {
            const blocklayer::Node& below = below_filters(file->child());
            if (below.spec().kind == blocklayer::DriverKind::protocol)
                options.set("file", below.options());
            else
                options.set("file", below.name());
        }
        // A snapshot or a commit has changed what lies below.
        if (const blocklayer::Edge* backing = node->cow_child();
            backing != nullptr && backing->child().options().has("node-name"))
            options.set("backing", backing->child().name());
    }
    for (const auto& [id, known] : disks_)
        if (const Device* device = machine->find_device(id);
            known.disk != nullptr && device != nullptr)
            if (const blocklayer::BlockBackend* backend = device->backend();
                backend != nullptr && known.disk->shared_oracle() != nullptr)
                found.known.emplace_back(below_filters(*backend->node()).name(),
                                         known.disk->shared_oracle());
    return found;
}

void Rig::reopen_and_read(sim::Co& co, const Contents& contents, bool leaks_allowed) {
    blocklayer::BlockLayer after(world, store);
    for (const Value& options : contents.nodes)
        must(after.add_monitor_node(co, options), "opening again");
    for (blocklayer::Node* node : after.nodes())
        if (node->spec().name == "qcow2") check_image(co, *node, leaks_allowed);
    for (const auto& [name, oracle] : contents.known)
        read_back(co, *after.find_node(name), *oracle);
    after.shut_down(co);
    read_by_name(co, contents);
}

// Opens the guests' images as somebody does who knows nothing but their names: what backs them is
// what the images themselves say.
void Rig::read_by_name(sim::Co& co, const Contents& contents) {
    blocklayer::BlockLayer after(world, store);
    for (const auto& [name, oracle] : contents.known) {
        const auto known = std::find_if(
            contents.nodes.begin(), contents.nodes.end(),
            [&wanted = name](const Value& options) {
                return options.at("node-name") == Value(wanted);
            });
        if (known == contents.nodes.end() || known->at("driver") != Value("qcow2") ||
            file_of(*known).empty())
            continue;
        Value options = Value::dict(
            {{"driver", "qcow2"},
             {"node-name", name},
             {"file", Value::dict({{"driver", "file"}, {"filename", file_of(*known)}})}});
        must(after.add_monitor_node(co, options), "opening by name");
        read_back(co, *after.find_node(name), *oracle);
    }
    after.shut_down(co);
}

void Rig::cut_power_and_verify(sim::Co& co) {
    const Contents last = contents();
    power_is_off_ = true;
    for (const auto& [node, oracle] : oracles_) oracle->power_lost();
    store.power_cut(world);
    reopen_and_read(co, last, /*leaks_allowed=*/true);
}

}  // namespace hwmodels::campaign
