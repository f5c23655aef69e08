// The card's top function: commands in, one block of answer out, whatever happened.
#include "lfads_card.h"
#include "lfads_fifo.h"

namespace lfads {
namespace {

void run(const Card& card, const Block* counts, Block* factors, Block* log_rates, uint32_t n_trials,
         bool rates, Fifo<bool, 1>& done) {
    card_run(card, counts, factors, log_rates, n_trials, rates);
    done.write(true);
}

// The kernel's clock: counts until the run says that it is done. C simulation has none.
void count_cycles(Fifo<bool, 1>& done, uint32_t& cycles) {
    uint32_t n = 0;
#ifdef __VITIS_HLS__
    bool stop = false;
    while (!stop) {
#pragma HLS pipeline II = 1
        ++n;
        done.read_nb(stop);
    }
#else
    (void)done.read();
#endif
    cycles = n;
}

void timed_run(const Card& card, const Block* counts, Block* factors, Block* log_rates,
               uint32_t n_trials, bool rates, uint32_t& cycles) {
#pragma HLS dataflow
    Fifo<bool, 1> done;
    run(card, counts, factors, log_rates, n_trials, rates, done);
    count_cycles(done, cycles);
}

} // namespace
} // namespace lfads

extern "C" void lfads_kernel(uint32_t command, uint32_t sequence, const uint32_t* image,
                             uint32_t image_words, const lfads::Block* counts,
                             lfads::Block* factors, lfads::Block* log_rates, uint32_t n_trials,
                             lfads::Block* answer) {
#pragma HLS interface m_axi port = image bundle = image offset = slave
#pragma HLS interface m_axi port = counts bundle = counts offset = slave num_read_outstanding = 64
#pragma HLS interface m_axi port = factors bundle = factors offset = slave
#pragma HLS interface m_axi port = log_rates bundle = rates offset = slave
#pragma HLS interface m_axi port = answer bundle = factors offset = slave
    using namespace lfads;
    static Card card;
#include "lfads_card_storage.h"

    Status status = STATUS_OK;
    uint32_t cycles = 0;
    uint32_t inferred = 0;
    const bool rates = command == COMMAND_RUN;
    const Settings& settings = card.settings[card.active];
    if (command == COMMAND_LOAD) {
        status = card_load(card, image, image_words);
    } else if (rates || command == COMMAND_RUN_FACTORS) {
        if (!settings.loaded) {
            status = STATUS_NOT_LOADED;
        } else if (n_trials > MAX_TRIALS) {
            status = STATUS_TRIALS;
        } else {
            timed_run(card, counts, factors, log_rates, n_trials, rates, cycles);
            inferred = n_trials;
        }
    } else if (command != COMMAND_INFO) {
        status = STATUS_COMMAND;
    }

    Block block;
    block.word[ANSWER_STATUS] = status;
    block.word[ANSWER_SEQUENCE] = sequence;
    block.word[ANSWER_COMMAND] = command;
    block.word[ANSWER_TRIALS] = inferred;
    block.word[ANSWER_CYCLES] = cycles;
    block.word[ANSWER_MODEL] = card.settings[card.active].checksum;
    block.word[ANSWER_LOADS] = card.loads;
    block.word[ANSWER_MAGIC] = KERNEL_MAGIC;
    block.word[ANSWER_PROTOCOL] = PROTOCOL_VERSION;
    block.word[ANSWER_IMAGE] = IMAGE_VERSION;
    block.word[ANSWER_MAX_UNITS] = MAX_UNITS;
    block.word[ANSWER_MAX_BINS] = MAX_BINS;
    block.word[ANSWER_MAX_HIDDEN] = MAX_HIDDEN;
    block.word[ANSWER_MAX_FACTORS] = MAX_FACTORS;
#ifdef __VITIS_HLS__
    block.word[ANSWER_FEATURES] = FEATURE_CYCLES;
#else
    block.word[ANSWER_FEATURES] = 0;
#endif
    block.word[ANSWER_REUSE] = REUSE;
    *answer = block;
}
