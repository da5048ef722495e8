/* Which instruction sets CPU and operating system really offer. */
#ifndef NNCORE_CPU_H
#define NNCORE_CPU_H

#include <stdint.h>

/* Bits: 1 x86-64-v2, 2 x86-64-v3 (AVX2, FMA), 4 x86-64-v4 (AVX-512 F, BW, CD, DQ, VL), 8 NEON. */
int nncore_cpu_levels(void);

/* The same for an x86-64 processor that answers by these functions: CPUID's registers a, b, c, d of a
   leaf, and XCR0, the register state that the operating system saves. XCR0 is asked for only where
   OSXSAVE allows it: elsewhere the instruction would end the process. */
typedef void (*nncore_cpuid)(unsigned leaf, unsigned sub, unsigned *registers);
typedef uint64_t (*nncore_xgetbv)(void);
int nncore_x86_levels(nncore_cpuid cpuid, nncore_xgetbv xgetbv);

/* The caches of this processor. 0: not known. */
typedef struct {
    int l1_ways;        /* of the L1 data cache: it keeps so many lines a multiple of 4 KB apart */
    long long l2_bytes;
} nncore_caches;

nncore_caches nncore_cpu_caches(void);
nncore_caches nncore_x86_caches(nncore_cpuid cpuid);

/* The compiler that built the library, as text. */
const char *nncore_compiler(void);

#endif
