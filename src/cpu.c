#include "cpu.h"

#define HAS(word, bit) (((word) >> (bit)) & 1u)

int nncore_x86_levels(nncore_cpuid cpuid, nncore_xgetbv xgetbv)
{
    unsigned r[4], one_c, seven_b = 0, extended_c = 0, highest;
    uint64_t xcr0;
    int levels = 0;

    cpuid(0, 0, r);
    highest = r[0];
    cpuid(1, 0, r);
    one_c = r[2];
    if (highest >= 7) {
        cpuid(7, 0, r);
        seven_b = r[1];
    }
    cpuid(0x80000000u, 0, r);
    if (r[0] >= 0x80000001u) {
        cpuid(0x80000001u, 0, r);
        extended_c = r[2];
    }
    /* v2: SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT, LAHF */
    if (!(HAS(one_c, 0) && HAS(one_c, 9) && HAS(one_c, 13) && HAS(one_c, 19) && HAS(one_c, 20) &&
          HAS(one_c, 23) && HAS(extended_c, 0)))
        return 0;
    levels |= 1;
    /* The wider registers count only when the operating system saves them (OSXSAVE, XCR0). */
    xcr0 = HAS(one_c, 27) ? xgetbv() : 0;
    /* v3: AVX, FMA, MOVBE, F16C, BMI1, AVX2, BMI2, LZCNT */
    if (!((xcr0 & 6) == 6 && HAS(one_c, 28) && HAS(one_c, 12) && HAS(one_c, 22) &&
          HAS(one_c, 29) && HAS(seven_b, 3) && HAS(seven_b, 5) && HAS(seven_b, 8) &&
          HAS(extended_c, 5)))
        return levels;
    levels |= 2;
#if !defined(__APPLE__)
    /* v4: AVX-512 F, DQ, CD, BW, VL. Darwin enables this state only at first use. */
    if ((xcr0 & 0xe6) == 0xe6 && HAS(seven_b, 16) && HAS(seven_b, 17) && HAS(seven_b, 28) &&
        HAS(seven_b, 30) && HAS(seven_b, 31))
        levels |= 4;
#endif
    return levels;
}

/* A leaf that describes the caches, one a sub-leaf, until one of type 0: adds what it says of those for data
   (type 1) or for both (3). */
static void caches_in(nncore_cpuid cpuid, unsigned leaf, nncore_caches *caches)
{
    unsigned r[4], sub;
    for (sub = 0; sub < 16; sub++) {
        unsigned type, level, ways;
        cpuid(leaf, sub, r);
        type = r[0] & 31, level = r[0] >> 5 & 7, ways = (r[1] >> 22) + 1;
        if (type == 0)
            break;
        if (type == 1 && level == 1)
            caches->l1_ways = (int)ways;
        if (type != 2 && level == 2) /* ways x partitions x bytes of a line x sets */
            caches->l2_bytes = (long long)ways * ((r[1] >> 12 & 1023) + 1) * ((r[1] & 4095) + 1) *
                               ((long long)r[2] + 1);
    }
}

nncore_caches nncore_x86_caches(nncore_cpuid cpuid)
{
    /* Intel describes its caches in leaf 4, AMD, where TOPOEXT says so, in the same words in leaf
       0x8000001d. */
    nncore_caches caches = {0, 0};
    unsigned r[4];
    cpuid(0, 0, r);
    if (r[0] >= 4)
        caches_in(cpuid, 4, &caches);
    cpuid(0x80000000u, 0, r);
    if (caches.l1_ways == 0 && r[0] >= 0x8000001du) {
        cpuid(0x80000001u, 0, r);
        if (HAS(r[2], 22))
            caches_in(cpuid, 0x8000001du, &caches);
    }
    return caches;
}

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned *r)
{
    __cpuidex((int *)r, (int)leaf, (int)sub);
}
static uint64_t xgetbv0(void)
{
    return _xgetbv(0);
}
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned *r)
{
    __cpuid_count(leaf, sub, r[0], r[1], r[2], r[3]);
}
static uint64_t xgetbv0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}
#endif

int nncore_cpu_levels(void)
{
    return nncore_x86_levels(cpuid, xgetbv0);
}

nncore_caches nncore_cpu_caches(void)
{
    return nncore_x86_caches(cpuid);
}

#else

int nncore_cpu_levels(void)
{
#if defined(__aarch64__) || defined(_M_ARM64)
    return 8;
#else
    return 0;
#endif
}

nncore_caches nncore_cpu_caches(void)
{
    const nncore_caches unknown = {0, 0};
    return unknown;
}

#endif

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *nncore_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#elif defined(_MSC_VER)
    return "msvc " TEXT(_MSC_VER);
#else
    return "unknown";
#endif
}
