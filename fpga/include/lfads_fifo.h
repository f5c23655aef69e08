// A queue between two processes of the kernel.
//
// In Vitis it is hls::stream, and the processes run at the same time. Elsewhere they run one after
// the other, and it is a ring that holds all that a trial sends through it.
#ifndef LFADS_FIFO_H
#define LFADS_FIFO_H

#ifdef __VITIS_HLS__
#include <hls_stream.h>
namespace lfads {
template <typename T, int CAPACITY> using Fifo = hls::stream<T>;
}
#else
namespace lfads {
template <typename T, int CAPACITY> class Fifo {
  public:
    void write(const T& value) {
        data_[end_] = value;
        end_ = end_ + 1 == CAPACITY ? 0 : end_ + 1;
    }
    T read() {
        const T value = data_[begin_];
        begin_ = begin_ + 1 == CAPACITY ? 0 : begin_ + 1;
        return value;
    }

  private:
    int begin_ = 0; // in front of the ring: docs/fpga.md, on another HLS tool
    int end_ = 0;
    T data_[CAPACITY];
};
} // namespace lfads
#endif

#endif
