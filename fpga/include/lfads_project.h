// The encoder's input part on the card, ahead of the recurrences: weight rows of the units that
// fired, then their alignment.
#ifndef LFADS_PROJECT_H
#define LFADS_PROJECT_H

#include "lfads_align.h"
#include "lfads_cell.h"
#include "lfads_fifo.h"

namespace lfads {

template <int BLOCKS> using Rows = Fifo<Block, MAX_BINS * BLOCKS>;

// Input parts on their way to a cell.
struct Parts {
    Fifo<Terms, MAX_BINS> z;
    Fifo<Terms, MAX_BINS> r;
    Fifo<Terms, MAX_BINS> n;
};
struct Exact {
    bool of[ROWS];
};

LFADS_INLINE int32_t count_of(const Block& block, int unit) {
    return static_cast<int32_t>((block.word[unit / 4] >> (8 * (unit % 4))) & 255u);
}

// Units of a block are dealt to the ports in turn: unit u to port u % SPIKES.
constexpr int PORT_UNITS = BLOCK_BYTES / SPIKES;

// Those of one port that fired, a bit each.
LFADS_INLINE uint64_t fired(const Block& block, int port) {
    uint64_t mask = 0;
    for (int k = PORT_UNITS - 1; k >= 0; --k) {
#pragma HLS unroll
        mask = mask << 1 | static_cast<uint64_t>(count_of(block, k * SPIKES + port) != 0);
    }
    return mask;
}

LFADS_INLINE int lowest(uint64_t mask) {
    int first = 0;
    uint64_t bit = uint64_t{1} << (PORT_UNITS - 1);
    for (int k = PORT_UNITS - 1; k >= 0; --k) {
#pragma HLS unroll
        first = (mask & bit) != 0 ? k : first;
        bit >>= 1;
    }
    return first;
}

// a = W x + b of a bin. A zero costs nothing: a cycle takes a block from the queue, or adds one
// unit that fired from each port.
LFADS_INLINE void project_bin(const InputWeights& input, int bank, int blocks,
                              Rows<UNIT_BLOCKS>& rows, acc_t a[ROWS]) {
#pragma HLS inline
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
        a[row] = input.bias[bank][row];
    }
    Block block = {};
    uint64_t waiting[SPIKES] = {};
#pragma HLS array_partition variable = waiting complete
    int taken = 0;
    const int most = blocks * (PORT_UNITS + 1); // when every unit fires
    for (int i = 0; i < most; ++i) {
#pragma HLS loop_tripcount min = 2 max = 34
#pragma HLS pipeline II = 1
        bool any = false;
        for (int port = 0; port < SPIKES; ++port) {
#pragma HLS unroll
            any = any || waiting[port] != 0;
        }
        if (!any) {
            if (taken == blocks) {
                break;
            }
            block = rows.read();
            ++taken;
            for (int port = 0; port < SPIKES; ++port) {
#pragma HLS unroll
                waiting[port] = fired(block, port);
            }
            continue;
        }
        int32_t count[SPIKES];
        int place[SPIKES];
#pragma HLS array_partition variable = count complete
#pragma HLS array_partition variable = place complete
        for (int port = 0; port < SPIKES; ++port) {
#pragma HLS unroll
            const int first = lowest(waiting[port]);
            count[port] = waiting[port] == 0 ? 0 : count_of(block, first * SPIKES + port);
            place[port] = bank * UNITS_EACH + (taken - 1) * PORT_UNITS + first;
            waiting[port] &= waiting[port] - 1;
        }
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS unroll
            acc_t rise = 0;
            for (int port = 0; port < SPIKES; ++port) {
#pragma HLS unroll
                rise += count[port] * input.weight[port][place[port]][row];
            }
            a[row] = sum48(a[row] + rise);
        }
    }
}

LFADS_INLINE void write_part(const acc_t* a, Fifo<Terms, MAX_BINS>& out) {
#pragma HLS inline
    Terms terms;
    for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
        terms.of[j] = a[j];
    }
    out.write(terms);
}

// SIDE only gives each direction hardware of its own.
template <int SIDE>
static void project(const InputWeights& input, int bank, int blocks, int n_bins,
                    Rows<UNIT_BLOCKS>& rows, Parts& parts) {
#pragma HLS inline off
    acc_t a[ROWS];
#pragma HLS array_partition variable = a complete
    for (int bin = 0; bin < n_bins; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        project_bin(input, bank, blocks, rows, a);
        write_part(a, parts.z);
        write_part(a + STATE, parts.r);
        write_part(a + 2 * STATE, parts.n);
    }
}

// One gate a cycle, for shifts by what the model says are wide, and there is time.
template <int SIDE>
static void align(const CellSettings& s, int n_bins, Parts& parts, Parts& out,
                  Fifo<Exact, MAX_BINS>& exact_out) {
#pragma HLS inline off
    Exact exact = {};
#pragma HLS array_partition variable = exact.of complete
    for (int bin = 0; bin < n_bins; ++bin) {
#pragma HLS loop_tripcount min = 73 max = 73
        for (int gate = 0; gate < 3; ++gate) {
#pragma HLS pipeline II = 1
            const Terms a = gate == 0   ? parts.z.read()
                            : gate == 1 ? parts.r.read()
                                        : parts.n.read();
            const Alignment& m = gate == 2 ? s.candidate : s.gate;
            Terms terms;
            for (int j = 0; j < STATE; ++j) {
#pragma HLS unroll
                bool whole = false;
                terms.of[j] = aligned(m, a.of[j], whole);
                for (int g = 0; g < 3; ++g) {
#pragma HLS unroll
                    if (g == gate) {
                        exact.of[g * STATE + j] = whole;
                    }
                }
            }
            if (gate == 0) {
                out.z.write(terms);
            } else if (gate == 1) {
                out.r.write(terms);
            } else {
                out.n.write(terms);
                exact_out.write(exact);
            }
        }
    }
}

} // namespace lfads

#endif
