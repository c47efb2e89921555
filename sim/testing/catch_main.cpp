// SPDX-License-Identifier: Apache-2.0
// The test framework's main(), compiled once and shared by all test programs.
#define CATCH_CONFIG_MAIN
#include "sim/testing/catch.hpp"
