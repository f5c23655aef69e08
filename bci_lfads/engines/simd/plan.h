// A loaded model laid out for vector instructions, with what has been proven about its sums.
//
// A plan computes the integers of docs/arithmetic.md in 32-bit sums and in float64, whose rounding
// to nearest, ties to even, is the kernel's. Both are exact within the bounds that a plan proves
// when it is made, or that the window checks; where one fails the kernel itself computes.
#ifndef LFADS_SIMD_PLAN_H
#define LFADS_SIMD_PLAN_H

#include "lfads_banks.h"

#include <cstdint>
#include <memory>

namespace simd {

constexpr int ALIGN = 16; // rows, columns and units are padded to a multiple of this
constexpr double EXACT = 9007199254740992.0; // 2^53: float64 holds every integer up to it

constexpr int aligned(int n) {
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

// Zeroed memory on a cache line's boundary.
template <typename T> class Buffer {
  public:
    Buffer() = default;
    void resize(size_t n) {
        size_ = n;
        memory_.reset(
            static_cast<T*>(::operator new(n * sizeof(T) + sizeof(T), std::align_val_t{64})));
        for (size_t i = 0; i < n; ++i) {
            memory_[i] = T{};
        }
    }
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    T& operator[](size_t i) { return memory_[i]; }
    const T& operator[](size_t i) const { return memory_[i]; }
    size_t size() const { return size_; }

  private:
    struct Free {
        void operator()(T* p) const { ::operator delete(p, std::align_val_t{64}); }
    };
    std::unique_ptr<T[], Free> memory_;
    size_t size_ = 0;
};

// W x + b. Rows go to the lanes of vectors; each 32-bit lane takes two columns at a time.
struct Matrix {
    int rows = 0;           // padded
    int pairs = 0;          // of columns, padded
    Buffer<int16_t> weight; // group of rows, pair of columns, row, column
    Buffer<int32_t> bias;   // for 32-bit sums; zero where it does not fit
    Buffer<double> wide_bias;
    // For products of bytes: four columns a lane, and less what 128 more in each column adds.
    Buffer<int8_t> bytes;
    Buffer<int32_t> byte_bias;
    int64_t norm = 0; // largest sum of magnitudes of a row's weights
    int64_t bias_max = 0;

    int64_t narrow_until = INT32_MAX; // largest |x| for which no row's sum can leave 32 bits

    bool narrow(int64_t x_max) const { return x_max <= narrow_until; }
    // Whether the sums over the high and low bytes of x do not.
    bool wide() const { return norm * 256 <= INT32_MAX; }
};

// What enters a recurrent product: the state; the state rounded to 8 bits; the same as bytes.
enum class Input { STATE, ROUNDED, BYTES };

struct GruPlan {
    Input input = Input::STATE;
    double to_byte = 0; // from a state to what is rounded to 8 bits
    int size = 0;
    int padded = 0;
    bool reset_before = false;
    // Rows r, z, n in the reset-after form; r, z in the reset-before form, whose n is candidate.
    Matrix gates;
    Matrix candidate;
    // From an input or recurrent part to the unit in which an activation's argument is rounded.
    double gate_input = 0, gate_recurrent = 0, candidate_input = 0, candidate_recurrent = 0;
    // Beyond these an input part saturates the activation, whatever the state.
    int32_t gate_input_max = 0, candidate_input_max = 0;
    double candidate_to_state = 0; // from a candidate's point to the state's
    bool clips = false;            // a blend never leaves 16 bits by itself
    double low = 0, high = 0;
};

struct EncoderPlan {
    GruPlan gru;
    bool narrow = false;
    Buffer<int16_t> input_weight; // pair of units, gate row (z, r, n, each padded), unit
    Buffer<int8_t> input_bytes;   // four units at a time, where all weights have 8 bits
    Buffer<int32_t> input_bias;
    int64_t spikes_max = 0;       // spikes in a bin up to which its sums fit 32 bits
    int64_t spikes_unlimited = 0; // up to which no sum is beyond gru.gate_input_max and its like
    Buffer<double> initial_state;
};

struct AffinePlan {
    Matrix map;
    bool narrow = false;
    double scale = 0; // to the unit in which the sum is rounded
};

struct Plan {
    int height = 0; // rows that are summed at a time
    int n_units = 0, n_bins = 0, n_bins_out = 0, n_factors = 0;
    int unit_pairs = 0;
    bool smooth = false, linear_ic = false;
    bool input_bytes = false; // both encoders have input weights of 8 bits, taken as bytes
    EncoderPlan encoder[2];   // forward, backward
    AffinePlan ic, initial, factors;
    GruPlan generator;
    int64_t generator_one = 0;      // 1 as a state
    Buffer<double> generator_input; // z, r, n, each padded; in units of rounding
    int padded_units = 0;
    Buffer<double> rates_weight; // factor, unit
    Buffer<double> rates_bias;
    double rates_scale = 0;
};

// Lay out a loaded model for sums over `height` rows at a time, and for products of bytes if there
// are instructions for them; null where the sums cannot be proven exact in this way.
std::unique_ptr<Plan> make_plan(const lfads::Banks& banks, int height, bool has_bytes);

} // namespace simd

#endif
