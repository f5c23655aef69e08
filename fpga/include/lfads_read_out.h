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

// One factor a cycle, then log-rates, a block of units a cycle.
static void read_out(const int16_t factors_weight[BANKS * FACTORS][STATE],
                     const int16_t rates_weight[BANKS * RATE_BLOCKS][FACTORS][BLOCK_WORDS],
                     const acc_t rates_bias[BANKS * RATE_BLOCKS][BLOCK_WORDS], int bank,
                     const Settings& s, const int16_t g[STATE], bool rates,
                     Fifo<Block, MAX_BINS * FACTOR_BLOCKS>& factors_out,
                     Fifo<Block, MAX_BINS * RATE_BLOCKS>& rates_out) {
#pragma HLS inline off
    int32_t f[FACTORS] = {};
#pragma HLS array_partition variable = f complete
    for (int i = 0; i < s.n_factors; ++i) {
#pragma HLS loop_tripcount min = 4 max = 4
#pragma HLS pipeline II = 1
        acc_t sum = 0;
        for (int k = 0; k < STATE; ++k) {
#pragma HLS unroll
            sum = sum48(sum + static_cast<int32_t>(factors_weight[bank * FACTORS + i][k]) * g[k]);
        }
        f[i] = output(sum, s.factors_rounding);
    }
    for (int b = 0; b < value_blocks(s.n_factors); ++b) {
#pragma HLS loop_tripcount min = 1 max = 1
#pragma HLS pipeline II = 1
        Block block;
        for (int lane = 0; lane < BLOCK_WORDS; ++lane) {
#pragma HLS unroll
            block.word[lane] = static_cast<uint32_t>(f[b * BLOCK_WORDS + lane]);
        }
        factors_out.write(block);
    }
    if (!rates) {
        return;
    }
    for (int b = 0; b < value_blocks(s.n_units); ++b) {
#pragma HLS loop_tripcount min = 5 max = 5
#pragma HLS pipeline II = 1
        const int place = bank * RATE_BLOCKS + b;
        Block block;
        for (int lane = 0; lane < BLOCK_WORDS; ++lane) {
#pragma HLS unroll
            acc_t sum = rates_bias[place][lane];
            for (int i = 0; i < FACTORS; ++i) {
#pragma HLS unroll
                sum = sum48(sum + static_cast<acc_t>(f[i]) * rates_weight[place][i][lane]);
            }
            const bool inside = b * BLOCK_WORDS + lane < s.n_units;
            block.word[lane] = inside ? static_cast<uint32_t>(output(sum, s.rates_rounding)) : 0u;
        }
        rates_out.write(block);
    }
}

} // namespace lfads

#endif
