// The kernel's way to memory of the host: blocks by request, each response waited for.
//
// In Vitis it is hls::burst_maxi: every read goes to the host, however often the same block is
// asked for, and a write_response comes only when all before it has arrived. Elsewhere it is shared
// memory, as for the host's side. There a block's words are moved one by one, its last word written
// last and read first, so that a reader can meet a block half written, and a thread sanitizer sees
// who waits for whom.
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

#ifdef __SYNTHESIS__ // by another tool than Vitis
inline uint32_t load_word(const uint32_t& word) {
    return word;
}
inline void store_word(uint32_t& word, uint32_t value) {
    word = value;
}
#else
inline uint32_t load_word(const uint32_t& word) {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
inline void store_word(uint32_t& word, uint32_t value) {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}
#endif

inline Block load_block(const Block& from) {
    Block block;
    for (int i = BLOCK_WORDS - 1; i >= 0; --i) {
        block.word[i] = load_word(from.word[i]);
    }
    return block;
}
inline void store_block(Block& to, const Block& block) {
    for (int i = 0; i < BLOCK_WORDS; ++i) {
        store_word(to.word[i], block.word[i]);
    }
}

class Port {
  public:
    Port(Block* base) : base_(base), at_(0) {}
    void read_request(size_t at, size_t) { at_ = at; }
    void write_request(size_t at, size_t) { at_ = at; }
    void write_response() {}
    Block read() { return load_block(base_[at_++]); }
    void write(const Block& block) { store_block(base_[at_++], block); }

  private:
    Block* base_;
    size_t at_;
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
