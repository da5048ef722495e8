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
    int code                # SOURCE_CODES' position, which is source_type's too


# NumPy's kind and item size, in source_type's order; a bool is read as a uint8.
SOURCE_CODES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


cdef inline void cast_row(const source_type* row, gathered_type* out, Py_ssize_t n,
                          Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t j
    if step == 1:
        for j in range(n):
            out[j] = <gathered_type>row[j]
    else:
        for j in range(n):
            out[j] = <gathered_type>row[j * step]


cdef enum:
    AHEAD = 4               # rows in random order are asked for so long before they are read,
    NEAR = 1 << 20          # where they have no place in the L2 cache


cdef inline void prefetch_row(const char* row, Py_ssize_t size) noexcept nogil:
    # The first lines; the hardware guesses the rest.
    cdef Py_ssize_t at = 0
    while at < size and at < 512:
        prefetch_to_read(row + at)
        at += 64


cdef void gather(const Source* s, const long long* order, Py_ssize_t begin, Py_ssize_t rows,
                 gathered_type* out) noexcept nogil:
    # Rows order[begin], ..., order[begin + rows - 1], or begin.. without an order.
    cdef Py_ssize_t i, step = s.col_step // s.itemsize
    cdef const char* row
    cdef bint far = order != NULL and s.rows * s.cols * s.itemsize > NEAR
    for i in range(rows):
        if far and i + AHEAD < rows:
            prefetch_row(s.data + order[begin + i + AHEAD] * s.row_step, s.cols * s.itemsize)
        row = s.data + (order[begin + i] if order else begin + i) * s.row_step
        if s.code == 0: cast_row(<const uint8_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 1: cast_row(<const int8_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 2: cast_row(<const uint16_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 3: cast_row(<const int16_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 4: cast_row(<const uint32_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 5: cast_row(<const int32_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 6: cast_row(<const uint64_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 7: cast_row(<const int64_t*>row, out + i * s.cols, s.cols, step)
        elif s.code == 8: cast_row(<const float*>row, out + i * s.cols, s.cols, step)
        elif s.code == 9: cast_row(<const double*>row, out + i * s.cols, s.cols, step)


cdef Source read_source(array, str name, Py_ssize_t cols) except *:
    # How to read `array` as rows of `cols` numbers; the caller keeps the array alive.
    cdef Source s
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array; received {type(array).__name__}. "
                        f"Use numpy.asarray")
    if array.ndim < 1:
        raise ValueError(f"{name} must have rows; received a single number")
    code = "u1" if array.dtype.kind == "b" else f"{array.dtype.kind}{array.dtype.itemsize}"
    if code not in SOURCE_CODES or not array.dtype.isnative:
        raise TypeError(f"{name} must hold integers, float32 or float64 in native byte order; "
                        f"received dtype {array.dtype.str}. Use astype")
    width = 1
    for n in array.shape[1:]:
        width *= n
    if width != cols:
        raise ValueError(f"{name} must have {cols} numbers a row; received shape {array.shape}")
    s.itemsize = array.dtype.itemsize
    s.code = SOURCE_CODES.index(code)
    s.rows = array.shape[0]
    s.cols = cols
    s.row_step = array.strides[0]
    s.col_step = s.itemsize
    if array.ndim == 2:
        s.col_step = array.strides[1]
    else:
        step = s.itemsize
        for n, stride in zip(reversed(array.shape[1:]), reversed(array.strides[1:])):
            if n != 1 and stride != step:
                raise ValueError(f"{name} must have C-contiguous rows; received shape "
                                 f"{array.shape}, strides {array.strides}. "
                                 f"Use numpy.ascontiguousarray")
            step *= n
    if not array.flags.aligned or s.col_step % s.itemsize or s.row_step % s.itemsize:
        raise ValueError(f"{name} must be aligned to its item size; received strides "
                         f"{array.strides}. Use numpy.ascontiguousarray")
    s.data = <const char*>cnp.PyArray_DATA(array)
    return s
