// The card's kernel behind arrays of words, for an HLS tool without memory ports of 512 bits.
//
// One call loads a model and infers trials: the whole of lfads_kernel, between copies.
#include "lfads_rtl.h"

#include "lfads_kernel.h"

using lfads::Block;

namespace {

Block counts_rows[RTL_COUNTS / 16];
Block factor_rows[RTL_FACTORS / 16];
Block rate_rows[RTL_RATES / 16];
uint32_t image_words_of[RTL_IMAGE];
Block answer;

} // namespace

#pragma HLS interface port = image mode = array elem_count = 4096
#pragma HLS interface port = counts mode = array elem_count = 128
#pragma HLS interface port = factors mode = array elem_count = 128
#pragma HLS interface port = log_rates mode = array elem_count = 128
extern "C" uint32_t lfads_rtl(uint32_t image_words, uint32_t n_trials,
                              const uint32_t image[RTL_IMAGE], const uint32_t counts[RTL_COUNTS],
                              uint32_t factors[RTL_FACTORS], uint32_t log_rates[RTL_RATES]) {
    for (uint32_t i = 0; i < RTL_IMAGE; ++i) {
        image_words_of[i] = image[i];
    }
    for (uint32_t i = 0; i < RTL_COUNTS; ++i) {
        counts_rows[i / 16].word[i % 16] = counts[i];
    }
    uint32_t status = lfads::STATUS_OK;
    for (uint32_t pass = 0; pass < 2 && status == lfads::STATUS_OK; ++pass) {
        lfads_kernel(pass == 0 ? lfads::COMMAND_LOAD : lfads::COMMAND_RUN, pass, image_words_of,
                     image_words, counts_rows, factor_rows, rate_rows, n_trials, &answer, nullptr);
        status = answer.word[lfads::ANSWER_STATUS];
    }
    // Two loops: what two array ports share, the tool refuses.
    for (uint32_t i = 0; i < RTL_FACTORS; ++i) {
        factors[i] = factor_rows[i / 16].word[i % 16];
    }
    for (uint32_t i = 0; i < RTL_RATES; ++i) {
        log_rates[i] = rate_rows[i / 16].word[i % 16];
    }
    return status;
}
