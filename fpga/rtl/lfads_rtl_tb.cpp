// Runs vectors through lfads_rtl, in C or in RTL simulation, and compares to the bit.
//
// Models are loaded one after the other into the same kernel, whose banks swap each time.
#include "lfads_rtl.h"
#include "rows.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace {

bool is_equal(const std::string& path) {
    Case c;
    if (!read_case(path, c) || c.image.size() > RTL_IMAGE) {
        std::printf("LFADS_RTL %s: no vectors, or too large\n", path.c_str());
        return false;
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
    std::printf("LFADS_RTL %s: status %u, %s\n", path.substr(path.rfind('/') + 1).c_str(), status,
                equal ? "equal" : "DIFFERENT");
    std::fflush(stdout);
    return equal;
}

} // namespace

int main() {
    const char* paths = std::getenv("LFADS_RTL_VECTORS"); // the tool passes no quotes on
    std::istringstream list(paths == nullptr ? "" : paths);
    int models = 0;
    int equal = 0;
    for (std::string path; list >> path; ++models) {
        equal += is_equal(path) ? 1 : 0;
    }
    std::printf("LFADS_RTL %d of %d models equal to the bit\n", equal, models);
    return models > 0 && equal == models ? 0 : 1;
}
