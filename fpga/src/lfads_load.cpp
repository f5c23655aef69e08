// Taking a model image: check everything, then copy it to the banks.
#include "lfads_arith.h"
#include "lfads_kernel.h"

namespace lfads {
namespace {

constexpr int CHECKSUM_WORD = 3;
constexpr uint32_t FORM_RESET_BEFORE = 1;
constexpr uint32_t FORM_SMOOTH = 2;
constexpr uint32_t FORM_LINEAR_IC = 4;
constexpr int MAX_POINT = 46; // of a product: with 16 bits of a gate it still fits a shift

// CRC-32 of zlib over the image's bytes, its checksum word taken as zero.
uint32_t checksum(const uint32_t* image, uint32_t words) {
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < words; ++i) {
#pragma HLS loop_tripcount min = 1024 max = 131072
#pragma HLS pipeline II = 1
        crc ^= i == CHECKSUM_WORD ? 0u : image[i];
        for (int bit = 0; bit < 32; ++bit) {
#pragma HLS unroll
            crc = (crc >> 1) ^ ((crc & 1u) ? 0xEDB88320u : 0u);
        }
    }
    return ~crc;
}

// A place in the image, and whether all was well up to it.
struct Reader {
    const uint32_t* next;
    bool ok;
};

struct Point {
    int weight;
    int bias;
};

bool within(int v, int low, int high) {
    return low <= v && v <= high;
}

void read_halves(Reader& in, int16_t* out, int count) {
    for (int i = 0; i < count / 2; ++i) {
#pragma HLS loop_tripcount min = 16 max = 65536
#pragma HLS pipeline II = 1
        const uint32_t word = in.next[i];
        out[2 * i] = static_cast<int16_t>(word & 0xFFFFu);
        out[2 * i + 1] = static_cast<int16_t>(word >> 16);
    }
    in.next += count / 2;
}

int bias_words(int count) {
    return (count + 15) / 16 * 16;
}

void read_bias(Reader& in, acc_t* out, int count, int shift) {
    if (!within(shift, 0, 31)) {
        in.ok = false;
        return;
    }
    for (int i = 0; i < count; ++i) {
#pragma HLS loop_tripcount min = 16 max = 384
#pragma HLS pipeline II = 1
        out[i] = shift_left(static_cast<int32_t>(in.next[i]), shift);
    }
    in.next += bias_words(count);
}

template <typename MAP>
void read_affine(Reader& in, MAP& map, int rows, int columns, Point point, int x_point,
                 int out_point, bool has_bias) {
    const int product_point = point.weight + x_point;
    const int n = product_point - out_point;
    if (!within(product_point, 0, MAX_POINT) || !within(n, -31, MAX_POINT)) {
        in.ok = false;
        return;
    }
    map.rows = rows;
    map.columns = columns;
    map.stride = padded(columns);
    map.rounding = rounding(n);
    read_halves(in, map.weight, rows * map.stride);
    map.block = 0;
    if (has_bias) {
        read_bias(in, map.bias, rows, product_point - point.bias);
    } else {
        for (int row = 0; row < rows; ++row) {
            map.bias[row] = 0;
        }
    }
}

template <typename MAP> bool weights_within(const MAP& map, int limit) {
    bool all = true;
    for (int i = 0; i < map.rows * map.stride; ++i) {
#pragma HLS loop_tripcount min = 1024 max = 49152
#pragma HLS pipeline II = 1
        all = all && within(map.weight[i], -limit, limit);
    }
    return all;
}

int larger(int a, int b) {
    return a > b ? a : b;
}

// Recurrent weights of a GRU and every shift of its step.
void read_gru(Reader& in, const Banks& banks, Gru& gru, int size, Point point, int input_point,
              int state_point, int drop, const int32_t* limits) {
    const int c = point.weight + state_point - drop;
    if (!within(input_point, 0, MAX_POINT) || !within(state_point, 0, 15) || !within(drop, 0, 15) ||
        !within(limits[0], -32768, 0) || !within(limits[1], 0, 32767)) {
        in.ok = false;
        return;
    }
    read_affine(in, gru.recurrent, 3 * size, size, point, state_point - drop, 0, true);
    gru.bytes = drop > 0;
    gru.to_byte = rounding(drop);
    in.ok = in.ok && (!gru.bytes || weights_within(gru.recurrent, 127));
    if (!in.ok) {
        return;
    }
    const int candidate = banks.reset_before ? c : c + 16;
    const int gate_point = larger(input_point, c);
    const int candidate_point = larger(input_point, candidate);
    gru.gate_input_left = gate_point - input_point;
    gru.gate_recurrent_left = gate_point - c;
    gru.candidate_input_left = candidate_point - input_point;
    gru.candidate_recurrent_left = candidate_point - candidate;
    gru.gate_rounding = rounding(gate_point - 15);
    gru.candidate_rounding = rounding(candidate_point - (banks.smooth ? 16 : 15));
    gru.state_left = 15 - state_point;
    gru.state_rounding = rounding(31 - state_point);
    gru.low = limits[0];
    gru.high = limits[1];
}

void read_encoder(Reader& in, const Banks& banks, Encoder& encoder, Point input, Point recurrent,
                  int state_point, int drop, const int32_t* limits) {
    const int size = banks.encoder_size;
    encoder.gates_stride = padded(3 * size);
    read_halves(in, encoder.input_weight, banks.n_units * encoder.gates_stride);
    for (int j = 0; j < encoder.gates_stride; ++j) {
        encoder.input_bias[j] = 0;
    }
    read_bias(in, encoder.input_bias, 3 * size, input.weight - input.bias);
    if (in.ok) {
        read_gru(in, banks, encoder.gru, size, recurrent, input.weight, state_point, drop, limits);
    }
    if (in.ok) {
        read_halves(in, encoder.initial_state, padded(size));
    }
}

// Words that an image with these sizes has.
uint32_t expected_words(const Banks& b) {
    const int encoder =
        b.n_units * padded(3 * b.encoder_size) / 2 + 2 * bias_words(3 * b.encoder_size) +
        3 * b.encoder_size * padded(b.encoder_size) / 2 + padded(b.encoder_size) / 2;
    const int ic = b.ic_size * padded(2 * b.encoder_size) / 2 + bias_words(b.ic_size);
    const int initial =
        b.linear_ic ? b.generator_size * padded(b.ic_size) / 2 + bias_words(b.generator_size) : 0;
    const int generator =
        2 * bias_words(3 * b.generator_size) + 3 * b.generator_size * padded(b.generator_size) / 2;
    const int out = b.n_factors * padded(b.generator_size) / 2 +
                    b.n_factors * padded(b.n_units) / 2 + bias_words(b.n_units);
    return HEADER_WORDS + static_cast<uint32_t>(2 * encoder + ic + initial + generator + out);
}

bool size_within(uint32_t size, int largest) {
    return 1 <= size && size <= static_cast<uint32_t>(largest);
}

Status read_sizes(Banks& banks, const uint32_t* header) {
    const bool fits = size_within(header[4], MAX_UNITS) && size_within(header[5], MAX_BINS) &&
                      size_within(header[6], MAX_BINS) && size_within(header[7], MAX_HIDDEN) &&
                      size_within(header[8], MAX_HIDDEN) && size_within(header[9], MAX_HIDDEN) &&
                      size_within(header[10], MAX_FACTORS) && header[5] <= header[6];
    if (!fits) {
        return STATUS_SIZE;
    }
    const uint32_t form = header[11];
    if (form > (FORM_RESET_BEFORE | FORM_SMOOTH | FORM_LINEAR_IC)) {
        return STATUS_FORM;
    }
    banks.n_units = static_cast<int>(header[4]);
    banks.n_bins = static_cast<int>(header[5]);
    banks.n_bins_out = static_cast<int>(header[6]);
    banks.encoder_size = static_cast<int>(header[7]);
    banks.ic_size = static_cast<int>(header[8]);
    banks.generator_size = static_cast<int>(header[9]);
    banks.n_factors = static_cast<int>(header[10]);
    banks.reset_before = (form & FORM_RESET_BEFORE) != 0;
    banks.smooth = (form & FORM_SMOOTH) != 0;
    banks.linear_ic = (form & FORM_LINEAR_IC) != 0;
    return banks.linear_ic || banks.ic_size == banks.generator_size ? STATUS_OK : STATUS_SIZE;
}

Status read_sections(Banks& banks, const uint32_t* image) {
    int32_t h[HEADER_WORDS];
    for (uint32_t i = 0; i < HEADER_WORDS; ++i) {
        h[i] = static_cast<int32_t>(image[i]);
    }
    for (int i = 12; i < 42; ++i) {
        // Far outside of what any check below takes, yet safe to add.
        if (!within(h[i], -65536, 65535)) {
            return STATUS_RANGE;
        }
    }
    const int encoder_point = h[12];
    const int ic_point = h[13];
    const int generator_point = h[14];
    const int factor_point = h[15];
    if (!banks.linear_ic && ic_point != generator_point) {
        return STATUS_RANGE;
    }
    Reader in = {image + HEADER_WORDS, true};
    read_encoder(in, banks, banks.forward, {h[24], h[25]}, {h[26], h[27]}, encoder_point, h[21],
                 h + 17);
    if (in.ok) {
        read_encoder(in, banks, banks.backward, {h[28], h[29]}, {h[30], h[31]}, encoder_point,
                     h[21], h + 17);
    }
    if (in.ok) {
        read_affine(in, banks.ic, banks.ic_size, 2 * banks.encoder_size, {h[32], h[33]},
                    encoder_point, ic_point, true);
    }
    if (in.ok && banks.linear_ic) {
        read_affine(in, banks.initial, banks.generator_size, banks.ic_size, {h[34], h[35]},
                    ic_point, generator_point, true);
    }
    if (in.ok) {
        read_bias(in, banks.generator_input, 3 * banks.generator_size, 0);
        read_gru(in, banks, banks.generator, banks.generator_size, {h[37], h[38]}, h[36],
                 generator_point, h[22], h + 19);
    }
    if (in.ok) {
        read_affine(in, banks.factors, banks.n_factors, banks.generator_size, {h[39], 0},
                    generator_point, factor_point, false);
    }
    const int rates_product = h[40] + factor_point;
    const int rates_shift = rates_product - h[16];
    if (!in.ok || !within(rates_product, 0, MAX_POINT) || !within(rates_shift, -31, MAX_POINT)) {
        return STATUS_RANGE;
    }
    banks.rates_rounding = rounding(rates_shift);
    banks.rates_stride = padded(banks.n_units);
    read_halves(in, banks.rates_weight, banks.n_factors * banks.rates_stride);
    read_bias(in, banks.rates_bias, banks.n_units, rates_product - h[41]);
    return in.ok ? STATUS_OK : STATUS_RANGE;
}

#ifndef __SYNTHESIS__
// What no input of a product can exceed decides how many columns a CPU may sum in 32 bits.

acc_t magnitude(acc_t v) {
    return v < 0 ? -v : v;
}

template <typename MAP> acc_t norm(const MAP& map, int row, int first, int last) {
    acc_t sum = 0;
    for (int k = first; k < last; ++k) {
        sum += magnitude(map.weight[row * map.stride + k]);
    }
    return sum;
}

template <typename MAP> bool fits(const MAP& map, int block, acc_t x_max) {
    for (int row = 0; row < map.rows; ++row) {
        for (int k = 0; k < map.stride; k += block) {
            if (norm(map, row, k, k + block) * x_max > INT32_MAX) {
                return false;
            }
        }
    }
    return true;
}

template <typename MAP> void choose_block(MAP& map, acc_t x_max) {
    int block = map.stride % 64 == 0 ? 64 : 32;
    while (block >= 16 && !fits(map, block, x_max)) {
        block /= 2;
    }
    map.block = block >= 16 ? block : 0;
}

// Largest magnitude of an affine map's rounded output, at most that of an int16.
template <typename MAP> acc_t largest_output(const MAP& map, acc_t x_max) {
    acc_t largest = 0;
    for (int row = 0; row < map.rows; ++row) {
        const acc_t sum = norm(map, row, 0, map.stride) * x_max + magnitude(map.bias[row]);
        largest = sum > largest ? sum : largest;
    }
    return map.rounding.left > 0 ? 32768 : clamp((largest >> map.rounding.right) + 1, 0, 32768);
}

// A step blends the state with a candidate within +-1, so no state exceeds both that and the first.
acc_t largest_state(const Gru& gru, acc_t first) {
    const acc_t one = shift_left(1, 15 - gru.state_left);
    return first > one ? first : one;
}

acc_t product_input(const Gru& gru, acc_t state) {
    return gru.bytes ? 128 : state;
}

void choose_blocks(Banks& banks) {
    acc_t first = 0;
    for (int j = 0; j < banks.encoder_size; ++j) {
        const acc_t forward = magnitude(banks.forward.initial_state[j]);
        const acc_t backward = magnitude(banks.backward.initial_state[j]);
        first = forward > first ? forward : first;
        first = backward > first ? backward : first;
    }
    const acc_t encoder = largest_state(banks.forward.gru, first);
    choose_block(banks.forward.gru.recurrent, product_input(banks.forward.gru, encoder));
    choose_block(banks.backward.gru.recurrent, product_input(banks.backward.gru, encoder));
    choose_block(banks.ic, encoder);
    acc_t initial = largest_output(banks.ic, encoder);
    if (banks.linear_ic) {
        choose_block(banks.initial, initial);
        initial = largest_output(banks.initial, initial);
    }
    const acc_t generator = largest_state(banks.generator, initial);
    choose_block(banks.generator.recurrent, product_input(banks.generator, generator));
    choose_block(banks.factors, generator);
}
#endif

} // namespace

Status load(Banks& banks, const uint32_t* image, uint32_t image_words) {
    banks.loaded = false;
    if (image_words < 4 || image[0] != IMAGE_MAGIC) {
        return STATUS_MAGIC;
    }
    if (image[1] != IMAGE_VERSION) {
        return STATUS_VERSION;
    }
    if (image_words < HEADER_WORDS || image[2] != image_words) {
        return STATUS_LENGTH;
    }
    const Status sizes = read_sizes(banks, image);
    if (sizes != STATUS_OK) {
        return sizes;
    }
    if (image_words != expected_words(banks)) {
        return STATUS_LENGTH;
    }
    if (image[CHECKSUM_WORD] != checksum(image, image_words)) {
        return STATUS_CHECKSUM;
    }
    const Status sections = read_sections(banks, image);
    banks.loaded = sections == STATUS_OK;
#ifndef __SYNTHESIS__
    if (banks.loaded) {
        choose_blocks(banks);
    }
#endif
    return sections;
}

} // namespace lfads
