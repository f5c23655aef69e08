// Trials on the card: counts in, recurrences, factors and log-rates out.
//
// Processes joined by queues run at the same time. fetch reads bins from both ends, as the two
// directions need them; project and align make input parts of them, as many bins ahead as the
// queues are deep; recur steps; factors and log-rates are made and stored while the generator runs.
#include "lfads_chain.h"
#include "lfads_mailbox.h"
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

void run_trial(const Card& card, int bank, const Settings& s, const Mail& mail, const Block* window,
               const Block* counts, Block* factors, Block* log_rates, Port& mailbox, bool rates,
               uint32_t& check) {
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
    fetch(counts, window, mail.on, s.n_bins, count_blocks(s.n_units), forward_rows, backward_rows);
    const int blocks = count_blocks(s.n_units);
    project<0>(card.forward, bank, blocks, s.n_bins, forward_rows, forward_parts);
    project<1>(card.backward, bank, blocks, s.n_bins, backward_rows, backward_parts);
    align<0>(s.forward, s.n_bins, forward_parts, forward_inputs, forward_exact);
    align<1>(s.backward, s.n_bins, backward_parts, backward_inputs, backward_exact);
    recur(card.cell0, card.cell1, card.initial_state, card.generator_input, bank, s, forward_inputs,
          forward_exact, backward_inputs, backward_exact, states);
    read_factors(card.factors_weight, bank, s, states, factors_out, factor_values, rates);
    read_rates(card.rates_weight, card.rates_bias, bank, s, factor_values, rates_out, rates);
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
