# Metrics: the value of one row. A metric's total is sum_i r_i value_i, its count sum_i r_i.

cdef enum:
    BINARY_ACCURACY, CATEGORICAL_ACCURACY, SPARSE_CATEGORICAL_ACCURACY
    TOP_K_CATEGORICAL_ACCURACY, SPARSE_TOP_K_CATEGORICAL_ACCURACY
    METRIC_SQUARED_ERROR, METRIC_ABSOLUTE_ERROR
    N_METRICS

# In the enum's order.
METRICS = ("binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy",
           "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy",
           "mean_squared_error", "mean_absolute_error")


cdef inline bint metric_takes_labels(int kind) noexcept nogil:
    return kind == SPARSE_CATEGORICAL_ACCURACY or kind == SPARSE_TOP_K_CATEGORICAL_ACCURACY


cdef inline Py_ssize_t argmax(const real* y, Py_ssize_t n) noexcept nogil:
    # The first of the largest, as numpy.argmax; a NaN counts as larger than any number.
    cdef Py_ssize_t i, best = 0
    for i in range(1, n):
        if y[i] > y[best] or (y[i] != y[i] and y[best] == y[best]):
            best = i
    return best


cdef inline double in_top_k(const real* y, Py_ssize_t label, Py_ssize_t n,
                            double k) noexcept nogil:
    # 1 when fewer than k entries are larger than the label's, and that one is finite.
    cdef Py_ssize_t i, larger = 0
    if not (abs_(y[label]) <= REAL_MAX):
        return 0
    for i in range(n):
        larger += y[i] > y[label] or y[i] != y[i]
    return 1 if larger < k else 0


cdef double metric_row(int kind, const real* y, const real* t, long long label, Py_ssize_t n,
                       double alpha) noexcept nogil:
    cdef double s = 0, e
    cdef Py_ssize_t i
    if kind == BINARY_ACCURACY:
        for i in range(n):
            s += t[i] == (1 if y[i] > alpha else 0)
        return s / n
    elif kind == CATEGORICAL_ACCURACY:
        return 1 if argmax(y, n) == argmax(t, n) else 0
    elif kind == SPARSE_CATEGORICAL_ACCURACY:
        return 1 if argmax(y, n) == label else 0
    elif kind == TOP_K_CATEGORICAL_ACCURACY:
        return in_top_k(y, argmax(t, n), n, alpha)
    elif kind == SPARSE_TOP_K_CATEGORICAL_ACCURACY:
        return in_top_k(y, label, n, alpha)
    elif kind == METRIC_SQUARED_ERROR:
        for i in range(n):
            e = <double>y[i] - t[i]
            s += e * e
        return s / n
    elif kind == METRIC_ABSOLUTE_ERROR:
        for i in range(n):
            e = <double>y[i] - t[i]
            s += -e if e < 0 else e
        return s / n
    return 0


cdef void metric_rows(int kind, const real* y, const real* t, const long long* labels,
                      const double* r, Py_ssize_t rows, Py_ssize_t cols, double alpha,
                      double* total, double* count) noexcept nogil:
    cdef Py_ssize_t i
    cdef double weight = 1
    for i in range(rows):
        if r:
            weight = r[i]
        total[0] += weight * metric_row(kind, y + i * cols, t + i * cols if t else NULL,
                                        labels[i] if labels else 0, cols, alpha)
        count[0] += weight
