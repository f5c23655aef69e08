// Factors and log-rates of one state on the card.
#ifndef LFADS_READ_OUT_H
#define LFADS_READ_OUT_H

#include "lfads_cell.h"
#include "lfads_fifo.h"

namespace lfads {

LFADS_INLINE int32_t output(acc_t sum, const Rounding& rounding) {
    constexpr acc_t LIMIT = (1 << 23) - 1;
    return static_cast<int32_t>(clamp(round_shift(sum, rounding), -LIMIT, LIMIT));
}

struct FactorValues {
    int32_t of[FACTORS];
};

// One factor a cycle, of each state that comes.
static void read_factors(const int16_t weight[BANKS * FACTORS][STATE], int bank, const Settings& s,
                         Fifo<State, MAX_BINS>& states, Fifo<Block, MAX_BINS * FACTOR_BLOCKS>& out,
                         Fifo<FactorValues, MAX_BINS>& to_rates, bool rates) {
#pragma HLS inline off
    for (int bin = 0; bin < s.n_bins_out; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        const State g = states.read();
        FactorValues f = {};
#pragma HLS array_partition variable = f.of complete
        for (int i = 0; i < s.n_factors; ++i) {
#pragma HLS loop_tripcount min = 4 max = 4
#pragma HLS pipeline II = 1
            acc_t sum = 0;
            for (int k = 0; k < STATE; ++k) {
#pragma HLS unroll
                sum = sum48(sum + static_cast<int32_t>(weight[bank * FACTORS + i][k]) * g.of[k]);
            }
            f.of[i] = output(sum, s.factors_rounding);
        }
        for (int b = 0; b < value_blocks(s.n_factors); ++b) {
#pragma HLS loop_tripcount min = 1 max = 1
#pragma HLS pipeline II = 1
            Block block;
            for (int lane = 0; lane < BLOCK_WORDS; ++lane) {
#pragma HLS unroll
                block.word[lane] = static_cast<uint32_t>(f.of[b * BLOCK_WORDS + lane]);
            }
            out.write(block);
        }
        if (rates) {
            to_rates.write(f);
        }
    }
}

// A block of units a cycle.
static void read_rates(const int16_t weight[BANKS * RATE_BLOCKS][FACTORS][BLOCK_WORDS],
                       const acc_t bias[BANKS * RATE_BLOCKS][BLOCK_WORDS], int bank,
                       const Settings& s, Fifo<FactorValues, MAX_BINS>& from_factors,
                       Fifo<Block, MAX_BINS * RATE_BLOCKS>& out, bool rates) {
#pragma HLS inline off
    for (int bin = 0; rates && bin < s.n_bins_out; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        const FactorValues f = from_factors.read();
        for (int b = 0; b < value_blocks(s.n_units); ++b) {
#pragma HLS loop_tripcount min = 5 max = 5
#pragma HLS pipeline II = 1
            const int place = bank * RATE_BLOCKS + b;
            Block block;
            for (int lane = 0; lane < BLOCK_WORDS; ++lane) {
#pragma HLS unroll
                acc_t sum = bias[place][lane];
                for (int i = 0; i < FACTORS; ++i) {
#pragma HLS unroll
                    sum = sum48(sum + static_cast<acc_t>(f.of[i]) * weight[place][i][lane]);
                }
                const bool inside = b * BLOCK_WORDS + lane < s.n_units;
                block.word[lane] =
                    inside ? static_cast<uint32_t>(output(sum, s.rates_rounding)) : 0u;
            }
            out.write(block);
        }
    }
}

} // namespace lfads

#endif
