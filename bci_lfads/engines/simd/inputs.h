// Input parts of the gates: who fired, and what that adds.
#ifndef LFADS_SIMD_INPUTS_H
#define LFADS_SIMD_INPUTS_H

#include "numbers.h"

#include <cstring>

namespace simd {
namespace {

// The pairs of counts of which one at least is not zero: their places, and the first count with
// the second in the high half. For vectors that have no better way; `row` is padded with zeros.
[[maybe_unused]] inline Fired find_fired_by_words(const uint8_t* counts, int n_units, uint8_t* row,
                                                  int32_t* pair, int32_t* both) {
    std::memcpy(row, counts, static_cast<size_t>(n_units));
    int n = 0;
    int64_t spikes = 0;
    for (int word = 0; 8 * word < n_units; ++word) {
        uint64_t eight;
        std::memcpy(&eight, row + 8 * word, 8);
        while (eight != 0) {
            const int i = 4 * word + __builtin_ctzll(eight) / 16;
            pair[n] = i;
            both[n] = row[2 * i] | row[2 * i + 1] << 16;
            spikes += row[2 * i] + row[2 * i + 1];
            ++n;
            eight &= ~(uint64_t{0xFFFF} << 16 * (i & 3));
        }
    }
    return {n, spikes};
}

template <class V> struct Inputs : Numbers<V> {
    using N = Numbers<V>;
    using N::L;
    using typename N::I;

    // Who fired in the bins from `first` on; false where a bin has so many spikes that the sums of
    // their weights may not fit 32 bits.
    static bool find(const Plan& p, const uint8_t* counts, int first, Scratch& s) {
        int n = 0;
        s.most_spikes = 0;
        for (int bin = first; bin < p.n_bins; ++bin) {
            s.bin_begin[bin] = n;
            const Fired fired = find_bin(p, counts + static_cast<size_t>(bin) * p.n_units, s, n);
            n += fired.lanes;
            s.most_spikes = fired.spikes > s.most_spikes ? fired.spikes : s.most_spikes;
        }
        s.bin_begin[p.n_bins] = n;
        return s.most_spikes <= p.encoder[0].spikes_max && s.most_spikes <= p.encoder[1].spikes_max;
    }

    static Fired find_bin(const Plan& p, const uint8_t* counts, Scratch& s, int n) {
        int32_t* place = s.fired.data() + n;
        int32_t* found = s.fired_counts.data() + n;
        if constexpr (V::HAS_BYTES) {
            if (p.input_bytes) {
                return V::find_fours(counts, p.n_units, place, found);
            }
        }
        return V::find_fired(counts, p.n_units, s.row.data(), place, found);
    }

    // Input parts of NV vectors of gate rows of a bin: the weights of the units that fired, times
    // their counts.
    template <int NV>
    INLINED static void project_rows(const Plan& p, const EncoderPlan& e, const Scratch& s, int bin,
                                     int row, int32_t* a) {
        const size_t rows = 3 * static_cast<size_t>(e.gru.padded);
        I sum[NV];
        UNROLLED
        for (int v = 0; v < NV; ++v) {
            sum[v] = V::load(e.input_bias.data() + row + v * L);
        }
        for (int i = s.bin_begin[bin]; i < s.bin_begin[bin + 1]; ++i) {
            const size_t lane = s.fired[i] * rows + row;
            const I counts = V::set(s.fired_counts[i]);
            if constexpr (V::HAS_BYTES) {
                if (p.input_bytes) {
                    const int8_t* w = e.input_bytes.data() + lane * 4;
                    UNROLLED
                    for (int v = 0; v < NV; ++v) {
                        sum[v] = V::dot_bytes(sum[v], V::load_fours(w + 4 * v * L), counts);
                    }
                    continue;
                }
            }
            const int16_t* w = e.input_weight.data() + lane * 2;
            UNROLLED
            for (int v = 0; v < NV; ++v) {
                sum[v] = V::dot(sum[v], V::load_pairs(w + 2 * v * L), counts);
            }
        }
        if (s.most_spikes > e.spikes_unlimited) {
            UNROLLED
            for (int v = 0; v < NV; ++v) {
                const bool gate = row + v * L < 2 * e.gru.padded;
                const int32_t most = gate ? e.gru.gate_input_max : e.gru.candidate_input_max;
                sum[v] = V::min_int(V::max_int(sum[v], V::set(-most)), V::set(most));
            }
        }
        UNROLLED
        for (int v = 0; v < NV; ++v) {
            V::store(a + row + v * L, sum[v]);
        }
    }

    template <int NV>
    static void project_rest(const Plan& p, const EncoderPlan& e, const Scratch& s, int bin,
                             int vectors, int row, int32_t* a) {
        if constexpr (NV > 0) {
            if (vectors == NV) {
                project_rows<NV>(p, e, s, bin, row, a);
            } else {
                project_rest<NV - 1>(p, e, s, bin, vectors, row, a);
            }
        }
    }

    // Where the input part of a bin of the window is kept.
    static int32_t* input_of(const Plan& p, int side, int bin, Scratch& s) {
        const int row = s.first_row + bin;
        const size_t rows = 3 * static_cast<size_t>(p.encoder[side].gru.padded);
        return s.inputs[side].data() + (row < p.n_bins ? row : row - p.n_bins) * rows;
    }

    // Input parts of the bins from `first` on.
    static void project(const Plan& p, int side, int first, Scratch& s) {
        const int rows = 3 * p.encoder[side].gru.padded;
        for (int bin = first; bin < p.n_bins; ++bin) {
            int32_t* a = input_of(p, side, bin, s);
            for (int row = 0; row < rows;) {
                const int vectors = rows - row < V::MOST * L ? (rows - row) / L : V::MOST;
                project_rest<V::MOST>(p, p.encoder[side], s, bin, vectors, row, a);
                row += vectors * L;
            }
        }
    }
};

} // namespace
} // namespace simd

#endif
