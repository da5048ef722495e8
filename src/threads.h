/* A small pool of threads. No thread exists before the first call that asks for more than one;
   after fork the child starts again with none. */
#ifndef NNCORE_THREADS_H
#define NNCORE_THREADS_H

#define NNCORE_MAX_THREADS 256

#if defined(_WIN32)
#define NNCORE_EXPORT __declspec(dllexport)
#elif defined(__GNUC__) || defined(__clang__)
#define NNCORE_EXPORT __attribute__((visibility("default")))
#else
#define NNCORE_EXPORT
#endif

typedef void (*nncore_part)(void *context, int part);

/* Runs part(context, i) for every i in 0..parts-1, on up to `parts` threads, the caller's
   among them, and returns `parts` when all are done. Beyond the limit that nncore_set_num_threads()
   set, and where fewer threads can be had, one does several parts: the result is the same.
   Returns 0, with nothing done, where nobody helps (one part, a limit of one thread, no thread to be
   had, another caller who uses the pool, or a pause after help that did not pay): the caller
   does the work, in the way that is best for one thread. */
int nncore_parallel(nncore_part part, void *context, int parts);

/* The same for parts that need not be done by a certain thread: part(context, thread, i), in this
   order, by up to `most` threads, each of which takes the next one when it has done one. `thread`
   tells them apart, 0..most-1; the caller is 0, and others may never come. Once a part returns
   anything but 0, threads stop taking more. Returns how many were taken; all of them are done then. */
typedef int (*nncore_shared_part)(void *context, int thread, int part);
int nncore_share(nncore_shared_part part, void *context, int parts, int most);

/* From now on no thread asks the system for another processor (Linux) than the one that its caller is
   on, too: for sandboxes that end who calls sched_setaffinity(). */
void nncore_let_threads_stay(void);

/* Threads that exist now, the caller not counted. */
int nncore_pool_size(void);

/* Processors this process may use: its affinity, else the machine's count; at least 1. */
int nncore_cpu_count(void);

/* The number of threads for callers that name none. Ends a limit. */
void nncore_set_default_threads(int n);

/* The limit that holds now; 0: none. */
int nncore_thread_limit(void);

/* For tools that limit the pools of a process, such as threadpoolctl, which find these two by name:
   set a limit for every caller, those too that ask for more. The number that was there before, set
   again, ends it. */
NNCORE_EXPORT int nncore_get_num_threads(void);
NNCORE_EXPORT void nncore_set_num_threads(int n);

/* A clock that only goes forward. */
double nncore_seconds(void);

#endif
