/* The register tile of the matmul and the packing of its operands; what a vector is.

   tile(i, j) = [tile(i, j) +] sum_p a(i, p) b(p, j)     i < rows <= TILE_ROWS, j < TILE_COLS

   The sum runs over p in order, one fused multiply-add each, from 0 on, so a number does not
   depend on which tile, of how many rows, it falls into. TILE_ROWS x TILE_COLS numbers fill the vector
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

/* Rows of a narrow result, one vector each, that are computed together. */
#if TILE_ROWS > 6 || TILE_VECTORS > 2
#define NARROW_ROWS 16
#else
#define NARROW_ROWS 8
#endif

/* The same where each lies on its own line, for vectors of so many bytes: measured. */
#if defined(__AVX512F__)
#define FAR_ROWS(bytes) ((bytes) == VECTOR_BYTES ? 16 : 8)
#else
#define FAR_ROWS(bytes) 8
#endif

/* Rows of a small result, of short sums, that are used for an update at once: the divisions of few go on while
   the next tile begins. (Fewer than 12 sums would wait for their own additions.) */
#if TILE_ROWS > 6
#define UPDATE_ROWS (TILE_ROWS / 2)
#else
#define UPDATE_ROWS TILE_ROWS
#endif

#define LANES_PER_VECTOR ((int)(VECTOR_BYTES / sizeof(real)))
/* Lanes of the narrowest vectors that narrow results are computed with. What is stored in one and read in
   a wider one at once has to wait. */
#if defined(__AVX512F__) && (defined(__GNUC__) || defined(__clang__)) && !defined(NNCORE_PLAIN_C)
#define FEWEST_LANES (LANES_PER_VECTOR / 4)
#else
#define FEWEST_LANES LANES_PER_VECTOR
#endif
/* Has a result of so many columns, of at least so many products each, its rows in the lanes? With fewer columns a
   vector (AVX-512: half of one) does as well, with more the lanes that they leave empty cost less than turning a. */
#if defined(__AVX512F__) && (defined(__GNUC__) || defined(__clang__)) && !defined(NNCORE_PLAIN_C)
#define MOST_TURNED 12
#define FEWEST_TURNED 32
#elif defined(__AVX2__) && (defined(__GNUC__) || defined(__clang__)) && !defined(NNCORE_PLAIN_C)
#define MOST_TURNED 10 /* with four columns of a they fill the registers */
#define FEWEST_TURNED 4
#endif
#ifdef MOST_TURNED
#define MOST_ROWS_TURNED 8 /* of few rows that turn a transposed b */
#define ROWS_IN_LANES(cols, k) ((cols) >= 9 && (cols) <= MOST_TURNED && (k) >= FEWEST_TURNED)
#else
#define ROWS_IN_LANES(cols, k) 0
#define MOST_ROWS_TURNED 0
#define multiply_in_lanes(...) ((ptrdiff_t)0)
#define multiply_to_strip(...) ((void)0)
#define multiply_few_turned(...) ((ptrdiff_t)0)
#define rows_turned(rows) (rows)
#endif
#define TILE_COLS (TILE_VECTORS * LANES_PER_VECTOR)

/* Numbers beyond the end of every array of the executor that may be read: neither a tile nor the last square
   of a turned matrix of short rows reads further. */
#define NNCORE_SLACK 64
#define SHORT_COLS 16 /* of a short row, at most; and rows of a strip */
#define QUAD 4        /* numbers of a row that are worth a way of their own, at most */
typedef char tile_is_within_slack[TILE_COLS <= NNCORE_SLACK ? 1 : -1];
typedef char squares_are_within_slack[3 * SHORT_COLS + 3 <= NNCORE_SLACK ? 1 : -1];

/* What a tile asks for while it is computed: in each place TILE_ROWS rows, `step` apart, `numbers` long. */
#define MOST_ASKED 4
typedef struct {
    int n;
    struct asked_place {
        const real *at;
        ptrdiff_t step, numbers;
    } places[MOST_ASKED];
} asked_rows;

/* What becomes of a tile that is done, in this order: bias(j) is added to each row (NULL: none), what is
   negative made 0 (relu), and what has no slope(i, j) > 0, whatever it is (NULL: nothing). The
   rows of y, where it goes, and of slope are `step` apart. (i, j) count in the whole result. */
typedef struct {
    const real *bias, *slope;
    int relu;
    real *y;
    ptrdiff_t step;
} finished_rows;

/* A tile's share of the p: its sums begin with those in `begun`, whose rows are `begun_step` apart (NULL: with
   0); and its columns of the next share of b, from `next` on, are asked for, row by row. Where b is streamed, these
   are asked for after b's own rows ahead. */
typedef struct {
    const real *begun, *next;
    ptrdiff_t begun_step;
} share_of_p;

/* NNCORE_PLAIN_C: take the other half, as cl does, with any compiler, to test it. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(NNCORE_PLAIN_C)

#define NNCORE_VECTOR_EXTENSIONS 1
/* Ask for the cache line at p, which will be read soon: into the L1 cache; or later: into L2. */
#define prefetch_to_read(p) __builtin_prefetch((p), 0, 3)
#define prefetch_to_read_later(p) __builtin_prefetch((p), 0, 2)
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* One copy of a function is enough. */
#define ONLY_ONCE __attribute__((noinline))
/* Loads and stores of any alignment, of memory that is also read as scalars. */
typedef real vector __attribute__((vector_size(VECTOR_BYTES)));
#if NNCORE_DOUBLE
typedef int64_t bits __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t bits __attribute__((vector_size(VECTOR_BYTES)));
#endif
typedef real loose_vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#if defined(__SSE2__)
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
/* NEON: contracted to fmla by the compiler; SSE: two instructions. */
#define MULTIPLY_ADD(a, b, c) ((c) + (a) * (b))
#endif

/* What the processor has for whole vectors of lanes, some of them masked. */
#if defined(__AVX512F__)
#if NNCORE_DOUBLE
#define OF_LANES(does) _mm512_##does##_pd
typedef __m512d all_lanes;
typedef __mmask8 lane_mask;
#else
#define OF_LANES(does) _mm512_##does##_ps
typedef __m512 all_lanes;
typedef __mmask16 lane_mask;
#endif
/* The first n lanes: all, where there are not as many; none, where n is not positive. */
static ALWAYS_INLINE lane_mask lanes_below(ptrdiff_t n)
{
    return (lane_mask)(n >= LANES_PER_VECTOR ? -1 : n > 0 ? (1 << n) - 1 : 0);
}
#define FIRST_LANES(n, a) ((vector)OF_LANES(maskz_mov)(lanes_below(n), (all_lanes)(a))) /* then 0 */
#else
#define FIRST_LANES(n, a) (a)
#endif

/* The larger of each pair; b where one is a NaN. */
#if defined(__AVX512F__) && NNCORE_DOUBLE
#define LARGER(a, b) ((vector)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#elif defined(__AVX512F__)
#define LARGER(a, b) ((vector)_mm512_max_ps((__m512)(a), (__m512)(b)))
#elif defined(__AVX2__) && NNCORE_DOUBLE
#define LARGER(a, b) ((vector)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#elif defined(__AVX2__)
#define LARGER(a, b) ((vector)_mm256_max_ps((__m256)(a), (__m256)(b)))
#elif defined(__SSE2__) && NNCORE_DOUBLE
#define LARGER(a, b) ((vector)_mm_max_pd((__m128d)(a), (__m128d)(b)))
#elif defined(__SSE2__)
#define LARGER(a, b) ((vector)_mm_max_ps((__m128)(a), (__m128)(b)))
#else
#define LARGER(a, b) larger_of_each(a, b)
static ALWAYS_INLINE vector larger_of_each(const vector a, const vector b)
{
    const bits first = (bits)(a > b);
    return (vector)((first & (bits)a) | (~first & (bits)b));
}
#endif
/* 1 where two are equal, else 0. */
#define SAME(a, b) ((vector)((bits)((a) == (b)) & (bits)(1 - (vector){0})))

static ALWAYS_INLINE void ask_for_row(const asked_rows *ask, ptrdiff_t row)
{
    int s;
    for (s = 0; s < ask->n; s++) {
        const real *at = ask->places[s].at + row * ask->places[s].step;
        const real *const end = at + ask->places[s].numbers;
        for (; at < end; at += 64 / sizeof(real))
            prefetch_to_read_later(at);
    }
}

/* Expanded once for each constant (rows, vectors, unit, pack, and share, ask and finish where they are always NULL), so
   that the sums stay in registers.
   unit: a's rows are neighbours (a transposed matrix): a(i, p) = a[i + p * a_step];
   else a's rows are a_step apart: a(i, p) = a[i * a_step + p].
   pack: also leave in `packed` the tile's columns of b (PACK_B), TILE_COLS for each p, or its rows of a
   (PACK_A, where they are neighbours), TILE_ROWS for each p: the stores cost nothing beside the multiplications.
   ask: also ask for these rows, one by one: many lines at once would keep those waiting that the tile
   itself needs.
   finish: the numbers, done, go there, and not to the tile, which begins at (row_at, col_at).
   share: these are not all p (with PACK_B; NULL: all are).
   STREAM_B: b's rows ahead are asked for, and then those that `share` says, nothing is packed. */
#define PACK_B 1
#define PACK_A 2
#define STREAM_B 3
#define ROWS_AHEAD 64
static ALWAYS_INLINE void tile_body(const int rows, const int vectors, const int unit,
                                    const int pack, const share_of_p *share, const asked_rows *ask,
                                    const finished_rows *finish, ptrdiff_t row_at,
                                    ptrdiff_t col_at, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                    const real *b, ptrdiff_t b_step, real *packed, real *tile,
                                    ptrdiff_t step, int add)
{
    vector sum[TILE_ROWS][TILE_VECTORS];
    int i, v, asked = 0, ragged = ((uintptr_t)b | b_step * sizeof(real)) % 64 != 0;
    ptrdiff_t p = 0, stop = k, three = 3 * a_step;
    /* Four rows from each address: with 0, 1, 2 and 3 steps. */
    const real *a4 = unit || rows <= 4 ? a : a + 4 * a_step, *a8 = unit || rows <= 8 ? a : a + 8 * a_step;
    const real *ahead = share && pack != STREAM_B ? share->next : b + ROWS_AHEAD * b_step;

#pragma GCC unroll 12
    for (i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (v = 0; v < vectors; v++)
            sum[i][v] = (vector){0};
    if (share && pack != STREAM_B && share->begun) {
#pragma GCC unroll 12
        for (i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (v = 0; v < vectors; v++)
                sum[i][v] = *(const loose_vector *)(share->begun + i * share->begun_step + v * LANES_PER_VECTOR);
    }
    __asm__("" : "+r"(three));
    do {
        if (ask) {
            ask_for_row(ask, asked++);
            stop = k * asked / TILE_ROWS;
        }
        for (; p < stop; p++) {
            vector row[TILE_VECTORS];
#pragma GCC unroll 4
            for (v = 0; v < vectors; v++)
                row[v] = *(const loose_vector *)(b + v * LANES_PER_VECTOR);
            b += b_step;
            if (pack == PACK_A) {
                memcpy(packed, a, TILE_ROWS * sizeof(real));
                packed += TILE_ROWS;
            }
            if (pack == PACK_B) {
#pragma GCC unroll 4
                for (v = 0; v < vectors; v++)
                    *(loose_vector *)(packed + v * LANES_PER_VECTOR) = row[v];
                packed += TILE_COLS;
            }
            if (pack == STREAM_B && p + ROWS_AHEAD == k)
                ahead = share->next;
            if (pack == PACK_B || pack == STREAM_B) {
#pragma GCC unroll 4
                for (v = 0; v < vectors; v++)
                    prefetch_to_read_later(ahead + v * LANES_PER_VECTOR);
                /* A line more, where they do not begin with one; in the one loop. */
                __asm__("" : "+r"(ragged));
                if (ragged)
                    prefetch_to_read_later(ahead + vectors * LANES_PER_VECTOR - 1);
                ahead += b_step;
            }
            /* An address a row would need more registers than there are; left to itself the compiler
               keeps some where it takes a multiplier's place to fetch them from. */
            if (!unit && rows > 8)
                __asm__("" : "+r"(a), "+r"(a4), "+r"(a8));
            else if (!unit && rows > 4)
                __asm__("" : "+r"(a), "+r"(a4));
#pragma GCC unroll 12
            for (i = 0; i < rows; i++) {
                const real *const four = i < 4 ? a : i < 8 ? a4 : a8;
                real one = unit ? a[i] : four[i % 4 == 3 ? three : i % 4 * a_step];
#if defined(__aarch64__)
                /* A number, then the next one: each is a lane of the multiply-adds. Spread over a vector as it is
                   loaded it would take one's place in the unit that multiplies; several at once, the sums'. */
                __asm__ volatile("" : "+w"(one));
#endif
                const vector all = one - (vector){0};
#pragma GCC unroll 4
                for (v = 0; v < vectors; v++)
                    sum[i][v] = MULTIPLY_ADD(all, row[v], sum[i][v]);
            }
            a += unit ? a_step : 1;
            if (!unit && rows > 4)
                a4++;
            if (!unit && rows > 8)
                a8++;
        }
    } while (ask && asked < TILE_ROWS);
    if (!finish) {
#pragma GCC unroll 12
        for (i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (v = 0; v < vectors; v++) {
                loose_vector *to = (loose_vector *)(tile + i * step + v * LANES_PER_VECTOR);
                *to = add ? (vector)*to + sum[i][v] : sum[i][v];
            }
        return;
    }
#define EACH_SUM                                                                                 \
    _Pragma("GCC unroll 12") for (i = 0; i < rows; i++)                                          \
        _Pragma("GCC unroll 4") for (v = 0; v < vectors; v++)
#define AT(p) (*(loose_vector *)((p) + v * LANES_PER_VECTOR))
    /* (Read before anything is written: for all the compiler knows it might be what is written over.) */
    const ptrdiff_t y_step = finish->step;
    real *y = finish->y + row_at * y_step + col_at;
    const real *slope = finish->slope;
    if (add)
        EACH_SUM sum[i][v] += AT(tile + i * step);
    if (finish->bias)
        EACH_SUM sum[i][v] += AT((real *)finish->bias + col_at);
    if (finish->relu)
        EACH_SUM sum[i][v] = LARGER((vector){0}, sum[i][v]);
    if (slope) {
        slope += row_at * y_step + col_at;
        EACH_SUM sum[i][v] = (vector)((bits)sum[i][v] & (bits)((vector)AT((real *)slope + i * y_step) > 0));
    }
#pragma GCC unroll 12
    for (i = 0; i < rows; i++, y += y_step)
#pragma GCC unroll 4
        for (v = 0; v < vectors; v++)
            AT(y) = sum[i][v];
#undef AT
#undef EACH_SUM
}

#define TILE_CASE(rows)                                                                          \
    case rows:                                                                                   \
        if (unit)                                                                                \
            tile_body(rows, vectors, 1, 0, 0, 0, 0, 0, 0, k, a, a_step, b, b_step, 0, tile,        \
                      step, add);                                                                \
        else                                                                                     \
            tile_body(rows, vectors, 0, 0, 0, 0, 0, 0, 0, k, a, a_step, b, b_step, 0, tile,        \
                      step, add);                                                                \
        break;

static ALWAYS_INLINE void tile_rows(int rows, const int vectors, int unit, ptrdiff_t k,
                                    const real *a, ptrdiff_t a_step, const real *b,
                                    ptrdiff_t b_step, real *tile, ptrdiff_t step, int add)
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

/* The tile's rows lie `step` apart. Columns beyond the `cols` wanted are computed too, up to a whole
   vector, and to be ignored: b must be readable there, and the tile writable. */
static ONLY_ONCE void multiply_tile(int rows, int cols, int unit, ptrdiff_t k, const real *a,
                                    ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *tile,
                                    ptrdiff_t step, int add)
{
    if (cols <= LANES_PER_VECTOR)
        tile_rows(rows, 1, unit, k, a, a_step, b, b_step, tile, step, add);
#if TILE_VECTORS > 2
    else if (cols <= 2 * LANES_PER_VECTOR)
        tile_rows(rows, 2, unit, k, a, a_step, b, b_step, tile, step, add);
#endif
    else
        tile_rows(rows, TILE_VECTORS, unit, k, a, a_step, b, b_step, tile, step, add);
}

/* A result of at most a vector of columns, closed up: c(i, j) = sum_p a(i, p) b(p, j) + bias(j), its
   rows `cols` apart. bias is readable for a vector. A row's vector also writes on what the next row
   then overwrites: c is writable for a vector beyond its end. */
#define NARROW(name) name##_whole
#define NARROW_BYTES VECTOR_BYTES
#define NARROW_ADD(a, b, c) MULTIPLY_ADD(a, b, c)
#define NARROW_WHOLE(a) (a)
#include "narrow.h"
#if defined(__AVX512F__)
/* Half and a quarter of a vector: some processors do two of them in the time of a whole one, and less
   is written over again. */
#define NARROW(name) name##_half
#define NARROW_BYTES (VECTOR_BYTES / 2)
#if NNCORE_DOUBLE
#define NARROW_ADD(a, b, c) ((vector_half)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define NARROW_WHOLE(a) ((vector)_mm512_zextpd256_pd512((__m256d)(a)))
#else
#define NARROW_ADD(a, b, c) ((vector_half)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define NARROW_WHOLE(a) ((vector)_mm512_zextps256_ps512((__m256)(a)))
#endif
#include "narrow.h"
#define NARROW(name) name##_quarter
#define NARROW_BYTES (VECTOR_BYTES / 4)
#if NNCORE_DOUBLE
#define NARROW_ADD(a, b, c) ((vector_quarter)_mm_fmadd_pd((__m128d)(a), (__m128d)(b), (__m128d)(c)))
#define NARROW_WHOLE(a) ((vector)_mm512_zextpd128_pd512((__m128d)(a)))
#else
#define NARROW_ADD(a, b, c) ((vector_quarter)_mm_fmadd_ps((__m128)(a), (__m128)(b), (__m128)(c)))
#define NARROW_WHOLE(a) ((vector)_mm512_zextps128_ps512((__m128)(a)))
#endif
#include "narrow.h"
#endif

#if defined(__AVX512F__)
#define BY_WIDTH(cols, name, ...)                                                                \
    do {                                                                                         \
        if ((cols) <= FEWEST_LANES)                                                              \
            name##_quarter(__VA_ARGS__);                                                         \
        else if ((cols) <= LANES_PER_VECTOR / 2)                                                 \
            name##_half(__VA_ARGS__);                                                            \
        else                                                                                     \
            name##_whole(__VA_ARGS__);                                                           \
    } while (0)
#else
#define BY_WIDTH(cols, name, ...) name##_whole(__VA_ARGS__)
#endif

/* sums(j) = sum_i a(i, j) over rows `cols` <= a vector apart, in order. a is readable, and sums
   writable, for a whole vector. What is behind them, as far as end_of_sums(cols), becomes 0. */
static void sum_narrow_rows(ptrdiff_t rows, ptrdiff_t cols, const real *a, real *sums)
{
    BY_WIDTH(cols, sum_rows, rows, cols, a, sums);
}

#if defined(__AVX512F__)
#define end_of_sums(cols) LANES_PER_VECTOR
#else
#define end_of_sums(cols) (cols)
#endif

/* Rows that read whole lines of b, at most (multiply_streamed_rows()); with more than STREAMED_ROWS tiles are better, if the L3
   cache keeps b: where there are 32 registers, whose tiles have more sums, sooner. */
#define MOST_STREAMED 6
#if defined(__AVX512F__) || defined(__aarch64__)
#define STREAMED_ROWS 4
#else
#define STREAMED_ROWS 6
#endif

/* A tile of all its columns whose b is read for the first time, from memory or nearly so, and not packed: its rows
   ahead are asked for, then those from `next` on (k is at least ROWS_AHEAD). */
static ONLY_ONCE void multiply_and_stream(int rows, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                          ptrdiff_t b_step, const real *next, real *tile, ptrdiff_t step, int add)
{
    const share_of_p share = {0, next, 0};
#define STREAM_CASE(rows)                                                                        \
    case rows:                                                                                   \
        tile_body(rows, TILE_VECTORS, 0, STREAM_B, &share, 0, 0, 0, 0, k, a, a_step, b, b_step, 0, tile, step, add); \
        break;
    switch (rows) {
#if STREAMED_ROWS < 5
        STREAM_CASE(5)
#endif
        STREAM_CASE(6)
#if TILE_ROWS > 6
        STREAM_CASE(7)
        STREAM_CASE(8)
        STREAM_CASE(9)
        STREAM_CASE(10)
        STREAM_CASE(11)
        STREAM_CASE(12)
#endif
    }
#undef STREAM_CASE
}

/* A tile of all its rows that also packs its columns of b, for the tiles below it. */
static void multiply_and_pack(int cols, int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                              const real *b, ptrdiff_t b_step, real *packed, real *tile,
                              ptrdiff_t step, int add)
{
    const int one = cols <= LANES_PER_VECTOR;
    if (one && unit)
        tile_body(TILE_ROWS, 1, 1, PACK_B, 0, 0, 0, 0, 0, k, a, a_step, b, b_step, packed, tile, step, add);
    else if (one)
        tile_body(TILE_ROWS, 1, 0, PACK_B, 0, 0, 0, 0, 0, k, a, a_step, b, b_step, packed, tile, step, add);
    else if (unit)
        tile_body(TILE_ROWS, TILE_VECTORS, 1, PACK_B, 0, 0, 0, 0, 0, k, a, a_step, b, b_step, packed, tile, step, add);
    else
        tile_body(TILE_ROWS, TILE_VECTORS, 0, PACK_B, 0, 0, 0, 0, 0, k, a, a_step, b, b_step, packed, tile, step, add);
}

/* Such a tile's share of the p, of an a that is not transposed. */
static ONLY_ONCE void multiply_share_and_pack(const share_of_p *share, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                              const real *b, ptrdiff_t b_step, real *packed, real *tile,
                                              ptrdiff_t step, int add)
{
    tile_body(TILE_ROWS, TILE_VECTORS, 0, PACK_B, share, 0, 0, 0, 0, k, a, a_step, b, b_step, packed, tile, step, add);
}

/* A tile of all its rows and columns, of a transposed a, that also packs its rows, for the tiles beside it. It may
   ask, and be finished (NULL: not). */
static ONLY_ONCE void multiply_and_pack_a(ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                          ptrdiff_t b_step, real *packed, const asked_rows *ask,
                                          const finished_rows *finish, ptrdiff_t row_at,
                                          ptrdiff_t col_at, real *tile, ptrdiff_t step, int add)
{
    tile_body(TILE_ROWS, TILE_VECTORS, 1, PACK_A, 0, ask, finish, row_at, col_at, k, a, a_step, b, b_step, packed, tile,
              step, add);
}

/* A tile of all its rows and columns that also asks for others' rows. */
static void multiply_and_ask(int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                             ptrdiff_t b_step, const asked_rows *ask, real *tile, ptrdiff_t step,
                             int add)
{
    if (unit)
        tile_body(TILE_ROWS, TILE_VECTORS, 1, 0, 0, ask, 0, 0, 0, k, a, a_step, b, b_step, 0, tile, step, add);
    else
        tile_body(TILE_ROWS, TILE_VECTORS, 0, 0, 0, ask, 0, 0, 0, k, a, a_step, b, b_step, 0, tile, step, add);
}

/* A tile of all its rows and columns whose numbers need no second look; it may ask (NULL: not). */
static ONLY_ONCE void multiply_and_finish(int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                          const real *b, ptrdiff_t b_step, const asked_rows *ask,
                                          const finished_rows *finish, ptrdiff_t row_at,
                                          ptrdiff_t col_at, const real *tile, ptrdiff_t step, int add)
{
    if (unit)
        tile_body(TILE_ROWS, TILE_VECTORS, 1, 0, 0, ask, finish, row_at, col_at, k, a, a_step, b, b_step, 0,
                  (real *)tile, step, add);
    else
        tile_body(TILE_ROWS, TILE_VECTORS, 0, 0, 0, ask, finish, row_at, col_at, k, a, a_step, b, b_step, 0,
                  (real *)tile, step, add);
}

/* The same from 0 on, of an a that is not transposed, and of TILE_ROWS rows, two thirds or one third of them, no
   other number: what is left of a power of two. */
static void multiply_and_finish_rows(int rows, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                     const real *b, ptrdiff_t b_step, const finished_rows *finish,
                                     ptrdiff_t row_at, ptrdiff_t col_at)
{
    real *const none = finish->y; /* which is not read */
    if (rows == TILE_ROWS)
        multiply_and_finish(0, k, a, a_step, b, b_step, 0, finish, row_at, col_at, none, 0, 0);
    else if (rows == TILE_ROWS / 3 * 2)
        tile_body(TILE_ROWS / 3 * 2, TILE_VECTORS, 0, 0, 0, 0, finish, row_at, col_at, k, a, a_step, b, b_step, 0, none, 0, 0);
    else
        tile_body(TILE_ROWS / 3, TILE_VECTORS, 0, 0, 0, 0, finish, row_at, col_at, k, a, a_step, b, b_step, 0, none, 0, 0);
}

/* One row: c(j) = [c(j) +] sum_p a(p) b(p, j), j < vectors * LANES_PER_VECTOR, a(p) = a[p * a_step]. So many
   sums at once that none waits for its own last addition. */
#define ROW_VECTORS 8
#define ROW_COLS (ROW_VECTORS * LANES_PER_VECTOR)

static ALWAYS_INLINE void row_body(const int vectors, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                   const real *b, ptrdiff_t b_step, real *c, int add)
{
    vector sum[ROW_VECTORS];
    int v;
    ptrdiff_t p;
#pragma GCC unroll 8
    for (v = 0; v < vectors; v++)
        sum[v] = (vector){0};
    for (p = 0; p < k; p++) {
        const vector all = *a - (vector){0};
#pragma GCC unroll 8
        for (v = 0; v < vectors; v++)
            sum[v] = MULTIPLY_ADD(all, *(const loose_vector *)(b + v * LANES_PER_VECTOR), sum[v]);
        a += a_step;
        b += b_step;
    }
#pragma GCC unroll 8
    for (v = 0; v < vectors; v++) {
        loose_vector *to = (loose_vector *)(c + v * LANES_PER_VECTOR);
        *to = add ? (vector)*to + sum[v] : sum[v];
    }
}

/* Columns beyond the `cols` wanted, up to a whole vector, are computed and to be ignored. */
static void multiply_row(ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                         const real *b, ptrdiff_t b_step, real *c, int add)
{
    for (; cols >= ROW_COLS; cols -= ROW_COLS, b += ROW_COLS, c += ROW_COLS)
        row_body(ROW_VECTORS, k, a, a_step, b, b_step, c, add);
    switch ((cols + LANES_PER_VECTOR - 1) / LANES_PER_VECTOR) {
    case 1: row_body(1, k, a, a_step, b, b_step, c, add); break;
    case 2: row_body(2, k, a, a_step, b, b_step, c, add); break;
    case 3: row_body(3, k, a, a_step, b, b_step, c, add); break;
    case 4: row_body(4, k, a, a_step, b, b_step, c, add); break;
    case 5: row_body(5, k, a, a_step, b, b_step, c, add); break;
    case 6: row_body(6, k, a, a_step, b, b_step, c, add); break;
    case 7: row_body(7, k, a, a_step, b, b_step, c, add); break;
    case 8: row_body(8, k, a, a_step, b, b_step, c, add); break;
    }
}

/* The same, of one to MOST_STREAMED rows, where b comes from afar: whole lines of b, several at a time, which the
   processor sees coming, while the sums wait in the L1 cache. Sums are taken in the same order. */
#define STREAM_BYTES(rows) ((rows) <= 3 ? 8192 : 4096) /* of a row's sums, at most; of all: */
#define STREAM_VECTORS (MOST_STREAMED * 4096 / VECTOR_BYTES)
/* So many lines at once, whose numbers of a the registers hold beside the sums. */
#if STREAMED_ROWS == 4
#define STREAM_LINES(rows) ((rows) <= 3 ? 8 : 4)
#else
#define STREAM_LINES(rows) ((rows) == 1 ? 8 : (rows) <= 3 ? 4 : 2)
#endif
#define STREAM_FACTORS (MOST_STREAMED * 4)
typedef char factors_have_room[3 * STREAM_LINES(3) <= STREAM_FACTORS && 6 * STREAM_LINES(6) <= STREAM_FACTORS ? 1 : -1];
typedef char sums_have_room[3 * STREAM_BYTES(3) <= MOST_STREAMED * 4096 ? 1 : -1];
/* A line for several rows stays in a register; left to itself the compiler loads it for each. */
#if defined(__SSE2__)
#define in_register(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define in_register(x) __asm__("" : "+w"(x))
#else
#define in_register(x) ((void)0)
#endif

static ONLY_ONCE void take_factors(int rows, int lines, const real *a, ptrdiff_t row_step, ptrdiff_t a_step,
                                   real *factor)
{
    int i, r;
    for (i = 0; i < lines; i++)
        for (r = 0; r < rows; r++)
            *factor++ = a[r * row_step + i * a_step];
}

/* sums(r, v) += sum_i a(r, i) b(i, v): the rows' sums lie side by side. ask: what is `ahead` of these numbers of b will
   be read next. */
static ALWAYS_INLINE void stream_body(const int rows, const int lines, const int ask, ptrdiff_t vectors,
                                      const real *a, ptrdiff_t row_step, ptrdiff_t a_step, const real *b,
                                      ptrdiff_t b_step, ptrdiff_t ahead, vector *sums)
{
    real factor[STREAM_FACTORS];
    vector all[STREAM_FACTORS];
    ptrdiff_t v;
    int i, r;
    if (rows > 1) /* (of one row it would take as long as the addresses) */
        take_factors(rows, lines, a, row_step, a_step, factor);
#pragma GCC unroll 24
    for (i = 0; i < lines * rows; i++)
        all[i] = (rows > 1 ? factor[i] : a[i * a_step]) - (vector){0};
    for (v = 0; v < vectors; v++) {
        vector sum[MOST_STREAMED];
#pragma GCC unroll 6
        for (r = 0; r < rows; r++)
            sum[r] = sums[v * rows + r];
#pragma GCC unroll 8
        for (i = 0; i < lines; i++) {
            const real *at = b + i * b_step + v * LANES_PER_VECTOR;
            vector line = *(const loose_vector *)at;
            if (rows > 1)
                in_register(line);
            if (ask)
                prefetch_to_read_later(at + ahead);
#pragma GCC unroll 6
            for (r = 0; r < rows; r++)
                sum[r] = MULTIPLY_ADD(all[i * rows + r], line, sum[r]);
        }
#pragma GCC unroll 6
        for (r = 0; r < rows; r++)
            sums[v * rows + r] = sum[r];
    }
}

/* The same of one line. */
static ONLY_ONCE void stream_line(int rows, ptrdiff_t vectors, const real *a, ptrdiff_t row_step, const real *line,
                                  vector *sums)
{
    ptrdiff_t v;
    int r;
    for (r = 0; r < rows; r++) {
        const vector all = a[r * row_step] - (vector){0};
        for (v = 0; v < vectors; v++)
            sums[v * rows + r] = MULTIPLY_ADD(all, ((const loose_vector *)line)[v], sums[v * rows + r]);
    }
}

static ALWAYS_INLINE void stream_lines(const int rows, const int ask, ptrdiff_t vectors, ptrdiff_t k, const real *a,
                                       ptrdiff_t row_step, ptrdiff_t a_step, const real *b, ptrdiff_t b_step,
                                       vector *sums)
{
    const int lines = STREAM_LINES(rows);
    for (; k >= lines; k -= lines, a += lines * a_step, b += lines * b_step)
        /* (The last lines ask for themselves, not for what may be nobody's.) */
        stream_body(rows, lines, ask, vectors, a, row_step, a_step, b, b_step, k >= 2 * lines ? lines * b_step : 0,
                    sums);
    for (; k > 0; k--, a += a_step, b += b_step)
        stream_line(rows, vectors, a, row_step, b, sums);
}

/* a(r, p) = a[r * row_step + p * a_step]. ask: ask for the lines that are next, too. Three rows and more always do;
   for one or two it costs more than it gives where the L3 cache keeps b. */
static ONLY_ONCE void multiply_streamed_rows(int rows, int ask, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                             ptrdiff_t row_step, ptrdiff_t a_step, const real *b, ptrdiff_t b_step,
                                             real *c, ptrdiff_t step, int add)
{
    const ptrdiff_t most = STREAM_BYTES(rows) / VECTOR_BYTES;
    ptrdiff_t vectors = (cols + LANES_PER_VECTOR - 1) / LANES_PER_VECTOR, parts = (vectors + most - 1) / most, now, v;
    vector sums[STREAM_VECTORS];
    int r;
    for (; parts > 0; parts--) {
        now = (vectors + parts - 1) / parts;
        memset(sums, 0, now * rows * sizeof *sums);
#define STREAM(rows, ask) stream_lines(rows, ask, now, k, a, row_step, a_step, b, b_step, sums)
        switch (rows) {
        case 1: ask ? STREAM(1, 1) : STREAM(1, 0); break;
        case 2: ask ? STREAM(2, 1) : STREAM(2, 0); break;
        case 3: STREAM(3, 1); break;
        case 4: STREAM(4, 1); break;
        case 5: STREAM(5, 1); break;
        case 6: STREAM(6, 1); break;
        }
#undef STREAM
        for (r = 0; r < rows; r++)
            for (v = 0; v < now; v++) {
                loose_vector *to = (loose_vector *)(c + r * step) + v;
                *to = add ? (vector)*to + sums[v * rows + r] : sums[v * rows + r];
            }
        vectors -= now;
        b += now * LANES_PER_VECTOR;
        c += now * LANES_PER_VECTOR;
    }
}

/* One column: c(i) = sum_p a(i, p) b(p), the sum in two vectors of partial sums, whatever i. */
static ALWAYS_INLINE void column_body(const int rows, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                      const real *b, real *c)
{
    const ptrdiff_t pair = 2 * LANES_PER_VECTOR;
    vector sum[4][2];
    ptrdiff_t p;
    int i, l;
#pragma GCC unroll 4
    for (i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = (vector){0};
    for (p = 0; p + pair <= k; p += pair) {
        const vector b0 = *(const loose_vector *)(b + p);
        const vector b1 = *(const loose_vector *)(b + p + LANES_PER_VECTOR);
#pragma GCC unroll 4
        for (i = 0; i < rows; i++) {
            const real *row = a + i * a_step + p;
            sum[i][0] = MULTIPLY_ADD(*(const loose_vector *)row, b0, sum[i][0]);
            sum[i][1] = MULTIPLY_ADD(*(const loose_vector *)(row + LANES_PER_VECTOR), b1, sum[i][1]);
        }
    }
#pragma GCC unroll 4
    for (i = 0; i < rows; i++) {
        const vector both = sum[i][0] + sum[i][1];
        real total = 0;
        ptrdiff_t q;
        for (l = 0; l < LANES_PER_VECTOR; l++)
            total += both[l];
        for (q = p; q < k; q++)
            total += a[i * a_step + q] * b[q];
        c[i] = total;
    }
}

static void multiply_column(ptrdiff_t rows, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                            const real *b, real *c)
{
    for (; rows >= 4; rows -= 4, a += 4 * a_step, c += 4)
        column_body(4, k, a, a_step, b, c);
    for (; rows > 0; rows--, a += a_step, c++)
        column_body(1, k, a, a_step, b, c);
}

/* `n` rounds of 12 multiply-adds of vectors, which wait for nothing but the units that do them: the
   most that this instruction set reaches. Returns a number that depends on them all. */
static real peak_rounds(long long n, real factor)
{
    vector sum[12];
    real total = 0;
    long long r;
    int i;
    for (i = 0; i < 12; i++)
        sum[i] = (real)i - (vector){0};
    for (r = 0; r < n; r++) {
#pragma GCC unroll 12
        for (i = 0; i < 12; i++)
            sum[i] = MULTIPLY_ADD(sum[i], factor - (vector){0}, factor - (vector){0});
    }
    for (i = 0; i < 12; i++)
        total += sum[i][0];
    return total;
}

/* Four numbers: the side of the squares in which packing turns a matrix. */
typedef real quad __attribute__((vector_size(4 * sizeof(real))));
typedef real loose_quad __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d)
#elif NNCORE_DOUBLE
#define SHUFFLE(x, y, a, b, c, d) __builtin_shuffle(x, y, (int64_t __attribute__((vector_size(32)))){a, b, c, d})
#else
#define SHUFFLE(x, y, a, b, c, d) __builtin_shuffle(x, y, (int32_t __attribute__((vector_size(16)))){a, b, c, d})
#endif

/* column(p) = from(., p) of four rows of four numbers. */
static ALWAYS_INLINE void load_square(const real *from, ptrdiff_t from_step, quad *column)
{
    const quad r0 = *(const loose_quad *)from;
    const quad r1 = *(const loose_quad *)(from + from_step);
    const quad r2 = *(const loose_quad *)(from + 2 * from_step);
    const quad r3 = *(const loose_quad *)(from + 3 * from_step);
    const quad low01 = SHUFFLE(r0, r1, 0, 4, 1, 5), high01 = SHUFFLE(r0, r1, 2, 6, 3, 7);
    const quad low23 = SHUFFLE(r2, r3, 0, 4, 1, 5), high23 = SHUFFLE(r2, r3, 2, 6, 3, 7);
    column[0] = SHUFFLE(low01, low23, 0, 1, 4, 5);
    column[1] = SHUFFLE(low01, low23, 2, 3, 6, 7);
    column[2] = SHUFFLE(high01, high23, 0, 1, 4, 5);
    column[3] = SHUFFLE(high01, high23, 2, 3, 6, 7);
}

/* to(p, i) = from(i, p), i < 4, p < 4, row after row of `to`: transpose_squares() relies on it. */
static ALWAYS_INLINE void transpose_square(const real *from, ptrdiff_t from_step, real *to,
                                           ptrdiff_t to_step)
{
    quad column[4];
    load_square(from, from_step, column);
    *(loose_quad *)to = column[0];
    *(loose_quad *)(to + to_step) = column[1];
    *(loose_quad *)(to + 2 * to_step) = column[2];
    *(loose_quad *)(to + 3 * to_step) = column[3];
}

/* One row of a result of up to four columns, to four numbers, whatever the last are: of each of b's rows, and of
   the bias, four are read. Sums as in narrow.h. Stored to an array of the caller's own, and read there by loops
   over QUAD numbers, they stay in a register. */
static ALWAYS_INLINE void quad_row(ptrdiff_t k, const real *a, const real *b, ptrdiff_t b_step, const real *bias,
                                   real *c)
{
    quad sum = {0};
    ptrdiff_t p;
    for (p = 0; p < k; p++, b += b_step)
        sum += a[p] * *(const loose_quad *)b;
    *(loose_quad *)c = bias ? sum + *(const loose_quad *)bias : sum;
}

/* The same of a transposed b of k <= 4 columns: of it, four rows of four numbers are read. */
static ALWAYS_INLINE void quad_row_turned(ptrdiff_t k, const real *a, const real *b, ptrdiff_t b_step, real *c)
{
    quad column[4], sum = {0};
    int p;
    load_square(b, b_step, column);
#pragma GCC unroll 4
    for (p = 0; p < 4; p++)
        if (p < k)
            sum += a[p] * column[p];
    *(loose_quad *)c = sum;
}

/* c(i, j) = a(i) b(j) in rows of up to four columns, side by side: for each, four numbers are written. */
static ALWAYS_INLINE void quad_products(ptrdiff_t rows, ptrdiff_t cols, const real *a, const real *b, real *c)
{
    const quad row = *(const loose_quad *)b;
    ptrdiff_t i;
    for (i = 0; i < rows; i++, c += cols)
        *(loose_quad *)c = a[i] * row;
}

#if defined(__AVX2__)
#if NNCORE_DOUBLE
#define OF_FOUR(does) _mm256_##does##_pd
typedef __m256d four_lanes;
#else
#define OF_FOUR(does) _mm_##does##_ps
typedef __m128 four_lanes;
#endif
/* The first n <= 4 numbers from `from` on, then 0. */
static ALWAYS_INLINE four_lanes load_four(const ptrdiff_t n, const real *from)
{
    return n == 4 ? OF_FOUR(loadu)(from)
                  : OF_FOUR(setr)(from[0], n > 1 ? from[1] : 0, n > 2 ? from[2] : 0, 0);
}
#endif

#if defined(__AVX2__) && !NNCORE_DOUBLE
/* Two squares, of eight neighbouring rows: column(p) = from(., p), p < cols <= 4. */
#define STRIP_ROWS 8
static ALWAYS_INLINE void load_strip(const ptrdiff_t cols, const real *from, ptrdiff_t from_step, __m256 column[4])
{
    __m256 row[4], low01, high01, low23, high23;
    int i;
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
        row[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(load_four(cols, from + i * from_step)),
                                      load_four(cols, from + (i + 4) * from_step), 1);
    low01 = _mm256_unpacklo_ps(row[0], row[1]), high01 = _mm256_unpackhi_ps(row[0], row[1]);
    low23 = _mm256_unpacklo_ps(row[2], row[3]), high23 = _mm256_unpackhi_ps(row[2], row[3]);
    column[0] = _mm256_shuffle_ps(low01, low23, 0x44);
    column[1] = _mm256_shuffle_ps(low01, low23, 0xee);
    column[2] = _mm256_shuffle_ps(high01, high23, 0x44);
    column[3] = _mm256_shuffle_ps(high01, high23, 0xee);
}

static ALWAYS_INLINE void transpose_strip(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step)
{
    __m256 column[4];
    int p;
    load_strip(4, from, from_step, column);
#pragma GCC unroll 4
    for (p = 0; p < 4; p++)
        _mm256_storeu_ps(to + p * to_step, column[p]);
}
#endif

#ifdef MOST_TURNED
#if defined(__AVX512F__) && !NNCORE_DOUBLE
/* The first n of the 4 numbers from `from` on of each of four rows. */
static ALWAYS_INLINE __m512 load_quads(const ptrdiff_t n, const real *from, ptrdiff_t step)
{
    const __mmask8 some = (__mmask8)((1 << n) - 1);
#define LOAD(i) (n == 4 ? _mm_loadu_ps(from + i * step) : _mm_maskz_loadu_ps(some, from + i * step))
    __m512 a = _mm512_castps128_ps512(LOAD(0));
    a = _mm512_insertf32x4(a, LOAD(1), 1);
    a = _mm512_insertf32x4(a, LOAD(2), 2);
    return _mm512_insertf32x4(a, LOAD(3), 3);
#undef LOAD
}
#endif

/* column(p) = from(., p) of VECTOR_ROWS rows, p < cols <= 4. */
#define VECTOR_ROWS LANES_PER_VECTOR
static ALWAYS_INLINE void load_columns(const ptrdiff_t cols, const real *from, ptrdiff_t from_step,
                                       vector column[4])
{
    int i;
#if !defined(__AVX512F__) && NNCORE_DOUBLE
    __m256d row[4], low01, high01, low23, high23;
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
        row[i] = load_four(cols, from + i * from_step);
    low01 = _mm256_unpacklo_pd(row[0], row[1]), high01 = _mm256_unpackhi_pd(row[0], row[1]);
    low23 = _mm256_unpacklo_pd(row[2], row[3]), high23 = _mm256_unpackhi_pd(row[2], row[3]);
    column[0] = (vector)_mm256_permute2f128_pd(low01, low23, 0x20);
    column[1] = (vector)_mm256_permute2f128_pd(high01, high23, 0x20);
    column[2] = (vector)_mm256_permute2f128_pd(low01, low23, 0x31);
    column[3] = (vector)_mm256_permute2f128_pd(high01, high23, 0x31);
#elif !defined(__AVX512F__)
    __m256 strip[4];
    load_strip(cols, from, from_step, strip);
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
        column[i] = (vector)strip[i];
#elif NNCORE_DOUBLE
    const __mmask8 some = (__mmask8)((1 << cols) - 1);
    __m512d row[4], low01, high01, low23, high23;
#define LOAD(i) (cols == 4 ? _mm256_loadu_pd(from + (i) * from_step)                             \
                           : _mm256_maskz_loadu_pd(some, from + (i) * from_step))
    /* Rows in this order, 0 2 | 1 3 | 4 6 | 5 7: the last shuffle takes every other pair. */
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
        row[i] = _mm512_insertf64x4(_mm512_castpd256_pd512(LOAD(i + i / 2 * 2)),
                                    LOAD(i + i / 2 * 2 + 2), 1);
    low01 = _mm512_unpacklo_pd(row[0], row[1]), high01 = _mm512_unpackhi_pd(row[0], row[1]);
    low23 = _mm512_unpacklo_pd(row[2], row[3]), high23 = _mm512_unpackhi_pd(row[2], row[3]);
    column[0] = (vector)_mm512_shuffle_f64x2(low01, low23, 0x88);
    column[1] = (vector)_mm512_shuffle_f64x2(high01, high23, 0x88);
    column[2] = (vector)_mm512_shuffle_f64x2(low01, low23, 0xdd);
    column[3] = (vector)_mm512_shuffle_f64x2(high01, high23, 0xdd);
#undef LOAD
#else
    __m512 row[4], low01, high01, low23, high23;
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
        row[i] = load_quads(cols, from + i * from_step, 4 * from_step);
    low01 = _mm512_unpacklo_ps(row[0], row[1]), high01 = _mm512_unpackhi_ps(row[0], row[1]);
    low23 = _mm512_unpacklo_ps(row[2], row[3]), high23 = _mm512_unpackhi_ps(row[2], row[3]);
    column[0] = (vector)_mm512_shuffle_ps(low01, low23, 0x44);
    column[1] = (vector)_mm512_shuffle_ps(low01, low23, 0xee);
    column[2] = (vector)_mm512_shuffle_ps(high01, high23, 0x44);
    column[3] = (vector)_mm512_shuffle_ps(high01, high23, 0xee);
#endif
}

/* to(p, i) = from(i, p), i < VECTOR_ROWS, p < cols <= 4: whole vectors of `to`, row after row. */
static ALWAYS_INLINE void transpose_to_vectors(const ptrdiff_t cols, const real *from,
                                               ptrdiff_t from_step, real *to, ptrdiff_t to_step)
{
    vector column[4];
    int i;
    load_columns(cols, from, from_step, column);
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
        if (i < cols)
            *(loose_vector *)(to + i * to_step) = column[i];
}

/* VECTOR_ROWS rows of a result of at most `most` columns, in its lanes; sums as in narrow.h. unit: a's rows are
   neighbours (a transposed matrix). Of b's rows and the bias `most` numbers are read, and so many of the columns,
   which are `step` apart, are written. */
static ALWAYS_INLINE void rows_in_lanes(const int most, const int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                        const real *b, ptrdiff_t b_step, const real *bias, real *columns,
                                        ptrdiff_t step, const int add)
{
    vector sum[MOST_TURNED], column[4];
    const real *at = a; /* (a number that grows beside p, not p itself: 5 % faster with gcc) */
    ptrdiff_t p = 0;
    int j, q;
#pragma GCC unroll 12
    for (j = 0; j < most; j++)
        sum[j] = (vector){0};
#define ADD_COLUMN(column)                                                                       \
    _Pragma("GCC unroll 12") for (j = 0; j < most; j++)                                          \
        sum[j] = MULTIPLY_ADD(column, b[j] - (vector){0}, sum[j]);                               \
    b += b_step;
    for (; !unit && p + 4 <= k; p += 4) {
        load_columns(4, at, a_step, column);
        at += 4;
#pragma GCC unroll 4
        for (q = 0; q < 4; q++) {
            ADD_COLUMN(column[q])
        }
    }
    for (; p < k; p++) {
        if (unit)
            column[0] = *(const loose_vector *)(a + p * a_step);
        else
            load_columns(1, a + p, a_step, column);
        ADD_COLUMN(column[0])
    }
#undef ADD_COLUMN
#pragma GCC unroll 12
    for (j = 0; j < most; j++) {
        loose_vector *to = (loose_vector *)(columns + j * step);
        *to = add ? (vector)*to + sum[j] : bias ? sum[j] + bias[j] : sum[j];
    }
}

static ONLY_ONCE void columns_of_rows(int unit, ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                      const real *b, ptrdiff_t b_step, const real *bias, real *columns,
                                      ptrdiff_t step)
{
    const int ten = MOST_TURNED == 10 || cols <= 10;
    if (unit && ten)
        rows_in_lanes(10, 1, k, a, a_step, b, b_step, bias, columns, step, 0);
    else if (unit)
        rows_in_lanes(MOST_TURNED, 1, k, a, a_step, b, b_step, bias, columns, step, 0);
    else if (ten)
        rows_in_lanes(10, 0, k, a, a_step, b, b_step, bias, columns, step, 0);
    else
        rows_in_lanes(MOST_TURNED, 0, k, a, a_step, b, b_step, bias, columns, step, 0);
}

/* rows = rows_turned(rows) rows of a result whose b is transposed, b(p, j) = b[j * b_step + p]: of its columns as
   many as are whole vectors; how many. They lie in the lanes, b is turned in registers. a(i, p) = a[p * rows + i]. */
#define rows_turned(rows) ((rows) <= 2 ? (rows) : (rows) <= 4 ? 4 : 8)
static ONLY_ONCE ptrdiff_t multiply_few_turned(int rows, ptrdiff_t cols, ptrdiff_t k, const real *a, const real *b,
                                               ptrdiff_t b_step, real *c, ptrdiff_t step, int add)
{
    ptrdiff_t j = 0;
    for (; j + VECTOR_ROWS <= cols; j += VECTOR_ROWS, b += VECTOR_ROWS * b_step, c += VECTOR_ROWS)
        switch (rows) {
        case 1: rows_in_lanes(1, 0, k, b, b_step, a, 1, NULL, c, step, add); break;
        case 2: rows_in_lanes(2, 0, k, b, b_step, a, 2, NULL, c, step, add); break;
        case 4: rows_in_lanes(4, 0, k, b, b_step, a, 4, NULL, c, step, add); break;
        case 8: rows_in_lanes(8, 0, k, b, b_step, a, 8, NULL, c, step, add); break;
        }
    return j;
}

/* As many rows as are whole vectors of lanes, in rows side by side: how many. Of c's rows, one after the other,
   16 numbers are written. */
static ONLY_ONCE ptrdiff_t multiply_in_lanes(int unit, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                             ptrdiff_t a_step, const real *b, ptrdiff_t b_step, const real *bias,
                                             real *c)
{
    real columns[16 * LANES_PER_VECTOR] = {0};
    vector column[16 / LANES_PER_VECTOR][4];
    ptrdiff_t i = 0;
    int j, q, v;
    for (; i + VECTOR_ROWS <= rows; i += VECTOR_ROWS) {
        columns_of_rows(unit, cols, k, unit ? a + i : a + i * a_step, a_step, b, b_step, bias, columns,
                        LANES_PER_VECTOR);
        /* Row after row: the next one writes over what is written beyond it. */
#pragma GCC unroll 4
        for (q = 0; q < VECTOR_ROWS; q += 4) {
#pragma GCC unroll 4
            for (v = 0; v < 16 / LANES_PER_VECTOR; v++)
                load_columns(4, columns + q + v * LANES_PER_VECTOR * LANES_PER_VECTOR, LANES_PER_VECTOR, column[v]);
#pragma GCC unroll 4
            for (j = 0; j < 4; j++) {
#pragma GCC unroll 4
                for (v = 0; v < 16 / LANES_PER_VECTOR; v++)
                    *(loose_vector *)(c + v * LANES_PER_VECTOR) = column[v][j];
                c += cols;
            }
        }
    }
    return i;
}

/* SHORT_COLS rows of it as they are wanted turned, its columns side by side. Up to MOST_TURNED columns are
   written. */
static ALWAYS_INLINE void multiply_to_strip(ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                            const real *b, ptrdiff_t b_step, const real *bias, real *strip)
{
    ptrdiff_t i;
    for (i = 0; i < SHORT_COLS; i += VECTOR_ROWS)
        columns_of_rows(0, cols, k, a + i * a_step, a_step, b, b_step, bias, strip + i, SHORT_COLS);
}
#endif

#include "closed.h"

/* A result of at most a vector of columns, as narrow.h has it, whichever way. */
static void multiply_narrow(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                            const real *b, ptrdiff_t b_step, const real *bias, real *c)
{
    const int by_quads = QUADS(cols, rows, k);
    if (by_quads || ROWS_IN_LANES(cols, k)) {
        const ptrdiff_t done = by_quads ? multiply_by_quads(rows, cols, k, a, a_step, b, b_step, bias, c)
                                        : multiply_in_lanes(0, rows, cols, k, a, a_step, b, b_step, bias, c);
        rows -= done;
        a += done * a_step;
        c += done * cols;
    }
    BY_WIDTH(cols, multiply, rows, cols, k, a, a_step, b, b_step, bias, c);
}

/* The same of a transposed a, and without a bias. */
static void multiply_narrow_turned(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                   ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *c)
{
    if (ROWS_IN_LANES(cols, k)) {
        const ptrdiff_t done = multiply_in_lanes(1, rows, cols, k, a, a_step, b, b_step, NULL, c);
        rows -= done;
        a += done;
        c += done * cols;
    }
    BY_WIDTH(cols, multiply_turned, rows, cols, k, a, a_step, b, b_step, c);
}

#else /* A compiler without vector extensions (MSVC): right, and slower. */

#define NNCORE_VECTOR_EXTENSIONS 0
#define prefetch_to_read(p) ((void)(p))
#define prefetch_to_read_later(p) ((void)(p))
#define ONLY_ONCE
#include "closed.h"

static void multiply_tile(int rows, int cols, int unit, ptrdiff_t k, const real *a,
                          ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *tile,
                          ptrdiff_t step, int add)
{
    int i, j;
    ptrdiff_t p;
    (void)cols;
    for (i = 0; i < rows; i++) {
        real sum[TILE_COLS];
        for (j = 0; j < TILE_COLS; j++)
            sum[j] = 0;
        for (p = 0; p < k; p++) {
            const real one = unit ? a[i + p * a_step] : a[i * a_step + p];
            for (j = 0; j < TILE_COLS; j++)
                sum[j] += one * b[p * b_step + j];
        }
        for (j = 0; j < TILE_COLS; j++)
            tile[i * step + j] = add ? tile[i * step + j] + sum[j] : sum[j];
    }
}

static void multiply_and_stream(int rows, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                ptrdiff_t b_step, const real *next, real *tile, ptrdiff_t step, int add)
{
    (void)next;
    multiply_tile(rows, TILE_COLS, 0, k, a, a_step, b, b_step, tile, step, add);
}

static void multiply_and_pack(int cols, int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                              const real *b, ptrdiff_t b_step, real *packed, real *tile,
                              ptrdiff_t step, int add)
{
    ptrdiff_t p;
    for (p = 0; p < k; p++)
        memcpy(packed + p * TILE_COLS, b + p * b_step, TILE_COLS * sizeof(real));
    multiply_tile(TILE_ROWS, cols, unit, k, a, a_step, packed, TILE_COLS, tile, step, add);
}

static void multiply_share_and_pack(const share_of_p *share, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                    const real *b, ptrdiff_t b_step, real *packed, real *tile, ptrdiff_t step,
                                    int add)
{
    int i, j;
    ptrdiff_t p;
    for (p = 0; p < k; p++)
        memcpy(packed + p * TILE_COLS, b + p * b_step, TILE_COLS * sizeof(real));
    for (i = 0; i < TILE_ROWS; i++) {
        real sum[TILE_COLS] = {0};
        if (share->begun)
            memcpy(sum, share->begun + i * share->begun_step, sizeof sum);
        for (p = 0; p < k; p++)
            for (j = 0; j < TILE_COLS; j++)
                sum[j] += a[i * a_step + p] * packed[p * TILE_COLS + j];
        for (j = 0; j < TILE_COLS; j++)
            tile[i * step + j] = add ? tile[i * step + j] + sum[j] : sum[j];
    }
}

static void multiply_and_finish(int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                ptrdiff_t b_step, const asked_rows *ask, const finished_rows *finish,
                                ptrdiff_t row_at, ptrdiff_t col_at, const real *tile, ptrdiff_t step,
                                int add);

static void multiply_and_pack_a(ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                ptrdiff_t b_step, real *packed, const asked_rows *ask,
                                const finished_rows *finish, ptrdiff_t row_at, ptrdiff_t col_at,
                                real *tile, ptrdiff_t step, int add)
{
    ptrdiff_t p;
    for (p = 0; p < k; p++)
        memcpy(packed + p * TILE_ROWS, a + p * a_step, TILE_ROWS * sizeof(real));
    if (finish)
        multiply_and_finish(1, k, packed, TILE_ROWS, b, b_step, ask, finish, row_at, col_at, tile, step, add);
    else
        multiply_tile(TILE_ROWS, TILE_COLS, 1, k, packed, TILE_ROWS, b, b_step, tile, step, add);
}

static void multiply_and_ask(int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                             ptrdiff_t b_step, const asked_rows *ask, real *tile, ptrdiff_t step,
                             int add)
{
    (void)ask;
    multiply_tile(TILE_ROWS, TILE_COLS, unit, k, a, a_step, b, b_step, tile, step, add);
}

/* One row of a finished tile; added to `before`, unless that is NULL. */
static void finish_row(int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                       ptrdiff_t b_step, const finished_rows *finish, ptrdiff_t row_at,
                       ptrdiff_t col_at, const real *before)
{
    real sums[TILE_COLS];
    const ptrdiff_t at = row_at * finish->step + col_at;
    int j;
    if (before)
        memcpy(sums, before, sizeof sums);
    multiply_tile(1, TILE_COLS, unit, k, a, a_step, b, b_step, sums, TILE_COLS, before != 0);
    for (j = 0; j < TILE_COLS; j++) {
        real one = finish->bias ? sums[j] + finish->bias[col_at + j] : sums[j];
        one = finish->relu && one < 0 ? 0 : one;
        finish->y[at + j] = finish->slope && !(finish->slope[at + j] > 0) ? 0 : one;
    }
}

static void multiply_and_finish(int unit, ptrdiff_t k, const real *a, ptrdiff_t a_step, const real *b,
                                ptrdiff_t b_step, const asked_rows *ask, const finished_rows *finish,
                                ptrdiff_t row_at, ptrdiff_t col_at, const real *tile, ptrdiff_t step,
                                int add)
{
    int i;
    (void)ask;
    for (i = 0; i < TILE_ROWS; i++)
        finish_row(unit, k, a + (unit ? i : i * a_step), a_step, b, b_step, finish, row_at + i, col_at,
                   add ? tile + i * step : 0);
}

static void multiply_and_finish_rows(int rows, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                     const real *b, ptrdiff_t b_step, const finished_rows *finish,
                                     ptrdiff_t row_at, ptrdiff_t col_at)
{
    int i;
    for (i = 0; i < rows; i++)
        finish_row(0, k, a + i * a_step, a_step, b, b_step, finish, row_at + i, col_at, 0);
}

/* a(i, p) = a[i * i_step + p * p_step] */
static void multiply_narrow_by_steps(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t i_step,
                                     ptrdiff_t p_step, const real *b, ptrdiff_t b_step, const real *bias, real *c)
{
    ptrdiff_t i, j, p;
    for (i = 0; i < rows; i++)
        for (j = 0; j < cols; j++) {
            real sum = 0;
            for (p = 0; p < k; p++)
                sum += a[i * i_step + p * p_step] * b[p * b_step + j];
            c[i * cols + j] = bias ? sum + bias[j] : sum;
        }
}

static void multiply_narrow(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                            const real *b, ptrdiff_t b_step, const real *bias, real *c)
{
    multiply_narrow_by_steps(rows, cols, k, a, a_step, 1, b, b_step, bias, c);
}

static void multiply_narrow_turned(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                   ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *c)
{
    multiply_narrow_by_steps(rows, cols, k, a, 1, a_step, b, b_step, NULL, c);
}

#define end_of_sums(cols) (cols)
static void sum_narrow_rows(ptrdiff_t rows, ptrdiff_t cols, const real *a, real *sums)
{
    ptrdiff_t i, j;
    for (j = 0; j < cols; j++) {
        sums[j] = 0;
        for (i = 0; i < rows; i++)
            sums[j] += a[i * cols + j];
    }
}

static real peak_rounds(long long n, real factor)
{
    real sum[12 * TILE_COLS] = {1}, total = 0;
    long long r;
    int i;
    for (r = 0; r < n; r++)
        for (i = 0; i < 12 * LANES_PER_VECTOR; i++)
            sum[i] = sum[i] * factor + factor;
    for (i = 0; i < 12 * LANES_PER_VECTOR; i++)
        total += sum[i];
    return total;
}

static void multiply_row(ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                         const real *b, ptrdiff_t b_step, real *c, int add)
{
    ptrdiff_t j, p;
    for (j = 0; j < cols; j++) {
        real sum = 0;
        for (p = 0; p < k; p++)
            sum += a[p * a_step] * b[p * b_step + j];
        c[j] = add ? c[j] + sum : sum;
    }
}

#define MOST_STREAMED 1 /* tiles read b by neighbouring columns, this does not */
#define STREAMED_ROWS 1
static void multiply_streamed_rows(int rows, int ask, ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t row_step,
                                   ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *c, ptrdiff_t step, int add)
{
    (void)rows, (void)ask, (void)row_step, (void)step;
    multiply_row(cols, k, a, a_step, b, b_step, c, add);
}

static void multiply_column(ptrdiff_t rows, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                            const real *b, real *c)
{
    ptrdiff_t i, p;
    for (i = 0; i < rows; i++) {
        c[i] = 0;
        for (p = 0; p < k; p++)
            c[i] += a[i * a_step + p] * b[p];
    }
}

static void quad_row(ptrdiff_t k, const real *a, const real *b, ptrdiff_t b_step, const real *bias, real *c)
{
    multiply_narrow_by_steps(1, QUAD, k, a, 0, 1, b, b_step, bias, c);
}

static void quad_products(ptrdiff_t rows, ptrdiff_t cols, const real *a, const real *b, real *c)
{
    multiply_narrow_by_steps(rows, cols, 1, a, 1, 0, b, 0, NULL, c);
}

static void quad_row_turned(ptrdiff_t k, const real *a, const real *b, ptrdiff_t b_step, real *c)
{
    int i;
    for (i = 0; i < QUAD; i++)
        multiply_narrow_by_steps(1, 1, k, a, 0, 1, b + i * b_step, 1, NULL, c + i);
}

static void transpose_square(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step)
{
    int i, p;
    for (p = 0; p < 4; p++)
        for (i = 0; i < 4; i++)
            to[p * to_step + i] = from[i * from_step + p];
}

#endif

/* to(p, i) = from(i, p), i < rows, p < cols: the rows of `from` become columns. Squares go through whole
   cache lines of `from` at a time: with rows a power of two apart they would push each other out of
   the cache before they are used up. Strips go along their rows, as memory likes to be read: so few
   fit. */
static ONLY_ONCE void transpose(const real *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t cols,
                                real *to, ptrdiff_t to_step)
{
    const ptrdiff_t line = 64 / sizeof(real);
    ptrdiff_t i, p, q, first = 0, stop;
#ifdef STRIP_ROWS
    for (; cols > 4 && first + STRIP_ROWS <= rows; first += STRIP_ROWS) {
        for (p = 0; p + 4 <= cols; p += 4)
            transpose_strip(from + first * from_step + p, from_step, to + p * to_step + first, to_step);
        for (; p < cols; p++)
#pragma GCC unroll 8
            for (i = first; i < first + STRIP_ROWS; i++)
                to[p * to_step + i] = from[i * from_step + p];
    }
#endif
    for (q = 0; q < cols; q += line) {
        stop = q + line < cols ? q + line : cols;
        for (i = first; i + 4 <= rows; i += 4) {
            for (p = q; p + 4 <= stop; p += 4)
                transpose_square(from + i * from_step + p, from_step, to + p * to_step + i, to_step);
            for (; p < stop; p++) {
                to[p * to_step + i] = from[i * from_step + p];
                to[p * to_step + i + 1] = from[(i + 1) * from_step + p];
                to[p * to_step + i + 2] = from[(i + 2) * from_step + p];
                to[p * to_step + i + 3] = from[(i + 3) * from_step + p];
            }
        }
        for (; i < rows; i++)
            for (p = q; p < stop; p++)
                to[p * to_step + i] = from[i * from_step + p];
    }
}

/* The same by whole vectors of `to`, of as many rows as are whole vectors: how many. */
#if defined(MOST_TURNED) && defined(__AVX512F__)
static ALWAYS_INLINE ptrdiff_t transpose_whole_vectors(const real *from, ptrdiff_t from_step, ptrdiff_t rows,
                                                       ptrdiff_t cols, real *to, ptrdiff_t to_step)
{
    ptrdiff_t first = 0, p;
    for (; first + VECTOR_ROWS <= rows; first += VECTOR_ROWS) {
        for (p = 0; p + 4 <= cols; p += 4)
            transpose_to_vectors(4, from + first * from_step + p, from_step,
                                 to + p * to_step + first, to_step);
        if (p < cols)
            transpose_to_vectors(cols - p, from + first * from_step + p, from_step,
                                 to + p * to_step + first, to_step);
    }
    return first;
}
#else
#define transpose_whole_vectors(from, from_step, rows, cols, to, to_step) ((ptrdiff_t)0)
#endif

/* The same of all rows: faster, but where the L1 cache has fewer ways than a tile has rows and `from`'s rows are a
   multiple of 4 KB apart. */
static ONLY_ONCE void transpose_by_vectors(const real *from, ptrdiff_t from_step, ptrdiff_t rows,
                                           ptrdiff_t cols, real *to, ptrdiff_t to_step)
{
    const ptrdiff_t first = transpose_whole_vectors(from, from_step, rows, cols, to, to_step);
    if (first < rows)
        transpose(from + first * from_step, from_step, rows - first, cols, to + first, to_step);
}

/* The same of SHORT_COLS rows, to rows side by side: a function of its own, for its constants. */
static void transpose_to_short_rows(const real *from, ptrdiff_t from_step, ptrdiff_t cols, real *to)
{
    const ptrdiff_t first = transpose_whole_vectors(from, from_step, SHORT_COLS, cols, to, SHORT_COLS);
    if (first < SHORT_COLS)
        transpose(from + first * from_step, from_step, SHORT_COLS - first, cols, to + first, SHORT_COLS);
}

/* The same of at most a vector's rows and a multiple of four columns, to rows side by side: of `from` a
   vector's rows may be read, and for each row of `to`, one after the other, a vector be written. */
static void transpose_few_rows(const real *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t cols,
                               real *to)
{
#if defined(MOST_TURNED) && defined(__AVX512F__)
    ptrdiff_t p;
    for (p = 0; p < cols; p += 4)
        transpose_to_vectors(4, from + p, from_step, to + p * rows, rows);
#else
    transpose(from, from_step, rows, cols, to, rows);
#endif
}

/* The same in whole squares: up to three rows and columns more than there are may be read, and written. In
   this order (and a square's: row after row of `to`) what is written beyond the end of a row of `to` is
   written over where rows lie side by side. */
static void transpose_squares(const real *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t cols,
                              real *to, ptrdiff_t to_step)
{
    ptrdiff_t i, p;
    for (p = 0; p < cols; p += 4)
        for (i = (rows - 1) & ~(ptrdiff_t)3; i >= 0; i -= 4)
            transpose_square(from + i * from_step + p, from_step, to + p * to_step + i, to_step);
}

#endif
