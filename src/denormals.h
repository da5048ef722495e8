/* Numbers nearer to 0 than the smallest normal one (1.2e-38, 2.2e-308) count as 0 while a plan runs, as in
   XLA and TensorFlow: processors take several times as long for them, and training is full of them (a
   confident softmax, the moments of a unit that is dead). Elsewhere nothing changes. */
#ifndef NNCORE_DENORMALS_H
#define NNCORE_DENORMALS_H

/* How this thread's arithmetic treats them; where it cannot be set, 0. */
typedef unsigned long long float_mode;

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#define get_float_mode() ((float_mode)_mm_getcsr())
#define set_float_mode(mode) _mm_setcsr((unsigned)(mode))
#define FLUSHING 0x8040u /* results, and what is read */
#elif defined(__aarch64__)
static inline float_mode get_float_mode(void)
{
    float_mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void set_float_mode(float_mode mode)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(mode) : "memory");
}
#define FLUSHING (1u << 24)
#else
#define get_float_mode() ((float_mode)0)
#define set_float_mode(mode) ((void)(mode))
#define FLUSHING 0u
#endif

/* Both return the mode before, for set_float_mode(). */
static inline float_mode keep_denormals(void)
{
    const float_mode before = get_float_mode();
    set_float_mode(before & ~(float_mode)FLUSHING);
    return before;
}

static inline float_mode flush_denormals(void)
{
    const float_mode before = get_float_mode();
    set_float_mode(before | FLUSHING);
    return before;
}

#endif
