# Losses: the value of each row and its derivative by that row's y, one scalar formula
# each where columns are independent, one row function each where they are not.
#
# To add one: its name in the enum and in LOSSES, its formulas (or its row function) and
# its line in loss_row(). `alpha` is its one parameter: delta, or label smoothing.

cdef enum:
    MEAN_SQUARED_ERROR, ROOT_MEAN_SQUARED_ERROR, MEAN_ABSOLUTE_ERROR, HUBER, LOG_COSH, POISSON
    BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, SPARSE_CATEGORICAL_CROSSENTROPY
    SIGMOID_BINARY_CROSSENTROPY, SOFTMAX_CATEGORICAL_CROSSENTROPY
    SOFTMAX_SPARSE_CATEGORICAL_CROSSENTROPY
    N_LOSSES

# In the enum's order.
LOSSES = (
    "mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "huber",
    "log_cosh", "poisson", "binary_crossentropy", "categorical_crossentropy",
    "sparse_categorical_crossentropy", "sigmoid_binary_crossentropy",
    "softmax_categorical_crossentropy", "softmax_sparse_categorical_crossentropy",
)

cdef enum:
    SUM_OVER_BATCH_SIZE, SUM, MEAN_WITH_SAMPLE_WEIGHT

REDUCTIONS = {"sum_over_batch_size": SUM_OVER_BATCH_SIZE, "mean": SUM_OVER_BATCH_SIZE,
              "sum": SUM, "mean_with_sample_weight": MEAN_WITH_SAMPLE_WEIGHT}

ctypedef real (*loss_formula)(real, real, real) noexcept nogil


cdef inline bint loss_takes_labels(int kind) noexcept nogil:
    return (kind == SPARSE_CATEGORICAL_CROSSENTROPY
            or kind == SOFTMAX_SPARSE_CATEGORICAL_CROSSENTROPY)


cdef inline real squared(real y, real t, real alpha) noexcept nogil:
    return (y - t) * (y - t)

cdef inline real squared_derivative(real y, real t, real alpha) noexcept nogil:
    return R(2) * (y - t)


cdef inline real absolute(real y, real t, real alpha) noexcept nogil:
    return abs_(y - t)

cdef inline real absolute_derivative(real y, real t, real alpha) noexcept nogil:
    # The sign; at 0 it is 0, and a NaN stays one.
    cdef real e = y - t
    return 1 if e > 0 else (-1 if e < 0 else e)


cdef inline real huber(real y, real t, real delta) noexcept nogil:
    # e^2 / 2 for |e| <= delta, else delta |e| - delta^2 / 2
    cdef real e = abs_(y - t)
    return delta * e - delta * delta / R(2) if e > delta else e * e / R(2)

cdef inline real huber_derivative(real y, real t, real delta) noexcept nogil:
    cdef real e = y - t
    return delta if e > delta else (-delta if e < -delta else e)


cdef inline real log_cosh(real y, real t, real alpha) noexcept nogil:
    # log((e^a + e^-a) / 2) = |a| + log(1 + e^-2|a|) - log 2
    cdef real e = abs_(y - t)
    return e + log1p_(exp_(-R(2) * e)) - R(0.6931471805599453094)

cdef inline real log_cosh_derivative(real y, real t, real alpha) noexcept nogil:
    return tanh_(y - t)


cdef inline real poisson(real y, real t, real alpha) noexcept nogil:
    return y - t * log_(y + R(1e-7))

cdef inline real poisson_derivative(real y, real t, real alpha) noexcept nogil:
    return R(1) - t / (y + R(1e-7))


cdef inline real smoothed(real t, real alpha) noexcept nogil:
    # Binary label smoothing: towards 1/2.
    return t * (R(1) - alpha) + alpha / R(2)


cdef inline real clipped(real y) noexcept nogil:
    return (R(1e-7) if y < R(1e-7)
            else (R(1) - R(1e-7) if y > R(1) - R(1e-7) else y))


cdef inline real binary(real y, real t, real alpha) noexcept nogil:
    # -(t log y + (1 - t) log(1 - y)), y clipped to [1e-7, 1 - 1e-7] as Keras does
    cdef real p = clipped(y)
    t = smoothed(t, alpha)
    return -(t * log_(p) + (R(1) - t) * log_(R(1) - p))

cdef inline real binary_derivative(real y, real t, real alpha) noexcept nogil:
    cdef real p = clipped(y)
    t = smoothed(t, alpha)
    return 0 if (y < R(1e-7)) | (y > R(1) - R(1e-7)) else (p - t) / (p * (R(1) - p))


cdef inline real sigmoid_binary(real z, real t, real alpha) noexcept nogil:
    # max(z, 0) - z t + log(1 + e^-|z|): binary cross-entropy of sigmoid(z)
    t = smoothed(t, alpha)
    return (R(0) if z < 0 else z) - z * t + log1p_(exp_(-abs_(z)))

cdef inline real sigmoid_binary_derivative(real z, real t, real alpha) noexcept nogil:
    return sigmoid_(z) - smoothed(t, alpha)


cdef inline real columns(loss_formula value, loss_formula derivative, const_restricted y,
                         const_restricted t, restricted dy, Py_ssize_t n,
                         real alpha) noexcept nogil:
    # Mean of value(y_j, t_j) over the row; dy_j = derivative(y_j, t_j) / n. dy holds the
    # values first: two plain loops become vector code where one with a sum would not.
    cdef real total
    cdef real scale = R(1) / <real>n
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = value(y[i], t[i], alpha)
    total = row_sum(dy, n)
    for i in range(n):
        dy[i] = derivative(y[i], t[i], alpha) * scale
    return total * scale


cdef real softmax_categorical(const_restricted z, const_restricted t, restricted dz,
                              Py_ssize_t n, real alpha) noexcept nogil:
    # -sum_j t_j log softmax(z)_j;  dz = softmax(z) sum_j t_j - t
    cdef real m = row_max(z, n)
    cdef real s = exponentials(z, dz, n, m)
    cdef real log_s = log_(s)
    cdef real keep = R(1) - alpha, add = alpha / <real>n
    cdef real weight = row_sum(t, n) * keep + alpha
    cdef real value = 0, target
    cdef Py_ssize_t i
    for i in range(n):
        target = t[i] * keep + add
        value += target * (log_s - (z[i] - m))
    weight = weight / s
    for i in range(n):
        dz[i] = dz[i] * weight - (t[i] * keep + add)
    return value


cdef real softmax_sparse(const_restricted z, long long label, restricted dz,
                         Py_ssize_t n) noexcept nogil:
    # -log softmax(z)_label;  dz = softmax(z) - 1[j = label]
    cdef real m = row_max(z, n)
    cdef real s = exponentials(z, dz, n, m)
    cdef real scale = R(1) / s
    cdef Py_ssize_t i
    for i in range(n):
        dz[i] = dz[i] * scale
    dz[label] -= 1
    return log_(s) - (z[label] - m)


cdef real categorical(const_restricted y, const_restricted t, long long label, restricted dy,
                      Py_ssize_t n, real alpha) noexcept nogil:
    # -sum_j t_j log p_j, p = clip(y / sum y): Keras's cross-entropy from probabilities.
    # t is NULL for an integer label. With g_j = -t_j / p_j where p_j is inside the clip:
    # dy_k = (g_k - sum_j g_j p_j) / sum y
    cdef real scale = R(1) / row_sum(y, n)
    cdef real keep = R(1) - alpha, add = alpha / <real>n
    cdef real value, p, q, target, s
    cdef Py_ssize_t i
    if t:
        for i in range(n):
            dy[i] = -(t[i] * keep + add) * log_(clipped(y[i] * scale))
        value = row_sum(dy, n)
        for i in range(n):
            p = y[i] * scale
            q = clipped(p)
            target = t[i] * keep + add
            dy[i] = R(0) if (p < R(1e-7)) | (p > R(1) - R(1e-7)) else -target / q
        s = row_dot(dy, y, n) * scale
        for i in range(n):
            dy[i] = (dy[i] - s) * scale
        return value
    # One target alone: g_label p_label = -1, or 0 where it was clipped.
    p = y[label] * scale
    q = clipped(p)
    s = R(0) if (p < R(1e-7)) | (p > R(1) - R(1e-7)) else -R(1)
    for i in range(n):
        dy[i] = -s * scale
    dy[label] = (s / q - s) * scale
    return -log_(q)


cdef real loss_row(int kind, const_restricted y, const_restricted t, long long label,
                   restricted dy, Py_ssize_t n, real alpha) noexcept nogil:
    # The loss of one row; dy gets its derivative. t, or label, is the row's target.
    if kind == MEAN_SQUARED_ERROR or kind == ROOT_MEAN_SQUARED_ERROR:
        return columns(squared, squared_derivative, y, t, dy, n, alpha)
    elif kind == MEAN_ABSOLUTE_ERROR:
        return columns(absolute, absolute_derivative, y, t, dy, n, alpha)
    elif kind == HUBER:
        return columns(huber, huber_derivative, y, t, dy, n, alpha)
    elif kind == LOG_COSH:
        return columns(log_cosh, log_cosh_derivative, y, t, dy, n, alpha)
    elif kind == POISSON:
        return columns(poisson, poisson_derivative, y, t, dy, n, alpha)
    elif kind == BINARY_CROSSENTROPY:
        return columns(binary, binary_derivative, y, t, dy, n, alpha)
    elif kind == SIGMOID_BINARY_CROSSENTROPY:
        return columns(sigmoid_binary, sigmoid_binary_derivative, y, t, dy, n, alpha)
    elif kind == SOFTMAX_CATEGORICAL_CROSSENTROPY:
        return softmax_categorical(y, t, dy, n, alpha)
    elif kind == SOFTMAX_SPARSE_CATEGORICAL_CROSSENTROPY:
        return softmax_sparse(y, label, dy, n)
    elif kind == CATEGORICAL_CROSSENTROPY:
        return categorical(y, t, 0, dy, n, alpha)
    elif kind == SPARSE_CATEGORICAL_CROSSENTROPY:
        return categorical(y, NULL, label, dy, n, 0)
    return 0


cdef double loss_rows(int kind, int reduction, const_restricted y, const_restricted t,
                      const long long* labels, const double* r, restricted dy, double* values,
                      Py_ssize_t rows, Py_ssize_t cols, real alpha) noexcept nogil:
    # The loss of a batch, sum_i s r_i L_i, and its derivative by y. s is 1 / rows, 1 or
    # 1 / sum r. dy holds (rows, cols); values, when given, gets each row's L_i.
    # The root of the mean squared error is one number for the batch: its derivative
    # is that of the mean over twice the root.
    cdef double total = 0, scale = 1, weight = 0, value, factor
    cdef const real* target = NULL
    cdef long long label = 0
    cdef Py_ssize_t i, j
    if reduction == SUM_OVER_BATCH_SIZE:
        scale = 1 / <double>rows
    elif reduction == MEAN_WITH_SAMPLE_WEIGHT:
        for i in range(rows):
            weight += r[i] if r else 1
        scale = 1 / weight if weight != 0 else 0
    for i in range(rows):
        if labels:
            label = labels[i]
        else:
            target = t + i * cols
        value = loss_row(kind, y + i * cols, target, label, dy + i * cols, cols, alpha)
        if values:
            values[i] = value
        factor = scale * r[i] if r else scale
        total += factor * value
        for j in range(cols):
            dy[i * cols + j] = dy[i * cols + j] * <real>factor
    if kind == ROOT_MEAN_SQUARED_ERROR:
        total = sqrt(total)
        factor = 1 / (2 * total) if total > 0 else (0 if total == 0 else total)
        for i in range(rows * cols):
            dy[i] = dy[i] * <real>factor
    return total
