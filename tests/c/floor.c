/* Tests of the C parts, without Python: CPU detection, the thread pool, and the register tile of each
   instruction set that this processor has (tile.c, linked for those named in TILES).

   Prints a line for each part and "failures: N"; the exit status is 0 when N is. */
#include "check.h"
#include "cpu.h"
#include "threads.h"

#include <string.h>

#if defined(_WIN32)
#include <windows.h>
typedef HANDLE thread_type;
#define THREAD_FUNCTION(name) static DWORD WINAPI name(LPVOID argument)
#define THREAD_END return 0
#define thread_run(t, f, a) ((*(t) = CreateThread(NULL, 0, f, a, 0, NULL)) != NULL)
#define thread_join(t) (WaitForSingleObject(t, INFINITE), CloseHandle(t))
#else
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
typedef pthread_t thread_type;
#define THREAD_FUNCTION(name) static void *name(void *argument)
#define THREAD_END return NULL
#define thread_run(t, f, a) (pthread_create(t, NULL, f, a) == 0)
#define thread_join(t) pthread_join(t, NULL)
#endif

int failures = 0;

/* --- CPU detection ------------------------------------------------------------------------- */

#define BIT(n) (1u << (n))
#define V2_ONE_C (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))
#define OSXSAVE BIT(27)
#define V3_ONE_C (V2_ONE_C | OSXSAVE | BIT(28) | BIT(12) | BIT(22) | BIT(29))
#define V3_SEVEN_B (BIT(3) | BIT(5) | BIT(8))
#define V4_SEVEN_B (V3_SEVEN_B | BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31))
#define LAHF BIT(0)
#define LZCNT BIT(5)
#if defined(__APPLE__)
#define ALL 3 /* AVX-512 is not used there */
#else
#define ALL 7
#endif

typedef struct {
    unsigned highest, one_c, seven_b, highest_extended, extended_c;
    uint64_t xcr0;
    /* Of the leaf that describes caches, and of its sub-leaves up to the first of type 0: */
    unsigned cache_leaf, type_and_level[4], ways[4];
} processor;

static processor now;
static int asked_xcr0;

static void fake_cpuid(unsigned leaf, unsigned sub, unsigned *r)
{
    memset(r, 0, 4 * sizeof *r);
    CHECK(sub == 0 || (now.cache_leaf && leaf == now.cache_leaf && sub < 4), "leaf %#x, sub-leaf %u", leaf, sub);
    CHECK(leaf <= now.highest || (leaf >= 0x80000000u && leaf <= now.highest_extended) ||
              leaf == 0x80000000u || leaf <= 1,
          "leaf %#x is beyond the processor's last", leaf);
    if (leaf == 0)
        r[0] = now.highest;
    else if (leaf == 1)
        r[2] = now.one_c;
    else if (leaf == 7)
        r[1] = now.seven_b;
    else if (leaf == 0x80000000u)
        r[0] = now.highest_extended;
    else if (leaf == 0x80000001u)
        r[2] = now.extended_c;
    else if (leaf == now.cache_leaf) {
        r[0] = now.type_and_level[sub];
        r[1] = (now.ways[sub] - 1) << 22 | 1 << 12 | 63; /* and two partitions, lines of 64 bytes */
        r[2] = 1023;                                     /* 1,024 sets */
    }
}

static uint64_t fake_xgetbv(void)
{
    CHECK(now.one_c & OSXSAVE, "xgetbv without OSXSAVE ends the process");
    asked_xcr0 = 1;
    return now.xcr0;
}

static int levels(processor p)
{
    now = p;
    return nncore_x86_levels(fake_cpuid, fake_xgetbv);
}

#define TOPOEXT BIT(22)
#define CACHE(type, level) ((type) | (level) << 5 | BIT(8))

static int l1_ways(processor p)
{
    now = p;
    return nncore_x86_caches(fake_cpuid).l1_ways;
}

static long long l2_bytes(processor p)
{
    now = p;
    return nncore_x86_caches(fake_cpuid).l2_bytes;
}

static void test_caches(void)
{
    /* Instructions (type 2) before data; a level 2 for both (3), then none. */
    const processor intel = {.highest = 13, .highest_extended = 0x80000008u, .cache_leaf = 4,
                             .type_and_level = {CACHE(2, 1), CACHE(1, 1), CACHE(3, 2)},
                             .ways = {8, 12, 20}};
    const processor amd = {.highest = 13, .highest_extended = 0x80000021u, .extended_c = TOPOEXT,
                           .cache_leaf = 0x8000001du,
                           .type_and_level = {CACHE(1, 1), CACHE(2, 1), CACHE(3, 2)},
                           .ways = {8, 4, 16}};
    processor p;

    CHECK(l1_ways(intel) == 12, "Intel: %d", l1_ways(intel));
    CHECK(l1_ways(amd) == 8, "AMD: %d", l1_ways(amd));
    CHECK(l2_bytes(intel) == 20LL * 2 * 64 * 1024, "Intel's level 2: %lld", l2_bytes(intel));
    CHECK(l2_bytes(amd) == 16LL * 2 * 64 * 1024, "AMD's level 2: %lld", l2_bytes(amd));
    p = intel, p.type_and_level[2] = CACHE(1, 2);
    CHECK(l2_bytes(p) == l2_bytes(intel), "level 2 for data alone: %lld", l2_bytes(p));
    p = intel, p.type_and_level[2] = CACHE(2, 2);
    CHECK(l2_bytes(p) == 0, "level 2 for instructions: %lld", l2_bytes(p));
    p = intel, p.type_and_level[2] = CACHE(3, 3);
    CHECK(l2_bytes(p) == 0, "no level 2: %lld", l2_bytes(p));
    p = intel, p.highest = 3;
    CHECK(l1_ways(p) == 0, "without leaf 4: %d", l1_ways(p));
    p = intel, p.type_and_level[1] = CACHE(1, 2);
    CHECK(l1_ways(p) == 0, "no level 1 for data: %d", l1_ways(p));
    p = intel, p.type_and_level[0] = 0;
    CHECK(l1_ways(p) == 0, "nothing told: %d", l1_ways(p));
    p = amd, p.extended_c = 0;
    CHECK(l1_ways(p) == 0, "without TOPOEXT: %d", l1_ways(p));
    p = amd, p.highest_extended = 0x8000001cu;
    CHECK(l1_ways(p) == 0, "without leaf 0x8000001d: %d", l1_ways(p));
    CHECK(l2_bytes(p) == 0, "nothing told of level 2: %lld", l2_bytes(p));
    printf("caches: done; this processor's: L1 of %d ways, L2 of %lld bytes\n",
           nncore_cpu_caches().l1_ways, nncore_cpu_caches().l2_bytes);
}

static void test_cpu(void)
{
    static const unsigned v4_bits[] = {16, 17, 28, 30, 31}, v3_seven[] = {3, 5, 8};
    static const unsigned v3_one[] = {12, 22, 28, 29}, v2_one[] = {0, 9, 13, 19, 20, 23};
    static const unsigned xcr0_avx[] = {1, 2}, xcr0_avx512[] = {5, 6, 7};
    const processor whole = {13, V3_ONE_C, V4_SEVEN_B, 0x80000008u, LAHF | LZCNT, 0xe7,
                             0, {0}, {0}};
    processor p;
    unsigned i;

    CHECK(levels(whole) == ALL, "%d", levels(whole));
    CHECK(asked_xcr0, "XCR0 was not asked for");
    /* Each bit that AVX-512 needs, absent: AVX2 remains. */
    for (i = 0; i < 5; i++) {
        p = whole, p.seven_b &= ~BIT(v4_bits[i]);
        CHECK(levels(p) == 3, "without bit %u of leaf 7: %d", v4_bits[i], levels(p));
    }
    /* The processor has AVX-512, the operating system does not save its registers. */
    for (i = 0; i < 3; i++) {
        p = whole, p.xcr0 &= ~(uint64_t)BIT(xcr0_avx512[i]);
        CHECK(levels(p) == 3, "without bit %u of XCR0: %d", xcr0_avx512[i], levels(p));
    }
    /* Each bit that AVX2 needs, absent: SSE4.2 remains, and never AVX-512 without AVX2. */
    for (i = 0; i < 3; i++) {
        p = whole, p.seven_b &= ~BIT(v3_seven[i]);
        CHECK(levels(p) == 1, "without bit %u of leaf 7: %d", v3_seven[i], levels(p));
    }
    for (i = 0; i < 4; i++) {
        p = whole, p.one_c &= ~BIT(v3_one[i]);
        CHECK(levels(p) == 1, "without bit %u of leaf 1: %d", v3_one[i], levels(p));
    }
    for (i = 0; i < 2; i++) {
        p = whole, p.xcr0 &= ~(uint64_t)BIT(xcr0_avx[i]);
        CHECK(levels(p) == 1, "without bit %u of XCR0: %d", xcr0_avx[i], levels(p));
    }
    p = whole, p.extended_c &= ~LZCNT;
    CHECK(levels(p) == 1, "without LZCNT: %d", levels(p));
    p = whole, p.one_c &= ~OSXSAVE;
    CHECK(levels(p) == 1, "without OSXSAVE: %d", levels(p));
    p = whole, p.highest = 6;
    CHECK(levels(p) == 1, "without leaf 7: %d", levels(p));
    /* Each bit that the baseline needs, absent: nothing. */
    for (i = 0; i < 6; i++) {
        p = whole, p.one_c &= ~BIT(v2_one[i]);
        CHECK(levels(p) == 0, "without bit %u of leaf 1: %d", v2_one[i], levels(p));
    }
    p = whole, p.highest_extended = 0x80000000u;
    CHECK(levels(p) == 0, "without the extended leaf: %d", levels(p));
    p = whole, p.extended_c &= ~LAHF;
    CHECK(levels(p) == 0, "without LAHF: %d", levels(p));
    printf("CPU detection: done; this processor: %d, compiled by %s\n", nncore_cpu_levels(),
           nncore_compiler());
}

/* --- the thread pool ----------------------------------------------------------------------- */

#define MOST_PARTS 9
#define ROUNDS 2000

typedef struct {
    int done[MOST_PARTS]; /* each part writes its own number only */
    int parts;
    long total; /* of nested work */
} work;

/* Who gets no help does the parts alone. */
static void in_parts(nncore_part part, void *context, int parts)
{
    int i;
    if (!nncore_parallel(part, context, parts))
        for (i = 0; i < parts; i++)
            part(context, i);
}

static void count(void *context, int part)
{
    ((work *)context)->done[part]++;
}

static void nest(void *context, int part)
{
    work inner = {{0}, 0, 0};
    int i;
    in_parts(count, &inner, 3);
    for (i = 0; i < 3; i++)
        ((work *)context)->done[part] += inner.done[i];
}

/* Parts that go to who comes first: up to part `parts - 1`, which asks for an end. */
static int count_shared(void *context, int thread, int part)
{
    work *w = context;
    w->done[part]++;
    return part == w->parts - 1 || thread < 0 || thread > 2;
}

static void in_turn(work *w, int parts, int most)
{
    int i;
    if (!nncore_share(count_shared, w, parts, most))
        for (i = 0; i < parts; i++)
            if (count_shared(w, 0, i))
                return;
}

static int all_are(const work *w, int parts, int value)
{
    int i;
    for (i = 0; i < MOST_PARTS; i++)
        if (w->done[i] != (i < parts ? value : 0))
            return 0;
    return 1;
}

THREAD_FUNCTION(caller)
{
    work *w = argument;
    int round;
    for (round = 0; round < ROUNDS; round++)
        in_parts(count, w, w->parts);
    THREAD_END;
}

static void test_threads(void)
{
    work one = {{0}, 0, 0}, nested = {{0}, 0, 0}, each[8];
    thread_type callers[8];
    int i, parts, round;
    double before = nncore_seconds();

    CHECK(nncore_cpu_count() >= 1 && nncore_cpu_count() <= NNCORE_MAX_THREADS, "%d",
          nncore_cpu_count());
    in_parts(count, &one, 1);
    in_parts(count, &one, 0);
    CHECK(all_are(&one, 1, 1), "one part");
    CHECK(nncore_pool_size() == 0, "%d threads before work for two", nncore_pool_size());
    for (parts = 2; parts <= MOST_PARTS; parts++) {
        work w = {{0}, 0, 0};
        for (round = 0; round < ROUNDS / MOST_PARTS; round++)
            in_parts(count, &w, parts);
        CHECK(all_are(&w, parts, ROUNDS / MOST_PARTS), "%d parts", parts);
        CHECK(nncore_pool_size() <= parts - 1, "%d threads for %d parts", nncore_pool_size(), parts);
    }
    CHECK(nncore_pool_size() >= 1, "no thread was started");
    for (round = 0; round < ROUNDS; round++) {
        work w = {{0}, 4, 0}, all = {{0}, 0, 0};
        CHECK(nncore_share(count_shared, &w, MOST_PARTS, 1) == 0 && all_are(&w, 4, 0), "one thread");
        in_turn(&w, MOST_PARTS, 3);
        for (i = 0; i < 4; i++)
            CHECK(w.done[i] == 1, "part %d of those before the end", i);
        in_turn(&all, MOST_PARTS, 3);
        CHECK(all_are(&all, MOST_PARTS, 1), "shared parts");
    }
    in_parts(nest, &nested, 4);
    CHECK(all_are(&nested, 4, 3), "work that asks for help in its parts");
    for (i = 0; i < 8; i++) {
        memset(&each[i], 0, sizeof each[i]);
        each[i].parts = 2 + i % 4;
        if (!thread_run(&callers[i], caller, &each[i])) {
            CHECK(0, "thread %d of the test could not be started", i);
            return;
        }
    }
    for (i = 0; i < 8; i++)
        thread_join(callers[i]);
    for (i = 0; i < 8; i++)
        CHECK(all_are(&each[i], each[i].parts, ROUNDS), "caller %d of 8 at once", i);
    CHECK(nncore_pool_size() <= MOST_PARTS - 1, "%d threads", nncore_pool_size());
    nncore_set_num_threads(3);
    CHECK(nncore_get_num_threads() == 3, "%d", nncore_get_num_threads());
    CHECK(nncore_seconds() >= before, "the clock went back");
    printf("thread pool: done, %d threads\n", nncore_pool_size());
}

#if !defined(_WIN32)
static void test_fork(void)
{
    work w = {{0}, 0, 0};
    int status = -1;
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        int none = nncore_pool_size() == 0;
        in_parts(count, &w, 3);
        _exit(none && all_are(&w, 3, 1) ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "status %d", status);
    in_parts(count, &w, 3);
    CHECK(all_are(&w, 3, 1), "the parent, after a fork");
    printf("fork: done\n");
}
#endif

/* --- the register tile --------------------------------------------------------------------- */

#define TILE(isa, bit) void test_##isa##_f32(void), test_##isa##_f64(void);
TILES
#undef TILE

#define TILE(isa, bit)                                                                           \
    if (!(bit) || nncore_cpu_levels() & (bit)) {                                                 \
        test_##isa##_f32();                                                                      \
        test_##isa##_f64();                                                                      \
        printf("tile " #isa ": done\n");                                                         \
    } else {                                                                                     \
        printf("tile " #isa ": this processor does not have it\n");                              \
    }

int main(void)
{
    test_cpu();
    test_caches();
    test_threads();
#if !defined(_WIN32)
    test_fork();
#endif
    TILES
    printf("failures: %d\n", failures);
    return failures != 0;
}
