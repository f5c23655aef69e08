// Spikes into bins, exactly: no allocation, no Python object per spike, no GIL.
//
// Every function takes one chunk of spikes as three arrays of the same length: times (seconds),
// units (index, or -1 where the source's channel is unknown) and counts (how many spikes the entry
// stands for). All of them count into one tally, in spikes; bci_lfads/binning.py says what each
// field means. Compile with -ffp-contract=off: a fused origin + k * width is another edge than
// NumPy's.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

namespace {

static_assert(FLT_EVAL_METHOD == 0,
              "edges must be computed in float64, without wider intermediates");

template <class T> using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Times = Vector<const double>;
using Ints = Vector<const std::int32_t>;

// In the order of SpikeTally's fields.
enum Tally : std::size_t {
    received,
    kept,
    unordered,
    late,
    ahead,
    outside,
    unknown,
    invalid,
    saturated,
    overwritten,
    tally_size
};

constexpr double nothing = -std::numeric_limits<double>::infinity();
constexpr std::int64_t far_bin = std::int64_t{1} << 52;

struct Grid {
    double origin;
    double width;

    double edge(std::int64_t k) const { return origin + static_cast<double>(k) * width; }

    // The k with edge(k) <= t < edge(k + 1); t must not be NaN. The quotient is a guess within a
    // bin of the truth, the edges decide.
    std::int64_t bin(double t) const {
        const double guess = (t - origin) / width;
        if (!(guess < static_cast<double>(far_bin)))
            return far_bin;
        if (!(guess > -static_cast<double>(far_bin)))
            return -far_bin;
        auto k = static_cast<std::int64_t>(guess);
        while (edge(k) > t)
            --k;
        while (edge(k + 1) <= t)
            ++k;
        return k;
    }
};

Grid grid_of(double origin, double width) {
    // Beyond this the clock's float64 cannot tell neighbouring edges apart well (and bin() could
    // search for ever).
    constexpr double resolvable = 17592186044416.0; // 2^44
    if (!(width > 0) || !std::isfinite(width) || !(std::fabs(origin) <= width * resolvable))
        throw std::invalid_argument("a bin grid needs a finite origin and a finite width > 0 that "
                                    "float64 can resolve there");
    return {origin, width};
}

struct Chunk {
    const double* times;
    const std::int32_t* units;
    const std::int32_t* counts;
    std::size_t size;
};

Chunk chunk_of(const Times& times, const Ints& units, const Ints& counts) {
    if (units.shape(0) != times.shape(0) || counts.shape(0) != times.shape(0))
        throw std::invalid_argument("times, units and counts differ in length");
    return {times.data(), units.data(), counts.data(), times.shape(0)};
}

std::int64_t* tally_of(const Vector<std::int64_t>& tally) {
    if (tally.shape(0) != tally_size)
        throw std::invalid_argument("the tally has another size than SpikeTally");
    return tally.data();
}

// How many spikes entry i brings, or 0 where it brings none that can be used.
std::int64_t admit(const Chunk& chunk, std::size_t i, std::size_t n_units, std::int64_t* tally) {
    const std::int64_t n = chunk.counts[i];
    if (n < 0 || !std::isfinite(chunk.times[i])) {
        const std::int64_t bad = std::max<std::int64_t>(n, 1);
        tally[received] += bad;
        tally[invalid] += bad;
        return 0;
    }
    tally[received] += n;
    if (chunk.units[i] < 0 || static_cast<std::size_t>(chunk.units[i]) >= n_units) {
        tally[unknown] += n;
        return 0;
    }
    return n;
}

// Adds n to a count that stops at 255; gives the number lost.
std::int64_t add(std::uint8_t& cell, std::int64_t n) {
    const std::int64_t sum = cell + n;
    cell = static_cast<std::uint8_t>(std::min<std::int64_t>(sum, 255));
    return std::max<std::int64_t>(sum - 255, 0);
}

// Stamps after `plausible` do not move the newest one: one wild stamp must not make all that follow
// look unordered.
void note_order(double t, std::int64_t n, double plausible, double& newest, std::int64_t* tally) {
    if (t < newest)
        tally[unordered] += n;
    newest = std::max(newest, std::min(t, plausible));
}

void bin_indices(const Times& times, double origin, double width, const Vector<std::int64_t>& out) {
    const Grid grid = grid_of(origin, width);
    if (out.shape(0) != times.shape(0))
        throw std::invalid_argument("times and out differ in length");
    for (std::size_t i = 0; i < times.shape(0); ++i) {
        const double t = times.data()[i];
        out.data()[i] = std::isnan(t) ? std::numeric_limits<std::int64_t>::min() : grid.bin(t);
    }
}

// Adds a chunk to one window. Gives the stamp of the newest spike inside, -inf where there is none.
double accumulate(const Times& times, const Ints& units, const Ints& counts, double origin,
                  double width, const Matrix<std::uint8_t>& out,
                  const Vector<std::int64_t>& tally_array) {
    const Grid grid = grid_of(origin, width);
    const Chunk chunk = chunk_of(times, units, counts);
    std::int64_t* tally = tally_of(tally_array);
    const std::size_t n_units = out.shape(1);
    const double start = grid.edge(0);
    const double stop = grid.edge(static_cast<std::int64_t>(out.shape(0)));
    double newest = nothing;
    for (std::size_t i = 0; i < chunk.size; ++i) {
        const std::int64_t n = admit(chunk, i, n_units, tally);
        if (n == 0)
            continue;
        const double t = chunk.times[i];
        if (t < start || t >= stop) {
            tally[outside] += n;
            continue;
        }
        tally[kept] += n;
        newest = std::max(newest, t);
        const auto row = static_cast<std::size_t>(grid.bin(t));
        const auto column = static_cast<std::size_t>(chunk.units[i]);
        tally[saturated] += add(out.data()[row * n_units + column], n);
    }
    return newest;
}

// Appends a chunk to an event ring. `stamps` holds the newest stamp so far and the newest stamp
// among overwritten events, neither ever beyond `plausible`. Gives the number of events ever
// written.
std::int64_t remember(const Times& times, const Ints& units, const Ints& counts,
                      std::int64_t n_units, double watermark, double plausible, double needed_from,
                      const Vector<double>& ring_times, const Vector<std::int32_t>& ring_units,
                      const Vector<std::int32_t>& ring_counts, std::int64_t written,
                      const Vector<double>& stamps, const Vector<std::int64_t>& tally_array) {
    const Chunk chunk = chunk_of(times, units, counts);
    std::int64_t* tally = tally_of(tally_array);
    const auto capacity = static_cast<std::int64_t>(ring_times.shape(0));
    if (capacity == 0 || ring_units.shape(0) != ring_times.shape(0) ||
        ring_counts.shape(0) != ring_times.shape(0) || stamps.shape(0) != 2 || written < 0)
        throw std::invalid_argument("the ring's arrays do not fit each other");
    double& newest = stamps.data()[0];
    double& newest_overwritten = stamps.data()[1];
    for (std::size_t i = 0; i < chunk.size; ++i) {
        const std::int64_t n = admit(chunk, i, static_cast<std::size_t>(n_units), tally);
        if (n == 0)
            continue;
        const double t = chunk.times[i];
        note_order(t, n, plausible, newest, tally);
        tally[t < watermark ? late : kept] += n;
        const auto slot = static_cast<std::size_t>(written % capacity);
        if (written >= capacity) {
            const double old = ring_times.data()[slot];
            newest_overwritten = std::max(newest_overwritten, std::min(old, plausible));
            if (old >= needed_from)
                tally[overwritten] += ring_counts.data()[slot];
        }
        ring_times.data()[slot] = t;
        ring_units.data()[slot] = chunk.units[i];
        ring_counts.data()[slot] = chunk.counts[i];
        ++written;
    }
    return written;
}

// Adds a chunk to a ring of bins. Row `bin mod R` of `rows` (2 R, n_units) holds a bin, and row
// R further the same again, so that up to R consecutive bins always lie in one piece; `newest`
// (2 R) likewise holds the newest stamp in each bin. Bins before `first` are before the start,
// those before `open` are closed. Events of bins from `limit` on are appended to the waiting
// arrays, of which `waiting` entries are taken, and not yet counted; they are ahead where those
// are full. `stamps[0]` is the newest stamp so far. Gives the entries taken.
std::int64_t slide(const Times& times, const Ints& units, const Ints& counts, double origin,
                   double width, std::int64_t first, std::int64_t open, std::int64_t limit,
                   const Matrix<std::uint8_t>& rows, const Vector<double>& newest,
                   const Vector<double>& waiting_times, const Vector<std::int32_t>& waiting_units,
                   const Vector<std::int32_t>& waiting_counts, std::int64_t waiting,
                   const Vector<double>& stamps, const Vector<std::int64_t>& tally_array) {
    const Grid grid = grid_of(origin, width);
    const Chunk chunk = chunk_of(times, units, counts);
    std::int64_t* tally = tally_of(tally_array);
    const auto ring = static_cast<std::int64_t>(rows.shape(0) / 2);
    const std::size_t n_units = rows.shape(1);
    const auto room = static_cast<std::int64_t>(waiting_times.shape(0));
    if (newest.shape(0) != rows.shape(0) || stamps.shape(0) != 2 || limit - open > ring ||
        waiting_units.shape(0) != waiting_times.shape(0) ||
        waiting_counts.shape(0) != waiting_times.shape(0) || waiting < 0)
        throw std::invalid_argument("the ring's arrays do not fit each other");
    const double plausible = grid.edge(limit);
    for (std::size_t i = 0; i < chunk.size; ++i) {
        const std::int64_t n = admit(chunk, i, n_units, tally);
        if (n == 0)
            continue;
        const double t = chunk.times[i];
        const std::int64_t bin = grid.bin(t);
        if (bin >= limit) {
            if (waiting < room) {
                const auto slot = static_cast<std::size_t>(waiting++);
                waiting_times.data()[slot] = t;
                waiting_units.data()[slot] = chunk.units[i];
                waiting_counts.data()[slot] = chunk.counts[i];
                tally[received] -= n;
            } else {
                tally[ahead] += n;
            }
            continue;
        }
        note_order(t, n, plausible, stamps.data()[0], tally);
        if (bin < open) {
            tally[bin < first ? outside : late] += n;
            continue;
        }
        tally[kept] += n;
        const auto upper = static_cast<std::size_t>((bin % ring + ring) % ring);
        const auto lower = upper + static_cast<std::size_t>(ring);
        const auto column = static_cast<std::size_t>(chunk.units[i]);
        std::uint8_t& cell = rows.data()[upper * n_units + column];
        tally[saturated] += add(cell, n);
        rows.data()[lower * n_units + column] = cell;
        newest.data()[upper] = newest.data()[lower] = std::max(newest.data()[upper], t);
    }
    return waiting;
}

} // namespace

NB_MODULE(_binning, m) {
    using nb::arg;
    using free = nb::call_guard<nb::gil_scoped_release>;
    m.attr("TALLY_SIZE") = static_cast<int>(tally_size);
    m.def("bin_indices", &bin_indices, free(), arg("times").noconvert(), arg("origin"),
          arg("width"), arg("out").noconvert());
    m.def("accumulate", &accumulate, free(), arg("times").noconvert(), arg("units").noconvert(),
          arg("counts").noconvert(), arg("origin"), arg("width"), arg("out").noconvert(),
          arg("tally").noconvert());
    m.def("remember", &remember, free(), arg("times").noconvert(), arg("units").noconvert(),
          arg("counts").noconvert(), arg("n_units"), arg("watermark"), arg("plausible"),
          arg("needed_from"), arg("ring_times").noconvert(), arg("ring_units").noconvert(),
          arg("ring_counts").noconvert(), arg("written"), arg("stamps").noconvert(),
          arg("tally").noconvert());
    m.def("slide", &slide, free(), arg("times").noconvert(), arg("units").noconvert(),
          arg("counts").noconvert(), arg("origin"), arg("width"), arg("first"), arg("open_bin"),
          arg("limit"), arg("rows").noconvert(), arg("newest").noconvert(),
          arg("waiting_times").noconvert(), arg("waiting_units").noconvert(),
          arg("waiting_counts").noconvert(), arg("waiting"), arg("stamps").noconvert(),
          arg("tally").noconvert());
}
