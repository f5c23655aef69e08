// The chain that decides a trial's time: one product and one update of a GRU cell.
//
// The stages, and what each costs, are counted in docs/fpga.md; fpga/witness/ is the same chain in
// RTL. Padding computes itself to zero: a row without weights has z = 1/2, n = 0 and so h = 0.
#ifndef LFADS_CELL_H
#define LFADS_CELL_H

#include "lfads_arith.h"
#include "lfads_card.h"

namespace lfads {

// Sums of a product are kept to the 48 bits of a DSP's accumulator, which the image's writer has
// proven enough; saying so here makes adders and registers no wider.
LFADS_INLINE acc_t sum48(acc_t v) {
    return shift_left(v, 16) >> 16;
}

// y = W x + b on all multipliers of a cell: REUSE cycles, then the tree over a row's lanes.
template <int SLOT_COUNT>
static void cell_product(const CellWeights<SLOT_COUNT>& cell, int place, const int16_t x[STATE],
                         acc_t y[ROWS]) {
#pragma HLS inline off
    // Each multiplier adds up its own columns in its own accumulator, so no adder is between two
    // of its products and the loop takes one column a cycle.
    acc_t part[ROWS][LANES];
#pragma HLS array_partition variable = part dim = 0 complete
    for (int k = 0; k < REUSE; ++k) {
#pragma HLS pipeline II = 1
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
                const int32_t w = cell.weight[place * REUSE + k][row][lane];
                const acc_t before = k == 0 ? acc_t{0} : part[row][lane];
                part[row][lane] = sum48(before + w * x[lane * REUSE + k]);
            }
        }
    }
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
        acc_t sum = cell.bias[place][row];
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
            sum = sum48(sum + part[row][lane]);
        }
        y[row] = sum;
    }
}

// Functions of their own, so that a model with hard activations or products of 16 bits does not
// pass through the stages that it has no use for.

static void look_up(acc_t t[2 * STATE]) {
#pragma HLS inline off
#pragma HLS pipeline
    for (int j = 0; j < 2 * STATE; ++j) {
#pragma HLS unroll
        t[j] = table_tanh(t[j]);
    }
}

static void shorten(const GruSettings& gru, int16_t x[STATE]) {
#pragma HLS inline off
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        x[j] = to_byte(gru, x[j]);
    }
}

// One product and, unless it is a map's, what a GRU makes of it: h becomes h'. y is the last
// product. The reset-before form goes twice over the same multipliers; so do maps, which is why
// they are here.
template <int SLOT_COUNT>
static void cell_step(const CellWeights<SLOT_COUNT>& cell, int place, bool map,
                      const GruSettings& gru, bool reset_before, bool smooth, const acc_t a[ROWS],
                      int16_t h[STATE], acc_t y[ROWS]) {
#pragma HLS inline off
    acc_t t[2 * STATE]; // arguments: of z and r, then of n
    acc_t z[STATE];
    acc_t r[STATE];
    int16_t x[STATE];
#pragma HLS array_partition variable = t complete
#pragma HLS array_partition variable = z complete
#pragma HLS array_partition variable = r complete
#pragma HLS array_partition variable = x complete
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        x[j] = h[j];
        z[j] = 0;
        r[j] = 0;
    }
    const int passes = reset_before && !map ? 2 : 1;
    for (int pass = 0; pass < passes; ++pass) {
#pragma HLS loop_tripcount min = 1 max = 2
        if (gru.bytes && !map) {
            shorten(gru, x);
        }
        cell_product(cell, place, x, y);
        if (map) {
            return;
        }
        if (pass == 0) {
            for (int j = 0; j < 2 * STATE; ++j) {
#pragma HLS unroll
                t[j] = gate_argument(gru, a[j], y[j]);
            }
            if (smooth) {
                look_up(t);
            }
            for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
                z[j] = as_gate(t[j]);
                r[j] = as_gate(t[STATE + j]);
                x[j] = reset_state(r[j], h[j]);
            }
        }
    }
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        const acc_t c = y[2 * STATE + j];
        t[j] = candidate_argument(gru, a[2 * STATE + j], reset_before ? c : r[j] * c);
    }
    if (smooth) {
        look_up(t); // of which the half is of no use here
    }
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        h[j] = next_state(gru, z[j], as_candidate(t[j]), h[j]);
    }
}

} // namespace lfads

#endif
