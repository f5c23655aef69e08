// The mailbox: the kernel in a thread of its own, the host in this one, memory between them.
//
// Arguments: vector files of fpga/tools/write_vectors.py. Exit status 0 if all is as it must be.
// Built with -fsanitize=thread too (make mailbox SANITIZE=thread).
#include "mailbox_bench.h"

#include <algorithm>
#include <random>

namespace {

using lfads_host::Outcome;

// Trials as they are, with and without log-rates, one by one and two at a time, over the number's
// wrap-around.
void trials(Bench& b) {
    b.mailbox.count_from(0xFFFFFFFDu);
    b.start();
    for (int round = 0; round < 3; ++round) {
        for (uint32_t trial = 0; trial < b.vectors.trials; ++trial) {
            b.mailbox.post(b.counts(trial), round != 1);
            check(b.await() == Outcome::ANSWERED, "a trial is answered", b.path);
            check(b.taken_equal(trial, round != 1), "a trial's results", b.path);
        }
    }
    const uint32_t n = b.vectors.trials;
    b.mailbox.post(b.counts(0), true);
    for (uint32_t trial = 0; trial < 8; ++trial) {
        b.mailbox.post(b.counts((trial + 1) % n), true);
        check(!b.mailbox.room(), "two requests fill the mailbox", b.path);
        check(b.await() == Outcome::ANSWERED && b.taken_equal(trial % n, true), "one of two",
              b.path);
    }
    check(b.await() == Outcome::ANSWERED && b.taken_equal(8 % n, true), "the last of two", b.path);
    check(b.stop() == lfads::STATUS_OK, "stops when told to", b.path);
    check(b.mailbox.posted() < 100, "the number went round", b.path);
    check(b.answer.word[lfads::ANSWER_TRIALS] == 3 * n + 9, "counts its trials", b.path);
}

// A window that moves on by some bins: only these are sent, and all results are those of a run of
// the whole window.
void hops(Bench& b, std::mt19937& random) {
    const int n_bins = b.n_bins();
    const int hop = 1 + static_cast<int>(random() % static_cast<uint32_t>(std::max(1, n_bins - 1)));
    const int n_windows = 2 * n_bins / hop + 3;
    const size_t units = b.vectors.units;
    std::vector<uint8_t> bins(static_cast<size_t>(n_windows * hop + n_bins) * units);
    for (uint8_t& count : bins) {
        count = random() % 4 == 0 ? static_cast<uint8_t>(random() % 3) : uint8_t{0};
    }
    Bench moving(b.vectors, b.path, hop);
    std::vector<Case> expected;
    for (int i = 0; i < n_windows; ++i) {
        const uint8_t* first = bins.data() + static_cast<size_t>(i * hop) * units;
        expected.push_back(moving.run_whole(first));
    }
    moving.start();
    for (int i = 0; i < n_windows; ++i) {
        moving.mailbox.post(bins.data() + static_cast<size_t>(i * hop) * units, true);
        const bool alone = moving.request().word[lfads::REQUEST_KIND] == lfads::KIND_BINS;
        check(alone == (i > 0 && hop < n_bins), "only new bins are sent", b.path);
        check(moving.await() == Outcome::ANSWERED, "a hop is answered", b.path);
        check(moving.taken_equal(expected[static_cast<size_t>(i)], 0, true), "a hop's results",
              b.path);
    }
    // What does not follow is sent whole.
    moving.mailbox.post(bins.data(), true);
    check(moving.request().word[lfads::REQUEST_KIND] == lfads::KIND_WINDOW || n_bins == 1,
          "another window is sent whole", b.path);
    check(moving.await() == Outcome::ANSWERED && moving.taken_equal(expected[0], 0, true),
          "another window's results", b.path);
    moving.stop();
}

// Ends by itself when nothing is asked; what was asked at that moment is the next run's.
void idle_and_restart(Bench& b) {
    b.start(3000);
    b.join();
    check(b.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_IDLE, "ends when idle", b.path);
    check(b.mailbox.ended() && b.mailbox.reason() == lfads::STATUS_IDLE, "says why", b.path);
    b.mailbox.post(b.counts(0), true);
    check(b.await() == Outcome::ENDED, "an ended kernel is noticed", b.path);
    b.start();
    check(b.await() == Outcome::ANSWERED && b.taken_equal(0, true), "the next run answers it",
          b.path);
    check(b.stop() == lfads::STATUS_OK, "stops", b.path);
    // Stopped before it looks: at once.
    b.begin();
    b.mailbox.stop();
    b.launch();
    b.join();
    check(b.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_OK &&
              b.answer.word[lfads::ANSWER_TRIALS] == 0,
          "stops before the first look", b.path);
}

// A host that is gone: the kernel ends by itself. Memory that has become someone else's: it ends
// at once and leaves it alone.
void crashes(const Case& vectors, const std::string& path, std::mt19937& random) {
    Bench b(vectors, path);
    b.start(3000);
    b.mailbox.post(b.counts(0), true);
    b.mailbox.post(b.counts(0), true); // and nobody takes the answers
    b.join();
    check(b.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_IDLE &&
              b.answer.word[lfads::ANSWER_TRIALS] == 2,
          "ends after its host", b.path);
    Bench next(vectors, path); // a new host
    next.start();
    next.mailbox.post(next.counts(0), true);
    check(next.await() == Outcome::ANSWERED && next.taken_equal(0, true), "serves the next host",
          path);
    // Someone else's from now on. The last word is left for the end, as the kernel reads it first.
    std::vector<uint32_t> foreign(next.words());
    for (uint32_t& word : foreign) {
        word = static_cast<uint32_t>(random()) | 1u;
    }
    for (size_t i = 0; i < foreign.size(); ++i) {
        next.poke(i, foreign[i]);
    }
    next.join();
    check(next.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_MAILBOX,
          "ends where it has no business", b.path);
    size_t changed = 0; // a beat may have been on its way when the memory changed hands
    for (size_t i = 0; i < foreign.size(); ++i) {
        const bool beat = i / 16 == lfads::BEAT_AT;
        changed += !beat && next.peek(i) != foreign[i] ? 1u : 0u;
    }
    check(changed == 0, "leaves what is not its own alone", b.path);
}

void refuse(Bench& b, uint32_t word, uint32_t value, bool reseal, uint32_t expected,
            const char* what) {
    b.spoiled(b.counts(0), word, value, reseal);
    check(b.await() == Outcome::ANSWERED && b.mailbox.status() == expected, what, b.path);
    b.mailbox.take(nullptr, nullptr);
}

// What is not well is answered with a code, and all after it as ever.
void refusals(Bench& b) {
    b.start();
    refuse(b, lfads::REQUEST_KIND, 3, true, lfads::STATUS_REQUEST, "unknown kind");
    refuse(b, lfads::REQUEST_BINS, 0, true, lfads::STATUS_REQUEST, "no bins");
    refuse(b, lfads::REQUEST_BINS, 0xFFFFFFFFu, true, lfads::STATUS_REQUEST, "too many bins");
    refuse(b, lfads::REQUEST_KIND, lfads::KIND_BINS, true, lfads::STATUS_WINDOW,
           "bins for no window");
    refuse(b, lfads::REQUEST_ROWS, 12345, true, lfads::STATUS_TORN, "rows half written");
    refuse(b, lfads::REQUEST_CHECK, 12345, false, lfads::STATUS_TORN, "a head half written");
    refuse(b, lfads::REQUEST_EPOCH, 12345, true, lfads::STATUS_TORN, "another run's request");
    refuse(b, lfads::REQUEST_NUMBER, 12345, true, lfads::STATUS_TORN, "another number's request");
    b.mailbox.post(b.counts(0), true);
    check(b.await() == Outcome::ANSWERED && b.taken_equal(0, true), "a good one after bad ones",
          b.path);
    // A doorbell of which the one half has come is waited for.
    b.half_rung(b.counts(0));
    check(b.await(0.3) != Outcome::ANSWERED, "half a doorbell rings nothing", b.path);
    b.ring();
    check(b.await() == Outcome::ANSWERED && b.taken_equal(0, true), "the other half does", b.path);
    // More requests than there are slots.
    b.poke(lfads::ORDER_POSTED, b.mailbox.posted() + 9);
    b.poke(lfads::LAST_WORD, b.mailbox.posted() + 9);
    b.join();
    check(b.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_MAILBOX, "an impossible number",
          b.path);
    // Orders that do not fit.
    const uint32_t wrong[][2] = {{lfads::ORDER_MAGIC, 1},      {lfads::ORDER_VERSION, 99},
                                 {lfads::ORDER_EPOCH, 0},      {lfads::ORDER_MODEL, 1},
                                 {lfads::ORDER_BEAT, 0},       {lfads::ORDER_COUNT_ROWS, 0},
                                 {lfads::ORDER_RESULT_ROWS, 1}};
    for (const auto& [word, value] : wrong) {
        b.begin();
        b.poke(word, value);
        b.launch();
        b.join();
        check(b.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_MAILBOX, "orders do not fit",
              b.path);
    }
}

// What the host makes of a card that is silent, slow, or answers what is not whole.
void bad_cards(Bench& b) {
    b.begin();
    b.mailbox.post(b.counts(0), true);
    check(b.await(0.01) == Outcome::SILENT, "no kernel at all", b.path);
    b.launch();
    check(b.await() == Outcome::ANSWERED, "a late start", b.path);
    b.poke_result(12345);
    check(b.await(0.01) == Outcome::TORN, "results half written", b.path);
    b.mailbox.take(nullptr, nullptr);
    check(b.stop() == lfads::STATUS_OK, "stops", b.path);
}

// Many requests with pauses of all lengths on either side.
void races(Bench& b, std::mt19937& random, int rounds) {
    b.start();
    uint32_t posted = 0;
    uint32_t right = 0;
    for (int i = 0; i < rounds; ++i) {
        if (b.mailbox.room() && random() % 3 != 0) {
            b.mailbox.post(b.counts(posted++ % b.vectors.trials), random() % 2 == 0);
        } else if (posted != right) {
            if (b.await() != Outcome::ANSWERED || !b.taken_equal(right % b.vectors.trials, false)) {
                break;
            }
            ++right;
        }
        if (random() % 16 == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
        }
    }
    while (right != posted && b.await() == Outcome::ANSWERED &&
           b.taken_equal(right % b.vectors.trials, false)) {
        ++right;
    }
    check(right == posted && posted > 0, "races", b.path);
    check(b.stop() == lfads::STATUS_OK, "stops after races", b.path);
}

void check_case(const std::string& path, std::mt19937& random, bool first) {
    Case vectors;
    const bool readable = read_case(path, vectors);
    check(readable, "cannot read the vectors", path);
    if (!readable) {
        return;
    }
    Bench b(vectors, path);
    if (first) {
        b.begin();
        b.launch();
        b.join();
        check(b.answer.word[lfads::ANSWER_STATUS] == lfads::STATUS_NOT_LOADED, "no model", path);
    }
    check(b.load() == lfads::STATUS_OK, "load", path);
    trials(b);
    hops(b, random);
    if (first) {
        idle_and_restart(b);
        crashes(vectors, path, random);
        refusals(b);
        bad_cards(b);
        races(b, random, 300);
    }
}

} // namespace

int main(int argc, char** argv) {
    std::mt19937 random(7);
    for (int i = 1; i < argc; ++i) {
        check_case(argv[i], random, i == 1);
    }
    std::printf("%d models, %d checks, %d failed\n", argc - 1, checks, failures);
    return argc > 1 && failures == 0 ? 0 : 1;
}
