// SPDX-License-Identifier: Apache-2.0
// Properties: what a device model can be told, and how a text becomes a value of that kind.
//
// device_add gives every value as text, whatever its JSON kind was; a property's kind parses it
// and says what is wrong as the reference does.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "sim/label.hpp"

namespace hwmodels {

enum class PropertyKind : std::uint8_t {
    boolean,
    uint16,
    uint32,
    uint64,
    int32,
    size,
    block_size,  // a power of two between 512 and 2 MiB; 0: chosen by the device
    string,
    on_off_auto,
    on_error,
    drive,  // a backend's or node's name
    iothread,
    pci_address,  // "slot[.function]" in hexadecimal
};

struct PropertySpec {
    std::string name;
    PropertyKind kind = PropertyKind::string;
    blocklayer::Value fallback;  // null: an empty string, or none shown
    std::string help;
    std::uint64_t hash = 0;  // of the name, when the device's registration has filled it in
};
// Those of both, in order.
std::vector<PropertySpec> operator+(std::vector<PropertySpec> a, std::vector<PropertySpec> b);

// The kind's name in device-list-properties and qom-list: "uint32", "OnOffAuto".
std::string_view type_name(PropertyKind kind);
// The description shown beside it, when the kind has one.
std::string_view type_help(PropertyKind kind);

// Parses a text; `model` names the device in messages.
blocklayer::Result<blocklayer::Value> parse_property(const PropertySpec& spec,
                                                     std::string_view model, std::string_view text);
// A value of device_add's arguments as its text: true is "on", 5 is "5".
std::string property_text(const blocklayer::Value& value);

// The values of one device: what was set, and its model's defaults for the rest.
class Properties {
public:
    explicit Properties(const std::vector<PropertySpec>& specs) : specs_(&specs) {}
    void set(sim::Label name, blocklayer::Value value) { set(name.hash(), std::move(value)); }
    void set(const PropertySpec& property, blocklayer::Value value) {
        set(property.hash, std::move(value));
    }
    const blocklayer::Value& get(sim::Label name) const { return get(name.hash()); }
    const blocklayer::Value& get(const PropertySpec& property) const { return get(property.hash); }
    bool flag(sim::Label name) const { return get(name).as_bool(); }
    std::uint64_t number(sim::Label name) const { return get(name).as_uint(); }
    std::int64_t integer(sim::Label name) const { return get(name).as_int(); }
    const std::string& text(sim::Label name) const { return get(name).as_string(); }

private:
    void set(std::uint64_t name, blocklayer::Value value);
    const blocklayer::Value& get(std::uint64_t name) const;

    const std::vector<PropertySpec>* specs_;
    std::vector<std::pair<std::uint64_t, blocklayer::Value>> values_;  // by hash of the name
};

}  // namespace hwmodels
