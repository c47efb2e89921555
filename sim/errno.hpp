// SPDX-License-Identifier: Apache-2.0
// Errno: what an I/O request can end with, and the result types that carry it.
//
// The values are Linux's, because guests, blkdebug and the command lines speak them.
#pragma once
#include <cerrno>
#include <cstdint>

#include "sim/expected.hpp"

namespace sim {

enum class Errno : std::uint8_t {
    perm = EPERM,
    no_entry = ENOENT,
    io = EIO,
    bad_file = EBADF,
    again = EAGAIN,
    no_memory = ENOMEM,
    access = EACCES,
    fault = EFAULT,
    busy = EBUSY,
    exists = EEXIST,
    is_directory = EISDIR,
    invalid = EINVAL,
    too_big = EFBIG,
    no_space = ENOSPC,
    read_only = EROFS,
    range = ERANGE,
    not_supported = ENOTSUP,
    timed_out = ETIMEDOUT,
    canceled = ECANCELED,
    no_medium = ENOMEDIUM,
};

template <class T>
using IoResult = Expected<T, Errno>;
using IoStatus = IoResult<void>;

constexpr int to_int(Errno error) { return static_cast<int>(error); }
// Any errno of the host; one that has no name here keeps its number.
constexpr Errno errno_from_int(int error) { return static_cast<Errno>(error); }
// The C library's sentence, e.g. "No space left on device".
const char* errno_text(Errno error);

}  // namespace sim
