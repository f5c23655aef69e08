// A loaded model as a CPU computes with it; the card keeps it to fill its lanes from
// (lfads_card.h).
//
// Weights are flat arrays: element (row, column) is at row * stride + column, and the stride is a
// multiple of 32. Columns beyond a matrix' own are zero.
#ifndef LFADS_BANKS_H
#define LFADS_BANKS_H

#include "lfads_config.h"

#include <cstdint>

namespace lfads {

// Exact sums. 48 bits are enough for every affine map and 63 for the sums before an activation:
// bci_lfads/models/image.py proves it for each model.
typedef int64_t acc_t;

constexpr int ROW = 32; // int16 a matrix row is padded to (64 bytes)
constexpr int MAX_UNITS = LFADS_MAX_UNITS;
constexpr int MAX_BINS = LFADS_MAX_BINS;
constexpr int MAX_HIDDEN = LFADS_MAX_HIDDEN;
constexpr int MAX_FACTORS = LFADS_MAX_FACTORS;

constexpr int padded(int columns) {
    return (columns + ROW - 1) / ROW * ROW;
}

constexpr int PADDED_HIDDEN = padded(MAX_HIDDEN);
constexpr int PADDED_STATES = padded(2 * MAX_HIDDEN);
constexpr int PADDED_GATES = padded(3 * MAX_HIDDEN);
constexpr int PADDED_UNITS = padded(MAX_UNITS);

// Multiplication by 2^-n, rounded to nearest with ties to even, without a branch on n.
struct Rounding {
    int left;
    int right;
    acc_t offset; // 2^(right - 1) - 1, or 0
    acc_t odd;    // 1, or 0 where nothing is shifted right
};

// W x + b with W row-major and int16 inputs.
template <int ROWS, int COLUMNS> struct Affine {
    int rows;
    int columns;
    int stride;
    // Columns whose sum fits 32 bits whatever the counts: 64, 32, 16, or 0 for none. A CPU
    // computes in blocks of that length; a card has 48-bit accumulators and ignores it.
    int block;
    Rounding rounding;
    int16_t weight[ROWS * padded(COLUMNS)];
    acc_t bias[ROWS];
};

// Everything that a step of a GRU needs beside its weights.
struct GruSettings {
    // Whether a state is rounded to 8 bits before it enters a product, and how.
    bool bytes;
    Rounding to_byte;
    int gate_input_left; // alignment of input and recurrent parts
    int gate_recurrent_left;
    int candidate_input_left;
    int candidate_recurrent_left;
    Rounding gate_rounding;
    Rounding candidate_rounding;
    int state_left; // 15 less the state's point
    Rounding state_rounding;
    int32_t low; // limits of a state after a step
    int32_t high;
};

struct Gru : GruSettings {
    Affine<3 * MAX_HIDDEN, MAX_HIDDEN> recurrent; // rows z, r, n
};

struct Encoder {
    // Input weights are input-major: what a spike of one unit adds to all gates is contiguous.
    int gates_stride;
    int16_t input_weight[MAX_UNITS * PADDED_GATES];
    acc_t input_bias[PADDED_GATES];
    int16_t initial_state[PADDED_HIDDEN];
    Gru gru;
};

struct Banks {
    bool loaded;
    int n_units;
    int n_bins;
    int n_bins_out;
    int encoder_size;
    int ic_size;
    int generator_size;
    int n_factors;
    bool reset_before;
    bool smooth;
    bool linear_ic;

    Encoder forward;
    Encoder backward;
    Affine<MAX_HIDDEN, 2 * MAX_HIDDEN> ic;
    Affine<MAX_HIDDEN, MAX_HIDDEN> initial;
    acc_t generator_input[3 * MAX_HIDDEN];
    Gru generator;
    Affine<MAX_FACTORS, MAX_HIDDEN> factors;
    // Factor-major: few columns, many rows.
    int rates_stride;
    Rounding rates_rounding;
    int16_t rates_weight[MAX_FACTORS * PADDED_UNITS];
    acc_t rates_bias[PADDED_UNITS];
};

} // namespace lfads

#endif
