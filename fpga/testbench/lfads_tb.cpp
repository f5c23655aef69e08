// C simulation of the kernel's top function, and that it refuses what it must.
//
// Arguments: vector files of fpga/tools/write_vectors.py. Exit status 0 if all agrees to the bit.
#include "cosim_buffers.h"
#include "rows.h"
#include "vectors.h"

#include <cstdio>
#include <string>
#include <vector>

namespace {

constexpr uint32_t UNTOUCHED = 0x5A5A5A5A;

int failures = 0;
int checks = 0;
uint32_t sequence = 0x70000000;
uint32_t in_use = 0; // checksum of the model that should answer
uint32_t loads = 0;

void check(bool right, const char* what, const std::string& where) {
    ++checks;
    if (!right) {
        ++failures;
        std::printf("FAIL %s: %s\n", where.c_str(), what);
    }
}

// Calls the kernel and returns its status; the rest of the answer is checked.
uint32_t call(uint32_t command, const std::vector<uint32_t>& image, const Case& vectors,
              Results& results, const std::string& where) {
    lfads::Block answer;
    for (uint32_t& word : answer.word) {
        word = UNTOUCHED;
    }
    ++sequence;
    const std::vector<lfads::Block> counts = pad_counts(vectors);
#ifdef LFADS_COSIM
    call_for_cosim(command, sequence, image, counts, results.factors, results.log_rates,
                   vectors.trials, &answer);
#else
    lfads_kernel(command, sequence, image.data(), static_cast<uint32_t>(image.size()),
                 counts.data(), results.factors.data(), results.log_rates.data(), vectors.trials,
                 &answer, nullptr);
#endif
    const uint32_t* word = answer.word;
    const bool ran = command == lfads::COMMAND_RUN || command == lfads::COMMAND_RUN_FACTORS;
    const bool good = word[lfads::ANSWER_STATUS] == lfads::STATUS_OK;
    if (command == lfads::COMMAND_LOAD && good) {
        in_use = image[3];
        ++loads;
    }
    check(word[lfads::ANSWER_SEQUENCE] == sequence && word[lfads::ANSWER_COMMAND] == command &&
              word[lfads::ANSWER_TRIALS] == (ran && good ? vectors.trials : 0) &&
              word[lfads::ANSWER_MODEL] == in_use && word[lfads::ANSWER_LOADS] == loads,
          "answer", where);
    check(word[lfads::ANSWER_MAGIC] == lfads::KERNEL_MAGIC &&
              word[lfads::ANSWER_PROTOCOL] == lfads::PROTOCOL_VERSION &&
              word[lfads::ANSWER_IMAGE] == lfads::IMAGE_VERSION &&
              word[lfads::ANSWER_MAX_UNITS] == LFADS_MAX_UNITS &&
              word[lfads::ANSWER_MAX_BINS] == LFADS_MAX_BINS &&
              word[lfads::ANSWER_MAX_HIDDEN] == LFADS_MAX_HIDDEN &&
              word[lfads::ANSWER_MAX_FACTORS] == LFADS_MAX_FACTORS &&
              word[lfads::ANSWER_REUSE] == LFADS_REUSE,
          "what the kernel says of itself", where);
    return word[lfads::ANSWER_STATUS];
}

struct Bench {
    const Case& vectors;
    const std::string& path;
    Results results;

    Bench(const Case& c, const std::string& p) : vectors(c), path(p), results(c, UNTOUCHED) {}

    uint32_t load(const std::vector<uint32_t>& image) {
        return call(lfads::COMMAND_LOAD, image, vectors, results, path);
    }
    uint32_t run(uint32_t command) {
        results = Results(vectors, UNTOUCHED);
        return call(command, {}, vectors, results, path);
    }

    void refusals() {
        std::vector<uint32_t> bad = vectors.image;
        bad[0] ^= 1u;
        check(load(bad) == lfads::STATUS_MAGIC, "wrong magic", path);
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
        const uint32_t maxima[] = {LFADS_MAX_UNITS,  LFADS_MAX_BINS,   LFADS_MAX_BINS,
                                   LFADS_MAX_HIDDEN, LFADS_MAX_HIDDEN, LFADS_MAX_HIDDEN,
                                   LFADS_MAX_FACTORS};
        for (size_t i = 0; i < 7; ++i) {
            for (const uint32_t size : {maxima[i] + 1u, 0u, 0xFFFFFFFFu}) {
                bad = vectors.image;
                bad[4 + i] = size;
                check(load(bad) == lfads::STATUS_SIZE, "a size beyond its maximum, or none", path);
            }
        }
        bad = vectors.image;
        bad[11] = 8;
        check(load(bad) == lfads::STATUS_FORM, "unknown form", path);
        check(run(7) == lfads::STATUS_COMMAND, "unknown command", path);
        check(run(lfads::COMMAND_INFO) == lfads::STATUS_OK, "info", path);
        check(results.untouched(UNTOUCHED), "wrote unasked", path);
    }

    void too_many() {
        Case many = vectors;
        many.trials = lfads::MAX_TRIALS + 1;
        many.counts.clear();
        check(call(lfads::COMMAND_RUN, {}, many, results, path) == lfads::STATUS_TRIALS,
              "too many trials", path);
    }

    void runs() {
        check(run(lfads::COMMAND_RUN) == lfads::STATUS_OK, "run", path);
        check(results.equal_factors(vectors), "factors differ", path);
        check(results.equal_log_rates(vectors), "log-rates differ", path);
        check(results.ends_untouched(UNTOUCHED), "wrote beyond its rows", path);
        check(run(lfads::COMMAND_RUN_FACTORS) == lfads::STATUS_OK, "run for factors", path);
        check(results.equal_factors(vectors), "factors alone differ", path);
        check(results.untouched_log_rates(UNTOUCHED), "wrote log-rates unasked", path);
    }
};

void check_case(const std::string& path) {
    Case vectors;
    const bool readable = read_case(path, vectors);
    check(readable, "cannot read the vectors", path);
    if (!readable) {
        return;
    }
    Bench bench(vectors, path);
    if (loads == 0) {
        bench.refusals();
        check(bench.run(lfads::COMMAND_RUN) == lfads::STATUS_NOT_LOADED, "ran without a model",
              path);
        check(bench.results.untouched(UNTOUCHED), "wrote without a model", path);
    }
    check(bench.load(vectors.image) == lfads::STATUS_OK, "load", path);
    bench.runs();
    if (loads <= 2) { // both banks: the model before stays in use whatever is refused
        bench.refusals();
        bench.too_many();
        bench.runs();
    }
}

} // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        check_case(argv[i]);
    }
    std::printf("%d models, %d checks, %d failed\n", argc - 1, checks, failures);
    return argc > 1 && failures == 0 ? 0 : 1;
}
