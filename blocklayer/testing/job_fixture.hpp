// SPDX-License-Identifier: Apache-2.0
// A graph fixture with jobs in it: commands by name, and what clients were told in short.
#pragma once
#include <string>
#include <string_view>

#include "blocklayer/jobs/job.hpp"
#include "blocklayer/testing/graph_fixture.hpp"

namespace blocklayer::testing {

class JobFixture : public GraphFixture {
public:
    using GraphFixture::GraphFixture;

    // The command's reply, which must not be an error.
    Value qmp(std::string_view command, std::initializer_list<Value::NewMember> arguments = {});
    // Its error's text; "ok" when there is none.
    std::string qmp_error(std::string_view command, Value arguments);
    // Runs until nothing is ready and nothing is due within a second.
    void settle() { world.advance(sim::seconds(1)); }
    // Events since the last time: a job's new status as it is, others without BLOCK_JOB_.
    std::string told();
    Job* job(std::string_view id) { return layer.jobs().find(id); }
    void fill(Node& memory, std::uint8_t value);

private:
    std::size_t told_ = 0;
};

}  // namespace blocklayer::testing
