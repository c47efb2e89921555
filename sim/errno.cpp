// SPDX-License-Identifier: Apache-2.0
#include "sim/errno.hpp"

#include <cstring>

namespace sim {

const char* errno_text(Errno error) { return strerrordesc_np(to_int(error)); }

}  // namespace sim
