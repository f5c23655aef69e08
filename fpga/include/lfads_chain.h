// The steps of a trial, one after the other: what waits for nothing but the state before.
#ifndef LFADS_CHAIN_H
#define LFADS_CHAIN_H

#include "lfads_cell.h"
#include "lfads_project.h"

namespace lfads {

LFADS_INLINE Inputs next_inputs(Parts& parts, Fifo<Exact, MAX_BINS>& exact) {
#pragma HLS inline
    Inputs in;
    in.z = parts.z.read();
    in.r = parts.r.read();
    in.n = parts.n.read();
    const Exact flags = exact.read();
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
        in.exact[row] = flags.of[row];
    }
    return in;
}

// Both encoder directions at once, then the maps from their ends to the generator's first state,
// then the generator. A pass of the loop is a step of both cells.
static void recur(const CellWeights<SLOTS[0]>& cell0, const CellWeights<SLOTS[1]>& cell1,
                  const int16_t initial_state[2][BANKS][STATE], const Inputs generator_input[BANKS],
                  int bank, const Settings& s, Parts& forward, Fifo<Exact, MAX_BINS>& forward_exact,
                  Parts& backward, Fifo<Exact, MAX_BINS>& backward_exact,
                  Fifo<State, MAX_BINS>& states) {
#pragma HLS inline off
    Inputs in[2] = {};
    acc_t y[2][ROWS] = {};
    State h[2];
#pragma HLS array_partition variable = in dim = 0 complete
#pragma HLS array_partition variable = y dim = 0 complete
#pragma HLS array_partition variable = h dim = 0 complete
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        h[0].of[j] = initial_state[0][bank][j];
        h[1].of[j] = initial_state[1][bank][j];
    }
    const int first_out = s.n_bins + (s.linear_ic ? 2 : 1);
    const int last = first_out + s.n_bins_out;
    for (int step = 0; step < last; ++step) {
#pragma HLS loop_tripcount min = 147 max = 147
        const bool encoding = step < s.n_bins;
        const bool map = !encoding && step < first_out;
        const int slot = encoding ? SLOT_ENCODER : (map ? SLOT_MAPS : SLOT_GENERATOR);
        if (encoding) {
            in[0] = next_inputs(forward, forward_exact);
            in[1] = next_inputs(backward, backward_exact);
        } else {
            in[0] = generator_input[bank];
        }
        cell_step(cell0, bank * SLOTS[0] + slot, map, encoding ? s.forward : s.generator,
                  s.reset_before, s.smooth, in[0], h[0], y[0]);
        if (step <= s.n_bins) {
            cell_step(cell1, bank * SLOTS[1] + slot, map, s.backward, s.reset_before, s.smooth,
                      in[1], h[1], y[1]);
        }
        if (map) { // to the initial condition from both ends, then to the generator
            const bool first = step == s.n_bins;
            const Rounding& rounding = first ? s.ic_rounding : s.initial_rounding;
            for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
                const acc_t sum = first ? sum48(y[0][j] + y[1][j]) : y[0][STATE + j];
                h[0].of[j] = static_cast<int16_t>(clamp(round_shift(sum, rounding), -32768, 32767));
            }
        } else if (!encoding) {
            states.write(h[0]);
        }
    }
}

} // namespace lfads

#endif
