// The LFADS kernel: what it takes, what it answers. Arithmetic and image: docs/arithmetic.md;
// the protocol in words: docs/fpga.md.
#ifndef LFADS_KERNEL_H
#define LFADS_KERNEL_H

#include "lfads_banks.h"

#include <cstdint>
#ifdef __VITIS_HLS__
#include <hls_burst_maxi.h>
#endif

namespace lfads {

constexpr uint32_t IMAGE_MAGIC = 0x4441464C; // "LFAD"
constexpr uint32_t IMAGE_VERSION = 2;
constexpr uint32_t HEADER_WORDS = 64;

enum Command : uint32_t {
    COMMAND_LOAD = 0,        // take a model image
    COMMAND_RUN = 1,         // infer trials: factors and log-rates
    COMMAND_RUN_FACTORS = 2, // infer trials: factors alone
    COMMAND_INFO = 3,        // answer, nothing else; needs no model
    COMMAND_SERVE = 4,       // infer what comes by the mailbox until told to stop: lfads_mailbox.h
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
    STATUS_TRIALS = 10,    // more than MAX_TRIALS in a call
    STATUS_MAILBOX = 11,   // not a mailbox of this version, or not for the model in use
    STATUS_TORN = 12,      // a request whose checksum stays wrong
    STATUS_REQUEST = 13,   // no such kind of request, or not with so many bins
    STATUS_WINDOW = 14,    // newest bins of a window that the card does not keep
    STATUS_IDLE = 15,      // ended: no request for as long as was ordered
};

// What the card's kernel answers on every command: one block of words, always all of them.
enum Answer : uint32_t {
    ANSWER_STATUS = 0,
    ANSWER_SEQUENCE = 1, // the call's, so that a stale answer shows
    ANSWER_COMMAND = 2,
    ANSWER_TRIALS = 3, // inferred in this call
    ANSWER_CYCLES =
        4, // of the inference in this call, by the kernel's own clock; see FEATURE_CYCLES
    ANSWER_MODEL = 5,    // checksum of the image in use (its word 3); 0 where there is none
    ANSWER_LOADS = 6,    // models taken since the card was programmed
    ANSWER_MAGIC = 7,    // KERNEL_MAGIC
    ANSWER_PROTOCOL = 8, // PROTOCOL_VERSION
    ANSWER_IMAGE = 9,    // IMAGE_VERSION
    ANSWER_MAX_UNITS = 10,
    ANSWER_MAX_BINS = 11, // bins out
    ANSWER_MAX_HIDDEN = 12,
    ANSWER_MAX_FACTORS = 13,
    ANSWER_FEATURES = 14,
    ANSWER_REUSE = 15, // products a recurrent multiplier does in a step
};
constexpr uint32_t ANSWER_WORDS = 16;

constexpr uint32_t KERNEL_MAGIC = 0x4B44464C; // "LFDK"
constexpr uint32_t PROTOCOL_VERSION = 2;
constexpr uint32_t MAX_TRIALS = 1u << 16; // a call
constexpr uint32_t FEATURE_CYCLES = 1;    // ANSWER_CYCLES counts; C simulation has no clock
constexpr uint32_t FEATURE_SERVE = 2;     // COMMAND_SERVE

// 64 bytes: what the card moves in a cycle. Rows of counts, factors and log-rates start on one.
struct alignas(64) Block {
    uint32_t word[16];
};
constexpr int BLOCK_BYTES = 64;
constexpr int BLOCK_WORDS = 16;

constexpr int count_blocks(int n_units) { // of a bin of counts, uint8
    return (n_units + BLOCK_BYTES - 1) / BLOCK_BYTES;
}
constexpr int value_blocks(int n) { // of a bin of factors or log-rates, int32
    return (n + BLOCK_WORDS - 1) / BLOCK_WORDS;
}

#ifdef __VITIS_HLS__
typedef hls::burst_maxi<Block> MailboxArgument;
#else
typedef Block* MailboxArgument;
#endif

// Take a model. On any status but OK the banks hold no model.
Status load(Banks& banks, const uint32_t* image, uint32_t image_words);

// Infer one trial on a CPU with a loaded model. Writes only to factors (n_bins_out, n_factors) and,
// unless null, log_rates (n_bins_out, n_units); several threads may share the banks.
void infer(const Banks& banks, const uint8_t* counts, int32_t* factors, int32_t* log_rates);

} // namespace lfads

// The card's kernel. It keeps a model between calls; a load that fails leaves the one before in
// use.
//
// Rows are padded to blocks: counts (n_trials, n_bins, 64 count_blocks(n_units)) uint8, the padding
// zero; factors (n_trials, n_bins_out, 16 value_blocks(n_factors)) int32; log_rates likewise by
// n_units. Answers with ANSWER_WORDS words. The mailbox is in the host's memory, all else in the
// card's. Pointers that a command does not use are not touched.
extern "C" void lfads_kernel(uint32_t command, uint32_t sequence, const uint32_t* image,
                             uint32_t image_words, const lfads::Block* counts,
                             lfads::Block* factors, lfads::Block* log_rates, uint32_t n_trials,
                             lfads::Block* answer, lfads::MailboxArgument mailbox);

#endif
