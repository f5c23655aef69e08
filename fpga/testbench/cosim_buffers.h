// The kernel called with buffers as large as C/RTL co-simulation copies, whatever is asked of it.
//
// It copies of each port as many elements as config/hls.tcl says, and reads beyond what is smaller.
#ifndef LFADS_COSIM_BUFFERS_H
#define LFADS_COSIM_BUFFERS_H

#include "lfads_kernel.h"

#include <algorithm>
#include <vector>

constexpr size_t COSIM_IMAGE = 131072;
constexpr size_t COSIM_COUNTS = 8192;
constexpr size_t COSIM_FACTORS = 4096;
constexpr size_t COSIM_LOG_RATES = 32768;
constexpr size_t COSIM_MAILBOX = 1024;

template <class T> std::vector<T> enlarged(const std::vector<T>& from, size_t size) {
    std::vector<T> to = from;
    to.resize(std::max(size, from.size()));
    return to;
}

inline void call_for_cosim(uint32_t command, uint32_t sequence, const std::vector<uint32_t>& image,
                           const std::vector<lfads::Block>& counts,
                           std::vector<lfads::Block>& factors, std::vector<lfads::Block>& log_rates,
                           uint32_t n_trials, lfads::Block* answer) {
    const std::vector<uint32_t> image_copy = enlarged(image, COSIM_IMAGE);
    const std::vector<lfads::Block> counts_copy = enlarged(counts, COSIM_COUNTS);
    std::vector<lfads::Block> factors_copy = enlarged(factors, COSIM_FACTORS);
    std::vector<lfads::Block> rates_copy = enlarged(log_rates, COSIM_LOG_RATES);
    std::vector<lfads::Block> mailbox(COSIM_MAILBOX);
    lfads_kernel(command, sequence, image_copy.data(), static_cast<uint32_t>(image.size()),
                 counts_copy.data(), factors_copy.data(), rates_copy.data(), n_trials, answer,
                 mailbox.data());
    std::copy_n(factors_copy.begin(), factors.size(), factors.begin());
    std::copy_n(rates_copy.begin(), log_rates.size(), log_rates.begin());
}

#endif
