// The largest model a build of the kernel takes, and how wide it computes.
//
// These are the card's (make -C fpga DEFINES=-D... for another build); one for the CPU sets larger
// ones (see CMakeLists.txt). The cycle and area model reads them from here.
#ifndef LFADS_CONFIG_H
#define LFADS_CONFIG_H

#ifndef LFADS_MAX_UNITS
#define LFADS_MAX_UNITS 256
#endif
// Bins out: those of the window and those predicted after it.
#ifndef LFADS_MAX_BINS
#define LFADS_MAX_BINS 128
#endif
// Encoder units a direction, initial conditions and generator units.
#ifndef LFADS_MAX_HIDDEN
#define LFADS_MAX_HIDDEN 64
#endif
#ifndef LFADS_MAX_FACTORS
#define LFADS_MAX_FACTORS 16
#endif
// The card alone. Products that each multiplier of a recurrence does in a step: 1, 2, 4, 8 or 16.
#ifndef LFADS_REUSE
#define LFADS_REUSE 8
#endif
// The card alone. Units that fired, taken in a cycle by each direction's input projection.
#ifndef LFADS_SPIKES
#define LFADS_SPIKES 2
#endif

#endif
