// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/testing/job_fixture.hpp"

#include <algorithm>

#include "blocklayer/monitor/command.hpp"
#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::testing {
namespace {

Result<Value> run_command(GraphFixture& fixture, std::string_view command, const Value& arguments) {
    return fixture.run([&](sim::Co& co) -> Result<Value> {
        const sim::MutexLock lock(co, *fixture.layer.control_lock());
        return execute(co, fixture.layer, command, arguments);
    });
}

}  // namespace

Value JobFixture::qmp(std::string_view command, std::initializer_list<Value::NewMember> arguments) {
    Result<Value> result = run_command(*this, command, Value::dict(arguments));
    if (!result) FAIL(command << ": " << result.error().text);
    return std::move(*result);
}

std::string JobFixture::qmp_error(std::string_view command, Value arguments) {
    const Result<Value> result = run_command(*this, command, arguments);
    return result ? "ok" : result.error().text;
}

std::string JobFixture::told() {
    std::string text;
    for (; told_ < events.size(); ++told_) {
        const QmpEvent& event = events[told_];
        std::string word = event.name.name();
        if (word == "JOB_STATUS_CHANGE")
            word = event.data.at("status").as_string();
        else if (word.starts_with("BLOCK_JOB_"))
            word.erase(0, 10);
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

void JobFixture::fill(Node& memory, std::uint8_t value) {
    std::fill(memory_of(memory).bytes.begin(), memory_of(memory).bytes.end(), std::byte{value});
}

}  // namespace blocklayer::testing
