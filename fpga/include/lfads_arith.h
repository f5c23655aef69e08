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

// The parts of a GRU step for one unit. What enters a gate is the input part a and the recurrent
// part c; the activation's argument is rounded to the point at which it is clamped or looked up.

LFADS_INLINE acc_t gate_argument(const GruSettings& gru, acc_t a, acc_t c) {
    const acc_t sum = shift_left(a, gru.gate_input_left) + shift_left(c, gru.gate_recurrent_left);
    return round_shift(sum, gru.gate_rounding);
}

// c is r * c_n in the reset-after form.
LFADS_INLINE acc_t candidate_argument(const GruSettings& gru, acc_t a, acc_t c) {
    const acc_t sum =
        shift_left(a, gru.candidate_input_left) + shift_left(c, gru.candidate_recurrent_left);
    return round_shift(sum, gru.candidate_rounding);
}

// z or r, point 16, from its argument or, where activations are smooth, from the table's tanh.
LFADS_INLINE acc_t as_gate(acc_t t) {
    return clamp(t + 32768, 0, 65535);
}

// n, point 15, likewise.
LFADS_INLINE acc_t as_candidate(acc_t t) {
    return clamp(t, -32768, 32767);
}

// A state of 16 bits as it enters a product of 8 bits.
LFADS_INLINE int16_t to_byte(const GruSettings& gru, int16_t h) {
    return static_cast<int16_t>(clamp(round_shift(h, gru.to_byte), -128, 127));
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
