// SPDX-License-Identifier: Apache-2.0
// What all disk-like devices share: the drive with its backend, block sizes, error policy, and the
// permissions a guest disk takes.
//
// source  permissions a device takes: as observed on the real program with each device.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/graph/backend.hpp"
#include "hwmodels/qdev/device.hpp"

namespace hwmodels {

// drive, share-rw, write-cache, block sizes, discard_granularity, account-*.
std::vector<PropertySpec> block_properties();
// rerror, werror.
std::vector<PropertySpec> error_properties();
// cyls, heads, secs and their logical twins.
std::vector<PropertySpec> geometry_properties();

enum class Resizable : bool { no, yes };
enum class ReadOnlyMedium : bool { no, yes };
// What a device does about a node whose devices run in another thread.
enum class OtherThread : bool { refuse, join };

// The drive of one device: an anonymous backend over a node, or a named one that already exists.
class Drive {
public:
    explicit Drive(Device& device) : device_(device) {}
    ~Drive() { drop(); }

    // errors: Property 'M.drive' can't find value 'x'; the backend has a device; iothreads differ.
    blocklayer::Status attach(std::string_view name, std::string_view model, sim::Thread& thread,
                              blocklayer::DeviceCallbacks callbacks,
                              OtherThread other_thread = OtherThread::refuse);
    // A backend without a medium, for drives that may be empty.
    blocklayer::Status attach_empty(sim::Thread& thread, blocklayer::DeviceCallbacks callbacks);
    // What devices do at realize, each kind in an order of its own.
    blocklayer::Status check_sizes();
    blocklayer::Status take_permissions(ReadOnlyMedium read_only, Resizable resizable);
    // cyls, heads, secs: as the user says, or guessed from the partition table and the size.
    // errors: cyls must be between 1 and 65535
    blocklayer::Status find_geometry(sim::Co& co, std::uint64_t heads_max = 255);
    // Gives the permissions back and the backend up.
    void drop();
    blocklayer::Status change(std::string_view name);

    blocklayer::BlockBackend* backend() const { return backend_; }
    std::string shown_name() const;  // the property's value: backend's or node's name
    std::uint32_t logical_block_size() const { return logical_block_size_; }
    std::uint32_t physical_block_size() const { return physical_block_size_; }
    std::uint64_t discard_granularity() const { return discard_granularity_; }

private:
    sim::Thread* thread_of_others() const;
    std::string device_id() const;

    Device& device_;
    std::unique_ptr<blocklayer::BlockBackend> owned_;
    blocklayer::BlockBackend* backend_ = nullptr;
    std::uint32_t logical_block_size_ = 512, physical_block_size_ = 512;
    std::uint64_t discard_granularity_ = 512;
};

}  // namespace hwmodels
