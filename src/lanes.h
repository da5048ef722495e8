/* Numbers by the vector, for loops of which the compiler would not make what is wanted.

   `lanes` is WIDTH numbers, and arithmetic of it theirs, each by itself. Elsewhere it is one number, and the
   compiler makes vectors of the loop. So no ?:, no comparison and no number assigned: these compile where it is one
   number, and not where it is many. */
#ifndef NNCORE_LANES_H
#define NNCORE_LANES_H

#include "microkernel.h"

#if defined(__AVX512F__) && NNCORE_VECTOR_EXTENSIONS

#define WIDTH LANES_PER_VECTOR
typedef all_lanes lanes;
#if NNCORE_DOUBLE
#define IS_NAN(a) _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q)
#else
#define IS_NAN(a) _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q)
#endif

/* The first n <= WIDTH numbers of p; the lanes beyond them are 0. */
static ALWAYS_INLINE lanes take_lanes(const real *p, ptrdiff_t n)
{
    return n == WIDTH ? OF_LANES(loadu)(p) : OF_LANES(maskz_loadu)(lanes_below(n), p);
}

static ALWAYS_INLINE void put_lanes(real *p, lanes a, ptrdiff_t n)
{
    if (n == WIDTH)
        OF_LANES(storeu)(p, a);
    else
        OF_LANES(mask_storeu)(p, lanes_below(n), a);
}

/* c + a b with one rounding. */
static ALWAYS_INLINE lanes fused_lanes(real a, lanes b, lanes c)
{
    return OF_LANES(fmadd)(OF_LANES(set1)(a), b, c);
}

/* a > b ? a : b */
static ALWAYS_INLINE lanes larger_lanes(lanes a, lanes b)
{
    return OF_LANES(max)(a, b);
}

static ALWAYS_INLINE lanes root(lanes a)
{
    return OF_LANES(sqrt)(a);
}

/* a / b from the processor's estimate of 1 / b, Newton's steps, each of which doubles its 14 bits, and the
   remainder of the quotient that they give (Markstein 1990): the unit that divides is also the one that
   takes roots, and the slowest of all. Rounded as a division is, but for a very few quotients next to the
   middle between two numbers, and where a's last bit is below the smallest normal number: those may be one
   last bit off. (A b above a quarter of the largest number gives 0; no root is as large.) What is no number so
   is divided. */
static ALWAYS_INLINE lanes quotient(lanes a, lanes b)
{
    const lanes one = OF_LANES(set1)(1);
    lanes r = OF_LANES(rcp14)(b), q;
    lane_mask other;
    r = OF_LANES(fmadd)(r, OF_LANES(fnmadd)(b, r, one), r);
#if NNCORE_DOUBLE
    r = OF_LANES(fmadd)(r, OF_LANES(fnmadd)(b, r, one), r);
#endif
    q = OF_LANES(mul)(a, r);
    q = OF_LANES(fmadd)(OF_LANES(fnmadd)(b, q, a), r, q);
    other = IS_NAN(q);
    if (__builtin_expect(other != 0, 0))
        q = OF_LANES(mask_div)(q, other, a, b);
    return q;
}

#undef IS_NAN

#else

#define WIDTH 1
typedef real lanes;
#define take_lanes(p, n) (*(p))
#define put_lanes(p, a, n) (*(p) = (a))
#define fused_lanes(a, b, c) real_fused(a, b, c)
#define larger_lanes(a, b) ((a) > (b) ? (a) : (b))
#define root(a) real_sqrt(a)
#define quotient(a, b) ((a) / (b))

#endif
#endif
