// AVX2 with FMA: 8 sums of two products by two instructions.
#include <immintrin.h>

#include "window.h"

namespace simd {
namespace {

struct Avx2 {
    using I = __m256i;
    using D = __m256d;
    static constexpr int L = 8;
    static constexpr bool HAS_BYTES = false;
    static constexpr bool HAS_TANH = false;
    static constexpr int MOST = 8; // sums at a time
    static constexpr int TABLES = 2;

    static I zero() { return _mm256_setzero_si256(); }
    static I set(int32_t v) { return _mm256_set1_epi32(v); }
    static I load(const int32_t* p) {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    }
    static void store(int32_t* p, I v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
    static I load_pairs(const int16_t* p) {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    }
    static I broadcast_pair(const int16_t* p) {
        int32_t both;
        std::memcpy(&both, p, sizeof both);
        return _mm256_set1_epi32(both);
    }
    // Two products of the lowest numbers make 2^31, which wraps as the sum is allowed to.
    static I dot(I sum, I w, I x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x)); }
    // Of 16-bit numbers: the signed high bytes, and the low ones.
    static I high_bytes(I v) { return _mm256_srai_epi16(v, 8); }
    static I low_bytes(I v) { return _mm256_and_si256(v, _mm256_set1_epi16(255)); }
    static I add(I a, I b) { return _mm256_add_epi32(a, b); }
    static I multiply(I a, I b) { return _mm256_mullo_epi32(a, b); }
    // The low 32 bits of products of 64 bits that are shifted right.
    template <int N> static I multiply_shift(I a, I b) {
        const I even = _mm256_srli_epi64(_mm256_mul_epi32(a, b), N);
        const I odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
        return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32 - N), 0xAA);
    }
    static I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
    template <int N> static I shift_right(I v) { return _mm256_srai_epi32(v, N); }
    static I min_int(I a, I b) { return _mm256_min_epi32(a, b); }
    static I max_int(I a, I b) { return _mm256_max_epi32(a, b); }
    static I absolute(I v) { return _mm256_abs_epi32(v); }
    static I with_sign(I v, I sign) {
        const I all = _mm256_srai_epi32(sign, 31);
        return _mm256_sub_epi32(_mm256_xor_si256(v, all), all);
    }
    // Entries of a table of 64.
    template <int K> static void lookup(const int32_t* t, const I (&i)[K], I (&found)[K]) {
        for (int k = 0; k < K; ++k) {
            found[k] = _mm256_i32gather_epi32(t, i[k], 4);
        }
    }
    static Fired find_fired(const uint8_t* counts, int n_units, uint8_t* row, int32_t* pair,
                            int32_t* both) {
        return find_fired_by_words(counts, n_units, row, pair, both);
    }
    static D low(I v) { return _mm256_cvtepi32_pd(_mm256_castsi256_si128(v)); }
    static D high(I v) { return _mm256_cvtepi32_pd(_mm256_extracti128_si256(v, 1)); }
    static I integers(D low, D high) {
        return _mm256_set_m128i(_mm256_cvtpd_epi32(high), _mm256_cvtpd_epi32(low));
    }
    // Rounded to the nearest integers, which fit 16 bits.
    static void store_halves(int16_t* p, D low, D high) {
        _mm_store_si128(reinterpret_cast<__m128i*>(p),
                        _mm_packs_epi32(_mm256_cvtpd_epi32(low), _mm256_cvtpd_epi32(high)));
    }
    static D set_double(double v) { return _mm256_set1_pd(v); }
    static D load_double(const double* p) { return _mm256_load_pd(p); }
    static void store_double(double* p, D v) { _mm256_store_pd(p, v); }
    static D add(D a, D b) { return _mm256_add_pd(a, b); }
    static D mul(D a, D b) { return _mm256_mul_pd(a, b); }
    static D fma(D a, D b, D c) { return _mm256_fmadd_pd(a, b, c); }
    static D min(D a, D b) { return _mm256_min_pd(a, b); }
    static D max(D a, D b) { return _mm256_max_pd(a, b); }
    static D negative(D v) { return _mm256_sub_pd(_mm256_setzero_pd(), v); }
    static D nearest(D v) {
        return _mm256_round_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    static D floor(D v) { return _mm256_round_pd(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
};

} // namespace

extern const Path AVX2;
const Path AVX2 = Window<Avx2>::path("avx2");

} // namespace simd
