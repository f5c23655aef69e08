// The largest model a build of the kernel takes, and how wide it computes.
//
// These are the card's; a build for the CPU sets larger ones with -D (see CMakeLists.txt).
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
#define LFADS_MAX_HIDDEN 128
#endif
#ifndef LFADS_MAX_FACTORS
#define LFADS_MAX_FACTORS 16
#endif
// Products a cycle in every matrix-vector product; divides 32, the padding of matrix rows.
#ifndef LFADS_LANES
#define LFADS_LANES 16
#endif

#endif
