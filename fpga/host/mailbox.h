// The host's side of the mailbox (../include/lfads_mailbox.h): post windows, wait, take results.
//
// One thread at a time. Nothing is allocated after construction. What the other side must see
// before a number is written before it, and the number with release; what it wrote is read after
// its number was read with acquire.
#ifndef LFADS_HOST_MAILBOX_H
#define LFADS_HOST_MAILBOX_H

#include "lfads_mailbox.h"
#include "lfads_port.h"

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace lfads_host {

using lfads::Block;

enum class Outcome {
    ANSWERED = 0, // the reply is there and whole; its status may still be a refusal
    LATE = 1,     // no reply in time, though the card beats
    SILENT = 2,   // neither a reply nor a beat in time
    ENDED = 3,    // the card says that it serves no more
    TORN = 4,     // a reply whose checksum stayed wrong
};

struct Sizes {
    int n_units;
    int n_bins;
    int n_bins_out;
    int n_factors;
    uint32_t model; // checksum of its image
};

class Mailbox {
  public:
    // `memory`, of size_of(sizes) bytes, starts on 64 and is the card's to read and write. Windows
    // of which `hop` bins are new are sent as these alone; 0 sends all bins always.
    Mailbox(void* memory, const Sizes& sizes, int hop)
        : blocks_(static_cast<Block*>(memory)), sizes_(sizes), hop_(hop), rows_(rows_of(sizes)),
          last_(window_size(sizes)) {}

    static size_t size_of(const Sizes& sizes) {
        return static_cast<size_t>(lfads::mailbox_blocks(rows_of(sizes))) * sizeof(Block);
    }

    // Write the orders for a run of the kernel that is not started yet. `epoch` is any number but 0
    // that the last runs did not have. Requests that were not answered yet are the new run's.
    void begin(uint32_t epoch, uint32_t beat, uint32_t idle) {
        epoch_ = epoch;
        sent_ = false;
        for (uint32_t slot = 0; slot < lfads::MAIL_SLOTS; ++slot) {
            put(lfads::REPLY_AT + slot, Block{});
        }
        put(lfads::BEAT_AT, Block{});
        for (uint32_t number = answered_ + 1; number != posted_ + 1; ++number) {
            Block head = get(lfads::REQUEST_AT + number % lfads::MAIL_SLOTS);
            head.word[lfads::REQUEST_EPOCH] = epoch;
            head.word[lfads::REQUEST_CHECK] = lfads::block_check(head, lfads::REQUEST_CHECK);
            put(lfads::REQUEST_AT + number % lfads::MAIL_SLOTS, head);
        }
        Block order = {};
        order.word[lfads::ORDER_MAGIC] = lfads::MAILBOX_MAGIC;
        order.word[lfads::ORDER_VERSION] = lfads::MAILBOX_VERSION;
        order.word[lfads::ORDER_EPOCH] = epoch;
        order.word[lfads::ORDER_POSTED] = posted_;
        order.word[lfads::ORDER_FIRST] = answered_;
        order.word[lfads::ORDER_BEAT] = beat;
        order.word[lfads::ORDER_IDLE] = idle;
        order.word[lfads::ORDER_MODEL] = sizes_.model;
        order.word[lfads::ORDER_COUNT_ROWS] = rows_.counts;
        order.word[lfads::ORDER_RESULT_ROWS] = rows_.results;
        order.word[lfads::LAST_WORD] = posted_;
        put(lfads::ORDER_AT, order);
    }

    // Go on with a copy of the memory.
    void move_to(void* memory) { blocks_ = static_cast<Block*>(memory); }

    // Before `begin`: forget all requests and count on from a number.
    void count_from(uint32_t number) { posted_ = answered_ = number; }

    // Order the run to end.
    void stop() { lfads::store_word(blocks_[lfads::ORDER_AT].word[lfads::ORDER_STOP], 1); }

    // Whether there is room for a request: at most MAIL_SLOTS wait for `take`.
    bool room() const { return posted_ - answered_ < lfads::MAIL_SLOTS; }

    // Post a window, (n_bins, n_units), and return its number. `whole` sends all its bins even if
    // the card has some.
    uint32_t post(const uint8_t* counts, bool rates, bool whole = false) {
        const uint32_t number = posted_ + 1;
        const uint32_t slot = number % lfads::MAIL_SLOTS;
        const size_t units = static_cast<size_t>(sizes_.n_units);
        const size_t moved = static_cast<size_t>(hop_) * units;
        const bool follows = !whole && hop_ > 0 && hop_ < sizes_.n_bins && sent_ &&
                             std::memcmp(last_.data() + moved, counts, last_.size() - moved) == 0;
        const int bins = follows ? hop_ : sizes_.n_bins;
        const int first = sizes_.n_bins - bins;
        const int width = lfads::count_blocks(sizes_.n_units);
        Block* rows = blocks_ + lfads::counts_at(rows_, slot);
        lfads::Check check;
        lfads::clear(check);
        for (int bin = 0; bin < bins; ++bin) {
            Block* row = rows + bin * width;
            row[width - 1] = Block{}; // the padding
            std::memcpy(row, counts + static_cast<size_t>(first + bin) * units, units);
            for (int i = 0; i < width; ++i) {
                lfads::add(check, row[i]);
            }
        }
        Block head = {};
        head.word[lfads::REQUEST_NUMBER] = number;
        head.word[lfads::REQUEST_KIND] = follows ? lfads::KIND_BINS : lfads::KIND_WINDOW;
        head.word[lfads::REQUEST_EPOCH] = epoch_;
        head.word[lfads::REQUEST_BINS] = static_cast<uint32_t>(bins);
        head.word[lfads::REQUEST_RATES] = rates ? 1 : 0;
        head.word[lfads::REQUEST_AFTER] = posted_;
        head.word[lfads::REQUEST_ROWS] = lfads::folded(check);
        head.word[lfads::LAST_WORD] = number;
        head.word[lfads::REQUEST_CHECK] = lfads::block_check(head, lfads::REQUEST_CHECK);
        put(lfads::REQUEST_AT + slot, head);
        if (hop_ > 0) {
            std::memcpy(last_.data(), counts, last_.size());
            sent_ = true;
        }
        posted_ = number;
        ring();
        return number;
    }

    // Wait for the oldest request that was not taken yet: without a break for `spin` seconds, then
    // leaving the processor to others between looks, for `timeout` seconds.
    Outcome wait(double timeout, double spin) {
        const auto began = std::chrono::steady_clock::now();
        const uint32_t number = answered_ + 1;
        const uint32_t beat = beat_number();
        bool torn = false;
        for (uint32_t looks = 1;; ++looks) {
            if (reply_number() == number) {
                if (read_reply(number)) {
                    return Outcome::ANSWERED;
                }
                torn = true;
            }
            if (looks % 32 != 0) {
                relax();
                continue;
            }
            if (ended()) {
                // The reply may have come between the two looks.
                return read_reply(number) ? Outcome::ANSWERED : Outcome::ENDED;
            }
            const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - began;
            if (waited.count() > timeout) {
                return torn                    ? Outcome::TORN
                       : beat_number() != beat ? Outcome::LATE
                                               : Outcome::SILENT;
            }
            if (waited.count() > spin) {
                std::this_thread::yield();
            }
        }
    }

    // Of the reply that `wait` has found.
    uint32_t status() const { return reply_.word[lfads::REPLY_STATUS]; }
    uint32_t cycles() const { return reply_.word[lfads::REPLY_CYCLES]; }
    uint32_t model() const { return reply_.word[lfads::REPLY_MODEL]; }

    // Take its factors (n_bins_out, n_factors) and, unless null, log-rates (n_bins_out, n_units),
    // which must have been asked for; the slot is then free. Null for both takes nothing.
    void take(int32_t* factors, int32_t* log_rates) {
        const uint32_t number = answered_ + 1;
        const Block* row = blocks_ + lfads::results_at(rows_, number % lfads::MAIL_SLOTS);
        const int of_factors = lfads::value_blocks(sizes_.n_factors);
        const int of_rates =
            reply_.word[lfads::REPLY_RATES] != 0 ? lfads::value_blocks(sizes_.n_units) : 0;
        const size_t n_factors = static_cast<size_t>(sizes_.n_factors);
        const size_t n_units = static_cast<size_t>(sizes_.n_units);
        for (int bin = 0; factors != nullptr && bin < sizes_.n_bins_out; ++bin) {
            const size_t at = static_cast<size_t>(bin);
            std::memcpy(factors + at * n_factors, row, n_factors * sizeof(int32_t));
            if (log_rates != nullptr && of_rates > 0) {
                std::memcpy(log_rates + at * n_units, row + of_factors, n_units * sizeof(int32_t));
            }
            row += of_factors + of_rates;
        }
        answered_ = number;
    }

    // The card's sign of life.
    uint32_t beat_number() const {
        return lfads::load_word(blocks_[lfads::BEAT_AT].word[lfads::LAST_WORD]);
    }
    bool serving() const { return phase_is(lfads::PHASE_SERVING); }
    bool ended() const { return phase_is(lfads::PHASE_ENDED); }
    uint32_t reason() const {
        return lfads::load_word(blocks_[lfads::BEAT_AT].word[lfads::BEAT_REASON]);
    }

    uint32_t posted() const { return posted_; }
    uint32_t answered() const { return answered_; }
    const Sizes& sizes() const { return sizes_; }

  private:
    Block* blocks_;
    Sizes sizes_;
    int hop_;
    lfads::MailRows rows_;
    std::vector<uint8_t> last_; // the window that the card was sent last
    bool sent_ = false;
    uint32_t epoch_ = 0;
    uint32_t posted_ = 0;
    uint32_t answered_ = 0;
    Block reply_ = {};

    static lfads::MailRows rows_of(const Sizes& s) {
        return lfads::mail_rows(s.n_units, s.n_bins, s.n_bins_out, s.n_factors);
    }
    static size_t window_size(const Sizes& s) {
        return static_cast<size_t>(s.n_bins) * static_cast<size_t>(s.n_units);
    }

    static void relax() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }

    Block get(uint32_t at) const { return lfads::load_block(blocks_[at]); }
    void put(uint32_t at, const Block& block) { lfads::store_block(blocks_[at], block); }

    // The doorbell: the number in front, then behind.
    void ring() {
        lfads::store_word(blocks_[lfads::ORDER_AT].word[lfads::ORDER_POSTED], posted_);
        lfads::store_word(blocks_[lfads::ORDER_AT].word[lfads::LAST_WORD], posted_);
    }

    bool phase_is(lfads::Phase phase) const {
        const Block beat = get(lfads::BEAT_AT);
        return beat.word[lfads::BEAT_EPOCH] == epoch_ && beat.word[lfads::BEAT_PHASE] == phase &&
               beat.word[lfads::BEAT_NUMBER] == beat.word[lfads::LAST_WORD];
    }

    uint32_t reply_number() const {
        const uint32_t slot = (answered_ + 1) % lfads::MAIL_SLOTS;
        return lfads::load_word(blocks_[lfads::REPLY_AT + slot].word[lfads::LAST_WORD]);
    }

    // Whether the reply with this number and its rows are there and whole.
    bool read_reply(uint32_t number) {
        const uint32_t slot = number % lfads::MAIL_SLOTS;
        reply_ = get(lfads::REPLY_AT + slot);
        if (reply_.word[lfads::REPLY_NUMBER] != number || reply_.word[lfads::LAST_WORD] != number ||
            reply_.word[lfads::REPLY_EPOCH] != epoch_ ||
            reply_.word[lfads::REPLY_CHECK] != lfads::block_check(reply_, lfads::REPLY_CHECK)) {
            return false;
        }
        if (reply_.word[lfads::REPLY_STATUS] != lfads::STATUS_OK) {
            return true; // no rows
        }
        const int of_rates =
            reply_.word[lfads::REPLY_RATES] != 0 ? lfads::value_blocks(sizes_.n_units) : 0;
        const int blocks = sizes_.n_bins_out * (lfads::value_blocks(sizes_.n_factors) + of_rates);
        const Block* row = blocks_ + lfads::results_at(rows_, slot);
        lfads::Check check;
        lfads::clear(check);
        for (int i = 0; i < blocks; ++i) {
            lfads::add(check, row[i]);
        }
        return lfads::folded(check) == reply_.word[lfads::REPLY_ROWS];
    }
};

} // namespace lfads_host

#endif
