// The kernel's way to memory of the host: blocks by request, each response waited for.
//
// In Vitis it is hls::burst_maxi: every read goes to the host, however often the same block is
// asked for, and a write_response comes only when all before it has arrived. Elsewhere it is shared
// memory. There a block's words are moved one by one, its last word written last and read first,
// so that a reader can meet a block half written, and a thread sanitizer sees who waits for whom.
#ifndef LFADS_PORT_H
#define LFADS_PORT_H

#include "lfads_kernel.h"

#ifdef __VITIS_HLS__
namespace lfads {
typedef hls::burst_maxi<Block> Port;
inline void rest(uint32_t) {}
} // namespace lfads
#else
#include <cstddef>
#ifndef __SYNTHESIS__
#include <ctime>
#endif
namespace lfads {

class Port {
  public:
    Port(Block* base) : base_(base), at_(0) {}
    void read_request(size_t at, size_t) { at_ = at; }
    void write_request(size_t at, size_t) { at_ = at; }
    void write_response() {}
    Block read() {
        Block block;
        const Block& from = base_[at_++];
        for (int i = BLOCK_WORDS - 1; i >= 0; --i) {
            block.word[i] = load(from.word[i]);
        }
        return block;
    }
    void write(const Block& block) {
        Block& to = base_[at_++];
        for (int i = 0; i < BLOCK_WORDS; ++i) {
            store(to.word[i], block.word[i]);
        }
    }

  private:
    Block* base_;
    size_t at_;

#ifdef __SYNTHESIS__ // by another tool than Vitis
    static uint32_t load(const uint32_t& word) { return word; }
    static void store(uint32_t& word, uint32_t value) { word = value; }
#else
    static uint32_t load(const uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
    static void store(uint32_t& word, uint32_t value) {
        __atomic_store_n(&word, value, __ATOMIC_RELEASE);
    }
#endif
};

// A simulated card leaves the processor to others while nothing is asked of it.
inline void rest(uint32_t polls) {
#ifndef __SYNTHESIS__
    if (polls % 64 == 63) {
        const timespec moment = {0, polls < 4096 ? 0 : 50000};
        nanosleep(&moment, nullptr);
    }
#else
    (void)polls;
#endif
}

} // namespace lfads
#endif

#endif
