// The kernel behind a Python class: buffers in, buffers out, no Python while it computes.
//
// Its integers come from fpga/ as it stands (path "portable"), or from simd/, which computes the
// same ones in the vectors of this processor.
#include "lfads_kernel.h"
#include "runner.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
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
    default:
        return "unknown status"; // a card's alone
    }
}

// In place: both have 32 bits, and integers of 24 bits are exact as float32.
void to_float(float* values, size_t count, float scale) {
    for (size_t i = 0; i < count; ++i) {
        int32_t integer;
        std::memcpy(&integer, values + i, sizeof integer);
        values[i] = static_cast<float>(integer) * scale;
    }
}

constexpr const char* PORTABLE = "portable";

// The path asked for, or the fastest; null is the portable one.
const simd::Path* find_path(const std::string& name) {
    std::string known;
    for (const simd::Path* path : simd::paths()) {
        if (name == path->name || name == "auto") {
            return path;
        }
        known += std::string(path->name) + ", ";
    }
    if (name != PORTABLE && name != "auto") {
        const std::string message =
            "no path '" + name + "' on this processor; there are " + known + PORTABLE;
        throw nb::value_error(message.c_str());
    }
    return nullptr;
}

class Kernel {
  public:
    Kernel(Array<const uint32_t, 1> image, const std::string& path, int hop, int n_threads,
           double patience)
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
        if (hop < 0 || n_threads < 1 || !(patience >= 0 && patience <= 1)) {
            throw nb::value_error("hop is 0 or more, n_threads 1 or more, patience 0 to 1 s");
        }
        path_ = find_path(path);
        if (path_ != nullptr) {
            plan_ = simd::make_plan(*banks_, path_->height, path_->has_bytes);
        }
        if (plan_ != nullptr) {
            if (n_threads > 1) {
                const auto microseconds = static_cast<int64_t>(1e6 * patience);
                partner_ = std::make_unique<simd::Partner>(std::chrono::microseconds(microseconds));
            }
            runner_ = std::make_unique<simd::Runner>(*path_, *plan_, hop, partner_.get());
        }
    }

    void infer(Array<const uint8_t, 2> counts, Array<float, 2> factors,
               std::optional<Array<float, 2>> log_rates) {
        check(counts, 0, "counts", banks_->n_bins, banks_->n_units);
        check(factors, 0, "factors", banks_->n_bins_out, banks_->n_factors);
        if (log_rates) {
            check(*log_rates, 0, "log_rates", banks_->n_bins_out, banks_->n_units);
        }
        float* rates = log_rates ? log_rates->data() : nullptr;
        const nb::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(mutex_);
        trial(runner_.get(), counts.data(), factors.data(), rates);
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
            std::unique_ptr<simd::Runner> runner;
            if (plan_ != nullptr && first < last) {
                runner = std::make_unique<simd::Runner>(*path_, *plan_, 0, nullptr);
            }
            for (size_t i = first; i < last; ++i) {
                trial(runner.get(), in + i * counts_size(), out + i * factors_size(),
                      rates == nullptr ? nullptr : rates + i * rates_size());
            }
        });
    }

    void infer_integers(Array<const uint8_t, 2> counts, Array<int32_t, 2> factors,
                        std::optional<Array<int32_t, 2>> log_rates) {
        check(counts, 0, "counts", banks_->n_bins, banks_->n_units);
        check(factors, 0, "factors", banks_->n_bins_out, banks_->n_factors);
        if (log_rates) {
            check(*log_rates, 0, "log_rates", banks_->n_bins_out, banks_->n_units);
        }
        int32_t* rates = log_rates ? log_rates->data() : nullptr;
        const nb::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(mutex_);
        integers(runner_.get(), counts.data(), factors.data(), rates);
    }

    size_t words() const { return words_; }
    const char* path() const { return plan_ == nullptr ? PORTABLE : path_->name; }

  private:
    std::unique_ptr<lfads::Banks> banks_;
    size_t words_;
    float factor_scale_ = 1;
    float log_rate_scale_ = 1;
    const simd::Path* path_ = nullptr;
    std::unique_ptr<simd::Plan> plan_; // null where the portable path computes
    std::unique_ptr<simd::Partner> partner_;
    std::unique_ptr<simd::Runner> runner_;
    std::mutex mutex_; // for the runner

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

    void integers(simd::Runner* runner, const uint8_t* counts, int32_t* factors,
                  int32_t* log_rates) const {
        if (runner == nullptr || !runner->infer(counts, factors, log_rates)) {
            lfads::infer(*banks_, counts, factors, log_rates);
        }
    }

    // The caller's buffers take the kernel's integers first, then what they stand for.
    void trial(simd::Runner* runner, const uint8_t* counts, float* factors,
               float* log_rates) const {
        integers(runner, counts, reinterpret_cast<int32_t*>(factors),
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

// Instructions a second of a path's two kinds: products of weights that take so many bytes, and
// float64 multiply-adds. The best of many short runs: nothing else may slow a bound.
std::pair<double, double> instruction_rates(const std::string& name, int64_t weight_bytes,
                                            double seconds) {
    const simd::Path* path = find_path(name);
    if (path == nullptr) {
        throw nb::value_error("the portable path's instructions are the compiler's choice");
    }
    constexpr int64_t LEAST = 1 << 12;
    constexpr int64_t MOST = int64_t{1} << 30;
    if (weight_bytes < LEAST || weight_bytes > MOST || !(seconds > 0 && seconds < 10)) {
        throw nb::value_error("weight_bytes is 4 KiB to 1 GiB, seconds above 0 and below 10");
    }
    const nb::gil_scoped_release release;
    simd::Buffer<int16_t> weights;
    weights.resize(static_cast<size_t>(weight_bytes / 2));
    volatile int64_t sink = 0;
    int64_t kept = 0;
    const auto best = [&](auto&& work) {
        using Clock = std::chrono::steady_clock;
        double rate = 0;
        const auto until = Clock::now() + std::chrono::duration<double>(seconds);
        do {
            const auto began = Clock::now();
            int64_t n = 0;
            while (n < 20000) {
                n += work();
            }
            const std::chrono::duration<double> took = Clock::now() - began;
            rate = std::max(rate, static_cast<double>(n) / took.count());
        } while (Clock::now() < until);
        return rate;
    };
    const double dots = best([&] { return path->dots(weights.data(), weight_bytes / 2, &kept); });
    const double fmas = best([&] { return path->fmas(20000, &kept); });
    sink = kept;
    (void)sink;
    return {dots, fmas};
}

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
    nb::list names;
    for (const simd::Path* path : simd::paths()) {
        names.append(path->name);
    }
    names.append(PORTABLE);
    m.attr("PATHS") = nb::tuple(names);
    m.def("instruction_rates", &instruction_rates, "path"_a, "weight_bytes"_a, "seconds"_a = 0.02);

    nb::class_<Kernel>(m, "Kernel")
        .def(nb::init<Array<const uint32_t, 1>, const std::string&, int, int, double>(),
             nb::arg("image").noconvert(), "path"_a = "auto", "hop"_a = 0, "n_threads"_a = 1,
             "patience"_a = 200e-6)
        .def("infer", &Kernel::infer, nb::arg("counts").noconvert(), nb::arg("factors").noconvert(),
             nb::arg("log_rates").noconvert().none())
        .def("infer_batch", &Kernel::infer_batch, nb::arg("counts").noconvert(),
             nb::arg("factors").noconvert(), nb::arg("log_rates").noconvert().none(),
             "n_threads"_a = 1)
        .def("infer_integers", &Kernel::infer_integers, nb::arg("counts").noconvert(),
             nb::arg("factors").noconvert(), nb::arg("log_rates").noconvert().none())
        .def_prop_ro("image_words", &Kernel::words)
        .def_prop_ro("path", &Kernel::path);
}
