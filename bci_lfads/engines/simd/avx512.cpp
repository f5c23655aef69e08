// AVX-512 with VNNI: 16 sums of two products an instruction.
#include <immintrin.h>

#include "window.h"

namespace simd {
namespace {

struct Avx512 {
    using I = __m512i;
    using D = __m512d;
    static constexpr int L = 16;
    static constexpr bool HAS_BYTES = true;
    static constexpr int MOST = 12; // sums at a time

    static I zero() { return _mm512_setzero_si512(); }
    static I set(int32_t v) { return _mm512_set1_epi32(v); }
    static I load(const int32_t* p) { return _mm512_load_si512(p); }
    static void store(int32_t* p, I v) { _mm512_storeu_si512(p, v); }
    static I load_pairs(const int16_t* p) { return _mm512_load_si512(p); }
    static I broadcast_pair(const int16_t* p) {
        int32_t both;
        std::memcpy(&both, p, sizeof both);
        return _mm512_set1_epi32(both);
    }
    static I dot(I sum, I w, I x) { return _mm512_dpwssd_epi32(sum, w, x); }
    // Four products a lane: signed bytes with unsigned ones.
    static I load_fours(const int8_t* p) { return _mm512_load_si512(p); }
    static I broadcast_four(const uint8_t* p) {
        int32_t all;
        std::memcpy(&all, p, sizeof all);
        return _mm512_set1_epi32(all);
    }
    static I dot_bytes(I sum, I w, I x) { return _mm512_dpbusd_epi32(sum, x, w); }
    // Rounded to the nearest integers of 8 bits, ties to even, and 128 more.
    static void store_bytes(uint8_t* p, D low, D high) {
        const __m128i bytes = _mm_unpacklo_epi64(_mm256_cvtsepi32_epi8(_mm512_cvtpd_epi32(low)),
                                                 _mm256_cvtsepi32_epi8(_mm512_cvtpd_epi32(high)));
        _mm_store_si128(reinterpret_cast<__m128i*>(p), _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
    }
    // Of 16-bit numbers: the signed high bytes, and the low ones.
    static I high_bytes(I v) { return _mm512_srai_epi16(v, 8); }
    static I low_bytes(I v) { return _mm512_and_si512(v, _mm512_set1_epi16(255)); }
    static I add(I a, I b) { return _mm512_add_epi32(a, b); }
    static I multiply(I a, I b) { return _mm512_mullo_epi32(a, b); }
    // The low 32 bits of products of 64 bits that are shifted right.
    template <int N> static I multiply_shift(I a, I b) {
        const I even = _mm512_srli_epi64(_mm512_mul_epi32(a, b), N);
        const I odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
        return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32 - N));
    }
    static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
    template <int N> static I shift_right(I v) { return _mm512_srai_epi32(v, N); }
    static I min_int(I a, I b) { return _mm512_min_epi32(a, b); }
    static I max_int(I a, I b) { return _mm512_max_epi32(a, b); }
    static I absolute(I v) { return _mm512_abs_epi32(v); }
    static I with_sign(I v, I sign) {
        return _mm512_mask_sub_epi32(v, _mm512_movepi32_mask(sign), zero(), v);
    }
    // Entries of a table of 64.
    template <int K> static void lookup(const int32_t* t, const I (&i)[K], I (&found)[K]) {
        const I t0 = _mm512_loadu_si512(t);
        const I t1 = _mm512_loadu_si512(t + 16);
        const I t2 = _mm512_loadu_si512(t + 32);
        const I t3 = _mm512_loadu_si512(t + 48);
        for (int k = 0; k < K; ++k) {
            const I first = _mm512_permutex2var_epi32(t0, i[k], t1);
            const I second = _mm512_permutex2var_epi32(t2, i[k], t3);
            found[k] =
                _mm512_mask_blend_epi32(_mm512_test_epi32_mask(i[k], set(32)), first, second);
        }
    }
    static int find_fired(const uint8_t* counts, int n_units, uint8_t*, int32_t* pair,
                          int32_t* both) {
        I place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        int n = 0;
        for (int unit = 0; unit < n_units; unit += 2 * L) {
            const int left = n_units - unit;
            const __mmask32 inside = left < 32 ? (1U << left) - 1 : ~0U;
            const I pairs = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(inside, counts + unit));
            const __mmask16 fired = _mm512_test_epi32_mask(pairs, pairs);
            store(pair + n, _mm512_maskz_compress_epi32(fired, place));
            store(both + n, _mm512_maskz_compress_epi32(fired, pairs));
            n += __builtin_popcount(fired);
            place = add(place, set(L));
        }
        return n;
    }
    // The same for fours of units.
    static int find_fours(const uint8_t* counts, int n_units, int32_t* four, int32_t* all) {
        I place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        int n = 0;
        for (int unit = 0; unit < n_units; unit += 4 * L) {
            const int left = n_units - unit;
            const __mmask64 inside = left < 64 ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
            const I fours = _mm512_maskz_loadu_epi8(inside, counts + unit);
            const __mmask16 fired = _mm512_test_epi32_mask(fours, fours);
            store(four + n, _mm512_maskz_compress_epi32(fired, place));
            store(all + n, _mm512_maskz_compress_epi32(fired, fours));
            n += __builtin_popcount(fired);
            place = add(place, set(L));
        }
        return n;
    }
    static D low(I v) { return _mm512_cvtepi32_pd(_mm512_castsi512_si256(v)); }
    static D high(I v) { return _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(v, 1)); }
    static I integers(D low, D high) {
        return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtpd_epi32(low)),
                                  _mm512_cvtpd_epi32(high), 1);
    }
    // Rounded to the nearest integers, which fit 16 bits.
    static void store_halves(int16_t* p, D low, D high) {
        auto* to = reinterpret_cast<__m128i*>(p);
        _mm_store_si128(to, _mm256_cvtepi32_epi16(_mm512_cvtpd_epi32(low)));
        _mm_store_si128(to + 1, _mm256_cvtepi32_epi16(_mm512_cvtpd_epi32(high)));
    }
    static D set_double(double v) { return _mm512_set1_pd(v); }
    static D load_double(const double* p) { return _mm512_load_pd(p); }
    static void store_double(double* p, D v) { _mm512_store_pd(p, v); }
    static D add(D a, D b) { return _mm512_add_pd(a, b); }
    static D mul(D a, D b) { return _mm512_mul_pd(a, b); }
    static D fma(D a, D b, D c) { return _mm512_fmadd_pd(a, b, c); }
    static D min(D a, D b) { return _mm512_min_pd(a, b); }
    static D max(D a, D b) { return _mm512_max_pd(a, b); }
    static D negative(D v) { return _mm512_sub_pd(_mm512_setzero_pd(), v); }
    static D nearest(D v) {
        return _mm512_roundscale_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    static D floor(D v) {
        return _mm512_roundscale_pd(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    }
};

} // namespace

extern const Path AVX512;
const Path AVX512 = Window<Avx512>::path("avx512");

} // namespace simd
