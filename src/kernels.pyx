# The kernels as Python functions: check, then call. Arrays are typed memoryviews; nncore/kernels.py
# makes them from what a user has, and picks the module for the dtype.

DTYPE = "float64" if IS_DOUBLE else "float32"
TILE = (TILE_ROWS, TILE_COLS)
VECTOR_EXTENSIONS = bool(NNCORE_VECTOR_EXTENSIONS)


cdef int kind_of(str kind, known, str what) except -1:
    names = tuple(known)
    if kind not in names:
        raise ValueError(f"unknown {what} {kind!r}; known: {', '.join(names)}")
    return names.index(kind)


cdef bint same_shape(str a_name, const real[:, ::1] a, str b_name,
                     const real[:, ::1] b) except False:
    if a.shape[0] != b.shape[0] or a.shape[1] != b.shape[1]:
        raise ValueError(f"{b_name} must have the shape of {a_name}, ({a.shape[0]}, {a.shape[1]}); "
                         f"received ({b.shape[0]}, {b.shape[1]})")
    return True


cdef inline real* start(const real[:, ::1] a) noexcept nogil:
    return <real*>&a[0, 0] if a.shape[0] and a.shape[1] else NULL


cdef bint overlaps(const char* p, Py_ssize_t n, const real[:, ::1] a):
    # Whether n numbers from p on share memory with a.
    cdef const char* q = <const char*>start(a)
    return p and q and p < q + a.shape[0] * a.shape[1] * sizeof(real) and q < p + n * sizeof(real)


cdef bint apart(real[:, ::1] out, const real[:, ::1] a) except False:
    # Kernels read and write through restricted pointers: these must not overlap.
    if overlaps(<const char*>start(out), out.shape[0] * out.shape[1], a):
        raise ValueError("the output must not overlap an input")
    return True


def activate_into(str kind, const real[:, ::1] z, real[:, ::1] y, double alpha=0.0):
    """y = kind(z). z and y (rows, columns) do not overlap; softmax works on rows."""
    cdef int code = kind_of(kind, ACTIVATIONS, "activation")
    same_shape("z", z, "y", y)
    apart(y, z)
    if start(z):
        with nogil:
            activate_rows(code, start(z), start(y), z.shape[0], z.shape[1], <real>alpha)


def activate_backward_into(str kind, const real[:, ::1] dy, const real[:, ::1] zy,
                           real[:, ::1] dx, double alpha=0.0):
    """dx = dy times the derivative; zy holds z or y, as ACTIVATIONS[kind] says."""
    cdef int code = kind_of(kind, ACTIVATIONS, "activation")
    same_shape("dy", dy, ACTIVATIONS[kind], zy)
    same_shape("dy", dy, "dx", dx)
    apart(dx, dy)
    apart(dx, zy)
    if start(dy):
        with nogil:
            activate_rows_backward(code, start(dy), start(zy), start(dx), dy.shape[0],
                                   dy.shape[1], <real>alpha)


def loss_into(str kind, const real[:, ::1] y, t, labels, r, real[:, ::1] dy, double[::1] values,
              double alpha=0.0, str reduction="sum_over_batch_size"):
    """Return the loss of a batch; dy gets its derivative by y, values each row's loss.

    t is (rows, columns) of this dtype, or None where labels (rows,), int64, are given; r is
    None or (rows,), float64.
    """
    cdef int code = kind_of(kind, LOSSES, "loss")
    cdef int how = REDUCTIONS[reduction] if reduction in REDUCTIONS else -1
    cdef Py_ssize_t rows = y.shape[0], cols = y.shape[1], i
    cdef const real[:, ::1] target
    cdef const long long[::1] label
    cdef const double[::1] weight
    cdef const real* target_data = NULL
    cdef const long long* label_data = NULL
    cdef const double* weight_data = NULL
    cdef double value
    if how < 0:
        raise ValueError(f"unknown reduction {reduction!r}; known: {', '.join(REDUCTIONS)}")
    if rows < 1 or cols < 1:
        raise ValueError(f"y must not be empty; received shape ({rows}, {cols})")
    same_shape("y", y, "dy", dy)
    apart(dy, y)
    if values.shape[0] != rows:
        raise ValueError(f"values must have {rows} rows; received {values.shape[0]}")
    # values holds doubles: as many bytes as this many numbers.
    i = rows * <Py_ssize_t>(sizeof(double) // sizeof(real))
    if overlaps(<const char*>&values[0], i, y) or overlaps(<const char*>&values[0], i, dy):
        raise ValueError("the output values must not overlap another argument")
    if loss_takes_labels(code):
        label = labels
        if label.shape[0] != rows:
            raise ValueError(f"labels must have {rows} rows; received {label.shape[0]}")
        for i in range(rows):
            if not 0 <= label[i] < cols:
                raise ValueError(f"labels must be from 0 to {cols - 1}; received {label[i]} "
                                 f"in row {i}")
        label_data = &label[0]
    else:
        target = t
        same_shape("y", y, "t", target)
        apart(dy, target)
        if overlaps(<const char*>&values[0], rows * <Py_ssize_t>(sizeof(double) // sizeof(real)),
                    target):
            raise ValueError("the output values must not overlap another argument")
        target_data = start(target)
    if r is not None:
        weight = r
        if weight.shape[0] != rows:
            raise ValueError(f"r must have {rows} rows; received {weight.shape[0]}")
        weight_data = &weight[0]
    with nogil:
        value = loss_rows(code, how, start(y), target_data, label_data, weight_data, start(dy),
                          &values[0], rows, cols, <real>alpha)
    return value


def metric_of(str kind, const real[:, ::1] y, t, labels, r, double alpha=0.0):
    """Return (sum, count) of a metric over the rows."""
    cdef int code = kind_of(kind, METRICS, "metric")
    cdef Py_ssize_t rows = y.shape[0], cols = y.shape[1], i
    cdef const real[:, ::1] target
    cdef const long long[::1] label
    cdef const double[::1] weight
    cdef const real* target_data = NULL
    cdef const long long* label_data = NULL
    cdef const double* weight_data = NULL
    cdef double total = 0, count = 0
    if rows < 1 or cols < 1:
        raise ValueError(f"y must not be empty; received shape ({rows}, {cols})")
    if metric_takes_labels(code):
        label = labels
        if label.shape[0] != rows:
            raise ValueError(f"labels must have {rows} rows; received {label.shape[0]}")
        for i in range(rows):
            if not 0 <= label[i] < cols:
                raise ValueError(f"labels must be from 0 to {cols - 1}; received {label[i]} "
                                 f"in row {i}")
        label_data = &label[0]
    else:
        target = t
        same_shape("y", y, "t", target)
        target_data = start(target)
    if r is not None:
        weight = r
        if weight.shape[0] != rows:
            raise ValueError(f"r must have {rows} rows; received {weight.shape[0]}")
        weight_data = &weight[0]
    with nogil:
        metric_rows(code, start(y), target_data, label_data, weight_data, rows, cols, alpha,
                    &total, &count)
    return total, count


def observe_of(str kind, const real[:, ::1] v, double low=0.0, double high=0.0):
    """Return what watching measures of v: OBSERVATIONS has the names; `saturated` takes bounds."""
    cdef int code = kind_of(kind, OBSERVATIONS, "observation")
    cdef double value
    if not start(v):
        raise ValueError(f"v must not be empty; received shape ({v.shape[0]}, {v.shape[1]})")
    with nogil:
        value = observe(code, start(v), v.shape[0], v.shape[1], low, high)
    return value


def update_into(str kind, real[:, ::1] w, const real[:, ::1] g, real[:, ::1] slots,
                double learning_rate, long long iteration=0, hyper=None):
    """Update w (1, n) and slots (k, n) in place from the gradient g (1, n)."""
    cdef int code = kind_of(kind, OPTIMIZERS, "optimizer")
    cdef Update u
    cdef Hyper h = read_hyper({} if hyper is None else hyper)
    cdef Py_ssize_t n = w.shape[0] * w.shape[1]
    same_shape("w", w, "g", g)
    apart(w, g)
    apart(slots, g)
    apart(w, slots)
    if slots.shape[0] < OPTIMIZERS[kind] or (OPTIMIZERS[kind] and slots.shape[1] != n):
        raise ValueError(f"{kind} needs slots of shape ({OPTIMIZERS[kind]}, {n}); "
                         f"received ({slots.shape[0]}, {slots.shape[1]})")
    check_iteration(iteration)
    if n == 0:
        return
    u.parameters = start(w)
    u.slots = start(slots)
    u.stride = n
    with nogil:
        set_update(&u, code, &h)
        begin_update(&u, &h, learning_rate, iteration)
        update(&u, start(g), 0, n)


cdef void* take_scratch(Py_ssize_t numbers, int n_threads) except NULL:
    # Not zeroed: that would cost more than a small matmul.
    cdef void* raw
    if not 1 <= n_threads <= MOST_THREADS:
        raise ValueError(f"n_threads must be from 1 to {MOST_THREADS}; received {n_threads}")
    raw = malloc(numbers * n_threads * sizeof(real) + 64)
    if not raw:
        raise MemoryError
    return raw


cdef inline real* aligned_in(void* raw) noexcept nogil:
    # The first multiple of 64 bytes.
    return <real*>(<char*>raw + (64 - <size_t>raw % 64) % 64)


def dense_into(const real[:, ::1] x, const real[:, ::1] w, b, real[:, ::1] z, real[:, ::1] y,
               str activation="linear", double alpha=0.0, int n_threads=1, int repeats=1):
    """z = x w + b, y = activation(z); z is written only when it is not empty.

    repeats: how often it is done, for those who measure it.
    """
    cdef Forward f
    cdef void* raw
    cdef int _k
    cdef const real[::1] bias
    cdef Py_ssize_t rows = x.shape[0], n_in = w.shape[0], n_out = w.shape[1]
    cdef real* scratch
    f.kind = kind_of(activation, ACTIVATIONS, "activation")
    if x.shape[1] != n_in:
        raise ValueError(f"w must have {x.shape[1]} rows, as x has columns; received {n_in}")
    if y.shape[0] != rows or y.shape[1] != n_out:
        raise ValueError(f"y must have shape ({rows}, {n_out}); "
                         f"received ({y.shape[0]}, {y.shape[1]})")
    if z.shape[0] and (z.shape[0] != rows or z.shape[1] != n_out):
        raise ValueError(f"z must have shape ({rows}, {n_out}); "
                         f"received ({z.shape[0]}, {z.shape[1]})")
    if f.kind == SOFTMAX:
        raise ValueError("softmax needs whole rows: apply it to the result of 'linear'")
    apart(y, x)
    apart(y, w)
    apart(y, z)
    apart(z, x)
    apart(z, w)
    f.b = NULL
    if b is not None:
        bias = b
        if bias.shape[0] != n_out:
            raise ValueError(f"b must have {n_out} numbers; received {bias.shape[0]}")
        f.b = &bias[0] if n_out else NULL
        if overlaps(<const char*>f.b, n_out, y) or overlaps(<const char*>f.b, n_out, z):
            raise ValueError("the output must not overlap an input")
    if not start(y):
        return
    f.z = start(z)
    f.y = start(y)
    f.step = n_out
    f.alpha = <real>alpha
    raw = take_scratch(scratch_size(rows, n_out, n_in), n_threads)
    scratch = aligned_in(raw)
    with nogil:
        for _k in range(repeats):
            dense(start(x), start(w), &f, rows, n_in, n_out, False, n_threads, scratch,
                  scratch_size(rows, n_out, n_in))
        free(raw)


def dense_backward_data_into(const real[:, ::1] dz, const real[:, ::1] w, const real[:, ::1] zy,
                             real[:, ::1] dx, str activation="linear", double alpha=0.0,
                             int n_threads=1, int repeats=1):
    """dx = (dz w^T) activation'(z or y); zy is not read for 'linear'."""
    cdef BackwardData d
    cdef void* raw
    cdef int _k
    cdef Py_ssize_t rows = dz.shape[0], n_in = w.shape[0], n_out = w.shape[1]
    cdef real* scratch
    d.kind = kind_of(activation, ACTIVATIONS, "activation")
    if dz.shape[1] != n_out:
        raise ValueError(f"w must have {dz.shape[1]} columns, as dz; received {n_out}")
    if dx.shape[0] != rows or dx.shape[1] != n_in:
        raise ValueError(f"dx must have shape ({rows}, {n_in}); "
                         f"received ({dx.shape[0]}, {dx.shape[1]})")
    if d.kind == SOFTMAX:
        raise ValueError("softmax needs whole rows: apply its backward pass to dx of 'linear'")
    if d.kind != LINEAR:
        same_shape("dx", dx, ACTIVATIONS[activation], zy)
        apart(dx, zy)
    apart(dx, dz)
    apart(dx, w)
    if not start(dx):
        return
    d.zy = start(zy)
    d.dx = start(dx)
    d.step = n_in
    d.alpha = <real>alpha
    raw = take_scratch(scratch_size(rows, n_in, n_out), n_threads)
    scratch = aligned_in(raw)
    with nogil:
        for _k in range(repeats):
            dense_backward_data(start(dz), start(w), &d, rows, n_in, n_out, n_threads, scratch,
                                scratch_size(rows, n_in, n_out))
        free(raw)


def dense_backward_weights_into(const real[:, ::1] x, const real[:, ::1] dz, real[:, ::1] dw,
                                real[::1] db, int n_threads=1, int repeats=1):
    """dw = x^T dz, db = column sums of dz."""
    cdef BackwardWeights g
    cdef Py_ssize_t rows = x.shape[0], n_in = x.shape[1], n_out = dz.shape[1]
    cdef real* scratch
    cdef void* raw
    cdef int _k
    cdef Py_ssize_t numbers = scratch_size(n_in, n_out, rows)
    cdef const char* sums = <const char*>&db[0] if db.shape[0] else NULL
    if dz.shape[0] != rows:
        raise ValueError(f"dz must have {rows} rows, as x; received {dz.shape[0]}")
    if dw.shape[0] != n_in or dw.shape[1] != n_out:
        raise ValueError(f"dw must have shape ({n_in}, {n_out}); "
                         f"received ({dw.shape[0]}, {dw.shape[1]})")
    if db.shape[0] != n_out:
        raise ValueError(f"db must have {n_out} numbers; received {db.shape[0]}")
    apart(dw, x)
    apart(dw, dz)
    if overlaps(sums, n_out, x) or overlaps(sums, n_out, dz) or overlaps(sums, n_out, dw):
        raise ValueError("the output db must not overlap another argument")
    if not n_out:
        return
    g.w = NULL
    g.dw = start(dw)
    g.update = NULL
    g.at = 0
    g.step = n_out
    g.l1 = 0
    g.l2 = 0
    raw = take_scratch(larger(numbers, 2 * n_out), n_threads)
    scratch = aligned_in(raw)
    with nogil:
        for _k in range(repeats):
            if g.dw:
                dense_backward_weights(start(x), start(dz), &g, rows, n_in, n_in, n_out, False,
                                       n_threads, scratch, numbers)
            column_sums(start(dz), rows, n_out, False, scratch)
            memcpy(&db[0], scratch, n_out * sizeof(real))
        free(raw)


def dropout_into(const real[:, ::1] x, real[:, ::1] y, double rate, uint64_t seed,
                 long long iteration=0):
    """y = x / (1 - rate) where kept, else 0: the mask of (seed, iteration, element)."""
    same_shape("x", x, "y", y)
    apart(y, x)
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1); received {rate}")
    if start(x):
        with nogil:
            drop(start(x), start(y), x.shape[0] * x.shape[1], rate, seed, iteration)


def permutation(Py_ssize_t n, uint64_t seed=0, long long epoch=0):
    """Return 0..n-1 in an order that (seed, epoch) decides: int64, (n,)."""
    if n < 0:
        raise ValueError(f"n must not be negative; received {n}")
    order = np.empty(n, dtype=np.int64)
    cdef long long* data = <long long*>cnp.PyArray_DATA(order)
    with nogil:
        permute(data, n, seed, epoch)
    return order


def peak_gflops(double seconds=0.05):
    """Return the most GFLOP/s that one core reaches with this module's vectors, measured.

    Multiply-adds that stay in registers and depend on nothing but themselves; the best of about
    ten runs of `seconds` in all.
    """
    cdef double begin, took, best = 0, until = clock() + seconds
    cdef long long rounds = 10000
    cdef double flops
    cdef real sink = 0
    if not 0 < seconds <= 10:
        raise ValueError(f"seconds must be more than 0 and at most 10; received {seconds}")
    while True:
        begin = clock()
        with nogil:
            sink += peak_rounds(rounds, <real>0.5)
        took = clock() - begin
        flops = 2.0 * 12 * LANES_PER_VECTOR * rounds / took / 1e9
        best = flops if flops > best else best
        if clock() >= until:
            return best if sink == sink else 0.0
        if took < seconds / 20:
            rounds *= 2


def set_caches(int ways, long long size):
    """Count on an L1 cache of so many ways and so many bytes of L2; return those before.

    0: not known. For the tests: a matmul copies a's rows, or reads them where they lie, and has
    blocks of another size, and gives the same bits.
    """
    global cache_ways, cache_bytes
    before = cache_ways, cache_bytes
    cache_ways = ways
    cache_bytes = size
    return before


def scratch_spare(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, *, Py_ssize_t a_step, bint a_transposed,
                  bint b_transposed, bint b_slack, int n_threads):
    """Return how many numbers of a thread's scratch a matmul leaves unused, at the least.

    For the tests: the layout that the loops use, for every thread's part, against what
    scratch_size() provides. Negative: a part would write beyond its scratch.
    """
    cdef Matmul mm
    cdef Py_ssize_t i0 = 0, i1 = 0, j0 = 0, j1 = 0, spare, least, rows
    cdef Layout layout
    cdef int part, updates
    if not (1 <= n_threads <= MOST_THREADS and m > 0 and n > 0 and k > 0):
        raise ValueError(f"sizes must be positive, and n_threads from 1 to {MOST_THREADS}")
    mm.m = m
    mm.n = n
    mm.k = k
    mm.a_step = a_step
    mm.a_transposed = a_transposed
    mm.b_transposed = b_transposed
    mm.b_step = k if b_transposed else n
    mm.b_slack = b_slack
    mm.narrow = is_narrow(n, k)
    mm.n_threads = n_threads
    least = scratch_size(m, n, k)
    for updates in range(1 + a_transposed):
        mm.updates = updates
        for part in range(n_threads):
            part_of(&mm, grid_rows(&mm), part, &i0, &i1, &j0, &j1)
            while i0 < i1 and j0 < j1:      # piece by piece, as multiply_range() does
                layout = layout_of(&mm, i1 - i0, j1 - j0)
                rows = rows_at_once(&mm, &layout, i1 - i0)
                layout = layout_of(&mm, rows, j1 - j0)
                spare = scratch_size(m, n, k) \
                    - larger(layout.end, few_end(&mm, rows, j1 - j0))
                least = spare if spare < least else least
                i0 += rows
    if has_rows_in_lanes(&mm):
        spare = scratch_size(m, n, k) - lanes_end(n)
        least = spare if spare < least else least
    if n_threads == 1 and is_small(&mm):
        spare = scratch_size(m, n, k) - small_end(&mm)
        least = spare if spare < least else least
    return least
