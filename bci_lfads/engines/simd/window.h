// One window in vectors: the stages of docs/arithmetic.md, "A window", by a plan.
//
// Included once by each instruction set's file, whose V says what a vector is. All of it is local
// to that file, so that no function compiled for one processor is linked into another's path.
#include "lfads_tanh_table.h"
#include "paths.h"

#include <cstring>

namespace simd {
namespace {

constexpr double OUTPUT_LIMIT = (1 << 23) - 1;

// The pairs of counts of which one at least is not zero: their places, and the first count with
// the second in the high half. Returns how many. For vectors that have no better way; `row` is
// padded with zeros.
[[maybe_unused]] inline int find_fired_by_words(const uint8_t* counts, int n_units, uint8_t* row,
                                                int32_t* pair, int32_t* both) {
    std::memcpy(row, counts, static_cast<size_t>(n_units));
    int n = 0;
    for (int word = 0; 8 * word < n_units; ++word) {
        uint64_t eight;
        std::memcpy(&eight, row + 8 * word, 8);
        while (eight != 0) {
            const int i = 4 * word + __builtin_ctzll(eight) / 16;
            pair[n] = i;
            both[n] = row[2 * i] | row[2 * i + 1] << 16;
            ++n;
            eight &= ~(uint64_t{0xFFFF} << 16 * (i & 3));
        }
    }
    return n;
}

template <typename T, T VALUE> struct Constant {
    static constexpr T value = VALUE;
};

template <class V> struct Window {
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

    // Sums of one group of NV vectors of rows, from 32-bit accumulators.
    template <int NV>
    static void group(const int16_t* w, int pairs, const int16_t* x, const int32_t* bias,
                      double* y) {
        constexpr int PHASES = NV <= 2 ? 4 : (NV <= 4 ? 2 : 1); // enough sums in flight
        I sum[NV * PHASES];
        for (int v = 0; v < NV * PHASES; ++v) {
            sum[v] = v < NV ? V::load(bias + v * L) : V::zero();
        }
        for (int p = 0; p < pairs; p += PHASES) {
            for (int phase = 0; phase < PHASES; ++phase) {
                const I both = V::broadcast_pair(x + 2 * (p + phase));
                for (int v = 0; v < NV; ++v) {
                    I& s = sum[phase * NV + v];
                    s = V::dot(s, V::load_pairs(w), both);
                    w += 2 * L;
                }
            }
        }
        for (int v = 0; v < NV; ++v) {
            I total = sum[v];
            for (int phase = 1; phase < PHASES; ++phase) {
                total = V::add(total, sum[phase * NV + v]);
            }
            store(y + v * L, widen(total));
        }
    }

    // The same from bytes: x is 128 more than it stands for, which the bias takes off.
    template <int NV>
    static void byte_group(const int8_t* w, int fours, const uint8_t* x, const int32_t* bias,
                           double* y) {
        constexpr int PHASES = NV <= 2 ? 4 : (NV <= 4 ? 2 : 1);
        I sum[NV * PHASES];
        for (int v = 0; v < NV * PHASES; ++v) {
            sum[v] = v < NV ? V::load(bias + v * L) : V::zero();
        }
        for (int f = 0; f < fours; f += PHASES) {
            for (int phase = 0; phase < PHASES; ++phase) {
                const I four = V::broadcast_four(x + 4 * (f + phase));
                for (int v = 0; v < NV; ++v) {
                    I& s = sum[phase * NV + v];
                    s = V::dot_bytes(s, V::load_fours(w), four);
                    w += 4 * L;
                }
            }
        }
        for (int v = 0; v < NV; ++v) {
            I total = sum[v];
            for (int phase = 1; phase < PHASES; ++phase) {
                total = V::add(total, sum[phase * NV + v]);
            }
            store(y + v * L, widen(total));
        }
    }

    template <int NV>
    static void byte_rest(const Matrix& m, int vectors, int first, const uint8_t* x, double* y) {
        if constexpr (NV > 0) {
            if (vectors == NV) {
                const int8_t* w = m.bytes.data() + static_cast<size_t>(first) * m.pairs * 2;
                byte_group<NV>(w, m.pairs / 2, x, m.byte_bias.data() + first, y + first);
            } else {
                byte_rest<NV - 1>(m, vectors, first, x, y);
            }
        }
    }

    static void byte_product(const Matrix& m, int first, int last, const uint8_t* x, double* y) {
        for (int row = first; row < last;) {
            const int vectors = last - row < V::MOST * L ? (last - row) / L : V::MOST;
            byte_rest<V::MOST>(m, vectors, row, x, y);
            row += vectors * L;
        }
    }

    // The same over the high and the low bytes of x, whose sums always fit.
    template <int NV>
    static void wide_group(const int16_t* w, int pairs, const int16_t* high, const int16_t* low,
                           const double* bias, double* y) {
        I sum[2 * NV];
        for (I& s : sum) {
            s = V::zero();
        }
        for (int p = 0; p < pairs; ++p) {
            const I both_high = V::broadcast_pair(high + 2 * p);
            const I both_low = V::broadcast_pair(low + 2 * p);
            for (int v = 0; v < NV; ++v) {
                const I weights = V::load_pairs(w);
                sum[v] = V::dot(sum[v], weights, both_high);
                sum[NV + v] = V::dot(sum[NV + v], weights, both_low);
                w += 2 * L;
            }
        }
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
                return;
            }
            const int16_t* w = m.weight.data() + static_cast<size_t>(first) * m.pairs * 2;
            if (narrow_sums) {
                group<NV>(w, m.pairs, x, m.bias.data() + first, y + first);
            } else {
                wide_group<NV>(w, m.pairs, x, low, m.wide_bias.data() + first, y + first);
            }
        }
    }

    // y = W x + b for rows first to last - 1, exact.
    static void product(const Matrix& m, int first, int last, const int16_t* x, bool narrow_sums,
                        Workplace& s, double* y) {
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
            rest<V::MOST>(m, vectors, row, x, low, narrow_sums, y);
            row += vectors * L;
        }
    }

    // Point 15 before clamping, from an argument that is rounded here to the table's point; a plan
    // says that it fits 32 bits. The table's values need no clamping: for no argument do they
    // leave what rounds to 0..2^15.
    template <int K> static void table(Both (&x)[K]) {
        I v[K], piece[K], d[K], y[K];
        for (int k = 0; k < K; ++k) {
            v[k] = narrow(x[k]);
            const I m = V::min_int(V::absolute(v[k]), V::set(lfads::TANH_LIMIT));
            piece[k] = V::template shift_right<lfads::TANH_PIECE_BITS>(m);
            d[k] = V::bit_and(m, V::set((1 << lfads::TANH_PIECE_BITS) - 1));
        }
        // One coefficient of all, then the next: a table is fetched once.
        const auto lookup = [&](const int32_t* coefficients) { V::lookup(coefficients, piece, y); };
        I inner[K];
        lookup(lfads::TANH_C2);
        for (int k = 0; k < K; ++k) {
            inner[k] = V::template shift_right<lfads::TANH_K2>(V::multiply(d[k], y[k]));
        }
        lookup(lfads::TANH_C1);
        for (int k = 0; k < K; ++k) { // of 34 bits
            inner[k] = V::template multiply_shift<lfads::TANH_K1>(d[k], V::add(inner[k], y[k]));
        }
        lookup(lfads::TANH_C0);
        for (int k = 0; k < K; ++k) {
            const I sum = V::add(inner[k], y[k]);
            const I odd = V::bit_and(V::template shift_right<5>(sum), V::set(1));
            const I rounded = V::template shift_right<5>(V::add(V::add(sum, V::set(15)), odd));
            x[k] = widen(V::min_int(V::with_sign(rounded, v[k]), V::set(32767)));
        }
    }

    // Point 15, -32768 to 32767: a candidate, or a gate (point 16) less 32768.
    template <bool SMOOTH, int K> static void activation(Both (&x)[K]) {
        if constexpr (SMOOTH) {
            table(x);
        } else {
            for (Both& v : x) {
                v = nearest(clamp(v, V::set_double(-32768.0), V::set_double(32767.0)));
            }
        }
    }

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

    static void store_halves(int16_t* p, Both v) { V::store_halves(p, v.low, v.high); }

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
    static void recurrent(const Matrix& m, int last, const int16_t* state, bool narrow_sums,
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
    static void step(const GruPlan& g, const PART& input, State h, int16_t* next, bool narrow_sums,
                     Workplace& s) {
        const int n = g.padded;
        double* c_r = s.sums.data();
        double* c_z = c_r + n;
        double* c_n = c_z + n;
        const D by_gate = V::set_double(g.gate_recurrent);
        const D by_candidate = V::set_double(g.candidate_recurrent);
        const D half = V::set_double(32768.0);
        const D unit = V::set_double(1.0 / 65536);
        // Arguments of the activations, and their values: gates less a half, with point 16.
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
            const Both kept =
                times(fma(z, unit, {V::set_double(0.5), V::set_double(0.5)}), load(h.values + j));
            Both state = nearest(fma(candidate, fma(z, keep, {keep_half, keep_half}), kept));
            if (g.clips) {
                state = clamp(state, low, high);
            }
            store(h.values + j, state);
            store_state<INPUT>(g, state, next, j, s);
        };

        recurrent<INPUT>(g.gates, g.reset_before ? 2 * n : 3 * n, h.integers, narrow_sums, false, s,
                         c_r);
        if (!SMOOTH && !g.reset_before) {
            for (int j = 0; j < n; j += L) {
                Both r[1] = {reset(j)};
                activation<SMOOTH>(r);
                Both candidate[1] = {candidate_after(j, r[0])};
                Both z[1] = {update(j)};
                activation<SMOOTH>(candidate);
                activation<SMOOTH>(z);
                blend(j, z[0], candidate[0]);
            }
            return;
        }
        // The table's way is long: several arguments at a time.
        for (int j = 0; j < n; j += L) {
            Both rz[2] = {reset(j), update(j)};
            activation<SMOOTH>(rz);
            store(c_z + j, rz[1]);
            if (g.reset_before) {
                const Both r = fma(rz[0], unit, {V::set_double(0.5), V::set_double(0.5)});
                store_input<INPUT>(g, nearest(times(r, load(h.values + j))),
                                   s.reset_state.data() + j, s.reset_rounded.data() + j,
                                   s.reset_bytes.data() + j);
            } else {
                store(c_r + j, rz[0]);
            }
        }
        if (g.reset_before) {
            recurrent<INPUT>(g.candidate, n, s.reset_state.data(), narrow_sums, true, s, c_n);
        }
        const auto candidates = [&](int j, auto& x) {
            constexpr int K = sizeof x / sizeof x[0];
            for (int k = 0; k < K; ++k) {
                const int i = j + k * L;
                x[k] = g.reset_before ? candidate_before(i) : candidate_after(i, load(c_r + i));
            }
            activation<SMOOTH>(x);
            for (int k = 0; k < K; ++k) {
                blend(j + k * L, load(c_z + j + k * L), x[k]);
            }
        };
        int j = 0;
        for (; j + 2 * L <= n; j += 2 * L) {
            Both x[2];
            candidates(j, x);
        }
        if (j < n) {
            Both x[1];
            candidates(j, x);
        }
    }

    // Input parts of NV vectors of gate rows of a bin: the weights of the units that fired, times
    // their counts.
    template <int NV>
    static void project_rows(const Plan& p, const EncoderPlan& e, const Scratch& s, int bin,
                             int row, int32_t* a) {
        const size_t rows = 3 * static_cast<size_t>(e.gru.padded);
        I sum[NV];
        for (int v = 0; v < NV; ++v) {
            sum[v] = V::load(e.input_bias.data() + row + v * L);
        }
        for (int i = s.bin_begin[bin]; i < s.bin_begin[bin + 1]; ++i) {
            const size_t lane = s.fired[i] * rows + row;
            const I counts = V::set(s.fired_counts[i]);
            if constexpr (V::HAS_BYTES) {
                if (p.input_bytes) {
                    const int8_t* w = e.input_bytes.data() + lane * 4;
                    for (int v = 0; v < NV; ++v) {
                        sum[v] = V::dot_bytes(sum[v], V::load_fours(w + 4 * v * L), counts);
                    }
                    continue;
                }
            }
            const int16_t* w = e.input_weight.data() + lane * 2;
            for (int v = 0; v < NV; ++v) {
                sum[v] = V::dot(sum[v], V::load_pairs(w + 2 * v * L), counts);
            }
        }
        for (int v = 0; v < NV; ++v) {
            const bool gate = row + v * L < 2 * e.gru.padded;
            const int32_t most = gate ? e.gru.gate_input_max : e.gru.candidate_input_max;
            const I limited = V::min_int(V::max_int(sum[v], V::set(-most)), V::set(most));
            V::store(a + row + v * L, limited);
        }
    }

    template <int NV>
    static void project_rest(const Plan& p, const EncoderPlan& e, const Scratch& s, int bin,
                             int vectors, int row, int32_t* a) {
        if constexpr (NV > 0) {
            if (vectors == NV) {
                project_rows<NV>(p, e, s, bin, row, a);
            } else {
                project_rest<NV - 1>(p, e, s, bin, vectors, row, a);
            }
        }
    }

    // Where the input part of a bin of the window is kept.
    static int32_t* input_of(const Plan& p, int side, int bin, Scratch& s) {
        const int row = s.first_row + bin;
        const size_t rows = 3 * static_cast<size_t>(p.encoder[side].gru.padded);
        return s.inputs[side].data() + (row < p.n_bins ? row : row - p.n_bins) * rows;
    }

    // Input parts of the bins from `first` on.
    static void project(const Plan& p, int side, int first, Scratch& s) {
        const int rows = 3 * p.encoder[side].gru.padded;
        for (int bin = first; bin < p.n_bins; ++bin) {
            int32_t* a = input_of(p, side, bin, s);
            for (int row = 0; row < rows;) {
                const int vectors = rows - row < V::MOST * L ? (rows - row) / L : V::MOST;
                project_rest<V::MOST>(p, p.encoder[side], s, bin, vectors, row, a);
                row += vectors * L;
            }
        }
    }

    // Last state of one direction, from its input parts.
    template <bool SMOOTH, Input INPUT> static void encode_as(const Plan& p, int side, Scratch& s) {
        const EncoderPlan& e = p.encoder[side];
        const GruPlan& g = e.gru;
        Workplace& work = s.work[side];
        const State h = {work.state.data(), work.state_values.data()};
        for (int j = 0; j < g.padded; j += L) {
            const Both first = load(e.initial_state.data() + j);
            store(h.values + j, first);
            store_state<INPUT>(g, first, h.integers, j, work);
        }
        BinInput input = {nullptr, V::set_double(g.gate_input), V::set_double(g.candidate_input)};
        for (int i = 0; i < p.n_bins; ++i) {
            input.a = input_of(p, side, side == 0 ? i : p.n_bins - 1 - i, s);
            step<SMOOTH, INPUT>(g, input, h, h.integers, e.narrow, work);
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

    // Factors of NB bins, kept as float64 for the rates.
    template <int NB>
    static void read_factors(const Plan& p, const int16_t* g, double* f, int32_t* factors) {
        const Matrix& m = p.factors.map;
        const D scale = V::set_double(p.factors.scale);
        const D limit = V::set_double(OUTPUT_LIMIT);
        for (int row = 0; row < m.rows; row += L) {
            const int group = row / p.height * p.height;
            const int in_group = m.rows - group < p.height ? m.rows - group : p.height;
            const int16_t* w =
                m.weight.data() + (static_cast<size_t>(group) * m.pairs + row - group) * 2;
            I high[NB];
            I low[NB];
            for (int b = 0; b < NB; ++b) {
                high[b] = low[b] = V::zero();
            }
            for (int pair = 0; pair < m.pairs; ++pair, w += 2 * in_group) {
                const I weights = V::load_pairs(w);
                for (int b = 0; b < NB; ++b) {
                    const I x = V::broadcast_pair(g + b * 2 * m.pairs + 2 * pair);
                    high[b] = V::dot(high[b], weights, V::high_bytes(x));
                    low[b] = V::dot(low[b], weights, V::low_bytes(x));
                }
            }
            for (int b = 0; b < NB; ++b) {
                const Both total = fma(widen(high[b]), V::set_double(256.0), widen(low[b]));
                const Both rounded = nearest(times(total, scale));
                const Both limited = clamp(rounded, V::negative(limit), limit);
                double* out = f + static_cast<size_t>(b) * m.rows + row;
                store(out, limited);
                for (int i = 0; i < L && row + i < p.n_factors; ++i) {
                    factors[b * p.n_factors + row + i] = static_cast<int32_t>(out[i]);
                }
            }
        }
    }

    // Log-rates of NB bins.
    template <int NB> static void read_rates(const Plan& p, const double* f, int32_t* log_rates) {
        const D scale = V::set_double(p.rates_scale);
        const D limit = V::set_double(OUTPUT_LIMIT);
        for (int unit = 0; unit < p.n_units; unit += L) {
            Both sum[NB];
            for (Both& b : sum) {
                b = load(p.rates_bias.data() + unit);
            }
            const double* w = p.rates_weight.data() + unit;
            for (int i = 0; i < p.n_factors; ++i, w += p.padded_units) {
                const Both weight = load(w);
                for (int b = 0; b < NB; ++b) {
                    sum[b] = fma(weight, V::set_double(f[b * p.factors.map.rows + i]), sum[b]);
                }
            }
            for (int b = 0; b < NB; ++b) {
                const Both rounded = nearest(times(sum[b], scale));
                const I l = narrow(clamp(rounded, V::negative(limit), limit));
                int32_t* out = log_rates + static_cast<size_t>(b) * p.n_units + unit;
                if (unit + L <= p.n_units) {
                    V::store(out, l);
                } else {
                    int32_t last[L];
                    V::store(last, l);
                    std::memcpy(out, last, static_cast<size_t>(p.n_units - unit) * sizeof *out);
                }
            }
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
            store_state<INPUT>(p.generator, load(g.values + j), g.integers, j, work);
        }
        const ConstantInput input = {p.generator_input.data()};
        for (int bin = 0; bin < p.n_bins_out; ++bin) {
            int16_t* next = g.integers + p.generator.padded;
            step<SMOOTH, INPUT>(p.generator, input, g, next, narrow_sums, work);
            g.integers = next;
            __atomic_store_n(&s.n_generated, bin + 1, __ATOMIC_RELEASE);
        }
    }

    // Factors and log-rates of NB bins from `bin` on.
    template <int NB>
    static void read_bins(const Plan& p, int bin, Scratch& s, int32_t* factors,
                          int32_t* log_rates) {
        const size_t at = static_cast<size_t>(bin);
        const int16_t* g = s.generated.data() + (at + 1) * p.generator.padded;
        double* f = s.factor_values.data() + at * p.factors.map.rows;
        read_factors<NB>(p, g, f, factors + at * p.n_factors);
        if (log_rates != nullptr) {
            read_rates<NB>(p, f, log_rates + at * p.n_units);
        }
    }

    static bool find(const Plan& p, const uint8_t* counts, int first, Scratch& s) {
        const int64_t forward = p.encoder[0].counts_max;
        const int64_t backward = p.encoder[1].counts_max;
        const int64_t most = forward < backward ? forward : backward;
        int n = 0;
        for (int bin = first; bin < p.n_bins; ++bin) {
            const uint8_t* of_bin = counts + static_cast<size_t>(bin) * p.n_units;
            s.bin_begin[bin] = n;
            n += find_bin(p, of_bin, s, n);
            if ((n - s.bin_begin[bin]) * 4 * 255 > most) {
                int64_t spikes = 0;
                for (int unit = 0; unit < p.n_units; ++unit) {
                    spikes += of_bin[unit];
                }
                if (spikes > most) {
                    return false;
                }
            }
        }
        s.bin_begin[p.n_bins] = n;
        return true;
    }

    static int find_bin(const Plan& p, const uint8_t* counts, Scratch& s, int n) {
        int32_t* place = s.fired.data() + n;
        int32_t* found = s.fired_counts.data() + n;
        if constexpr (V::HAS_BYTES) {
            if (p.input_bytes) {
                return V::find_fours(counts, p.n_units, place, found);
            }
        }
        return V::find_fired(counts, p.n_units, s.row.data(), place, found);
    }

    // Calls with the form of activations and the products' input as constants.
    template <class WORK> static void by_form(bool smooth, Input input, const WORK& work) {
        const auto with_input = [&](auto is_smooth) {
            if (input == Input::STATE) {
                work(is_smooth, Constant<Input, Input::STATE>());
            } else if (V::HAS_BYTES) {
                work(is_smooth, Constant<Input, V::HAS_BYTES ? Input::BYTES : Input::ROUNDED>());
            } else {
                work(is_smooth, Constant<Input, Input::ROUNDED>());
            }
        };
        if (smooth) {
            with_input(Constant<bool, true>());
        } else {
            with_input(Constant<bool, false>());
        }
    }

    static void encode(const Plan& p, int side, int first, Scratch& s) {
        project(p, side, first, s);
        by_form(p.smooth, p.encoder[side].gru.input, [&](auto is_smooth, auto input) {
            encode_as<decltype(is_smooth)::value, decltype(input)::value>(p, side, s);
        });
    }

    static void generate(const Plan& p, Scratch& s) {
        by_form(p.smooth, p.generator.input, [&](auto is_smooth, auto input) {
            generate_as<decltype(is_smooth)::value, decltype(input)::value>(p, s);
        });
    }

    static void read_out(const Plan& p, int first, int last, Scratch& s, int32_t* factors,
                         int32_t* log_rates) {
        int bin = first;
        for (; bin + 4 <= last; bin += 4) {
            read_bins<4>(p, bin, s, factors, log_rates);
        }
        for (; bin < last; ++bin) {
            read_bins<1>(p, bin, s, factors, log_rates);
        }
    }

    static int64_t dots(const int16_t* weights, int64_t n, int64_t* kept) {
        constexpr int SUMS = V::MOST;
        I sum[SUMS];
        for (I& s : sum) {
            s = V::zero();
        }
        const I x = V::set(0x00010001);
        int64_t taken = 0;
        for (int64_t i = 0; i + SUMS * 2 * L <= n; i += SUMS * 2 * L, taken += SUMS) {
            for (int k = 0; k < SUMS; ++k) {
                sum[k] = V::dot(sum[k], V::load_pairs(weights + i + k * 2 * L), x);
            }
        }
        I all = sum[0];
        for (int k = 1; k < SUMS; ++k) {
            all = V::add(all, sum[k]);
        }
        int32_t out[L];
        V::store(out, all);
        *kept += out[0];
        return taken;
    }

    static int64_t fmas(int64_t n, int64_t* kept) {
        constexpr int SUMS = V::MOST;
        D sum[SUMS];
        for (int k = 0; k < SUMS; ++k) {
            sum[k] = V::set_double(k + static_cast<double>(*kept & 1));
        }
        const D factor = V::set_double(0.999);
        const D more = V::set_double(0.5);
        int64_t taken = 0;
        for (; taken < n; taken += SUMS) {
            for (D& s : sum) {
                s = V::fma(s, factor, more);
            }
        }
        alignas(64) double out[H];
        for (const D& s : sum) {
            V::store_double(out, s);
            *kept += static_cast<int64_t>(out[0]);
        }
        return taken;
    }

    static constexpr Path path(const char* name) {
        return {name, V::MOST * L, V::HAS_BYTES, find, encode, generate, read_out, dots, fmas};
    }
};

} // namespace
} // namespace simd
