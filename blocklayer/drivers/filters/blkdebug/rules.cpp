// SPDX-License-Identifier: Apache-2.0
// source  docs/devel/blkdebug.txt of the reference; QAPI BlkdebugInjectErrorOptions,
//         BlkdebugSetStateOptions; what they leave open as observed
#include "blocklayer/drivers/filters/blkdebug/rules.hpp"

#include <algorithm>
#include <array>

#include "blocklayer/options/schema.hpp"

namespace blocklayer::blkdebug {
namespace {

constexpr std::uint64_t sector_bytes = 512;
constexpr std::array<std::string_view, 6> io_type_names = {"read",    "write", "write-zeroes",
                                                           "discard", "flush", "block-status"};

constexpr std::uint8_t bit(IoType type) {
    return static_cast<std::uint8_t>(1u << static_cast<unsigned>(type));
}
// All but block-status, which a rule has to name.
constexpr auto ordinary_requests = static_cast<std::uint8_t>(bit(IoType::block_status) - 1);

std::uint8_t io_types_of(const Value& options) {
    const Value* given = options.find("iotype");
    if (given == nullptr) return ordinary_requests;
    const auto* found =
        std::find(io_type_names.begin(), io_type_names.end(), given->as_string());
    return static_cast<std::uint8_t>(1u << (found - io_type_names.begin()));
}

bool touches(const Rule& rule, std::uint64_t offset, std::uint64_t length) {
    return !rule.offset || (*rule.offset >= offset && *rule.offset - offset < length);
}

std::vector<MemberSpec> with_common(std::vector<MemberSpec> own) {
    std::vector<MemberSpec> members{required("event", "BlkdebugEvent"), optional("state", "int")};
    members.insert(members.end(), own.begin(), own.end());
    return members;
}

std::vector<std::string> event_names() {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < debug_event_count; ++i)
        names.emplace_back(to_text(static_cast<DebugEvent>(i)));
    return names;
}

const TypeRegistration events(
    {.name = "BlkdebugEvent", .meta = TypeSpec::Meta::enumeration, .values = event_names()});
const TypeRegistration io_types({.name = "BlkdebugIOType",
                                 .meta = TypeSpec::Meta::enumeration,
                                 .values = {io_type_names.begin(), io_type_names.end()}});
const TypeRegistration inject_error(
    {.name = "BlkdebugInjectErrorOptions",
     .members = with_common({optional("iotype", "BlkdebugIOType"), optional("errno", "int"),
                             optional("sector", "int"), optional("once", "bool"),
                             optional("immediately", "bool")})});
const TypeRegistration set_state({.name = "BlkdebugSetStateOptions",
                                  .members = with_common({required("new_state", "int")})});
const TypeRegistration delay(
    {.name = "BlkdebugDelayOptions",
     .members = with_common({required("ns", "uint64"), optional("iotype", "BlkdebugIOType"),
                             optional("sector", "int"), optional("once", "bool")})});

}  // namespace

Rule make_rule(Rule::Action action, const Value& options) {
    Rule rule{.action = action};
    if (const Value* event = options.find("event"))
        rule.event = find_debug_event(event->as_string()).value();
    rule.state = options.get_int("state", 0);
    rule.new_state = options.get_int("new_state", 0);
    rule.io_types = io_types_of(options);
    rule.error = std::clamp<std::int64_t>(options.get_int("errno", to_int(Errno::io)), 0,
                                          UINT8_MAX);
    const std::int64_t sector = options.get_int("sector", -1);
    if (sector >= 0 && sector <= INT64_MAX / static_cast<std::int64_t>(sector_bytes))
        rule.offset = static_cast<std::uint64_t>(sector) * sector_bytes;
    rule.once = options.get_bool("once", false);
    rule.immediately = options.get_bool("immediately", false);
    rule.delay = sim::nanoseconds(std::max<std::int64_t>(options.get_int("ns", 0), 0));
    return rule;
}

void Rules::add(Rule rule) {
    if (rule.event == DebugEvent::none) {  // happens once, now
        if (rule.state != 0 && rule.state != state_) return;
        if (rule.action == Rule::Action::set_state) {
            state_ = rule.new_state;
            return;
        }
        rule.in_force = true;
    }
    rules_.push_back(rule);
}

void Rules::add_options(const Value& options) {
    const auto add_all = [&](const char* name, Rule::Action action) {
        if (const Value* given = options.find(name))
            for (const Value& rule : given->items()) add(make_rule(action, rule));
    };
    add_all("inject-error", Rule::Action::inject_error);
    add_all("set-state", Rule::Action::set_state);
    add_all("x-delay", Rule::Action::delay);
}

sim::Duration Rules::fire(DebugEvent event) {
    sim::Duration wait{};
    std::int64_t state_after = state_;
    bool replaced = false, state_set = false;
    const auto applies = [&](const Rule& rule) {
        return rule.event == event && (rule.state == 0 || rule.state == state_);
    };
    for (auto rule = rules_.begin(); rule != rules_.end();) {
        if (!applies(*rule)) {
            ++rule;
            continue;
        }
        bool used_up = false;
        switch (rule->action) {
        case Rule::Action::set_state:
            if (!std::exchange(state_set, true)) state_after = rule->new_state;  // the first wins
            break;
        case Rule::Action::delay:
            wait = wait + rule->delay;
            used_up = rule->once;
            break;
        case Rule::Action::inject_error:
            if (!std::exchange(replaced, true))
                for (Rule& other : rules_)
                    if (other.action == Rule::Action::inject_error) other.in_force = false;
            rule->in_force = true;
            break;
        }
        rule = used_up ? rules_.erase(rule) : rule + 1;
    }
    state_ = state_after;
    return wait;
}

Verdict Rules::judge(IoType type, std::uint64_t offset, std::uint64_t length) {
    Verdict verdict;
    bool judged = false;  // by the first rule that fits
    for (auto rule = rules_.begin(); rule != rules_.end();) {
        const bool hit = rule->in_force && (rule->io_types & bit(type)) != 0 &&
                         touches(*rule, offset, length) &&
                         !(judged && rule->action == Rule::Action::inject_error);
        if (!hit) {
            ++rule;
            continue;
        }
        if (rule->action == Rule::Action::delay) {
            verdict.delay = verdict.delay + rule->delay;
        } else {
            judged = true;
            verdict.fails = rule->error > 0;
            verdict.error = sim::errno_from_int(static_cast<int>(rule->error));
            verdict.immediately = rule->immediately;
        }
        rule = rule->once ? rules_.erase(rule) : rule + 1;
    }
    return verdict;
}

}  // namespace blocklayer::blkdebug
