// SPDX-License-Identifier: Apache-2.0
// source  the Linux manual pages of open, pread, fallocate, lseek (SEEK_DATA) and fcntl (F_OFD_*)
#include "sim/posix_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "sim/co.hpp"

namespace sim {
namespace {

constexpr std::uint64_t offset_max = INT64_MAX;

// The errno of a call that failed, with the two names of "not supported" as one.
Unexpected<Errno> failed() {
    return Unexpected(errno == EOPNOTSUPP ? Errno::not_supported : errno_from_int(errno));
}

// Calls until the answer is not "interrupted".
template <class Call>
auto retried(Call&& call) {
    auto result = call();
    while (result < 0 && errno == EINTR) result = call();
    return result;
}

constexpr std::uint32_t direct_alignment_max = 4096;

// What reads of the file past the host's cache have to be a multiple of. A host that takes any size
// does not mean it: the safe answer then is a page.
std::uint32_t probe_direct_alignment(int fd) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    constexpr int flags = O_RDONLY | O_DIRECT | O_CLOEXEC;
    const int direct = retried([&] { return ::open(path.c_str(), flags); });
    if (direct < 0) return 512;
    alignas(direct_alignment_max) std::byte page[direct_alignment_max];
    std::uint32_t found = direct_alignment_max;
    for (const std::uint32_t size : {1U, 512U, 1024U, 2048U}) {
        if (retried([&] { return ::pread(direct, page, size, 0); }) < 0) continue;
        if (size > 1) found = size;
        break;
    }
    ::close(direct);
    return found;
}

class PosixFile final : public HostFile {
public:
    PosixFile(int fd, HostAccess access) : fd_(fd), access_(access) {}
    ~PosixFile() override { ::close(fd_); }

    IoStatus read(Co& co, std::uint64_t offset, IoView into) override {
        if (!in_range(offset, into.size())) return Unexpected(Errno::invalid);
        co.yield("host read");
        IoStatus status;
        into.for_each([&](std::span<std::byte> piece) {
            if (status) status = read_piece(offset, piece);
            offset += piece.size();
        });
        return status;
    }

    IoStatus write(Co& co, std::uint64_t offset, IoView from) override {
        if (!in_range(offset, from.size())) return Unexpected(Errno::too_big);
        co.yield("host write");
        IoStatus status;
        from.for_each([&](std::span<std::byte> piece) {
            if (status) status = write_piece(offset, piece);
            offset += piece.size();
        });
        return status;
    }

    IoStatus write_zeroes(Co& co, std::uint64_t offset, std::uint64_t length,
                          MayUnmap unmap) override {
        if (!in_range(offset, length)) return Unexpected(Errno::too_big);
        if (length == 0) return {};
        co.yield("host write zeroes");
        if (unmap == MayUnmap::no) {
            const IoStatus zeroed = zero_allocated(offset, length);
            if (zeroed.has_value() || zeroed.error() != Errno::not_supported) return zeroed;
        }
        const std::uint64_t end = offset + length, old_size = TRY(size());
        if (offset < old_size) {
            const std::uint64_t inside = std::min(end, old_size) - offset;
            IoStatus zeroed = Unexpected(Errno::not_supported);
            if (unmap == MayUnmap::yes) zeroed = allocate(punch_hole, offset, inside);
            if (!zeroed && zeroed.error() == Errno::not_supported)
                zeroed = write_blank(offset, inside);
            TRY(std::move(zeroed));
        }
        if (end > old_size) return resize(end);
        return {};
    }

    IoStatus discard(Co& co, std::uint64_t offset, std::uint64_t length) override {
        if (!in_range(offset, length)) return Unexpected(Errno::too_big);
        if (length == 0) return {};
        co.yield("host discard");
        return allocate(punch_hole, offset, length);
    }

    IoStatus flush(Co& co) override {
        co.yield("host flush");
        if (retried([&] { return ::fdatasync(fd_); }) < 0) return failed();
        return {};
    }

    IoStatus truncate(Co& co, std::uint64_t size) override {
        if (size > offset_max) return Unexpected(Errno::too_big);
        co.yield("host truncate");
        return resize(size);
    }

    IoResult<std::uint64_t> size() override {
        const off_t end = ::lseek(fd_, 0, SEEK_END);  // also of block devices
        if (end < 0) return failed();
        return static_cast<std::uint64_t>(end);
    }

    IoResult<std::uint64_t> allocated_bytes() override {
        struct stat status {};
        if (::fstat(fd_, &status) < 0) return failed();
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }

    IoResult<HostExtent> extent(std::uint64_t offset, std::uint64_t length) override {
        const std::uint64_t end_of_file = TRY(size());
        if (length == 0 || offset >= end_of_file) return Unexpected(Errno::invalid);
        const std::uint64_t end = offset + std::min(length, end_of_file - offset);
        const off_t data = ::lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
        if (data < 0 && errno == ENXIO) return HostExtent{end - offset, false};
        if (data < 0) return HostExtent{end - offset, true};  // the file system cannot tell
        if (static_cast<std::uint64_t>(data) > offset)
            return HostExtent{std::min<std::uint64_t>(data, end) - offset, false};
        const off_t hole = ::lseek(fd_, static_cast<off_t>(offset), SEEK_HOLE);
        if (hole <= data) return HostExtent{end - offset, true};
        return HostExtent{std::min<std::uint64_t>(hole, end) - offset, true};
    }

    HostAccess access() const override { return access_; }
    std::uint32_t direct_alignment() override {
        if (direct_alignment_ == 0) direct_alignment_ = probe_direct_alignment(fd_);
        return direct_alignment_;
    }

    IoStatus lock_shared(std::uint64_t byte) override { return set_lock(F_RDLCK, byte); }
    IoStatus unlock(std::uint64_t byte) override { return set_lock(F_UNLCK, byte); }
    IoStatus test_exclusive(std::uint64_t byte) override {
        struct flock lock = one_byte(F_WRLCK, byte);
        if (::fcntl(fd_, F_OFD_GETLK, &lock) < 0) return failed();
        if (lock.l_type != F_UNLCK) return Unexpected(Errno::again);
        return {};
    }

private:
    static constexpr int punch_hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    // With space of its own afterwards. Where the file system cannot do that at once, a hole is
    // made and filled.
    IoStatus zero_allocated(std::uint64_t offset, std::uint64_t length) const {
        IoStatus zeroed = allocate(FALLOC_FL_ZERO_RANGE, offset, length);
        if (zeroed.has_value() || zeroed.error() != Errno::not_supported) return zeroed;
        TRY(allocate(punch_hole, offset, length));
        return allocate(0, offset, length);
    }

    static bool in_range(std::uint64_t offset, std::uint64_t length) {
        return offset <= offset_max && length <= offset_max - offset;
    }

    IoStatus read_piece(std::uint64_t offset, std::span<std::byte> piece) const {
        while (!piece.empty()) {
            const ssize_t n = retried([&] {
                return ::pread(fd_, piece.data(), piece.size(), static_cast<off_t>(offset));
            });
            if (n < 0) return failed();
            if (n == 0) {  // past the end
                std::fill(piece.begin(), piece.end(), std::byte{0});
                return {};
            }
            piece = piece.subspan(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
        return {};
    }

    IoStatus write_piece(std::uint64_t offset, std::span<const std::byte> piece) const {
        while (!piece.empty()) {
            const ssize_t n = retried([&] {
                return ::pwrite(fd_, piece.data(), piece.size(), static_cast<off_t>(offset));
            });
            if (n < 0) return failed();
            if (n == 0) return Unexpected(Errno::no_space);
            piece = piece.subspan(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
        return {};
    }

    IoStatus write_blank(std::uint64_t offset, std::uint64_t length) const {
        static constexpr std::array<std::byte, 65536> blank{};
        while (length > 0) {
            const std::uint64_t n = std::min<std::uint64_t>(length, blank.size());
            TRY(write_piece(offset, std::span(blank).first(n)));
            offset += n;
            length -= n;
        }
        return {};
    }

    IoStatus allocate(int mode, std::uint64_t offset, std::uint64_t length) const {
        const int result = retried([&] {
            return ::fallocate(fd_, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
        });
        if (result < 0) return failed();
        return {};
    }

    IoStatus resize(std::uint64_t size) const {
        if (retried([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) < 0)
            return failed();
        return {};
    }

    static struct flock one_byte(short type, std::uint64_t byte) {
        struct flock lock {};
        lock.l_type = type;
        lock.l_whence = SEEK_SET;
        lock.l_start = static_cast<off_t>(byte);
        lock.l_len = 1;
        return lock;
    }

    IoStatus set_lock(short type, std::uint64_t byte) const {
        struct flock lock = one_byte(type, byte);
        if (::fcntl(fd_, F_OFD_SETLK, &lock) < 0) return failed();
        return {};
    }

    int fd_;
    HostAccess access_;
    std::uint32_t direct_alignment_ = 0;  // 0: not asked yet
};

IoResult<std::unique_ptr<HostFile>> opened(const std::string& path, int flags, HostAccess access) {
    const int fd = retried([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0644); });
    if (fd < 0) return failed();
    auto file = std::make_unique<PosixFile>(fd, access);
    struct stat status {};
    if (::fstat(fd, &status) < 0) return failed();
    if (S_ISDIR(status.st_mode)) return Unexpected(Errno::is_directory);
    return std::unique_ptr<HostFile>(std::move(file));
}

}  // namespace

std::string PosixStore::full(std::string_view path) const {
    return root_.empty() || path.empty() ? std::string(path) : root_ + '/' + std::string(path);
}

IoResult<std::unique_ptr<HostFile>> PosixStore::open(std::string_view path, HostAccess access) {
    return opened(full(path), access == HostAccess::read_only ? O_RDONLY : O_RDWR, access);
}

IoResult<std::unique_ptr<HostFile>> PosixStore::create(std::string_view path) {
    return opened(full(path), O_RDWR | O_CREAT, HostAccess::read_write);
}

IoStatus PosixStore::remove(std::string_view path) {
    if (::unlink(full(path).c_str()) < 0) return failed();
    return {};
}

bool PosixStore::exists(std::string_view path) const {
    return ::access(full(path).c_str(), F_OK) == 0;
}

std::vector<std::string> PosixStore::list() const {
    std::vector<std::string> names;
    std::error_code ignored;
    const std::filesystem::directory_iterator entries(root_.empty() ? "." : root_, ignored);
    for (const auto& entry : entries)
        if (entry.is_regular_file(ignored)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace sim
