# Losses: the value of each row and its derivative by that row's y, one scalar formula
# each where columns are independent, one row function each where they are not.
#
# To add one: its name in the enum and in LOSSES, its formulas (or its function of rows) and
# its line in loss_block(), or, if it is a mean over columns, in loss_of_columns(), where
# is_mean_over_columns() must know it. `alpha` is its one parameter: delta, or label smoothing.

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
    return fused(delta, e, -(delta * delta / R(2))) if e > delta else e * e / R(2)

cdef inline real huber_derivative(real y, real t, real delta) noexcept nogil:
    cdef real e = y - t
    return delta if e > delta else (-delta if e < -delta else e)


cdef inline real log_cosh(real y, real t, real alpha) noexcept nogil:
    # log cosh e = |e| + log(1 + e^-2|e|) - log 2; near 0, where that cancels,
    # log(1 + q^2 / (2 (1 + q))) with q = e^-|e| - 1
    cdef real e = abs_(y - t)
    cdef real q = expm1_(-e if e < 1 else -R(1))
    cdef real near = log1p_(q * q / (R(2) * (R(1) + q)))
    cdef real far = e + log1p_(exp_negative(-R(2) * e)) - R(0.6931471805599453094)
    return near if e < 1 else far

cdef inline real log_cosh_derivative(real y, real t, real alpha) noexcept nogil:
    return tanh_(y - t)


cdef inline real poisson(real y, real t, real alpha) noexcept nogil:
    # Undefined for a negative y, as the logarithm is.
    cdef real p = y + R(1e-7)
    return y - t * (log_(p) if p >= 0 else NOT_A_NUMBER)

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
    return -fused(t, log_(p), (R(1) - t) * log_(R(1) - p))

cdef inline real binary_derivative(real y, real t, real alpha) noexcept nogil:
    cdef real p = clipped(y)
    t = smoothed(t, alpha)
    return 0 if (y < R(1e-7)) | (y > R(1) - R(1e-7)) else (p - t) / (p * (R(1) - p))


cdef inline real sigmoid_binary(real z, real t, real alpha) noexcept nogil:
    # max(z, 0) - z t + log(1 + e^-|z|): binary cross-entropy of sigmoid(z)
    t = smoothed(t, alpha)
    return (R(0) if z < 0 else z) - z * t + log1p_(exp_negative(-abs_(z)))

cdef inline real sigmoid_binary_derivative(real z, real t, real alpha) noexcept nogil:
    return sigmoid_(z) - smoothed(t, alpha)


cdef inline void many(loss_formula value, loss_formula derivative, const_restricted y,
                      const_restricted t, restricted dy, restricted values, Py_ssize_t rows,
                      Py_ssize_t cols, real alpha, real factor) noexcept nogil:
    # values_i = mean_j value(y_ij, t_ij); dy_ij = factor derivative(y_ij, t_ij) / cols. dy holds
    # the values first: two plain loops become vector code where one with a sum would not.
    cdef real scale = R(1) / <real>cols
    cdef Py_ssize_t i, n = rows * cols
    for i in range(n):
        dy[i] = value(y[i], t[i], alpha)
    for i in range(rows):
        values[i] = row_sum(dy + i * cols, cols) * scale
    for i in range(n):
        dy[i] = derivative(y[i], t[i], alpha) * scale * factor


cdef inline double few(loss_formula value, loss_formula derivative, const_restricted y,
                       const_restricted t, restricted dy, Py_ssize_t rows, Py_ssize_t cols,
                       real alpha, real factor) noexcept nogil:
    # many() for fewer numbers than a vector, returning the sum of the values, with the same bits. A
    # loop with two ends is not made into vectors, which for cheap formulas takes longer to begin.
    cdef real found[MOST_LANES]
    cdef real scale = R(1) / <real>cols, sum
    cdef Py_ssize_t i, j, n = rows * cols
    if rows < 1:
        return 0
    for j in range(LANES_PER_VECTOR):
        if j == n:
            break
        found[j] = value(y[j], t[j], alpha)
        dy[j] = derivative(y[j], t[j], alpha) * scale * factor
    for i in range(rows):
        sum = 0
        for j in range(i * cols, (i + 1) * cols):
            sum += found[j]
        found[i] = sum * scale
    return sum_of(found, NULL, rows)


cdef inline double columns(loss_formula value, loss_formula derivative, const_restricted y,
                           const_restricted t, restricted dy, restricted values, Py_ssize_t rows,
                           Py_ssize_t cols, real alpha, real factor) noexcept nogil:
    # many(), or with values NULL few().
    if values == NULL:
        return few(value, derivative, y, t, dy, rows, cols, alpha, factor)
    many(value, derivative, y, t, dy, values, rows, cols, alpha, factor)
    return 0


cdef inline bint is_mean_over_columns(int kind) noexcept nogil:
    return kind <= BINARY_CROSSENTROPY or kind == SIGMOID_BINARY_CROSSENTROPY


cdef inline double loss_of_columns(int kind, const_restricted y, const_restricted t,
                                   restricted dy, restricted values, Py_ssize_t rows,
                                   Py_ssize_t cols, real alpha, real factor) noexcept nogil:
    # A loss that is a mean over columns. With values NULL, for fewer numbers than a vector, the
    # values' sum is returned.
    if kind == MEAN_SQUARED_ERROR or kind == ROOT_MEAN_SQUARED_ERROR:
        return columns(squared, squared_derivative, y, t, dy, values, rows, cols, alpha, factor)
    if kind == MEAN_ABSOLUTE_ERROR:
        return columns(absolute, absolute_derivative, y, t, dy, values, rows, cols, alpha, factor)
    if kind == HUBER:
        return columns(huber, huber_derivative, y, t, dy, values, rows, cols, alpha, factor)
    if kind == LOG_COSH:
        return columns(log_cosh, log_cosh_derivative, y, t, dy, values, rows, cols, alpha, factor)
    if kind == POISSON:
        return columns(poisson, poisson_derivative, y, t, dy, values, rows, cols, alpha, factor)
    if kind == BINARY_CROSSENTROPY:
        return columns(binary, binary_derivative, y, t, dy, values, rows, cols, alpha, factor)
    if kind == SIGMOID_BINARY_CROSSENTROPY:
        return columns(sigmoid_binary, sigmoid_binary_derivative, y, t, dy, values, rows, cols,
                       alpha, factor)
    return NOT_A_NUMBER     # another is a mistake


cdef inline bint is_few(int kind, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # Is it loss_of_few()'s?
    return rows * cols < LANES_PER_VECTOR and is_mean_over_columns(kind)


cdef double loss_of_few(int kind, int reduction, const_restricted y, const_restricted t,
                        restricted dy, Py_ssize_t rows, Py_ssize_t cols,
                        real alpha) noexcept nogil:
    # loss_rows() of fewer numbers than a vector, without row weights; of the root of the mean
    # squared error, its square. A function of its own: within loss_rows() it would take longer to
    # begin.
    cdef double each = 1 if reduction == SUM else 1 / <double>rows
    return each * loss_of_columns(kind, y, t, dy, NULL, rows, cols, alpha, <real>each)


cdef void softmax_crossentropy_strips(const real* z, const real* t, const long long* labels,
                                      real* dz, restricted values, Py_ssize_t rows,
                                      Py_ssize_t cols, real keep, real add,
                                      real factor) noexcept nogil:
    # softmax_crossentropy() of up to STRIPS_ROWS short rows; the targets are t_ij keep + add.
    cdef Strips s
    cdef Py_ssize_t i, at = 0
    turn_strips(z, rows, cols, s.distances)
    exponentials_strips(&s, rows, cols)
    if labels:
        for i in range(rows):
            s.targets[i] = <real>labels[i]
        for i in range(rows, round_up(rows, STRIP)):
            s.targets[i] = 0
    else:
        turn_strips(t, rows, cols, s.targets)
    while at < rows:
        strip_losses(labels != NULL, cols, &s, at, keep, add, factor)
        at += STRIP
    turn_back(s.e, rows, cols, dz)
    for i in range(rows):
        values[i] = s.totals[i] * log_(s.sums[i]) - s.losses[i]


cdef void softmax_crossentropy(const_restricted z, const_restricted t, const long long* labels,
                               restricted dz, restricted values, Py_ssize_t rows, Py_ssize_t cols,
                               real alpha, real factor) noexcept nogil:
    # values_i = -sum_j t_ij log softmax(z_i)_j;  dz_i = factor (softmax(z_i) sum_j t_ij - t_i).
    # labels, when given, name the only j with t_ij = 1.
    cdef real largest[BLOCK_ROWS]
    cdef real sums[BLOCK_ROWS]
    cdef real logs[BLOCK_ROWS]
    cdef real keep = R(1) - alpha, add = alpha / <real>cols
    cdef real value
    cdef Py_ssize_t i, j, at = 0
    if cols <= STRIP:
        while at < rows:
            softmax_crossentropy_strips(z + at * cols, t + at * cols if t else NULL,
                                        labels + at if labels else NULL, dz + at * cols,
                                        values + at, smaller(STRIPS_ROWS, rows - at), cols, keep,
                                        add, factor)
            at += STRIPS_ROWS
        return
    exponentials_rows(z, dz, rows, cols, largest, sums)
    for i in range(rows):
        logs[i] = log_(sums[i])
    if labels:
        for i in range(rows):
            sums[i] = R(1) / sums[i]
        scale_rows(dz, sums, rows, cols)
        for i in range(rows):
            at = i * cols + labels[i]
            dz[at] -= 1
            values[i] = logs[i] - distance(z[at], largest[i])
        multiply_by(dz, rows * cols, factor)
        return
    for i in range(rows):
        sums[i] = (row_sum(t + i * cols, cols) * keep + alpha) * (R(1) / sums[i])
    scale_rows(dz, sums, rows, cols)
    for i in range(rows):
        value = 0
        for j in range(i * cols, (i + 1) * cols):
            value += (t[j] * keep + add) * (logs[i] - distance(z[j], largest[i]))
        values[i] = value
    for j in range(rows * cols):
        dz[j] = (dz[j] - (t[j] * keep + add)) * factor


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


cdef void loss_block(int kind, const_restricted y, const_restricted t, const long long* labels,
                     restricted dy, restricted values, Py_ssize_t rows, Py_ssize_t cols,
                     real alpha, real factor) noexcept nogil:
    # The loss of each row; dy gets factor times its derivative. t, or labels, holds the rows'
    # targets.
    cdef Py_ssize_t i
    if is_mean_over_columns(kind):
        loss_of_columns(kind, y, t, dy, values, rows, cols, alpha, factor)
    elif kind == SOFTMAX_CATEGORICAL_CROSSENTROPY:
        softmax_crossentropy(y, t, NULL, dy, values, rows, cols, alpha, factor)
    elif kind == SOFTMAX_SPARSE_CATEGORICAL_CROSSENTROPY:
        softmax_crossentropy(y, NULL, labels, dy, values, rows, cols, 0, factor)
    elif kind == CATEGORICAL_CROSSENTROPY:
        for i in range(rows):
            values[i] = categorical(y + i * cols, t + i * cols, 0, dy + i * cols, cols, alpha)
        multiply_by(dy, rows * cols, factor)
    elif kind == SPARSE_CATEGORICAL_CROSSENTROPY:
        for i in range(rows):
            values[i] = categorical(y + i * cols, NULL, labels[i], dy + i * cols, cols, 0)
        multiply_by(dy, rows * cols, factor)


cdef inline double sum_of(const real* values, const double* r, Py_ssize_t n) noexcept nogil:
    # sum_i r_i values_i (r NULL: all 1) as eight sums side by side: one alone would wait for each
    # addition.
    cdef double s[8]
    cdef double total
    cdef Py_ssize_t i = 0, l, whole = n - n % 8
    if n < 8:
        total = 0
        for i in range(8):
            if i == n:
                break
            total += r[i] * values[i] if r else values[i]
        return total
    for l in range(8):
        s[l] = r[l] * values[l] if r else values[l]
    i = 8
    while i < whole:
        for l in range(8):
            s[l] += r[i + l] * values[i + l] if r else values[i + l]
        i += 8
    for l in range(4):
        s[l] += s[l + 4]
    total = (s[0] + s[2]) + (s[1] + s[3])
    for i in range(whole, n):
        total += r[i] * values[i] if r else values[i]
    return total


cdef double loss_rows(int kind, int reduction, const_restricted y, const_restricted t,
                      const long long* labels, const double* r, restricted dy, double* values,
                      Py_ssize_t rows, Py_ssize_t cols, real alpha) noexcept nogil:
    # The loss of a batch, sum_i s r_i L_i, and its derivative by y. s is 1 / rows, 1 or
    # 1 / sum r. dy holds (rows, cols); values, when given, gets each row's L_i.
    # The root of the mean squared error is one number for the batch: its derivative
    # is that of the mean over twice the root.
    cdef real block_values[BLOCK_ROWS]
    cdef double total = 0, each = 1, weight = 0, factor
    cdef Py_ssize_t i, at, block = rows, n
    if rows > BLOCK_ROWS or rows * cols > BLOCK_NUMBERS:
        block = rows_of_block(cols)
    if reduction == SUM_OVER_BATCH_SIZE:
        each = 1 / <double>rows
    elif reduction == MEAN_WITH_SAMPLE_WEIGHT:
        for i in range(rows):
            weight += r[i] if r else 1
        each = 1 / weight if weight != 0 else 0
    at = 0
    if is_few(kind, rows, cols) and not r and not values:
        total = loss_of_few(kind, reduction, y, t, dy, rows, cols, alpha)
        at = rows
    while at < rows:
        n = block if block < rows - at else rows - at
        loss_block(kind, y + at * cols, t + at * cols if t else NULL,
                   labels + at if labels else NULL, dy + at * cols, block_values, n, cols, alpha,
                   R(1) if r else <real>each)
        if values:
            for i in range(n):
                values[at + i] = block_values[i]
        if r:
            for i in range(n):
                multiply_by(dy + (at + i) * cols, cols, <real>(each * r[at + i]))
            total += each * sum_of(block_values, r + at, n)
        else:
            total += each * sum_of(block_values, NULL, n)
        at += n
    if kind == ROOT_MEAN_SQUARED_ERROR:
        total = sqrt(total)
        factor = 1 / (2 * total) if total > 0 else (0 if total == 0 else total)
        multiply_by(dy, rows * cols, <real>factor)
    return total
