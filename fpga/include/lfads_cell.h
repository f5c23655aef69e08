// The chain that decides a trial's time: one product and one update of a GRU cell.
//
// The stages, and what each costs, are counted in docs/fpga.md; fpga/witness/ is the same chain in
// RTL. Padding computes itself to zero: a row without weights has z = 1/2, n = 0 and so h = 0.
#ifndef LFADS_CELL_H
#define LFADS_CELL_H

#include "lfads_align.h"

namespace lfads {

// Sums of a product are kept to the 48 bits of a DSP's accumulator, which the image's writer has
// proven enough; saying so here makes adders and registers no wider.
LFADS_INLINE acc_t sum48(acc_t v) {
    return shift_left(v, 16) >> 16;
}

// A sum of N by halves, so that it is as deep as it must be.
template <int N> struct Tree {
    LFADS_INLINE acc_t sum(const acc_t v[], int first) {
        return Tree<(N + 1) / 2>::sum(v, first) + Tree<N / 2>::sum(v, first + (N + 1) / 2);
    }
};
template <> struct Tree<1> {
    LFADS_INLINE acc_t sum(const acc_t v[], int first) { return v[first]; }
};

// y = W x + b on all multipliers of a cell: REUSE cycles, then the tree over a row's lanes.
template <int SLOT_COUNT>
LFADS_INLINE void cell_product(const CellWeights<SLOT_COUNT>& cell, int place,
                               const int16_t x[STATE], acc_t y[ROWS]) {
#pragma HLS inline
    // Each multiplier adds up its own columns in its own accumulator, so no adder is between two
    // of its products and the loop takes one column a cycle. Columns come to the multipliers by
    // shifting, so that no multiplexer is between a state and them.
    acc_t part[ROWS][LANES];
    int16_t queue[STATE];
#pragma HLS array_partition variable = part dim = 0 complete
#pragma HLS array_partition variable = queue complete
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        queue[j] = x[j];
    }
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
            part[row][lane] = lane == 0 ? cell.bias[place][row] : 0;
        }
    }
    for (int k = 0; k < REUSE; ++k) {
#pragma HLS pipeline II = 1
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
                const int32_t w = cell.weight[place * REUSE + k][row][lane];
                part[row][lane] = sum48(part[row][lane] + w * queue[lane * REUSE]);
            }
        }
        for (int j = 0; j < STATE - 1; ++j) {
#pragma HLS unroll
            queue[j] = queue[j + 1];
        }
    }
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
        y[row] = sum48(Tree<LANES>::sum(part[row], 0));
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

static void shorten(const CellSettings& s, int16_t x[STATE]) {
#pragma HLS inline off
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        x[j] = static_cast<int16_t>(clamp(round_shift(x[j], s.to_byte), -128, 127));
    }
}

// A gate a cycle: three times the shifters would cost more than the cycles are worth.
static void lift(const CellSettings& s, acc_t y[ROWS]) {
#pragma HLS inline off
    for (int gate = 0; gate < 3; ++gate) {
#pragma HLS pipeline II = 1
        for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
            const int row = gate * STATE + j;
            y[row] = shift_left(y[row], gate < 2 ? s.gate.lift : s.candidate.lift);
        }
    }
}

// One product and, unless it is a map's, what a GRU makes of it: h becomes h'. y is the last
// product. The reset-before form goes twice over the same multipliers; so do maps, which is why
// they are here.
template <int SLOT_COUNT>
static void cell_step(const CellWeights<SLOT_COUNT>& cell, int place, bool map,
                      const CellSettings& s, bool reset_before, bool smooth, const Inputs& in,
                      State& h, acc_t y[ROWS]) {
#pragma HLS inline off
    acc_t t[2 * STATE];  // arguments: of z and r, then of n
    acc_t kept[STATE];   // z h, where it is added
    int32_t rest[STATE]; // 1 - z
    acc_t r[STATE];
    int16_t x[STATE];
#pragma HLS array_partition variable = t complete
#pragma HLS array_partition variable = kept complete
#pragma HLS array_partition variable = rest complete
#pragma HLS array_partition variable = r complete
#pragma HLS array_partition variable = x complete
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        x[j] = h.of[j];
        kept[j] = 0;
        rest[j] = 0;
        r[j] = 0;
    }
    const int passes = reset_before && !map ? 2 : 1;
    for (int pass = 0; pass < passes; ++pass) {
#pragma HLS loop_tripcount min = 1 max = 2
        if (s.bytes && !map) {
            shorten(s, x);
        }
        cell_product(cell, place, x, y);
        if (map) {
            return;
        }
        if (s.lifts) {
            lift(s, y);
        }
        if (pass == 0) {
            for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
                t[j] = argument(s.gate, y[j] + in.z.of[j], in.exact[j]);
                t[STATE + j] = argument(s.gate, y[STATE + j] + in.r.of[j], in.exact[STATE + j]);
            }
            if (smooth) {
                look_up(t);
            }
            for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
                const int32_t z = static_cast<int32_t>(as_gate(t[j]));
                r[j] = as_gate(t[STATE + j]);
                x[j] = reset_state(r[j], h.of[j]);
                // While n is made.
                kept[j] = shift_left(z * static_cast<acc_t>(h.of[j]), s.state_left) + s.state_half;
                rest[j] = 65536 - z;
            }
        }
    }
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        const acc_t c = y[2 * STATE + j];
        const acc_t sum = (reset_before ? c : r[j] * c) + in.n.of[j];
        t[j] = argument(s.candidate, sum, in.exact[2 * STATE + j]);
    }
    if (smooth) {
        look_up(t); // of which the half is of no use here
    }
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        const acc_t n = as_candidate(t[j]);
        const acc_t state = dropped(rest[j] * n + kept[j], s.state_drop, s.state_mask, true);
        h.of[j] = static_cast<int16_t>(clamp(state, s.low, s.high));
    }
}

} // namespace lfads

#endif
