// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/compress.hpp"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace blocklayer::qcow2 {
namespace {

constexpr int window_bits = -12;  // raw deflate, 4 KiB window: what readers of the format expect
constexpr int memory_level = 9;

Bytef* as_bytes(const std::byte* data) {
    return reinterpret_cast<Bytef*>(const_cast<std::byte*>(data));
}

IoResult<std::vector<std::byte>> deflate_data(std::span<const std::byte> data, std::size_t room) {
    std::vector<std::byte> out(room);
    z_stream stream{};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window_bits, memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return Unexpected(Errno::io);
    stream.next_in = as_bytes(data.data());
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = as_bytes(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = ::deflate(&stream, Z_FINISH);
    const std::size_t size = out.size() - stream.avail_out;
    deflateEnd(&stream);
    if (result != Z_STREAM_END || size >= room) return Unexpected(Errno::no_memory);
    out.resize(size);
    return out;
}

IoStatus inflate_data(std::span<const std::byte> from, std::span<std::byte> data) {
    z_stream stream{};
    if (inflateInit2(&stream, window_bits) != Z_OK) return Unexpected(Errno::io);
    stream.next_in = as_bytes(from.data());
    stream.avail_in = static_cast<uInt>(from.size());
    stream.next_out = as_bytes(data.data());
    stream.avail_out = static_cast<uInt>(data.size());
    const int result = ::inflate(&stream, Z_FINISH);
    const bool full = stream.avail_out == 0;
    inflateEnd(&stream);
    // The input ends in padding, so there may be more of it than the stream needs.
    if (full && (result == Z_STREAM_END || result == Z_BUF_ERROR)) return {};
    return Unexpected(Errno::io);
}

IoResult<std::vector<std::byte>> zstd_compress(std::span<const std::byte> data,
                                               std::size_t room) {
    std::vector<std::byte> out(room);
    const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                         ZSTD_freeCCtx);
    if (context == nullptr) return Unexpected(Errno::io);
    const std::size_t size =
        ZSTD_compress2(context.get(), out.data(), out.size(), data.data(), data.size());
    if (ZSTD_isError(size) || size >= room) return Unexpected(Errno::no_memory);
    out.resize(size);
    return out;
}

IoStatus zstd_decompress(std::span<const std::byte> from, std::span<std::byte> data) {
    const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                         ZSTD_freeDCtx);
    if (context == nullptr) return Unexpected(Errno::io);
    ZSTD_inBuffer in{from.data(), from.size(), 0};
    ZSTD_outBuffer out{data.data(), data.size(), 0};
    while (out.pos < out.size) {
        const std::size_t in_before = in.pos, out_before = out.pos;
        const std::size_t left = ZSTD_decompressStream(context.get(), &out, &in);
        if (ZSTD_isError(left)) return Unexpected(Errno::io);
        if (in.pos == in_before && out.pos == out_before) return Unexpected(Errno::io);
    }
    return {};
}

}  // namespace

IoResult<std::vector<std::byte>> compress(Compression method, std::span<const std::byte> data,
                                          std::size_t room) {
    return method == Compression::zstd ? zstd_compress(data, room) : deflate_data(data, room);
}

IoStatus decompress(Compression method, std::span<const std::byte> from,
                    std::span<std::byte> data) {
    return method == Compression::zstd ? zstd_decompress(from, data) : inflate_data(from, data);
}

}  // namespace blocklayer::qcow2
