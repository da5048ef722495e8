/* The register tile of the matmul, and the only file that speaks of vectors.

   tile(i, j) = [tile(i, j) +] sum_p a(i, p) b(p, j)     i < rows <= TILE_ROWS, j < TILE_COLS

   The sum runs over p in order, one fused multiply-add each, so a number does not depend on
   which tile, of how many rows, it falls into. TILE_ROWS x TILE_COLS numbers fill the vector
   registers: 24 of 32 with AVX-512 and NEON, 12 of 16 with AVX2 and SSE. */
#ifndef NNCORE_MICROKERNEL_H
#define NNCORE_MICROKERNEL_H

#include <stddef.h>
#include "real.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#define TILE_VECTORS 2
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_VECTORS 2
#elif defined(__aarch64__) || defined(_M_ARM64)
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#define TILE_VECTORS 4
#else
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#define TILE_VECTORS 2
#endif

#define LANES_PER_VECTOR ((int)(VECTOR_BYTES / sizeof(real)))
#define TILE_COLS (TILE_VECTORS * LANES_PER_VECTOR)
/* The same as a constant expression for array sizes in Cython: 12 x 32 floats at most. */
#define TILE_SIZE (TILE_ROWS * TILE_VECTORS * VECTOR_BYTES / (int)sizeof(real))

#if defined(__GNUC__) || defined(__clang__)

#define NNCORE_VECTOR_EXTENSIONS 1
/* Ask for the cache line at p. Into the L2 cache: rows 2 KB apart would crowd each other out of L1. */
#define prefetch_far(p) __builtin_prefetch((p), 0, 2)
#define NNCORE_ALIGNED __attribute__((aligned(64)))
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* Loads and stores of any alignment, of memory that is also read as scalars. */
typedef real vector __attribute__((vector_size(VECTOR_BYTES)));
typedef real loose_vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && NNCORE_DOUBLE
#define MULTIPLY_ADD(a, b, c) ((vector)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#elif defined(__AVX512F__)
#define MULTIPLY_ADD(a, b, c) ((vector)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#elif defined(__AVX2__) && defined(__FMA__) && NNCORE_DOUBLE
#define MULTIPLY_ADD(a, b, c) ((vector)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#elif defined(__AVX2__) && defined(__FMA__)
#define MULTIPLY_ADD(a, b, c) ((vector)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#else
/* NEON: contracted to fmla by the compiler (-ffp-contract=fast); SSE: two instructions. */
#define MULTIPLY_ADD(a, b, c) ((c) + (a) * (b))
#endif

/* Expanded once for each constant (rows, vectors, unit), so that the sums stay in registers.
   unit: a's rows are neighbours (packed, or a transposed matrix): a(i, p) = a[i + p * a_step];
   else a's rows are a_step apart: a(i, p) = a[i * a_step + p]. */
static ALWAYS_INLINE void tile_body(const int rows, const int vectors, const int unit,
                                    ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                    ptrdiff_t b_step, real *tile, int add)
{
    vector sum[TILE_ROWS][TILE_VECTORS];
    int i, v;
    ptrdiff_t p;

#pragma GCC unroll 12
    for (i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (v = 0; v < vectors; v++)
            sum[i][v] = add ? (vector)*(const loose_vector *)(tile + i * TILE_COLS + v * LANES_PER_VECTOR)
                            : (vector){0};
    for (p = 0; p < k; p++) {
        vector row[TILE_VECTORS];
#pragma GCC unroll 4
        for (v = 0; v < vectors; v++)
            row[v] = *(const loose_vector *)(b + v * LANES_PER_VECTOR);
        b += b_step;
#pragma GCC unroll 12
        for (i = 0; i < rows; i++) {
            const real one = unit ? a[i] : a[i * a_step];
            const vector all = one - (vector){0};
#pragma GCC unroll 4
            for (v = 0; v < vectors; v++)
                sum[i][v] = MULTIPLY_ADD(all, row[v], sum[i][v]);
        }
        a += unit ? a_step : 1;
    }
#pragma GCC unroll 12
    for (i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (v = 0; v < vectors; v++)
            *(loose_vector *)(tile + i * TILE_COLS + v * LANES_PER_VECTOR) = sum[i][v];
}

#define TILE_CASE(rows)                                                                          \
    case rows:                                                                                   \
        if (unit)                                                                                \
            tile_body(rows, vectors, 1, k, a, a_step, b, b_step, tile, add);                     \
        else                                                                                     \
            tile_body(rows, vectors, 0, k, a, a_step, b, b_step, tile, add);                     \
        break;

static ALWAYS_INLINE void tile_rows(int rows, const int vectors, int unit, ptrdiff_t k,
                                    const real *a, ptrdiff_t a_step, const real *b,
                                    ptrdiff_t b_step, real *tile, int add)
{
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
        TILE_CASE(5)
        TILE_CASE(6)
#if TILE_ROWS > 6
        TILE_CASE(7)
        TILE_CASE(8)
        TILE_CASE(9)
        TILE_CASE(10)
        TILE_CASE(11)
        TILE_CASE(12)
#endif
    }
}

/* Columns beyond the `cols` wanted are computed too, up to a whole vector, and to be ignored:
   b must be readable there. */
static void multiply_tile(int rows, int cols, int unit, ptrdiff_t k, const real *a,
                          ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *tile, int add)
{
    if (cols <= LANES_PER_VECTOR)
        tile_rows(rows, 1, unit, k, a, a_step, b, b_step, tile, add);
#if TILE_VECTORS > 2
    else if (cols <= 2 * LANES_PER_VECTOR)
        tile_rows(rows, 2, unit, k, a, a_step, b, b_step, tile, add);
#endif
    else
        tile_rows(rows, TILE_VECTORS, unit, k, a, a_step, b, b_step, tile, add);
}

#else /* A compiler without vector extensions (MSVC): right, and slower. */

#define NNCORE_VECTOR_EXTENSIONS 0
#define prefetch_far(p) ((void)(p))
#define NNCORE_ALIGNED

static void multiply_tile(int rows, int cols, int unit, ptrdiff_t k, const real *a,
                          ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *tile, int add)
{
    int i, j;
    ptrdiff_t p;
    (void)cols;
    for (i = 0; i < rows; i++) {
        real sum[TILE_COLS];
        for (j = 0; j < TILE_COLS; j++)
            sum[j] = add ? tile[i * TILE_COLS + j] : 0;
        for (p = 0; p < k; p++) {
            const real one = unit ? a[i + p * a_step] : a[i * a_step + p];
            for (j = 0; j < TILE_COLS; j++)
                sum[j] += one * b[p * b_step + j];
        }
        for (j = 0; j < TILE_COLS; j++)
            tile[i * TILE_COLS + j] = sum[j];
    }
}

#endif

#endif
