// Rounding, activations and the parts of a GRU step: the sections of docs/arithmetic.md in order.
#ifndef LFADS_ARITH_H
#define LFADS_ARITH_H

#include "lfads_banks.h"
#include "lfads_tanh_table.h"

// A CPU compiles the window once per instruction set, which needs everything inlined into it.
#if defined(__SYNTHESIS__) || !defined(__GNUC__)
#define LFADS_INLINE static inline
#else
#define LFADS_INLINE static inline __attribute__((always_inline))
#endif

namespace lfads {

LFADS_INLINE acc_t shift_left(acc_t v, int n) {
    return static_cast<acc_t>(static_cast<uint64_t>(v) << n);
}

LFADS_INLINE acc_t clamp(acc_t v, acc_t low, acc_t high) {
    return v < low ? low : (v > high ? high : v);
}

LFADS_INLINE Rounding rounding(int n) {
    Rounding r;
    r.left = n < 0 ? -n : 0;
    r.right = n > 0 ? n : 0;
    r.offset = n > 0 ? shift_left(1, n - 1) - 1 : 0;
    r.odd = n > 0 ? 1 : 0;
    return r;
}

LFADS_INLINE acc_t round_shift(acc_t v, const Rounding& r) {
    const acc_t w = shift_left(v, r.left);
    return (w + r.offset + ((w >> r.right) & r.odd)) >> r.right;
}

// tanh with point 15, from t with point 16.
LFADS_INLINE int32_t table_tanh(acc_t v) {
    const int32_t t = static_cast<int32_t>(clamp(v, -TANH_LIMIT, TANH_LIMIT));
    const int32_t magnitude = t < 0 ? -t : t;
    const int32_t i = magnitude >> TANH_PIECE_BITS;
    const int32_t d = magnitude & ((1 << TANH_PIECE_BITS) - 1);
    const int32_t inner = TANH_C1[i] + ((d * TANH_C2[i]) >> TANH_K2);
    const int32_t rise = static_cast<int32_t>((static_cast<int64_t>(d) * inner) >> TANH_K1);
    const int32_t sum = TANH_C0[i] + rise;
    const int32_t y = sum > (1 << TANH_POINT) ? (1 << TANH_POINT) : (sum < 0 ? 0 : sum);
    const int32_t rounded = (y + 15 + ((y >> 5) & 1)) >> 5;
    return t < 0 ? -rounded : rounded;
}
static_assert(TANH_POINT == 20, "table_tanh rounds from point 20 to 15");

// Point 16, 0 to 65535.
LFADS_INLINE int32_t sigmoid(acc_t v, const Rounding& r, bool smooth) {
    const acc_t t = round_shift(v, r);
    const acc_t centred = smooth ? table_tanh(t) : t;
    return static_cast<int32_t>(clamp(centred + 32768, 0, 65535));
}

// Point 15, -32768 to 32767.
LFADS_INLINE int32_t hyperbolic(acc_t v, const Rounding& r, bool smooth) {
    const acc_t t = round_shift(v, r);
    return static_cast<int32_t>(clamp(smooth ? table_tanh(t) : t, -32768, 32767));
}

// The parts of a GRU step for one unit, from what enters a gate: the input part a and the
// recurrent part c.

// p(h): what enters a recurrent product.
LFADS_INLINE int16_t product_input(const GruSettings& gru, int16_t h) {
    return gru.bytes ? static_cast<int16_t>(clamp(round_shift(h, gru.to_byte), -128, 127)) : h;
}

LFADS_INLINE acc_t gate(const GruSettings& gru, acc_t a, acc_t c, bool smooth) {
    const acc_t sum = shift_left(a, gru.gate_input_left) + shift_left(c, gru.gate_recurrent_left);
    return sigmoid(sum, gru.gate_rounding, smooth);
}

// n; c is r * c_n in the reset-after form.
LFADS_INLINE acc_t candidate(const GruSettings& gru, acc_t a, acc_t c, bool smooth) {
    const acc_t sum =
        shift_left(a, gru.candidate_input_left) + shift_left(c, gru.candidate_recurrent_left);
    return hyperbolic(sum, gru.candidate_rounding, smooth);
}

// r * h for the reset-before form.
LFADS_INLINE int16_t reset_state(acc_t r, int16_t h) {
    return static_cast<int16_t>(round_shift(r * h, rounding(16)));
}

LFADS_INLINE int16_t next_state(const GruSettings& gru, acc_t z, acc_t n, int16_t h) {
    const acc_t blend = z * shift_left(h, gru.state_left) + (65536 - z) * n;
    return static_cast<int16_t>(clamp(round_shift(blend, gru.state_rounding), gru.low, gru.high));
}

} // namespace lfads

#endif
