// A model as the card keeps it: double banks of weights spread over multipliers, and settings.
//
// A cell is what steps a GRU: ROWS rows of LANES multipliers, each of which does REUSE products a
// step. Lane l of a row takes columns l * REUSE to l * REUSE + REUSE - 1, one a cycle. Cell 0 steps
// the forward direction, then the generator; cell 1 the backward direction. The maps from final
// states to the generator's first state run on the same multipliers, each as a further slot.
#ifndef LFADS_CARD_H
#define LFADS_CARD_H

#include "lfads_kernel.h"
#include "lfads_port.h"

namespace lfads {

constexpr int REUSE = LFADS_REUSE;
constexpr int LANES = (MAX_HIDDEN + REUSE - 1) / REUSE;
constexpr int STATE = LANES * REUSE; // MAX_HIDDEN, padded to whole lanes
constexpr int ROWS = 3 * STATE;      // z, r, n, each STATE high
constexpr int SPIKES = LFADS_SPIKES;
constexpr int UNIT_BLOCKS = count_blocks(MAX_UNITS);
constexpr int UNITS_EACH = UNIT_BLOCKS * BLOCK_BYTES / SPIKES; // that one port of a projection sees
constexpr int FACTOR_BLOCKS = value_blocks(MAX_FACTORS);
constexpr int FACTORS = FACTOR_BLOCKS * BLOCK_WORDS;
constexpr int RATE_BLOCKS = value_blocks(MAX_UNITS);
static_assert(BLOCK_BYTES % SPIKES == 0, "units are dealt to the ports of a projection in turn");

// What a slot of a cell holds: rows z, r, n of a GRU; or, in the rows of z, a part of the map to
// the initial condition and, in those of r, the map from there to the generator.
enum Slot { SLOT_ENCODER = 0, SLOT_MAPS = 1, SLOT_GENERATOR = 2 };
constexpr int SLOTS[2] = {3, 2}; // cell 1 has no generator
constexpr int BANKS = 2;

template <int SLOT_COUNT> struct CellWeights {
    int16_t weight[BANKS * SLOT_COUNT * REUSE][ROWS][LANES];
    acc_t bias[BANKS * SLOT_COUNT][ROWS];
};

struct InputWeights {
    int16_t weight[SPIKES][BANKS * UNITS_EACH][ROWS];
    acc_t bias[BANKS][ROWS];
};

// How an input part and a product come together before an activation (lfads_align.h).
struct Alignment {
    int left; // the input part, or else:
    int cut;  // bits that fall off it
    acc_t before_cut;
    acc_t after_cut;
    acc_t cut_mask;
    bool rounds;
    int lift; // the product
    int drop; // bits of the sum, by rounding
    acc_t mask;
    acc_t far; // bits of the sum that an activation's argument has no place for
};

// Everything that a step on a cell needs beside weights.
struct CellSettings {
    Alignment gate;
    Alignment candidate;
    bool bytes; // states are rounded to 8 bits before they enter a product
    Rounding to_byte;
    bool lifts;
    int state_left;
    int state_drop;
    acc_t state_half;
    acc_t state_mask;
    int32_t low;
    int32_t high;
};

// Of one gate: what is added to the products of all units, or anything else of that shape.
struct Terms {
    acc_t of[STATE];
};

// The input part of a step, aligned.
struct Inputs {
    Terms z;
    Terms r;
    Terms n;
    bool exact[ROWS];
};

struct State {
    int16_t of[STATE];
};

// Everything but weights.
struct Settings {
    bool loaded;
    uint32_t checksum;
    int n_units;
    int n_bins;
    int n_bins_out;
    int n_factors;
    bool reset_before;
    bool smooth;
    bool linear_ic;
    CellSettings forward;
    CellSettings backward;
    CellSettings generator;
    Rounding ic_rounding;
    Rounding initial_rounding;
    Rounding factors_rounding;
    Rounding rates_rounding;
};

struct Card {
    Banks staging; // the image last taken; lanes are filled from it
    int active;    // the bank in use
    uint32_t loads;
    Settings settings[BANKS];
    InputWeights forward;
    InputWeights backward;
    int16_t initial_state[2][BANKS][STATE]; // forward, backward
    CellWeights<SLOTS[0]> cell0;
    CellWeights<SLOTS[1]> cell1;
    Inputs generator_input[BANKS]; // the same in every step
    int16_t factors_weight[BANKS * FACTORS][STATE];
    int16_t rates_weight[BANKS * RATE_BLOCKS][FACTORS][BLOCK_WORDS];
    acc_t rates_bias[BANKS * RATE_BLOCKS][BLOCK_WORDS];
    // The newest bins that came by the mailbox: a ring of as many as the model's window has, twice
    // over, so that a window lies in one piece wherever it begins.
    Block window[2 * MAX_BINS * UNIT_BLOCKS];
};

// Whether and where a trial comes from the mailbox and goes back to it.
struct Mail {
    bool on;
    uint32_t window; // first block in Card::window
    uint32_t results;
};

// Take a model. On any status but OK the one before stays in use.
Status card_load(Card& card, const uint32_t* image, uint32_t image_words);

// Infer trials with the model in use, of which there must be one. Rows are padded to blocks
// (lfads_kernel.h); log_rates is written only if asked for. A trial of the mailbox' comes from
// Card::window instead, and factors and log-rates go to the mailbox; `check` is then that of these
// rows.
void card_run(const Card& card, const Mail& mail, const Block* counts, Block* factors,
              Block* log_rates, Port& mailbox, uint32_t n_trials, bool rates, uint32_t& check);

} // namespace lfads

#endif
