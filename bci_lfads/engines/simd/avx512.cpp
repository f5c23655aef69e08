// AVX-512 with VNNI: 16 sums of two products an instruction.
#include <immintrin.h>

#include "window.h"

namespace simd {
namespace {

// The table of tanh in halves: two registers hold one of 64 entries, and no memory is read.
struct Halves {
    alignas(64) uint16_t at[64];
    constexpr Halves(const int32_t (&table)[64], int shift) : at() {
        for (int i = 0; i < 64; ++i) {
            at[i] = static_cast<uint16_t>(table[i] >> shift);
        }
    }
};
constexpr Halves C0_LOW(lfads::TANH_C0, 0), C0_HIGH(lfads::TANH_C0, 16);
constexpr Halves C1_LOW(lfads::TANH_C1, 0), C1_HIGH(lfads::TANH_C1, 16);
constexpr Halves C2(lfads::TANH_C2, 0);

struct Avx512 {
    using I = __m512i;
    using D = __m512d;
    static constexpr int L = 16;
    static constexpr bool HAS_BYTES = true;
    static constexpr bool HAS_TANH = true;
    static constexpr int MOST = 12;  // sums at a time
    static constexpr int TABLES = 4; // activations of a gate

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
    static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
    template <int N> static I shift_right(I v) { return _mm512_srai_epi32(v, N); }
    static I min_int(I a, I b) { return _mm512_min_epi32(a, b); }
    static I max_int(I a, I b) { return _mm512_max_epi32(a, b); }
    static I absolute(I v) { return _mm512_abs_epi32(v); }
    // What Numbers::tanh computes. A product of d with 32 bits is that with their high half and
    // what that with their low half leaves above 16 bits; both are exact.
    static void tanh(I v, D& low, D& high) {
        const I m = min_int(absolute(v), set(lfads::TANH_LIMIT));
        const I d = bit_and(m, set((1 << lfads::TANH_PIECE_BITS) - 1));
        // In both halves of a lane.
        const I piece =
            _mm512_shuffle_epi8(_mm512_srli_epi32(m, lfads::TANH_PIECE_BITS),
                                _mm512_broadcast_i32x4(_mm_set_epi8(-1, 12, -1, 12, -1, 8, -1, 8,
                                                                    -1, 4, -1, 4, -1, 0, -1, 0)));
        const I inner = shift_right<lfads::TANH_K2>(_mm512_madd_epi16(d, half<LOW>(C2, piece)));
        const I slope = add(half<HIGH>(C1_HIGH, half<LOW>(C1_LOW, piece)), inner);
        const I first = half<HIGH>(C0_HIGH, half<LOW>(C0_LOW, piece));
        const I sum = add(_mm512_dpwssd_epi32(first, _mm512_slli_epi32(d, 16), slope),
                          _mm512_mulhi_epu16(d, slope));
        // Of 21 bits, so that float32 rounds as they should be.
        const __m512 rounded =
            _mm512_roundscale_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(1.0F / 32)),
                                 _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        constexpr int A_OR_B_AND_C = 0xF8;
        const __m512 with_sign = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
            _mm512_castps_si512(rounded), v, set(INT32_MIN), A_OR_B_AND_C));
        const __m512 limited = _mm512_min_ps(with_sign, _mm512_set1_ps(32767.0F));
        low = _mm512_cvtps_pd(_mm512_castps512_ps256(limited));
        high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(limited, 1));
    }
    // Entries of a table of 64 by the low six bits of each half of a lane, for some of the halves.
    static constexpr __mmask32 LOW = 0x55555555, HIGH = 0xAAAAAAAA;
    template <__mmask32 WHERE> static I half(const Halves& table, I index) {
        return _mm512_mask2_permutex2var_epi16(_mm512_load_si512(table.at), index, WHERE,
                                               _mm512_load_si512(table.at + 32));
    }
    static Fired find_fired(const uint8_t* counts, int n_units, uint8_t*, int32_t* pair,
                            int32_t* both) {
        return find_lanes<2>(counts, n_units, pair, both);
    }
    // The same for fours of units.
    static Fired find_fours(const uint8_t* counts, int n_units, int32_t* four, int32_t* all) {
        return find_lanes<4>(counts, n_units, four, all);
    }
    template <int EACH>
    static Fired find_lanes(const uint8_t* counts, int n_units, int32_t* places, int32_t* found) {
        I place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        I spikes = zero();
        int n = 0;
        for (int unit = 0; unit < n_units; unit += EACH * L) {
            const int left = n_units - unit;
            const __mmask64 inside = left < 64 ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
            I lanes;
            if constexpr (EACH == 2) {
                const auto pairs = static_cast<__mmask32>(inside);
                lanes = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(pairs, counts + unit));
            } else {
                lanes = _mm512_maskz_loadu_epi8(inside, counts + unit);
            }
            const __mmask16 fired = _mm512_test_epi32_mask(lanes, lanes);
            store(places + n, _mm512_maskz_compress_epi32(fired, place));
            store(found + n, _mm512_maskz_compress_epi32(fired, lanes));
            spikes = _mm512_add_epi64(spikes, _mm512_sad_epu8(lanes, zero()));
            n += __builtin_popcount(fired);
            place = add(place, set(L));
        }
        return {n, _mm512_reduce_add_epi64(spikes)};
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
