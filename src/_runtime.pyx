# cython: language_level=3, freethreading_compatible=True
# The part that exists once in a process, whatever the instruction set: threads, CPU, clock.

cdef extern from "threads.h" nogil:
    int nncore_parallel(void (*part)(void*, int) noexcept nogil, void* context, int parts)
    int nncore_share(int (*part)(void*, int, int) noexcept nogil, void* context, int parts,
                     int most)
    void nncore_let_threads_stay()
    int nncore_pool_size()
    int nncore_cpu_count()
    int nncore_get_num_threads()
    void nncore_set_default_threads(int n)
    int nncore_thread_limit()
    double nncore_seconds()

cdef extern from "cpu.h" nogil:
    int nncore_cpu_levels()
    ctypedef struct nncore_caches:
        int l1_ways
        long long l2_bytes
    nncore_caches nncore_cpu_caches()
    const char* nncore_compiler()

cdef extern from "_built.h":
    const char* NNCORE_BUILT_VERSION
    const char* NNCORE_BUILT_ISAS


cdef int parallel(void (*part)(void*, int) noexcept nogil, void* context,
                  int parts) noexcept nogil:
    return nncore_parallel(part, context, parts)


cdef int share(int (*part)(void*, int, int) noexcept nogil, void* context, int parts,
               int most) noexcept nogil:
    return nncore_share(part, context, parts, most)


cdef double seconds() noexcept nogil:
    return nncore_seconds()


cdef int num_threads() noexcept nogil:
    return nncore_get_num_threads()


cdef int l1_ways() noexcept nogil:
    return nncore_cpu_caches().l1_ways


cdef long long l2_bytes() noexcept nogil:
    return nncore_cpu_caches().l2_bytes


def cpu_levels():
    """Return the instruction sets that CPU and operating system offer, best last."""
    cdef int bits = nncore_cpu_levels()
    names = ("x86_64_v2", "x86_64_v3", "x86_64_v4", "neon")
    return tuple(name for i, name in enumerate(names) if bits >> i & 1)


def built():
    """Return the version that was built, and the instruction sets it was built for, best last."""
    return NNCORE_BUILT_VERSION.decode(), tuple(NNCORE_BUILT_ISAS.decode().split())


def compiler():
    """Return the compiler that built the library, and its version."""
    return nncore_compiler().decode("ascii", "replace")


def cpu_count():
    """Return the number of processors this process may use."""
    return nncore_cpu_count()


def pool_size():
    """Return the number of worker threads that exist now (0 until the first is needed)."""
    return nncore_pool_size()


def get_num_threads():
    """Return the process's default number of threads, or the limit that was set for it."""
    return nncore_get_num_threads()


def set_num_threads(n):
    """Set the process's default number of threads (1 to 256). Ends a limit."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 256:
        raise ValueError(f"the number of threads must be an integer from 1 to 256; received {n!r}")
    nncore_set_default_threads(n)


def let_threads_stay():
    """Let no thread ask the system for another processor than its caller's, from now on."""
    nncore_let_threads_stay()


def thread_limit():
    """Return the limit that a tool such as threadpoolctl has set; 0: none."""
    return nncore_thread_limit()
