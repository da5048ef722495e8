/* Everything that the thread pool promises, at once; for ThreadSanitizer and for tests/test_threads.py.

       cc -O1 -g -fsanitize=thread -I src tests/threads_stress.c -o stress -lpthread && ./stress
       cc -O2 -I src tests/threads_stress.c -o stress -lpthread && ./stress fork

   Each job counts how often each of its parts ran, without atomics: two threads in one part, a part
   that is left out and a caller that returns too early are wrong counts, and races to the
   sanitizer. Prints "right" and returns 0, or says what is wrong and returns 1. */
#define _GNU_SOURCE
#include <pthread.h>

static int flaky_create(pthread_t *thread, const pthread_attr_t *attributes,
                        void *(*start)(void *), void *argument);
#include <errno.h>
#include <sched.h>

#if defined(__linux__)
static int told_getcpu(void);
static int told_getaffinity(pid_t thread, size_t size, cpu_set_t *set);
static int told_setaffinity(pid_t thread, size_t size, const cpu_set_t *set);
#define sched_getcpu told_getcpu
#define sched_getaffinity told_getaffinity
#define sched_setaffinity told_setaffinity
#endif
#define pthread_create flaky_create
#include "threads.c"
#undef pthread_create
#undef sched_getcpu
#undef sched_getaffinity
#undef sched_setaffinity

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define CALLERS 8
#define MOST_PARTS 13

static long refusals = 0; /* threads that the system is still to refuse; atomic */
static long delays = 0;   /* threads that are still to begin when late_helpers() says so; atomic */
static int late = 0;
static void *(*late_start)(void *);
static void *late_argument[MOST_PARTS];

#if defined(__linux__)
/* Told that everybody is on this processor, and may use 7 and 9: what is asked for; or it is refused. */
static long crowded = 0, refused = 0, asked[10]; /* atomic */

static int told_getcpu(void)
{
    int n = (int)atomic_load(&crowded);
    return n ? n : sched_getcpu();
}

static int told_getaffinity(pid_t thread, size_t size, cpu_set_t *set)
{
    if (!atomic_load(&crowded))
        return sched_getaffinity(thread, size, set);
    CPU_ZERO_S(size, set);
    CPU_SET(7, set);
    CPU_SET(9, set);
    return 0;
}

static int told_setaffinity(pid_t thread, size_t size, const cpu_set_t *set)
{
    if (!atomic_load(&crowded))
        return sched_setaffinity(thread, size, set);
    if (atomic_load(&refused)) {
        errno = EPERM;
        return -1;
    }
    if (thread || CPU_COUNT(set) != 1 || !(CPU_ISSET(7, set) || CPU_ISSET(9, set)))
        abort();
    atomic_add(&asked[CPU_ISSET(7, set) ? 7 : 9], 1);
    return 0;
}
#endif

static int flaky_create(pthread_t *thread, const pthread_attr_t *attributes,
                        void *(*start)(void *), void *argument)
{
    if (atomic_load(&refusals) > 0) {
        atomic_add(&refusals, -1);
        return 11; /* EAGAIN */
    }
    if (atomic_load(&delays) > 0) {
        atomic_add(&delays, -1);
        late_start = start;
        late_argument[late++] = argument;
        return 0;
    }
    return pthread_create(thread, attributes, start, argument);
}

static void fail(const char *what)
{
    fprintf(stderr, "wrong: %s\n", what);
    exit(1);
}

/* Who gets no help does the parts alone. */
static void in_parts(nncore_part part, void *context, int parts)
{
    int i, done = nncore_parallel(part, context, parts);
    if (done != 0 && done != parts)
        fail("how many parts were done");
    for (i = done; i < parts; i++)
        part(context, i);
}

typedef struct {
    int runs[MOST_PARTS];
    int nested;
} job;

static void count_part(void *context, int part)
{
    ((job *)context)->runs[part]++;
}

static void nested_part(void *context, int part)
{
    job inner = {{0}, 0};
    int i;
    in_parts(count_part, &inner, 3);
    for (i = 0; i < 3; i++)
        if (inner.runs[i] != 1)
            fail("a part of a job inside a job");
    count_part(context, part);
}

static void run_job(int parts, int nested)
{
    job j = {{0}, nested};
    int i;
    in_parts(nested ? nested_part : count_part, &j, parts);
    for (i = 0; i < MOST_PARTS; i++)
        if (j.runs[i] != (i < parts))
            fail("how often a part ran");
}

/* Parts that go to who comes first, `stop` of them at most: how often each ran, and who ran them. */
typedef struct {
    int runs[MOST_PARTS];
    int by[MOST_PARTS];
    int stop;
} shared;

static int count_shared(void *context, int thread, int part)
{
    shared *s = context;
    s->runs[part]++;
    s->by[thread]++; /* a race, if two threads had the same number */
    return part + 1 >= s->stop;
}

static void run_shared(int parts, int most, int stop)
{
    shared s = {{0}, {0}, 0};
    int i, taken, done = 0, by = 0;
    s.stop = stop;
    taken = nncore_share(count_shared, &s, parts, most);
    if (taken > parts || (taken && taken < (parts < stop ? parts : stop)))
        fail("how many parts were taken");
    for (i = 0; i < MOST_PARTS; i++) {
        if (s.runs[i] != (i < taken))
            fail("how often a shared part ran");
        if (s.by[i] && i >= most)
            fail("the number of a thread");
        done += s.runs[i];
        by += s.by[i];
    }
    if (done != by)
        fail("a shared part that nobody ran");
}

static void pause_for(long microseconds)
{
    struct timespec t = {0, 1000 * microseconds};
    nanosleep(&t, 0);
}

static long jobs_each;

static void *caller(void *argument)
{
    unsigned random = 12345u + (unsigned)(size_t)argument;
    long i;
    for (i = 0; i < jobs_each; i++) {
        random = random * 1664525u + 1013904223u;
        run_job((int)(random >> 16) % (MOST_PARTS + 1), (random >> 8) % 16 == 0);
        run_shared((int)(random >> 20) % (MOST_PARTS + 1), 1 + (int)(random >> 12) % 4,
                   1 + (int)(random >> 4) % (2 * MOST_PARTS));
        if ((random >> 24) % 32 == 0)
            pause_for(300); /* longer than a helper spins */
    }
    return 0;
}

static long limiting = 1; /* atomic */

static void *limiter(void *argument)
{
    int n = 0;
    (void)argument;
    while (atomic_load(&limiting)) {
        n = n % 9 + 1;
        if (n % 3)
            nncore_set_num_threads(n);
        else
            nncore_set_default_threads(n);
        if (nncore_get_num_threads() < 1 || nncore_pool_size() < 0 || nncore_thread_limit() < 0)
            fail("a number that is being changed");
        pause_for(50);
    }
    return 0;
}

static void many_callers(void)
{
    pthread_t threads_of[CALLERS], other;
    size_t i;
    atomic_store(&limiting, 1);
    pthread_create(&other, 0, limiter, 0);
    for (i = 0; i < CALLERS; i++)
        pthread_create(&threads_of[i], 0, caller, (void *)i);
    for (i = 0; i < CALLERS; i++)
        pthread_join(threads_of[i], 0);
    atomic_store(&limiting, 0);
    pthread_join(other, 0);
    if (nncore_pool_size() >= MOST_PARTS)
        fail("more helpers than any job wanted");
}

/* How many threads are in a part at once. */
static pthread_mutex_t gauge = PTHREAD_MUTEX_INITIALIZER;
static int inside = 0, most_inside = 0;

static void gauged_part(void *context, int part)
{
    pthread_mutex_lock(&gauge);
    if (++inside > most_inside)
        most_inside = inside;
    pthread_mutex_unlock(&gauge);
    pause_for(200);
    count_part(context, part);
    pthread_mutex_lock(&gauge);
    inside--;
    pthread_mutex_unlock(&gauge);
}

static void the_limit_holds(void)
{
    int most, k;
    nncore_set_default_threads(6);
    for (most = 1; most <= 4; most++) {
        nncore_set_num_threads(most);
        if (nncore_get_num_threads() != most)
            fail("the limit that was set");
        most_inside = 0;
        for (k = 0; k < 20; k++) {
            job j = {{0}, 0};
            int i;
            in_parts(gauged_part, &j, 12);
            for (i = 0; i < 12; i++)
                if (j.runs[i] != 1)
                    fail("how often a part ran under a limit");
        }
        if (most_inside > most)
            fail("more threads than the limit");
    }
    nncore_set_num_threads(6);
    if (nncore_thread_limit() != 0 || nncore_get_num_threads() != 6)
        fail("a limit that was undone");
}

static void no_threads_to_be_had(void)
{
    int k;
    atomic_store(&refusals, 3);
    run_job(4, 0);
    if (nncore_pool_size() != 0)
        fail("a helper that does not exist");
    if (ask_again <= 0)
        fail("when to ask again");
    ask_again = nncore_seconds() + 1000;
    for (k = 0; k < 100; k++)
        run_job(4, 0);
    if (atomic_load(&refusals) != 2)
        fail("asking for threads again at once");
    atomic_store(&refusals, 0);
    ask_again = 0;
    run_job(4, 0);
    if (nncore_pool_size() != 3)
        fail("helpers that can be had again");
    atomic_store(&refusals, 1);
    run_job(6, 0);
    if (nncore_pool_size() != 3)
        fail("helpers that are there when no more can be had");
    atomic_store(&refusals, 0);
    ask_again = 0;
}

/* The helpers that a job does not want are not called: they sleep on. */
static void others_sleep(void)
{
    unsigned long second = seats[2].turn, third = seats[3].turn;
    int k, i;
    for (i = 1; i <= 3; i++)
        for (k = 0;; k++) {
            int asleep;
            lock_take(&seats[i].lock);
            asleep = seats[i].asleep;
            lock_give(&seats[i].lock);
            if (asleep)
                break;
            if (k > 5000)
                fail("a helper that does not fall asleep");
            pause_for(1000);
        }
    if (second < 1 || third < 1)
        fail("helpers that were never called");
    for (k = 0; k < 1000; k++)
        run_job(2, 0);
    if (seats[2].turn != second || seats[3].turn != third)
        fail("a helper that was called for a job without it");
}

/* A part waits until another thread has one, too. */
static long arrived; /* atomic */

static int wait_for_another(void *context, int thread, int part)
{
    double end = nncore_seconds() + 20;
    (void)context;
    (void)thread;
    (void)part;
    atomic_add(&arrived, 1);
    while (atomic_load(&arrived) < 2)
        if (nncore_seconds() > end)
            fail("nobody else took a part");
    return 0;
}

static int all;

static void wait_for_all(void *context, int part)
{
    double end = nncore_seconds() + 20;
    (void)context;
    (void)part;
    atomic_add(&arrived, 1);
    while (atomic_load(&arrived) < all)
        if (nncore_seconds() > end)
            fail("a helper that has not come");
}

static void others_take_parts(void)
{
    atomic_store(&arrived, 0);
    alone_until = 0;
    if (nncore_share(wait_for_another, 0, 4, 3) != 4)
        fail("parts that were left");
}

/* Nobody waits for helpers that do not come; when they do come, they find what is offered then. */
static void late_helpers(void)
{
    pthread_t thread;
    int k, i, before = nncore_pool_size();
    atomic_store(&delays, 2);
    for (k = 0; k < 100; k++) {
        alone_until = 0;
        run_job(before + 3, k % 2);
        run_shared(MOST_PARTS, before + 3, MOST_PARTS);
    }
    if (nncore_pool_size() != before + 2 || late != 2)
        fail("helpers that are late");
    for (i = 1; i <= before + 2; i++)
        if (seats[i].turn < 100 || atomic_load(&seats[i].taken) != seats[i].turn)
            fail("an offer that nobody took");
    for (i = 0; i < late; i++)
        if (pthread_create(&thread, 0, late_start, late_argument[i]))
            fail("a thread of the test");
    arrived = 0;
    all = before + 3;
    alone_until = 0;
    if (nncore_parallel(wait_for_all, 0, all) != all)
        fail("help by helpers that were late");
}

#if defined(__linux__)
/* Where helpers are on their caller's processor they ask for others; what they do there is right, and
   no help. */
static void helpers_beside_their_caller(void)
{
    static const int told[] = {7, 9, 7, 7, 7, 0};
    int phase, k;
    for (phase = 0; phase < 6; phase++) {
        atomic_store(&crowded, told[phase]);
        atomic_store(&refused, phase == 3);
        if (phase == 4)
            nncore_let_threads_stay();
        atomic_store(&asked[7], 0);
        atomic_store(&asked[9], 0);
        for (k = 0; k < 50; k++) {
            alone_until = 0;
            credit = 0;
            arrived = 0;
            all = 3;
            if (nncore_parallel(wait_for_all, 0, all) != all)
                fail("helpers beside their caller");
            if (told[phase] && alone_until == 0)
                fail("help on the caller's own processor");
            if (atomic_load(&beside_caller) != 0)
                fail("who is still beside the caller");
        }
        if (phase >= 3 ? asked[7] + asked[9] != 0 : asked[16 - told[phase]] < 2 || asked[told[phase]])
            fail("the processors that were asked for");
    }
    atomic_store(&staying, 0);
    alone_until = 0;
    pause_next = SHORTEST_PAUSE;
}

#endif

/* The account: what was waited for is paid from what was saved; overdrawn, it ends help for a while,
   longer each time. */
static void the_account(void)
{
    alone_until = 0;
    credit = FIRST_CREDIT;
    pause_next = SHORTEST_PAUSE;
    learn(100, 0, FIRST_CREDIT / 2);
    if (alone_until != 0)
        fail("a pause before the account was overdrawn");
    learn(100, 1, 0);
    if (credit != MOST_CREDIT)
        fail("credit for what was saved long ago");
    learn(100, 0, 0.9 * MOST_CREDIT);
    learn(101, 0, 0.9 * MOST_CREDIT);
    if (alone_until != 101 + SHORTEST_PAUSE || pause_next != LONGER * SHORTEST_PAUSE)
        fail("the first pause");
    learn(102, 0, 1);
    if (alone_until != 102 + LONGER * SHORTEST_PAUSE)
        fail("the second pause, which is longer");
    alone_until = nncore_seconds() + 1000;
    atomic_store(&arrived, 2);
    atomic_store(&next_part, 77); /* stays: the pool is not used */
    if (nncore_share(wait_for_another, 0, 4, 3) != 0 || atomic_load(&arrived) != 2
            || atomic_load(&next_part) != 77)
        fail("a job during a pause");
    alone_until = 0;
    for (arrived = 0; arrived < 1000; arrived++)
        learn(103, 2e-3, 1e-3);
    if (pause_next != SHORTEST_PAUSE)
        fail("a pause that is as long after much help");
    learn(104, 1, 0);
    if (pause_next != SHORTEST_PAUSE)
        fail("the shortest pause");
}

/* Forks while others are inside the pool, and works in the children. */
static void *forker(void *argument)
{
    int k, status;
    (void)argument;
    for (k = 0; k < 20; k++) {
        pid_t child = fork();
        if (child == 0) {
            int i;
            alarm(60);
            nncore_set_default_threads(6);
            if (nncore_pool_size() != 0)
                _exit(2);
            for (i = 0; i < 50; i++)
                run_job(i % MOST_PARTS, 0);
            _exit(nncore_pool_size() < 1);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            fail("a forked child");
        run_job(5, 0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    pthread_t other;
    int forks = argc > 1 && strcmp(argv[1], "fork") == 0;

    jobs_each = 1000;
    if (nncore_pool_size() != 0)
        fail("a thread before the first work");
    no_threads_to_be_had();
    others_sleep();
    the_limit_holds();
    others_take_parts();
    late_helpers();
#if defined(__linux__)
    helpers_beside_their_caller();
#endif
    the_account();
    if (forks)
        pthread_create(&other, 0, forker, 0);
    many_callers();
    if (forks)
        pthread_join(other, 0);
    puts("right");
    return 0;
}
