// A kernel in a thread and the host's side of its mailbox, for mailbox_tb.cpp.
#ifndef LFADS_MAILBOX_BENCH_H
#define LFADS_MAILBOX_BENCH_H

#include "../host/mailbox.h"
#include "rows.h"
#include "vectors.h"

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

inline int failures = 0;
inline int checks = 0;

inline void check(bool right, const char* what, const std::string& where) {
    ++checks;
    if (!right) {
        ++failures;
        std::printf("FAIL %s: %s\n", where.c_str(), what);
    }
}

inline lfads_host::Sizes sizes_of(const Case& c) {
    return {static_cast<int>(c.units), static_cast<int>(c.image[5]), static_cast<int>(c.image[6]),
            static_cast<int>(c.n_factors), c.image[3]};
}

class Bench {
  public:
    const Case& vectors;
    const std::string& path;

  private:
    std::vector<lfads::Block> memory_;

  public:
    lfads_host::Mailbox mailbox;
    lfads::Block answer = {};

    Bench(const Case& c, const std::string& p, int hop = 0)
        : vectors(c), path(p), memory_(lfads_host::Mailbox::size_of(sizes_of(c)) / 64),
          mailbox(memory_.data(), sizes_of(c), hop), factors_(size(c.n_factors)),
          log_rates_(size(c.units)) {}
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    int n_bins() const { return static_cast<int>(vectors.image[5]); }
    const uint8_t* counts(uint32_t trial) const {
        return vectors.counts.data() + trial * window_size();
    }

    uint32_t load() {
        lfads_kernel(lfads::COMMAND_LOAD, 1, vectors.image.data(),
                     static_cast<uint32_t>(vectors.image.size()), nullptr, nullptr, nullptr, 0,
                     &answer, nullptr);
        return answer.word[lfads::ANSWER_STATUS];
    }

    // What a run of its own makes of a window: what the mailbox must give, too.
    Case run_whole(const uint8_t* counts_) {
        Case c = vectors;
        c.trials = 1;
        c.counts.assign(counts_, counts_ + window_size());
        c.factors.resize(size(c.n_factors));
        c.log_rates.resize(size(c.units));
        Results results(c, 0);
        const std::vector<lfads::Block> padded = pad_counts(c);
        lfads_kernel(lfads::COMMAND_RUN, 2, nullptr, 0, padded.data(), results.factors.data(),
                     results.log_rates.data(), 1, &answer, nullptr);
        unpad(results.factors, c.n_factors, c.factors);
        unpad(results.log_rates, c.units, c.log_rates);
        return c;
    }

    void begin(uint32_t idle = 0x7FFFFFFF) { mailbox.begin(++epoch_, 100, idle); }
    void launch() {
        kernel_ = std::thread([this] {
            lfads_kernel(lfads::COMMAND_SERVE, epoch_, nullptr, 0, nullptr, nullptr, nullptr, 0,
                         &answer, memory_.data());
        });
    }
    void start(uint32_t idle = 0x7FFFFFFF) {
        begin(idle);
        launch();
    }
    void join() { kernel_.join(); }
    uint32_t stop() {
        mailbox.stop();
        join();
        return answer.word[lfads::ANSWER_STATUS];
    }

    lfads_host::Outcome await(double timeout = 60) { return mailbox.wait(timeout, 50e-6); }

    // Take the results and compare them with a trial's.
    bool taken_equal(const Case& c, uint32_t trial, bool rates) {
        if (mailbox.status() != lfads::STATUS_OK) {
            return false;
        }
        mailbox.take(factors_.data(), log_rates_.data());
        return same(factors_, c.factors, trial) && (!rates || same(log_rates_, c.log_rates, trial));
    }
    bool taken_equal(uint32_t trial, bool rates) { return taken_equal(vectors, trial, rates); }

    // The memory, word by word, as a program gone wild or a transfer cut short leaves it.
    size_t words() const { return memory_.size() * 16; }
    uint32_t peek(size_t i) const {
        return __atomic_load_n(&memory_[i / 16].word[i % 16], __ATOMIC_ACQUIRE);
    }
    void poke(size_t i, uint32_t value) {
        __atomic_store_n(&memory_[i / 16].word[i % 16], value, __ATOMIC_RELEASE);
    }
    void poke_result(uint32_t value) {
        const size_t slot = (mailbox.answered() + 1) % lfads::MAIL_SLOTS;
        poke(16 * lfads::results_at(rows(), static_cast<uint32_t>(slot)), value);
    }
    const lfads::Block& request() const {
        return memory_[lfads::REQUEST_AT + mailbox.posted() % lfads::MAIL_SLOTS];
    }

    // A request with one word changed before the doorbell rings.
    void spoiled(const uint8_t* counts_, uint32_t word, uint32_t value, bool reseal) {
        half_rung(counts_);
        const size_t at = lfads::REQUEST_AT + mailbox.posted() % lfads::MAIL_SLOTS;
        poke(16 * at + word, value);
        if (reseal) {
            poke(16 * at + lfads::REQUEST_CHECK,
                 lfads::block_check(memory_[at], lfads::REQUEST_CHECK));
        }
        ring();
    }
    // All of a request but the second half of the doorbell. The host's own code rings at once, so
    // it posts to a copy of the memory, which is then brought over.
    void half_rung(const uint8_t* counts_) {
        std::vector<lfads::Block> copy(memory_.size());
        lfads_host::Mailbox apart = mailbox;
        apart.move_to(copy.data());
        apart.post(counts_, true);
        const uint32_t number = mailbox.posted() + 1;
        for (size_t i = 16 * lfads::REQUEST_AT; i < words(); ++i) {
            const size_t slot = number % lfads::MAIL_SLOTS;
            const size_t at = i / 16;
            const size_t first = lfads::counts_at(rows(), static_cast<uint32_t>(slot));
            if (at == lfads::REQUEST_AT + slot || (first <= at && at < first + rows().counts)) {
                poke(i, copy[at].word[i % 16]);
            }
        }
        mailbox = apart;
        mailbox.move_to(memory_.data());
        poke(lfads::ORDER_POSTED, number);
    }
    void ring() { poke(lfads::LAST_WORD, mailbox.posted()); }

  private:
    std::thread kernel_;
    uint32_t epoch_ = 0x1000;
    std::vector<int32_t> factors_;
    std::vector<int32_t> log_rates_;

    lfads::MailRows rows() const {
        const lfads_host::Sizes s = sizes_of(vectors);
        return lfads::mail_rows(s.n_units, s.n_bins, s.n_bins_out, s.n_factors);
    }
    size_t window_size() const { return static_cast<size_t>(vectors.image[5]) * vectors.units; }
    size_t size(uint32_t width) const { return static_cast<size_t>(vectors.image[6]) * width; }

    static bool same(const std::vector<int32_t>& found, const std::vector<int32_t>& all,
                     uint32_t trial) {
        return std::equal(found.begin(), found.end(),
                          all.begin() + static_cast<std::ptrdiff_t>(trial * found.size()));
    }
    static void unpad(const std::vector<lfads::Block>& rows, size_t width,
                      std::vector<int32_t>& values) {
        const size_t blocks = static_cast<size_t>(lfads::value_blocks(static_cast<int>(width)));
        for (size_t row = 0; row < values.size() / width; ++row) {
            std::memcpy(&values[row * width], &rows[row * blocks], width * sizeof(int32_t));
        }
    }
};

#endif
