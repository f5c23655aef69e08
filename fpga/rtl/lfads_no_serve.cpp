// In the place of src/lfads_serve.cpp: a mailbox is memory that others write to, which the
// simulation of a single call does not have.
#include "lfads_serve.h"

namespace lfads {

Status begin_service(Port&, const Settings&, Service&) {
    return STATUS_MAILBOX;
}
bool next_request(Card&, Port&, Service&, Status& status) {
    status = STATUS_MAILBOX;
    return false;
}
Mail mail_of(const Service&, int) {
    return Mail{};
}
void reply(Port&, Service&, Status, uint32_t, uint32_t) {}

} // namespace lfads
