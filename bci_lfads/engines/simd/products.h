// Exact matrix-vector products: rows in the lanes of vectors, several columns at a time.
#ifndef LFADS_SIMD_PRODUCTS_H
#define LFADS_SIMD_PRODUCTS_H

#include "numbers.h"

namespace simd {
namespace {

template <class V> struct Products : Numbers<V> {
    using N = Numbers<V>;
    using N::fma;
    using N::L;
    using N::load;
    using N::plus;
    using N::store;
    using N::widen;
    using typename N::Both;
    using typename N::D;
    using typename N::I;

    // What a lane takes at a time: two columns of 16 bits, or four of 8, of which x is 128 more
    // than it stands for (which the bias takes off).
    struct Pairs {
        using Weight = int16_t;
        using Value = int16_t;
        static constexpr int EACH = 2;
        static I weights(const Weight* p) { return V::load_pairs(p); }
        static I broadcast(const Value* p) { return V::broadcast_pair(p); }
        static I dot(I sum, I w, I x) { return V::dot(sum, w, x); }
    };
    struct Fours {
        using Weight = int8_t;
        using Value = uint8_t;
        static constexpr int EACH = 4;
        static I weights(const Weight* p) { return V::load_fours(p); }
        static I broadcast(const Value* p) { return V::broadcast_four(p); }
        static I dot(I sum, I w, I x) { return V::dot_bytes(sum, w, x); }
    };

    // Sums of one group of NV vectors of rows, from 32-bit accumulators.
    template <int NV, class COLUMNS>
    INLINED static void group(const typename COLUMNS::Weight* w, int n_columns,
                              const typename COLUMNS::Value* x, const int32_t* bias, double* y) {
        constexpr int EACH = COLUMNS::EACH;
        constexpr int PHASES = NV <= 2 ? 4 : (NV <= 4 ? 2 : 1); // enough sums in flight
        I sum[NV * PHASES];
        UNROLLED
        for (int v = 0; v < NV * PHASES; ++v) {
            sum[v] = v < NV ? V::load(bias + v * L) : V::zero();
        }
        for (int column = 0; column < n_columns; column += PHASES * EACH) {
            UNROLLED
            for (int phase = 0; phase < PHASES; ++phase) {
                const I values = COLUMNS::broadcast(x + column + phase * EACH);
                UNROLLED
                for (int v = 0; v < NV; ++v) {
                    I& s = sum[phase * NV + v];
                    s = COLUMNS::dot(s, COLUMNS::weights(w), values);
                    w += EACH * L;
                }
            }
        }
        UNROLLED
        for (int v = 0; v < NV; ++v) {
            I total = sum[v];
            UNROLLED
            for (int phase = 1; phase < PHASES; ++phase) {
                total = V::add(total, sum[phase * NV + v]);
            }
            store(y + v * L, widen(total));
        }
    }

    // Groups of less than most vectors are left to functions of their own, which costs them little.
    template <int NV>
    static void byte_rest(const Matrix& m, int vectors, int first, const uint8_t* x, double* y) {
        if constexpr (NV > 0) {
            if (vectors == NV) {
                bytes<NV>(m, first, x, y);
            } else {
                byte_rest<NV - 1>(m, vectors, first, x, y);
            }
        }
    }

    template <int NV>
    INLINED static void bytes(const Matrix& m, int first, const uint8_t* x, double* y) {
        const int8_t* w = m.bytes.data() + static_cast<size_t>(first) * m.pairs * 2;
        group<NV, Fours>(w, 2 * m.pairs, x, m.byte_bias.data() + first, y + first);
    }

    INLINED static void byte_product(const Matrix& m, int first, int last, const uint8_t* x,
                                     double* y) {
        for (int row = first; row < last;) {
            const int vectors = last - row < V::MOST * L ? (last - row) / L : V::MOST;
            if (vectors == V::MOST) {
                bytes<V::MOST>(m, row, x, y);
            } else {
                byte_rest<V::MOST - 1>(m, vectors, row, x, y);
            }
            row += vectors * L;
        }
    }

    // The same over the high and the low bytes of x, whose sums always fit.
    template <int NV>
    static void wide_group(const int16_t* w, int pairs, const int16_t* high, const int16_t* low,
                           const double* bias, double* y) {
        I sum[2 * NV];
        UNROLLED
        for (int v = 0; v < 2 * NV; ++v) {
            sum[v] = V::zero();
        }
        for (int p = 0; p < pairs; ++p) {
            const I both_high = V::broadcast_pair(high + 2 * p);
            const I both_low = V::broadcast_pair(low + 2 * p);
            UNROLLED
            for (int v = 0; v < NV; ++v) {
                const I weights = V::load_pairs(w);
                sum[v] = V::dot(sum[v], weights, both_high);
                sum[NV + v] = V::dot(sum[NV + v], weights, both_low);
                w += 2 * L;
            }
        }
        UNROLLED
        for (int v = 0; v < NV; ++v) {
            const Both total = fma(widen(sum[v]), V::set_double(256.0), widen(sum[NV + v]));
            store(y + v * L, plus(total, load(bias + v * L)));
        }
    }

    template <int NV>
    static void rest(const Matrix& m, int vectors, int first, const int16_t* x, const int16_t* low,
                     bool narrow_sums, double* y) {
        if constexpr (NV > 0) {
            if (vectors != NV) {
                rest<NV - 1>(m, vectors, first, x, low, narrow_sums, y);
            } else if (narrow_sums) {
                pairs<NV>(m, first, x, y);
            } else {
                const int16_t* w = m.weight.data() + static_cast<size_t>(first) * m.pairs * 2;
                wide_group<NV>(w, m.pairs, x, low, m.wide_bias.data() + first, y + first);
            }
        }
    }

    template <int NV>
    INLINED static void pairs(const Matrix& m, int first, const int16_t* x, double* y) {
        const int16_t* w = m.weight.data() + static_cast<size_t>(first) * m.pairs * 2;
        group<NV, Pairs>(w, 2 * m.pairs, x, m.bias.data() + first, y + first);
    }

    // y = W x + b for rows first to last - 1, exact.
    INLINED static void product(const Matrix& m, int first, int last, const int16_t* x,
                                bool narrow_sums, Workplace& s, double* y) {
        const int16_t* low = nullptr;
        if (!narrow_sums) {
            const int columns = 2 * m.pairs;
            for (int k = 0; k < columns; ++k) {
                s.high_bytes[k] = static_cast<int16_t>(x[k] >> 8);
                s.low_bytes[k] = static_cast<int16_t>(x[k] & 255);
            }
            x = s.high_bytes.data();
            low = s.low_bytes.data();
        }
        for (int row = first; row < last;) {
            const int vectors = last - row < V::MOST * L ? (last - row) / L : V::MOST;
            if (vectors == V::MOST && narrow_sums) {
                pairs<V::MOST>(m, row, x, y);
            } else {
                rest<V::MOST>(m, vectors, row, x, low, narrow_sums, y);
            }
            row += vectors * L;
        }
    }
};

} // namespace
} // namespace simd

#endif
