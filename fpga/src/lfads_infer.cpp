// One window: counts to factors and log-rates. Follows docs/arithmetic.md, "A window".
#include "lfads_arith.h"
#include "lfads_kernel.h"

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SYNTHESIS__) && !defined(LFADS_ONE_TARGET)
// The same integers on every machine; wider registers where there are any.
#define LFADS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LFADS_CLONES
#endif

namespace lfads {
namespace {

constexpr acc_t OUTPUT_LIMIT = (1 << 23) - 1;

// Input part of the gates: the sum of the weight rows of the units that fired.
LFADS_INLINE void project_bin(const Encoder& encoder, int n_units, const uint8_t* counts,
                              acc_t* a) {
    const int stride = encoder.gates_stride;
    for (int j = 0; j < stride; j += LANES) {
#pragma HLS loop_tripcount min = 4 max = 24
#pragma HLS pipeline II = 1
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
            a[j + lane] = encoder.input_bias[j + lane];
        }
    }
    for (int unit = 0; unit < n_units; ++unit) {
#pragma HLS loop_tripcount min = 16 max = 256
        const int32_t count = counts[unit];
        if (count == 0) {
            continue;
        }
        const int16_t* w = encoder.input_weight + unit * stride;
        for (int j = 0; j < stride; j += LANES) {
#pragma HLS loop_tripcount min = 4 max = 24
#pragma HLS pipeline II = 1
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
                a[j + lane] += count * static_cast<int32_t>(w[j + lane]);
            }
        }
    }
}

// What a step works on.
struct Scratch {
    acc_t c[3 * MAX_HIDDEN];
    acc_t n_sum[MAX_HIDDEN];
    // Both zero beyond the state's size.
    int16_t q[PADDED_HIDDEN];
    int16_t bytes[PADDED_HIDDEN];
};

// Rows first to last - 1 of U x + b, of a state that is rounded to 8 bits where the model says so.
LFADS_INLINE void recurrent_product(const Gru& gru, int size, const int16_t* x, int first, int last,
                                    acc_t* y, Scratch& scratch) {
    if (!gru.bytes) {
        product(gru.recurrent, x, first, last, y);
        return;
    }
    for (int j = 0; j < size; ++j) {
#pragma HLS loop_tripcount min = 16 max = 128
#pragma HLS pipeline II = 1
        scratch.bytes[j] = static_cast<int16_t>(clamp(round_shift(x[j], gru.to_byte), -128, 127));
    }
    product(gru.recurrent, scratch.bytes, first, last, y);
}

// h' from h and the input part a. Both states are zero beyond their size.
LFADS_INLINE void gru_step(const Gru& gru, int size, bool reset_before, bool smooth, const acc_t* a,
                           const int16_t* h, int16_t* h_next, Scratch& scratch) {
    acc_t* c = scratch.c;
    acc_t* n_sum = scratch.n_sum;
    const int gi = gru.gate_input_left;
    const int gr = gru.gate_recurrent_left;
    const int ci = gru.candidate_input_left;
    const int cr = gru.candidate_recurrent_left;

    if (reset_before) {
        int16_t* q = scratch.q;
        const Rounding by_gate = rounding(16);
        recurrent_product(gru, size, h, 0, 2 * size, c, scratch);
        for (int j = 0; j < size; ++j) {
#pragma HLS loop_tripcount min = 16 max = 128
#pragma HLS pipeline II = 1
            const acc_t r_sum = shift_left(a[size + j], gi) + shift_left(c[size + j], gr);
            const acc_t r = sigmoid(r_sum, gru.gate_rounding, smooth);
            q[j] = static_cast<int16_t>(round_shift(r * h[j], by_gate));
        }
        recurrent_product(gru, size, q, 2 * size, 3 * size, c, scratch);
        for (int j = 0; j < size; ++j) {
#pragma HLS loop_tripcount min = 16 max = 128
#pragma HLS pipeline II = 1
            n_sum[j] = shift_left(a[2 * size + j], ci) + shift_left(c[2 * size + j], cr);
        }
    } else {
        recurrent_product(gru, size, h, 0, 3 * size, c, scratch);
        for (int j = 0; j < size; ++j) {
#pragma HLS loop_tripcount min = 16 max = 128
#pragma HLS pipeline II = 1
            const acc_t r_sum = shift_left(a[size + j], gi) + shift_left(c[size + j], gr);
            const acc_t r = sigmoid(r_sum, gru.gate_rounding, smooth);
            n_sum[j] = shift_left(a[2 * size + j], ci) + shift_left(r * c[2 * size + j], cr);
        }
    }
    for (int j = 0; j < size; ++j) {
#pragma HLS loop_tripcount min = 16 max = 128
#pragma HLS pipeline II = 1
        const acc_t z_sum = shift_left(a[j], gi) + shift_left(c[j], gr);
        const acc_t z = sigmoid(z_sum, gru.gate_rounding, smooth);
        const acc_t n = hyperbolic(n_sum[j], gru.candidate_rounding, smooth);
        const acc_t blend = z * shift_left(h[j], gru.state_left) + (65536 - z) * n;
        const acc_t rounded = round_shift(blend, gru.state_rounding);
        h_next[j] = static_cast<int16_t>(clamp(rounded, gru.low, gru.high));
    }
}

// Last state of one direction. The input of the next bin does not wait for this bin's state.
LFADS_INLINE void encode(const Encoder& encoder, const Banks& banks, const uint8_t* counts,
                         bool backward, int16_t* last) {
    Scratch scratch = {};
#pragma HLS array_partition variable = scratch.c cyclic factor = LANES
#pragma HLS array_partition variable = scratch.n_sum cyclic factor = LANES
#pragma HLS array_partition variable = scratch.q cyclic factor = LANES
#pragma HLS array_partition variable = scratch.bytes cyclic factor = LANES
    acc_t a[2][PADDED_GATES];
    int16_t h[2][PADDED_HIDDEN] = {};
#pragma HLS array_partition variable = a dim = 1 complete
#pragma HLS array_partition variable = a dim = 2 cyclic factor = LANES
#pragma HLS array_partition variable = h dim = 1 complete
#pragma HLS array_partition variable = h dim = 2 cyclic factor = LANES
    const int n_units = banks.n_units;
    const int size = banks.encoder_size;
    const int n_bins = banks.n_bins;
    for (int j = 0; j < size; ++j) {
        h[0][j] = encoder.initial_state[j];
    }
    project_bin(encoder, n_units, counts + (backward ? n_bins - 1 : 0) * n_units, a[0]);
    for (int step = 0; step < n_bins; ++step) {
#pragma HLS loop_tripcount min = 16 max = 128
        if (step + 1 < n_bins) {
            const int bin = backward ? n_bins - 2 - step : step + 1;
            project_bin(encoder, n_units, counts + bin * n_units, a[(step + 1) & 1]);
        }
        gru_step(encoder.gru, size, banks.reset_before, banks.smooth, a[step & 1], h[step & 1],
                 h[(step + 1) & 1], scratch);
    }
    for (int j = 0; j < size; ++j) {
        last[j] = h[n_bins & 1][j];
    }
}

// Both directions; neither needs the other.
LFADS_INLINE void encode_both(const Banks& banks, const uint8_t* counts, int16_t* forward,
                              int16_t* backward) {
#pragma HLS dataflow
    encode(banks.forward, banks, counts, false, forward);
    encode(banks.backward, banks, counts, true, backward);
}

template <typename MAP>
LFADS_INLINE void affine_state(const MAP& map, const int16_t* x, int16_t* state) {
    acc_t y[MAX_HIDDEN];
    product(map, x, 0, map.rows, y);
    for (int j = 0; j < map.rows; ++j) {
#pragma HLS loop_tripcount min = 16 max = 128
#pragma HLS pipeline II = 1
        state[j] = static_cast<int16_t>(clamp(round_shift(y[j], map.rounding), -32768, 32767));
    }
}

LFADS_INLINE void initial_condition(const Banks& banks, const int16_t* forward,
                                    const int16_t* backward, int16_t* g) {
    int16_t e[PADDED_STATES] = {};
    const int size = banks.encoder_size;
    for (int j = 0; j < size; ++j) {
        e[j] = forward[j];
        e[size + j] = backward[j];
    }
    if (banks.linear_ic) {
        int16_t ic[PADDED_HIDDEN] = {};
        affine_state(banks.ic, e, ic);
        affine_state(banks.initial, ic, g);
    } else {
        affine_state(banks.ic, e, g);
    }
}

LFADS_INLINE void read_out(const Banks& banks, const int16_t* g, int32_t* factors,
                           int32_t* log_rates) {
    acc_t sums[MAX_FACTORS];
    int32_t f[MAX_FACTORS];
    product(banks.factors, g, 0, banks.n_factors, sums);
    for (int i = 0; i < banks.n_factors; ++i) {
#pragma HLS loop_tripcount min = 4 max = 16
        const acc_t rounded = round_shift(sums[i], banks.factors.rounding);
        f[i] = static_cast<int32_t>(clamp(rounded, -OUTPUT_LIMIT, OUTPUT_LIMIT));
        factors[i] = f[i];
    }
    if (log_rates == nullptr) {
        return;
    }
    acc_t l[PADDED_UNITS];
    for (int unit = 0; unit < banks.n_units; ++unit) {
        l[unit] = banks.rates_bias[unit];
    }
    for (int i = 0; i < banks.n_factors; ++i) {
#pragma HLS loop_tripcount min = 4 max = 16
        const int16_t* w = banks.rates_weight + i * banks.rates_stride;
        for (int unit = 0; unit < banks.n_units; ++unit) {
#pragma HLS loop_tripcount min = 16 max = 256
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = LANES
            l[unit] += static_cast<acc_t>(f[i]) * w[unit];
        }
    }
    for (int unit = 0; unit < banks.n_units; ++unit) {
#pragma HLS loop_tripcount min = 16 max = 256
#pragma HLS pipeline II = 1
        const acc_t rounded = round_shift(l[unit], banks.rates_rounding);
        log_rates[unit] = static_cast<int32_t>(clamp(rounded, -OUTPUT_LIMIT, OUTPUT_LIMIT));
    }
}

LFADS_INLINE void decode(const Banks& banks, int16_t g[2][PADDED_HIDDEN], int32_t* factors,
                         int32_t* log_rates) {
    Scratch scratch = {};
#pragma HLS array_partition variable = scratch.c cyclic factor = LANES
#pragma HLS array_partition variable = scratch.n_sum cyclic factor = LANES
#pragma HLS array_partition variable = scratch.q cyclic factor = LANES
#pragma HLS array_partition variable = scratch.bytes cyclic factor = LANES
    for (int bin = 0; bin < banks.n_bins_out; ++bin) {
#pragma HLS loop_tripcount min = 16 max = 128
        int16_t* next = g[(bin + 1) & 1];
        gru_step(banks.generator, banks.generator_size, banks.reset_before, banks.smooth,
                 banks.generator_input, g[bin & 1], next, scratch);
        read_out(banks, next, factors + bin * banks.n_factors,
                 log_rates == nullptr ? nullptr : log_rates + bin * banks.n_units);
    }
}

} // namespace

LFADS_CLONES void infer(const Banks& banks, const uint8_t* counts, int32_t* factors,
                        int32_t* log_rates) {
    int16_t forward[MAX_HIDDEN];
    int16_t backward[MAX_HIDDEN];
    int16_t g[2][PADDED_HIDDEN] = {};
    encode_both(banks, counts, forward, backward);
    initial_condition(banks, forward, backward, g[0]);
    decode(banks, g, factors, log_rates);
}

} // namespace lfads
