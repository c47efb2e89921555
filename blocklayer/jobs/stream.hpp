// SPDX-License-Identifier: Apache-2.0
// Stream: copies what lies between an overlay and a base into the overlay, and then takes what was
// between out of its chain. The copying is reading through a copy-on-read filter.
//
// source  QAPI block-core.json block-stream; graphs and texts as observed
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "blocklayer/jobs/block_job.hpp"

namespace blocklayer {

struct StreamOptions {
    JobOptions job;
    std::int64_t speed = 0;
    OnError on_error = OnError::report;
    std::optional<std::string> filter_node_name;
    std::optional<std::string> backing_file;  // for the overlay's header instead of the base's name
};

class Stream final : public BlockJob {
public:
    // bottom: the lowest node whose data is copied. last: that, or the lowest filter under it that
    // goes as well; what is below it stays below.
    static Status launch(sim::Co& co, Node& overlay, Node& bottom, Node& last,
                         StreamOptions options);

    Stream(BlockLayer& layer, StreamOptions options);
    ~Stream() override;

protected:
    Status run(sim::Co& co) override;
    Status prepare(sim::Co& co) override;
    void clean(sim::Co& co) override;

private:
    Status make_writable(sim::Co& co);
    Status insert_filter(sim::Co& co);
    Status take_nodes();
    void drop_filter(sim::Co& co);
    IoResult<std::uint64_t> next_part(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                      bool& copy);

    StreamOptions options_;
    // Nobody keeps what is below the last one: it may be gone before the job is done.
    NodeRef overlay_, bottom_, last_, filter_;
    std::unique_ptr<BlockBackend> reader_;
    bool was_read_only_ = false;
};

}  // namespace blocklayer
