#include "plan.h"

#include <algorithm>
#include <cmath>

namespace simd {
namespace {

using lfads::acc_t;

constexpr int64_t ONE = 1;
constexpr int GATE_Z = 0, GATE_R = 1, GATE_N = 2;
// Arguments from which on an activation is saturated: that of the table, and of the hard ones.
constexpr double SMOOTH_LIMIT = 16.0, HARD_LIMIT = 1.0;

int64_t magnitude(int64_t v) {
    return v < 0 ? -v : v;
}

double power(int n) {
    return std::ldexp(1.0, n);
}

double unit_of(const lfads::Rounding& rounding) {
    return power(rounding.left - rounding.right);
}

// Where a row of a matrix whose groups are `height` rows high keeps a column's weight, of which
// a lane takes `each` at a time.
size_t place(int rows, int pairs, int height, int row, int column, int each = 2) {
    const int group = row / height;
    const int in_group = std::min(height, rows - group * height);
    const size_t before = static_cast<size_t>(group) * height * pairs * 2;
    const size_t lane = static_cast<size_t>(column / each) * in_group + row % height;
    return before + lane * each + column % each;
}

// Takes blocks of rows of an affine map, each padded, one below the other.
template <typename MAP>
void pack(Matrix& m, const MAP& map, int height, std::initializer_list<int> blocks, int size) {
    const int padded = aligned(size);
    m.rows = static_cast<int>(blocks.size()) * padded;
    m.pairs = aligned(map.columns) / 2;
    m.weight.resize(static_cast<size_t>(m.rows) * m.pairs * 2);
    m.bias.resize(m.rows);
    m.wide_bias.resize(m.rows);
    int base = 0;
    for (const int block : blocks) {
        for (int i = 0; i < size; ++i) {
            const int from = block * size + i;
            int64_t norm = 0;
            for (int k = 0; k < map.columns; ++k) {
                const int16_t w = map.weight[from * map.stride + k];
                m.weight[place(m.rows, m.pairs, height, base + i, k)] = w;
                norm += magnitude(w);
            }
            const acc_t b = map.bias[from];
            m.norm = std::max(m.norm, norm);
            m.bias_max = std::max(m.bias_max, magnitude(b));
            const int64_t room = INT32_MAX - magnitude(b);
            m.narrow_until = std::min(m.narrow_until, room < 0 ? -1 : room / std::max(norm, ONE));
            m.wide_bias[base + i] = static_cast<double>(b);
            m.bias[base + i] = magnitude(b) <= INT32_MAX ? static_cast<int32_t>(b) : 0;
        }
        base += padded;
    }
}

// The same matrix for products of bytes; x is 128 more there than it stands for.
void pack_bytes(Matrix& m, int height) {
    m.bytes.resize(m.weight.size());
    m.byte_bias.resize(m.rows);
    for (int row = 0; row < m.rows; ++row) {
        int32_t sum = 0;
        for (int k = 0; k < 2 * m.pairs; ++k) {
            const int16_t w = m.weight[place(m.rows, m.pairs, height, row, k)];
            m.bytes[place(m.rows, m.pairs, height, row, k, 4)] = static_cast<int8_t>(w);
            sum += w;
        }
        m.byte_bias[row] = m.bias[row] - 128 * sum;
    }
}

double largest(const Matrix& m, int64_t x_max) {
    return static_cast<double>(m.norm) * static_cast<double>(x_max) +
           static_cast<double>(m.bias_max);
}

int32_t saturating(double v) {
    return v < INT32_MAX ? static_cast<int32_t>(std::ceil(v)) : INT32_MAX;
}

// What cannot be exceeded by what enters a recurrent product.
int64_t product_input(const lfads::Gru& gru, int64_t state) {
    return gru.bytes ? 128 : state;
}

bool make_gru(GruPlan& plan, const lfads::Gru& gru, int size, bool reset_before, bool smooth,
              int height, bool has_bytes, int64_t x_max) {
    x_max = product_input(gru, x_max);
    plan.size = size;
    plan.padded = aligned(size);
    plan.reset_before = reset_before;
    const auto& map = gru.recurrent;
    if (reset_before) {
        pack(plan.gates, map, height, {GATE_R, GATE_Z}, size);
        pack(plan.candidate, map, height, {GATE_N}, size);
    } else {
        pack(plan.gates, map, height, {GATE_R, GATE_Z, GATE_N}, size);
    }
    const Matrix& last = reset_before ? plan.candidate : plan.gates;
    if (!plan.gates.wide() || !last.wide()) {
        return false;
    }
    if (gru.bytes) {
        // With the bias of bytes: what 128 more in each column adds is no more than the sum itself.
        if (!plan.gates.narrow(2 * x_max) || !last.narrow(2 * x_max)) {
            return false;
        }
        plan.input = has_bytes ? Input::BYTES : Input::ROUNDED;
        plan.to_byte = unit_of(gru.to_byte);
    }
    if (plan.input == Input::BYTES) {
        pack_bytes(plan.gates, height);
        if (reset_before) {
            pack_bytes(plan.candidate, height);
        }
    }
    const double gate_unit = unit_of(gru.gate_rounding);
    const double candidate_unit = unit_of(gru.candidate_rounding);
    plan.gate_input = power(gru.gate_input_left) * gate_unit;
    plan.gate_recurrent = power(gru.gate_recurrent_left) * gate_unit;
    plan.candidate_input = power(gru.candidate_input_left) * candidate_unit;
    plan.candidate_recurrent = power(gru.candidate_recurrent_left) * candidate_unit;
    plan.candidate_to_state = power(-gru.state_left);
    plan.clips = gru.low != -32768 || gru.high != 32767;
    plan.low = gru.low;
    plan.high = gru.high;

    // All in the units of the aligned sums, which are integers.
    const double gate_sum = largest(plan.gates, x_max) * power(gru.gate_recurrent_left);
    const double reset = reset_before ? 1.0 : 65535.0;
    const double candidate_sum = largest(last, x_max) * reset * power(gru.candidate_recurrent_left);
    // Sigmoids are rounded to point 15, candidates to point 15 or 16 (smooth).
    const double limit = smooth ? SMOOTH_LIMIT : HARD_LIMIT;
    const double gate_end = limit * 32768.0 / gate_unit;
    const double candidate_end = limit * (smooth ? 65536.0 : 32768.0) / candidate_unit;
    plan.gate_input_max = saturating((gate_sum + gate_end) * power(-gru.gate_input_left) + 1);
    plan.candidate_input_max =
        saturating((candidate_sum + candidate_end) * power(-gru.candidate_input_left) + 1);
    const double gate_most = (plan.gate_input_max + 1.0) * power(gru.gate_input_left) + gate_sum;
    const double candidate_most =
        (plan.candidate_input_max + 1.0) * power(gru.candidate_input_left) + candidate_sum;
    // The table takes its arguments as 32-bit integers.
    const bool fits_table =
        gate_most * gate_unit < INT32_MAX && candidate_most * candidate_unit < INT32_MAX;
    return gate_most < EXACT && candidate_most < EXACT && (!smooth || fits_table);
}

bool make_encoder(EncoderPlan& plan, const lfads::Encoder& encoder, const lfads::Banks& banks,
                  int unit_pairs, int height, bool has_bytes, int64_t x_max) {
    const int size = banks.encoder_size;
    if (!make_gru(plan.gru, encoder.gru, size, banks.reset_before, banks.smooth, height, has_bytes,
                  x_max)) {
        return false;
    }
    x_max = product_input(encoder.gru, x_max);
    const bool gates = plan.gru.gates.narrow(x_max);
    plan.narrow = gates && (!banks.reset_before || plan.gru.candidate.narrow(x_max));
    const int padded = plan.gru.padded;
    plan.input_bias.resize(3 * padded);
    plan.input_weight.resize(static_cast<size_t>(unit_pairs) * 3 * padded * 2);
    int64_t weight_max = 1;
    int64_t bias_max = 0;
    for (int row = 0; row < 3 * size; ++row) {
        const int to = row / size * padded + row % size;
        const acc_t b = encoder.input_bias[row];
        bias_max = std::max(bias_max, magnitude(b));
        plan.input_bias[to] = static_cast<int32_t>(b);
        for (int unit = 0; unit < banks.n_units; ++unit) {
            const int16_t w = encoder.input_weight[unit * encoder.gates_stride + row];
            weight_max = std::max(weight_max, magnitude(w));
            plan.input_weight[(static_cast<size_t>(unit / 2) * 3 * padded + to) * 2 + unit % 2] = w;
        }
    }
    if (has_bytes && weight_max <= 127) {
        plan.input_bytes.resize(plan.input_weight.size());
        for (int unit = 0; unit < 2 * unit_pairs; ++unit) {
            for (int to = 0; to < 3 * padded; ++to) {
                const size_t from = static_cast<size_t>(unit / 2) * 3 * padded + to;
                const size_t lane = static_cast<size_t>(unit / 4) * 3 * padded + to;
                plan.input_bytes[lane * 4 + unit % 4] =
                    static_cast<int8_t>(plan.input_weight[from * 2 + unit % 2]);
            }
        }
    }
    plan.initial_state.resize(padded);
    for (int j = 0; j < size; ++j) {
        plan.initial_state[j] = encoder.initial_state[j];
    }
    const auto spikes_within = [&](int64_t limit) {
        return bias_max > limit ? -1 : (limit - bias_max) / weight_max;
    };
    plan.spikes_max = spikes_within(INT32_MAX);
    plan.spikes_unlimited =
        spikes_within(std::min(plan.gru.gate_input_max, plan.gru.candidate_input_max));
    return plan.spikes_max >= 0;
}

template <typename MAP>
bool make_affine(AffinePlan& plan, const MAP& map, int height, int64_t x_max) {
    pack(plan.map, map, height, {0}, map.rows);
    plan.scale = unit_of(map.rounding);
    plan.narrow = plan.map.narrow(x_max);
    return (plan.narrow || plan.map.wide()) && largest(plan.map, x_max) < EXACT;
}

// Largest magnitude of an affine map's output, which saturates at that of an int16.
int64_t largest_output(const AffinePlan& plan, int64_t x_max) {
    return static_cast<int64_t>(std::min(32768.0, largest(plan.map, x_max) * plan.scale + 1));
}

// A step blends the state with a candidate within +-1: no state exceeds both that and the first.
int64_t largest_state(const lfads::Gru& gru, int64_t first) {
    return std::max(first, int64_t{1} << (15 - gru.state_left));
}

void make_rates(Plan& plan, const lfads::Banks& banks) {
    plan.padded_units = aligned(banks.n_units);
    plan.rates_weight.resize(static_cast<size_t>(banks.n_factors) * plan.padded_units);
    plan.rates_bias.resize(plan.padded_units);
    for (int unit = 0; unit < banks.n_units; ++unit) {
        plan.rates_bias[unit] = static_cast<double>(banks.rates_bias[unit]);
        for (int i = 0; i < banks.n_factors; ++i) {
            plan.rates_weight[static_cast<size_t>(i) * plan.padded_units + unit] =
                banks.rates_weight[i * banks.rates_stride + unit];
        }
    }
    plan.rates_scale = unit_of(banks.rates_rounding);
}

// 24 bits of a factor and 16 of a weight, 64 times.
bool rates_exact(const lfads::Banks& banks) {
    double most = 0;
    for (int unit = 0; unit < banks.n_units; ++unit) {
        most = std::max(most, std::fabs(static_cast<double>(banks.rates_bias[unit])));
    }
    return most + banks.n_factors * power(23 + 15) < EXACT;
}

} // namespace

std::unique_ptr<Plan> make_plan(const lfads::Banks& banks, int height, bool has_bytes) {
    auto plan = std::make_unique<Plan>();
    Plan& p = *plan;
    p.height = height;
    p.n_units = banks.n_units;
    p.n_bins = banks.n_bins;
    p.n_bins_out = banks.n_bins_out;
    p.n_factors = banks.n_factors;
    p.unit_pairs = aligned(banks.n_units) / 2;
    p.smooth = banks.smooth;
    p.linear_ic = banks.linear_ic;

    int64_t first = 0;
    for (int j = 0; j < banks.encoder_size; ++j) {
        first = std::max({first, magnitude(banks.forward.initial_state[j]),
                          magnitude(banks.backward.initial_state[j])});
    }
    const int64_t encoder = largest_state(banks.forward.gru, first);
    const lfads::Encoder* sides[2] = {&banks.forward, &banks.backward};
    for (int side = 0; side < 2; ++side) {
        if (!make_encoder(p.encoder[side], *sides[side], banks, p.unit_pairs, height, has_bytes,
                          encoder)) {
            return nullptr;
        }
    }
    p.input_bytes = p.encoder[0].input_bytes.size() > 0 && p.encoder[1].input_bytes.size() > 0;
    if (!make_affine(p.ic, banks.ic, height, encoder)) {
        return nullptr;
    }
    int64_t initial = largest_output(p.ic, encoder);
    if (banks.linear_ic) {
        if (!make_affine(p.initial, banks.initial, height, initial)) {
            return nullptr;
        }
        initial = largest_output(p.initial, initial);
    }
    const int64_t generator = largest_state(banks.generator, initial);
    p.generator_one = largest_state(banks.generator, 0);
    if (!make_gru(p.generator, banks.generator, banks.generator_size, banks.reset_before,
                  banks.smooth, height, has_bytes, generator) ||
        !make_affine(p.factors, banks.factors, height, generator) || !p.factors.map.wide() ||
        !rates_exact(banks)) {
        return nullptr;
    }
    const int padded = p.generator.padded;
    p.generator_input.resize(3 * padded);
    for (int row = 0; row < 3 * banks.generator_size; ++row) {
        const int gate = row / banks.generator_size;
        const GruPlan& g = p.generator;
        const int32_t limit = gate == GATE_N ? g.candidate_input_max : g.gate_input_max;
        const double most = limit < INT32_MAX ? limit : power(31);
        const double a = static_cast<double>(banks.generator_input[row]);
        p.generator_input[gate * padded + row % banks.generator_size] =
            std::clamp(a, -most, most) * (gate == GATE_N ? g.candidate_input : g.gate_input);
    }
    make_rates(p, banks);
    return plan;
}

} // namespace simd
