// SPDX-License-Identifier: Apache-2.0
// JobList: the jobs of one block layer.
#pragma once
#include <vector>

namespace blocklayer {

class Job;

class JobList {
public:
    std::vector<Job*> jobs;  // oldest first
};

}  // namespace blocklayer
