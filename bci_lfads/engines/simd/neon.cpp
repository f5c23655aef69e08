// NEON of 64-bit ARM: 4 sums of two products by four instructions.
#include <arm_neon.h>

#include "window.h"

namespace simd {
namespace {

struct Neon {
    using I = int32x4_t;
    using D = float64x2_t;
    static constexpr int L = 4;
    static constexpr bool HAS_BYTES = false;
    static constexpr bool HAS_TANH = false;
    static constexpr int MOST = 12; // sums at a time
    static constexpr int TABLES = 2;

    static I zero() { return vdupq_n_s32(0); }
    static I set(int32_t v) { return vdupq_n_s32(v); }
    static I load(const int32_t* p) { return vld1q_s32(p); }
    static void store(int32_t* p, I v) { vst1q_s32(p, v); }
    static I load_pairs(const int16_t* p) { return vreinterpretq_s32_s16(vld1q_s16(p)); }
    static I broadcast_pair(const int16_t* p) {
        int32_t both;
        std::memcpy(&both, p, sizeof both);
        return vdupq_n_s32(both);
    }
    static I dot(I sum, I w, I x) {
        const int16x8_t a = vreinterpretq_s16_s32(w);
        const int16x8_t b = vreinterpretq_s16_s32(x);
        const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
        const int32x4_t high = vmull_high_s16(a, b);
        return vaddq_s32(sum, vpaddq_s32(low, high));
    }
    // Of 16-bit numbers: the signed high bytes, and the low ones.
    static I high_bytes(I v) {
        return vreinterpretq_s32_s16(vshrq_n_s16(vreinterpretq_s16_s32(v), 8));
    }
    static I low_bytes(I v) { return vandq_s32(v, vdupq_n_s32(0x00FF00FF)); }
    static I add(I a, I b) { return vaddq_s32(a, b); }
    static I multiply(I a, I b) { return vmulq_s32(a, b); }
    // The low 32 bits of products of 64 bits that are shifted right.
    template <int N> static I multiply_shift(I a, I b) {
        const int32x2_t low = vshrn_n_s64(vmull_s32(vget_low_s32(a), vget_low_s32(b)), N);
        return vshrn_high_n_s64(low, vmull_high_s32(a, b), N);
    }
    static I bit_and(I a, I b) { return vandq_s32(a, b); }
    template <int N> static I shift_right(I v) { return vshrq_n_s32(v, N); }
    static I min_int(I a, I b) { return vminq_s32(a, b); }
    static I max_int(I a, I b) { return vmaxq_s32(a, b); }
    static I absolute(I v) { return vabsq_s32(v); }
    static I with_sign(I v, I sign) {
        const I all = vshrq_n_s32(sign, 31);
        return vsubq_s32(veorq_s32(v, all), all);
    }
    // Entries of a table of 64.
    template <int K> static void lookup(const int32_t* t, const I (&i)[K], I (&found)[K]) {
        for (int k = 0; k < K; ++k) {
            int32_t at[L];
            vst1q_s32(at, i[k]);
            const int32_t entries[L] = {t[at[0]], t[at[1]], t[at[2]], t[at[3]]};
            found[k] = vld1q_s32(entries);
        }
    }
    static Fired find_fired(const uint8_t* counts, int n_units, uint8_t* row, int32_t* pair,
                            int32_t* both) {
        return find_fired_by_words(counts, n_units, row, pair, both);
    }
    static D low(I v) { return vcvtq_f64_s64(vmovl_s32(vget_low_s32(v))); }
    static D high(I v) { return vcvtq_f64_s64(vmovl_high_s32(v)); }
    static I integers(D low, D high) {
        return vcombine_s32(vmovn_s64(vcvtnq_s64_f64(low)), vmovn_s64(vcvtnq_s64_f64(high)));
    }
    // Rounded to the nearest integers, which fit 16 bits.
    static void store_halves(int16_t* p, D low, D high) {
        vst1_s16(p, vmovn_s32(integers(low, high)));
    }
    static D set_double(double v) { return vdupq_n_f64(v); }
    static D load_double(const double* p) { return vld1q_f64(p); }
    static void store_double(double* p, D v) { vst1q_f64(p, v); }
    static D add(D a, D b) { return vaddq_f64(a, b); }
    static D mul(D a, D b) { return vmulq_f64(a, b); }
    static D fma(D a, D b, D c) { return vfmaq_f64(c, a, b); }
    static D min(D a, D b) { return vminq_f64(a, b); }
    static D max(D a, D b) { return vmaxq_f64(a, b); }
    static D negative(D v) { return vnegq_f64(v); }
    static D nearest(D v) { return vrndnq_f64(v); }
    static D floor(D v) { return vrndmq_f64(v); }
};

} // namespace

extern const Path NEON;
const Path NEON = Window<Neon>::path("neon");

} // namespace simd
