// One window in vectors: the stages of docs/arithmetic.md, "A window", by a plan.
#ifndef LFADS_SIMD_WINDOW_H
#define LFADS_SIMD_WINDOW_H

#include "inputs.h"
#include "rates.h"
#include "read_out.h"
#include "step.h"

#include <cstring>

namespace simd {
namespace {

template <class V> struct Window : Step<V> {
    using typename Step<V>::BinInput;
    using typename Step<V>::Both;
    using typename Step<V>::ConstantInput;
    using typename Step<V>::D;
    using typename Step<V>::State;
    using Step<V>::L;
    using Step<V>::clamp;
    using Step<V>::load;
    using Step<V>::nearest;
    using Step<V>::product;
    using Step<V>::store;
    using Step<V>::store_halves;
    using Step<V>::times;

    // Last state of one direction, from its input parts.
    template <bool SMOOTH, Input INPUT> static void encode_as(const Plan& p, int side, Scratch& s) {
        const EncoderPlan& e = p.encoder[side];
        const GruPlan& g = e.gru;
        Workplace& work = s.work[side];
        const State h = {work.state.data(), work.state_values.data()};
        for (int j = 0; j < g.padded; j += L) {
            const Both first = load(e.initial_state.data() + j);
            store(h.values + j, first);
            Step<V>::template store_state<INPUT>(g, first, h.integers, j, work);
        }
        BinInput input = {nullptr, V::set_double(g.gate_input), V::set_double(g.candidate_input)};
        for (int i = 0; i < p.n_bins; ++i) {
            input.a = Inputs<V>::input_of(p, side, side == 0 ? i : p.n_bins - 1 - i, s);
            Step<V>::template step<SMOOTH, INPUT>(g, input, h, h.integers, e.narrow, work);
        }
        std::memcpy(s.ends.data() + side * g.size, h.integers,
                    static_cast<size_t>(g.size) * sizeof *h.integers);
    }

    // A clamped, rounded affine map.
    static void affine_state(const AffinePlan& m, const int16_t* x, Workplace& s, State out) {
        product(m.map, 0, m.map.rows, x, m.narrow, s, s.sums.data());
        const D scale = V::set_double(m.scale);
        const D low = V::set_double(-32768.0);
        const D high = V::set_double(32767.0);
        for (int j = 0; j < m.map.rows; j += L) {
            const Both y = clamp(nearest(times(load(s.sums.data() + j), scale)), low, high);
            store(out.values + j, y);
            store_halves(out.integers + j, y);
        }
    }

    // The initial condition, then the generator's states of all bins.
    template <bool SMOOTH, Input INPUT> static void generate_as(const Plan& p, Scratch& s) {
        Workplace& work = s.work[0];
        State g = {s.generated.data(), work.state_values.data()};
        if (p.linear_ic) {
            affine_state(p.ic, s.ends.data(), work, {s.ic.data(), s.ic_values.data()});
            affine_state(p.initial, s.ic.data(), work, g);
        } else {
            affine_state(p.ic, s.ends.data(), work, g);
        }
        // No later state is larger than the first, or than one.
        int64_t most = p.generator_one;
        for (int j = 0; j < p.generator.size; ++j) {
            const int64_t v = g.integers[j] < 0 ? -int64_t{g.integers[j]} : g.integers[j];
            most = v > most ? v : most;
        }
        const Matrix& last = p.generator.reset_before ? p.generator.candidate : p.generator.gates;
        const bool narrow_sums = p.generator.gates.narrow(most) && last.narrow(most);
        for (int j = 0; j < p.generator.padded; j += L) {
            Step<V>::template store_state<INPUT>(p.generator, load(g.values + j), g.integers, j,
                                                 work);
        }
        const ConstantInput input = {p.generator_input.data()};
        for (int bin = 0; bin < p.n_bins_out; ++bin) {
            int16_t* next = g.integers + p.generator.padded;
            Step<V>::template step<SMOOTH, INPUT>(p.generator, input, g, next, narrow_sums, work);
            g.integers = next;
            __atomic_store_n(&s.n_generated, bin + 1, __ATOMIC_RELEASE);
        }
    }

    // Calls with the form of activations and the products' input as constants.
    template <class WORK> static void by_form(bool smooth, Input input, const WORK& work) {
        const auto with_input = [&](auto is_smooth) {
            if (input == Input::STATE) {
                work(is_smooth, std::integral_constant<Input, Input::STATE>());
            } else if (V::HAS_BYTES) {
                work(is_smooth,
                     std::integral_constant<Input, V::HAS_BYTES ? Input::BYTES : Input::ROUNDED>());
            } else {
                work(is_smooth, std::integral_constant<Input, Input::ROUNDED>());
            }
        };
        if (smooth) {
            with_input(std::true_type());
        } else {
            with_input(std::false_type());
        }
    }

    static void encode(const Plan& p, int side, int first, Scratch& s) {
        Inputs<V>::project(p, side, first, s);
        by_form(p.smooth, p.encoder[side].gru.input, [&](auto is_smooth, auto input) {
            encode_as<decltype(is_smooth)::value, decltype(input)::value>(p, side, s);
        });
    }

    static void generate(const Plan& p, Scratch& s) {
        by_form(p.smooth, p.generator.input, [&](auto is_smooth, auto input) {
            generate_as<decltype(is_smooth)::value, decltype(input)::value>(p, s);
        });
    }

    static constexpr Path path(const char* name) {
        return {name,     V::MOST * L,          V::HAS_BYTES,   Inputs<V>::find, encode,
                generate, ReadOut<V>::read_out, Rates<V>::dots, Rates<V>::fmas};
    }
};

} // namespace
} // namespace simd

#endif
