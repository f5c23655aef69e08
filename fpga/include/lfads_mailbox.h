// The mailbox of a kernel that is started once: its layout in the host's memory, for both sides.
//
// Blocks of 64 bytes: the host's orders, the card's heartbeat, then MAIL_SLOTS requests and
// MAIL_SLOTS replies with their rows behind. Request number s lies in slot s % MAIL_SLOTS; numbers
// count on through 2^32. A block that changes while the other side looks carries its number in its
// first words and again in its last, and requests and replies a checksum over themselves and their
// rows, so that nothing half written is ever taken. docs/fpga.md has the protocol in words.
#ifndef LFADS_MAILBOX_H
#define LFADS_MAILBOX_H

#include "lfads_kernel.h"

namespace lfads {

constexpr uint32_t MAILBOX_MAGIC = 0x424D464C; // "LFMB"
constexpr uint32_t MAILBOX_VERSION = 1;
constexpr uint32_t MAIL_SLOTS = 2;
constexpr uint32_t LAST_WORD = 15; // of every block

// What the host orders. The card ends at once, and writes nothing more, when magic, version or
// epoch are not as at its start: the memory has become someone else's.
enum Order : uint32_t {
    ORDER_MAGIC = 0,
    ORDER_VERSION = 1,
    ORDER_EPOCH = 2,       // of this run of the kernel; in every block that either side writes
    ORDER_POSTED = 3,      // number of the newest request, again in LAST_WORD
    ORDER_STOP = 4,        // not 0: end
    ORDER_FIRST = 5,       // number of the newest request that was answered before the start
    ORDER_BEAT = 6,        // looks without a request from one beat to the next
    ORDER_IDLE = 7,        // looks without a request after which the kernel ends by itself
    ORDER_MODEL = 8,       // checksum of the model that the rows are for
    ORDER_COUNT_ROWS = 9,  // blocks of rows of a request
    ORDER_RESULT_ROWS = 10 // and of a reply
};

// The card's sign of life.
enum Beat : uint32_t {
    BEAT_MAGIC = 0,
    BEAT_VERSION = 1,
    BEAT_EPOCH = 2,
    BEAT_NUMBER = 3, // again in LAST_WORD
    BEAT_PHASE = 4,
    BEAT_REASON = 5, // a Status: why it ended
    BEAT_SERVED = 6, // number of the newest request that was answered
    BEAT_MODEL = 7   // checksum of the model in use
};
enum Phase : uint32_t { PHASE_NONE = 0, PHASE_SERVING = 1, PHASE_ENDED = 2 };

enum Request : uint32_t {
    REQUEST_NUMBER = 0, // again in LAST_WORD
    REQUEST_KIND = 1,
    REQUEST_EPOCH = 2,
    REQUEST_BINS = 3, // rows that come
    REQUEST_RATES = 4,
    REQUEST_AFTER = 5, // newest bins: number of the request whose window they follow
    REQUEST_ROWS = 6,  // checksum of the rows
    REQUEST_CHECK = 7  // of this block, taken with 0 here
};
enum Kind : uint32_t {
    KIND_WINDOW = 1, // all bins of a window
    KIND_BINS = 2    // the newest bins; the card has those before
};

enum Reply : uint32_t {
    REPLY_NUMBER = 0, // again in LAST_WORD
    REPLY_STATUS = 1,
    REPLY_EPOCH = 2,
    REPLY_CYCLES = 3,
    REPLY_MODEL = 4,
    REPLY_RATES = 5, // whether log-rates stand in the rows
    REPLY_ROWS = 6,  // checksum of the rows
    REPLY_CHECK = 7  // of this block, taken with 0 here
};

// A position-dependent sum of blocks in 16 lanes: a word changed, lost, doubled or in another's
// place shows. A cycle a block on the card, a few vector instructions on the host.
struct Check {
    uint32_t sum[BLOCK_WORDS];
    uint32_t sums[BLOCK_WORDS];
};

inline void clear(Check& check) {
    for (int i = 0; i < BLOCK_WORDS; ++i) {
#pragma HLS unroll
        check.sum[i] = 0;
        check.sums[i] = 0;
    }
}

inline void add(Check& check, const Block& block) {
    for (int i = 0; i < BLOCK_WORDS; ++i) {
#pragma HLS unroll
        check.sum[i] += block.word[i];
        check.sums[i] += check.sum[i];
    }
}

inline uint32_t rotated(uint32_t v, int n) {
    return n == 0 ? v : (v << n) | (v >> (32 - n));
}

inline uint32_t folded(const Check& check) {
    uint32_t all = MAILBOX_MAGIC;
    for (int i = 0; i < BLOCK_WORDS; ++i) {
#pragma HLS unroll
        all += rotated(check.sum[i], i) ^ rotated(check.sums[i], 31 - i);
    }
    return all;
}

// Of one block, its word `at` taken as 0.
inline uint32_t block_check(const Block& block, uint32_t at) {
    Check check;
    Block without = block;
    clear(check);
    without.word[at] = 0;
    add(check, without);
    return folded(check);
}

// Where things lie, in blocks from the mailbox' beginning.
constexpr uint32_t ORDER_AT = 0;
constexpr uint32_t BEAT_AT = 1;
constexpr uint32_t REQUEST_AT = 2; // and the slot
constexpr uint32_t REPLY_AT = REQUEST_AT + MAIL_SLOTS;
constexpr uint32_t ROWS_AT = REPLY_AT + MAIL_SLOTS;

// Of a model: count_rows are those of a window, result_rows factors and then log-rates of every
// bin out, bin after bin; without log-rates the bins lie closer.
struct MailRows {
    uint32_t counts;
    uint32_t results;
};

inline MailRows mail_rows(int n_units, int n_bins, int n_bins_out, int n_factors) {
    MailRows rows;
    rows.counts = static_cast<uint32_t>(n_bins * count_blocks(n_units));
    rows.results =
        static_cast<uint32_t>(n_bins_out * (value_blocks(n_factors) + value_blocks(n_units)));
    return rows;
}
inline uint32_t counts_at(const MailRows& rows, uint32_t slot) {
    return ROWS_AT + slot * rows.counts;
}
inline uint32_t results_at(const MailRows& rows, uint32_t slot) {
    return ROWS_AT + MAIL_SLOTS * rows.counts + slot * rows.results;
}
inline uint32_t mailbox_blocks(const MailRows& rows) {
    return results_at(rows, MAIL_SLOTS);
}

} // namespace lfads

#endif
