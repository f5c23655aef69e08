// The host's side of the mailbox behind a Python class; it waits without Python's lock.
#include "mailbox.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <cstdint>
#include <optional>
#include <string>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename T, int DIMENSIONS>
using Array = nb::ndarray<T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;

lfads_host::Sizes sizes_of(int n_units, int n_bins, int n_bins_out, int n_factors, uint32_t model) {
    return {n_units, n_bins, n_bins_out, n_factors, model};
}

class Mailbox {
  public:
    Mailbox(Array<uint8_t, 1> memory, int n_units, int n_bins, int n_bins_out, int n_factors,
            uint32_t model, int hop)
        : memory_(memory),
          mailbox_(memory.data(), sizes_of(n_units, n_bins, n_bins_out, n_factors, model), hop) {
        const size_t size = lfads_host::Mailbox::size_of(mailbox_.sizes());
        if (memory.size() < size || reinterpret_cast<uintptr_t>(memory.data()) % 64 != 0) {
            throw nb::value_error(("a mailbox of this model takes " + std::to_string(size) +
                                   " bytes that start on 64; got " + std::to_string(memory.size()))
                                      .c_str());
        }
    }

    uint32_t post(Array<const uint8_t, 2> counts, bool rates, bool whole) {
        const lfads_host::Sizes& s = mailbox_.sizes();
        check(counts, s.n_bins, s.n_units);
        if (!mailbox_.room()) {
            throw nb::value_error("the mailbox is full: take an answer first");
        }
        return mailbox_.post(counts.data(), rates, whole);
    }

    int wait(double timeout, double spin) {
        if (mailbox_.posted() == mailbox_.answered()) {
            throw nb::value_error("nothing was posted");
        }
        const nb::gil_scoped_release release;
        return static_cast<int>(mailbox_.wait(timeout, spin));
    }

    void take(std::optional<Array<int32_t, 2>> factors, std::optional<Array<int32_t, 2>> rates) {
        const lfads_host::Sizes& s = mailbox_.sizes();
        if (factors) {
            check(*factors, s.n_bins_out, s.n_factors);
        }
        if (rates) {
            check(*rates, s.n_bins_out, s.n_units);
        }
        mailbox_.take(factors ? factors->data() : nullptr, rates ? rates->data() : nullptr);
    }

    lfads_host::Mailbox& host() { return mailbox_; }

  private:
    Array<uint8_t, 1> memory_; // kept as long as this is
    lfads_host::Mailbox mailbox_;

    template <typename ARRAY> static void check(const ARRAY& array, int rows, int columns) {
        if (array.shape(0) != static_cast<size_t>(rows) ||
            array.shape(1) != static_cast<size_t>(columns)) {
            throw nb::value_error(
                ("expected shape (" + std::to_string(rows) + ", " + std::to_string(columns) + ")")
                    .c_str());
        }
    }
};

} // namespace

NB_MODULE(_mailbox, m) {
    nb::class_<Mailbox>(m, "Mailbox")
        .def_static("size",
                    [](int n_units, int n_bins, int n_bins_out, int n_factors) {
                        return lfads_host::Mailbox::size_of(
                            sizes_of(n_units, n_bins, n_bins_out, n_factors, 0));
                    })
        .def(nb::init<Array<uint8_t, 1>, int, int, int, int, uint32_t, int>(), "memory"_a,
             "n_units"_a, "n_bins"_a, "n_bins_out"_a, "n_factors"_a, "model"_a, "hop"_a = 0)
        .def(
            "begin",
            [](Mailbox& m, uint32_t epoch, uint32_t beat, uint32_t idle) {
                m.host().begin(epoch, beat, idle);
            },
            "epoch"_a, "beat"_a, "idle"_a)
        .def(
            "count_from", [](Mailbox& m, uint32_t number) { m.host().count_from(number); },
            "number"_a)
        .def("stop", [](Mailbox& m) { m.host().stop(); })
        .def("post", &Mailbox::post, nb::arg("counts").noconvert(), "rates"_a, "whole"_a = false)
        .def("wait", &Mailbox::wait, "timeout"_a, "spin"_a)
        .def("take", &Mailbox::take, nb::arg("factors").noconvert().none(),
             nb::arg("log_rates").noconvert().none())
        .def_prop_ro("room", [](Mailbox& m) { return m.host().room(); })
        .def_prop_ro("status", [](Mailbox& m) { return m.host().status(); })
        .def_prop_ro("cycles", [](Mailbox& m) { return m.host().cycles(); })
        .def_prop_ro("beat", [](Mailbox& m) { return m.host().beat_number(); })
        .def_prop_ro("serving", [](Mailbox& m) { return m.host().serving(); })
        .def_prop_ro("ended", [](Mailbox& m) { return m.host().ended(); })
        .def_prop_ro("reason", [](Mailbox& m) { return m.host().reason(); });
}
