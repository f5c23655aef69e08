// Drives the witness through its cases: compares every state to the bit, counts every cycle.
//
// Argument: cases.txt of fpga/tools/write_witness.py. A line for each case: its name, cycles of
// each step, wrong values. Exit status 1 if any value is wrong or a step does not end.
#include "Vgru_step.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace {

constexpr int SIZE = WITNESS_SIZE;
constexpr int REUSE = WITNESS_REUSE;
constexpr int PATIENCE = 1000; // cycles, of a step

class Witness {
  public:
    Witness() {
        top.reset = 1;
        top.run = top.load = top.write_weight = top.write_bias = 0;
        tick();
        tick();
        top.reset = 0;
    }
    void tick() {
        top.clock = 0;
        top.eval();
        top.clock = 1;
        top.eval();
    }
    // Ports up to 64 bits are integers, wider ones arrays of 32; both are so in memory.
    template <typename PORT> void put(PORT& port, int bits, int index, int64_t value) {
        uint32_t* words = reinterpret_cast<uint32_t*>(&port);
        for (int bit = 0; bit < bits; ++bit) {
            const int at = index * bits + bit;
            const uint32_t mask = 1u << (at % 32);
            words[at / 32] = (value >> bit) & 1 ? words[at / 32] | mask : words[at / 32] & ~mask;
        }
    }
    int16_t state(int unit) const {
        return static_cast<int16_t>(top.h[unit / 2] >> (16 * (unit % 2)));
    }

    Vgru_step top;
};

std::vector<int64_t> numbers(std::istream& in, int n) {
    std::vector<int64_t> values(n);
    for (int64_t& v : values) {
        in >> v;
    }
    return values;
}

void load(Witness& w, std::istream& in) {
    std::string settings;
    in >> settings;
    const std::string digits = std::string(24 - settings.size(), '0') + settings;
    for (int word = 0; word < 3; ++word) {
        w.top.settings[word] = std::stoul(digits.substr(8 * (2 - word), 8), nullptr, 16);
    }
    const std::vector<int64_t> initial = numbers(in, SIZE);
    for (int row = 0; row < 3 * SIZE; ++row) {
        w.top.write_row = row;
        const std::vector<int64_t> weights = numbers(in, SIZE);
        w.top.write_weight = 1;
        for (int k = 0; k < REUSE; ++k) {
            w.top.write_index = k;
            for (int column = k; column < SIZE; column += REUSE) {
                w.put(w.top.write_weights, 16, column / REUSE, weights[column]);
            }
            w.tick();
        }
        w.top.write_weight = 0;
        w.top.write_bias = 1;
        int64_t bias;
        in >> bias;
        w.top.write_value = bias & 0xFFFFFFFFFFFF;
        w.tick();
        w.top.write_bias = 0;
    }
    for (int j = 0; j < SIZE; ++j) {
        w.put(w.top.initial_state, 16, j, initial[j]);
    }
    w.top.load = 1;
    w.tick();
    w.top.load = 0;
}

// Returns wrong values; the steps follow each other without a pause.
int steps(Witness& w, std::istream& in, int n) {
    int wrong = 0;
    for (int step = 0; step < n; ++step) {
        const std::vector<int64_t> a = numbers(in, 3 * SIZE);
        const std::vector<int64_t> exact = numbers(in, 3 * SIZE);
        for (int row = 0; row < 3 * SIZE; ++row) {
            w.put(w.top.a, 64, row, a[row]);
            w.put(w.top.exact, 1, row, exact[row]);
        }
        int cycles = 0;
        if (step == 0) {
            w.top.run = 1;
            w.tick(); // leaves IDLE, which is no part of a step
        }
        do {
            w.top.run = step + 1 < n;
            w.tick();
            ++cycles;
        } while (!w.top.done && cycles < PATIENCE);
        std::printf(" %d", cycles);
        const std::vector<int64_t> h = numbers(in, SIZE);
        for (int unit = 0; unit < SIZE; ++unit) {
            wrong += w.state(unit) != h[unit];
        }
        if (cycles >= PATIENCE) {
            return wrong + 1;
        }
    }
    return wrong;
}

} // namespace

int main(int argc, char** argv) {
    std::ifstream in(argc > 1 ? argv[1] : "");
    int size = 0, n_steps = 0, n_cases = 0;
    in >> size >> n_steps >> n_cases;
    if (!in || n_cases == 0 || size != SIZE) {
        std::fprintf(stderr, "no cases, or of another size\n");
        return 1;
    }
    Witness witness;
    int failures = 0;
    for (int i = 0; i < n_cases; ++i) {
        std::string name;
        std::getline(in >> std::ws, name);
        std::printf("%s:", name.c_str());
        load(witness, in);
        const int wrong = steps(witness, in, n_steps);
        failures += wrong;
        std::printf(" cycles, %d wrong\n", wrong);
        if (!in) {
            std::fprintf(stderr, "the cases end too soon\n");
            return 1;
        }
    }
    return failures != 0;
}
