// SPDX-License-Identifier: Apache-2.0
#include "pybind/real_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace bindings {
namespace {

using sim::IoStatus;
using sim::Unexpected;

constexpr std::uint64_t piece_bytes = 1024 * 1024;

Unexpected<sim::Errno> last_error() { return Unexpected(sim::errno_from_int(errno)); }

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    int fd() const { return fd_; }

private:
    int fd_;
};

IoStatus read_range(int fd, off_t begin, off_t end, sim::ByteImage& image) {
    std::vector<std::byte> piece(std::min<std::uint64_t>(piece_bytes, end - begin));
    while (begin < end) {
        const ssize_t n = pread(fd, piece.data(), std::min<std::size_t>(piece.size(), end - begin),
                                begin);
        if (n < 0) return last_error();
        if (n == 0) return {};  // it shrank meanwhile
        image.write(static_cast<std::uint64_t>(begin),
                    std::span(piece).first(static_cast<std::size_t>(n)));
        begin += n;
    }
    return {};
}

}  // namespace

sim::IoResult<sim::ByteImage> load_real_file(const std::string& path) {
    const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info = {};
    if (file.fd() < 0 || fstat(file.fd(), &info) != 0) return last_error();
    if (S_ISDIR(info.st_mode)) return Unexpected(sim::Errno::is_directory);

    sim::ByteImage image;
    image.resize(static_cast<std::uint64_t>(info.st_size));
    for (off_t at = 0; at < info.st_size;) {
        const off_t data = lseek(file.fd(), at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) break;  // only a hole is left
        if (data < 0) return last_error();
        const off_t hole = lseek(file.fd(), data, SEEK_HOLE);
        if (hole < 0) return last_error();
        TRY(read_range(file.fd(), data, std::min(hole, info.st_size), image));
        at = hole;
    }
    return image;
}

IoStatus save_real_file(const std::string& path, const sim::ByteImage& image) {
    const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (file.fd() < 0 || ftruncate(file.fd(), static_cast<off_t>(image.size())) != 0)
        return last_error();
    std::vector<std::byte> piece(piece_bytes);
    for (std::uint64_t at = 0; at < image.size();) {
        const auto extent = image.extent(at, std::min(image.size() - at, piece_bytes));
        if (extent.data) {
            const auto bytes = std::span(piece).first(extent.length);
            image.read(at, bytes);
            for (std::size_t done = 0; done < bytes.size();) {
                const ssize_t n = pwrite(file.fd(), bytes.data() + done, bytes.size() - done,
                                         static_cast<off_t>(at + done));
                if (n < 0) return last_error();
                done += static_cast<std::size_t>(n);
            }
        }
        at += extent.length;
    }
    return {};
}

}  // namespace bindings
