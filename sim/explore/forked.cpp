// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/forked.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>

#include "sim/check.hpp"

namespace sim::explore {
namespace {

// What a child writes and its parent reads. A record is there once it is whole, so that what a
// dead child left can be read as well. Pages are used as they are written to.
class Shared {
public:
    static constexpr std::size_t bytes_max = std::size_t{1} << 30;
    static constexpr std::size_t bytes_kept = std::size_t{1} << 24;  // between runs

    Shared() {
        void* const memory = ::mmap(nullptr, bytes_max, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            throw std::runtime_error(fmt::format("no memory to share: {}", std::strerror(errno)));
        memory_ = static_cast<std::byte*>(memory);
        whole_ = new (memory) std::size_t(begin);
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { ::munmap(memory_, bytes_max); }

    void reset() {
        if (*whole_ > bytes_kept)
            ::madvise(memory_ + bytes_kept, bytes_max - bytes_kept, MADV_REMOVE);
        *whole_ = begin;
        at_ = begin;
    }
    void rewind() { at_ = begin; }
    bool more() const { return at_ < *whole_; }

    template <class T>
    void put(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        put_bytes(&value, sizeof value);
    }
    void put_text(std::string_view text) {
        put(text.size());
        put_bytes(text.data(), text.size());
    }
    void end_record() { *whole_ = at_; }
    // Instead of one that is half written; there is room for it whatever came before.
    void begin_last_record() {
        at_ = *whole_;
        limit_ = bytes_max;
    }

    template <class T>
    T get() {
        T value;
        std::memcpy(&value, memory_ + at_, sizeof value);
        at_ += sizeof value;
        return value;
    }
    std::string get_text() {
        const auto size = get<std::size_t>();
        std::string text(reinterpret_cast<const char*>(memory_ + at_), size);
        at_ += size;
        return text;
    }

private:
    static constexpr std::size_t begin = 64;  // after whole_

    void put_bytes(const void* from, std::size_t size) {
        if (at_ > limit_ || limit_ - at_ < size)
            throw std::length_error("a run of more choices than can be told to another process");
        std::memcpy(memory_ + at_, from, size);
        at_ += size;
    }

    std::byte* memory_;
    volatile std::size_t* whole_;  // bytes up to the end of the last record
    std::size_t at_ = begin;
    std::size_t limit_ = bytes_max - (std::size_t{1} << 20);
};

enum class Tag : std::uint8_t {
    label,
    choose,
    pick,
    fault,
    feature,
    keep,
    begins,
    ends,
    left,
    verdict,
    thrown,
};

// In the child: asks the schedule and tells what it was asked.
class Teller final : public Schedule, StepWatcher {
public:
    Teller(std::unique_ptr<Schedule> inner, Shared& out)
        : inner_(std::move(inner)), watcher_(inner_->watcher()), out_(out) {}

    std::uint32_t choose(std::uint32_t n, Label label) override {
        return tell(Tag::choose, n, label, inner_->choose(n, label));
    }
    std::uint32_t fault(std::uint32_t n, Label site) override {
        return tell(Tag::fault, n, site, inner_->fault(n, site));
    }
    bool feature(Label name) override {
        return tell(Tag::feature, 2, name, inner_->feature(name) ? 1 : 0) == 1;
    }
    bool keep(Label operation) override {
        return tell(Tag::keep, 2, operation, inner_->keep(operation) ? 1 : 0) == 1;
    }
    std::uint32_t pick(std::span<const Candidate> ready) override {
        const std::uint32_t answer = inner_->pick(ready);
        for (const Candidate& event : ready) name(event.label);
        out_.put(Tag::pick);
        out_.put(static_cast<std::uint32_t>(ready.size()));
        for (const Candidate& event : ready) {
            out_.put(event.id);
            out_.put(event.thread);
            out_.put(event.turn);
            out_.put(event.label.hash());
        }
        out_.put(answer);
        out_.end_record();
        return answer;
    }
    bool in_order() const override { return inner_->in_order(); }
    StepWatcher* watcher() override { return watcher_ == nullptr ? nullptr : this; }

    void begins(const Step& step) override {
        watcher_->begins(step);
        name(step.label);
        name(step.doing);
        out_.put(Tag::begins);
        out_.put(step.at);
        out_.put(step.number);
        out_.put(step.id);
        out_.put(step.thread);
        out_.put(step.turn);
        out_.put(step.label.hash());
        out_.put(step.doing.hash());
        out_.put(step.readied_by);
        out_.put(step.next_id);
        out_.end_record();
    }
    void ends(std::span<const Touch> touched) override {
        watcher_->ends(touched);
        out_.put(Tag::ends);
        out_.put(touched.size());
        for (const Touch& touch : touched) out_.put(touch);
        out_.end_record();
    }
    void left() override {
        watcher_->left();
        out_.put(Tag::left);
        out_.end_record();
    }

private:
    std::uint32_t tell(Tag tag, std::uint32_t n, Label label, std::uint32_t answer) {
        name(label);
        out_.put(tag);
        out_.put(n);
        out_.put(label.hash());
        out_.put(answer);
        out_.end_record();
        return answer;
    }
    // Where a name lies is another matter in each process; so it goes along, once.
    void name(Label label) {
        if (!named_.insert(label.hash()).second) return;
        out_.put(Tag::label);
        out_.put(label.hash());
        out_.put_text(label.name());
    }

    std::unique_ptr<Schedule> inner_;
    StepWatcher* watcher_;
    Shared& out_;
    std::unordered_set<std::uint64_t> named_;  // asked only
};

void put(Shared& out, const Verdict& verdict) {
    out.begin_last_record();
    out.put(Tag::verdict);
    out.put(verdict.failed);
    out.put_text(verdict.signature);
    out.put_text(verdict.text);
    out.put(verdict.digest);
    out.put(verdict.events);
    out.end_record();
}

// Here: asks the schedule what its copy was asked. Gives the verdict if the child came to one.
class Listener {
public:
    Listener(Schedule& schedule, Shared& in)
        : schedule_(schedule), watcher_(schedule.watcher()), in_(in) {
        in_.rewind();
        while (in_.more()) take();
    }

    bool judged = false;
    Verdict verdict;
    std::string thrown;       // what went through the trial
    std::uint64_t steps = 0;  // if there was a watcher
    std::string last_step;

private:
    void take() {
        const auto tag = in_.get<Tag>();
        switch (tag) {
        case Tag::label: {
            const auto hash = in_.get<std::uint64_t>();
            labels_.insert_or_assign(hash, Label::interned(in_.get_text()));
            return;
        }
        case Tag::pick: return take_pick();
        case Tag::begins: return take_step();
        case Tag::ends: {
            std::vector<Touch> touched(in_.get<std::size_t>());
            for (Touch& touch : touched) touch = in_.get<Touch>();
            watcher_->ends(touched);
            return;
        }
        case Tag::left: watcher_->left(); return;
        case Tag::verdict:
            judged = true;
            verdict.failed = in_.get<bool>();
            verdict.signature = in_.get_text();
            verdict.text = in_.get_text();
            verdict.digest = in_.get<std::uint64_t>();
            verdict.events = in_.get<std::uint64_t>();
            return;
        case Tag::thrown: thrown = in_.get_text(); return;
        default: return take_answer(tag);
        }
    }

    void take_answer(Tag tag) {
        const auto n = in_.get<std::uint32_t>();
        const Label label = get_label();
        const auto answer = in_.get<std::uint32_t>();
        const std::uint32_t own = tag == Tag::choose    ? schedule_.choose(n, label)
                                  : tag == Tag::fault   ? schedule_.fault(n, label)
                                  : tag == Tag::feature ? schedule_.feature(label)
                                                        : schedule_.keep(label);
        INVARIANT(own == answer);
    }

    void take_pick() {
        std::vector<Candidate> ready(in_.get<std::uint32_t>());
        for (Candidate& event : ready) {
            event.id = in_.get<std::uint64_t>();
            event.thread = in_.get<std::uint32_t>();
            event.turn = in_.get<std::uint32_t>();
            event.label = get_label();
        }
        const auto answer = in_.get<std::uint32_t>();
        INVARIANT(schedule_.pick(ready) == answer);
    }

    void take_step() {
        Step step{};
        step.at = in_.get<Instant>();
        step.number = in_.get<std::uint64_t>();
        step.id = in_.get<std::uint64_t>();
        step.thread = in_.get<std::uint32_t>();
        step.turn = in_.get<std::uint32_t>();
        step.label = get_label();
        step.doing = get_label();
        step.readied_by = in_.get<std::uint64_t>();
        step.next_id = in_.get<std::uint64_t>();
        watcher_->begins(step);
        steps = step.number;
        last_step = step.label.name();
    }

    Label get_label() { return labels_.at(in_.get<std::uint64_t>()); }

    Schedule& schedule_;
    StepWatcher* watcher_;
    Shared& in_;
    std::unordered_map<std::uint64_t, Label> labels_;  // asked only
};

[[noreturn]] void run_child(const Trial& trial, const ForkHooks& hooks, Attempt attempt,
                            Shared& out, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    ::signal(SIGINT, SIG_IGN);  // for the one who asked for the run
    int status = 0;
    try {
        hooks.in_child();
        attempt.schedule = std::make_unique<Teller>(std::move(attempt.schedule), out);
        put(out, trial(std::move(attempt)));
    } catch (const std::exception& error) {
        out.begin_last_record();
        out.put(Tag::thrown);
        out.put_text(error.what());
        out.end_record();
        status = 1;
    }
    ::_exit(status);
}

// How the child ended, as waitpid gives it.
int wait_for(pid_t child, const ForkHooks& hooks) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) throw std::runtime_error("a run's process is gone");
        try {
            hooks.interrupted();
        } catch (...) {
            ::kill(child, SIGKILL);
            while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
            }
            throw;
        }
    }
    return status;
}

Verdict died(int status, const Listener& told, const ForkHooks& hooks) {
    Verdict verdict{.failed = true, .events = told.steps};
    if (WIFSIGNALED(status)) {
        const int number = WTERMSIG(status);
        const char* const name = ::sigabbrev_np(number);
        verdict.signature =
            fmt::format("the process died: SIG{}", name != nullptr ? name : "nal unknown");
        verdict.text = fmt::format("The process of this run died of signal {} ({}).\n", number,
                                   ::strsignal(number));
    } else {
        verdict.signature = "the process ended in the middle of the run";
        verdict.text = fmt::format("The process of this run ended with status {} before the run "
                                   "did{}{}.\n",
                                   WEXITSTATUS(status), told.thrown.empty() ? "" : ": ",
                                   told.thrown);
    }
    if (told.steps > 0)
        verdict.text += fmt::format("It was in event {}, '{}'.\n", told.steps, told.last_step);
    verdict.text += hooks.last_words();
    return verdict;
}

}  // namespace

Trial forked(Trial trial, ForkHooks hooks) {
    return [trial = std::move(trial), hooks = std::move(hooks),
            shared = std::make_shared<Shared>()](Attempt attempt) {
        shared->reset();
        const pid_t self = ::getpid();
        hooks.before();
        const pid_t child = ::fork();
        const int why = errno;
        if (child == 0) run_child(trial, hooks, std::move(attempt), *shared, self);
        hooks.in_parent();
        if (child < 0)
            throw std::runtime_error(
                fmt::format("no process for a run: {}", std::strerror(why)));
        const int status = wait_for(child, hooks);
        const Listener told(*attempt.schedule, *shared);
        return told.judged ? told.verdict : died(status, told, hooks);
    };
}

}  // namespace sim::explore
