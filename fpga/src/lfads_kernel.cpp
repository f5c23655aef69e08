// The card's top function: commands in, one block of answer out, whatever happened.
#include "lfads_card.h"
#include "lfads_fifo.h"
#include "lfads_serve.h"

namespace lfads {
namespace {

void run(const Card& card, const Mail& mail, const Block* counts, Block* factors, Block* log_rates,
         Port& mailbox, uint32_t n_trials, bool rates, uint32_t& check, Fifo<bool, 1>& done) {
    card_run(card, mail, counts, factors, log_rates, mailbox, n_trials, rates, check);
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

void timed_run(const Card& card, const Mail& mail, const Block* counts, Block* factors,
               Block* log_rates, Port& mailbox, uint32_t n_trials, bool rates, uint32_t& check,
               uint32_t& cycles) {
#pragma HLS dataflow
    Fifo<bool, 1> done;
    run(card, mail, counts, factors, log_rates, mailbox, n_trials, rates, check, done);
    count_cycles(done, cycles);
}

} // namespace
} // namespace lfads

extern "C" void lfads_kernel(uint32_t command, uint32_t sequence, const uint32_t* image,
                             uint32_t image_words, const lfads::Block* counts,
                             lfads::Block* factors, lfads::Block* log_rates, uint32_t n_trials,
                             lfads::Block* answer, lfads::MailboxArgument mailbox) {
#pragma HLS interface m_axi port = image bundle = image offset = slave
#pragma HLS interface m_axi port = counts bundle = counts offset = slave num_read_outstanding = 64
#pragma HLS interface m_axi port = factors bundle = factors offset = slave
#pragma HLS interface m_axi port = log_rates bundle = rates offset = slave
#pragma HLS interface m_axi port = answer bundle = factors offset = slave
#pragma HLS interface m_axi port = mailbox bundle = host offset = slave num_read_outstanding = 32
    using namespace lfads;
    static Card card;
#include "lfads_card_storage.h"
#ifdef __VITIS_HLS__
    Port& port = mailbox;
#else
    Port port(mailbox);
#endif

    Status status = STATUS_OK;
    uint32_t cycles = 0;
    uint32_t inferred = 0;
    const bool serve = command == COMMAND_SERVE;
    const bool run = command == COMMAND_RUN || command == COMMAND_RUN_FACTORS;
    const Settings& settings = card.settings[card.active];
    if (command == COMMAND_LOAD) {
        status = card_load(card, image, image_words);
    } else if ((run || serve) && !settings.loaded) {
        status = STATUS_NOT_LOADED;
    } else if (run && n_trials > MAX_TRIALS) {
        status = STATUS_TRIALS;
    } else if (run || serve) {
        // One place that infers, for there is one chain of multipliers: a pass of the loop is a
        // call's trials, or a request of the mailbox'.
        Service service = {};
        Mail mail = {};
        if (serve) {
            status = begin_service(port, settings, service);
        }
        bool more = status == STATUS_OK;
        while (more) {
#pragma HLS loop_tripcount min = 1 max = 1
            bool rates = command == COMMAND_RUN;
            if (serve) {
                if (!next_request(card, port, service, status)) {
                    break;
                }
                mail = mail_of(service, count_blocks(settings.n_units));
                rates = service.rates;
            }
            uint32_t check = 0;
            timed_run(card, mail, counts, factors, log_rates, port, serve ? 1 : n_trials, rates,
                      check, cycles);
            inferred += serve ? 1 : n_trials;
            if (serve) {
                reply(port, service, STATUS_OK, cycles, check);
            }
            more = serve;
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
    block.word[ANSWER_FEATURES] = FEATURE_SERVE | FEATURE_CYCLES;
#else
    block.word[ANSWER_FEATURES] = FEATURE_SERVE;
#endif
    block.word[ANSWER_REUSE] = REUSE;
    *answer = block;
}
