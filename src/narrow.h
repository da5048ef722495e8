/* The matmul of a narrow result, and the sums of its columns, with vectors of one width: microkernel.h
   includes this once for each. It says NARROW(name), the name for this width; NARROW_BYTES; and
   NARROW_ADD(a, b, c), a multiply-add of such vectors. */

typedef real NARROW(vector) __attribute__((vector_size(NARROW_BYTES)));
typedef real NARROW(loose) __attribute__((vector_size(NARROW_BYTES), aligned(sizeof(real)), may_alias));

static ALWAYS_INLINE void NARROW(rows)(const int rows, const int unit, ptrdiff_t k, const real *a,
                                       ptrdiff_t a_step, const real *b, ptrdiff_t b_step,
                                       const NARROW(vector) bias, real *c, ptrdiff_t cols)
{
    NARROW(vector) sum[NARROW_ROWS];
    ptrdiff_t p;
    int i;
#pragma GCC unroll 16
    for (i = 0; i < rows; i++)
        sum[i] = (NARROW(vector)){0};
    if (!unit && rows > 8) {
        /* Four rows from each address: with 0, 1, 2 and 3 steps. An address a row would need more registers
           than there are, and the compiler does not see that by itself. */
        const real *a4 = a + 4 * a_step, *a8 = a + 8 * a_step, *a12 = a + 12 * a_step;
        ptrdiff_t three = 3 * a_step;
        __asm__("" : "+r"(a4), "+r"(a8), "+r"(a12), "+r"(three));
        for (p = 0; p < k; p++) {
            const NARROW(vector) row = *(const NARROW(loose) *)b;
            b += b_step;
#pragma GCC unroll 16
            for (i = 0; i < rows; i++) {
                const real *base = i < 4 ? a : i < 8 ? a4 : i < 12 ? a8 : a12;
                const real one = base[p + (i % 4 == 3 ? three : i % 4 * a_step)];
                sum[i] = NARROW_ADD(one - (NARROW(vector)){0}, row, sum[i]);
            }
        }
    } else {
        for (p = 0; p < k; p++) {
            const NARROW(vector) row = *(const NARROW(loose) *)b;
            b += b_step;
#pragma GCC unroll 16
            for (i = 0; i < rows; i++) {
                const real one = unit ? a[i] : a[i * a_step];
                sum[i] = NARROW_ADD(one - (NARROW(vector)){0}, row, sum[i]);
            }
            a += unit ? a_step : 1;
        }
    }
#pragma GCC unroll 16
    for (i = 0; i < rows; i++)
        *(NARROW(loose) *)(c + i * cols) = sum[i] + bias;
}

#define NARROW_CASE(count)                                                                       \
    for (; rows >= count; rows -= count, a += count * (unit ? 1 : a_step), c += count * cols)    \
        NARROW(rows)(count, unit, k, a, a_step, b, b_step, added, c, cols);

static ALWAYS_INLINE void NARROW(all_rows)(ptrdiff_t rows, ptrdiff_t cols, const int unit, ptrdiff_t k,
                                           const real *a, ptrdiff_t a_step, const real *b,
                                           ptrdiff_t b_step, const NARROW(vector) added, real *c)
{
#if NARROW_ROWS > 8
    if (unit || FAR_ROWS(NARROW_BYTES) > 8) {
        NARROW_CASE(16)
    }
#endif
    NARROW_CASE(8)
    NARROW_CASE(4)
    NARROW_CASE(2)
    NARROW_CASE(1)
}

static ONLY_ONCE void NARROW(multiply)(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                       ptrdiff_t a_step, const real *b, ptrdiff_t b_step,
                                       const real *bias, real *c)
{
    NARROW(vector) added = {0};
    if (bias)
        added = *(const NARROW(loose) *)bias;
    NARROW(all_rows)(rows, cols, 0, k, a, a_step, b, b_step, added, c);
}

static ONLY_ONCE void NARROW(multiply_turned)(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t k, const real *a,
                                              ptrdiff_t a_step, const real *b, ptrdiff_t b_step, real *c)
{
    NARROW(all_rows)(rows, cols, 1, k, a, a_step, b, b_step, (NARROW(vector)){0}, c);
}

static void NARROW(sum_rows)(ptrdiff_t rows, ptrdiff_t cols, const real *a, real *sums)
{
    NARROW(vector) sum = {0};
    for (; rows > 0; rows--, a += cols)
        sum += *(const NARROW(loose) *)a;
    *(loose_vector *)sums = FIRST_LANES(cols, NARROW_WHOLE(sum));
}

#undef NARROW_CASE
#undef NARROW
#undef NARROW_BYTES
#undef NARROW_ADD
#undef NARROW_WHOLE
