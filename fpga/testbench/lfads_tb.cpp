// C simulation of the kernel's top function, and that it refuses what it must.
//
// Arguments: vector files of fpga/tools/write_vectors.py. Exit status 0 if all agrees to the bit.
#include "lfads_kernel.h"
#include "vectors.h"

#include <cstdio>
#include <string>
#include <vector>

namespace {

constexpr int32_t UNTOUCHED = 0x5A5A5A5A;

uint32_t load(const std::vector<uint32_t>& image) {
    uint32_t status = 99;
    lfads_kernel(lfads::COMMAND_LOAD, image.data(), static_cast<uint32_t>(image.size()), nullptr,
                 nullptr, nullptr, 0, &status);
    return status;
}

uint32_t run(uint32_t command, const Case& vectors, std::vector<int32_t>& factors,
             std::vector<int32_t>& log_rates) {
    uint32_t status = 99;
    factors.assign(vectors.factors.size(), UNTOUCHED);
    log_rates.assign(vectors.log_rates.size(), UNTOUCHED);
    lfads_kernel(command, nullptr, 0, vectors.counts.data(), factors.data(), log_rates.data(),
                 vectors.trials, &status);
    return status;
}

int failures = 0;
int checks = 0;

void check(bool right, const char* what, const std::string& where) {
    ++checks;
    if (!right) {
        ++failures;
        std::printf("FAIL %s: %s\n", where.c_str(), what);
    }
}

void check_refusals(const Case& vectors, const std::string& path) {
    std::vector<int32_t> factors;
    std::vector<int32_t> log_rates;
    std::vector<uint32_t> bad = vectors.image;
    bad[0] ^= 1u;
    check(load(bad) == lfads::STATUS_MAGIC, "wrong magic", path);
    check(run(lfads::COMMAND_RUN, vectors, factors, log_rates) == lfads::STATUS_NOT_LOADED,
          "ran after a failed load", path);
    check(factors[0] == UNTOUCHED, "wrote without a model", path);
    bad = vectors.image;
    bad[1] += 1u;
    check(load(bad) == lfads::STATUS_VERSION, "wrong version", path);
    bad = vectors.image;
    bad.pop_back();
    check(load(bad) == lfads::STATUS_LENGTH, "truncated", path);
    bad[2] -= 1u;
    check(load(bad) == lfads::STATUS_LENGTH, "shorter than its sizes say", path);
    bad.resize(10);
    check(load(bad) == lfads::STATUS_LENGTH, "cut within the header", path);
    bad = vectors.image;
    bad.back() ^= 0x80000000u;
    check(load(bad) == lfads::STATUS_CHECKSUM, "damaged", path);
    bad = vectors.image;
    bad[4] = LFADS_MAX_UNITS + 1;
    check(load(bad) == lfads::STATUS_SIZE, "too many units", path);
    bad = vectors.image;
    bad[11] = 8;
    check(load(bad) == lfads::STATUS_FORM, "unknown form", path);
    check(run(7, vectors, factors, log_rates) == lfads::STATUS_COMMAND, "unknown command", path);
}

void check_case(const std::string& path) {
    Case vectors;
    const bool readable = read_case(path, vectors);
    check(readable, "cannot read the vectors", path);
    if (!readable) {
        return;
    }
    std::vector<int32_t> factors;
    std::vector<int32_t> log_rates;
    check_refusals(vectors, path);
    check(load(vectors.image) == lfads::STATUS_OK, "load", path);
    check(run(lfads::COMMAND_RUN, vectors, factors, log_rates) == lfads::STATUS_OK, "run", path);
    check(factors == vectors.factors, "factors differ", path);
    check(log_rates == vectors.log_rates, "log-rates differ", path);
    check(run(lfads::COMMAND_RUN_FACTORS, vectors, factors, log_rates) == lfads::STATUS_OK,
          "run for factors", path);
    check(factors == vectors.factors, "factors alone differ", path);
    check(log_rates.front() == UNTOUCHED && log_rates.back() == UNTOUCHED,
          "wrote log-rates unasked", path);
}

} // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        check_case(argv[i]);
    }
    std::printf("%d models, %d checks, %d failed\n", argc - 1, checks, failures);
    return argc > 1 && failures == 0 ? 0 : 1;
}
