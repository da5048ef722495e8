# Matmul with an epilogue: c(i, j) = sum_p a(i, p) b(p, j), handed tile by tile, while it is
# in the L1 cache, to a function that does the rest: bias and activation, the derivative of
# the layer below, or the optimizer's update.
#
# Loops (after Goto and van de Geijn 2008): columns in blocks, p in blocks of BLOCK_P, then tiles,
# row by row of them. A tile's panel of a (rows x p) stays in the L1 cache, the block's panels of
# b (p x columns) in L2. They are copied (packed) where they are read often enough to pay. Which
# loops and copies are made depends on the shape alone, and p always runs in order, so the
# result does not depend on the number of threads.

cdef extern from "microkernel.h" nogil:
    const int TILE_ROWS
    const int TILE_COLS
    const int TILE_SIZE
    const int VECTOR_BYTES
    const bint NNCORE_VECTOR_EXTENSIONS
    ctypedef real tile_buffer "NNCORE_ALIGNED real"
    void multiply_tile(int rows, int cols, int unit, Py_ssize_t k, const real* a,
                       Py_ssize_t a_step, const real* b, Py_ssize_t b_step, real* tile,
                       int add)
    void prefetch_far(const void* p)

cdef enum:
    BLOCK_P = 256
    MAX_TILE = 12 * 32

# tile holds rows x cols numbers, TILE_COLS apart, of c from (i, j) on.
ctypedef void (*epilogue_pointer)(const void* context, real* tile, Py_ssize_t i, Py_ssize_t j,
                                  int rows, int cols) noexcept nogil

ctypedef void (*prepare_pointer)(const void* context, Py_ssize_t i, Py_ssize_t j, int rows,
                                 int cols) noexcept nogil

ctypedef struct Matmul:
    Py_ssize_t m, n, k
    const real* a           # a(i, p) = a[i * a_step + p], or a[p * a_step + i] when a_transposed
    Py_ssize_t a_step
    bint a_transposed
    const real* b           # b(p, j) = b[p * b_step + j], or b[j * b_step + p] when b_transposed
    Py_ssize_t b_step
    bint b_transposed
    bint b_slack            # a tile's width may be read past b's end
    epilogue_pointer epilogue
    prepare_pointer prepare     # NULL, or what brings the epilogue's memory near meanwhile
    const void* context
    int n_threads
    real* scratch           # scratch_size(m, n, k) numbers for each thread
    Py_ssize_t scratch_step


cdef inline Py_ssize_t smaller(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t to) noexcept nogil:
    return (n + to - 1) // to * to


cdef inline Py_ssize_t block_cols() noexcept nogil:
    return 16 * TILE_COLS


cdef Py_ssize_t scratch_size(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    # Numbers of scratch that one thread needs: a panel of a, a block of b, and, when p is in
    # several blocks, the unfinished tiles of one block of columns.
    cdef Py_ssize_t p = smaller(k, BLOCK_P)
    cdef Py_ssize_t rows = round_up(m, TILE_ROWS)
    cdef Py_ssize_t cols = smaller(round_up(n, TILE_COLS), block_cols())
    cdef Py_ssize_t size = round_up(TILE_ROWS * p, 64) + p * cols + 64
    if k > BLOCK_P:
        size += rows * cols
    return round_up(size, 64)


cdef void pack_rows(const real* a, Py_ssize_t step, bint transposed, Py_ssize_t rows,
                    Py_ssize_t k, restricted panel) noexcept nogil:
    # panel[p * TILE_ROWS + i] = a(i, p) for one tile's rows. Missing rows are left as they
    # are: the tile of fewer rows does not read them.
    cdef Py_ssize_t i, p
    cdef const real* row
    if transposed:
        for p in range(k):
            row = a + p * step
            for i in range(rows):
                panel[p * TILE_ROWS + i] = row[i]
    else:
        for i in range(rows):
            row = a + i * step
            for p in range(k):
                panel[p * TILE_ROWS + i] = row[p]


cdef void pack_cols(const real* b, Py_ssize_t step, bint transposed, Py_ssize_t k,
                    Py_ssize_t cols, restricted panel) noexcept nogil:
    # panel[p * TILE_COLS + j] = b(p, j) for one tile's columns, 0 in the missing ones.
    cdef Py_ssize_t p, j, q, stop
    cdef const real* row
    if transposed:
        # In squares, so that both sides stay in the cache.
        for q in range(0, k, 16):
            stop = smaller(q + 16, k)
            for j in range(cols):
                row = b + j * step
                for p in range(q, stop):
                    panel[p * TILE_COLS + j] = row[p]
    else:
        for p in range(k):
            row = b + p * step
            for j in range(cols):
                panel[p * TILE_COLS + j] = row[j]
    if cols < TILE_COLS:
        for p in range(k):
            for j in range(cols, TILE_COLS):
                panel[p * TILE_COLS + j] = 0


cdef void multiply_range(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0,
                         Py_ssize_t j1, real* scratch) noexcept nogil:
    # Rows i0..i1 and columns j0..j1 of c, by one thread. i0 and j0 are multiples of the tile.
    cdef Py_ssize_t m = i1 - i0, n = j1 - j0, k = mm.k
    cdef Py_ssize_t col_block = block_cols()
    cdef bint split = k > BLOCK_P
    # Packing b pays when several tiles of rows read it; a transposed b must be packed.
    cdef bint pack_b = mm.b_transposed or (mm.m > 4 * TILE_ROWS and mm.n > 4 * TILE_COLS)
    # Packing a pays when several tiles of columns read it.
    cdef bint pack_a = mm.n > 4 * TILE_COLS and mm.m >= TILE_ROWS
    cdef Py_ssize_t p_block = smaller(k, BLOCK_P)
    cdef real* a_panel = scratch
    cdef real* b_panels = a_panel + round_up(TILE_ROWS * p_block, 64)
    cdef real* partial = b_panels + p_block * smaller(round_up(mm.n, TILE_COLS), col_block)
    cdef tile_buffer buffer[MAX_TILE]
    cdef real* tile
    cdef const real* a
    cdef const real* b
    cdef Py_ssize_t jb, pb, i, j, cols, ps, whole, tile_rows, tile_cols, tiles, a_step, b_step
    cdef bint first, last, unit
    # No range(start, stop, step) here: Cython's code for a runtime step is slow and long.
    jb = 0
    while jb < n:
        cols = smaller(col_block, n - jb)
        tiles = round_up(cols, TILE_COLS) // TILE_COLS
        pb = 0
        while pb < k or pb == 0:
            ps = smaller(BLOCK_P, k - pb)
            first = pb == 0
            last = pb + ps >= k
            # The last tile's columns may end at the end of b's memory: then it is packed alone.
            whole = cols if pack_b else cols - (0 if mm.b_slack else cols % TILE_COLS)
            j = 0 if pack_b else whole
            while j < cols:
                tile_cols = smaller(TILE_COLS, cols - j)
                if mm.b_transposed:
                    b = mm.b + (j0 + jb + j) * mm.b_step + pb
                else:
                    b = mm.b + pb * mm.b_step + j0 + jb + j
                pack_cols(b, mm.b_step, mm.b_transposed, ps, tile_cols, b_panels + j * ps)
                j += TILE_COLS
            i = 0
            while i < m:
                # Along the rows of c: what the epilogue reads and writes lies side by side.
                tile_rows = smaller(TILE_ROWS, m - i)
                if mm.a_transposed:
                    a = mm.a + pb * mm.a_step + i0 + i
                else:
                    a = mm.a + (i0 + i) * mm.a_step + pb
                a_step = mm.a_step
                unit = mm.a_transposed
                if pack_a:
                    pack_rows(a, mm.a_step, mm.a_transposed, tile_rows, ps, a_panel)
                    a = a_panel
                    a_step = TILE_ROWS
                    unit = True
                j = 0
                while j < cols:
                    tile_cols = smaller(TILE_COLS, cols - j)
                    if pack_b or j >= whole:
                        b = b_panels + j * ps
                        b_step = TILE_COLS
                    else:
                        b = mm.b + pb * mm.b_step + j0 + jb + j
                        b_step = mm.b_step
                    tile = buffer
                    if split:
                        # Tiles one after another, in the order (rows, columns).
                        tile = partial + (i // TILE_ROWS * tiles + j // TILE_COLS) * TILE_SIZE
                    if last and mm.prepare:
                        mm.prepare(mm.context, i0 + i, j0 + jb + j, <int>tile_rows,
                                   <int>tile_cols)
                    multiply_tile(<int>tile_rows, <int>tile_cols, unit, ps, a, a_step, b, b_step,
                                  tile, not first)
                    if last:
                        mm.epilogue(mm.context, tile, i0 + i, j0 + jb + j, <int>tile_rows,
                                    <int>tile_cols)
                    j += TILE_COLS
                i += TILE_ROWS
            pb += BLOCK_P
        jb += col_block


cdef void multiply_part(void* context, int part) noexcept nogil:
    # One thread's share: whole tiles of the side with more of them.
    cdef const Matmul* mm = <const Matmul*>context
    cdef Py_ssize_t row_tiles = (mm.m + TILE_ROWS - 1) // TILE_ROWS
    cdef Py_ssize_t col_tiles = (mm.n + TILE_COLS - 1) // TILE_COLS
    cdef real* scratch = mm.scratch + part * mm.scratch_step
    cdef Py_ssize_t first, last
    if row_tiles >= col_tiles:
        first = row_tiles * part // mm.n_threads * TILE_ROWS
        last = smaller(row_tiles * (part + 1) // mm.n_threads * TILE_ROWS, mm.m)
        if first < last:
            multiply_range(mm, first, last, 0, mm.n, scratch)
    else:
        first = col_tiles * part // mm.n_threads * TILE_COLS
        last = smaller(col_tiles * (part + 1) // mm.n_threads * TILE_COLS, mm.n)
        if first < last:
            multiply_range(mm, 0, mm.m, first, last, scratch)


cdef inline int useful_threads(int n_threads, Py_ssize_t m, Py_ssize_t n,
                               Py_ssize_t k) noexcept nogil:
    # A thread more costs about a microsecond; it must bring several: a million multiply-adds each.
    cdef double work = <double>m * <double>n * <double>k
    cdef double most = work / 1e6
    return n_threads if most >= n_threads else (1 if most < 2 else <int>most)


cdef void multiply(Matmul* mm) noexcept nogil:
    if mm.n_threads > 1:
        mm.n_threads = useful_threads(mm.n_threads, mm.m, mm.n, mm.k)
    if mm.n_threads > 1:
        parallel(multiply_part, mm, mm.n_threads)
    else:
        multiply_range(mm, 0, mm.m, 0, mm.n, mm.scratch)


# Epilogues.

ctypedef struct Forward:
    const real* b           # bias, or NULL
    real* z                 # where z is kept, or NULL
    real* y
    Py_ssize_t step         # columns of z and y
    int kind
    real alpha


cdef void forward_epilogue(const void* context, real* tile, Py_ssize_t i, Py_ssize_t j,
                           int rows, int cols) noexcept nogil:
    # z = tile + b; y = activation(z)
    cdef const Forward* f = <const Forward*>context
    cdef restricted row
    cdef const_restricted b
    cdef Py_ssize_t r, c, at
    for r in range(rows):
        row = tile + r * TILE_COLS
        at = (i + r) * f.step + j
        if f.b:
            b = f.b + j
            for c in range(cols):
                row[c] = row[c] + b[c]
        if f.z:
            memcpy(f.z + at, row, cols * sizeof(real))
        activate(f.kind, row, f.y + at, cols, f.alpha)


ctypedef struct BackwardData:
    const real* zy          # z or y of the layer below: what its derivative reads
    real* dx
    Py_ssize_t step
    int kind
    real alpha


cdef void backward_data_epilogue(const void* context, real* tile, Py_ssize_t i, Py_ssize_t j,
                                 int rows, int cols) noexcept nogil:
    # dx = tile times the derivative of the layer below
    cdef const BackwardData* d = <const BackwardData*>context
    cdef Py_ssize_t r, at
    for r in range(rows):
        at = (i + r) * d.step + j
        if d.kind == LINEAR:
            memcpy(d.dx + at, tile + r * TILE_COLS, cols * sizeof(real))
        else:
            activate_backward(d.kind, tile + r * TILE_COLS, d.zy + at, d.dx + at, cols, d.alpha)


ctypedef struct BackwardWeights:
    const real* w           # read for the penalty
    real* dw                # where the gradient is stored, or NULL: update w in place
    const Update* update
    Py_ssize_t at           # of w in the flat parameter vector
    Py_ssize_t step
    real l1, l2


cdef void gradient_epilogue(const BackwardWeights* d, real* g, Py_ssize_t at,
                            Py_ssize_t n) noexcept nogil:
    # What becomes of n neighbouring gradients from `at` on: stored, or used up at once.
    if d.l1 != 0 or d.l2 != 0:
        add_penalty(g, d.w + at, n, d.l1, d.l2)
    if d.dw:
        memcpy(d.dw + at, g, n * sizeof(real))
    else:
        d.update.function(d.update, g, d.at + at, n)


cdef void backward_weights_epilogue(const void* context, real* tile, Py_ssize_t i, Py_ssize_t j,
                                    int rows, int cols) noexcept nogil:
    cdef const BackwardWeights* d = <const BackwardWeights*>context
    cdef Py_ssize_t r
    for r in range(rows):
        gradient_epilogue(d, tile + r * TILE_COLS, (i + r) * d.step + j, cols)


cdef void backward_weights_prepare(const void* context, Py_ssize_t i, Py_ssize_t j, int rows,
                                   int cols) noexcept nogil:
    # The tile's weights and slots are far away, in short pieces that no hardware prefetcher
    # guesses; they arrive while the tile is being computed.
    cdef const BackwardWeights* d = <const BackwardWeights*>context
    cdef const Update* u = d.update
    cdef Py_ssize_t line = 64 // sizeof(real), r, c, s
    cdef const real* w
    for r in range(rows):
        w = u.parameters + d.at + (i + r) * d.step + j
        c = 0
        while c < cols:
            prefetch_far(w + c)
            for s in range(u.n_slots):
                prefetch_far(u.slots + (w + c - u.parameters) + s * u.stride)
            c += line


cdef void column_sums(const real* dz, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t step,
                      restricted sums) noexcept nogil:
    # sums_j = sum_i dz(i, j), i in order.
    cdef Py_ssize_t i, j
    cdef const_restricted row
    for j in range(cols):
        sums[j] = 0
    for i in range(rows):
        row = dz + i * step
        for j in range(cols):
            sums[j] = sums[j] + row[j]


# The three matmuls of a dense layer.

cdef void dense(const real* x, const real* w, const Forward* f, Py_ssize_t rows,
                Py_ssize_t n_in, Py_ssize_t n_out, bint slack, int n_threads, real* scratch,
                Py_ssize_t scratch_step) noexcept nogil:
    # y = activation(x w + b); x (rows, n_in), w (n_in, n_out)
    cdef Matmul mm
    mm.m = rows
    mm.n = n_out
    mm.k = n_in
    mm.a = x
    mm.a_step = n_in
    mm.a_transposed = False
    mm.b = w
    mm.b_step = n_out
    mm.b_transposed = False
    mm.b_slack = slack
    mm.epilogue = forward_epilogue
    mm.prepare = NULL
    mm.context = f
    mm.n_threads = n_threads
    mm.scratch = scratch
    mm.scratch_step = scratch_step
    multiply(&mm)


cdef void dense_backward_data(const real* dz, const real* w, const BackwardData* d,
                              Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
                              int n_threads, real* scratch,
                              Py_ssize_t scratch_step) noexcept nogil:
    # dx = (dz w^T) * derivative; dz (rows, n_out), dx (rows, n_in)
    cdef Matmul mm
    mm.m = rows
    mm.n = n_in
    mm.k = n_out
    mm.a = dz
    mm.a_step = n_out
    mm.a_transposed = False
    mm.b = w
    mm.b_step = n_out
    mm.b_transposed = True
    mm.b_slack = False
    mm.epilogue = backward_data_epilogue
    mm.prepare = NULL
    mm.context = d
    mm.n_threads = n_threads
    mm.scratch = scratch
    mm.scratch_step = scratch_step
    multiply(&mm)


cdef void dense_backward_weights(const real* x, const real* dz, const BackwardWeights* d,
                                 Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
                                 bint slack, int n_threads, real* scratch,
                                 Py_ssize_t scratch_step) noexcept nogil:
    # dw = x^T dz, then stored or used by the optimizer; dw (n_in, n_out)
    cdef Matmul mm
    mm.m = n_in
    mm.n = n_out
    mm.k = rows
    mm.a = x
    mm.a_step = n_in
    mm.a_transposed = True
    mm.b = dz
    mm.b_step = n_out
    mm.b_transposed = False
    mm.b_slack = slack
    mm.epilogue = backward_weights_epilogue
    mm.prepare = NULL
    if not d.dw:
        mm.prepare = backward_weights_prepare
    mm.context = d
    mm.n_threads = n_threads
    mm.scratch = scratch
    mm.scratch_step = scratch_step
    multiply(&mm)
