// SPDX-License-Identifier: Apache-2.0
// blockstep-qmp: a virtual machine's block layer over real files, steered by QMP.
//
//     blockstep-qmp                  a session on standard input and output; ends with the input
//     blockstep-qmp --socket PATH    sessions on a unix socket, one client at a time
//
// The clock follows the wall's; while nothing is due, the program waits for input in ppoll(2).
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/console.hpp"
#include "blocklayer/monitor/session.hpp"
#include "sim/check.hpp"
#include "sim/posix_store.hpp"
#include "sim/world.hpp"

namespace {

volatile std::sig_atomic_t signalled = 0;
void on_signal(int /*number*/) { signalled = 1; }

// Blocking: a client that does not read holds the machine up, as it does the reference's.
void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t done = write(fd, text.data(), text.size());
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return;  // the client is gone; its input tells
        text.remove_prefix(static_cast<std::size_t>(done));
    }
}

class Server {
public:
    // listener: -1 for a session on standard input and output.
    explicit Server(int listener)
        : world_({.clock = sim::ClockMode::paced}), layer_(world_, store_), listener_(listener) {
        blocklayer::set_console(layer_,
                                [](std::string_view text) { write_all(STDOUT_FILENO, text); });
        blocklayer::set_error_console(
            layer_, [](std::string_view text) { write_all(STDERR_FILENO, text); });
        if (listener_ < 0) open_session(STDIN_FILENO, STDOUT_FILENO);
    }

    void run() {
        world_.set_idle_hook([this](sim::Duration wall) { return wait_for_input(wall); });
        world_.run_until([this] { return ended(); });
        if (signalled != 0)
            layer_.emit_event(
                "SHUTDOWN", blocklayer::Value::dict({{"guest", false}, {"reason", "host-signal"}}));
        world_.set_idle_hook(nullptr);
        world_.run([this](sim::Co& co) { layer_.shut_down(co); });
    }

private:
    bool ended() const {
        if (signalled != 0) return true;
        const bool idle = session_ == nullptr || session_->pending() == 0;
        const bool no_more_input = listener_ < 0 && in_ < 0;
        return idle && (no_more_input || blocklayer::quit_requested(layer_));
    }

    void open_session(int in, int out) {
        in_ = in;
        out_ = out;
        const std::int64_t epoch = sim::wall_clock_date_ns() - world_.now().ns;
        session_ = std::make_unique<blocklayer::Session>(
            layer_, [out](std::string_view line) { write_all(out, line); },
            blocklayer::SessionOptions{.epoch_ns = epoch});
    }

    bool wait_for_input(sim::Duration wall) {
        if (ended()) return false;
        pollfd watched{.fd = in_ >= 0 ? in_ : listener_, .events = POLLIN, .revents = 0};
        const timespec limit{wall.ns / 1'000'000'000, wall.ns % 1'000'000'000};
        if (ppoll(&watched, watched.fd >= 0 ? 1 : 0, &limit, nullptr) <= 0) return !ended();
        if (in_ >= 0)
            read_input();
        else
            accept_client();
        return !ended();
    }

    void read_input() {
        std::array<char, 65536> buffer;
        const ssize_t size = read(in_, buffer.data(), buffer.size());
        if (size > 0) return session_->feed({buffer.data(), static_cast<std::size_t>(size)});
        if (size < 0 && (errno == EINTR || errno == EAGAIN)) return;
        session_->end_of_input();
        if (listener_ >= 0) {
            session_.reset();
            close(in_);
        }
        in_ = -1;
    }

    void accept_client() {
        const int client = accept(listener_, nullptr, nullptr);
        if (client >= 0) open_session(client, client);
    }

    sim::PosixStore store_;
    sim::World world_;
    blocklayer::BlockLayer layer_;
    std::unique_ptr<blocklayer::Session> session_;
    int listener_;
    int in_ = -1, out_ = -1;
};

int fail(std::string_view what) {
    fmt::print(stderr, "blockstep-qmp: {}\n", what);
    return 2;
}

// The listening socket at this path, or -1 with errno.
int listen_at(const char* path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    if (std::strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    std::strcpy(address.sun_path, path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    unlink(path);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
        listen(fd, 1) == 0)
        return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void catch_signals() {
    struct sigaction action {};
    action.sa_handler = on_signal;  // without SA_RESTART: ppoll returns
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGHUP, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view option = argc > 1 ? argv[1] : "";
    if (option == "--help" && argc == 2) {
        fmt::print("usage: blockstep-qmp [--socket PATH]\n");
        return 0;
    }
    if (argc != 1 && !(option == "--socket" && argc == 3))
        return fail("usage: blockstep-qmp [--socket PATH]");
    int listener = -1;
    if (argc == 3) {
        listener = listen_at(argv[2]);
        if (listener < 0) return fail(fmt::format("{}: {}", argv[2], std::strerror(errno)));
    }
    catch_signals();
    int status = 0;
    try {
        Server(listener).run();
    } catch (const sim::Verdict& found) {
        fmt::print(stderr, "{}\n", found.text());
        status = 1;
    } catch (const std::exception& error) {
        fmt::print(stderr, "blockstep-qmp: {}\n", error.what());
        status = 1;
    }
    if (argc == 3) unlink(argv[2]);
    return status;
}
