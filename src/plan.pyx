# The flat plan's executor. nncore/plan.py says what a plan is; once it has passed verify(),
# running it cannot fail: no allocation, no check, no GIL.

# What is done between two looks at the clock, in multiplications: one a row and parameter, and
# COLUMN_WORK for each number of a step's result. They take 0.01 to some milliseconds; a look as
# long as thousands of them.
cdef enum:
    CLOCK_WORK = 1000000
    COLUMN_WORK = 8

# Row numbers of an order that are copied and checked at once, before they are used; or a batch's.
cdef enum:
    CHECKED_AHEAD = 1024

# Of more rows than a batch has, as many are predicted at once as are whole tiles and strips.
cdef enum:
    WHOLE_ROWS = 48

# Rows of more than one block are shared by threads in so many parts for each of them: who is kept
# waiting by the system does fewer.
cdef enum:
    PARTS_EACH = 8
    MOST_THREADS = 256

# Multiplications that take 5 to 50 ms on one thread: a heavy batch's longest part.
cdef double PART_WORK = 5e8

# Seconds after which threads that share a prediction's rows end what they do, for signals.
cdef double LOOK_AFTER = 0.05

cdef struct Instruction

cdef class Executor

# A step for at most NARROW_PANEL rows, where it has a way of its own for so few.
ctypedef void (*few_pointer)(Executor e, const Instruction* s, Py_ssize_t rows) noexcept nogil

cdef struct Instruction:
    int op, kind, reduction
    Py_ssize_t rows, n_in, n_out    # rows: of a parameter; the batch's are known when it runs
    real* x
    real* w
    real* b
    real* z
    real* y
    real* dx
    real* dw
    real* db
    real* dz
    real* dy
    bint x_is_input, y_is_input, y_is_output, takes_labels, takes_weights, update
    few_pointer few         # or NULL
    bint room               # the result's buffer may be written for a vector beyond its end
    bint with_softmax       # nothing but the next step, its softmax, reads the result
    Py_ssize_t both         # numbers of w and, behind it, b, that an update takes at once; or 0
    Py_ssize_t w_at, b_at           # in the flat parameter vector
    double alpha, beta, l1, l2, bias_l1, bias_l2
    uint64_t seed
    Py_ssize_t index


cdef struct SharedRows:
    # Of a prediction: each thread does its parts with an executor of its own.
    const Source* xs
    real* y
    Py_ssize_t size         # rows of a part
    Py_ssize_t begin        # the first part's first row
    double end              # when the caller looks for signals
    void* team[MOST_THREADS]


cdef cnp.ndarray aligned(Py_ssize_t n, str dtype):
    # n zeros that begin at a multiple of 64 bytes. (C's % of a negative number is negative.)
    cdef cnp.ndarray raw = np.zeros(n * np.dtype(dtype).itemsize + 64, dtype=np.uint8)
    cdef Py_ssize_t past = <Py_ssize_t>(<size_t>cnp.PyArray_DATA(raw) % 64)
    cdef Py_ssize_t at = 64 - past if past else 0
    return raw[at:at + n * np.dtype(dtype).itemsize].view(dtype)


cdef Py_ssize_t out_of(Py_ssize_t end, const long long* numbers, Py_ssize_t n) noexcept nogil:
    # The position of the first number that is not in 0..end-1, or -1.
    cdef Py_ssize_t i
    cdef uint64_t signs = 0
    for i in range(n):      # without a branch for each: of x and end - 1 - x one is negative
        signs |= <uint64_t>numbers[i] | (<uint64_t>end - 1 - <uint64_t>numbers[i])
    if signs >> 63:
        for i in range(n):
            if <uint64_t>numbers[i] >= <uint64_t>end:
                return i
    return -1


cdef inline Py_ssize_t turned_at(const Instruction* s) noexcept nogil:
    # Where in the scratch, behind a joint update's gradients, what is turned lies.
    return round_up(s.both + 2 * LINE, 64)


cdef inline bint is_plain(const Source* s) noexcept nogil:
    # Is each row as the kernels read it?
    return s.code == (9 if IS_DOUBLE else 8) and s.col_step == sizeof(real)


cdef inline const real* row_of(const Source* s, const long long* order,
                               Py_ssize_t at) noexcept nogil:
    return <const real*>(s.data + (order[at] if order else at) * s.row_step)


@cython.final
cdef class Executor:
    """Runs a plan with the compiled kernels.

    Parameters
    ----------
    plan : nncore.plan.Plan
        Verified here; ValueError names the step at fault.
    parameters : ndarray, (plan.n_parameters,), plan.dtype
        Held by reference and updated in place.
    slots : ndarray, (plan.n_slots, plan.n_parameters), plan.dtype, or None
        The optimizer's state, likewise.
    batch_size : int
        The most rows of a batch; the workspace is made for it.
    n_threads : int
        The most threads used. The result's bits do not depend on it.
    """

    cdef readonly object plan, parameters, slots, gradients, batch_size
    cdef object kept_shapes         # of each kept array: rows (0: the batch's), columns
    cdef object work, x_, t_, labels_, r_, order_, scratch_, lock
    cdef list team              # executors of one thread each that share a prediction's rows
    cdef Instruction* program
    cdef Py_ssize_t length, first_update, capacity, n_in, n_out, n_parameters, scratch_step, rows
    cdef Py_ssize_t loss_part, row_work
    cdef Py_ssize_t activated       # rows of a softmax that the step before has done
    cdef int threads, provided, optimizer
    cdef long owner
    cdef bint takes_labels, heavy, output_is_input
    cdef Hyper hyper
    cdef Update update
    cdef real* x_buffer
    cdef real* x_now
    cdef real* y_now
    cdef real* t_buffer
    cdef real* t_now
    cdef long long* labels
    cdef long long* order       # a part of the caller's, `ahead` numbers at most
    cdef Py_ssize_t ahead
    cdef double* r
    cdef real* scratch
    cdef real* loss_scratch
    cdef real* gradient
    # What is watched: where each kept array and the observations of this batch go; NULL: nowhere.
    cdef Py_ssize_t n_kept, n_observed
    cdef real** kept
    cdef Py_ssize_t* kept_step
    cdef double* observed
    cdef double last_loss, next_signal
    cdef float_mode mode        # of the thread, before it ran the plan

    def __cinit__(self, plan, parameters, slots, *, batch_size, n_threads=1):
        self.program = NULL
        self.kept = NULL
        self.kept_step = NULL
        self.observed = NULL

    def __init__(self, plan, parameters, slots, *, batch_size, n_threads=1):
        if self.program:
            raise RuntimeError("an Executor is initialised once")
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) \
                or not 1 <= batch_size < 1 << 31:
            raise ValueError(f"batch_size must be a positive integer; received {batch_size!r}")
        self.check_vector("parameters", parameters, (plan.n_parameters,))
        n_slots = 0
        if slots is not None:
            if not isinstance(slots, np.ndarray) or slots.ndim != 2:
                raise ValueError("slots must be an array of 2 dimensions")
            n_slots = slots.shape[0]
            self.check_vector("slots", slots, (n_slots, plan.n_parameters))
        verify(plan, n_slots)
        self.plan = plan
        self.n_threads = n_threads
        self.lock = Lock()
        self.team = []
        self.batch_size = int(batch_size)
        self.capacity = batch_size
        self.n_in = plan.n_in
        self.n_out = plan.n_out
        self.n_parameters = plan.n_parameters
        self.n_kept = plan.n_kept
        self.n_observed = plan.n_observed
        self.takes_labels = plan.labels
        self.output_is_input = plan.output >= 0 and plan.buffers[plan.output].arena == "x"
        self.parameters = parameters
        self.slots = slots
        dtype = plan.dtype
        self.work = aligned(plan.n_work * self.capacity + NNCORE_SLACK, dtype)
        self.x_ = aligned(plan.n_in * self.capacity + NNCORE_SLACK, dtype)
        self.t_ = aligned(plan.n_targets * self.capacity + NNCORE_SLACK, dtype)
        self.labels_ = np.zeros(self.capacity if plan.labels else 1, dtype=np.int64)
        self.r_ = np.ones(self.capacity if plan.weights else 1, dtype=np.float64)
        self.ahead = larger(self.capacity, CHECKED_AHEAD)
        self.order_ = np.zeros(self.ahead, dtype=np.int64)
        self.order = <long long*>cnp.PyArray_DATA(self.order_)
        self.x_buffer = <real*>cnp.PyArray_DATA(self.x_)
        self.t_buffer = <real*>cnp.PyArray_DATA(self.t_)
        self.labels = <long long*>cnp.PyArray_DATA(self.labels_)
        self.r = <double*>cnp.PyArray_DATA(self.r_) if plan.weights else NULL
        self.x_now = self.x_buffer
        self.t_now = self.t_buffer
        self.gradients = None
        if any(b.arena == "gradients" for b in plan.buffers):
            self.gradients = aligned(plan.n_parameters, dtype)
            self.gradient = <real*>cnp.PyArray_DATA(self.gradients)
        self.optimizer = list(OPTIMIZERS).index(plan.optimizer) if plan.optimizer else -1
        self.update.parameters = <real*>cnp.PyArray_DATA(parameters)
        self.update.slots = <real*>cnp.PyArray_DATA(slots) if slots is not None else NULL
        self.update.stride = plan.n_parameters
        self.set_hyper(plan.hyper)
        self.write_program()

    def __dealloc__(self):
        free(self.program)
        free(self.kept)
        free(self.kept_step)

    def check_vector(self, name, array, shape):
        """Raise unless `array` can be read and written in place."""
        dtype = np.dtype("float64" if IS_DOUBLE else "float32")
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            what = (f"shape {array.shape}, dtype {array.dtype}" if isinstance(array, np.ndarray)
                    else type(array).__name__)
            raise ValueError(f"{name} must be an array of shape {shape}, dtype {dtype}; "
                             f"received {what}")
        if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
            raise ValueError(f"{name} must be C-contiguous, aligned and writable")

    def check_kept(self, number, array, n_batches, size):
        """Raise unless `array` can take `size` numbers for each of `n_batches` batches."""
        dtype = np.dtype("float64" if IS_DOUBLE else "float32")
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim < 2 \
                or not (array.flags.c_contiguous and array.flags.writeable
                        and array.flags.aligned) \
                or array.shape[0] < n_batches or array.size < size * array.shape[0]:
            raise ValueError(f"kept[{number}] must be a writable, contiguous {dtype} array with "
                             f"{n_batches} entries of {size} numbers")

    def check_between(self, other):
        """Raise unless another executor can run batches of the same training."""
        a, b = self.plan, other.plan
        if other is self or other.parameters is not self.parameters \
                or other.slots is not self.slots \
                or (a.n_in, a.n_out, a.n_targets, a.labels, a.weights, a.n_metrics, a.optimizer) \
                != (b.n_in, b.n_out, b.n_targets, b.labels, b.weights, b.n_metrics, b.optimizer):
            raise ValueError("between must be another executor with the same parameters, slots and "
                             "kind of data")

    def check_totals(self, totals):
        """Raise unless metrics can be added to `totals`."""
        if not isinstance(totals, np.ndarray) or totals.dtype != np.float64 \
                or totals.shape != (self.plan.n_metrics, 2) or not totals.flags.c_contiguous \
                or not totals.flags.writeable:
            raise ValueError(f"totals must be a writable float64 array of shape "
                             f"({self.plan.n_metrics}, 2)")

    def check_predicts(self):
        """Raise unless the plan does nothing but predict."""
        if self.program == NULL or self.plan.output < 0 \
                or any(step.op in ("loss", "metric") for step in self.plan.steps):
            raise ValueError("the plan is not one to predict: it has no output, or more than that")

    cdef int enter(self) except -1:
        # One at a time; a signal's handler, which runs in the middle of run(), must not wait for
        # what it interrupts.
        cdef long me = PyThread_get_thread_ident()
        if self.owner == me:
            raise RuntimeError("this model is training or predicting further up in this thread "
                               "(is this a signal's handler?): wait until that has ended")
        self.lock.acquire()
        self.owner = me
        return 0

    cdef void leave(self) except *:
        self.owner = 0
        self.lock.release()

    cdef real* place(self, number) except? NULL:
        # Where a buffer lies.
        b = self.plan.buffers[number]
        if b.arena == "parameters":
            return self.update.parameters + <Py_ssize_t>b.offset
        if b.arena == "gradients":
            return self.gradient + <Py_ssize_t>b.offset
        if b.arena == "x":
            return self.x_buffer
        if b.arena == "t":
            return self.t_buffer
        return <real*>cnp.PyArray_DATA(self.work) + <Py_ssize_t>b.offset * self.capacity

    cdef void write_program(self) except *:
        # Steps with their names looked up and their pointers in place.
        cdef Instruction* s
        cdef Py_ssize_t needed = 64, loss_cols = 0
        plan = self.plan
        self.length = len(plan.steps)
        self.first_update = self.length
        self.row_work = self.n_parameters + self.n_in
        self.heavy = self.capacity * self.n_parameters > 10000000
        self.program = <Instruction*>calloc(self.length + 1, sizeof(Instruction))
        self.kept = <real**>calloc(self.n_kept + 1, sizeof(real*))
        self.kept_step = <Py_ssize_t*>calloc(self.n_kept + 1, sizeof(Py_ssize_t))
        if not (self.program and self.kept and self.kept_step):
            raise MemoryError
        self.kept_shapes = [(1, 0)] * self.n_kept
        ops = list(OPS)
        kinds = {"loss": LOSSES, "metric": METRICS, "observe": OBSERVATIONS}
        for k, step in enumerate(plan.steps):
            s = &self.program[k]
            s.op = ops.index(step.op)
            if step.kind:
                s.kind = tuple(kinds.get(step.op, ACTIVATIONS)).index(step.kind)
            s.reduction = REDUCTIONS[step.reduction] if step.op == "loss" else 0
            s.x = self.place(step.x) if step.x is not None else NULL
            s.w = self.place(step.w) if step.w is not None else NULL
            s.b = self.place(step.b) if step.b is not None else NULL
            s.z = self.place(step.z) if step.z is not None else NULL
            s.y = self.place(step.y) if step.y is not None else NULL
            s.dx = self.place(step.dx) if step.dx is not None else NULL
            s.dw = self.place(step.dw) if step.dw is not None else NULL
            s.db = self.place(step.db) if step.db is not None else NULL
            s.dz = self.place(step.dz) if step.dz is not None else NULL
            s.dy = self.place(step.dy) if step.dy is not None else NULL
            s.alpha = step.alpha
            s.beta = step.beta
            s.l1 = step.l1
            s.l2 = step.l2
            s.bias_l1 = step.bias_l1
            s.bias_l2 = step.bias_l2
            s.seed = step.seed
            s.index = step.index
            s.update = step.update
            if step.update or step.op == "update":
                self.first_update = min(self.first_update, <Py_ssize_t>k)
            buffers = plan.buffers
            s.x_is_input = step.x is not None and buffers[step.x].arena == "x"
            s.y_is_input = step.y is not None and buffers[step.y].arena == "x"
            s.y_is_output = (step.op in ("rescale", "dense", "activate", "dropout")
                             and step.y == plan.output)
            if step.t is not None:
                s.takes_labels = buffers[step.t].arena == "labels"
            s.takes_weights = step.r is not None
            if step.w is not None:
                s.rows = buffers[step.w].rows
                s.n_in = buffers[step.w].rows
                s.n_out = buffers[step.w].cols
                s.w_at = buffers[step.w].offset
            elif step.dw is not None:
                s.rows = buffers[step.dw].rows
                s.n_out = buffers[step.dw].cols
            else:
                for name in ("y", "x", "dx"):
                    if getattr(step, name) is not None:
                        s.n_out = buffers[getattr(step, name)].cols
            if step.b is not None:
                s.b_at = buffers[step.b].offset
            self.row_work += COLUMN_WORK * s.n_out
            if step.op == "keep":
                self.kept_shapes[step.index] = (
                    0 if step.y is not None else s.rows, s.n_out)
            if step.op == "loss":
                if step.dy is None:
                    loss_cols = max(loss_cols, s.n_out)
                elif is_few(s.kind, 1, s.n_out) and s.kind != ROOT_MEAN_SQUARED_ERROR \
                        and not s.takes_weights and not s.y_is_input:
                    s.few = few_loss
            # The scratch of each matmul, and of a bias's gradient.
            if step.op == "dense":
                if is_narrow(s.n_out, s.n_in):
                    s.few = few_dense
                s.room = self.has_room(step.y)
                if s.few and s.room and s.n_out <= QUAD and has_quad(s.kind) and not s.z:
                    s.few = few_dense_of_one
                s.with_softmax = gives_strips(s.n_in, s.n_out) and goes_to_softmax(plan, k)
                if s.few and s.with_softmax:
                    s.few = few_dense_and_softmax
                needed = max(needed, scratch_size(self.capacity, s.n_out, s.n_in))
            elif step.op == "dense_backward_data":
                if is_narrow(s.n_in, s.n_out):
                    s.few = few_dense_backward_data
                s.room = self.has_room(step.dx)
                if s.few and s.room and larger(s.n_in, s.n_out) <= QUAD and has_quad(s.kind):
                    s.few = few_dense_backward_data_of_one
                needed = max(needed, scratch_size(self.capacity, s.n_in, s.n_out))
            elif step.op == "activate_backward":
                if s.kind != SOFTMAX and s.n_out <= LANES_PER_VECTOR:
                    s.few = few_activate_backward
            elif step.op == "dense_backward_weights":
                needed = max(needed, scratch_size(s.n_in, s.n_out, self.capacity),
                             2 * s.n_out + LANES_PER_VECTOR)
                if has_few_rows(s.n_in, s.n_out, NARROW_PANEL):
                    s.both = self.joint_update(s) if s.update else 0
                    if s.both > 0:
                        s.few = few_dense_backward_weights
                    needed = max(needed, turned_at(s)
                                 + (LANES_PER_VECTOR * s.n_in if is_turned(s.n_in, s.n_out) else 0))
        self.scratch_step = round_up(needed, 64)
        self.loss_part = round_up(loss_cols * self.capacity, 64)
        self.provide(self.threads)

    cdef bint has_room(self, number) except *:
        # Is nothing of the work arena within the LINE columns from a buffer's beginning but itself?
        b = self.plan.buffers[number]
        if b.arena != "work":
            return False
        for other in self.plan.buffers:
            if other.arena == "work" and other is not b and other.offset < b.offset + LINE \
                    and b.offset < other.offset + other.cols:
                return False
        return b.offset + LINE <= self.plan.n_work

    cdef Py_ssize_t joint_update(self, const Instruction* s) except *:
        # How many numbers, from w on, an update of w and b may take at once, unused ones between
        # and behind them among them; 0 where it may not.
        cdef Py_ssize_t end = s.w_at + round_up(s.n_in * s.n_out, LINE), first, size
        if s.l1 != 0 or s.l2 != 0 or s.bias_l1 != 0 or s.bias_l2 != 0:
            return 0
        if s.b:
            if s.b_at != end:
                return 0
            end += round_up(s.n_out, LINE)
        for b in self.plan.buffers:
            if b.arena == "parameters":
                first, size = b.offset, b.rows * b.cols
                if first < end and first + size > s.w_at \
                        and (first, size) != (s.w_at, s.n_in * s.n_out) \
                        and (s.b == NULL or (first, size) != (s.b_at, s.n_out)):
                    return 0
        return smaller(end, self.n_parameters) - s.w_at

    cdef void provide(self, int threads) except *:
        # Scratch for so many threads: first the loss's, then each thread's.
        if threads <= self.provided:
            return
        self.scratch_ = aligned(self.loss_part + self.scratch_step * threads, self.plan.dtype)
        self.loss_scratch = <real*>cnp.PyArray_DATA(self.scratch_)
        self.scratch = self.loss_scratch + self.loss_part
        self.provided = threads

    @property
    def n_threads(self):
        """The most threads used; the result's bits do not depend on it."""
        return self.threads

    @n_threads.setter
    def n_threads(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) \
                or not 1 <= value <= MOST_THREADS:
            raise ValueError(f"n_threads must be an integer from 1 to {MOST_THREADS}; "
                             f"received {value!r}")
        if self.program:
            self.enter()
            try:
                self.provide(value)
                self.threads = value
            finally:
                self.leave()
        else:
            self.threads = value

    @property
    def scratch_size(self):
        """Numbers of scratch for the losses and the threads."""
        return self.scratch_.size

    @property
    def loss(self):
        """The last batch's loss, penalties included."""
        return self.last_loss

    def set_hyper(self, hyper):
        """Set the optimizer's constants: a mapping with some of momentum, rho, epsilon,
        beta_1, beta_2, centered and weight_decay; the others are 0.

        Waits for the batch under way; a signal's handler in its midst gets RuntimeError."""
        cdef Hyper new = read_hyper(hyper)
        for name, value in hyper.items():
            if not -1e300 < value < 1e300:
                raise ValueError(f"{name} must be finite; received {value!r}")
        self.enter()    # not while a batch is under way
        self.hyper = new
        if self.optimizer >= 0:
            set_update(&self.update, self.optimizer, &self.hyper)
        self.leave()

    cdef void backward_weights(self, const Instruction* s, Py_ssize_t rows, Py_ssize_t at,
                               Py_ssize_t count) noexcept nogil:
        # Rows at.. of dw, stored or used up.
        cdef BackwardWeights g
        cdef Py_ssize_t first = at * s.n_out
        g.update = &self.update
        g.step = s.n_out
        g.w = s.w + first
        g.dw = NULL if s.update else s.dw + first
        g.at = s.w_at + first
        g.l1 = <real>s.l1
        g.l2 = <real>s.l2
        dense_backward_weights((self.x_now if s.x_is_input else s.x) + at, s.dz, &g, rows, count,
                               s.n_in, s.n_out, True, self.threads, self.scratch,
                               self.scratch_step)

    cdef void backward_bias(self, const Instruction* s, Py_ssize_t rows) noexcept nogil:
        cdef BackwardWeights g
        if not s.b:
            return
        column_sums(s.dz, rows, s.n_out, True, self.scratch)
        g.update = &self.update
        g.w = s.b
        g.dw = NULL if s.update else s.db
        g.at = s.b_at
        g.l1 = <real>s.bias_l1
        g.l2 = <real>s.bias_l2
        gradient_epilogue(&g, self.scratch, 0, s.n_out)

    cdef inline void execute_step(self, const Instruction* s, Py_ssize_t rows, long long iteration,
                                  double* totals) noexcept nogil:
        if s.few != NULL and rows <= NARROW_PANEL:
            s.few(self, s, rows)
        else:
            self.execute_any(s, rows, iteration, totals)

    cdef void execute_any(self, const Instruction* s, Py_ssize_t rows, long long iteration,
                          double* totals) noexcept nogil:
        cdef Forward f
        cdef BackwardData d
        cdef Py_ssize_t n = rows * s.n_out, done
        cdef const real* x = self.x_now if s.x_is_input else s.x
        cdef real* y = self.x_now if s.y_is_input else (
            self.y_now if s.y_is_output and self.y_now else s.y)
        cdef real* dy
        cdef double norm
        if s.op == DENSE:
            # (gives_strips() again: where nothing does, the compiler leaves this out.)
            if s.with_softmax and gives_strips(s.n_in, s.n_out) and self.y_now:
                done = self.softmax_too(s, x, rows)
                x += done * s.n_in
                y += done * s.n_out
                rows -= done
                if rows == 0:
                    return
            f.b = s.b
            f.z = s.z
            f.y = y
            f.step = s.n_out
            f.kind = s.kind
            f.alpha = <real>s.alpha
            dense(x, s.w, &f, rows, s.n_in, s.n_out, True, self.threads, self.scratch,
                  self.scratch_step)
        elif s.op == ACTIVATE:
            done = self.activated
            self.activated = 0
            activate_rows(s.kind, x + done * s.n_out, y + done * s.n_out, rows - done, s.n_out,
                          <real>s.alpha)
        elif s.op == RESCALE:
            rescale(x, y, n, <real>s.alpha, <real>s.beta)
        elif s.op == DROPOUT:
            drop(x, y, n, s.alpha, s.seed, iteration)
        elif s.op == LOSS:
            dy = s.dy if s.dy else self.loss_scratch
            self.last_loss = loss_rows(s.kind, s.reduction, y,
                                       NULL if s.takes_labels else self.t_now,
                                       self.labels if s.takes_labels else NULL,
                                       self.r if s.takes_weights else NULL, dy, NULL, rows,
                                       s.n_out, <real>s.alpha)
        elif s.op == METRIC:
            metric_rows(s.kind, y, NULL if s.takes_labels else self.t_now,
                        self.labels if s.takes_labels else NULL,
                        self.r if s.takes_weights else NULL, rows, s.n_out, s.alpha,
                        &totals[2 * s.index], &totals[2 * s.index + 1])
        elif s.op == PENALTY:
            self.last_loss += penalty(s.w, s.n_in * s.n_out, s.l1, s.l2)
        elif s.op == ACTIVITY_PENALTY:
            self.last_loss += penalty(y, n, s.l1, s.l2) / rows
            if s.dy:
                add_penalty(s.dy, y, n, <real>(s.l1 / rows), <real>(s.l2 / rows))
        elif s.op == ACTIVATE_BACKWARD:
            activate_rows_backward(s.kind, s.dy, s.z if s.z else s.y, s.dx, rows, s.n_out,
                                   <real>s.alpha)
        elif s.op == DROPOUT_BACKWARD:
            drop(s.dy, s.dx, n, s.alpha, s.seed, iteration)
        elif s.op == RESCALE_BACKWARD:
            rescale(s.dy, s.dx, n, <real>s.alpha, 0)
        elif s.op == DENSE_BACKWARD_DATA:
            d.zy = s.z if s.z else s.y
            d.dx = s.dx
            d.step = s.n_in
            d.kind = s.kind
            d.alpha = <real>s.alpha
            dense_backward_data(s.dz, s.w, &d, rows, s.n_in, s.n_out, self.threads,
                                self.scratch, self.scratch_step)
        elif s.op == DENSE_BACKWARD_WEIGHTS:
            self.backward_weights(s, rows, 0, s.n_in)
            self.backward_bias(s, rows)
        elif s.op == CLIP_VALUE:
            clip_value(s.dw, s.rows * s.n_out, <real>s.alpha)
        elif s.op == CLIP_NORM:
            norm = sqrt(sum_of_squares(s.dw, s.rows * s.n_out))
            clip_to_norm(s.dw, s.rows * s.n_out, norm, s.alpha)
        elif s.op == CLIP_GLOBAL_NORM:
            # The gradients' vector is 0 between the parameters.
            norm = sqrt(sum_of_squares(self.gradient, self.n_parameters))
            clip_to_norm(self.gradient, self.n_parameters, norm, s.alpha)
        elif s.op == UPDATE:
            update(&self.update, s.dw, s.w_at, s.n_in * s.n_out)
        elif s.op == KEEP or s.op == OBSERVE:
            self.watch(s, y, rows)

    cdef Py_ssize_t softmax_too(self, const Instruction* s, const real* x,
                                Py_ssize_t rows) noexcept nogil:
        # Of a dense layer and its softmax, which has the output: the rows that are done together.
        cdef Turned layer
        if useful_threads(self.threads, rows, s.n_out, s.n_in) > 1:
            return 0
        layer.x = x
        layer.w = s.w
        layer.b = s.b
        layer.n_in = s.n_in
        self.activated = rows // STRIP * STRIP
        softmax_strips(NULL, &layer, self.y_now, self.activated, s.n_out)
        return self.activated

    cdef void watch(self, const Instruction* s, const real* y, Py_ssize_t rows) noexcept nogil:
        # Copy or measure a parameter, a gradient or an output.
        cdef const real* v = y
        cdef Py_ssize_t n = rows
        if s.w:
            v = s.w
            n = s.rows
        elif s.dw:
            v = s.dw
            n = s.rows
        if s.op == OBSERVE:
            if self.observed:
                self.observed[s.index] += observe(s.kind, v, n, s.n_out, s.alpha, s.beta)
        elif self.kept[s.index]:
            memcpy(self.kept[s.index], v, n * s.n_out * sizeof(real))

    cdef void begin_batch(self) noexcept nogil:
        if self.observed:
            memset(self.observed, 0, self.n_observed * sizeof(double))

    cdef void end_batch(self) noexcept nogil:
        # Go on to the next batch's places.
        cdef Py_ssize_t k
        for k in range(self.n_kept):
            if self.kept[k]:
                self.kept[k] += self.kept_step[k]
        if self.observed:
            self.observed += self.n_observed

    cdef void forget_watching(self) noexcept:
        if self.n_kept:
            memset(self.kept, 0, self.n_kept * sizeof(real*))
        self.observed = NULL

    cdef void begin_watching(self, kept, observed, Py_ssize_t n_batches,
                             Py_ssize_t rows) except *:
        # Check where what is watched goes, and note it.
        cdef Py_ssize_t k
        if observed is not None:
            if not isinstance(observed, np.ndarray) or observed.dtype != np.float64 \
                    or observed.ndim != 2 or observed.shape[0] < n_batches \
                    or observed.shape[1] != self.n_observed or not observed.flags.c_contiguous \
                    or not observed.flags.writeable:
                raise ValueError(f"observed must be a writable float64 array of shape "
                                 f"({n_batches}, {self.n_observed})")
        if kept is not None:
            if len(kept) != self.n_kept:
                raise ValueError(f"kept must hold {self.n_kept} arrays; received {len(kept)}")
            for k, (n, cols) in enumerate(self.kept_shapes):
                self.check_kept(k, kept[k], n_batches, (n or rows) * cols)
            for k in range(self.n_kept):
                array = kept[k]
                self.kept[k] = <real*>cnp.PyArray_DATA(array)
                self.kept_step[k] = array.size // array.shape[0] if array.shape[0] else 0
        if observed is not None:
            self.observed = <double*>cnp.PyArray_DATA(observed)

    cdef int look_for_signals(self) except -1 nogil:
        if clock() >= self.next_signal:
            self.next_signal = clock() + 0.01
            with gil:
                set_float_mode(self.mode)   # a signal's handler is not the plan
                PyErr_CheckSignals()
                flush_denormals()
            self.next_signal = clock() + 0.01   # a handler may have taken as long
        return 0

    cdef int execute_heavy(self, const Instruction* s, Py_ssize_t rows, long long iteration,
                           double* totals) except -1 nogil:
        # A step that may take long: a matmul is done in parts, rows of its result, with a look
        # for signals (Ctrl-C) before each.
        cdef Instruction part = s[0]
        cdef Py_ssize_t n = rows, most = rows, at = 0, count
        cdef bint in_parts = s.op == DENSE or s.op == DENSE_BACKWARD_DATA
        cdef real* x_now = self.x_now
        cdef real* y_now = self.y_now
        if s.op == DENSE_BACKWARD_WEIGHTS and not s.update and s.n_out > 1:
            in_parts = True
            n = s.n_in
        if in_parts:
            most = <Py_ssize_t>(PART_WORK / (<double>rows * s.n_in * s.n_out / n))
            most = larger(most // TILE_ROWS, 1) * TILE_ROWS
        if most >= n:
            self.look_for_signals()
            self.execute_step(s, rows, iteration, totals)
            return 0
        part.with_softmax = False
        try:
            while at < n:
                count = smaller(most, n - at)
                self.look_for_signals()
                if s.op == DENSE:
                    self.x_now = x_now + at * s.n_in
                    part.x = s.x + at * s.n_in
                    part.z = s.z + at * s.n_out if s.z else NULL
                    part.y = s.y + at * s.n_out
                    if y_now:
                        self.y_now = y_now + at * s.n_out
                    self.execute_step(&part, count, iteration, totals)
                elif s.op == DENSE_BACKWARD_DATA:
                    part.dz = s.dz + at * s.n_out
                    part.z = s.z + at * s.n_in if s.z else NULL
                    part.y = s.y + at * s.n_in if s.y else NULL
                    part.dx = s.dx + at * s.n_in
                    self.execute_step(&part, count, iteration, totals)
                else:
                    self.backward_weights(s, rows, at, count)
                at += count
        finally:
            self.x_now = x_now
            self.y_now = y_now
        if s.op == DENSE_BACKWARD_WEIGHTS:
            self.backward_bias(s, rows)
        return 0

    cdef int execute_batch(self, Py_ssize_t rows, long long iteration, double rate,
                           double* totals) except -1 nogil:
        # run() returns every 50 ms for signals. A heavy batch, which can take longer, looks for
        # them within too while it has not begun to update: an exception leaves no half-made
        # update.
        cdef const Instruction* s = self.program
        cdef const Instruction* end = s + self.length
        self.rows = rows
        self.last_loss = 0
        if self.optimizer >= 0:
            begin_update(&self.update, &self.hyper, rate, iteration)
        if self.heavy:
            while s < end and s <= self.program + self.first_update:
                self.execute_heavy(s, rows, iteration, totals)
                s += 1
        while s < end:
            self.execute_step(s, rows, iteration, totals)
            s += 1
        return 0

    cdef void forward(self, Py_ssize_t rows) noexcept nogil:
        # The steps of a plan that only predicts.
        cdef Py_ssize_t k
        for k in range(self.length):
            self.execute_step(&self.program[k], rows, 0, NULL)

    cdef Source targets(self, t, Py_ssize_t rows) except *:
        cdef Source s
        memset(&s, 0, sizeof(s))
        if self.plan.labels or self.plan.n_targets:
            if t is None:
                raise ValueError("t is missing: the plan has a loss or a metric")
            s = read_source(t, "t", 1 if self.plan.labels else self.plan.n_targets)
            if s.rows != rows:
                raise ValueError(f"t must have as many rows as x, {rows}; received {s.rows}")
        return s

    cdef Source weights(self, r, Py_ssize_t rows) except *:
        cdef Source s
        memset(&s, 0, sizeof(s))
        if self.plan.weights:
            if r is None:
                raise ValueError("r is missing: the plan has row weights")
            s = read_source(r, "r", 1)
            if s.rows != rows:
                raise ValueError(f"r must have as many rows as x, {rows}; received {s.rows}")
        return s

    cdef const long long* row_order(self, order, Py_ssize_t rows, Py_ssize_t* begin,
                                    Py_ssize_t* end, first, last) except? NULL:
        # The order's data (NULL: natural), checked; begin and end from first and last.
        cdef const long long* data = NULL
        cdef Py_ssize_t n = rows
        if order is not None:
            if not isinstance(order, np.ndarray) or order.dtype != np.int64 or order.ndim != 1 \
                    or not order.flags.c_contiguous:
                raise ValueError("order must be a contiguous int64 array of 1 dimension")
            n = order.shape[0]
            data = <const long long*>cnp.PyArray_DATA(order)
        begin[0] = first
        end[0] = n if last is None else last
        if not 0 <= begin[0] <= end[0] <= n:
            raise ValueError(f"begin and end must satisfy 0 <= begin <= end <= {n}; "
                             f"received {first}, {last}")
        return data

    cdef Py_ssize_t fetch(self, const Source* x, const Source* t, const Source* r,
                          const long long* order, Py_ssize_t at, Py_ssize_t rows,
                          bint bind) noexcept nogil:
        # Gather a batch; the order was checked. Returns the position of the first label that is
        # out of range, or -1.
        cdef Py_ssize_t bad
        if t.data and self.takes_labels:
            gather(t, order, at, rows, self.labels)
            bad = out_of(self.n_out, self.labels, rows)
            if bad >= 0:
                return at + bad
        elif t.data:
            self.t_now = self.t_buffer
            if bind and rows == 1 and is_plain(t):
                self.t_now = <real*>row_of(t, order, at)
            else:
                gather_reals(t, order, at, rows, self.t_buffer)
        if r.data:
            gather(r, order, at, rows, self.r)
        if bind:
            self.bind(x, order, at, rows)
        else:
            gather_reals(x, order, at, rows, self.x_buffer)
        return -1

    cdef object out_of_range(self, Py_ssize_t at, long long row, Py_ssize_t rows):
        # What out_of() or fetch() found at this position, which names this row.
        if not 0 <= row < rows:
            return ValueError(f"order[{at}] must be from 0 to {rows - 1}; received {row}")
        return ValueError(f"labels must be from 0 to {self.n_out - 1}: row {row} has another")

    cdef void bind(self, const Source* x, const long long* order, Py_ssize_t at,
                   Py_ssize_t rows) noexcept nogil:
        # x_now: the rows where they lie when they can be read there, else gathered.
        if is_plain(x) and (rows == 1 or order == NULL
                            and x.row_step == x.cols * <Py_ssize_t>sizeof(real)):
            self.x_now = <real*>row_of(x, order, at)
        else:
            # (Several threads where the matmuls will need them, too: else they would be asleep.)
            gather_by_threads(x, order, at, rows, self.x_buffer,
                              useful_threads(self.threads, rows, self.n_parameters, 1))
            self.x_now = self.x_buffer

    cdef void release(self) noexcept nogil:
        # Nobody else's memory is looked at any longer.
        self.x_now = self.x_buffer
        self.t_now = self.t_buffer

    def run(self, x, t=None, r=None, *, order=None, begin=0, end=None, batch_size=None,
            iteration=0, learning_rates=None, losses=None, loss_totals=None, totals=None,
            seconds=float("inf"), kept=None, observed=None, every=1, past=0, between=None):
        """Run batch after batch; return the number done.

        Rows begin..end of `order` (row numbers; None: as they lie) are taken `batch_size` at a
        time, the last batch shorter. Stops between batches once `seconds` have passed; at least
        one is done. The GIL is released. Ctrl-C raises KeyboardInterrupt before the next
        update; `losses` then tells, by what was not written, how many batches were done.

        Parameters
        ----------
        x : ndarray, (n, ...)
            Integers, float32 or float64, of any strides; rows of more than one dimension
            must be C-contiguous.
        t : ndarray
            (n, n_targets), or integer labels (n,) or (n, 1).
        r : ndarray, (n,), optional
            Row weights.
        order : ndarray of int64, optional
        begin, end : int
            Positions in `order`.
        batch_size : int
            At most, and by default, the executor's.
        iteration : int
            Updates done before.
        learning_rates : ndarray of float64
            One a batch, or one for all.
        losses : ndarray of float64, optional
            Gets each batch's loss.
        loss_totals : ndarray of float64, (2,), optional
            Each batch's loss times its rows, and its rows, are added to it, batch after batch.
        totals : ndarray of float64, (n_metrics, 2), optional
            Each metric's sum and count are added to it.
        seconds : float
        kept : sequence of ndarray, optional
            One for each number of a `keep` step: (batches, ...), of the plan's dtype, with room
            for the buffer in each entry.
        observed : ndarray of float64, (batches, n_observed), optional
            Gets what the `observe` steps measure: a row a batch.
        every, past : int
            Of the batches, counted from `past`, only each `every`-th is run by this executor, and
            takes an entry of `kept` and a row of `observed`;
        between : Executor
            runs the others: of another plan for the same parameters and data.

        Returns
        -------
        int
        """
        cdef Source xs, ts, rs
        cdef Py_ssize_t first = 0, last = 0, at, rows, done = 0, size, n_batches, n_rates = 0
        cdef const long long* numbers
        cdef const double* rates = NULL
        cdef double* out = NULL
        cdef double* sums = NULL
        cdef double nowhere[2]
        cdef double* loss_sums = nowhere
        cdef double rate = 0, value, deadline
        cdef Py_ssize_t work = CLOCK_WORK   # the first batch is followed by a look
        cdef long long count = iteration
        cdef Py_ssize_t bad = -1, period = 1, number = 0, n_watched
        cdef Py_ssize_t checked = 0, copied = 0, first_row
        cdef Executor other = None
        cdef bint watched
        if between is not None:
            other = between
            self.check_between(other)
        if not (1 <= every < 1 << 62 and 0 <= past < every) or (every > 1 and other is None):
            raise ValueError(f"every must be at least 1, past from 0 to every - 1, and between "
                             f"given where every is more than 1; received every={every}, "
                             f"past={past}")
        period = every
        number = past
        self.enter()
        try:
            if other is not None:
                other.enter()
        except BaseException:
            self.leave()
            raise
        try:
            xs = read_source(x, "x", self.n_in)
            ts = self.targets(t, xs.rows)
            rs = self.weights(r, xs.rows)
            numbers = self.row_order(order, xs.rows, &first, &last, begin, end)
            size = self.capacity if batch_size is None else batch_size
            if not 1 <= size <= self.capacity:
                raise ValueError(f"batch_size must be from 1 to {self.capacity}; "
                                 f"received {batch_size}")
            if other is not None and size > other.capacity:
                raise ValueError(f"between has room for batches of {other.capacity} rows only; "
                                 f"received batch_size={size}")
            n_batches = (last - first + size - 1) // size
            check_iteration(count)
            if learning_rates is not None:
                learning_rates = vector(learning_rates, "learning_rates")
                n_rates = learning_rates.shape[0]
                rates = <const double*>cnp.PyArray_DATA(learning_rates)
            if self.optimizer >= 0 and n_rates != 1 and n_rates < n_batches:
                raise ValueError(f"learning_rates must hold one number, or one for each of "
                                 f"{n_batches} batches; received {n_rates}")
            if losses is not None:
                if vector(losses, "losses").shape[0] < n_batches or not losses.flags.writeable:
                    raise ValueError(f"losses must be writable and hold {n_batches} numbers")
                out = <double*>cnp.PyArray_DATA(losses)
            nowhere[0] = 0
            nowhere[1] = 0
            if loss_totals is not None:
                if vector(loss_totals, "loss_totals").shape[0] != 2 \
                        or not loss_totals.flags.writeable:
                    raise ValueError("loss_totals must be writable and hold 2 numbers")
                loss_sums = <double*>cnp.PyArray_DATA(loss_totals)
            own = totals
            if own is None:
                own = np.zeros((self.plan.n_metrics, 2))
            self.check_totals(own)
            sums = <double*>cnp.PyArray_DATA(own)
            # Multiples of the period from `past` on.
            n_watched = ((number + n_batches + period - 1) // period
                         - (number + period - 1) // period)
            deadline = clock() + <double>seconds
            # The last that may fail before the `try` that forgets it again.
            watched = kept is not None or observed is not None
            if watched:
                self.begin_watching(kept, observed, n_watched, smaller(size, last - first))
            self.next_signal = clock() + 0.01
            self.mode = flush_denormals()
            if other is not None:
                other.next_signal = self.next_signal
                other.mode = self.mode
            try:
                with nogil:
                    at = first
                    while at < last:
                        rows = smaller(size, last - at)
                        first_row = at
                        if numbers:
                            if at + rows > checked:
                                # A copy: what has been checked nobody can change.
                                copied = at
                                checked = at + smaller(self.ahead, last - at)
                                memcpy(self.order, numbers + at,
                                       (checked - at) * sizeof(long long))
                                bad = out_of(xs.rows, self.order, checked - at)
                                if bad >= 0:
                                    bad += at
                                    self.rows = 0   # nothing is loaded
                                    break
                            first_row = at - copied
                        if rates:
                            rate = rates[done if n_rates > 1 else 0]
                        if number == 0:
                            bad = self.fetch(&xs, &ts, &rs, self.order if numbers else NULL,
                                             first_row, rows, True)
                            if bad >= 0:
                                bad += at - first_row
                                self.rows = 0   # nothing is loaded: the labels may be any
                                break
                            if watched:
                                self.begin_batch()
                            self.execute_batch(rows, count + done, rate, sums)
                            value = self.last_loss
                            if watched:
                                self.end_batch()
                        else:
                            bad = other.fetch(&xs, &ts, &rs, self.order if numbers else NULL,
                                              first_row, rows, True)
                            if bad >= 0:
                                bad += at - first_row
                                other.rows = 0
                                break
                            other.execute_batch(rows, count + done, rate, sums)
                            value = other.last_loss
                        if out:
                            out[done] = value
                        loss_sums[0] += value * <double>rows
                        loss_sums[1] += <double>rows
                        done += 1
                        if period > 1:
                            number = number + 1 if number + 1 < period else 0
                        at += rows
                        # A look at the clock takes as long as a step of a tiny net.
                        work += rows * self.row_work
                        if work >= CLOCK_WORK:
                            work = 0
                            if clock() >= deadline:
                                break
            finally:
                set_float_mode(self.mode)
                self.release()
                if watched:
                    self.forget_watching()
                if other is not None:
                    other.release()
            if bad >= 0:
                raise self.out_of_range(bad, self.order[bad - copied] if numbers else bad, xs.rows)
            return done
        finally:
            if other is not None:
                other.leave()
            self.leave()

    def predict(self, x, out):
        """Write the output for every row of x into out, (n, n_out) of the plan's dtype.

        Ctrl-C is served while it runs. Afterwards read() tells nothing of this prediction.
        """
        cdef Source xs
        cdef real* y
        xs = read_source(x, "x", self.n_in)
        self.check_predicts()
        self.check_vector("out", out, (xs.rows, self.n_out))
        y = <real*>cnp.PyArray_DATA(out)
        self.enter()
        try:
            self.predict_blocks(&xs, y)
        finally:
            self.leave()

    cdef int predict_blocks(self, const Source* xs, real* y) except -1:
        # Write the output for every row of xs to y, with a look for signals before each block.
        cdef Py_ssize_t at = 0, rows, most = self.block_rows(xs.rows)
        if self.output_is_input:
            with nogil:
                gather_reals(xs, NULL, 0, xs.rows, y)
            return 0
        rows = self.shared_rows(xs.rows)
        if rows < xs.rows:
            return self.predict_together(xs, y, rows)
        self.next_signal = clock() + 0.01
        self.mode = flush_denormals()
        try:
            with nogil:
                while at < xs.rows:
                    if at > 0:
                        self.look_for_signals()
                    rows = smaller(most, xs.rows - at)
                    self.bind(xs, NULL, at, rows)
                    self.y_now = y + at * self.n_out
                    self.execute_batch(rows, 0, 0, NULL)
                    at += rows
        finally:
            set_float_mode(self.mode)
            self.y_now = NULL
            self.x_now = self.x_buffer
            self.activated = 0      # a signal may have come before the softmax
        return 0

    cdef Py_ssize_t block_rows(self, Py_ssize_t rows) noexcept nogil:
        # How many of so many rows one thread predicts at once.
        if rows > self.capacity >= WHOLE_ROWS:
            return self.capacity // WHOLE_ROWS * WHOLE_ROWS
        return smaller(rows, self.capacity)

    cdef Py_ssize_t shared_rows(self, Py_ssize_t rows) noexcept nogil:
        # How many of so many rows are a thread's part; all of them: threads do not share them.
        cdef int n_threads = useful_threads(self.threads, rows, self.row_work, 1)
        cdef Py_ssize_t most = self.capacity, size
        # Weights so large that each block reads them from memory are read once, and threads share
        # its matmuls.
        if n_threads < 2 or <double>most * self.n_parameters > PART_WORK:
            return rows
        if rows <= most:        # a part each, unless it is half a tile or less
            size = tiles_of(rows, n_threads)
            return size if 2 * size > TILE_ROWS else rows
        size = smaller(self.block_rows(rows),
                       round_up(tiles_of(rows, PARTS_EACH * n_threads), WHOLE_ROWS))
        # (Fewer parts would leave threads without work; parts of fewer rows are slow.)
        return size if size >= WHOLE_ROWS and tiles_of(rows, size) >= 2 * n_threads else rows

    cdef int predict_together(self, const Source* xs, real* y, Py_ssize_t size) except -1:
        # The same by several threads, each with rows of its own: nobody waits for anybody before
        # the end, or the next look for signals, when there is no thread at work.
        cdef SharedRows shared
        cdef Py_ssize_t rows
        cdef int k, taken, n_threads = useful_threads(self.threads, xs.rows, self.row_work, 1)
        while len(self.team) < n_threads:
            self.team.append(Executor(self.plan, self.parameters, None, batch_size=self.capacity))
        for k in range(n_threads):
            shared.team[k] = <void*>self.team[k]
        shared.xs = xs
        shared.y = y
        shared.size = size
        shared.begin = 0
        shared.end = 0
        self.mode = flush_denormals()
        try:
            with nogil:
                while True:
                    if clock() >= shared.end:
                        shared.end = self.next_signal = clock() + LOOK_AFTER
                    rows = xs.rows - shared.begin
                    taken = share(predict_part, &shared, <int>tiles_of(rows, size), n_threads)
                    if taken:
                        shared.begin += taken * size
                    else:
                        rows = self.block_rows(rows)
                        (<Executor>shared.team[0]).predict_rows(xs, shared.begin, rows, y)
                        shared.begin += rows
                    if shared.begin >= xs.rows:
                        break
                    self.look_for_signals()
        finally:
            set_float_mode(self.mode)
        return 0

    cdef void predict_rows(self, const Source* xs, Py_ssize_t at, Py_ssize_t rows,
                           real* y) noexcept nogil:
        self.bind(xs, NULL, at, rows)
        self.y_now = y + at * self.n_out
        self.forward(rows)
        self.y_now = NULL
        self.x_now = self.x_buffer

    def load(self, x, t=None, r=None, order=None, begin=0, rows=None):
        """Gather one batch, for execute() and read()."""
        cdef Source xs, ts, rs
        cdef Py_ssize_t first = 0, last = 0, bad = -1
        cdef const long long* numbers
        self.enter()
        try:
            xs = read_source(x, "x", self.n_in)
            ts = self.targets(t, xs.rows)
            rs = self.weights(r, xs.rows)
            numbers = self.row_order(order, xs.rows, &first, &last, begin,
                                     None if rows is None else begin + rows)
            if not 1 <= last - first <= self.capacity:
                raise ValueError(f"a batch must have from 1 to {self.capacity} rows; "
                                 f"received {last - first}")
            if numbers:
                bad = out_of(xs.rows, numbers + first, last - first)
            if bad >= 0:
                bad += first
            else:
                bad = self.fetch(&xs, &ts, &rs, numbers, first, last - first, False)
            if bad >= 0:
                self.rows = 0   # nothing is loaded: the labels may be any
                raise self.out_of_range(bad, numbers[bad] if numbers else bad, xs.rows)
            self.rows = last - first
            self.last_loss = 0
        finally:
            self.leave()

    def execute(self, Py_ssize_t index, iteration=0, learning_rate=0.0, totals=None):
        """Run one step of the plan on the batch that load() gathered."""
        cdef double* sums = NULL
        cdef long long count = iteration    # nothing below may fail while numbers are flushed
        check_iteration(count)
        own = np.zeros((self.plan.n_metrics, 2)) if totals is None else totals
        self.check_totals(own)
        if not 0 <= index < self.length:
            raise ValueError(f"the plan has steps 0 to {self.length - 1}; received {index}")
        if self.rows < 1:
            raise ValueError("no batch is loaded: call load first")
        sums = <double*>cnp.PyArray_DATA(own)
        self.enter()
        try:
            if self.optimizer >= 0:
                begin_update(&self.update, &self.hyper, learning_rate, count)
            self.mode = flush_denormals()
            self.execute_step(&self.program[index], self.rows, count, sums)
            set_float_mode(self.mode)
        finally:
            self.leave()

    def read(self, Py_ssize_t buffer):
        """Return a copy of a buffer as the last batch left it, (rows, columns).

        x, t, labels and r only after load(): run() may read them where they lie.
        """
        if not 0 <= buffer < len(self.plan.buffers):
            raise ValueError(f"the plan has buffers 0 to {len(self.plan.buffers) - 1}; "
                             f"received {buffer}")
        b = self.plan.buffers[buffer]
        rows = b.rows or self.rows
        source = {"parameters": self.parameters, "gradients": self.gradients, "work": self.work,
                  "x": self.x_, "t": self.t_, "labels": self.labels_, "r": self.r_}[b.arena]
        at = b.offset * (self.capacity if b.arena == "work" else 1)
        return source[at:at + rows * b.cols].reshape(rows, b.cols).copy()


cdef int predict_part(void* context, int thread, int part) noexcept nogil:
    # One thread's next rows; not 0: the caller wants to look for signals.
    cdef const SharedRows* s = <const SharedRows*>context
    cdef Py_ssize_t at = s.begin + part * s.size
    (<Executor>s.team[thread]).predict_rows(s.xs, at, smaller(s.size, s.xs.rows - at), s.y)
    return thread == 0 and clock() >= s.end


# Steps that write_program() chose for few rows: a tiny net's step is mostly choosing what to do.

cdef void few_dense(Executor e, const Instruction* s, Py_ssize_t rows) noexcept nogil:
    cdef Forward f
    f.b = s.b
    f.z = s.z
    f.y = e.y_now if s.y_is_output and e.y_now else s.y
    f.kind = s.kind
    f.alpha = <real>s.alpha
    dense_short(e.x_now if s.x_is_input else s.x, s.w, &f, s.room and f.y == s.y, rows, s.n_in,
                s.n_out, e.scratch)


cdef void few_dense_and_softmax(Executor e, const Instruction* s,
                                Py_ssize_t rows) noexcept nogil:
    if rows < STRIP:    # the layer alone
        few_dense(e, s, rows)
    else:
        e.execute_any(s, rows, 0, NULL)


cdef void few_dense_backward_data(Executor e, const Instruction* s,
                                  Py_ssize_t rows) noexcept nogil:
    cdef BackwardData d
    d.zy = s.z if s.z else s.y
    d.dx = s.dx
    d.kind = s.kind
    d.alpha = <real>s.alpha
    dense_backward_data_short(s.dz, s.w, &d, s.room, rows, s.n_in, s.n_out, e.scratch)


cdef void few_dense_of_one(Executor e, const Instruction* s, Py_ssize_t rows) noexcept nogil:
    if rows == 1 and not (s.y_is_output and e.y_now):
        dense_of_one(e.x_now if s.x_is_input else s.x, s.w, s.b, s.y, s.kind, s.n_in, s.n_out)
    else:
        few_dense(e, s, rows)


cdef void few_dense_backward_data_of_one(Executor e, const Instruction* s,
                                         Py_ssize_t rows) noexcept nogil:
    if rows == 1:
        dense_backward_data_of_one(s.dz, s.w, s.y, s.dx, s.kind, s.n_out)
    else:
        few_dense_backward_data(e, s, rows)


cdef void few_loss(Executor e, const Instruction* s, Py_ssize_t rows) noexcept nogil:
    if is_few(s.kind, rows, s.n_out):
        e.last_loss = loss_of_few(s.kind, s.reduction, s.y, e.t_now, s.dy, rows, s.n_out,
                                  <real>s.alpha)
    else:
        e.execute_any(s, rows, 0, NULL)


cdef void few_activate_backward(Executor e, const Instruction* s, Py_ssize_t rows) noexcept nogil:
    activate_backward(s.kind, s.dy, s.z if s.z else s.y, s.dx, rows * s.n_out, <real>s.alpha)


cdef void few_dense_backward_weights(Executor e, const Instruction* s,
                                     Py_ssize_t rows) noexcept nogil:
    cdef real* db = e.scratch + (s.b_at - s.w_at) if s.b else NULL
    dense_backward_weights_short(e.x_now if s.x_is_input else s.x, s.dz, e.scratch, db, rows,
                                 s.n_in, s.n_out, e.scratch + turned_at(s))
    if e.update.keeps_zeros:
        update(&e.update, e.scratch, s.w_at, s.both)
    else:   # what is 0 between w and b would become 0 / 0
        update(&e.update, e.scratch, s.w_at, s.n_in * s.n_out)
        if s.b:
            update(&e.update, db, s.b_at, s.n_out)


cdef vector(array, str name):
    # A contiguous float64 vector, or an error.
    if not isinstance(array, np.ndarray) or array.dtype != np.float64 or array.ndim != 1 \
            or not array.flags.c_contiguous:
        raise ValueError(f"{name} must be a contiguous float64 array of 1 dimension")
    return array
