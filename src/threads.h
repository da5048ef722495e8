/* A small pool of threads. No thread exists before the first call that asks for more than one;
   after fork the child starts again with none. */
#ifndef NNCORE_THREADS_H
#define NNCORE_THREADS_H

#define NNCORE_MAX_THREADS 256

typedef void (*nncore_part)(void *context, int part);

/* Runs part(context, i) for every i in 0..parts-1, on up to `parts` threads, the caller's
   among them, and returns when all are done. While another caller uses the pool, or when a thread
   cannot be started, the caller does the parts itself: the result is the same. */
void nncore_parallel(nncore_part part, void *context, int parts);

/* Threads that exist now, the caller not counted. */
int nncore_pool_size(void);

/* Processors this process may use: its affinity, else the machine's count; at least 1. */
int nncore_cpu_count(void);

/* The process's default for the number of threads, for callers that name none. */
int nncore_get_num_threads(void);
void nncore_set_num_threads(int n);

/* A clock that only goes forward. */
double nncore_seconds(void);

#endif
