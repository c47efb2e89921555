// SPDX-License-Identifier: Apache-2.0
// The name queries show for a node: its file's name where that alone leads back to the same node,
// otherwise "json:" and the options that do. Some filters only show the name of what is below them.
#pragma once
#include <string>

namespace blocklayer {

class Node;

std::string shown_filename(const Node& node);
// The backing file that the image itself names, seen from where this process is; empty: none.
std::string full_backing_filename(const Node& node);

}  // namespace blocklayer
