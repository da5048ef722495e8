# Data is read where it lies: rows are gathered and cast, batch by batch, into the workspace.

ctypedef long long longlong

ctypedef fused source_type:
    uint8_t
    int8_t
    uint16_t
    int16_t
    uint32_t
    int32_t
    uint64_t
    int64_t
    float
    double

ctypedef fused gathered_type:
    real
    longlong
    double

ctypedef struct Source:
    # Rows of `cols` numbers of one type; steps are in bytes.
    const char* data
    Py_ssize_t rows, cols, row_step, col_step, itemsize
    int code                # source_type's position


cdef enum:
    AHEAD = 4               # rows in random order are asked for so long before they are read,
    NEAR = 1 << 20          # where they have no place in the L2 cache
    SHORT_ROW = 16
    GATHERED = 16384        # numbers that are worth a thread: some microseconds' work


cdef inline void prefetch_row(const char* row, Py_ssize_t size) noexcept nogil:
    # The first lines; the hardware guesses the rest.
    cdef Py_ssize_t at = 0
    while at < size and at < 512:
        prefetch_to_read(row + at)
        at += 64


cdef inline void gather_rows(const Source* s, const source_type* first, const long long* order,
                             Py_ssize_t begin, Py_ssize_t rows, gathered_type* out) noexcept nogil:
    # The rows of one type. `first` is s.data.
    cdef Py_ssize_t i, j, n = s.cols, step = s.col_step // <Py_ssize_t>sizeof(source_type)
    cdef Py_ssize_t to_next = s.row_step // <Py_ssize_t>sizeof(source_type)
    cdef const source_type* row
    cdef source_type a, b, c, d
    cdef bint far = order != NULL and s.rows * n * <Py_ssize_t>sizeof(source_type) > NEAR
    if n == 1 and not far:      # labels, most often
        for i in range(rows):
            out[i] = <gathered_type>first[(order[begin + i] if order else begin + i) * to_next]
        return
    for i in range(rows):
        if far and i + AHEAD < rows:
            prefetch_row(<const char*>(first + order[begin + i + AHEAD] * to_next),
                         n * <Py_ssize_t>sizeof(source_type))
        row = first + (order[begin + i] if order else begin + i) * to_next
        if step != 1:
            for j in range(n):
                out[j] = <gathered_type>row[j * step]
        elif n < SHORT_ROW:
            # Four at a time: a loop over vectors takes longer to begin.
            j = 0
            while j + 4 <= n:
                a, b, c, d = row[j], row[j + 1], row[j + 2], row[j + 3]
                out[j] = <gathered_type>a
                out[j + 1] = <gathered_type>b
                out[j + 2] = <gathered_type>c
                out[j + 3] = <gathered_type>d
                j += 4
            while j < n:
                out[j] = <gathered_type>row[j]
                j += 1
        else:
            for j in range(n):
                out[j] = <gathered_type>row[j]
        out += n


cdef inline void copy_each(const Source* s, const long long* order, Py_ssize_t begin,
                           Py_ssize_t rows, char* out, Py_ssize_t part) noexcept nogil:
    # Rows of at least `part` bytes as they are, part after part; the last overlaps the one before.
    # The compiler knows `part`.
    cdef Py_ssize_t i, at, size = s.cols * s.itemsize
    cdef const char* row
    cdef bint far = order != NULL and s.rows * size > NEAR
    for i in range(rows):
        if far and i + AHEAD < rows:
            prefetch_row(s.data + order[begin + i + AHEAD] * s.row_step, size)
        row = s.data + (order[begin + i] if order else begin + i) * s.row_step
        at = 0
        while at + part < size:
            memcpy(out + at, row + at, part)
            at += part
        memcpy(out + size - part, row + size - part, part)
        out += size


cdef void gather(const Source* s, const long long* order, Py_ssize_t begin, Py_ssize_t rows,
                 gathered_type* out) noexcept nogil:
    # Rows order[begin], ..., order[begin + rows - 1], or begin.. without an order. What is no
    # normal number in float32 may be one in float64: nothing is flushed between them.
    cdef bint converts = s.code >= 8 and s.itemsize != <Py_ssize_t>sizeof(gathered_type)
    cdef float_mode mode = keep_denormals() if converts else 0
    if s.code == 0: gather_rows(s, <const uint8_t*>s.data, order, begin, rows, out)
    elif s.code == 1: gather_rows(s, <const int8_t*>s.data, order, begin, rows, out)
    elif s.code == 2: gather_rows(s, <const uint16_t*>s.data, order, begin, rows, out)
    elif s.code == 3: gather_rows(s, <const int16_t*>s.data, order, begin, rows, out)
    elif s.code == 4: gather_rows(s, <const uint32_t*>s.data, order, begin, rows, out)
    elif s.code == 5: gather_rows(s, <const int32_t*>s.data, order, begin, rows, out)
    elif s.code == 6: gather_rows(s, <const uint64_t*>s.data, order, begin, rows, out)
    elif s.code == 7: gather_rows(s, <const int64_t*>s.data, order, begin, rows, out)
    elif s.code == 8: gather_rows(s, <const float*>s.data, order, begin, rows, out)
    elif s.code == 9: gather_rows(s, <const double*>s.data, order, begin, rows, out)
    if converts:
        set_float_mode(mode)


cdef void gather_reals(const Source* s, const long long* order, Py_ssize_t begin, Py_ssize_t rows,
                       real* out) noexcept nogil:
    # The same, to reals. (Not within gather(): in float64 two of its copies are one code, which
    # the compiler keeps once.)
    cdef Py_ssize_t size = s.cols * s.itemsize
    if s.code != (9 if IS_DOUBLE else 8) or s.col_step != s.itemsize or size < 8:
        gather(s, order, begin, rows, out)
    elif size < 16:
        copy_each(s, order, begin, rows, <char*>out, 8)
    elif size < 32:
        copy_each(s, order, begin, rows, <char*>out, 16)
    elif size < 64:
        copy_each(s, order, begin, rows, <char*>out, 32)
    else:
        copy_each(s, order, begin, rows, <char*>out, 64)


ctypedef struct Gathering:
    const Source* s
    const long long* order
    Py_ssize_t begin, rows
    real* out
    int n_threads


cdef void gather_part(void* context, int part) noexcept nogil:
    cdef const Gathering* g = <const Gathering*>context
    cdef Py_ssize_t first = g.rows * part // g.n_threads
    cdef Py_ssize_t end = g.rows * (part + 1) // g.n_threads
    gather_reals(g.s, g.order, g.begin + first, end - first, g.out + first * g.s.cols)


cdef void gather_by_threads(const Source* s, const long long* order, Py_ssize_t begin,
                            Py_ssize_t rows, real* out, int n_threads) noexcept nogil:
    # gather_reals() by as many threads as have GATHERED numbers each to do, at most n_threads.
    cdef Gathering g
    g.n_threads = <int>smaller(n_threads, rows * s.cols // GATHERED)
    g.s = s
    g.order = order
    g.begin = begin
    g.rows = rows
    g.out = out
    if not parallel(gather_part, &g, g.n_threads):
        gather_reals(s, order, begin, rows, out)


cdef int source_code(cnp.ndarray a) noexcept:
    # The position in source_type of what `a` holds (a bool is read as a uint8), or -1.
    cdef char kind = a.descr.kind
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(a)
    if not cnp.PyArray_ISNOTSWAPPED(a):
        return -1
    if kind == c"f":
        return 8 if size == 4 else (9 if size == 8 else -1)
    if kind == c"i" or kind == c"u" or kind == c"b":
        return ((0 if size == 1 else 2 if size == 2 else 4 if size == 4 else 6)
                + (1 if kind == c"i" else 0))
    return -1


cdef Source read_source(array, str name, Py_ssize_t cols) except *:
    # How to read `array` as rows of `cols` numbers; the caller keeps the array alive.
    cdef Source s
    cdef cnp.ndarray a
    cdef Py_ssize_t width = 1, step
    cdef int k, ndim
    if not cnp.PyArray_Check(array):
        raise TypeError(f"{name} must be a NumPy array; received {type(array).__name__}. "
                        f"Use numpy.asarray")
    a = array
    ndim = cnp.PyArray_NDIM(a)
    if ndim < 1:
        raise ValueError(f"{name} must have rows; received a single number")
    s.code = source_code(a)
    if s.code < 0:
        raise TypeError(f"{name} must hold integers, float32 or float64 in native byte order; "
                        f"received dtype {array.dtype.str}. Use astype")
    for k in range(1, ndim):
        width *= cnp.PyArray_DIM(a, k)
    if width != cols:
        raise ValueError(f"{name} must have {cols} numbers a row; received shape {array.shape}")
    s.itemsize = cnp.PyArray_ITEMSIZE(a)
    s.rows = cnp.PyArray_DIM(a, 0)
    s.cols = cols
    s.row_step = cnp.PyArray_STRIDE(a, 0)
    s.col_step = s.itemsize
    if ndim == 2:
        s.col_step = cnp.PyArray_STRIDE(a, 1)
    else:
        step = s.itemsize
        for k in range(ndim - 1, 0, -1):
            if cnp.PyArray_DIM(a, k) != 1 and cnp.PyArray_STRIDE(a, k) != step:
                raise ValueError(f"{name} must have C-contiguous rows; received shape "
                                 f"{array.shape}, strides {array.strides}. "
                                 f"Use numpy.ascontiguousarray")
            step *= cnp.PyArray_DIM(a, k)
    if not cnp.PyArray_ISALIGNED(a) or s.col_step % s.itemsize or s.row_step % s.itemsize:
        raise ValueError(f"{name} must be aligned to its item size; received strides "
                         f"{array.strides}. Use numpy.ascontiguousarray")
    s.data = <const char*>cnp.PyArray_DATA(a)
    return s
