// Reads the vector files of fpga/tools/write_vectors.py.
#ifndef LFADS_VECTORS_H
#define LFADS_VECTORS_H

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

constexpr uint32_t VECTOR_MAGIC = 0x5654464C;

// A model, trials, and what the integer reference makes of them.
struct Case {
    std::vector<uint32_t> image;
    uint32_t trials = 0;
    uint32_t units = 0;
    uint32_t n_factors = 0;
    std::vector<uint8_t> counts;
    std::vector<int32_t> factors;
    std::vector<int32_t> log_rates;
};

template <typename T> inline bool read(std::ifstream& file, std::vector<T>& values, size_t count) {
    values.resize(count);
    const size_t bytes = count * sizeof(T);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(bytes));
    if (!file) {
        return false;
    }
    file.ignore(static_cast<std::streamsize>((4 - bytes % 4) % 4));
    return true;
}

inline bool read_case(const std::string& path, Case& vectors) {
    std::ifstream file(path, std::ios::binary);
    std::vector<uint32_t> head;
    if (!read(file, head, 7) || head[0] != VECTOR_MAGIC) {
        return false;
    }
    const size_t trials = head[2];
    vectors.trials = head[2];
    vectors.units = head[5];
    vectors.n_factors = head[6];
    return read(file, vectors.image, head[1]) &&
           read(file, vectors.counts, trials * head[3] * head[5]) &&
           read(file, vectors.factors, trials * head[4] * head[6]) &&
           read(file, vectors.log_rates, trials * head[4] * head[5]);
}

#endif
