/* Which instruction sets CPU and operating system really offer. */
#ifndef NNCORE_CPU_H
#define NNCORE_CPU_H

/* Bits: 1 x86-64-v2, 2 x86-64-v3 (AVX2, FMA), 4 x86-64-v4 (AVX-512 F, BW, CD, DQ, VL), 8 NEON. */
int nncore_cpu_levels(void);

/* The compiler that built the library, as text. */
const char *nncore_compiler(void);

#endif
