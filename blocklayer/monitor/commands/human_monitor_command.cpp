// SPDX-License-Identifier: Apache-2.0
// human-monitor-command: one line of the human monitor's language. Of its commands there is
// qemu-io, which runs a qemu-io line on a device's backend or on a node.
#include <fmt/format.h>

#include <cctype>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/console.hpp"
#include "blocklayer/monitor/lookup.hpp"
#include "blocklayer/monitor/qom.hpp"
#include "blocklayer/monitor/qemu_io/qemu_io.hpp"

namespace blocklayer {
namespace {

struct Line {
    BlockLayer& layer;
    std::string_view rest;

    void skip_space() {
        while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest[0])))
            rest.remove_prefix(1);
    }

    std::string word() {
        skip_space();
        std::size_t end = 0;
        while (end < rest.size() && !std::isspace(static_cast<unsigned char>(rest[end]))) ++end;
        std::string text(rest.substr(0, end));
        rest.remove_prefix(end);
        return text;
    }

    // A word, or a text in double quotes with escapes. Nothing: what is wrong was printed, or
    // there was nothing.
    std::optional<std::string> string() {
        skip_space();
        if (rest.empty()) return std::nullopt;
        if (rest[0] != '"') return word();
        rest.remove_prefix(1);
        std::string text;
        while (!rest.empty() && rest[0] != '"') {
            char c = rest[0];
            rest.remove_prefix(1);
            if (c == '\\' && !rest.empty()) {
                c = rest[0];
                rest.remove_prefix(1);
                if (c == 'n') {
                    c = '\n';
                } else if (c == 'r') {
                    c = '\r';
                } else if (c != '\\' && c != '\'' && c != '"') {
                    print(layer, fmt::format("unsupported escape code: '\\{}'\n", c));
                    return std::nullopt;
                }
            }
            text += c;
        }
        if (rest.empty()) {
            print(layer, "unterminated string\n");
            return std::nullopt;
        }
        rest.remove_prefix(1);
        return text;
    }
};

std::string misuse(std::string_view command, std::string_view what) {
    return fmt::format("{}: {}\nTry \"help {}\" for more information\n", command, what, command);
}

Status run_on_device(sim::Co& co, BlockLayer& layer, const std::string& device,
                     std::string_view line) {
    BlockBackend* backend = layer.find_device_backend(device);
    if (backend == nullptr) {
        const std::string path = device[0] == '/' ? device : "/machine/peripheral/" + device;
        if (!device.empty() && resolve_qom_path(layer, path))
            return failure("Error: Device does not have a block device backend");
        return failure(fmt::format("Error: Device '{}' not found", device));
    }
    return qemu_io::run_line(co, *backend, line);
}

Status run_on_node(sim::Co& co, BlockLayer& layer, const std::string& name, std::string_view line) {
    Node* node = layer.find_node(name);
    if (node == nullptr)
        return failure(fmt::format("Error: Cannot find device='' nor node-name='{}'", name));
    const auto backend = BlockBackend::make(layer, {});
    if (Status inserted = backend->insert(*node); !inserted) {
        Error error = std::move(inserted).error();
        error.text = "Error: " + error.text;
        return Unexpected(std::move(error));
    }
    Status status = qemu_io::run_line(co, *backend, line);
    qemu_io::wait_for_requests(co, *backend);
    return status;
}

std::string run_qemu_io(sim::Co& co, BlockLayer& layer, Line line) {
    bool by_device_id = false;
    line.skip_space();
    if (line.rest.starts_with('-')) {
        const std::string option = line.word();
        if (option != "-d") return misuse("qemu-io", "unsupported option " + option);
        by_device_id = true;
    }
    const auto name = line.string();
    if (!name) return misuse("qemu-io", "block device name expected");
    const auto command = line.string();
    if (!command) return misuse("qemu-io", "string expected");
    line.skip_space();
    if (!line.rest.empty()) return misuse("qemu-io", "extraneous characters at the end of line");

    Status status;
    if (by_device_id)
        status = run_on_device(co, layer, *name, *command);
    else if (BlockBackend* backend = layer.find_backend(*name))
        status = qemu_io::run_line(co, *backend, *command);
    else
        status = run_on_node(co, layer, *name, *command);
    return status ? "" : status.error().text + "\n" + status.error().hint;
}

std::string on_the_wire(std::string_view text) {
    std::string out;
    for (const char c : text) out += c == '\n' ? "\r\n" : std::string(1, c);
    return out;
}

Result<Value> human_monitor_command(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    Line line{layer, arguments.at("command-line").as_string()};
    const std::string command = line.word();
    if (command.empty()) return Value("");
    if (command == "qemu-io") return Value(on_the_wire(run_qemu_io(co, layer, line)));
    return Value(on_the_wire(fmt::format("unknown command: '{}'\n", command)));
}

const CommandRegistration registration({.name = "human-monitor-command",
                                        .args = {required("command-line", "str"),
                                                 optional("cpu-index", "int")},
                                        .returns = "str",
                                        .run = human_monitor_command,
                                        .source = "QAPI misc.json",
                                        .features = {"savevm-monitor-nodes"}});

}  // namespace
}  // namespace blocklayer
