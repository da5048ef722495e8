/* Softmax and its cross-entropy over short rows. STRIP rows at a time are turned: each of their columns is a
   few vectors then, whatever the instruction set, and nothing runs along a row. */
#ifndef NNCORE_STRIPS_H
#define NNCORE_STRIPS_H

#include "microkernel.h"

#define STRIP SHORT_COLS /* rows of up to as many numbers */

/* Rows at once: they lie on the stack, and threads may have little. */
#define STRIPS_ROWS 32
#define STRIPS_NUMBERS (STRIPS_ROWS * STRIP)

#if NNCORE_VECTOR_EXTENSIONS
#define STRIP_STEP LANES_PER_VECTOR
#define ALIGNED_TO_LINE __attribute__((aligned(64)))
#else
/* The same functions, a number at a time. */
typedef real vector, loose_vector;
#define STRIP_STEP 1
#define ALWAYS_INLINE inline
#define ALIGNED_TO_LINE
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define SAME(a, b) ((real)((a) == (b)))
#endif

typedef char strips_are_whole[STRIPS_ROWS % STRIP == 0 && STRIP % STRIP_STEP == 0 ? 1 : -1];

/* What is known of up to STRIPS_ROWS rows. Strips lie one after the other, columns * STRIP numbers each. */
typedef struct {
    real distances[STRIPS_NUMBERS]; /* from the row's largest number */
    real e[STRIPS_NUMBERS];         /* e^distance */
    real targets[STRIPS_NUMBERS];   /* or a label a row */
    real sums[STRIPS_ROWS], totals[STRIPS_ROWS], losses[STRIPS_ROWS];
} ALIGNED_TO_LINE Strips;

#define PART(p) (*(loose_vector *)(p))
#define READ(p) ((vector) * (const loose_vector *)(p))

/* columns(j, i) -= the largest of row i; a NaN stays one. */
static void strip_distances(ptrdiff_t cols, real *columns)
{
    const real *end = columns + STRIP;
    ptrdiff_t j;
    for (; columns < end; columns += STRIP_STEP) {
        vector largest = READ(columns);
        for (j = 1; j < cols; j++)
            largest = LARGER(READ(columns + j * STRIP), largest);
        for (j = 0; j < cols; j++)
            PART(columns + j * STRIP) -= largest;
    }
}

/* sums(i) = sum_j columns(j, i) */
static void strip_sums(ptrdiff_t cols, const real *columns, real *sums)
{
    const real *end = columns + STRIP;
    ptrdiff_t j;
    for (; columns < end; columns += STRIP_STEP, sums += STRIP_STEP) {
        vector sum = READ(columns);
        for (j = 1; j < cols; j++)
            sum += READ(columns + j * STRIP);
        PART(sums) = sum;
    }
}

/* columns(j, i) /= sums(i) */
static void strip_shares(ptrdiff_t cols, real *columns, const real *sums)
{
    const real *end = columns + STRIP;
    ptrdiff_t j;
    for (; columns < end; columns += STRIP_STEP, sums += STRIP_STEP) {
        const vector inverse = 1 / READ(sums);
        for (j = 0; j < cols; j++)
            PART(columns + j * STRIP) *= inverse;
    }
}

/* With targets t(j, i), here targets(j, i) keep + add, or 1 where label(i) = j and else 0:
   totals(i) = sum_j t(j, i), losses(i) = sum_j t(j, i) distances(j, i), where -infinity counts as the smallest
   number (times a target of 0 it must be 0), and e(j, i) = factor (e(j, i) totals(i) / sums(i) - t(j, i)). */
static ALWAYS_INLINE void strip_losses_of(const int labels, ptrdiff_t cols, Strips *s, ptrdiff_t at,
                                          real keep, real add, real factor)
{
    const real *distances = s->distances + at * cols;
    const real *targets = s->targets + (labels ? at : at * cols);
    real *e = s->e + at * cols;
    const ptrdiff_t end = at + STRIP;
    const vector lowest = -REAL_MAX - (vector){0};
    ptrdiff_t j;
    for (; at < end; at += STRIP_STEP) {
        vector total = 1 - (vector){0}, loss = {0}, share;
        if (!labels) {
            total = (vector){0};
            for (j = 0; j < cols; j++)
                total += READ(targets + j * STRIP) * keep + add;
        }
        share = total / READ(s->sums + at);
        for (j = 0; j < cols; j++) {
            const vector target = labels ? SAME(READ(targets), (real)j - (vector){0})
                                         : READ(targets + j * STRIP) * keep + add;
            loss += target * LARGER(READ(distances + j * STRIP), lowest);
            PART(e + j * STRIP) = (READ(e + j * STRIP) * share - target) * factor;
        }
        PART(s->totals + at) = total;
        PART(s->losses + at) = loss;
        distances += STRIP_STEP;
        targets += STRIP_STEP;
        e += STRIP_STEP;
    }
}

static void strip_losses(int labels, ptrdiff_t cols, Strips *s, ptrdiff_t at, real keep, real add,
                         real factor)
{
    if (labels)
        strip_losses_of(1, cols, s, at, keep, add, factor);
    else
        strip_losses_of(0, cols, s, at, keep, add, factor);
}

#endif
