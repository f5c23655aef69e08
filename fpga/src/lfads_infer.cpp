// One window on a CPU: counts to factors and log-rates. Follows docs/arithmetic.md, "A window".
//
// The card computes the same with another order of loops: lfads_card.cpp.
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

// y[row] = b[row] + w[row] x for rows first to last - 1, in blocks whose sum fits PART.
template <int BLOCK, typename PART, typename MAP>
LFADS_INLINE void product_rows(const MAP& map, const int16_t* x, int first, int last, acc_t* y) {
    for (int row = first; row < last; ++row) {
        const int16_t* w = map.weight + row * map.stride;
        acc_t total = map.bias[row];
        for (int k = 0; k < map.stride; k += BLOCK) {
            PART part = 0;
            for (int column = k; column < k + BLOCK; ++column) {
                part += static_cast<PART>(w[column]) * x[column];
            }
            total += part;
        }
        y[row] = total;
    }
}

template <typename MAP>
LFADS_INLINE void product(const MAP& map, const int16_t* x, int first, int last, acc_t* y) {
    switch (map.block) {
    case 64:
        product_rows<64, int32_t>(map, x, first, last, y);
        break;
    case 32:
        product_rows<32, int32_t>(map, x, first, last, y);
        break;
    case 16:
        product_rows<16, int32_t>(map, x, first, last, y);
        break;
    default:
        product_rows<ROW, acc_t>(map, x, first, last, y);
    }
}

// Input part of the gates: the sum of the weight rows of the units that fired.
LFADS_INLINE void project_bin(const Encoder& encoder, int n_units, const uint8_t* counts,
                              acc_t* a) {
    const int stride = encoder.gates_stride;
    for (int j = 0; j < stride; ++j) {
        a[j] = encoder.input_bias[j];
    }
    for (int unit = 0; unit < n_units; ++unit) {
        const int32_t count = counts[unit];
        if (count == 0) {
            continue;
        }
        const int16_t* w = encoder.input_weight + unit * stride;
        for (int j = 0; j < stride; ++j) {
            a[j] += count * static_cast<int32_t>(w[j]);
        }
    }
}

// What a step works on.
struct Scratch {
    acc_t c[3 * MAX_HIDDEN];
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
        scratch.bytes[j] = to_byte(gru, x[j]);
    }
    product(gru.recurrent, scratch.bytes, first, last, y);
}

LFADS_INLINE acc_t gate(const Gru& gru, acc_t a, acc_t c, bool smooth) {
    const acc_t t = gate_argument(gru, a, c);
    return as_gate(smooth ? table_tanh(t) : t);
}

LFADS_INLINE acc_t candidate(const Gru& gru, acc_t a, acc_t c, bool smooth) {
    const acc_t t = candidate_argument(gru, a, c);
    return as_candidate(smooth ? table_tanh(t) : t);
}

// h' from h and the input part a. Both states are zero beyond their size.
LFADS_INLINE void gru_step(const Gru& gru, int size, bool reset_before, bool smooth, const acc_t* a,
                           const int16_t* h, int16_t* h_next, Scratch& scratch) {
    acc_t* c = scratch.c;
    if (reset_before) {
        int16_t* q = scratch.q;
        recurrent_product(gru, size, h, 0, 2 * size, c, scratch);
        for (int j = 0; j < size; ++j) {
            q[j] = reset_state(gate(gru, a[size + j], c[size + j], smooth), h[j]);
        }
        recurrent_product(gru, size, q, 2 * size, 3 * size, c, scratch);
    } else {
        recurrent_product(gru, size, h, 0, 3 * size, c, scratch);
        for (int j = 0; j < size; ++j) {
            c[2 * size + j] *= gate(gru, a[size + j], c[size + j], smooth);
        }
    }
    for (int j = 0; j < size; ++j) {
        const acc_t z = gate(gru, a[j], c[j], smooth);
        const acc_t n = candidate(gru, a[2 * size + j], c[2 * size + j], smooth);
        h_next[j] = next_state(gru, z, n, h[j]);
    }
}

// Last state of one direction.
LFADS_INLINE void encode(const Encoder& encoder, const Banks& banks, const uint8_t* counts,
                         bool backward, int16_t* last) {
    Scratch scratch = {};
    acc_t a[PADDED_GATES];
    int16_t h[2][PADDED_HIDDEN] = {};
    const int n_units = banks.n_units;
    const int size = banks.encoder_size;
    const int n_bins = banks.n_bins;
    for (int j = 0; j < size; ++j) {
        h[0][j] = encoder.initial_state[j];
    }
    for (int step = 0; step < n_bins; ++step) {
        const int bin = backward ? n_bins - 1 - step : step;
        project_bin(encoder, n_units, counts + bin * n_units, a);
        gru_step(encoder.gru, size, banks.reset_before, banks.smooth, a, h[step & 1],
                 h[(step + 1) & 1], scratch);
    }
    for (int j = 0; j < size; ++j) {
        last[j] = h[n_bins & 1][j];
    }
}

template <typename MAP>
LFADS_INLINE void affine_state(const MAP& map, const int16_t* x, int16_t* state) {
    acc_t y[MAX_HIDDEN];
    product(map, x, 0, map.rows, y);
    for (int j = 0; j < map.rows; ++j) {
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
        const int16_t* w = banks.rates_weight + i * banks.rates_stride;
        for (int unit = 0; unit < banks.n_units; ++unit) {
            l[unit] += static_cast<acc_t>(f[i]) * w[unit];
        }
    }
    for (int unit = 0; unit < banks.n_units; ++unit) {
        const acc_t rounded = round_shift(l[unit], banks.rates_rounding);
        log_rates[unit] = static_cast<int32_t>(clamp(rounded, -OUTPUT_LIMIT, OUTPUT_LIMIT));
    }
}

LFADS_INLINE void decode(const Banks& banks, int16_t g[2][PADDED_HIDDEN], int32_t* factors,
                         int32_t* log_rates) {
    Scratch scratch = {};
    for (int bin = 0; bin < banks.n_bins_out; ++bin) {
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
    encode(banks.forward, banks, counts, false, forward);
    encode(banks.backward, banks, counts, true, backward);
    initial_condition(banks, forward, backward, g[0]);
    decode(banks, g, factors, log_rates);
}

} // namespace lfads
