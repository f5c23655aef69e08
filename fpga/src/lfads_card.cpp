// Trials on the card: counts in, recurrences, factors and log-rates out.
//
// Processes joined by queues run at the same time. fetch reads bins from both ends, as the two
// directions need them; project and align make input parts of them, as many bins ahead as the
// queues are deep; recur steps; factors and log-rates are made and stored while the generator runs.
#include "lfads_chain.h"
#include "lfads_read_out.h"

namespace lfads {
namespace {

void fetch(const Block* counts, int n_bins, int blocks, Rows<UNIT_BLOCKS>& forward,
           Rows<UNIT_BLOCKS>& backward) {
    for (int bin = 0; bin < n_bins; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        for (int i = 0; i < blocks; ++i) {
#pragma HLS loop_tripcount min = 2 max = 2
#pragma HLS pipeline II = 2
            forward.write(counts[bin * blocks + i]);
            backward.write(counts[(n_bins - 1 - bin) * blocks + i]);
        }
    }
}

template <int CAPACITY> void store(Fifo<Block, CAPACITY>& rows, Block* out, int blocks) {
    for (int i = 0; i < blocks; ++i) {
#pragma HLS loop_tripcount min = 73 max = 365
#pragma HLS pipeline II = 1
        out[i] = rows.read();
    }
}

void run_trial(const Card& card, int bank, const Settings& s, const Block* counts, Block* factors,
               Block* log_rates, bool rates) {
#pragma HLS dataflow
    Rows<UNIT_BLOCKS> forward_rows;
    Rows<UNIT_BLOCKS> backward_rows;
    Parts forward_parts, backward_parts;   // as they are added up
    Parts forward_inputs, backward_inputs; // aligned
    Fifo<Exact, MAX_BINS> forward_exact, backward_exact;
    Fifo<State, MAX_BINS> states;
    Fifo<FactorValues, MAX_BINS> factor_values;
    Rows<FACTOR_BLOCKS> factors_out;
    Rows<RATE_BLOCKS> rates_out;
#pragma HLS stream variable = forward_rows depth = 32
#pragma HLS stream variable = backward_rows depth = 32
#include "lfads_card_queues.h"
#pragma HLS stream variable = factors_out depth = 16
#pragma HLS stream variable = rates_out depth = 64
    fetch(counts, s.n_bins, count_blocks(s.n_units), forward_rows, backward_rows);
    const int blocks = count_blocks(s.n_units);
    project<0>(card.forward, bank, blocks, s.n_bins, forward_rows, forward_parts);
    project<1>(card.backward, bank, blocks, s.n_bins, backward_rows, backward_parts);
    align<0>(s.forward, s.n_bins, forward_parts, forward_inputs, forward_exact);
    align<1>(s.backward, s.n_bins, backward_parts, backward_inputs, backward_exact);
    recur(card.cell0, card.cell1, card.initial_state, card.generator_input, bank, s, forward_inputs,
          forward_exact, backward_inputs, backward_exact, states);
    read_factors(card.factors_weight, bank, s, states, factors_out, factor_values, rates);
    read_rates(card.rates_weight, card.rates_bias, bank, s, factor_values, rates_out, rates);
    store(factors_out, factors, s.n_bins_out * value_blocks(s.n_factors));
    store(rates_out, log_rates, rates ? s.n_bins_out * value_blocks(s.n_units) : 0);
}

} // namespace

void card_run(const Card& card, const Block* counts, Block* factors, Block* log_rates,
              uint32_t n_trials, bool rates) {
    const int bank = card.active;
    const Settings s = card.settings[bank];
    const uint32_t counts_size = static_cast<uint32_t>(s.n_bins * count_blocks(s.n_units));
    const uint32_t factors_size = static_cast<uint32_t>(s.n_bins_out * value_blocks(s.n_factors));
    const uint32_t rates_size = static_cast<uint32_t>(s.n_bins_out * value_blocks(s.n_units));
    for (uint32_t trial = 0; trial < n_trials; ++trial) {
#pragma HLS loop_tripcount min = 1 max = 1
        // Processes of one trial begin while those of the one before still run.
        run_trial(card, bank, s, counts + trial * counts_size, factors + trial * factors_size,
                  log_rates + trial * rates_size, rates);
    }
}

} // namespace lfads
