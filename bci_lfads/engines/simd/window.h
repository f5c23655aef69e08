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
    static Both minus(Both a, Both b) { return {V::sub(a.low, b.low), V::sub(a.high, b.high)}; }
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

    // Gates as fractions: point 16, 0 to 65535, times 2^-16.
    template <bool SMOOTH, int K> static void gate(Both (&x)[K]) {
        const D half = V::set_double(0.5);
        activation<SMOOTH>(x);
        for (Both& v : x) {
            v = fma(v, V::set_double(1.0 / 65536), {half, half});
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
        int16_t* integers; // what products take
        double* values;
    };

    // The state after h: its values in place, its integers to `next`, which may be in place too.
    template <bool SMOOTH, class INPUT>
    static void step(const GruPlan& g, const INPUT& input, State h, int16_t* next, bool narrow_sums,
                     Workplace& s) {
        const int n = g.padded;
        double* c = s.sums.data();
        double* update = s.update.data();
        const D by_gate = V::set_double(g.gate_recurrent);
        const D by_candidate = V::set_double(g.candidate_recurrent);
        const D by_reset = V::set_double(65536 * g.candidate_recurrent);
        const D to_state = V::set_double(g.candidate_to_state);
        const D low = V::set_double(g.low);
        const D high = V::set_double(g.high);
        const double* c_z = c + n;
        const double* c_n = c + 2 * n;
        // Gates first, so that no candidate waits alone.
        if (g.reset_before) {
            product(g.gates, 0, 2 * n, h.integers, narrow_sums, s, c);
            for (int j = 0; j < n; j += L) {
                Both rz[2] = {fma(load(c + j), by_gate, input.gate_part(n + j)),
                              fma(load(c_z + j), by_gate, input.gate_part(j))};
                gate<SMOOTH>(rz);
                const Both q = times(rz[0], load(h.values + j));
                V::store_halves(s.reset_state.data() + j, narrow(q));
                store(update + j, rz[1]);
            }
            product(g.candidate, 0, n, s.reset_state.data(), narrow_sums, s, c + 2 * n);
        } else {
            product(g.gates, 0, 3 * n, h.integers, narrow_sums, s, c);
            for (int j = 0; j < n; j += L) {
                Both rz[2] = {fma(load(c + j), by_gate, input.gate_part(n + j)),
                              fma(load(c_z + j), by_gate, input.gate_part(j))};
                gate<SMOOTH>(rz);
                store(c + j, rz[0]);
                store(update + j, rz[1]);
            }
        }
        const auto finish = [&](int j, auto& x) {
            constexpr int K = sizeof x / sizeof x[0];
            for (int k = 0; k < K; ++k) {
                const int i = j + k * L;
                const Both a = input.candidate_part(2 * n + i);
                x[k] = g.reset_before ? fma(load(c_n + i), by_candidate, a)
                                      : fma(load(c + i), times(load(c_n + i), by_reset), a);
            }
            activation<SMOOTH>(x);
            for (int k = 0; k < K; ++k) {
                const int i = j + k * L;
                const Both nk = times(x[k], to_state);
                const Both blend = fma(load(update + i), minus(load(h.values + i), nk), nk);
                const Both limited = clamp(nearest(blend), low, high);
                store(h.values + i, limited);
                V::store_halves(next + i, narrow(limited));
            }
        };
        int j = 0;
        for (; j + 2 * L <= n; j += 2 * L) {
            Both x[2];
            finish(j, x);
        }
        if (j < n) {
            Both x[1];
            finish(j, x);
        }
    }

    template <int NV>
    static void project_rows(const EncoderPlan& e, const Scratch& s, int begin, int end, int row,
                             int32_t* a) {
        const int rows = 3 * e.gru.padded;
        I sum[NV];
        for (int v = 0; v < NV; ++v) {
            sum[v] = V::load(e.input_bias.data() + row + v * L);
        }
        for (int i = begin; i < end; ++i) {
            const int16_t* w =
                e.input_weight.data() + (static_cast<size_t>(s.fired_pair[i]) * rows + row) * 2;
            const I both = V::set(s.fired_counts[i]);
            for (int v = 0; v < NV; ++v) {
                sum[v] = V::dot(sum[v], V::load_pairs(w + 2 * v * L), both);
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
    static void project_rest(const EncoderPlan& e, const Scratch& s, int begin, int end,
                             int vectors, int row, int32_t* a) {
        if constexpr (NV > 0) {
            if (vectors == NV) {
                project_rows<NV>(e, s, begin, end, row, a);
            } else {
                project_rest<NV - 1>(e, s, begin, end, vectors, row, a);
            }
        }
    }

    // Input part of the gates of a bin: the weights of the units that fired, times their counts.
    static void project(const EncoderPlan& e, const Scratch& s, int bin, int32_t* a) {
        const int rows = 3 * e.gru.padded;
        for (int row = 0; row < rows;) {
            const int vectors = rows - row < V::MOST * L ? (rows - row) / L : V::MOST;
            project_rest<V::MOST>(e, s, s.bin_begin[bin], s.bin_begin[bin + 1], vectors, row, a);
            row += vectors * L;
        }
    }

    // Last state of one direction.
    template <bool SMOOTH> static void encode_as(const Plan& p, int side, int first, Scratch& s) {
        const EncoderPlan& e = p.encoder[side];
        const GruPlan& g = e.gru;
        Workplace& work = s.work[side];
        const size_t rows = 3 * static_cast<size_t>(g.padded);
        const auto input_of = [&](int bin) {
            const int row = s.first_row + bin;
            return s.inputs[side].data() + (row < p.n_bins ? row : row - p.n_bins) * rows;
        };
        for (int bin = first; bin < p.n_bins; ++bin) {
            project(e, s, bin, input_of(bin));
        }
        State h = {work.state.data(), work.state_values.data()};
        for (int j = 0; j < g.padded; ++j) {
            h.values[j] = e.initial_state[j];
            h.integers[j] = static_cast<int16_t>(e.initial_state[j]);
        }
        BinInput input = {nullptr, V::set_double(g.gate_input), V::set_double(g.candidate_input)};
        for (int i = 0; i < p.n_bins; ++i) {
            input.a = input_of(side == 0 ? i : p.n_bins - 1 - i);
            step<SMOOTH>(g, input, h, h.integers, e.narrow, work);
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
            V::store_halves(out.integers + j, narrow(y));
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
    template <bool SMOOTH> static void generate_as(const Plan& p, Scratch& s) {
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
        const ConstantInput input = {p.generator_input.data()};
        for (int bin = 0; bin < p.n_bins_out; ++bin) {
            int16_t* next = g.integers + p.generator.padded;
            step<SMOOTH>(p.generator, input, g, next, narrow_sums, work);
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

    static int64_t spikes_of(const int32_t* both, int n) {
        int64_t spikes = 0;
        for (int i = 0; i < n; ++i) {
            spikes += (both[i] & 255) + (both[i] >> 16);
        }
        return spikes;
    }

    static bool find(const Plan& p, const uint8_t* counts, int first, Scratch& s) {
        const int64_t forward = p.encoder[0].counts_max;
        const int64_t backward = p.encoder[1].counts_max;
        const int64_t most = forward < backward ? forward : backward;
        int32_t* pair = s.fired_pair.data();
        int32_t* both = s.fired_counts.data();
        int n = 0;
        for (int bin = first; bin < p.n_bins; ++bin) {
            const uint8_t* of_bin = counts + static_cast<size_t>(bin) * p.n_units;
            const int found = V::find_fired(of_bin, p.n_units, s.row.data(), pair + n, both + n);
            s.bin_begin[bin] = n;
            if (found * 2 * 255 > most && spikes_of(both + n, found) > most) {
                return false;
            }
            n += found;
        }
        s.bin_begin[p.n_bins] = n;
        return true;
    }

    static void encode(const Plan& p, int side, int first, Scratch& s) {
        p.smooth ? encode_as<true>(p, side, first, s) : encode_as<false>(p, side, first, s);
    }

    static void generate(const Plan& p, Scratch& s) {
        p.smooth ? generate_as<true>(p, s) : generate_as<false>(p, s);
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
        return {name, V::MOST * L, find, encode, generate, read_out, dots, fmas};
    }
};

} // namespace
} // namespace simd
