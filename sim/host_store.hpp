// SPDX-License-Identifier: Apache-2.0
// HostStore: where image files live, and HostFile: one open description of one of them.
//
// Two kinds: MemoryStore (simulated media) and PosixStore (real files). Image locking is one piece
// of code over both: byte locks belong to the open description, as the host's OFD locks do.
//
// units  bytes
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/co.hpp"
#include "sim/errno.hpp"
#include "sim/io_view.hpp"

namespace sim {

enum class HostAccess : std::uint8_t { read_only, read_write };
enum class MayUnmap : bool { no, yes };

struct HostExtent {
    std::uint64_t length;  // > 0
    bool data;             // false: a hole, reads as zeroes
};

class HostFile {
public:
    virtual ~HostFile() = default;

    // Past the end of the file a read gives zeroes.
    virtual IoStatus read(Co& co, std::uint64_t offset, IoView into) = 0;
    // Grows the file when it reaches past the end.
    virtual IoStatus write(Co& co, std::uint64_t offset, IoView from) = 0;
    virtual IoStatus write_zeroes(Co& co, std::uint64_t offset, std::uint64_t length,
                                  MayUnmap unmap) = 0;
    virtual IoStatus discard(Co& co, std::uint64_t offset, std::uint64_t length) = 0;
    virtual IoStatus flush(Co& co) = 0;
    virtual IoStatus truncate(Co& co, std::uint64_t size) = 0;
    virtual IoResult<std::uint64_t> size() = 0;
    virtual IoResult<std::uint64_t> allocated_bytes() = 0;
    // What lies at the offset (inside the file), no longer than length.
    virtual IoResult<HostExtent> extent(std::uint64_t offset, std::uint64_t length) = 0;
    virtual HostAccess access() const = 0;
    // What requests that go past the host's cache must be a multiple of, in place and size.
    virtual std::uint32_t direct_alignment() { return 512; }

    // Byte locks of this open description. They never wait: busy is Errno::again.
    virtual IoStatus lock_shared(std::uint64_t byte) = 0;
    virtual IoStatus unlock(std::uint64_t byte) = 0;
    // Could this description hold the byte exclusively now? Errno::again if not. Takes nothing.
    virtual IoStatus test_exclusive(std::uint64_t byte) = 0;
};

class HostStore {
public:
    virtual ~HostStore() = default;
    // Errno::no_entry, access, is_directory, read_only ... as the host says.
    virtual IoResult<std::unique_ptr<HostFile>> open(std::string_view path, HostAccess access) = 0;
    // Makes an empty file, or opens an existing one without changing its contents.
    virtual IoResult<std::unique_ptr<HostFile>> create(std::string_view path) = 0;
    virtual IoStatus remove(std::string_view path) = 0;
    virtual bool exists(std::string_view path) const = 0;
    virtual std::vector<std::string> list() const = 0;  // sorted
};

}  // namespace sim
