// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/qemu_io/qemu_io.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/console.hpp"
#include "sim/check.hpp"

namespace blocklayer::qemu_io {
namespace {

std::map<std::string_view, const Command*>& registry() {
    static std::map<std::string_view, const Command*> commands;
    return commands;
}

std::vector<std::string> split(std::string_view line) {
    std::vector<std::string> words;
    while (!line.empty()) {
        const std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0) words.emplace_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

// True: as many words as the command takes.
bool check_count(const Call& call, const Command& command) {
    const int count = static_cast<int>(call.words.size()) - 1;
    const int least = command.words_min, most = command.words_max;
    if (count >= least && (most < 0 || count <= most)) return true;
    std::string expected = fmt::format("at least {}", least);
    if (most == least)
        expected = fmt::format("{}", least);
    else if (most > least)
        expected = fmt::format("between {} and {}", least, most);
    call.complain(fmt::format("bad argument count {} to {}, expected {} arguments", count,
                              command.name, expected));
    return false;
}

}  // namespace

CommandList::CommandList(std::span<const Command> commands) {
    for (const Command& command : commands)
        for (const std::string_view name : {command.name, command.alias}) {
            if (name.empty()) continue;
            const bool is_new = registry().emplace(name, &command).second;
            EXPECTS(is_new);
        }
}

const Command* find(std::string_view name) {
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : found->second;
}

void Call::say(std::string_view text) const { print(backend.layer(), std::string(text) + "\n"); }

void Call::complain(std::string_view text) const {
    print_error(backend.layer(), std::string(text) + "\n");
}

void Call::usage() const {
    const Command* command = find(words[0]);
    say(fmt::format("{} {} -- {}", command->name, command->arguments, command->summary));
}

Status run_line(sim::Co& co, BlockBackend& backend, std::string_view line) {
    Call call{.backend = backend, .words = split(line)};
    if (call.words.empty()) return {};
    const Command* command = find(call.words[0]);
    if (command == nullptr) {
        call.complain(fmt::format("command \"{}\" not found", call.words[0]));
        return {};
    }
    if (!check_count(call, *command)) return {};
    if (!backend.wish().used.contains(command->needs)) {
        Claim wish = backend.wish();
        wish.used = wish.used | command->needs;
        TRY(backend.set_wish(wish));
    }
    return command->run(co, call);
}

}  // namespace blocklayer::qemu_io
