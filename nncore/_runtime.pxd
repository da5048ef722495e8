# What the core modules take from the runtime: one thread pool and one clock for all of them, and
# what the processor is like.

# Both return 0, with nothing done, where nobody helps.
cdef int parallel(void (*part)(void*, int) noexcept nogil, void* context,
                  int parts) noexcept nogil
cdef int share(int (*part)(void*, int, int) noexcept nogil, void* context, int parts,
               int most) noexcept nogil
cdef double seconds() noexcept nogil
cdef int num_threads() noexcept nogil
cdef int l1_ways() noexcept nogil
cdef long long l2_bytes() noexcept nogil
