// A sum before an activation on the card, cut so that little of it is on the chain.
//
// docs/arithmetic.md aligns input part and product, adds, and rounds to the activation's point.
// Which shifts those are is the model's, so written down like that a card would have three shifts
// by a variable number of bits between a product and its gate. Here the product stays where it is
// and all else is done ahead, to the input part: alignment, half of the last place, and whether
// what fell off allows a tie. What is left of rounding is one shift and a look at the bits that it
// drops. The integers are the same.
#ifndef LFADS_ALIGN_H
#define LFADS_ALIGN_H

#include "lfads_arith.h"
#include "lfads_card.h"

namespace lfads {

constexpr int ARGUMENT_BITS = 20;
constexpr int32_t ARGUMENT_LIMIT = (1 << (ARGUMENT_BITS - 1)) - 1;
static_assert(ARGUMENT_LIMIT == TANH_LIMIT, "beyond it the table's tanh does not change");

// From the shifts of docs/arithmetic.md. Products with fewer bits after the point than the
// activation are lifted to its point, which no model with products of 16 bits needs.
LFADS_INLINE Alignment alignment(int input_left, int product_left, const Rounding& rounding) {
    const int right = rounding.right - rounding.left;
    Alignment m;
    m.drop = right > product_left ? right - product_left : 0;
    m.lift = product_left > right ? product_left - right : 0;
    const int over = product_left - input_left - m.lift; // of the input part's bits
    m.left = over < 0 ? -over : 0;
    m.cut = over > 0 ? over : 0;
    const bool at_cut = m.drop == 0 && m.cut > 0; // where it is rounded
    m.before_cut = at_cut ? shift_left(1, m.cut - 1) : 0;
    m.after_cut = m.drop > 0 ? shift_left(1, m.drop - 1) : 0;
    m.cut_mask = shift_left(1, m.cut) - 1;
    m.mask = shift_left(1, m.drop) - 1;
    const int place = m.drop + ARGUMENT_BITS - 1; // of the sign
    m.far = place < 63 ? ~(shift_left(1, place) - 1) : 0;
    m.rounds = m.drop > 0 || m.cut > 0;
    return m;
}

// The input part as it is added; exact: nothing but zeros fell off, so that a tie may be one.
LFADS_INLINE acc_t aligned(const Alignment& m, acc_t a, bool& exact) {
    const acc_t moved = shift_left(a, m.left) + m.before_cut;
    exact = m.rounds && (moved & m.cut_mask) == 0;
    return (moved >> m.cut) + m.after_cut;
}

// sum / 2^drop to nearest, ties to even, of a sum that has half of the last place in it already.
// As many bits as a state, or an activation's argument within ARGUMENT_LIMIT, has need of: so a
// card's shifter is no wider.
LFADS_INLINE int32_t dropped(acc_t sum, int drop, acc_t mask, bool exact) {
    const int32_t down =
        static_cast<int32_t>(shift_left(sum >> drop, 64 - ARGUMENT_BITS) >> (64 - ARGUMENT_BITS));
    return exact && (sum & mask) == 0 ? down & ~1 : down;
}

// An activation's argument; beyond ARGUMENT_LIMIT, that, where every activation is flat.
LFADS_INLINE int32_t argument(const Alignment& m, acc_t sum, bool exact) {
    const acc_t sign = sum >> 63;
    const bool beyond = ((sum ^ sign) & m.far) != 0;
    const int32_t limit = sign != 0 ? -ARGUMENT_LIMIT : ARGUMENT_LIMIT;
    return beyond ? limit : dropped(sum, m.drop, m.mask, exact);
}

LFADS_INLINE CellSettings cell_settings(const GruSettings& gru) {
    CellSettings s;
    s.gate = alignment(gru.gate_input_left, gru.gate_recurrent_left, gru.gate_rounding);
    s.candidate =
        alignment(gru.candidate_input_left, gru.candidate_recurrent_left, gru.candidate_rounding);
    s.bytes = gru.bytes;
    s.to_byte = gru.to_byte;
    s.lifts = s.gate.lift > 0 || s.candidate.lift > 0;
    s.state_left = gru.state_left;
    s.state_drop = gru.state_rounding.right;
    s.state_half = shift_left(1, s.state_drop - 1);
    s.state_mask = shift_left(1, s.state_drop) - 1;
    s.low = gru.low;
    s.high = gru.high;
    return s;
}

} // namespace lfads

#endif
