// Serving a mailbox: look for the host's doorbell, take what it rings for, reply, beat.
//
// Every loop ends: on the host's order, when the memory is no longer this run's, or after as many
// looks without a request as the host allowed.
#include "lfads_serve.h"

namespace lfads {
namespace {

constexpr int TRIES = 4; // at a request whose checksum is wrong

Block look(Port& mailbox, uint32_t at) {
#pragma HLS inline off
    mailbox.read_request(at, 1);
    return mailbox.read();
}

void put(Port& mailbox, uint32_t at, const Block& block) {
#pragma HLS inline off
    mailbox.write_request(at, 1);
    mailbox.write(block);
    mailbox.write_response();
}

Block zeros() {
    Block block;
    for (int i = 0; i < BLOCK_WORDS; ++i) {
#pragma HLS unroll
        block.word[i] = 0;
    }
    return block;
}

void beat(Port& mailbox, Service& service, Phase phase, Status reason) {
    ++service.beats;
    service.until_beat = service.beat;
    Block block = zeros();
    block.word[BEAT_MAGIC] = MAILBOX_MAGIC;
    block.word[BEAT_VERSION] = MAILBOX_VERSION;
    block.word[BEAT_EPOCH] = service.epoch;
    block.word[BEAT_NUMBER] = service.beats;
    block.word[BEAT_PHASE] = phase;
    block.word[BEAT_REASON] = reason;
    block.word[BEAT_SERVED] = service.served;
    block.word[BEAT_MODEL] = service.model;
    block.word[LAST_WORD] = service.beats;
    put(mailbox, BEAT_AT, block);
}

bool is_mailbox(const Block& order) {
    return order.word[ORDER_MAGIC] == MAILBOX_MAGIC && order.word[ORDER_VERSION] == MAILBOX_VERSION;
}

// `bins` rows from a slot into the ring, over its oldest bins; returns the rows' checksum.
uint32_t take_rows(Card& card, Port& mailbox, uint32_t at, int place, int bins, int n_bins,
                   int blocks) {
    Check check;
#pragma HLS array_partition variable = check.sum complete
#pragma HLS array_partition variable = check.sums complete
    clear(check);
    mailbox.read_request(at, static_cast<size_t>(bins * blocks));
    int bin = place;
    for (int row = 0; row < bins; ++row) {
#pragma HLS loop_tripcount min = 1 max = 73
        for (int i = 0; i < blocks; ++i) {
#pragma HLS loop_tripcount min = 2 max = 2
#pragma HLS pipeline II = 1
            const Block block = mailbox.read();
            add(check, block);
            card.window[bin * blocks + i] = block;
            card.window[(bin + n_bins) * blocks + i] = block;
        }
        bin = bin + 1 == n_bins ? 0 : bin + 1;
    }
    return folded(check);
}

Status take_request(Card& card, Port& mailbox, Service& service, uint32_t number) {
    const Settings& settings = card.settings[card.active];
    const int blocks = count_blocks(settings.n_units);
    const uint32_t slot = number % MAIL_SLOTS;
    for (int attempt = 0; attempt < TRIES; ++attempt) {
#pragma HLS loop_tripcount min = 1 max = 1
        const Block head = look(mailbox, REQUEST_AT + slot);
        const bool whole = head.word[REQUEST_NUMBER] == number && head.word[LAST_WORD] == number &&
                           head.word[REQUEST_EPOCH] == service.epoch &&
                           head.word[REQUEST_CHECK] == block_check(head, REQUEST_CHECK);
        if (!whole) {
            continue;
        }
        service.rates = head.word[REQUEST_RATES] != 0;
        const uint32_t kind = head.word[REQUEST_KIND];
        const uint32_t n_bins = static_cast<uint32_t>(settings.n_bins);
        const uint32_t bins = head.word[REQUEST_BINS];
        if ((kind != KIND_WINDOW && kind != KIND_BINS) || bins == 0 || bins > n_bins ||
            (kind == KIND_WINDOW && bins != n_bins)) {
            return STATUS_REQUEST;
        }
        if (kind == KIND_BINS && !(service.kept && service.window == head.word[REQUEST_AFTER])) {
            return STATUS_WINDOW;
        }
        const int place = kind == KIND_WINDOW ? 0 : service.place;
        service.kept = false; // until all bins are well
        const uint32_t check = take_rows(card, mailbox, counts_at(service.rows, slot), place,
                                         static_cast<int>(bins), settings.n_bins, blocks);
        if (check == head.word[REQUEST_ROWS]) {
            const int end = place + static_cast<int>(bins);
            service.place = end >= settings.n_bins ? end - settings.n_bins : end;
            service.kept = true;
            service.window = number;
            return STATUS_OK;
        }
        service.kept = kind == KIND_BINS; // what was overwritten are bins that leave the window
    }
    service.kept = false;
    return STATUS_TORN;
}

} // namespace

Status begin_service(Port& mailbox, const Settings& settings, Service& service) {
    const Block order = look(mailbox, ORDER_AT);
    if (!is_mailbox(order) || order.word[ORDER_EPOCH] == 0) {
        return STATUS_MAILBOX;
    }
    service.epoch = order.word[ORDER_EPOCH];
    service.model = settings.checksum;
    service.rows =
        mail_rows(settings.n_units, settings.n_bins, settings.n_bins_out, settings.n_factors);
    service.beat = order.word[ORDER_BEAT];
    service.idle = order.word[ORDER_IDLE];
    service.beats = 0;
    service.served = order.word[ORDER_FIRST];
    service.kept = false;
    service.window = 0;
    service.place = 0;
    service.rates = false;
    const bool fits = order.word[ORDER_MODEL] == service.model &&
                      order.word[ORDER_COUNT_ROWS] == service.rows.counts &&
                      order.word[ORDER_RESULT_ROWS] == service.rows.results && service.beat != 0;
    beat(mailbox, service, fits ? PHASE_SERVING : PHASE_ENDED, fits ? STATUS_OK : STATUS_MAILBOX);
    return fits ? STATUS_OK : STATUS_MAILBOX;
}

bool next_request(Card& card, Port& mailbox, Service& service, Status& status) {
    status = STATUS_IDLE;
    uint32_t looks = 0;
    while (looks < service.idle) {
        const Block order = look(mailbox, ORDER_AT);
        if (!is_mailbox(order) || order.word[ORDER_EPOCH] != service.epoch) {
            status = STATUS_MAILBOX;
            return false; // and not a word more into what is someone else's memory
        }
        if (order.word[ORDER_STOP] != 0) {
            status = STATUS_OK;
            break;
        }
        const uint32_t posted = order.word[ORDER_POSTED];
        const uint32_t waiting = posted - service.served;
        if (posted == order.word[LAST_WORD] && waiting != 0) {
            if (waiting > MAIL_SLOTS) {
                status = STATUS_MAILBOX;
                break;
            }
            const Status taken = take_request(card, mailbox, service, service.served + 1);
            if (taken == STATUS_OK) {
                return true;
            }
            reply(mailbox, service, taken, 0, 0);
            looks = 0;
            continue;
        }
        if (service.until_beat == 0) {
            beat(mailbox, service, PHASE_SERVING, STATUS_OK);
        }
        --service.until_beat;
        rest(looks);
        ++looks;
    }
    beat(mailbox, service, PHASE_ENDED, status);
    return false;
}

Mail mail_of(const Service& service, int blocks) {
    Mail mail;
    mail.on = true;
    mail.window = static_cast<uint32_t>(service.place * blocks);
    mail.results = results_at(service.rows, (service.served + 1) % MAIL_SLOTS);
    return mail;
}

void reply(Port& mailbox, Service& service, Status status, uint32_t cycles, uint32_t rows_check) {
    const uint32_t number = service.served + 1;
    Block block = zeros();
    block.word[REPLY_NUMBER] = number;
    block.word[REPLY_STATUS] = status;
    block.word[REPLY_EPOCH] = service.epoch;
    block.word[REPLY_CYCLES] = cycles;
    block.word[REPLY_MODEL] = service.model;
    block.word[REPLY_RATES] = service.rates ? 1 : 0;
    block.word[REPLY_ROWS] = rows_check;
    block.word[LAST_WORD] = number;
    block.word[REPLY_CHECK] = block_check(block, REPLY_CHECK);
    put(mailbox, REPLY_AT + number % MAIL_SLOTS, block);
    service.served = number;
}

} // namespace lfads
