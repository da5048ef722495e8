/* `real`: float or double, chosen by NNCORE_DOUBLE when a core module is compiled;
   and the few operations on its bits that Cython cannot say. */
#ifndef NNCORE_REAL_H
#define NNCORE_REAL_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Multiply-adds within one expression, which clang chooses before it vectorises: its
   -ffp-contract=fast chooses after, and a b + c d then differs between a loop's vectors and its end. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT ON
#endif

#if defined(_MSC_VER)
#define NNCORE_RESTRICT __restrict
#else
#define NNCORE_RESTRICT __restrict__
#endif

#if NNCORE_DOUBLE
typedef double real;
#define IS_DOUBLE 1
#define EXP_LOW (-746.0)
#define EXP_HIGH 709.78271289338397
#define EXP_FAR 709.0
#define EXP_MOST 1023.0
#define LN2_HIGH 0.69314718055966295651
#define LN2_LOW 2.8235290563031577123e-13
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#define real_rint rint
#define real_sqrt sqrt
#define real_abs fabs
#else
typedef float real;
#define IS_DOUBLE 0
#define EXP_LOW (-105.0f)
#define EXP_HIGH 88.7228317f
#define EXP_FAR 88.0f
#define EXP_MOST 127.0f
#define LN2_HIGH 0.693115234375f
#define LN2_LOW 3.1946184945309417232e-5f
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#define real_rint rintf
#define real_sqrt sqrtf
#define real_abs fabsf
#endif

#define NOT_A_NUMBER ((real)NAN)

/* A literal in the right type: next to a float, a bare 1.0 makes C compute in double. */
#define R(x) ((real)(x))

/* c + a b with one rounding where the matmul's vectors have it so, whatever the optimiser does. */
#if !defined(__FMA__) && !defined(__aarch64__) && !defined(_M_ARM64)
#define real_fused(a, b, c) ((c) + (a) * (b))
#elif NNCORE_DOUBLE
#define real_fused(a, b, c) fma(a, b, c)
#else
#define real_fused(a, b, c) fmaf(a, b, c)
#endif

/* 2^n for an integral n in the normal range; the exponent's bits are set directly. A NaN
   gives some number: callers multiply it with a NaN. */
static inline real power_of_two(real n)
{
    real result;
#if NNCORE_DOUBLE
    /* Through 32 bits: AVX2 converts double to int32, but not to int64. */
    uint64_t bits = (uint64_t)(uint32_t)((int32_t)n + 1023) << 52;
#else
    uint32_t bits = ((uint32_t)(int32_t)n + 127u) << 23;
#endif
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* x = m * 2^exponent with sqrt(1/2) <= m < sqrt(2). */
static inline real split_exponent(real x, real *exponent)
{
    real m, n;
    x = x < REAL_MIN ? REAL_MIN : x;
    n = x;
#if NNCORE_DOUBLE
    uint64_t bits, offset;
    memcpy(&bits, &n, sizeof bits);
    offset = bits - 0x3FE6A09E667F3BCDull; /* the bits of sqrt(1/2) */
    *exponent = (real)((int32_t)(offset >> 32) >> 20);
    bits -= offset & 0xFFF0000000000000ull;
#else
    uint32_t bits, offset;
    memcpy(&bits, &n, sizeof bits);
    offset = bits - 0x3F3504F3u;
    *exponent = (real)((int32_t)offset >> 23);
    bits -= offset & 0xFF800000u;
#endif
    memcpy(&m, &bits, sizeof m);
    /* Infinity and NaN pass through. */
    return x <= REAL_MAX ? m : x;
}

#endif
