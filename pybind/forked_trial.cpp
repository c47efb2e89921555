// SPDX-License-Identifier: Apache-2.0
#include "pybind/forked_trial.hpp"

#include <pybind11/pybind11.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "sim/explore/forked.hpp"

namespace bindings {
namespace {

namespace py = pybind11;
using namespace pybind11::literals;

// Where Python's fault handler writes down the lines a dying process was at.
class LastWords {
public:
    static constexpr std::size_t bytes_max = 16 * 1024;

    LastWords() : fd_(::memfd_create("last words", MFD_CLOEXEC)) {
        if (fd_ < 0) throw std::runtime_error("no file for the last words of a run");
        py::module_::import("faulthandler");  // here, so that no child has to
    }
    LastWords(const LastWords&) = delete;
    LastWords& operator=(const LastWords&) = delete;
    ~LastWords() { ::close(fd_); }

    void listen() const {
        py::module_::import("faulthandler")
            .attr("enable")("file"_a = fd_, "all_threads"_a = false);
    }
    std::string take() const {
        std::string text(bytes_max, '\0');
        const ssize_t n = ::pread(fd_, text.data(), text.size(), 0);
        text.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
        if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0) text.clear();
        const py::bytes said(text);
        return py::module_::import("blockstep.apart")
            .attr("last_words")(said.attr("decode")("errors"_a = "replace"))
            .cast<std::string>();
    }

private:
    int fd_;
};

void print_what_is_buffered() {
    for (const char* name : {"stdout", "stderr"}) {
        const py::object stream = py::module_::import("sys").attr(name);
        if (!stream.is_none()) stream.attr("flush")();
    }
}

}  // namespace

sim::explore::Trial forked_trial(sim::explore::Trial trial) {
    const auto words = std::make_shared<LastWords>();
    return sim::explore::forked(
        [trial = std::move(trial)](sim::explore::Attempt attempt) {
            auto verdict = trial(std::move(attempt));
            print_what_is_buffered();
            return verdict;
        },
        {.before =
             [] {
                 print_what_is_buffered();
                 PyOS_BeforeFork();
             },
         .in_parent = [] { PyOS_AfterFork_Parent(); },
         .in_child =
             [words] {
                 PyOS_AfterFork_Child();
                 words->listen();
             },
         .interrupted =
             [] {
                 if (PyErr_CheckSignals() != 0) throw py::error_already_set();
             },
         .last_words = [words] { return words->take(); }});
}

}  // namespace bindings
