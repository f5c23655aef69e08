// The ways in which this build computes a window, and which of them this processor can take.
#ifndef LFADS_SIMD_PATHS_H
#define LFADS_SIMD_PATHS_H

#include "plan.h"

#include <vector>

// Before a loop over vectors that are to stay in registers: GCC decides too late by itself.
#define UNROLLED _Pragma("GCC unroll 16")
// For what a step consists of: what is kept in registers is decided for a step as a whole.
#define INLINED [[gnu::always_inline]] inline

namespace simd {

// What a recurrence works on.
struct Workplace {
    Buffer<double> sums, update, state_values;
    Buffer<int16_t> state, reset_state, high_bytes, low_bytes;
    // A state and a reset state, rounded to 8 bits, for products of those.
    Buffer<int16_t> rounded, reset_rounded;
    Buffer<uint8_t> bytes, reset_bytes; // 128 more
};

// Lanes of units of a bin of which one fired, and all the bin's spikes.
struct Fired {
    int lanes;
    int64_t spikes;
};

// What a window works on; made once for a plan, so that a window allocates nothing.
struct Scratch {
    explicit Scratch(const Plan& plan);

    Buffer<uint8_t> row;
    // Of all new bins, one after the other: pairs (or fours, for products of bytes) of units of
    // which one fired, and their counts.
    Buffer<int32_t> fired, fired_counts;
    Buffer<int32_t> bin_begin;
    int64_t most_spikes = 0; // in one of these bins
    // Input parts of both directions: a ring of bins, so that a window that moves on keeps them.
    Buffer<int32_t> inputs[2];
    int first_row = 0; // of the window's first bin
    Workplace work[2]; // of each direction; the generator takes the first
    Buffer<int16_t> ends, ic;
    Buffer<double> ic_values, factor_values;
    Buffer<int16_t> generated; // the generator's states: the first, then those of the bins
    int n_generated = 0;       // bins whose state is there; atomic, for who reads out meanwhile
};

// The stages of a window, compiled for some processors.
struct Path {
    const char* name;
    int height;     // rows that it sums at a time
    bool has_bytes; // whether it has instructions for products of bytes
    // Finds who fired in the bins from `first` on; false where a bin has too many spikes for
    // exact 32-bit sums.
    bool (*find)(const Plan& plan, const uint8_t* counts, int first, Scratch& scratch);
    // One direction; the input parts of the bins before `first` are there already.
    void (*encode)(const Plan& plan, int side, int first, Scratch& scratch);
    void (*generate)(const Plan& plan, Scratch& scratch);
    // Factors and log-rates (unless null) of the bins from `first` to before `last`.
    void (*read_out)(const Plan& plan, int first, int last, Scratch& scratch, int32_t* factors,
                     int32_t* log_rates);
    // For measuring what this processor can do at most: products of weights of `n` int16 with one
    // input, and float64 multiply-adds; each returns how many instructions it took, and adds what
    // it computed to `kept`, so that it is computed.
    int64_t (*dots)(const int16_t* weights, int64_t n, int64_t* kept);
    int64_t (*fmas)(int64_t n, int64_t* kept);
};

// Those of this build that this processor can take, the fastest first.
std::vector<const Path*> paths();

} // namespace simd

#endif
