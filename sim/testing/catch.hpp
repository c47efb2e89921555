// SPDX-License-Identifier: Apache-2.0
// The one door to the test framework, so that a move to another version of it touches one file.
#pragma once

#include <catch2/catch.hpp>
