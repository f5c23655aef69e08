// A plan at work: one window at a time, by the caller's thread or with a partner's help.
#ifndef LFADS_SIMD_RUNNER_H
#define LFADS_SIMD_RUNNER_H

#include "paths.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace simd {

// What is to be done of a window once it is known who fired.
struct Task {
    const Path* path;
    const Plan* plan;
    Scratch* scratch;
    int first; // bin from which on input parts are new
    int32_t* factors;
    int32_t* log_rates;
};

// A second thread that takes the backward direction and reads out what the generator has made.
//
// It looks out for tasks for as long as its patience lasts after each one, then sleeps. Nobody
// depends on it: what it has not begun when it is needed, the asking thread does itself.
class Partner {
  public:
    explicit Partner(std::chrono::microseconds patience);
    ~Partner();
    Partner(const Partner&) = delete;
    Partner& operator=(const Partner&) = delete;

    // Do a task together. One thread at a time may ask.
    void perform(const Task& task);

  private:
    enum State : int { IDLE, OFFERED, JOINED, LEFT };

    void run();
    bool wait_for_task();
    void read_out();
    bool take_backward() { return !backward_taken_.exchange(true, std::memory_order_acq_rel); }

    const std::chrono::microseconds patience_;
    Task task_ = {};
    std::atomic<State> state_{IDLE};
    std::atomic<bool> backward_taken_{false};
    std::atomic<bool> backward_done_{false};
    std::atomic<int> next_block_{0};
    std::atomic<bool> asleep_{false};
    std::atomic<bool> over_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::thread thread_;
};

// Windows of one plan; keeps of the last one what the next one shares with it.
class Runner {
  public:
    // `hop` is by how many bins windows move on, 0 where they have nothing in common.
    Runner(const Path& path, const Plan& plan, int hop, Partner* partner);

    // As lfads::infer. False, with nothing written that counts, where a bin has too many spikes.
    bool infer(const uint8_t* counts, int32_t* factors, int32_t* log_rates);

  private:
    // The bin from which on this window differs from the last one moved on; 0 if it does at once.
    int first_new(const uint8_t* counts);

    const Path* path_;
    const Plan* plan_;
    const int hop_;
    Partner* const partner_;
    Scratch scratch_;
    Buffer<uint8_t> last_; // counts
    bool has_last_ = false;
};

} // namespace simd

#endif
