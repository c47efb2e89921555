// SPDX-License-Identifier: Apache-2.0
// The console: where what a command prints goes, as opposed to what it replies. A program's is its
// standard output.
#pragma once
#include <functional>
#include <string_view>

namespace blocklayer {

class BlockLayer;

void set_console(BlockLayer& layer, std::function<void(std::string_view)> write);
void print(BlockLayer& layer, std::string_view text);  // goes nowhere without a console

// Where complaints about what was typed go: a program's standard error.
void set_error_console(BlockLayer& layer, std::function<void(std::string_view)> write);
void print_error(BlockLayer& layer, std::string_view text);

}  // namespace blocklayer
