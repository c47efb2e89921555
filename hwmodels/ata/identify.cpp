// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/ata/identify.hpp"

#include <algorithm>
#include <string>

#include "blocklayer/graph/backend.hpp"
#include "hwmodels/ata/wire.hpp"
#include "hwmodels/host_bus/guest_memory.hpp"

namespace hwmodels {

namespace {

constexpr std::uint64_t sectors_28_max = (1 << 28) - 1;
constexpr std::uint8_t multiple_max = 16;

class Words {
public:
    Words() : bytes_(512) {}
    void set(std::size_t word, std::uint64_t value) {
        store(&bytes_[2 * word], static_cast<std::uint16_t>(value));
    }
    void set_double(std::size_t word, std::uint64_t value) {
        set(word, value);
        set(word + 1, value >> 16);
    }
    // Two characters a word, the first in the upper byte; filled with blanks.
    void set_text(std::size_t word, std::size_t words, const std::string& text) {
        for (std::size_t i = 0; i < 2 * words; ++i)
            bytes_[2 * word + (i ^ 1)] = static_cast<std::byte>(i < text.size() ? text[i] : ' ');
    }
    void set_names(const Properties& p) {
        set_text(10, 10, p.text("serial"));
        set(20, 3);  // buffer: two ports, read ahead
        set(21, 512);
        set(22, 4);
        set_text(23, 4, p.text("ver"));
        set_text(27, 20, p.text("model"));
        set(48, 1);
        set(53, 7);
        set(62, 7);
        set(63, 7);
        set(64, 3);
        set(88, 0x203f);
    }
    std::vector<std::byte> take() { return std::move(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> identify_disk(const DiskIdentity& disk) {
    const std::uint64_t sectors = disk.backend.length() / ata::sector_bytes;
    const Properties& p = disk.properties;
    const std::uint64_t cylinders = p.number("cyls"), heads = p.number("heads"),
                        track_sectors = p.number("secs");
    const std::uint64_t chs = cylinders * heads * track_sectors;
    Words words;
    words.set_names(p);
    words.set(0, 0x40);
    words.set(1, cylinders);
    words.set(3, heads);
    words.set(4, 512 * track_sectors);
    words.set(5, 512);
    words.set(6, track_sectors);
    words.set(47, 0x8000 | multiple_max);
    words.set(49, 0xb00);  // DMA, LBA, IORDY
    words.set(51, 0x200);
    words.set(52, 0x200);
    words.set(54, cylinders);
    words.set(55, heads);
    words.set(56, track_sectors);
    words.set_double(57, chs);
    if (disk.multiple != 0) words.set(59, 0x100 | disk.multiple);
    words.set_double(60, std::min(sectors, sectors_28_max));
    for (const std::size_t word : {65, 66, 67, 68}) words.set(word, 120);  // ns a word
    words.set(69, 0x4000);
    words.set(80, 0xf0);  // ATA-4 to ATA-7
    words.set(81, 0x16);
    const bool cache = disk.backend.write_cache;
    words.set(82, 0x4021);
    words.set(83, 0x7400);
    words.set(84, 0x4000);
    words.set(85, cache ? 0x4021 : 0x4001);
    words.set(86, 0x3400);
    words.set(87, 0x4000);
    words.set(93, 0x6001);
    words.set_double(100, sectors);
    words.set_double(102, sectors >> 32);
    words.set(106, 0x6000);
    if (const std::uint64_t wwn = p.number("wwn")) {
        words.set(84, 0x4100);
        words.set(87, 0x4100);
        for (std::size_t i = 0; i < 4; ++i) words.set(108 + i, wwn >> (48 - 16 * i));
    }
    words.set(169, 1);  // TRIM
    words.set(217, p.number("rotation_rate"));
    return words.take();
}

std::vector<std::byte> identify_packet_device(const Properties& properties) {
    Words words;
    words.set_names(properties);
    words.set(0, 0x85c0);  // packet device, CD, removable, 12-byte packets
    words.set(49, 0x300);
    words.set(65, 180);
    words.set(66, 180);
    words.set(67, 300);
    words.set(68, 180);
    words.set(71, 30);
    words.set(72, 30);
    words.set(80, 0x1e);
    return words.take();
}

}  // namespace hwmodels
