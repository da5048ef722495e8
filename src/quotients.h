/* Many quotients at once. */
#ifndef NNCORE_QUOTIENTS_H
#define NNCORE_QUOTIENTS_H

#include "microkernel.h"

#if defined(__AVX512F__) && NNCORE_VECTOR_EXTENSIONS

#if NNCORE_DOUBLE
typedef __m512d lanes;
typedef __mmask8 lane_mask;
#define LANES(does) _mm512_##does##_pd
#define IS_NAN(a) _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q)
#else
typedef __m512 lanes;
typedef __mmask16 lane_mask;
#define LANES(does) _mm512_##does##_ps
#define IS_NAN(a) _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q)
#endif

/* a / b from the processor's estimate of 1 / b, Newton's steps, each of which doubles its 14 bits, and the
   remainder of the quotient that they give (Markstein 1990): the unit that divides is also the one that
   takes roots, and the slowest of all. Rounded as a division is, but for a very few quotients next to the
   middle between two numbers, and where a's last bit is below the smallest normal number: those may be one
   last bit off. (A b above a quarter of the largest number gives 0; no root is as large.) What is no number so
   is divided. Each quotient depends on its own a and b alone. */
static ALWAYS_INLINE lanes quotient(const lanes a, const lanes b)
{
    const lanes one = LANES(set1)(1);
    lanes r = LANES(rcp14)(b), q;
    lane_mask other;
    r = LANES(fmadd)(r, LANES(fnmadd)(b, r, one), r);
#if NNCORE_DOUBLE
    r = LANES(fmadd)(r, LANES(fnmadd)(b, r, one), r);
#endif
    q = LANES(mul)(a, r);
    q = LANES(fmadd)(LANES(fnmadd)(b, q, a), r, q);
    other = IS_NAN(q);
    if (__builtin_expect(other != 0, 0))
        q = LANES(mask_div)(q, other, a, b);
    return q;
}

/* a(i) /= b(i). */
static ALWAYS_INLINE void divide(real *NNCORE_RESTRICT a, const real *NNCORE_RESTRICT b, ptrdiff_t n)
{
    for (; n >= LANES_PER_VECTOR; n -= LANES_PER_VECTOR) {
        LANES(storeu)(a, quotient(LANES(loadu)(a), LANES(loadu)(b)));
        a += LANES_PER_VECTOR, b += LANES_PER_VECTOR;
    }
    if (n > 0) {
        const lane_mask some = (lane_mask)((1 << n) - 1);
        LANES(mask_storeu)(a, some, quotient(LANES(maskz_loadu)(some, a),
                                             LANES(mask_loadu)(LANES(set1)(1), some, b)));
    }
}

#undef LANES
#undef IS_NAN

#else

static inline void divide(real *NNCORE_RESTRICT a, const real *NNCORE_RESTRICT b, ptrdiff_t n)
{
    ptrdiff_t i;
    for (i = 0; i < n; i++)
        a[i] = a[i] / b[i];
}

#endif
#endif
