// Vector files through every path of this processor; for processors that are emulated.
//
// Prints how many trials each path took; exit status 0 if all agree to the bit.
#include "runner.h"
#include "vectors.h"

#include "lfads_kernel.h"

#include <cstdio>

int main(int argc, char** argv) {
    int wrong = argc < 2;
    for (const simd::Path* path : simd::paths()) {
        int taken = 0;
        for (int i = 1; i < argc; ++i) {
            Case c;
            const auto banks = std::make_unique<lfads::Banks>();
            if (!read_case(argv[i], c) ||
                lfads::load(*banks, c.image.data(), static_cast<uint32_t>(c.image.size())) !=
                    lfads::STATUS_OK) {
                std::printf("%s is not readable\n", argv[i]);
                return 1;
            }
            const auto plan = simd::make_plan(*banks, path->height, path->has_bytes);
            if (plan == nullptr) {
                continue;
            }
            simd::Partner partner(std::chrono::microseconds(100));
            simd::Runner runners[2] = {{*path, *plan, 0, nullptr}, {*path, *plan, 1, &partner}};
            for (simd::Runner& runner : runners) {
                std::vector<int32_t> factors(c.factors.size());
                std::vector<int32_t> log_rates(c.log_rates.size());
                for (uint32_t trial = 0; trial < c.trials; ++trial) {
                    taken += runner.infer(&c.counts[trial * c.counts.size() / c.trials],
                                          &factors[trial * factors.size() / c.trials],
                                          &log_rates[trial * log_rates.size() / c.trials]);
                }
                wrong += factors != c.factors || log_rates != c.log_rates;
            }
        }
        std::printf("%s: %d trials\n", path->name, taken);
    }
    std::printf("%d wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
