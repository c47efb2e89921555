// SPDX-License-Identifier: Apache-2.0
// Commit: writes what the images from top down to above base hold into base, and takes them out of
// the chain. This is the job for a top that nobody writes to; with a writer it is a mirror
// (launch_active_commit).
//
// A filter, commit_top, stands above top and demands nothing of it, so that nodes which are being
// emptied of meaning can stay where they are until the end.
//
// source  QAPI block-core.json block-commit; graphs and texts as observed
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "blocklayer/jobs/block_job.hpp"

namespace blocklayer {

struct CommitOptions {
    JobOptions job;
    std::int64_t speed = 0;
    OnError on_error = OnError::report;
    std::optional<std::string> filter_node_name;
    std::string backing_file;  // for the overlays' headers; empty: the base's filename
};

class Commit final : public BlockJob {
public:
    // active: the layer that the command names; top and base: nodes of its chain.
    static Status launch(sim::Co& co, Node& active, Node& top, Node& base, CommitOptions options);

    Commit(BlockLayer& layer, CommitOptions options);
    ~Commit() override;

protected:
    Status run(sim::Co& co) override;
    Status prepare(sim::Co& co) override;
    void abort(sim::Co& co) override;
    void clean(sim::Co& co) override;

private:
    Status make_base_writable(sim::Co& co, Node& base);
    Status insert_filter(sim::Co& co, Node& top);
    Status take_nodes(Node& top, Node& base);
    void unfreeze();
    Status copy(sim::Co& co, std::uint64_t offset, std::uint64_t length, bool& is_read);
    Status rename_backing(sim::Co& co, Node& overlay);

    CommitOptions options_;
    NodeRef active_, top_node_, base_node_, filter_;
    std::unique_ptr<BlockBackend> top_, base_;
    bool frozen_ = false;
    bool base_was_read_only_ = false;
};

// The same for a top that is written to: the base becomes what its users see.
Status launch_active_commit(sim::Co& co, Node& top, Node& base, CommitOptions options);

}  // namespace blocklayer
