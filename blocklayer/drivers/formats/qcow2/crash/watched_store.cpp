// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/crash/watched_store.hpp"

namespace blocklayer::qcow2::crash {
namespace {

using sim::Co;
using sim::IoResult;
using sim::IoStatus;
using sim::IoView;

class WatchedFile final : public sim::HostFile {
public:
    WatchedFile(std::unique_ptr<sim::HostFile> file, std::function<void()>& changed)
        : file_(std::move(file)), changed_(changed) {}

    IoStatus read(Co& co, std::uint64_t offset, IoView into) override {
        return file_->read(co, offset, into);
    }
    IoStatus write(Co& co, std::uint64_t offset, IoView from) override {
        return after(file_->write(co, offset, from));
    }
    IoStatus write_zeroes(Co& co, std::uint64_t offset, std::uint64_t length,
                          sim::MayUnmap unmap) override {
        return after(file_->write_zeroes(co, offset, length, unmap));
    }
    IoStatus discard(Co& co, std::uint64_t offset, std::uint64_t length) override {
        return after(file_->discard(co, offset, length));
    }
    IoStatus flush(Co& co) override { return file_->flush(co); }
    IoStatus truncate(Co& co, std::uint64_t size) override {
        return after(file_->truncate(co, size));
    }
    IoResult<std::uint64_t> size() override { return file_->size(); }
    IoResult<std::uint64_t> allocated_bytes() override { return file_->allocated_bytes(); }
    IoResult<sim::HostExtent> extent(std::uint64_t offset, std::uint64_t length) override {
        return file_->extent(offset, length);
    }
    sim::HostAccess access() const override { return file_->access(); }
    IoStatus lock_shared(std::uint64_t byte) override { return file_->lock_shared(byte); }
    IoStatus unlock(std::uint64_t byte) override { return file_->unlock(byte); }
    IoStatus test_exclusive(std::uint64_t byte) override { return file_->test_exclusive(byte); }

private:
    IoStatus after(IoStatus done) {
        if (done) changed_();
        return done;
    }

    std::unique_ptr<sim::HostFile> file_;
    std::function<void()>& changed_;  // the store's, which outlives its files
};

}  // namespace

IoResult<std::unique_ptr<sim::HostFile>> WatchedStore::open(std::string_view path,
                                                            sim::HostAccess access) {
    auto file = TRY(store_.open(path, access));
    return std::unique_ptr<sim::HostFile>(std::make_unique<WatchedFile>(std::move(file), changed_));
}

IoResult<std::unique_ptr<sim::HostFile>> WatchedStore::create(std::string_view path) {
    auto file = TRY(store_.create(path));
    return std::unique_ptr<sim::HostFile>(std::make_unique<WatchedFile>(std::move(file), changed_));
}

}  // namespace blocklayer::qcow2::crash
