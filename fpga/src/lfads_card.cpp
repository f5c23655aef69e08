// Trials on the card: counts in, recurrences, factors and log-rates out.
//
// Processes joined by queues run at the same time. fetch reads bins from both ends, as the two
// directions need them. infer_trial steps: both encoder directions at once, then the maps to the
// generator's first state, then the generator. store writes results while the generator runs.
#include "lfads_mailbox.h"
#include "lfads_project.h"
#include "lfads_read_out.h"

namespace lfads {
namespace {

void fetch(const Block* counts, const Block* window, bool mail, int n_bins, int blocks,
           Rows<UNIT_BLOCKS>& forward, Rows<UNIT_BLOCKS>& backward) {
    for (int bin = 0; bin < n_bins; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        for (int i = 0; i < blocks; ++i) {
#pragma HLS loop_tripcount min = 2 max = 2
#pragma HLS pipeline II = 2
            const int first = bin * blocks + i;
            const int last = (n_bins - 1 - bin) * blocks + i;
            forward.write(mail ? window[first] : counts[first]);
            backward.write(mail ? window[last] : counts[last]);
        }
    }
}

// Bin after bin, factors and then log-rates: to two places of the card's memory, or to one of the
// host's, in the order in which they come.
void store(Rows<FACTOR_BLOCKS>& factor_rows, Rows<RATE_BLOCKS>& rate_rows, Block* factors,
           Block* log_rates, Port& mailbox, const Mail& mail, int n_bins_out, int factor_blocks,
           int rate_blocks, uint32_t& sum) {
    Check check;
#pragma HLS array_partition variable = check.sum complete
#pragma HLS array_partition variable = check.sums complete
    clear(check);
    const int blocks = factor_blocks + rate_blocks;
    if (mail.on) {
        mailbox.write_request(mail.results, static_cast<size_t>(n_bins_out * blocks));
    }
    for (int bin = 0; bin < n_bins_out; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        for (int i = 0; i < blocks; ++i) {
#pragma HLS loop_tripcount min = 6 max = 6
#pragma HLS pipeline II = 1
            const bool factor = i < factor_blocks;
            const Block block = factor ? factor_rows.read() : rate_rows.read();
            if (mail.on) {
                mailbox.write(block);
                add(check, block);
            } else if (factor) {
                factors[bin * factor_blocks + i] = block;
            } else {
                log_rates[bin * rate_blocks + i - factor_blocks] = block;
            }
        }
    }
    if (mail.on) {
        mailbox.write_response();
    }
    sum = folded(check);
}

// Everything between the queues. A pass of the loop is a step of the chain. What stands beside the
// cells in it, the projection of the next bin and the reading out of the last state, neither needs
// their result nor, for usual counts, takes as long.
void infer_trial(const Card& card, int bank, const Settings& s, bool rates,
                 Rows<UNIT_BLOCKS>& forward_rows, Rows<UNIT_BLOCKS>& backward_rows,
                 Rows<FACTOR_BLOCKS>& factors_out, Rows<RATE_BLOCKS>& rates_out) {
    acc_t a[2][ROWS];    // input part of this step's gates
    acc_t next[2][ROWS]; // and of the next's
    acc_t y[2][ROWS];
    int16_t h[2][STATE];
    int16_t g[STATE]; // the generator's state that is read out
#pragma HLS array_partition variable = a dim = 0 complete
#pragma HLS array_partition variable = next dim = 0 complete
#pragma HLS array_partition variable = y dim = 0 complete
#pragma HLS array_partition variable = h dim = 0 complete
#pragma HLS array_partition variable = g complete
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        h[0][j] = card.initial_state[0][bank][j];
        h[1][j] = card.initial_state[1][bank][j];
        g[j] = 0;
    }
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
        next[0][row] = 0;
        next[1][row] = 0;
        y[1][row] = 0;
    }
    const int blocks = count_blocks(s.n_units);
    const int first_map = s.n_bins + 1; // step 0 has nothing but the first bin's projection
    const int first_out = first_map + (s.linear_ic ? 2 : 1);
    const int last = first_out + s.n_bins_out; // has nothing but the last state's reading out
    for (int step = 0; step <= last; ++step) {
#pragma HLS loop_tripcount min = 149 max = 149
        const bool encoding = step < first_map;
        const bool map = first_map <= step && step < first_out;
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
            a[0][row] = encoding ? next[0][row] : card.generator_input[bank][row];
            a[1][row] = next[1][row];
        }
        if (step < s.n_bins) {
            project<0>(card.forward, bank, blocks, forward_rows, next[0]);
            project<1>(card.backward, bank, blocks, backward_rows, next[1]);
        }
        if (step > first_out) {
            read_out(card.factors_weight, card.rates_weight, card.rates_bias, bank, s, g, rates,
                     factors_out, rates_out);
        }
        if (0 < step && step < last) {
            const int slot = encoding ? SLOT_ENCODER : (map ? SLOT_MAPS : SLOT_GENERATOR);
            cell_step(card.cell0, bank * SLOTS[0] + slot, map, encoding ? s.forward : s.generator,
                      s.reset_before, s.smooth, a[0], h[0], y[0]);
        }
        if (0 < step && step <= first_map) {
            const int slot = encoding ? SLOT_ENCODER : SLOT_MAPS;
            cell_step(card.cell1, bank * SLOTS[1] + slot, map, s.backward, s.reset_before, s.smooth,
                      a[1], h[1], y[1]);
        }
        for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
            if (map) { // to the initial condition from both ends, then to the generator
                const bool first = step == first_map;
                const acc_t sum = first ? sum48(y[0][j] + y[1][j]) : y[0][STATE + j];
                const Rounding& rounding = first ? s.ic_rounding : s.initial_rounding;
                h[0][j] = static_cast<int16_t>(clamp(round_shift(sum, rounding), -32768, 32767));
            }
            g[j] = h[0][j];
        }
    }
}

void run_trial(const Card& card, int bank, const Settings& s, const Mail& mail, const Block* window,
               const Block* counts, Block* factors, Block* log_rates, Port& mailbox, bool rates,
               uint32_t& check) {
#pragma HLS dataflow
    Rows<UNIT_BLOCKS> forward_rows;
    Rows<UNIT_BLOCKS> backward_rows;
    Rows<FACTOR_BLOCKS> factors_out;
    Rows<RATE_BLOCKS> rates_out;
#pragma HLS stream variable = forward_rows depth = 32
#pragma HLS stream variable = backward_rows depth = 32
#pragma HLS stream variable = factors_out depth = 16
#pragma HLS stream variable = rates_out depth = 64
    fetch(counts, window, mail.on, s.n_bins, count_blocks(s.n_units), forward_rows, backward_rows);
    infer_trial(card, bank, s, rates, forward_rows, backward_rows, factors_out, rates_out);
    store(factors_out, rates_out, factors, log_rates, mailbox, mail, s.n_bins_out,
          value_blocks(s.n_factors), rates ? value_blocks(s.n_units) : 0, check);
}

} // namespace

void card_run(const Card& card, const Mail& mail, const Block* counts, Block* factors,
              Block* log_rates, Port& mailbox, uint32_t n_trials, bool rates, uint32_t& check) {
    const int bank = card.active;
    const Settings s = card.settings[bank];
    const uint32_t counts_size = static_cast<uint32_t>(s.n_bins * count_blocks(s.n_units));
    const uint32_t factors_size = static_cast<uint32_t>(s.n_bins_out * value_blocks(s.n_factors));
    const uint32_t rates_size = static_cast<uint32_t>(s.n_bins_out * value_blocks(s.n_units));
    for (uint32_t trial = 0; trial < n_trials; ++trial) {
#pragma HLS loop_tripcount min = 1 max = 1
        // Processes of one trial begin while those of the one before still run.
        run_trial(card, bank, s, mail, card.window + mail.window, counts + trial * counts_size,
                  factors + trial * factors_size, log_rates + trial * rates_size, mailbox, rates,
                  check);
    }
}

} // namespace lfads
