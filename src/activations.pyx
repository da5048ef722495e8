# Activations: value and derivative, one scalar formula each.
#
# To add one: its name in the enum and in ACTIVATIONS (which also says whether the
# derivative reads z, the value before, or y, the value after), its two formulas, and
# its line in activate() and in activate_backward(). `alpha` is the one parameter an
# activation may have. A NaN stays a NaN: selections are written so that it falls through.

cdef enum:
    LINEAR, SIGMOID, TANH, RELU, SOFTMAX, LEAKY_RELU, ELU, SELU, GELU, GELU_TANH, SILU
    SOFTPLUS, SOFTSIGN, MISH, EXPONENTIAL, HARD_SIGMOID, RELU6, LOG_SIGMOID
    N_ACTIVATIONS

# In the enum's order: name -> what the derivative reads.
ACTIVATIONS = {
    "linear": "y", "sigmoid": "y", "tanh": "y", "relu": "y", "softmax": "y",
    "leaky_relu": "y", "elu": "y", "selu": "y", "gelu": "z", "gelu_tanh": "z", "silu": "z",
    "softplus": "z", "softsign": "z", "mish": "z", "exponential": "y", "hard_sigmoid": "y",
    "relu6": "y", "log_sigmoid": "z",
}


cdef inline real linear(real z, real alpha) noexcept nogil:
    return z

cdef inline real linear_derivative(real y, real alpha) noexcept nogil:
    return 1


cdef inline real sigmoid(real z, real alpha) noexcept nogil:
    return sigmoid_(z)

cdef inline real sigmoid_derivative(real y, real alpha) noexcept nogil:
    return y * (R(1) - y)


cdef inline real tanh(real z, real alpha) noexcept nogil:
    return tanh_(z)

cdef inline real tanh_derivative(real y, real alpha) noexcept nogil:
    return (R(1) - y) * (R(1) + y)


cdef inline real relu(real z, real alpha) noexcept nogil:
    return 0 if z < 0 else z


cdef inline real leaky_relu(real z, real alpha) noexcept nogil:
    return alpha * z if z < 0 else z

cdef inline real leaky_relu_derivative(real y, real alpha) noexcept nogil:
    return 1 if y > 0 else alpha


cdef inline real elu(real z, real alpha) noexcept nogil:
    return z if z > 0 else alpha * expm1_(z)

cdef inline real elu_derivative(real y, real alpha) noexcept nogil:
    return 1 if y > 0 else y + alpha


cdef inline real selu(real z, real alpha) noexcept nogil:
    # The largest numbers, which the scale would make infinite, saturate.
    cdef real c = REAL_MAX / R(1.06) if z > REAL_MAX / R(1.06) else z
    return (R(1.0507009873554804934) * c if z > 0
            else R(1.7580993408473768599) * expm1_(z))

cdef inline real selu_derivative(real y, real alpha) noexcept nogil:
    return R(1.0507009873554804934) if y > 0 else y + R(1.7580993408473768599)


cdef inline real gelu(real z, real alpha) noexcept nogil:
    return z * normal_cdf(z)

cdef inline real gelu_derivative(real z, real alpha) noexcept nogil:
    # Phi(z) + z phi(z)
    cdef real c = 40 if z > 40 else (-40 if z < -40 else z)
    return normal_cdf(z) + c * exp_negative(-c * c / R(2)) * R(0.3989422804014326779)


cdef inline real gelu_tanh(real z, real alpha) noexcept nogil:
    # z (1 + tanh u) / 2 = z sigmoid(2u), u = sqrt(2/pi) (z + 0.044715 z^3)
    cdef real c = 40 if z > 40 else (-40 if z < -40 else z)
    return z * sigmoid_(R(1.5957691216057307117) * (c + R(0.044715) * c * c * c))

cdef inline real gelu_tanh_derivative(real z, real alpha) noexcept nogil:
    # s + z s (1 - s) 2u', s = sigmoid(2u); s (1 - s) from e^-|2u|: 1 - s alone would lose digits
    cdef real c = 40 if z > 40 else (-40 if z < -40 else z)
    cdef real u = R(1.5957691216057307117) * (c + R(0.044715) * c * c * c)
    cdef real e = exp_negative(-abs_(u))
    cdef real share = R(1) / (R(1) + e)
    cdef real s = e * share if u < 0 else share
    return s + c * (e * share * share) * R(1.5957691216057307117) * (R(1) + R(0.134145) * c * c)


cdef inline real silu(real z, real alpha) noexcept nogil:
    return z * sigmoid_(z)

cdef inline real silu_derivative(real z, real alpha) noexcept nogil:
    cdef real s = sigmoid_(z)
    return s * (R(1) + z * (R(1) - s))


cdef inline real softplus(real z, real alpha) noexcept nogil:
    # log(1 + e^z)
    return (R(0) if z < 0 else z) + log1p_(exp_negative(-abs_(z)))

cdef inline real softplus_derivative(real z, real alpha) noexcept nogil:
    return sigmoid_(z)


cdef inline real softsign(real z, real alpha) noexcept nogil:
    return z / (R(1) + abs_(z))

cdef inline real softsign_derivative(real z, real alpha) noexcept nogil:
    cdef real d = R(1) / (R(1) + abs_(z))
    return d * d


cdef inline real mish(real z, real alpha) noexcept nogil:
    # z tanh(softplus(z)) with tanh(log(1 + e^z)) = p / (p + q); e = e^-|z| keeps p = e (e + 2) or
    # 1 + 2 e and q = 2 or 2 e^2 small. Left to itself gcc fuses p + q in a loop's vectors only.
    cdef real e = exp_negative(-abs_(z))
    cdef real p = fused(e, e, R(2) * e) if z < 0 else fused(R(2), e, R(1))
    cdef real both = fused(e, e + R(2), R(2)) if z < 0 else fused(R(2) * e, e, p)
    return z * (p / both)

cdef inline real mish_derivative(real z, real alpha) noexcept nogil:
    # T + z (1 - T^2) sigmoid(z), T = p / (p + q), 1 - T^2 = q (2p + q) / (p + q)^2
    cdef real c = 120 if z > 120 else (-120 if z < -120 else z)
    cdef real e, p, q, s
    if IS_DOUBLE:
        c = 800 if z > 800 else (-800 if z < -800 else z)
    e = exp_negative(-abs_(c))
    p = e * (e + R(2)) if z < 0 else R(1) + R(2) * e
    q = R(2) if z < 0 else R(2) * e * e
    s = (e if z < 0 else R(1)) / (R(1) + e)
    return p / (p + q) + c * s * q * (R(2) * p + q) / ((p + q) * (p + q))


cdef inline real exponential(real z, real alpha) noexcept nogil:
    return exp_(z)

cdef inline real exponential_derivative(real y, real alpha) noexcept nogil:
    return y


cdef inline real hard_sigmoid(real z, real alpha) noexcept nogil:
    # relu6(z + 3) / 6
    cdef real v = z + R(3)
    return (R(0) if v < 0 else (R(6) if v > 6 else v)) / R(6)

cdef inline real hard_sigmoid_derivative(real y, real alpha) noexcept nogil:
    return R(0.16666666666666666667) if (y > 0) & (y < 1) else 0


cdef inline real relu6(real z, real alpha) noexcept nogil:
    return 0 if z < 0 else (6 if z > 6 else z)

cdef inline real relu6_derivative(real y, real alpha) noexcept nogil:
    return 1 if (y > 0) & (y < 6) else 0


cdef inline real log_sigmoid(real z, real alpha) noexcept nogil:
    # -log(1 + e^-z)
    return (z if z < 0 else R(0)) - log1p_(exp_negative(-abs_(z)))

cdef inline real log_sigmoid_derivative(real z, real alpha) noexcept nogil:
    return sigmoid_(-z)


cdef inline void apply(formula f, const_restricted z, restricted y, Py_ssize_t n,
                       real alpha) noexcept nogil:
    # y = f(z). The compiler copies this loop for every f and vectorises the copy.
    cdef Py_ssize_t i
    if FEWEST_LANES < LANES_PER_VECTOR and n == FEWEST_LANES:
        for i in range(FEWEST_LANES):
            y[i] = f(z[i], alpha)
        return
    for i in range(n):
        y[i] = f(z[i], alpha)


cdef inline void chain(formula derivative, const_restricted dy, const_restricted zy,
                       restricted dx, Py_ssize_t n, real alpha) noexcept nogil:
    # dx = dy f'(z or y)
    cdef Py_ssize_t i
    if FEWEST_LANES < LANES_PER_VECTOR and n == FEWEST_LANES:
        for i in range(FEWEST_LANES):
            dx[i] = dy[i] * derivative(zy[i], alpha)
        return
    for i in range(n):
        dx[i] = dy[i] * derivative(zy[i], alpha)


cdef inline void chain_relu(const_restricted dy, const_restricted zy, restricted dx,
                            Py_ssize_t n) noexcept nogil:
    # A choice, not a product: NaN times 0 would be NaN in some of a loop's code and 0 in other.
    cdef Py_ssize_t i
    if FEWEST_LANES < LANES_PER_VECTOR and n == FEWEST_LANES:
        for i in range(FEWEST_LANES):
            dx[i] = dy[i] if zy[i] > 0 else 0
        return
    for i in range(n):
        dx[i] = dy[i] if zy[i] > 0 else 0


cdef void activate(int kind, const_restricted z, restricted y, Py_ssize_t n,
                   real alpha) noexcept nogil:
    # Any elementwise activation over n numbers. z and y do not overlap.
    if kind == LINEAR: apply(linear, z, y, n, alpha)
    elif kind == SIGMOID: apply(sigmoid, z, y, n, alpha)
    elif kind == TANH: apply(tanh, z, y, n, alpha)
    elif kind == RELU: apply(relu, z, y, n, alpha)
    elif kind == LEAKY_RELU: apply(leaky_relu, z, y, n, alpha)
    elif kind == ELU: apply(elu, z, y, n, alpha)
    elif kind == SELU: apply(selu, z, y, n, alpha)
    elif kind == GELU: apply(gelu, z, y, n, alpha)
    elif kind == GELU_TANH: apply(gelu_tanh, z, y, n, alpha)
    elif kind == SILU: apply(silu, z, y, n, alpha)
    elif kind == SOFTPLUS: apply(softplus, z, y, n, alpha)
    elif kind == SOFTSIGN: apply(softsign, z, y, n, alpha)
    elif kind == MISH: apply(mish, z, y, n, alpha)
    elif kind == EXPONENTIAL: apply(exponential, z, y, n, alpha)
    elif kind == HARD_SIGMOID: apply(hard_sigmoid, z, y, n, alpha)
    elif kind == RELU6: apply(relu6, z, y, n, alpha)
    elif kind == LOG_SIGMOID: apply(log_sigmoid, z, y, n, alpha)


cdef void activate_backward(int kind, const_restricted dy, const_restricted zy,
                            restricted dx, Py_ssize_t n, real alpha) noexcept nogil:
    # dx = dy times the derivative; zy is z or y, whichever the derivative reads.
    if kind == LINEAR: chain(linear_derivative, dy, zy, dx, n, alpha)
    elif kind == SIGMOID: chain(sigmoid_derivative, dy, zy, dx, n, alpha)
    elif kind == TANH: chain(tanh_derivative, dy, zy, dx, n, alpha)
    elif kind == RELU: chain_relu(dy, zy, dx, n)
    elif kind == LEAKY_RELU: chain(leaky_relu_derivative, dy, zy, dx, n, alpha)
    elif kind == ELU: chain(elu_derivative, dy, zy, dx, n, alpha)
    elif kind == SELU: chain(selu_derivative, dy, zy, dx, n, alpha)
    elif kind == GELU: chain(gelu_derivative, dy, zy, dx, n, alpha)
    elif kind == GELU_TANH: chain(gelu_tanh_derivative, dy, zy, dx, n, alpha)
    elif kind == SILU: chain(silu_derivative, dy, zy, dx, n, alpha)
    elif kind == SOFTPLUS: chain(softplus_derivative, dy, zy, dx, n, alpha)
    elif kind == SOFTSIGN: chain(softsign_derivative, dy, zy, dx, n, alpha)
    elif kind == MISH: chain(mish_derivative, dy, zy, dx, n, alpha)
    elif kind == EXPONENTIAL: chain(exponential_derivative, dy, zy, dx, n, alpha)
    elif kind == HARD_SIGMOID: chain(hard_sigmoid_derivative, dy, zy, dx, n, alpha)
    elif kind == RELU6: chain(relu6_derivative, dy, zy, dx, n, alpha)
    elif kind == LOG_SIGMOID: chain(log_sigmoid_derivative, dy, zy, dx, n, alpha)


cdef inline bint has_quad(int kind) noexcept nogil:
    # (Their derivatives read y, or nothing, and they have no alpha.)
    return kind == LINEAR or kind == SIGMOID or kind == TANH or kind == RELU


cdef inline void activate_quad(int kind, const_restricted z, restricted y) noexcept nogil:
    # activate() of QUAD numbers that are in a register, for what has_quad() names.
    if kind == LINEAR: apply(linear, z, y, QUAD, 0)
    elif kind == SIGMOID: apply(sigmoid, z, y, QUAD, 0)
    elif kind == TANH: apply(tanh, z, y, QUAD, 0)
    elif kind == RELU: apply(relu, z, y, QUAD, 0)


cdef inline void chain_quad(int kind, const_restricted dy, const_restricted y,
                            restricted dx) noexcept nogil:
    # activate_backward() likewise.
    if kind == LINEAR: chain(linear_derivative, dy, y, dx, QUAD, 0)
    elif kind == SIGMOID: chain(sigmoid_derivative, dy, y, dx, QUAD, 0)
    elif kind == TANH: chain(tanh_derivative, dy, y, dx, QUAD, 0)
    elif kind == RELU: chain_relu(dy, y, dx, QUAD)


cdef inline Py_ssize_t whole_lanes(Py_ssize_t n) noexcept nogil:
    # How many numbers to compute for n: few are not worth more loops than one vector's, with what
    # lies behind them, whatever it is. What is read and written must have room for a vector.
    if n <= FEWEST_LANES:
        return FEWEST_LANES
    return n if n > LANES_PER_VECTOR else LANES_PER_VECTOR


# Softmax needs whole rows. Sums run in LANES partial sums so that they vectorise, in an
# order that does not depend on the instruction set.
cdef enum:
    LANES = 16


cdef inline real row_max(const_restricted z, Py_ssize_t n) noexcept nogil:
    # The largest element; NaN is passed over (it comes back through the exponentials).
    cdef real m[LANES]
    cdef real best = z[0]
    cdef Py_ssize_t i, l, whole = n - n % LANES
    if whole:
        for l in range(LANES):
            m[l] = z[l]
        i = LANES
        while i < whole:
            for l in range(LANES):
                m[l] = z[i + l] if z[i + l] > m[l] else m[l]
            i += LANES
        best = m[0]
        for l in range(LANES):
            best = m[l] if m[l] > best else best
    for i in range(whole, n):
        best = z[i] if z[i] > best else best
    return best


cdef inline real row_sum(const_restricted z, Py_ssize_t n) noexcept nogil:
    cdef real s[LANES]
    cdef real total = 0
    cdef Py_ssize_t i = 0, l, whole = n - n % LANES
    if whole:
        for l in range(LANES):
            s[l] = 0
        while i < whole:
            for l in range(LANES):
                s[l] += z[i + l]
            i += LANES
        for l in range(LANES):
            total += s[l]
    for i in range(whole, n):
        total += z[i]
    return total


cdef inline real row_dot(const_restricted a, const_restricted b, Py_ssize_t n) noexcept nogil:
    cdef real s[LANES]
    cdef real total = 0
    cdef Py_ssize_t i = 0, l, whole = n - n % LANES
    if whole:
        for l in range(LANES):
            s[l] = 0
        while i < whole:
            for l in range(LANES):
                s[l] += a[i + l] * b[i + l]
            i += LANES
        for l in range(LANES):
            total += s[l]
    for i in range(whole, n):
        total += a[i] * b[i]
    return total


# Rows are taken in blocks.
cdef enum:
    BLOCK_ROWS = 128
    BLOCK_NUMBERS = 2048    # of a block of several rows: they stay in the L1 cache

cdef extern from "strips.h" nogil:
    const int STRIP
    const int STRIPS_ROWS
    ctypedef struct Strips:
        real* distances
        real* e
        real* targets
        real* sums
        real* totals
        real* losses
    void strip_distances(Py_ssize_t cols, real* columns)
    void strip_sums(Py_ssize_t cols, const real* columns, real* sums)
    void strip_shares(Py_ssize_t cols, real* columns, const real* sums)
    void strip_losses(int labels, Py_ssize_t cols, Strips* s, Py_ssize_t at, real keep, real add,
                      real factor)


cdef inline Py_ssize_t rows_of_block(Py_ssize_t cols) noexcept nogil:
    cdef Py_ssize_t rows = BLOCK_NUMBERS // (cols if cols > 0 else 1)
    return 1 if rows < 1 else (BLOCK_ROWS if rows > BLOCK_ROWS else rows)


cdef inline real distance(real z, real largest) noexcept nogil:
    # z - largest, finite for finite numbers: times a target of 0 it must be 0.
    cdef real d = z - largest
    return -REAL_MAX if d < -REAL_MAX else d


cdef inline void multiply_by(restricted y, Py_ssize_t n, real factor) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = y[i] * factor


cdef inline void scale_rows(restricted y, const real* scales, Py_ssize_t rows,
                            Py_ssize_t cols) noexcept nogil:
    # y(i, j) *= scales(i)
    cdef Py_ssize_t i
    for i in range(rows):
        multiply_by(y + i * cols, cols, scales[i])


cdef inline void exponentials_rows(const_restricted z, restricted e, Py_ssize_t rows,
                                   Py_ssize_t cols, real* largest, real* sums) noexcept nogil:
    # e = exp(z - the row's largest); a block of rows.
    cdef Py_ssize_t i, j
    for i in range(rows):
        largest[i] = row_max(z + i * cols, cols)
        for j in range(i * cols, (i + 1) * cols):
            e[j] = z[j] - largest[i]
    for j in range(rows * cols):
        e[j] = exp_negative(e[j])
    for i in range(rows):
        sums[i] = row_sum(e + i * cols, cols)


cdef inline Py_ssize_t in_squares(Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # How many of so many rows can be turned in squares of four: what these read and write beyond
    # a row's end, up to three numbers, lies in the rows behind.
    cdef Py_ssize_t behind = 0 if cols % 4 == 0 else (1 if cols > 1 else 3)
    return (rows - behind) // 4 * 4 if rows > behind else 0


cdef inline void turn_strips(const real* z, Py_ssize_t rows, Py_ssize_t cols,
                             real* strips) noexcept nogil:
    # Short rows as strips; the last is filled up with rows of 0.
    cdef Py_ssize_t i, j, n, squares
    while rows > 0:
        n = STRIP if STRIP < rows else rows
        if 2 <= cols <= MOST_CLOSED:
            open_rows(n, cols, z, strips, STRIP)
        elif n == STRIP and VECTOR_BYTES != 32:   # (of which squares are faster)
            transpose_to_short_rows(z, cols, cols, strips)
        else:
            squares = in_squares(rows, cols)
            squares = n if n < squares else squares
            transpose_squares(z, cols, squares, cols, strips, STRIP)
            if squares < n:
                transpose(z + squares * cols, cols, n - squares, cols, strips + squares, STRIP)
            for j in range(cols):
                for i in range(n, STRIP):
                    strips[j * STRIP + i] = 0
        z += n * cols
        strips += cols * STRIP
        rows -= n


cdef inline void turn_back(const real* strips, Py_ssize_t rows, Py_ssize_t cols,
                           real* y) noexcept nogil:
    # What is written beyond a row's end lies in the rows behind, at most three of them, and is
    # then written over.
    cdef Py_ssize_t n, first
    cdef bint wide = VECTOR_BYTES == 64 and 4 <= cols <= LANES_PER_VECTOR
    while rows > 0:
        n = smaller(STRIP, rows)
        first = n
        if 2 <= cols <= MOST_CLOSED:
            close_rows(n, cols, strips, STRIP, y)
        elif wide:
            first = smaller(larger(rows - 3, 0) // 4 * 4, n)
            transpose_few_rows(strips, STRIP, cols, first, y)
        else:
            first = smaller(in_squares(rows, cols), n)
            transpose_squares(strips, STRIP, cols, first, y, cols)
        if first < n:
            transpose(strips + first, STRIP, cols, n - first, y + first * cols, cols)
        y += STRIP * cols
        strips += cols * STRIP
        rows -= STRIP


cdef inline void exponentials_strips(Strips* s, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # s.distances, rows turned, become their distances from the row's largest; s.e = exp of that,
    # s.sums of it.
    cdef Py_ssize_t j, at = 0, size = round_up(rows, STRIP)
    while at < size:
        strip_distances(cols, s.distances + at * cols)
        at += STRIP
    for j in range(size * cols):
        s.e[j] = exp_negative(s.distances[j])
    at = 0
    while at < size:
        strip_sums(cols, s.e + at * cols, s.sums + at)
        at += STRIP


# A layer whose rows lie turned when they are computed: x w + b.
ctypedef struct Turned:
    const real* x
    const real* w
    const real* b
    Py_ssize_t n_in


cdef void softmax_strips(const real* z, const Turned* layer, real* y, Py_ssize_t rows,
                         Py_ssize_t cols) noexcept nogil:
    # softmax_rows() of short rows: of z, or of the layer (NULL: of z), of which they are whole
    # strips. The layer's stay turned until all is done.
    cdef Strips s
    cdef Py_ssize_t first = 0, n, at
    while first < rows:
        n = smaller(STRIPS_ROWS, rows - first)
        at = 0
        if layer != NULL:
            while at < n:
                multiply_to_strip(cols, layer.n_in, layer.x + (first + at) * layer.n_in,
                                  layer.n_in, layer.w, cols, layer.b, s.distances + at * cols)
                at += STRIP
        else:
            turn_strips(z + first * cols, n, cols, s.distances)
        exponentials_strips(&s, n, cols)
        at = 0
        while at < n:
            strip_shares(cols, s.e + at * cols, s.sums + at)
            at += STRIP
        turn_back(s.e, n, cols, y + first * cols)
        first += n


cdef enum:
    FEW_ROWS = 4            # fewer than so many are not worth a strip; the bits are the same


cdef void softmax_rows(const_restricted z, restricted y, Py_ssize_t rows,
                       Py_ssize_t cols) noexcept nogil:
    cdef real largest[BLOCK_ROWS]
    cdef real sums[BLOCK_ROWS]
    cdef Py_ssize_t at = 0, block = FEW_ROWS, i, n
    if cols > STRIP:
        block = rows_of_block(cols)
    elif rows >= FEW_ROWS:
        n = rows % STRIPS_ROWS
        at = rows - n if n < FEW_ROWS else rows
        softmax_strips(z, NULL, y, at, cols)
    while at < rows:
        n = smaller(block, rows - at)
        exponentials_rows(z + at * cols, y + at * cols, n, cols, largest, sums)
        for i in range(n):
            sums[i] = R(1) / sums[i]
        scale_rows(y + at * cols, sums, n, cols)
        at += n


cdef void softmax_backward(const_restricted dy, const_restricted y, restricted dx,
                           Py_ssize_t n) noexcept nogil:
    # dx_i = y_i (dy_i - sum_j dy_j y_j)
    cdef real s = row_dot(dy, y, n)
    cdef Py_ssize_t i
    for i in range(n):
        dx[i] = y[i] * (dy[i] - s)


cdef void activate_rows(int kind, const_restricted z, restricted y, Py_ssize_t rows,
                        Py_ssize_t cols, real alpha) noexcept nogil:
    # Any activation over whole rows.
    if kind == SOFTMAX:
        softmax_rows(z, y, rows, cols)
    else:
        activate(kind, z, y, rows * cols, alpha)


cdef void activate_rows_backward(int kind, const_restricted dy, const_restricted zy,
                                 restricted dx, Py_ssize_t rows, Py_ssize_t cols,
                                 real alpha) noexcept nogil:
    cdef Py_ssize_t i
    if kind == SOFTMAX:
        for i in range(rows):
            softmax_backward(dy + i * cols, zy + i * cols, dx + i * cols, cols)
    else:
        activate_backward(kind, dy, zy, dx, rows * cols, alpha)
