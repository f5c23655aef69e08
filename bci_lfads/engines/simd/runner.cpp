#include "runner.h"

#include <algorithm>
#include <cstring>

namespace simd {
namespace {

constexpr int BLOCK = 4;           // bins read out at a time
constexpr int SPINS = 4096;        // looks at a flag before the processor is offered to others
constexpr int LOOKS_PER_TIME = 64; // looks for a task between two at the clock

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

template <typename CONDITION> void spin_until(const CONDITION& condition) {
    for (int i = 0; !condition(); ++i) {
        if (i < SPINS) {
            relax();
        } else {
            std::this_thread::yield();
        }
    }
}

} // namespace

Partner::Partner(std::chrono::microseconds patience)
    : patience_(patience), thread_([this] { run(); }) {}

Partner::~Partner() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        over_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void Partner::perform(const Task& task) {
    task_ = task;
    task_.scratch->n_generated = 0;
    backward_taken_.store(false, std::memory_order_relaxed);
    backward_done_.store(false, std::memory_order_relaxed);
    next_block_.store(0, std::memory_order_relaxed);
    state_.store(OFFERED); // before asleep_ is read: one of the two sees the other
    if (asleep_.load()) {
        const std::lock_guard<std::mutex> lock(mutex_);
        wake_.notify_one();
    }
    task.path->encode(*task.plan, 0, task.first, *task.scratch);
    if (take_backward()) {
        task.path->encode(*task.plan, 1, task.first, *task.scratch);
    } else {
        spin_until([this] { return backward_done_.load(std::memory_order_acquire); });
    }
    task.path->generate(*task.plan, *task.scratch);
    read_out();
    State offered = OFFERED;
    if (!state_.compare_exchange_strong(offered, IDLE)) {
        spin_until([this] { return state_.load(std::memory_order_acquire) == LEFT; });
        state_.store(IDLE, std::memory_order_relaxed);
    }
}

// Blocks of bins, whoever comes first.
void Partner::read_out() {
    const int n_bins = task_.plan->n_bins_out;
    for (;;) {
        const int first = BLOCK * next_block_.fetch_add(1, std::memory_order_relaxed);
        if (first >= n_bins) {
            return;
        }
        const int last = std::min(first + BLOCK, n_bins);
        spin_until(
            [&] { return __atomic_load_n(&task_.scratch->n_generated, __ATOMIC_ACQUIRE) >= last; });
        task_.path->read_out(*task_.plan, first, last, *task_.scratch, task_.factors,
                             task_.log_rates);
    }
}

void Partner::run() {
    while (wait_for_task()) {
        State offered = OFFERED;
        if (!state_.compare_exchange_strong(offered, JOINED)) {
            continue;
        }
        if (take_backward()) {
            task_.path->encode(*task_.plan, 1, task_.first, *task_.scratch);
            backward_done_.store(true, std::memory_order_release);
        }
        read_out();
        state_.store(LEFT, std::memory_order_release);
    }
}

bool Partner::wait_for_task() {
    const auto offered = [this] { return state_.load() == OFFERED; };
    const auto until = std::chrono::steady_clock::now() + patience_;
    do {
        for (int i = 0; i < LOOKS_PER_TIME; ++i) {
            if (over_ || offered()) {
                return !over_;
            }
            relax();
        }
    } while (std::chrono::steady_clock::now() < until);
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.store(true);
    wake_.wait(lock, [&] { return over_ || offered(); });
    asleep_.store(false);
    return !over_;
}

Runner::Runner(const Path& path, const Plan& plan, int hop, Partner* partner)
    : path_(&path), plan_(&plan), hop_(hop < plan.n_bins ? hop : 0), partner_(partner),
      scratch_(plan) {
    if (hop_ > 0) {
        last_.resize(static_cast<size_t>(plan.n_bins) * static_cast<size_t>(plan.n_units));
    }
}

bool Runner::infer(const uint8_t* counts, int32_t* factors, int32_t* log_rates) {
    const int first = first_new(counts);
    if (!path_->find(*plan_, counts, first, scratch_)) {
        has_last_ = false;
        return false;
    }
    const Task task = {path_, plan_, &scratch_, first, factors, log_rates};
    if (partner_ != nullptr) {
        partner_->perform(task);
        return true;
    }
    path_->encode(*plan_, 0, first, scratch_);
    path_->encode(*plan_, 1, first, scratch_);
    path_->generate(*plan_, scratch_);
    path_->read_out(*plan_, 0, plan_->n_bins_out, scratch_, factors, log_rates);
    return true;
}

int Runner::first_new(const uint8_t* counts) {
    if (hop_ == 0) {
        return 0;
    }
    const size_t n_units = static_cast<size_t>(plan_->n_units);
    const size_t moved = static_cast<size_t>(hop_) * n_units;
    const bool shares =
        has_last_ && std::memcmp(last_.data() + moved, counts, last_.size() - moved) == 0;
    std::memcpy(last_.data(), counts, last_.size());
    has_last_ = true;
    if (!shares) {
        return 0;
    }
    scratch_.first_row = (scratch_.first_row + hop_) % plan_->n_bins;
    return plan_->n_bins - hop_;
}

} // namespace simd
