#include "paths.h"

#include <algorithm>

namespace simd {

extern const Path AVX512, AVX2, NEON;

Scratch::Scratch(const Plan& plan) {
    const auto size = [](int n) { return static_cast<size_t>(n); };
    const int encoder = plan.encoder[0].gru.padded;
    const size_t most =
        size(std::max({encoder, plan.generator.padded, plan.ic.map.rows, plan.initial.map.rows}));
    const size_t bins = size(plan.n_bins);
    row.resize(2 * size(plan.unit_pairs));
    fired.resize(bins * size(plan.unit_pairs) + ALIGN); // whole vectors are stored
    fired_counts.resize(fired.size());
    bin_begin.resize(bins + 1);
    ends.resize(size(aligned(2 * plan.encoder[0].gru.size)));
    for (int side = 0; side < 2; ++side) {
        inputs[side].resize(bins * 3 * size(encoder));
        Workplace& w = work[side];
        w.sums.resize(3 * most);
        w.update.resize(most);
        w.state_values.resize(most);
        w.state.resize(most);
        w.reset_state.resize(most);
        w.rounded.resize(most);
        w.reset_rounded.resize(most);
        w.bytes.resize(most);
        w.reset_bytes.resize(most);
        w.high_bytes.resize(std::max(ends.size(), most));
        w.low_bytes.resize(w.high_bytes.size());
    }
    ic.resize(most);
    ic_values.resize(most);
    factor_values.resize(size(plan.n_bins_out) * size(plan.factors.map.rows));
    generated.resize(size(plan.n_bins_out + 1) * size(plan.generator.padded));
}

std::vector<const Path*> paths() {
    std::vector<const Path*> found;
#if defined(LFADS_SIMD_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
        found.push_back(&AVX512);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.push_back(&AVX2);
    }
#elif defined(LFADS_SIMD_NEON)
    found.push_back(&NEON);
#endif
    return found;
}

} // namespace simd
