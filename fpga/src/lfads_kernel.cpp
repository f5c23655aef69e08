// The card's top function: one model, kept in on-chip banks between calls.
#include "lfads_kernel.h"

extern "C" void lfads_kernel(uint32_t command, const uint32_t* image, uint32_t image_words,
                             const uint8_t* counts, int32_t* factors, int32_t* log_rates,
                             uint32_t n_trials, uint32_t* status) {
#pragma HLS interface m_axi port = image bundle = gmem0 offset = slave
#pragma HLS interface m_axi port = counts bundle = gmem1 offset = slave
#pragma HLS interface m_axi port = factors bundle = gmem2 offset = slave
#pragma HLS interface m_axi port = log_rates bundle = gmem3 offset = slave
#pragma HLS interface m_axi port = status bundle = gmem2 offset = slave
    static lfads::Banks banks;
#pragma HLS array_partition variable = banks.forward.gru.recurrent.weight cyclic factor = 16
#pragma HLS array_partition variable = banks.backward.gru.recurrent.weight cyclic factor = 16
#pragma HLS array_partition variable = banks.generator.recurrent.weight cyclic factor = 16

    if (command == lfads::COMMAND_LOAD) {
        *status = lfads::load(banks, image, image_words);
        return;
    }
    if (command != lfads::COMMAND_RUN && command != lfads::COMMAND_RUN_FACTORS) {
        *status = lfads::STATUS_COMMAND;
        return;
    }
    if (!banks.loaded) {
        *status = lfads::STATUS_NOT_LOADED;
        return;
    }
    const bool rates = command == lfads::COMMAND_RUN;
    const uint32_t counts_size = static_cast<uint32_t>(banks.n_bins * banks.n_units);
    const uint32_t factors_size = static_cast<uint32_t>(banks.n_bins_out * banks.n_factors);
    const uint32_t rates_size = static_cast<uint32_t>(banks.n_bins_out * banks.n_units);
    for (uint32_t trial = 0; trial < n_trials; ++trial) {
#pragma HLS loop_tripcount min = 1 max = 1
        lfads::infer(banks, counts + static_cast<uint64_t>(trial) * counts_size,
                     factors + static_cast<uint64_t>(trial) * factors_size,
                     rates ? log_rates + static_cast<uint64_t>(trial) * rates_size : nullptr);
    }
    *status = lfads::STATUS_OK;
}
