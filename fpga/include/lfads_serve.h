// The card's side of the mailbox.
#ifndef LFADS_SERVE_H
#define LFADS_SERVE_H

#include "lfads_card.h"
#include "lfads_mailbox.h"

namespace lfads {

// A mailbox that is served, and the request in hand.
struct Service {
    uint32_t epoch;
    uint32_t model;
    MailRows rows;
    uint32_t beat; // looks from one beat to the next
    uint32_t idle; // looks without a request before the end
    uint32_t beats;
    uint32_t until_beat;
    uint32_t served; // number of the newest request that was answered
    bool kept;       // whether Card::window holds one
    uint32_t window; // number of the request that it came with
    int place;       // bin of the ring where it begins
    bool rates;      // asked for
};

// Begin: check the host's orders against the model in use.
Status begin_service(Port& mailbox, const Settings& settings, Service& service);

// Wait for a request that is well, and take its bins to Card::window. False at the end: `status`
// says why. Requests that are not well are answered here.
bool next_request(Card& card, Port& mailbox, Service& service, Status& status);

// Where the request in hand comes from and its results go.
Mail mail_of(const Service& service, int blocks);

// Answer the request in hand; the rows of its results are there.
void reply(Port& mailbox, Service& service, Status status, uint32_t cycles, uint32_t rows_check);

} // namespace lfads

#endif
