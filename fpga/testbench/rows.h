// Between vectors as the Python side writes them and the padded rows that the card moves.
#ifndef LFADS_ROWS_H
#define LFADS_ROWS_H

#include "lfads_kernel.h"
#include "vectors.h"

#include <cstring>
#include <vector>

inline std::vector<lfads::Block> pad_counts(const Case& c) {
    const size_t units = c.units;
    const size_t blocks = static_cast<size_t>(lfads::count_blocks(static_cast<int>(units)));
    const size_t rows = c.counts.size() / units;
    std::vector<lfads::Block> out(rows * blocks, lfads::Block{});
    for (size_t row = 0; row < rows; ++row) {
        std::memcpy(out[row * blocks].word, &c.counts[row * units], units);
    }
    return out;
}

// Whether rows are `values` of `width` each, and zero beyond it.
inline bool equal_rows(const std::vector<lfads::Block>& rows, const std::vector<int32_t>& values,
                       size_t width) {
    const size_t blocks = static_cast<size_t>(lfads::value_blocks(static_cast<int>(width)));
    const size_t padded = blocks * lfads::BLOCK_WORDS;
    for (size_t row = 0; row < values.size() / width; ++row) {
        for (size_t i = 0; i < padded; ++i) {
            const uint32_t found = rows[row * blocks + i / 16].word[i % 16];
            const uint32_t expected =
                i < width ? static_cast<uint32_t>(values[row * width + i]) : 0;
            if (found != expected) {
                return false;
            }
        }
    }
    return true;
}

// What the kernel writes, with a block more that it must not.
struct Results {
    std::vector<lfads::Block> factors;
    std::vector<lfads::Block> log_rates;

    Results(const Case& c, uint32_t filling) {
        fill(factors, c.factors.size(), c.n_factors, filling);
        fill(log_rates, c.log_rates.size(), c.units, filling);
    }

    bool equal_factors(const Case& c) const { return equal_rows(factors, c.factors, c.n_factors); }
    bool equal_log_rates(const Case& c) const {
        return equal_rows(log_rates, c.log_rates, c.units);
    }

    bool untouched(uint32_t filling) const {
        return are(factors, 0, filling) && untouched_log_rates(filling);
    }
    bool untouched_log_rates(uint32_t filling) const { return are(log_rates, 0, filling); }
    bool ends_untouched(uint32_t filling) const {
        return are(factors, factors.size() - 1, filling) &&
               are(log_rates, log_rates.size() - 1, filling);
    }

  private:
    static bool are(const std::vector<lfads::Block>& blocks, size_t first, uint32_t filling) {
        for (size_t i = first; i < blocks.size(); ++i) {
            for (const uint32_t word : blocks[i].word) {
                if (word != filling) {
                    return false;
                }
            }
        }
        return true;
    }
    static void fill(std::vector<lfads::Block>& blocks, size_t values, size_t width,
                     uint32_t filling) {
        lfads::Block block;
        for (uint32_t& word : block.word) {
            word = filling;
        }
        const size_t each = static_cast<size_t>(lfads::value_blocks(static_cast<int>(width)));
        blocks.assign(values / width * each + 1, block);
    }
};

#endif
