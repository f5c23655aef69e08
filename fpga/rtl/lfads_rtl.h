// A top function of words alone; see lfads_rtl.cpp. Sizes are those of write_vectors.py --tiny.
#ifndef LFADS_RTL_H
#define LFADS_RTL_H

#include <cstdint>

constexpr uint32_t RTL_IMAGE = 4096;
constexpr uint32_t RTL_COUNTS = 128;  // 2 trials of 4 bins, padded to blocks of 16
constexpr uint32_t RTL_FACTORS = 128; // as many
constexpr uint32_t RTL_RATES = 128;

extern "C" uint32_t lfads_rtl(uint32_t image_words, uint32_t n_trials, const uint32_t* image,
                              const uint32_t* counts, uint32_t* factors, uint32_t* log_rates);

#endif
