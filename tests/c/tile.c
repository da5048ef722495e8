/* Tests of microkernel.h, compiled once for each instruction set and number type:
   -DTEST=test_<isa>_<type> -DNNCORE_DOUBLE=0|1 and the instruction set's flags.

   The numbers are small integers, so every sum is exact, in whatever order and with or without fused
   multiply-adds: results are compared for equality. Around what may be written lie guards. */
#include "microkernel.h"

#include "check.h"

#include <stdlib.h>

#define MOST_K 40
#define STEP (TILE_COLS + 3)
#define GUARD ((real)-77)
#define MAX(x, y) ((x) > (y) ? (x) : (y))
#define ROW_LIMIT 100

static unsigned state;

static real small(void)
{
    state = state * 1664525u + 1013904223u;
    return (real)((int)(state >> 24) % 9 - 4);
}

static real *numbers(int n)
{
    real *p = malloc((size_t)n * sizeof(real));
    int i;
    if (!p)
        abort();
    for (i = 0; i < n; i++)
        p[i] = small();
    return p;
}

/* How many columns a call for `cols` may write: up to a whole vector, or the whole tile. */
static int written(int cols)
{
#if NNCORE_VECTOR_EXTENSIONS
    int vectors = (cols + LANES_PER_VECTOR - 1) / LANES_PER_VECTOR;
    if (vectors > 1 && (TILE_VECTORS == 2 || vectors > 2))
        vectors = TILE_VECTORS;
    return vectors * LANES_PER_VECTOR;
#else
    (void)cols;
    return TILE_COLS;
#endif
}

enum { NOTHING, B, A }; /* what a tile also packs */

static void check_tile(int rows, int cols, int k, int unit, int add, int pack, int ask)
{
    /* Exactly as large as the call may read, so that a sanitizer sees one number too many. */
    real *a = numbers(unit ? MAX(k - 1, 0) * (rows + 1) + rows : (rows - 1) * (MOST_K + 1) + MAX(k, 1));
    real *b = numbers(MAX(k - 1, 0) * STEP + TILE_COLS);
    real *packed = numbers(MAX(k, 1) * MAX(TILE_COLS, TILE_ROWS));
    real *tile = numbers((rows + 1) * STEP), *old = numbers((rows + 1) * STEP);
    const int step_a = unit ? rows + 1 : MOST_K + 1;
    const asked_rows rows_of_b = {2, {{b, STEP, TILE_COLS}, {old, STEP + 1, 2}}};
    int i, j, p, wrong = 0, outside = 0, unpacked = 0;

    for (i = 0; i < (rows + 1) * STEP; i++)
        tile[i] = old[i];
    for (i = 0; i < rows; i++)
        for (j = written(cols); j < STEP; j++)
            tile[i * STEP + j] = GUARD;
    for (j = 0; j < STEP; j++)
        tile[rows * STEP + j] = GUARD;
    if (pack == B)
        multiply_and_pack(cols, unit, k, a, step_a, b, STEP, packed, tile, STEP, add);
    else if (pack == A)
        multiply_and_pack_a(k, a, step_a, b, STEP, packed, ask ? &rows_of_b : 0, 0, 0, 0, tile, STEP, add);
    else if (ask)
        multiply_and_ask(unit, k, a, step_a, b, STEP, &rows_of_b, tile, STEP, add);
    else
        multiply_tile(rows, cols, unit, k, a, step_a, b, STEP, tile, STEP, add);
    for (i = 0; i < rows; i++) {
        for (j = 0; j < cols; j++) {
            real sum = add ? old[i * STEP + j] : 0;
            for (p = 0; p < k; p++)
                sum += a[unit ? i + p * step_a : i * step_a + p] * b[p * STEP + j];
            wrong += tile[i * STEP + j] != sum;
        }
        for (j = written(cols); j < STEP; j++)
            outside += tile[i * STEP + j] != GUARD;
    }
    for (j = 0; j < STEP; j++)
        outside += tile[rows * STEP + j] != GUARD;
    for (p = 0; pack == A && p < k; p++)
        for (i = 0; i < rows; i++)
            unpacked += packed[p * TILE_ROWS + i] != a[p * step_a + i];
    if (pack == B)
        for (p = 0; p < k; p++)
            for (j = 0; j < cols; j++)
                unpacked += packed[p * TILE_COLS + j] != b[p * STEP + j];
    CHECK(!wrong && !outside && !unpacked,
          "%d wrong, %d outside, %d unpacked of rows=%d cols=%d k=%d unit=%d add=%d pack=%d "
          "ask=%d", wrong, outside, unpacked, rows, cols, k, unit, add, pack, ask);
    free(a), free(b), free(packed), free(tile), free(old);
}

/* few_rows: 0 for the tile that may ask, add and pack a, else of the one that does not. */
static void check_finish(int few_rows, int k, int unit, int add, int ask, int pack, int has_bias, int relu,
                         int has_slope)
{
    const int rows = few_rows ? few_rows : TILE_ROWS, step_a = unit ? rows + 1 : MOST_K + 1;
    const int row = 2, col = 3, size = (TILE_ROWS + row + 1) * STEP + col;
    real *a = numbers(unit ? MAX(k - 1, 0) * step_a + rows : (rows - 1) * step_a + MAX(k, 1));
    real *b = numbers(MAX(k - 1, 0) * STEP + TILE_COLS), *tile = numbers(TILE_ROWS * STEP);
    real *bias = numbers(col + TILE_COLS), *slope = numbers(size), *y = numbers(size);
    real *packed = numbers(MAX(k, 1) * TILE_ROWS);
    const asked_rows rows_of_b = {2, {{b, STEP, TILE_COLS}, {y, STEP + 1, 2}}};
    const finished_rows finish = {has_bias ? bias : 0, has_slope ? slope : 0, relu, y, STEP};
    int i, j, p, wrong = 0, outside = 0;

    for (i = 0; i < size; i++)
        y[i] = GUARD;
    if (few_rows)
        multiply_and_finish_rows(rows, k, a, step_a, b, STEP, &finish, row, col);
    else if (pack)
        multiply_and_pack_a(k, a, step_a, b, STEP, packed, ask ? &rows_of_b : 0, &finish, row, col, tile, STEP,
                            add);
    else
        multiply_and_finish(unit, k, a, step_a, b, STEP, ask ? &rows_of_b : 0, &finish, row, col,
                            add ? tile : 0, STEP, add);
    for (i = 0; i < size; i++)
        outside += y[i] != GUARD;
    for (i = 0; i < rows; i++)
        for (j = 0; j < TILE_COLS; j++) {
            const int at = (row + i) * STEP + col + j;
            real sum = add ? tile[i * STEP + j] : 0;
            for (p = 0; p < k; p++)
                sum += a[unit ? i + p * step_a : i * step_a + p] * b[p * STEP + j];
            if (has_bias)
                sum += bias[col + j];
            if (relu && sum < 0)
                sum = 0;
            if (has_slope && !(slope[at] > 0))
                sum = 0;
            wrong += y[at] != sum;
            outside -= y[at] != GUARD;
        }
    for (p = 0; pack && p < k; p++)
        for (i = 0; i < rows; i++)
            wrong += packed[p * TILE_ROWS + i] != a[p * step_a + i];
    CHECK(!wrong && !outside,
          "%d wrong, %d outside of rows=%d k=%d unit=%d add=%d ask=%d pack=%d bias=%d relu=%d slope=%d", wrong,
          outside, rows, k, unit, add, ask, pack, has_bias, relu, has_slope);
    free(a), free(b), free(tile), free(bias), free(slope), free(y), free(packed);
}

static void check_row(int cols, int k, int step_a, int add)
{
    const int width = (cols + LANES_PER_VECTOR - 1) / LANES_PER_VECTOR * LANES_PER_VECTOR;
    real *a = numbers(MAX(k - 1, 0) * step_a + 1), *b = numbers(MAX(k, 1) * width);
    real *c = numbers(width), *old = numbers(width);
    int j, p, wrong = 0;

    for (j = 0; j < width; j++)
        c[j] = old[j];
    multiply_row(cols, k, a, step_a, b, width, c, add);
    for (j = 0; j < cols; j++) {
        real sum = add ? old[j] : 0;
        for (p = 0; p < k; p++)
            sum += a[p * step_a] * b[p * width + j];
        wrong += c[j] != sum;
    }
    CHECK(!wrong, "%d wrong of a row of %d, k=%d, step %d, add=%d", wrong, cols, k, step_a, add);
    free(a), free(b), free(c), free(old);
}

static void check_column(int rows, int k)
{
    const int step = k + 2;
    real *a = numbers((rows - 1) * step + MAX(k, 1)), *b = numbers(MAX(k, 1)), *c = numbers(rows);
    int i, p, wrong = 0;

    multiply_column(rows, k, a, step, b, c);
    for (i = 0; i < rows; i++) {
        real sum = 0;
        for (p = 0; p < k; p++)
            sum += a[i * step + p] * b[p];
        wrong += c[i] != sum;
    }
    CHECK(!wrong, "%d wrong of a column of %d, k=%d", wrong, rows, k);
    free(a), free(b), free(c);
}

static void check_transpose(int by_vectors, int rows, int cols)
{
    real *from = numbers((rows - 1) * (cols + 1) + cols), *to = numbers((cols - 1) * (rows + 2) + rows);
    int i, p, wrong = 0;

    (by_vectors ? transpose_by_vectors : transpose)(from, cols + 1, rows, cols, to, rows + 2);
    for (i = 0; i < rows; i++)
        for (p = 0; p < cols; p++)
            wrong += to[p * (rows + 2) + i] != from[i * (cols + 1) + p];
    CHECK(!wrong, "%d wrong of %d x %d transposed", wrong, rows, cols);
    free(from), free(to);
}

static void check_to_short_rows(int cols)
{
    real *from = numbers(SHORT_COLS * cols), *to = numbers(cols * SHORT_COLS);
    int i, p, wrong = 0;

    transpose_to_short_rows(from, cols, cols, to);
    for (i = 0; i < SHORT_COLS; i++)
        for (p = 0; p < cols; p++)
            wrong += to[p * SHORT_COLS + i] != from[i * cols + p];
    CHECK(!wrong, "%d wrong of %d columns, to short rows", wrong, cols);
    free(from), free(to);
}

/* A row of `to` also writes on the next ones. */
static void check_few_rows(int rows, int cols)
{
    real *from = numbers(MAX(rows, LANES_PER_VECTOR) * (cols + 1));
    real *to = numbers(MAX(cols - 1, 0) * rows + MAX(rows, LANES_PER_VECTOR));
    int i, p, wrong = 0;

    transpose_few_rows(from, cols + 1, rows, cols, to);
    for (i = 0; i < rows; i++)
        for (p = 0; p < cols; p++)
            wrong += to[p * rows + i] != from[i * (cols + 1) + p];
    CHECK(!wrong, "%d wrong of few rows, %d x %d, transposed", wrong, rows, cols);
    free(from), free(to);
}

/* Rows of the result side by side: what a square writes beyond one is then written over. */
static void check_squares(int rows, int cols)
{
    real *from = numbers((rows + 3) * SHORT_COLS), *to = numbers((cols + 3) * rows + 4);
    int i, p, wrong = 0;

    transpose_squares(from, SHORT_COLS, rows, cols, to, rows);
    for (i = 0; i < rows; i++)
        for (p = 0; p < cols; p++)
            wrong += to[p * rows + i] != from[i * SHORT_COLS + p];
    CHECK(!wrong, "%d wrong of %d x %d transposed in squares", wrong, rows, cols);
    free(from), free(to);
}

void TEST(void)
{
    static const int depths[] = {0, 1, 2, 7, MOST_K};
    static const int sides[] = {1, 3, 4, 5, 13, 16, 17, 33};
    int rows, cols, d, flags, n, m;

    state = 1;
    for (d = 0; d < 5; d++)
        for (cols = 1; cols <= TILE_COLS; cols++)
            for (flags = 0; flags < 4; flags++) {
                const int k = depths[d], unit = flags & 1, add = flags >> 1;
                for (rows = 1; rows <= TILE_ROWS; rows++)
                    check_tile(rows, cols, k, unit, add, NOTHING, 0);
                check_tile(TILE_ROWS, cols, k, unit, add, B, 0);
                if (cols < TILE_COLS)
                    continue;
                check_tile(TILE_ROWS, cols, k, unit, add, NOTHING, 1);
                if (unit)
                    check_tile(TILE_ROWS, cols, k, 1, add, A, 0), check_tile(TILE_ROWS, cols, k, 1, add, A, 1);
            }
    for (d = 0; d < 5; d++)
        for (flags = 0; flags < 64; flags++) {
            for (n = 0; n <= flags >> 5; n++)
                check_finish(0, depths[d], flags >> 5, flags & 1, flags >> 1 & 1, n, flags >> 2 & 1,
                             flags >> 3 & 1, flags >> 4 & 1);
            if (flags < 8)
                for (n = 1; n <= 3; n++)
                    check_finish(TILE_ROWS / 3 * n, depths[d], 0, 0, 0, 0, flags & 1, flags >> 1 & 1,
                                 flags >> 2);
        }
    for (d = 0; d < 5; d++)
        for (cols = 1; cols <= 9 * LANES_PER_VECTOR && cols <= ROW_LIMIT; cols++)
            for (flags = 0; flags < 4; flags++)
                check_row(cols, depths[d], 1 + 2 * (flags & 1), flags >> 1);
    for (d = 0; d < 5; d++)
        for (cols = 1; cols <= 9 * LANES_PER_VECTOR && cols <= ROW_LIMIT; cols++)
            check_row(cols, depths[d], 0, 0); /* as sums of columns */
    for (rows = 1; rows <= 9; rows++)
        for (n = 0; n <= 2 * MOST_K; n++)
            check_column(rows, n);
    for (n = 0; n < 8; n++)
        for (m = 0; m < 8; m++)
            check_transpose(0, sides[n], sides[m]), check_transpose(1, sides[n], sides[m]);
    for (rows = 1; rows <= LANES_PER_VECTOR; rows++)
        for (cols = 0; cols <= 2 * SHORT_COLS; cols += 4)
            check_few_rows(rows, cols);
    for (cols = 1; cols <= SHORT_COLS; cols++)
        check_to_short_rows(cols);
    for (rows = 1; rows <= SHORT_COLS; rows++)
        for (cols = 1; cols <= SHORT_COLS; cols++)
            check_squares(rows, cols);
    CHECK(peak_rounds(3, 0) == 0, "0 * x + 0 is not 0");
}
