// The LFADS kernel: what it takes, what it answers. Arithmetic and image: docs/arithmetic.md.
#ifndef LFADS_KERNEL_H
#define LFADS_KERNEL_H

#include "lfads_banks.h"

#include <cstdint>

namespace lfads {

constexpr uint32_t IMAGE_MAGIC = 0x4441464C; // "LFAD"
constexpr uint32_t IMAGE_VERSION = 2;
constexpr uint32_t HEADER_WORDS = 64;

enum Command : uint32_t {
    COMMAND_LOAD = 0,        // take a model image
    COMMAND_RUN = 1,         // infer trials: factors and log-rates
    COMMAND_RUN_FACTORS = 2, // infer trials: factors alone
};

enum Status : uint32_t {
    STATUS_OK = 0,
    STATUS_NOT_LOADED = 1, // RUN without a model
    STATUS_MAGIC = 2,      // not a kernel image
    STATUS_VERSION = 3,    // an image format this kernel does not know
    STATUS_LENGTH = 4,     // truncated, or not as long as its sizes say
    STATUS_CHECKSUM = 5,   // damaged
    STATUS_SIZE = 6,       // larger than this kernel was compiled for, or sizes that contradict
    STATUS_FORM = 7,       // a form this kernel does not know
    STATUS_RANGE = 8,      // a shift, a state limit or a weight out of range
    STATUS_COMMAND = 9,    // no such command
};

// Take a model. On any status but OK the banks hold no model.
Status load(Banks& banks, const uint32_t* image, uint32_t image_words);

// Infer one trial with a loaded model. Writes only to factors (n_bins_out, n_factors) and, unless
// null, log_rates (n_bins_out, n_units); several threads may share the banks.
void infer(const Banks& banks, const uint8_t* counts, int32_t* factors, int32_t* log_rates);

} // namespace lfads

// The card's kernel: one model at a time, kept between calls.
extern "C" void lfads_kernel(uint32_t command, const uint32_t* image, uint32_t image_words,
                             const uint8_t* counts, int32_t* factors, int32_t* log_rates,
                             uint32_t n_trials, uint32_t* status);

#endif
