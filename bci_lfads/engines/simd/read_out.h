// What a window gives: factors and log-rates from the states of the generator.
#ifndef LFADS_SIMD_READ_OUT_H
#define LFADS_SIMD_READ_OUT_H

#include "numbers.h"

#include <cstring>

namespace simd {
namespace {

constexpr double OUTPUT_LIMIT = (1 << 23) - 1;

template <class V> struct ReadOut : Numbers<V> {
    using N = Numbers<V>;
    using N::clamp;
    using N::fma;
    using N::L;
    using N::load;
    using N::narrow;
    using N::nearest;
    using N::store;
    using N::times;
    using N::widen;
    using typename N::Both;
    using typename N::D;
    using typename N::I;

    // Factors of NB bins, kept as float64 for the rates. Where sums over whole states may not fit
    // 32 bits, their high and low bytes are summed apart.
    template <int NB, bool NARROW>
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
            UNROLLED
            for (int b = 0; b < NB; ++b) {
                high[b] = low[b] = V::zero();
            }
            for (int pair = 0; pair < m.pairs; ++pair, w += 2 * in_group) {
                const I weights = V::load_pairs(w);
                UNROLLED
                for (int b = 0; b < NB; ++b) {
                    const I x = V::broadcast_pair(g + b * 2 * m.pairs + 2 * pair);
                    if constexpr (NARROW) {
                        low[b] = V::dot(low[b], weights, x);
                    } else {
                        high[b] = V::dot(high[b], weights, V::high_bytes(x));
                        low[b] = V::dot(low[b], weights, V::low_bytes(x));
                    }
                }
            }
            UNROLLED
            for (int b = 0; b < NB; ++b) {
                Both total = widen(low[b]);
                if constexpr (!NARROW) {
                    total = fma(widen(high[b]), V::set_double(256.0), total);
                }
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
                UNROLLED
                for (int b = 0; b < NB; ++b) {
                    sum[b] = fma(weight, V::set_double(f[b * p.factors.map.rows + i]), sum[b]);
                }
            }
            UNROLLED
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

    // Factors and log-rates of NB bins from `bin` on.
    template <int NB>
    static void read_bins(const Plan& p, int bin, Scratch& s, int32_t* factors,
                          int32_t* log_rates) {
        const size_t at = static_cast<size_t>(bin);
        const int16_t* g = s.generated.data() + (at + 1) * p.generator.padded;
        double* f = s.factor_values.data() + at * p.factors.map.rows;
        if (p.factors.narrow) {
            read_factors<NB, true>(p, g, f, factors + at * p.n_factors);
        } else {
            read_factors<NB, false>(p, g, f, factors + at * p.n_factors);
        }
        if (log_rates != nullptr) {
            read_rates<NB>(p, f, log_rates + at * p.n_units);
        }
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
};

} // namespace
} // namespace simd

#endif
