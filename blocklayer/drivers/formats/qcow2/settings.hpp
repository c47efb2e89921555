// SPDX-License-Identifier: Apache-2.0
// What the options of a node say about its image: cache sizes, overlap checks, discards.
#pragma once
#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "blocklayer/errors.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer::qcow2 {

Result<Settings> read_settings(const Value& options, const Header& header,
                               const NodeFlags& flags, const LayerLimits& limits);

}  // namespace blocklayer::qcow2
