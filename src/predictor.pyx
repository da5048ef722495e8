# The short path of predict.

# Work below which the GIL is kept: letting it go and taking it back costs as much.
cdef enum:
    BRIEF = 20000           # multiplications

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    #define nncore_take(flag) (_InterlockedExchange(flag, 1) == 0)
    #define nncore_give(flag) ((void)_InterlockedExchange(flag, 0))
    #else
    #define nncore_take(flag) (__atomic_exchange_n(flag, 1, __ATOMIC_ACQUIRE) == 0)
    #define nncore_give(flag) (__atomic_store_n(flag, 0, __ATOMIC_RELEASE))
    #endif
    """
    bint nncore_take(long* flag) nogil
    void nncore_give(long* flag) nogil


cdef class Predictor:
    """The short path of predict: for few rows, no check that costs more than the work.

    Parameters
    ----------
    executor : Executor
        Of a plan to predict, used by nobody else.
    input_shape, output_shape : tuple of int
        Of one row.
    follows : bool
        Leave the rows to the long path once the process's default number of threads is another.
    bulk : bool
        Take more rows than the executor's batch, and no fewer; else as many or fewer.
    """

    cdef Executor executor
    cdef long busy
    cdef int n_input, n_output
    cdef cnp.npy_intp input_shape[8]
    cdef cnp.npy_intp output_shape[8]
    cdef Py_ssize_t work        # multiplications a row
    cdef bint follows, bulk

    def __init__(self, Executor executor not None, tuple input_shape, tuple output_shape,
                 bint follows=False, bint bulk=False):
        cdef Py_ssize_t k, width = 1
        executor.check_predicts()
        for shape, wanted in ((input_shape, executor.n_in), (output_shape, executor.n_out)):
            width = 1
            for size in shape:
                width *= size
            if not 1 <= len(shape) <= 7 or width != wanted:
                raise ValueError(f"a row of shape {shape} does not have {wanted} numbers")
        self.executor = executor
        self.busy = 0
        self.follows = follows
        self.bulk = bulk
        self.work = executor.n_parameters
        self.n_input = len(input_shape)
        self.n_output = len(output_shape)
        for k in range(self.n_input):
            self.input_shape[k + 1] = input_shape[k]
        for k in range(self.n_output):
            self.output_shape[k + 1] = output_shape[k]

    def predict(self, x):
        """Return the outputs for the rows of x, or None where the long path must look at x.

        That is for anything but a C-contiguous array of float32, float64 or uint8 of the right
        shape and number of rows, and while another thread is here.
        """
        cdef cnp.ndarray array, out
        cdef Executor e = self.executor
        cdef Source s
        cdef real* y
        cdef Py_ssize_t rows
        cdef int k, kind
        cdef float_mode mode
        if type(x) is not cnp.ndarray:
            return None
        array = x
        kind = cnp.PyArray_TYPE(array)
        if cnp.PyArray_NDIM(array) != self.n_input + 1 or not cnp.PyArray_IS_C_CONTIGUOUS(array) \
                or not cnp.PyArray_ISBEHAVED_RO(array):
            return None
        if kind == cnp.NPY_FLOAT:
            s.code = 8
            s.itemsize = 4
        elif kind == cnp.NPY_DOUBLE:
            s.code = 9
            s.itemsize = 8
        elif kind == cnp.NPY_UINT8:
            s.code = 0
            s.itemsize = 1
        else:
            return None
        rows = cnp.PyArray_DIM(array, 0)
        if rows < 1 or (rows > e.capacity) != self.bulk:
            return None
        for k in range(1, self.n_input + 1):
            if cnp.PyArray_DIM(array, k) != self.input_shape[k]:
                return None
        if self.follows and num_threads() != e.threads:
            return None
        if not nncore_take(&self.busy):
            return None
        try:
            self.output_shape[0] = rows
            out = cnp.PyArray_EMPTY(self.n_output + 1, self.output_shape,
                                    cnp.NPY_DOUBLE if IS_DOUBLE else cnp.NPY_FLOAT, 0)
            s.data = <const char*>cnp.PyArray_DATA(array)
            s.rows = rows
            s.cols = e.n_in
            s.col_step = s.itemsize
            s.row_step = s.cols * s.itemsize
            y = <real*>cnp.PyArray_DATA(out)
            if self.bulk or e.output_is_input or rows > 1 and e.shared_rows(rows) < rows:
                e.predict_blocks(&s, y)
            else:
                mode = flush_denormals()
                if rows * larger(self.work, e.n_in) < BRIEF:
                    e.predict_rows(&s, 0, rows, y)
                else:
                    with nogil:
                        e.predict_rows(&s, 0, rows, y)
                set_float_mode(mode)
        finally:
            nncore_give(&self.busy)
        return out
