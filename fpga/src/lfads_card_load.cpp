// From a checked image to the card's lanes, into the bank that is not in use.
//
// Nothing here is on the path from counts to factors: one element a cycle is fast enough.
#include "lfads_align.h"

namespace lfads {
namespace {

// A matrix of `size` rows from `first` and its biases, into the rows of one gate; or zeros.
template <int SLOT_COUNT, typename MAP>
void fill_gate(CellWeights<SLOT_COUNT>& cell, int bank, int slot, int gate, const MAP& map,
               int first, int size, int first_column, int columns, bool bias) {
    const int place = bank * SLOT_COUNT + slot;
    for (int j = 0; j < STATE; ++j) {
        for (int k = 0; k < STATE; ++k) {
#pragma HLS pipeline II = 1
            const bool inside = j < size && k < columns;
            const int at = (first + j) * map.stride + first_column + k;
            cell.weight[place * REUSE + k % REUSE][gate * STATE + j][k / REUSE] =
                inside ? map.weight[at] : int16_t{0};
        }
        cell.bias[place][gate * STATE + j] = bias && j < size ? map.bias[first + j] : 0;
    }
}

template <int SLOT_COUNT>
void fill_gru(CellWeights<SLOT_COUNT>& cell, int bank, int slot, const Gru& gru, int size) {
    for (int gate = 0; gate < 3; ++gate) {
        fill_gate(cell, bank, slot, gate, gru.recurrent, gate * size, size, 0, size, true);
    }
}

void fill_input(InputWeights& input, int bank, const Encoder& encoder, int n_units, int size) {
    for (int unit = 0; unit < UNITS_EACH * SPIKES; ++unit) {
        for (int gate = 0; gate < 3; ++gate) {
            for (int j = 0; j < STATE; ++j) {
#pragma HLS pipeline II = 1
                const bool inside = unit < n_units && j < size;
                const int at = unit * encoder.gates_stride + gate * size + j;
                input.weight[unit % SPIKES][bank * UNITS_EACH + unit / SPIKES][gate * STATE + j] =
                    inside ? encoder.input_weight[at] : int16_t{0};
            }
        }
    }
    for (int gate = 0; gate < 3; ++gate) {
        for (int j = 0; j < STATE; ++j) {
#pragma HLS pipeline II = 1
            input.bias[bank][gate * STATE + j] =
                j < size ? encoder.input_bias[gate * size + j] : acc_t{0};
        }
    }
}

void fill_generator_input(Inputs& in, const Banks& b, const CellSettings& s) {
    const int size = b.generator_size;
    for (int j = 0; j < STATE; ++j) {
#pragma HLS pipeline II = 1
        const bool inside = j < size;
        const acc_t* a = b.generator_input;
        in.z.of[j] = aligned(s.gate, inside ? a[j] : 0, in.exact[j]);
        in.r.of[j] = aligned(s.gate, inside ? a[size + j] : 0, in.exact[STATE + j]);
        in.n.of[j] = aligned(s.candidate, inside ? a[2 * size + j] : 0, in.exact[2 * STATE + j]);
    }
}

void fill_read_out(Card& card, int bank, const Banks& b) {
    for (int i = 0; i < FACTORS; ++i) {
        for (int k = 0; k < STATE; ++k) {
#pragma HLS pipeline II = 1
            const bool inside = i < b.n_factors && k < b.generator_size;
            card.factors_weight[bank * FACTORS + i][k] =
                inside ? b.factors.weight[i * b.factors.stride + k] : int16_t{0};
        }
    }
    for (int unit = 0; unit < RATE_BLOCKS * BLOCK_WORDS; ++unit) {
        const int block = bank * RATE_BLOCKS + unit / BLOCK_WORDS;
        for (int i = 0; i < FACTORS; ++i) {
#pragma HLS pipeline II = 1
            const bool inside = unit < b.n_units && i < b.n_factors;
            card.rates_weight[block][i][unit % BLOCK_WORDS] =
                inside ? b.rates_weight[i * b.rates_stride + unit] : int16_t{0};
        }
        card.rates_bias[block][unit % BLOCK_WORDS] =
            unit < b.n_units ? b.rates_bias[unit] : acc_t{0};
    }
}

void fill(Card& card, int bank, uint32_t checksum) {
    const Banks& b = card.staging;
    const int encoder = b.encoder_size;
    const int generator = b.generator_size;
    fill_input(card.forward, bank, b.forward, b.n_units, encoder);
    fill_input(card.backward, bank, b.backward, b.n_units, encoder);
    fill_gru(card.cell0, bank, SLOT_ENCODER, b.forward.gru, encoder);
    fill_gru(card.cell1, bank, SLOT_ENCODER, b.backward.gru, encoder);
    fill_gru(card.cell0, bank, SLOT_GENERATOR, b.generator, generator);
    fill_gate(card.cell0, bank, SLOT_MAPS, 0, b.ic, 0, b.ic_size, 0, encoder, true);
    fill_gate(card.cell1, bank, SLOT_MAPS, 0, b.ic, 0, b.ic_size, encoder, encoder, false);
    if (b.linear_ic) {
        fill_gate(card.cell0, bank, SLOT_MAPS, 1, b.initial, 0, generator, 0, b.ic_size, true);
    }
    fill_generator_input(card.generator_input[bank], b, cell_settings(b.generator));
    for (int j = 0; j < STATE; ++j) {
        card.initial_state[0][bank][j] = j < encoder ? b.forward.initial_state[j] : int16_t{0};
        card.initial_state[1][bank][j] = j < encoder ? b.backward.initial_state[j] : int16_t{0};
    }
    fill_read_out(card, bank, b);

    Settings& s = card.settings[bank];
    s.checksum = checksum;
    s.n_units = b.n_units;
    s.n_bins = b.n_bins;
    s.n_bins_out = b.n_bins_out;
    s.n_factors = b.n_factors;
    s.reset_before = b.reset_before;
    s.smooth = b.smooth;
    s.linear_ic = b.linear_ic;
    s.forward = cell_settings(b.forward.gru);
    s.backward = cell_settings(b.backward.gru);
    s.generator = cell_settings(b.generator);
    s.ic_rounding = b.ic.rounding;
    s.initial_rounding = b.initial.rounding;
    s.factors_rounding = b.factors.rounding;
    s.rates_rounding = b.rates_rounding;
    s.loaded = true;
}

} // namespace

Status card_load(Card& card, const uint32_t* image, uint32_t image_words) {
    const Status status = load(card.staging, image, image_words);
    if (status != STATUS_OK) {
        return status;
    }
    const int idle = 1 - card.active;
    fill(card, idle, image[3]);
    card.active = idle;
    ++card.loads;
    return STATUS_OK;
}

} // namespace lfads
