// SPDX-License-Identifier: Apache-2.0
// Variants that join a union by themselves, as drivers join BlockdevOptions.
#pragma once
#include <string>

#include "blocklayer/options/schema.hpp"

namespace blocklayer {

// One more variant of a registered union, and of the enumeration of its tag.
class VariantRegistration {
public:
    VariantRegistration(std::string union_name, Variant variant);
};

}  // namespace blocklayer
