// SPDX-License-Identifier: Apache-2.0
// blkverify: writes go to two nodes, reads come from both and must be equal.
//
// A difference ends the run, as it ends the real program and in its words: it is what one waits for
// who puts this filter somewhere. What both sides could not read is not compared.
// source  QAPI BlockdevOptionsBlkverify; docs/devel/blkverify.txt of the reference
#include "blocklayer/drivers/filters/passthrough.hpp"
#include "blocklayer/graph/open.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

// Offset of the first difference; the size when there is none.
std::size_t first_difference(std::span<const std::byte> a, std::span<const std::byte> b) {
    return static_cast<std::size_t>(
        std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

class Blkverify final : public Passthrough {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        raw_ = TRY(context.open_child(co, "raw", role_filtered));
        test_ = TRY(context.open_child(co, "test", Role::data));
        return {};
    }

    IoResult<std::uint64_t> length(sim::Co&) override { return test_->child().length(); }
    std::string filename_over(const FilenameOf& below) const override {
        const std::string raw = below(*raw_), test = below(*test_);
        if (raw.empty() || test.empty()) return {};
        return fmt::format("blkverify:{}:{}", raw, test);
    }

    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                  RequestFlags flags) override {
        std::vector<std::byte> raw(into.size()), test(into.size());
        const IoStatus raw_status = raw_->read(co, offset, std::span(raw), flags);
        const IoStatus test_status = test_->read(co, offset, std::span(test), flags);
        compare("read", offset, into.size(), raw_status, test_status);
        if (!test_status) return test_status;
        const std::size_t at = first_difference(raw, test);
        if (at < test.size())
            differ("read", offset, into.size(),
                   fmt::format("contents mismatch at offset {}", offset + at));
        into.copy_from(test.data());
        return {};
    }

    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override {
        const IoStatus raw_status = raw_->write(co, offset, from, flags);
        const IoStatus test_status = test_->write(co, offset, from, flags);
        compare("write", offset, from.size(), raw_status, test_status);
        return test_status;
    }

    // Emulated by writes, so that both sides do the same.
    IoStatus write_zeroes(sim::Co&, std::uint64_t, std::uint64_t, RequestFlags) override {
        return Unexpected(Errno::not_supported);
    }
    IoStatus discard(sim::Co&, std::uint64_t, std::uint64_t) override {
        return Unexpected(Errno::not_supported);
    }

    // The raw side is there to be compared with: nobody relies on what it keeps.
    IoStatus flush(sim::Co& co) override { return test_->flush(co); }

private:
    [[noreturn]] static void differ(const char* request, std::uint64_t offset, std::uint64_t length,
                                    const std::string& how) {
        throw sim::Verdict(
            fmt::format("blkverify: {} offset={} bytes={} {}", request, offset, length, how));
    }

    static void compare(const char* request, std::uint64_t offset, std::uint64_t length,
                        const IoStatus& raw, const IoStatus& test) {
        const auto number = [](const IoStatus& status) {
            return status ? 0 : -static_cast<int>(status.error());
        };
        if (number(raw) == number(test)) return;
        differ(request, offset, length,
               fmt::format("return value mismatch {} != {}", number(test), number(raw)));
    }

    Edge* raw_ = nullptr;
    Edge* test_ = nullptr;
};

const DriverRegistration registration({
    .name = "blkverify",
    .kind = DriverKind::filter,
    .options = {required("test", "BlockdevRef", "what is to be verified"),
                required("raw", "BlockdevRef", "what it is compared with")},
    .make = make_driver<Blkverify>,
    .filtered_child = "raw",
    .source = "QAPI BlockdevOptionsBlkverify",
    .called_protocol = true,
    .equal_children = true,
});

}  // namespace
}  // namespace blocklayer
