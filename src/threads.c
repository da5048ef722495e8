#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for sched_getaffinity and CPU_COUNT */
#endif
#include "threads.h"

#if defined(_WIN32)

#include <windows.h>

typedef SRWLOCK lock_type;
typedef CONDITION_VARIABLE condition_type;
#define LOCK_INIT SRWLOCK_INIT
#define CONDITION_INIT CONDITION_VARIABLE_INIT
#define lock_take(l) AcquireSRWLockExclusive(l)
#define lock_try(l) TryAcquireSRWLockExclusive(l)
#define lock_give(l) ReleaseSRWLockExclusive(l)
#define condition_wait(c, l) SleepConditionVariableSRW(c, l, INFINITE, 0)
#define condition_wake_all(c) WakeAllConditionVariable(c)

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

typedef pthread_mutex_t lock_type;
typedef pthread_cond_t condition_type;
#define LOCK_INIT PTHREAD_MUTEX_INITIALIZER
#define CONDITION_INIT PTHREAD_COND_INITIALIZER
#define lock_take(l) pthread_mutex_lock(l)
#define lock_try(l) (pthread_mutex_trylock(l) == 0)
#define lock_give(l) pthread_mutex_unlock(l)
#define condition_wait(c, l) pthread_cond_wait(c, l)
#define condition_wake_all(c) pthread_cond_broadcast(c)

#endif

#if defined(__GNUC__) || defined(__clang__)
#define atomic_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define atomic_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define atomic_decrement(p) __atomic_fetch_sub(p, 1, __ATOMIC_ACQ_REL)
#else
#define atomic_load(p) InterlockedCompareExchange((volatile long *)(p), 0, 0)
#define atomic_store(p, v) InterlockedExchange((volatile long *)(p), (v))
#define atomic_decrement(p) InterlockedExchangeAdd((volatile long *)(p), -1)
#endif

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
#include <immintrin.h>
#define spin_pause() _mm_pause()
#elif defined(__aarch64__)
#define spin_pause() __asm__ __volatile__("yield")
#else
#define spin_pause() ((void)0)
#endif

/* 50 to 100 microseconds: longer than the gap between two matmuls of a step, so that the
   hand-over costs about a microsecond; then the thread sleeps. */
#define SPINS 4000

/* Where other programs use the processors, a helper may get none for milliseconds, and everybody
   waits for its part. A caller that has waited longer than it worked does without help for a while,
   longer each time that it happens again: the result is the same. In seconds. */
#define PATIENCE 30e-6 /* that a hand-over may take */
#define SHORTEST_PAUSE 2e-3
#define LONGEST_PAUSE 0.2

/* `use` is held by the caller that has the pool. The other fields change only while
   `state` is held; `generation` and `running` are also read without it. */
static lock_type use = LOCK_INIT;
static lock_type state = LOCK_INIT;
static condition_type wake = CONDITION_INIT;
static condition_type done = CONDITION_INIT;
static long generation = 0;
static long running = 0;
static int threads = 0;
static int parts_wanted = 0;
static double alone_until = 0; /* the end of the pause without help */
static double pause_next = SHORTEST_PAUSE;
static nncore_part part_now;
static void *context_now;

static void worker(int index, long seen)
{
    for (;;) {
        int spins, mine;
        nncore_part part;
        void *context;

        for (spins = 0; spins < SPINS && atomic_load(&generation) == seen; spins++)
            spin_pause();
        lock_take(&state);
        while (generation == seen)
            condition_wait(&wake, &state);
        seen = generation;
        mine = index < parts_wanted;
        part = part_now;
        context = context_now;
        lock_give(&state);
        if (!mine)
            continue;
        part(context, index);
        if (atomic_decrement(&running) == 1) {
            lock_take(&state);
            condition_wake_all(&done);
            lock_give(&state);
        }
    }
}

/* What a new thread is told: its number, and the last generation that is not its own. */
static long born_at[NNCORE_MAX_THREADS];

#if defined(_WIN32)

static DWORD WINAPI thread_main(LPVOID argument)
{
    int index = (int)(INT_PTR)argument;
    worker(index, born_at[index]);
    return 0;
}

static int thread_start(int index)
{
    HANDLE h = CreateThread(NULL, 0, thread_main, (LPVOID)(INT_PTR)index, 0, NULL);
    if (!h)
        return 0;
    CloseHandle(h);
    return 1;
}

#else

static void *thread_main(void *argument)
{
    int index = (int)(long)argument;
    worker(index, born_at[index]);
    return 0;
}

static int thread_start(int index)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, old;
    int failed;

    /* Signals (Ctrl-C) are for the threads of Python. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    failed = pthread_create(&thread, &attributes, thread_main, (void *)(long)index);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &old, 0);
    return !failed;
}

/* Only the forking thread exists in the child: the pool is empty there. */
static void after_fork_in_child(void)
{
    static const lock_type new_lock = LOCK_INIT;
    static const condition_type new_condition = CONDITION_INIT;
    use = new_lock;
    state = new_lock;
    wake = new_condition;
    done = new_condition;
    threads = 0;
    running = 0;
}

#endif

static int prepare(int wanted)
{
#if !defined(_WIN32)
    static int registered = 0;
    if (!registered)
        registered = pthread_atfork(0, 0, after_fork_in_child) == 0;
    if (!registered)
        return threads;
#endif
    while (threads < wanted) {
        born_at[threads + 1] = generation;
        if (!thread_start(threads + 1))
            break;
        threads++;
    }
    return threads;
}

void nncore_parallel(nncore_part part, void *context, int parts)
{
    int i, spins, before, helped = 0;
    double begun, worked, waited;

    if (parts > NNCORE_MAX_THREADS)
        parts = NNCORE_MAX_THREADS;
    if (parts > 1 && lock_try(&use)) {
        before = threads;
        begun = nncore_seconds();
        if (begun >= alone_until)
            helped = prepare(parts - 1);
        if (helped > parts - 1)
            helped = parts - 1;
        if (helped) {
            lock_take(&state);
            part_now = part;
            context_now = context;
            parts_wanted = helped + 1;
            atomic_store(&running, helped);
            atomic_store(&generation, generation + 1);
            condition_wake_all(&wake);
            lock_give(&state);
        }
        part(context, 0);
        for (i = helped + 1; i < parts; i++)
            part(context, i);
        if (helped) {
            worked = nncore_seconds() - begun;
            for (spins = 0; spins < SPINS && atomic_load(&running); spins++)
                spin_pause();
            lock_take(&state);
            while (atomic_load(&running))
                condition_wait(&done, &state);
            lock_give(&state);
            waited = nncore_seconds() - begun - worked;
            if (before < parts - 1) {
                /* Threads were started: that takes its time. */
            } else if (waited > worked + PATIENCE) {
                alone_until = begun + worked + waited + pause_next;
                pause_next = pause_next * 2 < LONGEST_PAUSE ? pause_next * 2 : LONGEST_PAUSE;
            } else if (pause_next > SHORTEST_PAUSE) {
                pause_next *= 0.9;
            }
        }
        lock_give(&use);
        return;
    }
    for (i = 0; i < parts; i++)
        part(context, i);
}

int nncore_pool_size(void)
{
    return threads;
}

int nncore_cpu_count(void)
{
    long n = 0;
#if defined(_WIN32)
    DWORD_PTR mine, all;
    if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &all))
        for (; mine; mine &= mine - 1)
            n++;
#else
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    if (n < 1)
        n = 1;
    return n > NNCORE_MAX_THREADS ? NNCORE_MAX_THREADS : (int)n;
}

static int default_threads = 0;

int nncore_get_num_threads(void)
{
    return default_threads > 0 ? default_threads : nncore_cpu_count();
}

void nncore_set_num_threads(int n)
{
    default_threads = n < 1 ? 1 : (n > NNCORE_MAX_THREADS ? NNCORE_MAX_THREADS : n);
}

double nncore_seconds(void)
{
#if defined(_WIN32)
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (double)now.QuadPart / (double)frequency.QuadPart;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}
