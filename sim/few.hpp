// SPDX-License-Identifier: Apache-2.0
// Few<T>: a vector that holds some without memory from the heap, for what is nearly always short.
#pragma once
#include <boost/container/small_vector.hpp>
#include <cstddef>

namespace sim {

template <class T, std::size_t n = 8>
using Few = boost::container::small_vector<T, n>;

}  // namespace sim
