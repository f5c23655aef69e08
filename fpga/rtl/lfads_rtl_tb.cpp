// Runs vectors through lfads_rtl, in C or in RTL simulation, and compares to the bit.
#include "lfads_rtl.h"
#include "rows.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

int main() {
    const char* path = std::getenv("LFADS_RTL_VECTORS"); // the tool passes no quotes on
    Case c;
    if (path == nullptr || !read_case(path, c) || c.image.size() > RTL_IMAGE) {
        std::printf("LFADS_RTL_VECTORS names no vectors\n");
        return 1;
    }
    uint32_t image[RTL_IMAGE] = {};
    uint32_t counts[RTL_COUNTS] = {};
    uint32_t factors[RTL_FACTORS] = {};
    uint32_t rates[RTL_RATES] = {};
    std::copy(c.image.begin(), c.image.end(), image);
    const std::vector<lfads::Block> rows = pad_counts(c);
    std::memcpy(counts, rows.data(), rows.size() * sizeof(lfads::Block));
    const uint32_t status =
        lfads_rtl(static_cast<uint32_t>(c.image.size()), c.trials, image, counts, factors, rates);
    Results results(c, 0);
    std::memcpy(results.factors.data(), factors,
                (results.factors.size() - 1) * sizeof(lfads::Block));
    std::memcpy(results.log_rates.data(), rates,
                (results.log_rates.size() - 1) * sizeof(lfads::Block));
    const bool equal = status == 0 && results.equal_factors(c) && results.equal_log_rates(c);
    std::printf("LFADS_RTL status %u, %s\n", status, equal ? "equal to the bit" : "DIFFERENT");
    return equal ? 0 : 1;
}
