// What a processor can do at most on a path, measured.
#ifndef LFADS_SIMD_RATES_H
#define LFADS_SIMD_RATES_H

#include "paths.h"

namespace simd {
namespace {

template <class V> struct Rates {
    using I = typename V::I;
    using D = typename V::D;
    static constexpr int L = V::L;

#if defined(__GNUC__) && !defined(__clang__)
    [[gnu::optimize("no-tree-coalesce-vars")]] // else GCC copies each sum before it adds to it
#endif
    static int64_t dots(const int16_t* weights, int64_t n, int64_t* kept) {
        constexpr int SUMS = V::MOST;
        I sum[SUMS];
        UNROLLED
        for (int k = 0; k < SUMS; ++k) {
            sum[k] = V::zero();
        }
        const I x = V::set(0x00010001);
        int64_t taken = 0;
        for (int64_t i = 0; i + SUMS * 2 * L <= n; i += SUMS * 2 * L, taken += SUMS) {
            const int16_t* w = weights + i;
            UNROLLED
            for (int k = 0; k < SUMS; ++k) {
                sum[k] = V::dot(sum[k], V::load_pairs(w), x);
                w += 2 * L;
            }
        }
        I all = sum[0];
        UNROLLED
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
        UNROLLED
        for (int k = 0; k < SUMS; ++k) {
            sum[k] = V::set_double(k + static_cast<double>(*kept & 1));
        }
        const D factor = V::set_double(0.999);
        const D more = V::set_double(0.5);
        int64_t taken = 0;
        for (; taken < n; taken += SUMS) {
            UNROLLED
            for (int k = 0; k < SUMS; ++k) {
                sum[k] = V::fma(sum[k], factor, more);
            }
        }
        alignas(64) double out[L / 2];
        UNROLLED
        for (int k = 0; k < SUMS; ++k) {
            V::store_double(out, sum[k]);
            *kept += static_cast<int64_t>(out[0]);
        }
        return taken;
    }
};

} // namespace
} // namespace simd

#endif
