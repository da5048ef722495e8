# Counter-based randomness: what is drawn depends on (seed, counter, element) alone, so it is
# the same for any batch order, number of threads and executor.

cdef inline uint64_t mix64(uint64_t v) noexcept nogil:
    # The finaliser of SplitMix64 (Steele, Lea and Flood 2014, variant 13 of Stafford).
    v ^= v >> 30
    v *= <uint64_t>0xBF58476D1CE4E5B9
    v ^= v >> 27
    v *= <uint64_t>0x94D049BB133111EB
    v ^= v >> 31
    return v


cdef inline uint64_t random_key(uint64_t seed, long long counter) noexcept nogil:
    return mix64(seed + <uint64_t>(counter + 1) * <uint64_t>0x9E3779B97F4A7C15)


cdef inline uint32_t mix32(uint32_t h) noexcept nogil:
    # Wellons' "lowbias32": 32-bit products, which every instruction set has as vectors.
    h ^= h >> 16
    h *= <uint32_t>0x7FEB352D
    h ^= h >> 15
    h *= <uint32_t>0x846CA68B
    h ^= h >> 16
    return h


cdef void drop(const_restricted x, restricted y, Py_ssize_t n, double rate, uint64_t seed,
               long long iteration) noexcept nogil:
    # y = x / (1 - rate) where an element is kept, else 0. The same call turns dy into dx.
    cdef uint64_t key = random_key(seed, iteration)
    cdef uint32_t k0 = <uint32_t>key, k1 = <uint32_t>(key >> 32)
    cdef uint32_t limit = <uint32_t>(rate * 4294967296.0)
    cdef real scale = <real>(1 / (1 - rate))
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = x[i] * scale if mix32(mix32(<uint32_t>i + k0) + k1) >= limit else 0


cdef inline uint64_t below(uint64_t n, uint64_t* state) noexcept nogil:
    # A number in 0..n-1 without bias. Up to 2^32: the upper half of 32 random bits times n, where
    # the lower half is not among the 2^32 mod n smallest (Lemire 2019): seldom a division.
    cdef uint64_t v, least
    cdef uint32_t few
    if n <= <uint64_t>0xFFFFFFFF:
        few = <uint32_t>n
        state[0] += <uint64_t>0x9E3779B97F4A7C15
        v = (mix64(state[0]) >> 32) * n
        if <uint32_t>v < few:
            least = (0 - few) % few
            while <uint32_t>v < least:
                state[0] += <uint64_t>0x9E3779B97F4A7C15
                v = (mix64(state[0]) >> 32) * n
        return v >> 32
    least = (0 - n) % n
    while True:
        state[0] += <uint64_t>0x9E3779B97F4A7C15
        v = mix64(state[0])
        if v >= least:
            return v % n


cdef enum:
    DRAWS = 256             # numbers that are drawn before they are used: in vectors


cdef void draw(uint64_t state, uint32_t* drawn) noexcept nogil:
    # The next DRAWS upper halves that below() would take.
    cdef Py_ssize_t l
    for l in range(DRAWS):
        drawn[l] = <uint32_t>(mix64(state + <uint64_t>(l + 1) * <uint64_t>0x9E3779B97F4A7C15)
                              >> 32)


cdef inline void swap(long long* order, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef long long kept = order[i]
    order[i] = order[j]
    order[j] = kept


cdef void permute(long long* order, Py_ssize_t n, uint64_t seed, long long epoch) noexcept nogil:
    # Fisher and Yates' shuffle of 0..n-1 (Durstenfeld 1964).
    cdef uint64_t state = random_key(seed, epoch), v
    cdef uint32_t drawn[DRAWS]
    cdef Py_ssize_t i = n - 1, l
    for l in range(n):
        order[l] = l
    while i >= DRAWS and <uint64_t>n <= <uint64_t>0xFFFFFFFF:
        draw(state, drawn)
        for l in range(DRAWS):
            v = <uint64_t>drawn[l] * <uint64_t>(i + 1)
            if <uint32_t>v <= <uint32_t>i:
                break               # below() may have to draw again
            swap(order, i, <Py_ssize_t>(v >> 32))
            i -= 1
        else:
            l = DRAWS
        state += <uint64_t>l * <uint64_t>0x9E3779B97F4A7C15
        if l < DRAWS:
            swap(order, i, <Py_ssize_t>below(<uint64_t>(i + 1), &state))
            i -= 1
    while i > 0:
        swap(order, i, <Py_ssize_t>below(<uint64_t>(i + 1), &state))
        i -= 1
