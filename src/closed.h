/* Few columns beside rows that lie side by side: how one becomes the other without leaving the registers. Stored
   row by row, each over what the row before wrote beyond its end, such numbers could not be read by the vector
   until all those stores are out of the queue. microkernel.h includes this. */

#if defined(__AVX512F__) && NNCORE_VECTOR_EXTENSIONS

/* Columns, at most; there are two at least. */
#define MOST_CLOSED 4

#if NNCORE_DOUBLE
#define NOT_BELOW(a, b) _mm512_cmpge_epi64_mask(a, b)
#define ORDINALS ((bits){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define NOT_BELOW(a, b) _mm512_cmpge_epi32_mask(a, b)
#define ORDINALS ((bits){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#endif

/* The lanes that `numbers` names of two to four vectors, counted one vector after the other. */
static ALWAYS_INLINE all_lanes pick_lanes(const int vectors, const vector *of, const bits numbers)
{
    const __m512i which = (__m512i)numbers;
    const lane_mask behind = NOT_BELOW(which, (__m512i)(2 * LANES_PER_VECTOR - (bits){0}));
    const all_lanes before = OF_LANES(permutex2var)((all_lanes)of[0], which, (all_lanes)of[1]);
    if (vectors == 2)
        return before;
    if (vectors == 3)
        return OF_LANES(mask_permutexvar)(before, behind, which, (all_lanes)of[2]);
    return OF_LANES(mask_mov)(before, behind,
                               OF_LANES(permutex2var)((all_lanes)of[2], which, (all_lanes)of[3]));
}

/* Row after row of `cols` columns, the first n numbers of them; pad: and 0 to the end of a vector. */
static ALWAYS_INLINE void close_columns(const int cols, const vector *column, ptrdiff_t n, const int pad, real *to)
{
    int v;
#pragma GCC unroll 4
    for (v = 0; v < cols; v++) {
        const bits at = ORDINALS + v * LANES_PER_VECTOR;
        all_lanes closed;
        if (n <= 0)
            break;
        closed = pick_lanes(cols, column, at % cols * LANES_PER_VECTOR + at / cols);
        if (pad)
            *(loose_vector *)to = FIRST_LANES(n, (vector)closed);
        else if (n >= LANES_PER_VECTOR)
            *(loose_vector *)to = (vector)closed;
        else
            OF_LANES(mask_storeu)(to, lanes_below(n), closed);
        to += LANES_PER_VECTOR;
        n -= LANES_PER_VECTOR;
    }
}

/* The columns of a vector's rows, of which there are n numbers: 0 beyond. */
static ALWAYS_INLINE void open_columns(const int cols, const real *from, ptrdiff_t n, vector *column)
{
    vector closed[MOST_CLOSED];
    int v;
#pragma GCC unroll 4
    for (v = 0; v < cols; v++) {
        closed[v] = (vector)OF_LANES(maskz_loadu)(lanes_below(n), from + v * LANES_PER_VECTOR);
        n -= LANES_PER_VECTOR;
    }
#pragma GCC unroll 4
    for (v = 0; v < cols; v++)
        column[v] = (vector)pick_lanes(cols, closed, ORDINALS * cols + v);
}

#define BY_COLUMNS(cols, function, ...)                                                          \
    do {                                                                                         \
        if (cols == 2)                                                                           \
            function(2, __VA_ARGS__);                                                            \
        else if (cols == 3)                                                                      \
            function(3, __VA_ARGS__);                                                            \
        else                                                                                     \
            function(4, __VA_ARGS__);                                                            \
    } while (0)

#if !NNCORE_DOUBLE
/* (Of doubles a vector holds two rows of four: Zen 4, 2 % slower than half a vector a row.) */
#define QUADS(cols, rows, k) ((cols) >= 2 && (cols) <= MOST_CLOSED && (rows) >= LANES_PER_VECTOR && (k) >= 3)
#define EACH_QUAD(p) _mm512_broadcast_f32x4(_mm_loadu_ps(p))

/* n products added to the sums of sixteen rows. */
static ALWAYS_INLINE void multiply_quads(const ptrdiff_t n, const real *a, ptrdiff_t a_step, const real *b,
                                         ptrdiff_t b_step, vector *sum)
{
    __m512 quads[4];
    int g;
#pragma GCC unroll 4
    for (g = 0; g < 4; g++)
        quads[g] = load_quads(n, a + g * 4 * a_step, a_step);
    /* (The lane is a constant in the source itself: clang wants it so.) */
#define ADD_LANE(q)                                                                              \
    if (q < n) {                                                                                 \
        _Pragma("GCC unroll 4") for (g = 0; g < 4; g++) sum[g] = MULTIPLY_ADD(                   \
            _mm512_permute_ps(quads[g], q * 0x55), EACH_QUAD(b + q * b_step), sum[g]);           \
    }
    ADD_LANE(0)
    ADD_LANE(1)
    ADD_LANE(2)
    ADD_LANE(3)
#undef ADD_LANE
}

static ALWAYS_INLINE void multiply_by_quads_of(const int cols, ptrdiff_t rows, ptrdiff_t k, const real *a,
                                               ptrdiff_t a_step, const real *b, ptrdiff_t b_step, const real *bias,
                                               real *c)
{
    ptrdiff_t p;
    for (; rows >= LANES_PER_VECTOR; rows -= LANES_PER_VECTOR) {
        vector sum[4];
        int g;
#pragma GCC unroll 4
        for (g = 0; g < 4; g++)
            sum[g] = (vector){0};
        for (p = 0; p + 4 <= k; p += 4)
            multiply_quads(4, a + p, a_step, b + p * b_step, b_step, sum);
        if (p < k)
            multiply_quads(k - p, a + p, a_step, b + p * b_step, b_step, sum);
        if (bias)
#pragma GCC unroll 4
            for (g = 0; g < 4; g++)
                sum[g] += (vector)EACH_QUAD(bias);
#pragma GCC unroll 4
        for (g = 0; g < cols; g++) {
            const bits at = ORDINALS + g * LANES_PER_VECTOR;
            *(loose_vector *)(c + g * LANES_PER_VECTOR) =
                cols == 4 ? sum[g] : (vector)pick_lanes(4, sum, at / cols * 4 + at % cols);
        }
        a += LANES_PER_VECTOR * a_step;
        c += LANES_PER_VECTOR * cols;
    }
}

/* As many rows of a narrow result of 2 to MOST_CLOSED columns as are whole vectors of them, as narrow.h has it:
   how many. */
static ONLY_ONCE ptrdiff_t multiply_by_quads(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                             ptrdiff_t a_step, const real *b, ptrdiff_t b_step, const real *bias,
                                             real *c)
{
    BY_COLUMNS(cols, multiply_by_quads_of, rows, k, a, a_step, b, b_step, bias, c);
    return rows / LANES_PER_VECTOR * LANES_PER_VECTOR;
}
#endif

static ALWAYS_INLINE void multiply_closed_of(const int cols, ptrdiff_t rows, ptrdiff_t k, const real *a,
                                             ptrdiff_t a_step, const real *b, real *c)
{
    vector sum[MOST_CLOSED];
    ptrdiff_t i, p;
    int j;
    for (i = 0; i < rows; i += LANES_PER_VECTOR) {
        const lane_mask some = lanes_below(rows - i);
#pragma GCC unroll 4
        for (j = 0; j < cols; j++)
            sum[j] = (vector){0};
        for (p = 0; p < k; p++) {
            const vector row = (vector)OF_LANES(maskz_loadu)(some, a + p * a_step + i);
#pragma GCC unroll 4
            for (j = 0; j < cols; j++)
                sum[j] = MULTIPLY_ADD(row, b[p * cols + j] - (vector){0}, sum[j]);
        }
        close_columns(cols, sum, (rows - i) * cols, 1, c + i * cols);
    }
}

/* c = a^T b, k rows of each, then 0 to the end of a vector; sums as in narrow.h. */
static ONLY_ONCE void multiply_closed(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a, ptrdiff_t a_step,
                                      const real *b, real *c)
{
    BY_COLUMNS(cols, multiply_closed_of, rows, k, a, a_step, b, c);
}

static ALWAYS_INLINE void open_rows_of(const int cols, ptrdiff_t rows, const real *from, real *to, ptrdiff_t to_step)
{
    vector column[MOST_CLOSED];
    ptrdiff_t i;
    int j;
    for (i = 0; i < to_step; i += LANES_PER_VECTOR) {
        open_columns(cols, from + i * cols, (rows - i) * cols, column);
#pragma GCC unroll 4
        for (j = 0; j < cols; j++)
            *(loose_vector *)(to + j * to_step + i) = column[j];
    }
}

/* to(j, i) = from(i, j) of rows side by side, and 0 for i from `rows` to to_step, a multiple of a vector. */
static ONLY_ONCE void open_rows(ptrdiff_t rows, ptrdiff_t cols, const real *from, real *to, ptrdiff_t to_step)
{
    BY_COLUMNS(cols, open_rows_of, rows, from, to, to_step);
}

static ALWAYS_INLINE void close_rows_of(const int cols, ptrdiff_t rows, const real *from, ptrdiff_t from_step,
                                        real *to)
{
    vector column[MOST_CLOSED];
    ptrdiff_t i;
    int j;
    for (i = 0; i < rows; i += LANES_PER_VECTOR) {
#pragma GCC unroll 4
        for (j = 0; j < cols; j++)
            column[j] = *(const loose_vector *)(from + j * from_step + i);
        close_columns(cols, column, (rows - i) * cols, 0, to + i * cols);
    }
}

/* to(i, j) = from(j, i), rows side by side. */
static ONLY_ONCE void close_rows(ptrdiff_t rows, ptrdiff_t cols, const real *from, ptrdiff_t from_step, real *to)
{
    BY_COLUMNS(cols, close_rows_of, rows, from, from_step, to);
}

#else

#define MOST_CLOSED 0
#define multiply_closed(rows, cols, k, a, a_step, b, c) ((void)0)
#define open_rows(rows, cols, from, to, to_step) ((void)0)
#define close_rows(rows, cols, from, from_step, to) ((void)0)

#endif

#ifndef QUADS
#define QUADS(cols, rows, k) 0
#define multiply_by_quads(...) ((ptrdiff_t)0)
#endif
