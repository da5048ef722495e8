# The plan's small steps: rescaling, penalties, clipping.

cdef void rescale(const_restricted x, restricted y, Py_ssize_t n, real scale,
                  real offset) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = x[i] * scale + offset


cdef double sum_of_squares(const_restricted x, Py_ssize_t n) noexcept nogil:
    cdef double s[8]
    cdef double total = 0, v
    cdef Py_ssize_t i = 0, l, whole = n - n % 8
    for l in range(8):
        s[l] = 0
    while i < whole:
        for l in range(8):
            v = x[i + l]
            s[l] += v * v
        i += 8
    for l in range(8):
        total += s[l]
    for i in range(whole, n):
        v = x[i]
        total += v * v
    return total


cdef double sum_of_magnitudes(const_restricted x, Py_ssize_t n) noexcept nogil:
    cdef double s[8]
    cdef double total = 0
    cdef Py_ssize_t i = 0, l, whole = n - n % 8
    for l in range(8):
        s[l] = 0
    while i < whole:
        for l in range(8):
            s[l] += abs_(x[i + l])
        i += 8
    for l in range(8):
        total += s[l]
    for i in range(whole, n):
        total += abs_(x[i])
    return total


cdef double penalty(const real* w, Py_ssize_t n, double l1, double l2) noexcept nogil:
    # l1 sum|w| + l2 sum w^2
    cdef double value = 0
    if l1 != 0:
        value += l1 * sum_of_magnitudes(w, n)
    if l2 != 0:
        value += l2 * sum_of_squares(w, n)
    return value


cdef void clip_value(restricted g, Py_ssize_t n, real limit) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        g[i] = limit if g[i] > limit else (-limit if g[i] < -limit else g[i])


cdef void clip_to_norm(restricted g, Py_ssize_t n, double norm, double limit) noexcept nogil:
    # g limit / norm where the norm is larger; a NaN norm makes the gradient NaN.
    if not norm <= limit:
        multiply_by(g, n, <real>(limit / norm))
