// Rounding, activations and exact products: the sections of docs/arithmetic.md in order.
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

// y[row] = b[row] + w[row] x for rows first to last - 1, in blocks whose sum fits PART.
template <int BLOCK, typename PART, typename MAP>
LFADS_INLINE void product_rows(const MAP& map, const int16_t* x, int first, int last, acc_t* y) {
    for (int row = first; row < last; ++row) {
#pragma HLS loop_tripcount min = 64 max = 384
        const int16_t* w = map.weight + row * map.stride;
        acc_t total = map.bias[row];
        for (int k = 0; k < map.stride; k += BLOCK) {
#pragma HLS loop_tripcount min = 1 max = 16
#pragma HLS pipeline II = 1
            PART part = 0;
            for (int lane = 0; lane < BLOCK; ++lane) {
#pragma HLS unroll
                part += static_cast<PART>(w[k + lane]) * x[k + lane];
            }
            total += part;
        }
        y[row] = total;
    }
}

template <typename MAP>
LFADS_INLINE void product(const MAP& map, const int16_t* x, int first, int last, acc_t* y) {
#ifdef __SYNTHESIS__
    product_rows<LANES, acc_t>(map, x, first, last, y);
#else
    switch (map.block) {
    case 64:
        product_rows<64, int32_t>(map, x, first, last, y);
        break;
    case 32:
        product_rows<32, int32_t>(map, x, first, last, y);
        break;
    case 16:
        product_rows<16, int32_t>(map, x, first, last, y);
        break;
    default:
        product_rows<LANES, acc_t>(map, x, first, last, y);
    }
#endif
}

} // namespace lfads

#endif
