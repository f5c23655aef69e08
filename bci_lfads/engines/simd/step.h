// A step of a recurrence.
#ifndef LFADS_SIMD_STEP_H
#define LFADS_SIMD_STEP_H

#include "products.h"

#include <type_traits>

namespace simd {
namespace {

template <class V> struct Step : Products<V> {
    using N = Numbers<V>;
    using N::clamp;
    using N::fma;
    using N::L;
    using N::load;
    using N::nearest;
    using N::store;
    using N::store_halves;
    using N::times;
    using N::widen;
    using typename N::Both;
    using typename N::D;
    using typename N::I;
    using Products<V>::byte_product;
    using Products<V>::product;

    // Input parts in units of rounding: of a bin, or the generator's constants.
    struct BinInput {
        const int32_t* a;
        D gate, candidate;
        Both gate_part(int j) const { return times(widen(V::load(a + j)), gate); }
        Both candidate_part(int j) const { return times(widen(V::load(a + j)), candidate); }
    };
    struct ConstantInput {
        const double* a;
        Both gate_part(int j) const { return load(a + j); }
        Both candidate_part(int j) const { return load(a + j); }
    };

    struct State {
        int16_t* integers;
        double* values;
    };

    // Puts states, which are integers, where a recurrent product takes them from.
    template <Input INPUT>
    static void store_input(const GruPlan& g, Both h, int16_t* state, int16_t* rounded,
                            uint8_t* bytes) {
        if constexpr (INPUT == Input::STATE) {
            store_halves(state, h);
            return;
        }
        const Both scaled = times(h, V::set_double(g.to_byte));
        if constexpr (INPUT == Input::BYTES) {
            V::store_bytes(bytes, scaled.low, scaled.high);
        } else if constexpr (INPUT == Input::ROUNDED) {
            store_halves(rounded, clamp(scaled, V::set_double(-128.0), V::set_double(127.0)));
        }
    }

    // The same for a state, whose 16 bits are kept as well.
    template <Input INPUT>
    static void store_state(const GruPlan& g, Both h, int16_t* state, int j, Workplace& s) {
        store_input<INPUT>(g, h, state + j, s.rounded.data() + j, s.bytes.data() + j);
        if constexpr (INPUT != Input::STATE) {
            store_halves(state + j, h);
        }
    }

    // A recurrent product of the state, or of the reset state.
    template <Input INPUT>
    INLINED static void recurrent(const Matrix& m, int last, const int16_t* state, bool narrow_sums,
                                  bool reset, Workplace& s, double* y) {
        if constexpr (INPUT == Input::BYTES) {
            byte_product(m, 0, last, reset ? s.reset_bytes.data() : s.bytes.data(), y);
        } else if constexpr (INPUT == Input::ROUNDED) {
            product(m, 0, last, reset ? s.reset_rounded.data() : s.rounded.data(), true, s, y);
        } else {
            product(m, 0, last, state, narrow_sums, s, y);
        }
    }

    // The state after h: its values in place, its integers to `next`, which may be in place too.
    template <bool SMOOTH, Input INPUT, class PART>
    INLINED static void step(const GruPlan& g, const PART& input, State h, int16_t* next,
                             bool narrow_sums, Workplace& s) {
        const int n = g.padded;
        double* c_r = s.sums.data();
        double* c_z = c_r + n;
        double* c_n = c_z + n;
        const D by_gate = V::set_double(g.gate_recurrent);
        const D by_candidate = V::set_double(g.candidate_recurrent);
        const D half = V::set_double(32768.0);
        const D unit = V::set_double(1.0 / 65536);
        // Arguments of the activations, and their values: gates less a half, with point 16.
        const auto fraction = [&](Both gate) {
            const D a_half = V::set_double(0.5);
            return fma(gate, unit, {a_half, a_half});
        };
        const auto reset = [&](int j) {
            return fma(load(c_r + j), by_gate, input.gate_part(n + j));
        };
        const auto update = [&](int j) { return fma(load(c_z + j), by_gate, input.gate_part(j)); };
        const auto candidate_after = [&](int j, Both r) {
            const Both c = times(load(c_n + j), by_candidate);
            return fma(r, c, fma(c, half, input.candidate_part(2 * n + j)));
        };
        const auto candidate_before = [&](int j) {
            return fma(load(c_n + j), by_candidate, input.candidate_part(2 * n + j));
        };
        const D keep = V::set_double(-g.candidate_to_state / 65536);
        const D keep_half = V::set_double(g.candidate_to_state / 2);
        const D low = V::set_double(g.low);
        const D high = V::set_double(g.high);
        // z h + (1 - z) n, of which all but the last sum does not wait for n.
        const auto blend = [&](int j, Both z, Both candidate) {
            const Both kept = times(fraction(z), load(h.values + j));
            Both state = nearest(fma(candidate, fma(z, keep, {keep_half, keep_half}), kept));
            if (g.clips) {
                state = clamp(state, low, high);
            }
            store(h.values + j, state);
            store_state<INPUT>(g, state, next, j, s);
        };

        recurrent<INPUT>(g.gates, g.reset_before ? 2 * n : 3 * n, h.integers, narrow_sums, false, s,
                         c_r);
        // An activation's way is long: several at a time, resets before all else, which waits for
        // them.
        const auto several = [&](const auto& work) {
            int j = 0;
            for (; j + V::TABLES * L <= n; j += V::TABLES * L) {
                work(j, std::integral_constant<int, V::TABLES>());
            }
            for (; j + 2 * L <= n; j += 2 * L) {
                work(j, std::integral_constant<int, 2>());
            }
            if (j < n) {
                work(j, std::integral_constant<int, 1>());
            }
        };
        several([&](int j, auto count) {
            constexpr int K = decltype(count)::value;
            Both r[K];
            UNROLLED
            for (int k = 0; k < K; ++k) {
                r[k] = reset(j + k * L);
            }
            N::template activation<SMOOTH>(r);
            UNROLLED
            for (int k = 0; k < K; ++k) {
                const int i = j + k * L;
                if (g.reset_before) {
                    store_input<INPUT>(g, nearest(times(fraction(r[k]), load(h.values + i))),
                                       s.reset_state.data() + i, s.reset_rounded.data() + i,
                                       s.reset_bytes.data() + i);
                } else {
                    store(c_r + i, r[k]);
                }
            }
        });
        if (g.reset_before) {
            recurrent<INPUT>(g.candidate, n, s.reset_state.data(), narrow_sums, true, s, c_n);
        }
        several([&](int j, auto count) {
            constexpr int K = decltype(count)::value;
            Both nz[2 * K];
            UNROLLED
            for (int k = 0; k < K; ++k) {
                const int i = j + k * L;
                nz[k] = g.reset_before ? candidate_before(i) : candidate_after(i, load(c_r + i));
                nz[K + k] = update(i);
            }
            N::template activation<SMOOTH>(nz);
            UNROLLED
            for (int k = 0; k < K; ++k) {
                blend(j + k * L, nz[K + k], nz[k]);
            }
        });
    }
};

} // namespace
} // namespace simd

#endif
