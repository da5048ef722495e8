#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for sched_getaffinity and CPU_COUNT */
#endif
#include "threads.h"
#include "denormals.h"

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
#define condition_wake(c) WakeConditionVariable(c)

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

typedef pthread_mutex_t lock_type;
typedef pthread_cond_t condition_type;
#define LOCK_INIT PTHREAD_MUTEX_INITIALIZER
#define CONDITION_INIT PTHREAD_COND_INITIALIZER
#define lock_take(l) pthread_mutex_lock(l)
#define lock_try(l) (pthread_mutex_trylock(l) == 0)
#define lock_give(l) pthread_mutex_unlock(l)
#define condition_wait(c, l) pthread_cond_wait(c, l)
#define condition_wake(c) pthread_cond_signal(c)

#endif

/* On `long`, signed or not, the type that every compiler has them for. */
#if defined(__GNUC__) || defined(__clang__)
#define atomic_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define atomic_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define atomic_add(p, v) __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL)
#else
#define atomic_load(p) InterlockedCompareExchange((volatile long *)(p), 0, 0)
#define atomic_store(p, v) InterlockedExchange((volatile long *)(p), (v))
#define atomic_add(p, v) InterlockedExchangeAdd((volatile long *)(p), (v))
#endif

/* Is it `was`? Then it is `v` now, and no other thread has been told the same. */
static int atomic_swap(unsigned long *p, unsigned long was, unsigned long v)
{
#if defined(__GNUC__) || defined(__clang__)
    return __atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
#else
    return InterlockedCompareExchange((volatile long *)p, (long)v, (long)was) == (long)was;
#endif
}

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

/* The processor that this thread is on now; -1: nobody knows. */
static long processor(void)
{
#if defined(_WIN32)
    PROCESSOR_NUMBER n;
    GetCurrentProcessorNumberEx(&n);
    return 64 * (long)n.Group + n.Number;
#elif defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

static long staying = 0; /* no thread is to ask for another processor; atomic */

#if defined(__linux__)
static __thread long own_number = 0;
#endif

/* This thread's, for leave_processor(). */
static long thread_number(void)
{
#if defined(__linux__)
    if (!own_number)
        own_number = syscall(SYS_gettid);
    return own_number;
#else
    return 0;
#endif
}

/* Linux may wake a helper on its caller's processor though others are idle (on a virtual machine it did
   so 19 times of 20, a millisecond after the last job), and leave it there for milliseconds. So the helper
   asks to run where its caller may, but for the one that the caller is on. It is not undone: the next time
   it would be woken there again, and begin when the caller has done everything. */
static void leave_processor(long taken, long caller)
{
#if defined(__linux__)
    cpu_set_t others;
    if (atomic_load(&staying) || sched_getaffinity((pid_t)caller, sizeof others, &others))
        return;
    CPU_CLR((size_t)taken, &others);
    if (CPU_COUNT(&others))
        sched_setaffinity(0, sizeof others, &others);
#else
    (void)taken, (void)caller;
#endif
}

/* Where other programs use the processors, a helper may get none for milliseconds. One that has not
   begun is not waited for: the caller takes its parts back. But one that has may lose its processor
   in the middle, and everybody waits. So an account is kept of the time that help has saved and of
   the time that calling it and waiting for it took. Once it is overdrawn, a caller does without help
   for a while, longer each time that it happens again: the result is the same. In seconds. */
#define FIRST_CREDIT 0.2e-3 /* more than waking a helper takes */
#define MOST_CREDIT 5e-3    /* what was saved long ago says little */
#define SHORTEST_PAUSE 2e-3
#define LONGEST_PAUSE 0.5
#define LONGER 4    /* is the next pause; but */
#define CALM 200e-3 /* once so much more has been saved than spent, a third as long */

/* Where the system gives no more threads, the pool asks again after so many seconds. */
#define ASK_AGAIN 1.0

/* Where a helper waits for work. Only those that a job wants are called: the others sleep on, however
   often the rest of the pool is used. */
typedef struct {
    unsigned long turn;  /* counts the jobs that were offered; changes while `lock` is held */
    unsigned long taken; /* the last that the helper began or its caller took back; atomic */
    int asleep;          /* guarded by `lock` */
    int done;            /* parts of the last job that count as help; the caller's when all are done */
    double part_took;    /* seconds, each of them */
    lock_type lock;
    condition_type wake;
    char apart[128]; /* no two helpers look at one cache line */
} seat;

/* `use` is held by the caller that has the pool, and guards what has no word beside it. */
static lock_type use = LOCK_INIT;
static lock_type end = LOCK_INIT;        /* guards the wait for `running` to be 0 */
static condition_type done = CONDITION_INIT;
static long running = 0;                 /* helpers that have not done their parts; atomic */
static long threads = 0;                 /* that exist; atomic */
static seat seats[NNCORE_MAX_THREADS];   /* of helpers 1, 2, ...; the caller is 0 */
static double ask_again = 0;             /* when thread_start() may be tried */
static double alone_until = 0;           /* the end of the pause without help */
static double pause_next = SHORTEST_PAUSE;
static double credit = FIRST_CREDIT;

/* The job: set before the helpers' turns; left alone until each of them has either done its parts or
   lost them to the caller. */
typedef struct {
    nncore_part part;               /* dealt out beforehand; or NULL, and */
    nncore_shared_part shared_part; /* they go to who comes first */
    void *context;
    int parts;
    int team;        /* threads that do them */
    float_mode mode; /* of the caller: the result does not depend on who does a part */
} pool_job;
static pool_job job_now;
static long next_part; /* of shared ones; atomic */
static long stopped;   /* no more of them are to be taken; atomic */
static long callers_number, callers_processor; /* as it began; atomic */
static long beside_caller;     /* helpers that began on it, too, and have not done their parts; atomic */

/* Does a thread's parts and returns how many. */
static int do_parts(int index)
{
    int done = 0;
    long i;
    if (job_now.part) {
        for (i = index; i < job_now.parts; i += job_now.team, done++)
            job_now.part(job_now.context, (int)i);
        return done;
    }
    while (!atomic_load(&stopped) && (i = atomic_add(&next_part, 1)) < job_now.parts) {
        if (job_now.shared_part(job_now.context, index, (int)i))
            atomic_store(&stopped, 1);
        done++;
    }
    return done;
}

/* Who gets the last offer, the helper or its caller? One of them is told yes. */
static int take_turn(seat *helper, unsigned long turn)
{
    return atomic_swap(&helper->taken, turn - 1, turn);
}

static void call(seat *helper)
{
    lock_take(&helper->lock);
    atomic_store(&helper->turn, helper->turn + 1);
    if (helper->asleep)
        condition_wake(&helper->wake);
    lock_give(&helper->lock);
}

/* Waits for another offer than the last one that the helper has seen, and returns it. */
static unsigned long await_turn(seat *mine, unsigned long seen, int spins)
{
    unsigned long turn;
    for (; spins > 0; spins--) {
        turn = atomic_load(&mine->turn);
        if (turn != seen)
            return turn;
        spin_pause();
    }
    lock_take(&mine->lock);
    mine->asleep = 1;
    while ((turn = mine->turn) == seen)
        condition_wait(&mine->wake, &mine->lock);
    mine->asleep = 0;
    lock_give(&mine->lock);
    return turn;
}

static void help(int index)
{
    /* Offers that came and were taken back while it slept it never sees. */
    unsigned long turn = 0;
    long here, callers, number, left = -1, left_to = 0;
    int done_now, spins = SPINS;
    double begun;
    seat *mine = &seats[index];
    for (;;) {
        turn = await_turn(mine, turn, spins);
        here = processor();
        callers = atomic_load(&callers_processor);
        number = atomic_load(&callers_number);
        /* Once it has moved, it goes by who calls and from where: another caller may use others. */
        if (callers >= 0 && (here == callers || (left >= 0 && (left != callers || left_to != number)))) {
            leave_processor(callers, number);
            left = callers;
            left_to = number;
            here = processor();
        }
        /* Two that wait for each other on one processor had better not spin. */
        spins = here == callers && here >= 0 ? 0 : SPINS;
        if (!take_turn(mine, turn))
            continue;
        set_float_mode(job_now.mode);
        if (!spins)
            atomic_add(&beside_caller, 1);
        begun = nncore_seconds();
        done_now = do_parts(index);
        mine->part_took = done_now ? (nncore_seconds() - begun) / done_now : 0;
        mine->done = spins ? done_now : 0; /* done on the caller's processor: that was no help */
        if (!spins)
            atomic_add(&beside_caller, -1);
        if (atomic_add(&running, -1) == 1) {
            lock_take(&end);
            condition_wake(&done);
            lock_give(&end);
        }
    }
}

static void await_helpers(void)
{
    /* (Below 0: in a child that a signal's handler forked in the midst of a job.) */
    int spins;
    for (spins = 0; spins < SPINS; spins++) {
        long left = atomic_load(&running);
        if (left <= 0)
            return;
        if (left <= atomic_load(&beside_caller))
            break;
        spin_pause();
    }
    lock_take(&end);
    while (atomic_load(&running) > 0)
        condition_wait(&done, &end);
    lock_give(&end);
}

#if defined(_WIN32)

static DWORD WINAPI thread_main(LPVOID argument)
{
    help((int)(INT_PTR)argument);
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
    help((int)(long)argument);
    return 0;
}

static int thread_start(int index)
{
    /* Signals (Ctrl-C) are for the threads of Python; but what a helper itself does wrong is told
       where it happens, to faulthandler and debuggers. */
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t mask, old;
    size_t i;
    int failed;

    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&mask);
    for (i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&mask, own[i]);
    pthread_sigmask(SIG_SETMASK, &mask, &old);
    failed = pthread_create(&thread, &attributes, thread_main, (void *)(long)index);
    pthread_sigmask(SIG_SETMASK, &old, 0);
    pthread_attr_destroy(&attributes);
    return !failed;
}

/* Only the forking thread exists in the child, whatever the others were doing: the pool is empty
   there, and nobody has it. */
static void after_fork_in_child(void)
{
    static const lock_type new_lock = LOCK_INIT;
    static const condition_type new_condition = CONDITION_INIT;
#if defined(__linux__)
    own_number = 0;
#endif
    use = new_lock;
    end = new_lock;
    done = new_condition;
    threads = 0;
    running = 0;
    ask_again = 0;
    alone_until = 0;
    pause_next = SHORTEST_PAUSE;
    credit = FIRST_CREDIT;
}

#endif

/* Returns how many of the wanted helpers there are, starting those that are missing. */
static int prepare(int wanted, double now)
{
#if !defined(_WIN32)
    static int registered = 0;
#endif
    static const lock_type new_lock = LOCK_INIT;
    static const condition_type new_condition = CONDITION_INIT;
    int n = (int)threads;

    if (n >= wanted || now < ask_again)
        return n < wanted ? n : wanted;
#if !defined(_WIN32)
    if (!registered)
        registered = pthread_atfork(0, 0, after_fork_in_child) == 0;
    if (!registered)
        return 0;
#endif
    for (; n < wanted; n++) {
        seat *next = &seats[n + 1];
        next->turn = next->taken = 0;
        next->asleep = 0;
        next->lock = new_lock;
        next->wake = new_condition;
        if (!thread_start(n + 1)) {
            ask_again = now + ASK_AGAIN;
            break;
        }
    }
    atomic_store(&threads, n);
    return n;
}

/* After a job with help: was it worth it? */
static void learn(double now, double saved, double cost)
{
    credit += saved - cost;
    if (credit < 0) {
        alone_until = now + pause_next;
        pause_next = LONGER * pause_next < LONGEST_PAUSE ? LONGER * pause_next : LONGEST_PAUSE;
        credit = FIRST_CREDIT;
        return;
    }
    if (credit > MOST_CREDIT)
        credit = MOST_CREDIT;
    if (saved > cost)
        pause_next *= saved - cost < CALM ? 1 - (saved - cost) / CALM : 0;
    if (pause_next < SHORTEST_PAUSE)
        pause_next = SHORTEST_PAUSE;
}

static long limit = 0; /* set by nncore_set_num_threads(); 0: none; atomic */

/* Does a job with the helpers there are and returns how many parts were done; 0: there are no
   helpers, or somebody else has them. */
static int do_together(pool_job wanted)
{
    int i, own, done = 0, before, helpers = 0, most = (int)atomic_load(&limit);
    double begun, called, worked, ended, part_took, saved = 0;

    if (most < 1 || most > NNCORE_MAX_THREADS)
        most = NNCORE_MAX_THREADS;
    if (wanted.team > most)
        wanted.team = most;
    if (wanted.team <= 1 || !lock_try(&use))
        return 0;
    before = (int)threads;
    begun = nncore_seconds();
    if (begun >= alone_until)
        helpers = prepare(wanted.team - 1, begun);
    if (helpers) {
        job_now = wanted;
        job_now.team = helpers + 1;
        job_now.mode = get_float_mode();
        atomic_store(&callers_number, thread_number());
        atomic_store(&callers_processor, processor());
        atomic_store(&beside_caller, 0);
        atomic_store(&next_part, 0);
        atomic_store(&stopped, 0);
        atomic_store(&running, helpers);
        for (i = 1; i <= helpers; i++)
            call(&seats[i]);
        called = nncore_seconds();
        own = do_parts(0);
        for (i = 1; i <= helpers; i++)
            if (take_turn(&seats[i], seats[i].turn)) {
                own += do_parts(i);
                seats[i].done = 0;
                atomic_add(&running, -1);
            }
        worked = nncore_seconds();
        await_helpers();
        ended = nncore_seconds();
        done = wanted.parts;
        if (wanted.shared_part && next_part < done)
            done = (int)next_part; /* who finds none left counts on: it may be more than there are */
        /* Alone, a helper's parts would have taken as long as they did, or as the caller's own where
           those were faster: one of the two may have lost its processor meanwhile. */
        part_took = own ? (worked - called) / own : 0;
        for (i = 1; i <= helpers; i++)
            saved += seats[i].done * (seats[i].part_took < part_took ? seats[i].part_took : part_took);
        if (threads == before) /* Else some were started: that takes its time. */
            learn(ended, saved, called - begun + ended - worked);
    }
    lock_give(&use);
    return done;
}

int nncore_parallel(nncore_part part, void *context, int parts)
{
    pool_job wanted = {0};
    wanted.part = part;
    wanted.context = context;
    wanted.parts = wanted.team = parts;
    return do_together(wanted);
}

int nncore_share(nncore_shared_part part, void *context, int parts, int most)
{
    pool_job wanted = {0};
    wanted.shared_part = part;
    wanted.context = context;
    wanted.parts = parts;
    wanted.team = most < parts ? most : parts;
    return do_together(wanted);
}

void nncore_let_threads_stay(void)
{
    atomic_store(&staying, 1);
}

int nncore_pool_size(void)
{
    return (int)atomic_load(&threads);
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
    /* The set has to be as large as the kernel's, which nobody tells. */
    int size;
    for (size = 1024; n < 1 && size <= 1 << 18; size *= 2) {
        cpu_set_t *set = CPU_ALLOC(size);
        if (set && sched_getaffinity(0, CPU_ALLOC_SIZE(size), set) == 0)
            n = CPU_COUNT_S(CPU_ALLOC_SIZE(size), set);
        CPU_FREE(set);
    }
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    if (n < 1)
        n = 1;
    return n > NNCORE_MAX_THREADS ? NNCORE_MAX_THREADS : (int)n;
}

static long default_threads = 0; /* 0: not set; atomic */

static int get_default(void)
{
    int n = (int)atomic_load(&default_threads);
    return n > 0 ? n : nncore_cpu_count();
}

void nncore_set_default_threads(int n)
{
    atomic_store(&default_threads, n < 1 ? 1 : (n > NNCORE_MAX_THREADS ? NNCORE_MAX_THREADS : n));
    atomic_store(&limit, 0);
}

int nncore_thread_limit(void)
{
    return (int)atomic_load(&limit);
}

int nncore_get_num_threads(void)
{
    int n = nncore_thread_limit();
    return n > 0 ? n : get_default();
}

void nncore_set_num_threads(int n)
{
    if (n < 1)
        n = 1;
    if (n > NNCORE_MAX_THREADS)
        n = NNCORE_MAX_THREADS;
    atomic_store(&limit, n == get_default() ? 0 : n);
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
