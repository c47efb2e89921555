// SPDX-License-Identifier: Apache-2.0
// The release whose interface this is, as the greeting and query-version tell it.
#pragma once
#include "blocklayer/value.hpp"

namespace blocklayer {

Value version_info();  // VersionInfo

}  // namespace blocklayer
