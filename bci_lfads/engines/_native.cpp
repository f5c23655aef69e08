// The HLS kernel behind a Python class: buffers in, buffers out, no Python while it computes.
#include "lfads_kernel.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename T, int DIMENSIONS>
using Array = nb::ndarray<T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;

const char* explain(lfads::Status status) {
    switch (status) {
    case lfads::STATUS_OK:
        return "no error";
    case lfads::STATUS_NOT_LOADED:
        return "no model is loaded";
    case lfads::STATUS_MAGIC:
        return "these words are not a kernel image; make one with bci_lfads.models.image";
    case lfads::STATUS_VERSION:
        return "the kernel image has another format version than this build knows; make it again "
               "with the installed bci-lfads";
    case lfads::STATUS_LENGTH:
        return "the kernel image is truncated or longer than its sizes say";
    case lfads::STATUS_CHECKSUM:
        return "the kernel image is damaged: its checksum is wrong";
    case lfads::STATUS_SIZE:
        return "the model is larger than this kernel was compiled for, or its sizes contradict "
               "each other; see MAXIMA";
    case lfads::STATUS_FORM:
        return "the kernel image has a form this build does not know";
    case lfads::STATUS_RANGE:
        return "a binary point or state limit of the kernel image is out of range";
    case lfads::STATUS_COMMAND:
        return "no such kernel command";
    }
    return "unknown status";
}

// In place: both have 32 bits, and integers of 24 bits are exact as float32.
void to_float(float* values, size_t count, float scale) {
    for (size_t i = 0; i < count; ++i) {
        int32_t integer;
        std::memcpy(&integer, values + i, sizeof integer);
        values[i] = static_cast<float>(integer) * scale;
    }
}

const char* instruction_set() {
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
        return "avx512";
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return "avx2";
    }
#endif
    return "portable";
}

class Kernel {
  public:
    explicit Kernel(Array<const uint32_t, 1> image)
        : banks_(std::make_unique<lfads::Banks>()), words_(image.size()) {
        const auto status =
            image.size() > UINT32_MAX
                ? lfads::STATUS_LENGTH
                : lfads::load(*banks_, image.data(), static_cast<uint32_t>(image.size()));
        if (status != lfads::STATUS_OK) {
            throw nb::value_error(explain(status));
        }
        factor_scale_ = std::ldexp(1.0F, -static_cast<int32_t>(image.data()[15]));
        log_rate_scale_ = std::ldexp(1.0F, -static_cast<int32_t>(image.data()[16]));
    }

    void infer(Array<const uint8_t, 2> counts, Array<float, 2> factors,
               std::optional<Array<float, 2>> log_rates) const {
        check(counts, 0, "counts", banks_->n_bins, banks_->n_units);
        check(factors, 0, "factors", banks_->n_bins_out, banks_->n_factors);
        if (log_rates) {
            check(*log_rates, 0, "log_rates", banks_->n_bins_out, banks_->n_units);
        }
        float* rates = log_rates ? log_rates->data() : nullptr;
        const nb::gil_scoped_release release;
        trial(counts.data(), factors.data(), rates);
    }

    void infer_batch(Array<const uint8_t, 3> counts, Array<float, 3> factors,
                     std::optional<Array<float, 3>> log_rates, int n_threads) const {
        const size_t trials = counts.shape(0);
        check(counts, 1, "counts", banks_->n_bins, banks_->n_units);
        check(factors, 1, "factors", banks_->n_bins_out, banks_->n_factors);
        bool equal = factors.shape(0) == trials;
        if (log_rates) {
            check(*log_rates, 1, "log_rates", banks_->n_bins_out, banks_->n_units);
            equal = equal && log_rates->shape(0) == trials;
        }
        if (!equal) {
            throw nb::value_error("counts and outputs differ in their number of trials");
        }
        if (n_threads < 1) {
            throw nb::value_error("n_threads must be 1 or more");
        }
        const uint8_t* in = counts.data();
        float* out = factors.data();
        float* rates = log_rates ? log_rates->data() : nullptr;
        const nb::gil_scoped_release release;
        run_threads(trials, static_cast<size_t>(n_threads), [=](size_t first, size_t last) {
            for (size_t i = first; i < last; ++i) {
                trial(in + i * counts_size(), out + i * factors_size(),
                      rates == nullptr ? nullptr : rates + i * rates_size());
            }
        });
    }

    void infer_integers(Array<const uint8_t, 2> counts, Array<int32_t, 2> factors,
                        std::optional<Array<int32_t, 2>> log_rates) const {
        check(counts, 0, "counts", banks_->n_bins, banks_->n_units);
        check(factors, 0, "factors", banks_->n_bins_out, banks_->n_factors);
        if (log_rates) {
            check(*log_rates, 0, "log_rates", banks_->n_bins_out, banks_->n_units);
        }
        int32_t* rates = log_rates ? log_rates->data() : nullptr;
        const nb::gil_scoped_release release;
        lfads::infer(*banks_, counts.data(), factors.data(), rates);
    }

    size_t words() const { return words_; }

  private:
    std::unique_ptr<lfads::Banks> banks_;
    size_t words_;
    float factor_scale_ = 1;
    float log_rate_scale_ = 1;

    size_t counts_size() const { return static_cast<size_t>(banks_->n_bins * banks_->n_units); }
    size_t factors_size() const {
        return static_cast<size_t>(banks_->n_bins_out * banks_->n_factors);
    }
    size_t rates_size() const { return static_cast<size_t>(banks_->n_bins_out * banks_->n_units); }

    template <typename ARRAY>
    static void check(const ARRAY& array, size_t axis, const char* name, int rows, int columns) {
        if (array.shape(axis) != static_cast<size_t>(rows) ||
            array.shape(axis + 1) != static_cast<size_t>(columns)) {
            const std::string message = std::string(name) + " should have " + std::to_string(rows) +
                                        " bins of " + std::to_string(columns) + " values, got " +
                                        std::to_string(array.shape(axis)) + " of " +
                                        std::to_string(array.shape(axis + 1));
            throw nb::value_error(message.c_str());
        }
    }

    // The caller's buffers take the kernel's integers first, then what they stand for.
    void trial(const uint8_t* counts, float* factors, float* log_rates) const {
        lfads::infer(*banks_, counts, reinterpret_cast<int32_t*>(factors),
                     reinterpret_cast<int32_t*>(log_rates));
        to_float(factors, factors_size(), factor_scale_);
        if (log_rates != nullptr) {
            to_float(log_rates, rates_size(), log_rate_scale_);
        }
    }

    // Split trials over threads, this one among them; each has its own trials and shares the banks.
    template <typename WORK>
    static void run_threads(size_t trials, size_t n_threads, const WORK& work) {
        const size_t shares = std::max<size_t>(1, std::min(n_threads, trials));
        std::vector<std::thread> threads;
        size_t started = 1;
        threads.reserve(shares - 1);
        try {
            for (; started < shares; ++started) {
                const size_t first = trials * started / shares;
                const size_t last = trials * (started + 1) / shares;
                threads.emplace_back([&work, first, last] { work(first, last); });
            }
        } catch (const std::system_error&) {
            // The machine gives no more threads: this one does what is left.
        }
        work(0, trials / shares);
        work(trials * started / shares, trials);
        for (auto& thread : threads) {
            thread.join();
        }
    }
};

} // namespace

NB_MODULE(_native, m) {
    m.doc() = "The LFADS kernel of fpga/ compiled for this CPU.";
    nb::dict maxima;
    maxima["n_units"] = lfads::MAX_UNITS;
    maxima["n_bins_out"] = lfads::MAX_BINS;
    maxima["encoder_size"] = lfads::MAX_HIDDEN;
    maxima["ic_size"] = lfads::MAX_HIDDEN;
    maxima["generator_size"] = lfads::MAX_HIDDEN;
    maxima["n_factors"] = lfads::MAX_FACTORS;
    m.attr("MAXIMA") = maxima;
    m.attr("IMAGE_VERSION") = lfads::IMAGE_VERSION;
    m.attr("INSTRUCTION_SET") = instruction_set();

    nb::class_<Kernel>(m, "Kernel")
        .def(nb::init<Array<const uint32_t, 1>>(), nb::arg("image").noconvert())
        .def("infer", &Kernel::infer, nb::arg("counts").noconvert(), nb::arg("factors").noconvert(),
             nb::arg("log_rates").noconvert().none())
        .def("infer_batch", &Kernel::infer_batch, nb::arg("counts").noconvert(),
             nb::arg("factors").noconvert(), nb::arg("log_rates").noconvert().none(),
             "n_threads"_a = 1)
        .def("infer_integers", &Kernel::infer_integers, nb::arg("counts").noconvert(),
             nb::arg("factors").noconvert(), nb::arg("log_rates").noconvert().none())
        .def_prop_ro("image_words", &Kernel::words);
}
