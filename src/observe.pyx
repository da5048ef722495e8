# What watching a training measures: one number from an array, walked once, sums in double.

cdef enum:
    SQUARES, DEAD, SATURATED

# In the enum's order.
OBSERVATIONS = ("squares", "dead", "saturated")

# Sums that run side by side: one alone would wait for each addition. (That of clipping has fewer;
# its bits are older than this file.)
cdef enum:
    SQUARE_LANES = 32

# Columns whose state fits into L1 beside a row's piece; rows between two looks at all of them.
cdef enum:
    DEAD_COLS = 64
    DEAD_ROWS = 8


cdef double squares(const_restricted v, Py_ssize_t n) noexcept nogil:
    cdef double s[SQUARE_LANES]
    cdef double total = 0, x
    cdef Py_ssize_t i = 0, l, whole = n - n % SQUARE_LANES
    for l in range(SQUARE_LANES):
        s[l] = 0
    while i < whole:
        for l in range(SQUARE_LANES):
            x = v[i + l]
            s[l] += x * x
        i += SQUARE_LANES
    for l in range(SQUARE_LANES):
        total += s[l]
    for i in range(whole, n):
        x = v[i]
        total += x * x
    return total


cdef double share_of_dead(const real* y, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # Share of the columns that are 0 in every row. Most units show within a few rows that they
    # are not dead, so the walk seldom goes further.
    cdef int alive[DEAD_COLS]
    cdef int living
    cdef Py_ssize_t i, j, at = 0, width, dead = 0
    cdef const real* row
    while at < cols:
        width = smaller(DEAD_COLS, cols - at)
        for j in range(width):
            alive[j] = 0
        living = 0
        for i in range(rows):
            row = y + i * cols + at
            for j in range(width):
                alive[j] |= row[j] != 0
            if i % DEAD_ROWS == DEAD_ROWS - 1 or i == rows - 1:
                living = 0
                for j in range(width):
                    living += alive[j]
                if living == width:
                    break
        dead += width - living
        at += width
    return <double>dead / cols


cdef double share_beyond(const real* y, Py_ssize_t n, real low, real high) noexcept nogil:
    # Share of the numbers that are at most `low` or at least `high`; a NaN is neither.
    cdef Py_ssize_t i, at = 0, end
    cdef Py_ssize_t count = 0
    cdef int found
    while at < n:
        end = smaller(n, at + (1 << 24))
        found = 0
        for i in range(at, end):
            found += (y[i] <= low) | (y[i] >= high)
        count += found
        at = end
    return <double>count / n


cdef double observe(int kind, const real* v, Py_ssize_t rows, Py_ssize_t cols, double low,
                    double high) noexcept nogil:
    if kind == SQUARES:
        return squares(v, rows * cols)
    if kind == DEAD:
        return share_of_dead(v, rows, cols)
    return share_beyond(v, rows * cols, <real>low, <real>high)
