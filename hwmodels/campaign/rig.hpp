// SPDX-License-Identifier: Apache-2.0
// Rig: one world with a machine in it, for runs by the thousand.
//
// What a workload needs in few words: images made once and restored for each run, QMP commands that
// must succeed, guest disks whose reads are checked. verify() is what must hold at every run's end.
//
// units  bytes
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/jobs/job.hpp"
#include "blocklayer/layer.hpp"
#include "hwmodels/campaign/image_maker.hpp"
#include "hwmodels/guest/checked_disk.hpp"
#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/machine.hpp"
#include "sim/memory_store.hpp"
#include "sim/world.hpp"

namespace hwmodels::campaign {

using blocklayer::JobStatus;
using blocklayer::Value;

enum class Checks : bool { off, on };  // off: to measure what they cost

struct RigOptions {
    sim::WorldOptions world;
    blocklayer::LayerOptions layer;
    sim::WriteCache cache = sim::WriteCache::none;
    Checks checks = Checks::on;
};

class Rig {
public:
    explicit Rig(RigOptions options);
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;
    ~Rig();

    // An image file of the world's store; made once a process.
    void image(const ImageSpec& image);

    // The command's return. A failure stops the run.
    Value qmp(sim::Co& co, std::string_view command, Value arguments = {});
    blocklayer::Result<Value> try_qmp(sim::Co& co, std::string_view command, Value arguments = {});
    // blockdev-add of format over file, node `name` over node `name`-file.
    void add_node(sim::Co& co, const std::string& name, const std::string& format,
                  const std::string& file, Value more = {});
    // Plugs a device in and opens the guest's disk on it. The oracle is kept by node.
    guest::CheckedDisk& plug(sim::Co& co, const std::string& id, const std::string& model,
                             const std::string& node, Value more = {}, Plug how = Plug::hot);
    // The guest's driver of a disk that is there, anew: after a reset of the machine.
    guest::CheckedDisk& open_again(sim::Co& co, const std::string& id, const std::string& node);
    // The guest's driver lets go of a disk that is there no more, or not as it was.
    void forget_disk(const std::string& id);
    // device_del; the guest shuts its disk down when it hears of it. Waits until it is gone.
    void unplug(sim::Co& co, const std::string& id);
    guest::CheckedDisk& disk(const std::string& id) { return *known_disk(id).disk; }
    struct KnownDisk {
        std::unique_ptr<guest::CheckedDisk> disk;  // nullptr: forgotten
        std::uint64_t longest = 0;                 // it ever was, in bytes
    };
    // Of a device that has been opened once; stays where it is.
    const KnownDisk& known_disk(const std::string& id) const;
    // An event that came, or comes, with these members; only after the first `from` events.
    void wait_event(sim::Co& co, sim::Label name, const Value& members,
                    std::size_t from = 0);
    bool has_event(sim::Label name, const Value& members, std::size_t from = 0) const;
    // Waits until a job has had the status, or has ended. True: it has had it.
    bool wait_job(sim::Co& co, const std::string& id, JobStatus status);

    // The guest reads its whole disk, so that what was there before is known.
    void learn(sim::Co& co, const std::string& id);
    // A file of the host goes away.
    void remove_file(const std::string& file);
    // From here on operations of the file may take 2 ms, at most so many (see arm).
    void slow(const std::string& file, unsigned most);

    // A fiber of the workload; finish() waits for all of them. In a place: it touches nothing but
    // what is its own, and disks.
    template <class Body>
    void spawn(sim::Label label, Body&& body, sim::Place place = {}) {
        fibers_.push_back(world.spawn(machine->cpu(), label, std::forward<Body>(body)).in(place));
    }
    void finish(sim::Co& co);
    bool finished() const;

    // From here on operations of the file may go wrong in these ways, at most so many in all: the
    // world's choice. Then clusters may be left over.
    void arm(const std::string& file, std::initializer_list<sim::MediumFault> kinds, unsigned most);
    void disarm(const std::string& file);

    // Everything that must hold at the end: whole disks read back, jobs and requests over, counters
    // balanced, permissions as recomputed, images without damage; the same once more after closing
    // the layer and opening the images again.
    void verify(sim::Co& co);
    // The first half of it, with the layer still open. Gives what there is to open again.
    struct Contents {
        std::vector<Value> nodes;  // every node above a file, oldest first
        // Whose contents guests know.
        std::vector<std::pair<std::string, std::shared_ptr<guest::ContentOracle>>> known;
    };
    enum class Reading : bool { none, by_guests };  // none: whoever verifies the files after it
    Contents verify_running(sim::Co& co, Reading reading = Reading::by_guests);
    // The bytes of a raw image, as they lie there once the layer is closed.
    void verify_file(const std::string& file, guest::ContentOracle* oracle);
    // Host and guest lose power; then every image is opened, checked and read back.
    void cut_power_and_verify(sim::Co& co);
    bool power_is_off() const { return power_is_off_; }
    bool errors_injected = false;  // then clusters may be left over
    bool preparing = false;        // before the first choice
    // What each client of the workload has seen, besides events.
    std::map<std::string, std::string> seen;
    // All that can be seen of how a run ended: files, events in their order, what clients saw. Not
    // what only counts or numbers things.
    std::string end() const;

    [[noreturn]] static void fail(const std::string& what);

    sim::World world;
    sim::MemoryStore store;
    blocklayer::BlockLayer layer;
    Machine* machine = nullptr;
    std::vector<std::shared_ptr<const blocklayer::QmpEvent>> events;

private:
    void check_counters();
    void check_event(const blocklayer::QmpEvent& event);
    void note_lengths();
    void check_images(sim::Co& co);
    void check_image(sim::Co& co, blocklayer::Node& node, bool leaks_allowed);
    Contents contents() const;
    void reopen_and_read(sim::Co& co, const Contents& contents, bool leaks_allowed);
    void read_by_name(sim::Co& co, const Contents& contents);
    static void read_back(sim::Co& co, blocklayer::Node& node, guest::ContentOracle& oracle);
    void read_whole(sim::Co& co, guest::CheckedDisk& disk);

    std::map<std::string, KnownDisk, std::less<>> disks_;  // by device
    std::map<std::string, std::shared_ptr<guest::ContentOracle>, std::less<>> oracles_;
    struct JobSeen {
        JobStatus last = JobStatus::undefined;
        std::uint32_t had = 0;  // a bit for each status
    };
    std::map<std::string, JobSeen, std::less<>> jobs_;
    std::unique_ptr<guest::HotplugHandler> hotplug_;
    std::vector<sim::FiberRef> fibers_;
    sim::WaitQueue event_came_{"QMP event"};
    bool power_is_off_ = false;
    Checks checks_;
};

}  // namespace hwmodels::campaign
