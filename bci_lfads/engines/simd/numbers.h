// Vectors of V in twos, as float64 come for as many 32-bit integers; and the activations.
//
// All of simd/ that knows V is local to the file of an instruction set, so that no function that is
// compiled for one processor is linked into another's path.
#ifndef LFADS_SIMD_NUMBERS_H
#define LFADS_SIMD_NUMBERS_H

#include "lfads_tanh_table.h"
#include "paths.h"

namespace simd {
namespace {

template <class V> struct Numbers {
    using I = typename V::I; // L 32-bit integers
    using D = typename V::D; // L / 2 float64
    static constexpr int L = V::L;
    static constexpr int H = L / 2;
    // As many float64 as a vector has integers.
    struct Both {
        D low, high;
    };

    static Both load(const double* p) { return {V::load_double(p), V::load_double(p + H)}; }
    static void store(double* p, Both v) {
        V::store_double(p, v.low);
        V::store_double(p + H, v.high);
    }
    static Both widen(I v) { return {V::low(v), V::high(v)}; }
    static Both times(Both a, D s) { return {V::mul(a.low, s), V::mul(a.high, s)}; }
    static Both times(Both a, Both b) { return {V::mul(a.low, b.low), V::mul(a.high, b.high)}; }
    static Both plus(Both a, Both b) { return {V::add(a.low, b.low), V::add(a.high, b.high)}; }
    static Both fma(Both a, D b, Both c) {
        return {V::fma(a.low, b, c.low), V::fma(a.high, b, c.high)};
    }
    static Both fma(Both a, Both b, Both c) {
        return {V::fma(a.low, b.low, c.low), V::fma(a.high, b.high, c.high)};
    }
    static Both nearest(Both v) { return {V::nearest(v.low), V::nearest(v.high)}; }
    static Both clamp(Both v, D low, D high) {
        return {V::min(V::max(v.low, low), high), V::min(V::max(v.high, low), high)};
    }
    // To the nearest integers, ties to even.
    static I narrow(Both v) { return V::integers(v.low, v.high); }

    static void store_halves(int16_t* p, Both v) { V::store_halves(p, v.low, v.high); }

    // Point 15 before clamping, from an argument that is rounded here to the table's point; a plan
    // says that it fits 32 bits. The table's values need no clamping: for no argument do they
    // leave what rounds to 0..2^15.
    template <int K> INLINED static void table(Both (&x)[K]) {
        I v[K];
        UNROLLED
        for (int k = 0; k < K; ++k) {
            v[k] = narrow(x[k]);
        }
        if constexpr (V::HAS_TANH) {
            UNROLLED
            for (int k = 0; k < K; ++k) {
                V::tanh(v[k], x[k].low, x[k].high);
            }
        } else {
            tanh(v, x);
        }
    }

    template <int K> INLINED static void tanh(const I (&v)[K], Both (&x)[K]) {
        I piece[K], d[K], y[K], inner[K];
        UNROLLED
        for (int k = 0; k < K; ++k) {
            const I m = V::min_int(V::absolute(v[k]), V::set(lfads::TANH_LIMIT));
            piece[k] = V::template shift_right<lfads::TANH_PIECE_BITS>(m);
            d[k] = V::bit_and(m, V::set((1 << lfads::TANH_PIECE_BITS) - 1));
        }
        // One coefficient of all, then the next: reading them takes long.
        const auto lookup = [&](const int32_t* coefficients) { V::lookup(coefficients, piece, y); };
        lookup(lfads::TANH_C2);
        UNROLLED
        for (int k = 0; k < K; ++k) {
            inner[k] = V::template shift_right<lfads::TANH_K2>(V::multiply(d[k], y[k]));
        }
        lookup(lfads::TANH_C1);
        UNROLLED
        for (int k = 0; k < K; ++k) { // of 34 bits
            inner[k] = V::template multiply_shift<lfads::TANH_K1>(d[k], V::add(inner[k], y[k]));
        }
        lookup(lfads::TANH_C0);
        UNROLLED
        for (int k = 0; k < K; ++k) {
            const I sum = V::add(inner[k], y[k]);
            const I odd = V::bit_and(V::template shift_right<5>(sum), V::set(1));
            const I rounded = V::template shift_right<5>(V::add(V::add(sum, V::set(15)), odd));
            x[k] = widen(V::min_int(V::with_sign(rounded, v[k]), V::set(32767)));
        }
    }

    // Point 15, -32768 to 32767: a candidate, or a gate (point 16) less 32768.
    template <bool SMOOTH, int K> INLINED static void activation(Both (&x)[K]) {
        if constexpr (SMOOTH) {
            table(x);
        } else {
            for (Both& v : x) {
                v = nearest(clamp(v, V::set_double(-32768.0), V::set_double(32767.0)));
            }
        }
    }
};

} // namespace
} // namespace simd

#endif
