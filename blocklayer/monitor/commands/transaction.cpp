// SPDX-License-Identifier: Apache-2.0
// transaction: actions prepared in order, then all committed or all undone.
#include <fmt/format.h>

#include <map>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/transaction_action.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

std::map<std::string, TransactionActionSpec, std::less<>>& registry() {
    static std::map<std::string, TransactionActionSpec, std::less<>> actions;
    return actions;
}

Result<Value> transaction(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const Value* properties = arguments.find("properties");
    const bool grouped = properties != nullptr &&
                         properties->get_string("completion-mode", "individual") == "grouped";
    std::vector<std::unique_ptr<TransactionAction>> prepared;
    Status status;
    for (const Value& action : arguments.at("actions").items()) {
        const auto spec = registry().find(action.at("type").as_string());
        INVARIANT(spec != registry().end());  // the schema knows no others
        if (grouped && !spec->second.can_be_grouped) {
            status = failure(fmt::format(
                "Action '{}' does not support Transaction property completion-mode = grouped",
                spec->first));
            break;
        }
        auto made = spec->second.make(layer, action.at("data"));
        status = made->prepare(co);
        if (!status) break;
        prepared.push_back(std::move(made));
    }
    if (status) {
        for (const auto& action : prepared) action->commit(co);
        return Value();
    }
    for (auto action = prepared.rbegin(); action != prepared.rend(); ++action) (*action)->abort(co);
    return Unexpected(std::move(status).error());
}

class Abort final : public TransactionAction {
public:
    Abort(BlockLayer&, const Value&) {}
    Status prepare(sim::Co&) override {
        return failure("Transaction aborted using Abort action");
    }
};

// In the schema's order, which is not the alphabet's.
TypeSpec action_kind() {
    TypeSpec spec{.name = "TransactionActionKind", .meta = TypeSpec::Meta::enumeration};
    for (const char* type : {"abort", "block-dirty-bitmap-add", "block-dirty-bitmap-remove",
                             "block-dirty-bitmap-clear", "block-dirty-bitmap-enable",
                             "block-dirty-bitmap-disable", "block-dirty-bitmap-merge",
                             "blockdev-backup", "blockdev-snapshot",
                             "blockdev-snapshot-internal-sync", "blockdev-snapshot-sync",
                             "drive-backup"})
        if (registry().contains(type)) spec.values.push_back(type);
    return spec;
}

TypeSpec action_union() {
    TypeSpec spec{.name = "TransactionAction",
                  .members = {required("type", "TransactionActionKind")},
                  .tag = "type"};
    for (const auto& [type, action] : registry())
        spec.variants.push_back({type, {required("data", action.data_type)}});
    return spec;
}

const DerivedTypeRegistration kind_type("TransactionActionKind", action_kind);
const DerivedTypeRegistration action_type("TransactionAction", action_union);
const TypeRegistration abort_type({.name = "Abort"});
const TypeRegistration mode({.name = "ActionCompletionMode",
                             .meta = TypeSpec::Meta::enumeration,
                             .values = {"individual", "grouped"}});
const TypeRegistration properties_type({.name = "TransactionProperties",
                                        .members = {optional("completion-mode",
                                                             "ActionCompletionMode")}});
const TransactionActionRegistration abort_action(
    {.type = "abort", .data_type = "Abort", .make = make_action<Abort>, .can_be_grouped = true});

const CommandRegistration registration({.name = "transaction",
                                        .args = {required("actions", "[TransactionAction]"),
                                                 optional("properties", "TransactionProperties")},
                                        .run = transaction,
                                        .source = "QAPI transaction.json"});

}  // namespace

TransactionActionRegistration::TransactionActionRegistration(TransactionActionSpec spec) {
    std::string type = spec.type;
    const bool added = registry().emplace(std::move(type), std::move(spec)).second;
    EXPECTS(added);  // two actions of one type
}

std::vector<const TransactionActionSpec*> all_transaction_actions() {
    std::vector<const TransactionActionSpec*> actions;
    for (const auto& [type, spec] : registry()) actions.push_back(&spec);
    return actions;
}

}  // namespace blocklayer
