/* One bug for each sanitizer, committed through nncore's own C: who builds with a sanitizer asks first
   whether it would see them. A library for ctypes. */
#include "microkernel.h"

#include "threads.h"

#include <limits.h>
#include <stdlib.h>

/* Writes one vector beyond the end of a tile. */
void heap_overflow(void)
{
    const int full = (TILE_ROWS - 1) * TILE_COLS + TILE_COLS;
    real *a = calloc(TILE_ROWS, sizeof(real)), *b = calloc(TILE_COLS, sizeof(real));
    real *tile = malloc((size_t)(full - LANES_PER_VECTOR) * sizeof(real));
    multiply_tile(TILE_ROWS, TILE_COLS, 1, 1, a, TILE_ROWS, b, TILE_COLS, tile, TILE_COLS, 0);
    free(a), free(b), free(tile);
}

/* Adds one to the largest integer. */
void undefined(void)
{
    volatile int most = INT_MAX;
    most = most + 1;
}

static long shared;
static int arrived;

/* The two wait for each other first, without a lock or an order of memory: where one is late, the
   pool's own lock would order their writes by chance. */
static void race(void *context, int part)
{
    const double begun = nncore_seconds();
    (void)context, (void)part;
    __atomic_fetch_add(&arrived, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&arrived, __ATOMIC_RELAXED) < 2 && nncore_seconds() < begun + 5)
        continue;
    shared++;
}

/* Two threads of the pool count without a lock. */
void data_race(void)
{
    nncore_parallel(race, 0, 2);
}
