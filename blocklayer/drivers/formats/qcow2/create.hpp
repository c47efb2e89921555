// SPDX-License-Identifier: Apache-2.0
// Making new qcow2 images.
#pragma once
#include "blocklayer/drivers/driver.hpp"

namespace blocklayer::qcow2 {

// source  QAPI BlockdevCreateOptionsQcow2
std::vector<MemberSpec> create_members();
Status create_image(sim::Co& co, CreateContext& context);

}  // namespace blocklayer::qcow2
