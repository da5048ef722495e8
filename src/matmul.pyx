# Matmul with an epilogue: c(i, j) = sum_p a(i, p) b(p, j), handed panel by panel (a tile's rows,
# many tiles' columns), while it is in the cache, to a function that does the rest: bias and
# activation, the derivative of the layer below, or the optimizer's update.
#
# Loops (after Goto and van de Geijn 2008): columns in blocks, p in blocks, then tiles, row by row
# of them. A run's panel of a (a tile's rows x at most 512 p) lies in the L1 cache, the block's
# panels of b (p x columns) in L2. a is read where it lies: a tile takes one number at a time from
# it (lines that would push each other out of the cache are copied side by side, once, if there is
# room for all of them; and those of a transposed a are copied by the first tile of columns, as it
# multiplies). b is copied (packed) where several tiles of rows read it, by the first of them as it
# multiplies; of a b from memory that one reads a share of the rows after the other.
# Where a transposed a is copied, a block has so many columns that it need not be copied often:
# its b lies in L3, and a few tiles of rows are done with a group of b's panels that L2 holds.
# p goes in order within a run, and the runs' sums are added in order; the runs depend on the
# shape alone, so the result does not depend on blocks, on copies or on the number of threads.

cdef extern from "microkernel.h" nogil:
    const int TILE_ROWS
    const int TILE_COLS
    const int UPDATE_ROWS
    const int LANES_PER_VECTOR
    const int FEWEST_LANES, QUAD
    const int VECTOR_BYTES
    const bint NNCORE_VECTOR_EXTENSIONS
    const int NNCORE_SLACK
    const int SHORT_COLS
    void prefetch_to_read(const void* p)
    void multiply_tile(int rows, int cols, int unit, Py_ssize_t k, const real* a,
                       Py_ssize_t a_step, const real* b, Py_ssize_t b_step, real* tile,
                       Py_ssize_t step, int add)
    void multiply_and_stream(int rows, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                             const real* b, Py_ssize_t b_step, const real* next, real* tile,
                             Py_ssize_t step, int add)
    void multiply_and_pack(int cols, int unit, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                           const real* b, Py_ssize_t b_step, real* packed, real* tile,
                           Py_ssize_t step, int add)
    ctypedef struct share_of_p:
        const real* begun
        const real* next
        Py_ssize_t begun_step
    void multiply_share_and_pack(const share_of_p* share, Py_ssize_t k, const real* a,
                                 Py_ssize_t a_step, const real* b, Py_ssize_t b_step,
                                 real* packed, real* tile, Py_ssize_t step, int add)
    const int MOST_ASKED
    struct asked_place:
        const real* at
        Py_ssize_t step, numbers
    ctypedef struct asked_rows:
        int n
        asked_place places[4]       # MOST_ASKED
    void multiply_and_ask(int unit, Py_ssize_t k, const real* a, Py_ssize_t a_step, const real* b,
                          Py_ssize_t b_step, const asked_rows* ask, real* tile, Py_ssize_t step,
                          int add)
    ctypedef struct finished_rows:
        const real* bias
        const real* slope
        int relu
        real* y
        Py_ssize_t step
    void multiply_and_finish(int unit, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                             const real* b, Py_ssize_t b_step, const asked_rows* ask,
                             const finished_rows* finish, Py_ssize_t row_at, Py_ssize_t col_at,
                             const real* tile, Py_ssize_t step, int add)
    void multiply_and_pack_a(Py_ssize_t k, const real* a, Py_ssize_t a_step, const real* b,
                             Py_ssize_t b_step, real* packed, const asked_rows* ask,
                             const finished_rows* finish, Py_ssize_t row_at, Py_ssize_t col_at,
                             real* tile, Py_ssize_t step, int add)
    void multiply_and_finish_rows(int rows, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                                  const real* b, Py_ssize_t b_step, const finished_rows* finish,
                                  Py_ssize_t row_at, Py_ssize_t col_at)
    void multiply_narrow(Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t k, const real* a,
                         Py_ssize_t a_step, const real* b, Py_ssize_t b_step, const real* bias,
                         real* c)
    void multiply_narrow_turned(Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t k, const real* a,
                                Py_ssize_t a_step, const real* b, Py_ssize_t b_step, real* c)
    bint ROWS_IN_LANES(Py_ssize_t cols, Py_ssize_t k)
    Py_ssize_t multiply_in_lanes(int unit, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t k,
                                 const real* a, Py_ssize_t a_step, const real* b,
                                 Py_ssize_t b_step, const real* bias, real* c)
    void multiply_to_strip(Py_ssize_t cols, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                           const real* b, Py_ssize_t b_step, const real* bias, real* strip)
    void quad_row(Py_ssize_t k, const real* a, const real* b, Py_ssize_t b_step, const real* bias,
                  real* c)
    void quad_row_turned(Py_ssize_t k, const real* a, const real* b, Py_ssize_t b_step, real* c)
    void quad_products(Py_ssize_t rows, Py_ssize_t cols, const real* a, const real* b, real* c)
    void sum_narrow_rows(Py_ssize_t rows, Py_ssize_t cols, const real* a, real* sums)
    Py_ssize_t end_of_sums(Py_ssize_t cols)
    void multiply_row(Py_ssize_t cols, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                      const real* b, Py_ssize_t b_step, real* c, int add)
    void multiply_column(Py_ssize_t rows, Py_ssize_t k, const real* a, Py_ssize_t a_step,
                         const real* b, real* c)
    const int MOST_STREAMED, STREAMED_ROWS
    void multiply_streamed_rows(int rows, int ask, Py_ssize_t cols, Py_ssize_t k, const real* a,
                                Py_ssize_t row_step, Py_ssize_t a_step, const real* b,
                                Py_ssize_t b_step, real* c, Py_ssize_t step, int add)
    const int MOST_ROWS_TURNED
    int rows_turned(int rows)
    Py_ssize_t multiply_few_turned(int rows, Py_ssize_t cols, Py_ssize_t k, const real* a,
                                   const real* b, Py_ssize_t b_step, real* c, Py_ssize_t step,
                                   int add)
    real peak_rounds(long long n, real factor)
    void transpose(const real* source, Py_ssize_t source_step, Py_ssize_t rows, Py_ssize_t cols,
                   real* to, Py_ssize_t to_step)
    void transpose_by_vectors(const real* source, Py_ssize_t source_step, Py_ssize_t rows,
                              Py_ssize_t cols, real* to, Py_ssize_t to_step)
    void transpose_to_short_rows(const real* source, Py_ssize_t source_step, Py_ssize_t cols,
                                 real* to)
    void transpose_few_rows(const real* source, Py_ssize_t source_step, Py_ssize_t rows,
                            Py_ssize_t cols, real* to)
    const Py_ssize_t MOST_CLOSED
    void multiply_closed(Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t k, const real* a,
                         Py_ssize_t a_step, const real* b, real* c)
    void open_rows(Py_ssize_t rows, Py_ssize_t cols, const real* source, real* to,
                   Py_ssize_t to_step)
    void close_rows(Py_ssize_t rows, Py_ssize_t cols, const real* source, Py_ssize_t source_step,
                    real* to)
    void transpose_squares(const real* source, Py_ssize_t source_step, Py_ssize_t rows,
                           Py_ssize_t cols, real* to, Py_ssize_t to_step)

cdef enum:
    # For an L2 cache of 1 MB (see of_l2()):
    ONLY_B_BYTES = 512 << 10    # of the only block of b
    B_BYTES = 384 << 10     # of one of several, which shares it with the next one's beginning
    A_TILES = 8             # of rows of a that are copied together: whole cache lines
    # For every processor:
    MOST_A_TILES = 16
    LONG_B_BYTES = 8 << 20  # where each block has its a copied: the fewer blocks, the fewer copies;
    GROUP_BYTES = 512 << 10     # then of b's panels that several tiles of rows use in turn
    MAX_RUN = 512           # of products that are summed one after the other
    MAX_BLOCK_P = 1024
    NEXT_PIECES = 3         # of the next block's b that a tile asks for: TILE_ROWS lines of it,
    PIECE = 128             # so many numbers of each
    FAR_A_BYTES = 512 << 10     # of an a that comes from memory, or nearly so
    MAX_BLOCK_TILES = 64
    UNFINISHED_ROWS = 1032  # whose sums wait for the next block of p: whole tiles
    NARROW_TILES = 8        # of rows of a narrow result, that the epilogue gets at once
    FEW_SUMS = 3            # rows of a tile that wait for their own sums, at most
    SHORT_SUMS = 64         # products, beside which an update takes long
    SMALL_TILES = 4         # of columns of a result that is computed without blocks
    NARROW_PANEL = 64       # rows of a result of one vector, that the epilogue gets at once
    CONFLICT = 1024         # bytes between lines of which many have no place in the cache
    PAGE = 4096
    STREAMED = 1 << 20      # bytes of b that come from memory: more than the caches keep
    FAR_B_BYTES = 512 << 10   # of a b that its first tile of rows asks for, where it is not packed
    LONG_P = 256            # and then so many p, of which the first 64 are not asked for
    STREAMED_P = 32         # lines of b, and of each a piece of
    STREAMED_TILES = 8      # so many tiles, at least, which a few rows read whole
    TURNED_P = 16           # products, at least, for which few rows turn a b in registers
    SHARED_BYTES = 4 << 20  # of b, if more: that its first tile of rows reads by shares, so many
    SHARE_P = 128           # rows at a time, and of each
    SHARE_COLS = 256        # so many numbers

# panel holds rows x cols numbers of c from (i, j) on, their rows `step` apart. It may be written.
ctypedef void (*epilogue_pointer)(const void* context, real* panel, Py_ssize_t step, Py_ssize_t i,
                                  Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil

# Says where the numbers lie that the epilogue of the tile at (i, j) will use.
ctypedef void (*uses_pointer)(const void* context, Py_ssize_t i, Py_ssize_t j,
                              asked_rows* ask) noexcept nogil

cdef inline void ask_for(asked_rows* ask, const real* at, Py_ssize_t step,
                         Py_ssize_t numbers) noexcept nogil:
    # TILE_ROWS rows more.
    if ask.n < MOST_ASKED:
        ask.places[ask.n].at = at
        ask.places[ask.n].step = step
        ask.places[ask.n].numbers = numbers
        ask.n += 1


ctypedef struct Matmul:
    Py_ssize_t m, n, k
    const real* a           # a(i, p) = a[i * a_step + p], or a[p * a_step + i] when a_transposed
    Py_ssize_t a_step
    bint a_transposed
    const real* b           # b(p, j) = b[p * b_step + j], or b[j * b_step + p] when b_transposed
    Py_ssize_t b_step
    bint b_transposed
    bint b_slack            # a tile's width may be read past b's end
    bint narrow             # at most a vector of columns: multiply_narrow_range() does it
    const real* bias        # added by that, or NULL: the epilogue adds it; NULL if a_transposed
    epilogue_pointer epilogue
    const finished_rows* finish     # what it does, for whole tiles, which are done so; or NULL
    uses_pointer uses           # or NULL: nothing that is worth being asked for
    bint updates                # what lies where c would lie, read and written by the epilogue
    const void* context
    int n_threads
    real* scratch           # scratch_size(m, n, k) numbers for each thread
    Py_ssize_t scratch_step


cdef inline Py_ssize_t smaller(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t to) noexcept nogil:
    return (n + to - 1) // to * to


cdef inline Py_ssize_t larger(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a > b else b


cdef inline Py_ssize_t tiles_of(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef inline Py_ssize_t run_of(Py_ssize_t k) noexcept nogil:
    # As few runs as possible, of about the same size.
    cdef Py_ssize_t runs = (k + MAX_RUN - 1) // MAX_RUN
    return k if runs <= 1 else round_up((k + runs - 1) // runs, 8)


cdef inline Py_ssize_t packed_block_p() noexcept nogil:
    # The most p of a block whose transposed a is packed: its panels leave half of L2 to b's.
    cdef Py_ssize_t p = MAX_BLOCK_P
    return p // 2 if A_TILES * TILE_ROWS * p * <Py_ssize_t>sizeof(real) > 512 << 10 else p


cdef inline Py_ssize_t block_p(Py_ssize_t k, Py_ssize_t most) noexcept nogil:
    # Whole runs. (More than half of `most`, where k is more than one block.)
    cdef Py_ssize_t run = run_of(k)
    return k if k <= most else most // run * run


# Of the processor that imported this (where they differ, only the speed does; 0: not known): how
# many lines whose addresses are a multiple of 4 KB apart the L1 cache keeps; bytes of L2.
cdef int cache_ways = l1_ways()
cdef long long cache_bytes = l2_bytes()


cdef inline Py_ssize_t of_l2(Py_ssize_t size) noexcept nogil:
    # A size for 1 MB of L2 cache, for this one; twice as much where there are 2 MB.
    return 2 * size if cache_bytes >= 2 << 20 else size


cdef inline Py_ssize_t rows_in_l2(Py_ssize_t step) noexcept nogil:
    # Of how many rows, `step` numbers apart, the L2 cache has room for the same few lines.
    cdef Py_ssize_t apart = step * <Py_ssize_t>sizeof(real)
    return larger(of_l2(1 << 20) // larger(apart & -apart, 64), TILE_ROWS)


cdef inline Py_ssize_t tiles_within(Py_ssize_t size, Py_ssize_t p) noexcept nogil:
    # How many tiles' columns of b, of p numbers each, so many bytes hold; at least one.
    cdef Py_ssize_t numbers = size // <Py_ssize_t>sizeof(real)
    return larger(numbers // (TILE_COLS * (p if p > 0 else 1)), 1)


cdef inline Py_ssize_t bytes_of(Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    return rows * cols * <Py_ssize_t>sizeof(real)


cdef inline bint is_far(Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    return bytes_of(m, k) >= FAR_A_BYTES


cdef inline Py_ssize_t padded(Py_ssize_t numbers) noexcept nogil:
    # From row to row of what is copied: a line more, so as not to be a power of two.
    return numbers + 64 // <Py_ssize_t>sizeof(real)


cdef inline bint has_shares(Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    # (Of one block of p, rows ahead that are asked for stay in L2 a while longer.)
    return bytes_of(k, n) > (SHARED_BYTES if k > MAX_BLOCK_P else 2 * SHARED_BYTES)


cdef inline Py_ssize_t shares_size() noexcept nogil:
    # Numbers that multiply_first_rows() needs: of a, of sums, and of b.
    return round_up(TILE_ROWS * padded(SHARE_P), 64) \
        + round_up(TILE_ROWS * padded(SHARE_COLS), 64) + SHARE_P * TILE_COLS


cdef inline Py_ssize_t block_cols(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t p,
                                  bint pack_a) noexcept nogil:
    # Blocks of about the same width: a last, narrow one takes as long to begin as a whole one. (Of
    # an a that L2 keeps beside b it matters little how often it is read.)
    cdef Py_ssize_t tiles = tiles_of(n, TILE_COLS), most, only = ONLY_B_BYTES, one = B_BYTES
    if is_far(m, k):
        only = of_l2(only)
        one = of_l2(one)
    if pack_a:
        most = tiles_within(LONG_B_BYTES, p)
    elif tiles <= tiles_within(only, k):
        most = tiles
    else:
        most = tiles_within(one, p)
    most = larger(smaller(most, MAX_BLOCK_TILES), 1)
    return larger(tiles_of(tiles, larger(tiles_of(tiles, most), 1)), 1) * TILE_COLS


cdef inline Py_ssize_t panel_step(Py_ssize_t cols) noexcept nogil:
    # A line more than the columns where rows would lie a power of two apart.
    cdef Py_ssize_t step = round_up(cols, TILE_COLS)
    return step if step <= 4 * TILE_COLS else padded(step)


cdef Py_ssize_t scratch_size(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    # Numbers of scratch that one thread needs, for these or smaller m and k: a block of b, and a
    # panel of c, or, when p is in several blocks, the unfinished panels of one block of columns
    # (the fewer p a block has, the more columns); panels of a; and multiply_first_rows()'s.
    # (All of a is copied only if what a block of b leaves free has room for it.)
    cdef Py_ssize_t cols = round_up(n, TILE_COLS), half = packed_block_p() // 2
    cdef Py_ssize_t b = smaller(smaller(k, MAX_BLOCK_P) * cols,
                                larger(LONG_B_BYTES // <Py_ssize_t>sizeof(real),
                                       MAX_BLOCK_P * TILE_COLS))
    cdef Py_ssize_t most = larger(MAX_BLOCK_TILES * TILE_COLS,
                                  NARROW_TILES * TILE_ROWS * TILE_COLS)
    cdef Py_ssize_t c = larger(TILE_ROWS * panel_step(smaller(cols, most)), most)
    cdef Py_ssize_t unfinished = 0
    if k > packed_block_p():
        unfinished = smaller(round_up(m, TILE_ROWS), UNFINISHED_ROWS) \
            * panel_step(smaller(cols, smaller(tiles_within(LONG_B_BYTES, half), MAX_BLOCK_TILES)
                                 * TILE_COLS))
    return round_up(b, 64) + round_up(larger(c, unfinished), 64) \
        + MOST_A_TILES * round_up(TILE_ROWS * padded(smaller(k, MAX_BLOCK_P)), 64) \
        + (shares_size() if has_shares(k, n) else 0)


cdef inline bint rows_fit(Py_ssize_t step) noexcept nogil:
    # Has the L1 cache room for a line of each of a tile's rows, `step` numbers apart?
    return cache_ways >= TILE_ROWS or step * <Py_ssize_t>sizeof(real) % (4 * CONFLICT) != 0


cdef inline bint packs_a(bint transposed, Py_ssize_t a_step, Py_ssize_t n,
                         Py_ssize_t k) noexcept nogil:
    # The lines of a, when they are a power of two apart, push each other out of the caches: then
    # they are copied side by side, if enough tiles of columns read them. Transposed, a tile reads
    # as many lines as the block has p; else one of each row, which the cache may have ways for.
    if n <= 4 * TILE_COLS or k <= 4 * TILE_COLS:
        return False
    if transposed:
        return a_step * <Py_ssize_t>sizeof(real) % CONFLICT == 0
    return not rows_fit(a_step)


cdef void pack_rows(const real* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t k,
                    real* panels, Py_ssize_t panel_size) noexcept nogil:
    # panels[i // TILE_ROWS * panel_size + p * TILE_ROWS + i % TILE_ROWS] = a[p * step + i]. Rows
    # ahead are asked for: they lie on pages of their own.
    cdef Py_ssize_t p, i, t, tiles = rows // TILE_ROWS
    for p in range(k):
        if p + 8 < k:
            i = 0
            while i < rows:
                prefetch_to_read(a + 8 * step + i)
                i += 64 // <Py_ssize_t>sizeof(real)
        for t in range(tiles):
            memcpy(panels + t * panel_size + p * TILE_ROWS, a + t * TILE_ROWS,
                   TILE_ROWS * sizeof(real))
        for i in range(tiles * TILE_ROWS, rows):
            panels[tiles * panel_size + p * TILE_ROWS + i - tiles * TILE_ROWS] = a[i]
        a += step


cdef void copy_rows(const real* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t k, real* panel,
                    Py_ssize_t panel_step) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows):
        memcpy(panel + i * panel_step, a + i * step, k * sizeof(real))


cdef void pack_cols(const real* b, Py_ssize_t step, bint transposed, Py_ssize_t k,
                    Py_ssize_t cols, restricted panel) noexcept nogil:
    # panel[p * TILE_COLS + j] = b(p, j) for one tile's columns, 0 in the missing ones.
    cdef Py_ssize_t p, j
    cdef const real* row
    if transposed and rows_fit(step):
        transpose_by_vectors(b, step, cols, k, panel, TILE_COLS)
    elif transposed:
        transpose(b, step, cols, k, panel, TILE_COLS)
    elif cols == TILE_COLS:
        for p in range(k):
            row = b + p * step
            for j in range(TILE_COLS):
                panel[p * TILE_COLS + j] = row[j]
    else:
        for p in range(k):
            row = b + p * step
            for j in range(cols):
                panel[p * TILE_COLS + j] = row[j]
    if cols < TILE_COLS:
        for p in range(k):
            for j in range(cols, TILE_COLS):
                panel[p * TILE_COLS + j] = 0


cdef inline Py_ssize_t last_panel(Py_ssize_t run) noexcept nogil:
    return round_up(TILE_COLS * run, 64)


cdef void multiply_last_cols(const Matmul* mm, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t k,
                             const real* a, const real* b, real* panel, real* c, Py_ssize_t step,
                             bint add) noexcept nogil:
    # Of a few rows those columns, less than a tile, that cannot be read where they lie.
    cdef Py_ssize_t i = 0, row_step = 1 if mm.a_transposed else mm.a_step
    pack_cols(b, mm.b_step, mm.b_transposed, k, cols, panel)
    while i < rows:
        multiply_tile(<int>smaller(TILE_ROWS, rows - i), <int>cols, mm.a_transposed, k,
                      a + i * row_step, mm.a_step, panel, TILE_COLS, c + i * step, step, add)
        i += TILE_ROWS


cdef inline bint reads_whole_rows(const Matmul* mm, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    # Of b, once, one after the other, for a few rows of a: there is nothing to copy. (Not in
    # pieces so short, or so few, that what lines meet takes as long as they do.)
    cdef Py_ssize_t b = bytes_of(mm.k, mm.n)
    if m == 1:
        return not mm.b_transposed
    return b > FAR_B_BYTES and m <= (MOST_STREAMED if b > SHARED_BYTES else STREAMED_ROWS) \
        and n >= STREAMED_TILES * TILE_COLS and mm.k >= STREAMED_P and not mm.b_transposed


cdef void multiply_few_rows(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0,
                            Py_ssize_t j1, real* scratch) noexcept nogil:
    cdef Py_ssize_t rows = i1 - i0, cols, tail, step, pb, ps, run = run_of(mm.k)
    cdef Py_ssize_t row_step = 1 if mm.a_transposed else mm.a_step
    cdef Py_ssize_t a_step = mm.a_step if mm.a_transposed else 1
    cdef Py_ssize_t bytes = bytes_of(mm.k, mm.n)
    cdef bint streamed = rows > 1 or bytes > STREAMED, ask = bytes >= 2 * SHARED_BYTES
    cdef real* panel = scratch
    cdef real* c = panel + last_panel(run)
    cdef const real* a
    cdef const real* b
    while j0 < j1:
        cols = smaller(MAX_BLOCK_TILES * TILE_COLS, j1 - j0)
        step = panel_step(cols)
        # The last tile's columns may end at the end of b's memory: then it is packed.
        tail = 0 if mm.b_slack else cols % TILE_COLS
        pb = 0
        while pb < mm.k or pb == 0:
            ps = smaller(run, mm.k - pb)
            a = mm.a + i0 * row_step + pb * a_step
            b = mm.b + pb * mm.b_step + j0
            if streamed:
                multiply_streamed_rows(<int>rows, ask, cols - tail, ps, a, row_step, a_step, b,
                                       mm.b_step, c, step, pb > 0)
            else:
                multiply_row(cols - tail, ps, a, a_step, b, mm.b_step, c, pb > 0)
            if tail:
                multiply_last_cols(mm, rows, tail, ps, a, b + cols - tail, panel,
                                   c + cols - tail, step, pb > 0)
            pb += run if run > 0 else 1
        mm.epilogue(mm.context, c, step, i0, j0, rows, cols)
        j0 += cols


cdef inline bint turns_few_rows(const Matmul* mm, Py_ssize_t m) noexcept nogil:
    # Is a transposed b turned in registers, for a few rows of a? (Not where the L1 cache has no
    # room for a vector of b's rows, but for so few that packing b takes all the time.)
    return m <= MOST_ROWS_TURNED and mm.b_transposed and mm.k >= TURNED_P \
        and mm.n >= (TILE_COLS if m <= 2 else 2 * TILE_COLS) \
        and (m <= 2 or cache_ways >= LANES_PER_VECTOR or bytes_of(1, mm.b_step) % PAGE != 0)


cdef inline Py_ssize_t turned_size(Py_ssize_t run) noexcept nogil:
    # Numbers of scratch that a takes, turned.
    return round_up(MOST_ROWS_TURNED * run, 64)


cdef Py_ssize_t few_end(const Matmul* mm, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    # The scratch that a part of few rows takes; 0: it is computed otherwise.
    cdef Py_ssize_t step = panel_step(smaller(MAX_BLOCK_TILES * TILE_COLS, n))
    cdef Py_ssize_t run = run_of(mm.k), panel = last_panel(run)
    if reads_whole_rows(mm, m, n):
        return panel + m * step
    if turns_few_rows(mm, m):
        return turned_size(run) + panel + rows_turned(<int>m) * step
    return 0


cdef void multiply_few_rows_turned(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0,
                                   Py_ssize_t j1, real* scratch) noexcept nogil:
    # b's columns, by the vector, meet a's numbers of `most` rows one p after the other.
    cdef Py_ssize_t rows = i1 - i0, cols, done, step, pb, ps, i, p, run = run_of(mm.k)
    cdef Py_ssize_t most = rows_turned(<int>rows)
    cdef real* turned = scratch
    cdef real* panel = turned + turned_size(run)
    cdef real* c = panel + last_panel(run)
    cdef const real* a
    cdef const real* b
    cdef const real* row
    while j0 < j1:
        cols = smaller(MAX_BLOCK_TILES * TILE_COLS, j1 - j0)
        step = panel_step(cols)
        pb = 0
        while pb < mm.k:
            ps = smaller(run, mm.k - pb)
            a = mm.a + i0 * mm.a_step + pb
            b = mm.b + j0 * mm.b_step + pb
            for i in range(most):
                # (What comes of a missing row is ignored.)
                row = a + smaller(i, rows - 1) * mm.a_step
                for p in range(ps):
                    turned[p * most + i] = row[p]
            done = multiply_few_turned(<int>most, cols, ps, turned, b, mm.b_step, c, step, pb > 0)
            if done < cols:     # less than a vector
                multiply_last_cols(mm, rows, cols - done, ps, a, b + done * mm.b_step, panel,
                                   c + done, step, pb > 0)
            pb += run
        mm.epilogue(mm.context, c, step, i0, j0, rows, cols)
        j0 += cols


cdef void multiply_one_column(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1,
                              real* c) noexcept nogil:
    # n = 1, neither transposed: sums of products of two rows of numbers.
    cdef Py_ssize_t rows
    while i0 < i1:
        rows = smaller(TILE_ROWS * TILE_COLS, i1 - i0)
        multiply_column(rows, mm.k, mm.a + i0 * mm.a_step, mm.a_step, mm.b, c)
        mm.epilogue(mm.context, c, 1, i0, 0, rows, 1)
        i0 += rows


cdef inline bint is_narrow(Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    # (One column is multiply_one_column's.)
    return 1 < n <= LANES_PER_VECTOR and k <= MAX_RUN


cdef inline Py_ssize_t narrow_b_size(Py_ssize_t k) noexcept nogil:
    # Numbers of a copied b: a transposed one, turned, or one that nothing may be read behind.
    return round_up(k * LANES_PER_VECTOR, 64)


cdef void multiply_narrow_range(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1,
                                real* scratch) noexcept nogil:
    # Rows i0..i1 of a narrow c: few loops around little work.
    cdef Py_ssize_t rows, b_step = mm.b_step
    cdef Py_ssize_t to_next = 1 if mm.a_transposed else mm.a_step
    cdef const real* a = mm.a + i0 * to_next
    cdef const real* b = mm.b
    if mm.b_transposed:
        b_step = LANES_PER_VECTOR
        transpose(b, mm.b_step, mm.n, mm.k, scratch, b_step)
        b = scratch
        scratch += narrow_b_size(mm.k)
    elif not mm.b_slack and mm.k > 0:       # b_step is n
        memcpy(scratch, b, mm.k * mm.n * sizeof(real))
        b = scratch
        scratch += narrow_b_size(mm.k)
    while i0 < i1:
        rows = smaller(NARROW_PANEL, i1 - i0)
        if mm.a_transposed:
            multiply_narrow_turned(rows, mm.n, mm.k, a, mm.a_step, b, b_step, scratch)
        else:
            multiply_narrow(rows, mm.n, mm.k, a, mm.a_step, b, b_step, mm.bias, scratch)
        mm.epilogue(mm.context, scratch, mm.n, i0, 0, rows, mm.n)
        a += rows * to_next
        i0 += rows


cdef inline Py_ssize_t lanes_end(Py_ssize_t n) noexcept nogil:
    # Scratch that multiply_lanes_range() takes: rows of 16 numbers, which overlap.
    return NARROW_PANEL * n + 16


cdef inline bint has_rows_in_lanes(const Matmul* mm) noexcept nogil:
    # Of a result that is wider than a vector. (An odd column more is read behind b's rows.)
    return ROWS_IN_LANES(mm.n, mm.k) and mm.k <= MAX_RUN and not mm.b_transposed \
        and (mm.b_slack or mm.n % 2 == 0)


cdef Py_ssize_t multiply_lanes_range(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1,
                                     real* scratch) noexcept nogil:
    # As many of the rows i0..i1 of such a c as are whole vectors: up to which?
    cdef Py_ssize_t done
    while i0 < i1:
        done = multiply_in_lanes(mm.a_transposed, smaller(NARROW_PANEL, i1 - i0), mm.n, mm.k,
                                 a_of(mm, i0, 0), mm.a_step, mm.b, mm.b_step, NULL, scratch)
        if done == 0:
            break
        mm.epilogue(mm.context, scratch, mm.n, i0, 0, done, mm.n)
        i0 += done
    return i0


ctypedef struct Layout:
    # How one thread works on its part of c, and where its panels lie in its scratch.
    Py_ssize_t run, p_block, col_block, a_size, a_at, b_at, c_at, end
    bint split, pack_a, turn_a, pack_b, keep_a, by_shares


cdef Layout layout_of(const Matmul* mm, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    # For a part of m rows and n columns.
    cdef Layout at
    cdef Py_ssize_t k = mm.k, rows = round_up(m, TILE_ROWS)
    cdef Py_ssize_t step, cols, kept = 0
    if mm.narrow:
        memset(&at, 0, sizeof(at))
        at.c_at = narrow_b_size(k) if mm.b_transposed or not mm.b_slack else 0
        at.end = at.c_at + smaller(m, NARROW_PANEL) * n + LANES_PER_VECTOR
        return at
    at.run = at.p_block = k
    at.col_block = n
    at.pack_a = packs_a(mm.a_transposed, mm.a_step, n, k)
    # Packing b pays when many tiles of rows read it, or several and it comes from memory; a
    # transposed b must be packed.
    at.pack_b = mm.b_transposed or (n > 4 * TILE_COLS and (m > 4 * TILE_ROWS or (
        m > TILE_ROWS and bytes_of(k, mm.n) > STREAMED)))
    at.by_shares = n > 4 * TILE_COLS and not mm.a_transposed and not mm.b_transposed \
        and has_shares(k, mm.n)
    if k > MAX_RUN or n > TILE_COLS:
        # (A small matmul takes less time than these divisions.)
        at.run = run_of(k)
        at.p_block = block_p(k, packed_block_p() if at.pack_a and mm.a_transposed
                             else MAX_BLOCK_P)
        at.col_block = block_cols(m, n, k, at.p_block, at.pack_a)
    at.a_at = shares_size() if at.by_shares else 0
    at.a_size = round_up(
        TILE_ROWS * (at.p_block if mm.a_transposed else padded(at.p_block)), 64)
    at.keep_a = False
    if at.by_shares and not at.pack_b:      # one tile of rows: a block holds nothing
        at.col_block = smaller(MAX_BLOCK_TILES, tiles_within(LONG_B_BYTES, at.p_block)) * TILE_COLS
    elif at.pack_a and not mm.a_transposed:
        # If there is room for copies of all of a, blocks need not be wide for a to be copied once.
        kept = tiles_of(m, TILE_ROWS) * tiles_of(k, at.p_block) * at.a_size
        cols = block_cols(m, n, k, at.p_block, False)
        at.keep_a = at.a_at + kept + round_up(at.p_block * cols, 64) \
            + rows * panel_step(cols) <= scratch_size(mm.m, mm.n, k)
        if at.keep_a:
            at.col_block = cols
    at.split = k > at.p_block
    at.turn_a = not at.pack_a and turns_a(mm, n)
    at.b_at = at.a_at
    if at.keep_a:
        at.b_at += kept
    elif at.pack_a and mm.a_transposed:
        at.b_at += of_l2(A_TILES) * at.a_size
    elif at.pack_a or at.turn_a:
        at.b_at += at.a_size
    at.c_at = at.b_at + round_up(at.p_block * round_up(smaller(n, at.col_block), TILE_COLS), 64)
    step = panel_step(smaller(at.col_block, n))
    if at.split:
        at.end = at.c_at + smaller(rows, UNFINISHED_ROWS) * step
    else:
        # The last block of columns may be narrow: then several tiles of rows are held.
        at.end = at.c_at + larger(TILE_ROWS * step,
                                  smaller(rows, NARROW_TILES * TILE_ROWS) * TILE_COLS)
    return at


cdef inline bint turns_a(const Matmul* mm, Py_ssize_t n) noexcept nogil:
    # Do the columns of a tile of rows share its panel of a transposed a? (Of six rows it gives
    # nothing.)
    return TILE_ROWS > 6 and mm.a_transposed and n > TILE_COLS


cdef inline const real* a_of(const Matmul* mm, Py_ssize_t i, Py_ssize_t p) noexcept nogil:
    return mm.a + (p * mm.a_step + i if mm.a_transposed else i * mm.a_step + p)


cdef void multiply_runs(int rows, int cols, bint transposed, Py_ssize_t k, Py_ssize_t run,
                        const real* a, Py_ssize_t a_step, const real* b, Py_ssize_t b_step,
                        const real* next, real* packed, real* packed_a, const asked_rows* ask,
                        const finished_rows* finish, Py_ssize_t row_at, Py_ssize_t col_at,
                        real* tile, Py_ssize_t step, bint add) noexcept nogil:
    # A tile, run after run. It also streams b, and then asks for `next`, if that is not NULL; or
    # packs b, if packed is not NULL; or packs a, asks, and is finished, if packed_a, ask and
    # finish are not NULL.
    cdef Py_ssize_t p = 0, now
    while p < k or p == 0:
        now = smaller(run, k - p)
        if next:
            multiply_and_stream(rows, now, a, a_step, b, b_step,
                                b + now * b_step if p + now < k else next, tile, step, add)
        elif packed:
            multiply_and_pack(cols, transposed, now, a, a_step, b, b_step, packed + p * TILE_COLS,
                              tile, step, add)
        elif packed_a:
            multiply_and_pack_a(now, a, a_step, b, b_step, packed_a + p * TILE_ROWS,
                                ask if p == 0 else NULL, finish if p + now >= k else NULL, row_at,
                                col_at, tile, step, add)
        elif finish and p + now >= k:
            multiply_and_finish(transposed, now, a, a_step, b, b_step, ask if p == 0 else NULL,
                                finish, row_at, col_at, tile, step, add)
        elif ask and p == 0:
            multiply_and_ask(transposed, now, a, a_step, b, b_step, ask, tile, step, add)
        else:
            multiply_tile(rows, cols, transposed, now, a, a_step, b, b_step, tile, step, add)
        a += now * a_step if transposed else now
        b += now * b_step
        add = True
        p += now if now > 0 else 1


ctypedef struct Block:
    # The columns and p of c that are worked on now, and where their panels lie. j counts in the
    # block, i in the thread's rows.
    Py_ssize_t i0, m                # the thread's rows: m from i0 on
    Py_ssize_t j0, cols             # columns
    Py_ssize_t p0, ps               # of the sums
    Py_ssize_t run, step, a_size    # step: of c's panels
    Py_ssize_t whole                # columns of b that may be read where they lie
    Py_ssize_t held                 # rows that the epilogue has not had yet
    Py_ssize_t asked                # numbers of a row of a that each tile asks for; 0: none
    # What is not yet asked for of the next block's b, or of the rows of a that are packed next:
    # lines next_step apart, of the first ones all numbers from next_at on. It is asked for from a
    # row on that leaves just time enough.
    const real* next
    Py_ssize_t next_step, next_lines, next_numbers, next_at, next_from
    bint ends, split, packs_b, packs_a, turns_a, copies_a, keeps_a
    bint streams_b                  # is b read by the first tile of rows, and comes from afar?
    bint far                        # does a come from memory, or nearly so?
    bint kept                       # are copies of a still there?
    real* a_panels                  # of these p, where they are kept
    real* b_panels
    real* c_panels


cdef inline void set_next(const Matmul* mm, Block* at, Py_ssize_t n,
                          const Layout* layout) noexcept nogil:
    # What the last tiles of a block ask for of the next one's b: the tiles that pack it would wait
    # for it. n: columns from this block's on.
    cdef Py_ssize_t p0 = at.p0 + at.ps, j0 = at.j0, ps, cols, pieces
    at.next_lines = 0
    if mm.uses != NULL or at.packs_a or not at.packs_b:
        return
    if p0 >= mm.k:
        p0 = 0
        j0 += at.cols
        n -= at.cols
        if n <= 0:
            return
    ps = smaller(layout.p_block, mm.k - p0)
    cols = smaller(layout.col_block, n)
    if layout.by_shares:
        ps = smaller(ps, SHARE_P)
        cols = smaller(cols, SHARE_COLS)
    at.next_step = mm.b_step
    at.next = mm.b + (j0 * mm.b_step + p0 if mm.b_transposed else p0 * mm.b_step + j0)
    at.next_lines = cols if mm.b_transposed else smaller(ps, rows_in_l2(mm.b_step))
    at.next_numbers = ps if mm.b_transposed else cols
    at.next_at = 0
    pieces = at.next_lines // TILE_ROWS * tiles_of(at.next_numbers, PIECE)
    at.next_from = at.m - (pieces // NEXT_PIECES // tiles_of(at.cols, TILE_COLS) + 2) * TILE_ROWS


cdef inline void set_next_a(const Matmul* mm, Block* at, Py_ssize_t end,
                            Py_ssize_t cols) noexcept nogil:
    # The same of the rows of a that are packed next, from `end` on, while `cols` columns are done.
    cdef Py_ssize_t each = 1 if mm.uses != NULL else NEXT_PIECES
    at.next_step = mm.a_step
    at.next = a_of(mm, at.i0 + end, at.p0)
    at.next_lines = at.ps if end < at.m else 0
    at.next_numbers = smaller(of_l2(A_TILES) * TILE_ROWS, at.m - end)
    at.next_at = 0
    at.next_from = end - (at.ps // TILE_ROWS // each // tiles_of(cols, TILE_COLS) + 1) * TILE_ROWS


cdef inline void ask_for_next(Block* at, asked_rows* ask) noexcept nogil:
    # A tile's share of that.
    cdef Py_ssize_t most = smaller(ask.n + NEXT_PIECES, MOST_ASKED)
    while at.next_lines >= TILE_ROWS and ask.n < most:
        ask_for(ask, at.next + at.next_at, at.next_step,
                smaller(PIECE, at.next_numbers - at.next_at))
        at.next_at += PIECE
        if at.next_at >= at.next_numbers:
            at.next_at = 0
            at.next += TILE_ROWS * at.next_step
            at.next_lines -= TILE_ROWS


cdef inline Py_ssize_t rows_of_tile(Py_ssize_t left, Py_ssize_t most) noexcept nogil:
    # The last two tiles have about as many each, where the last one would have so few that its
    # sums wait for themselves.
    return (left + 1) // 2 if most < left <= most + FEW_SUMS else smaller(most, left)


cdef inline void multiply_rows(const Matmul* mm, Block* at, Py_ssize_t first, Py_ssize_t end,
                               Py_ssize_t j_first, Py_ssize_t j_end) noexcept nogil:
    # Rows first..end of a block, a tile's at a time, in its columns j_first..j_end. Where a is
    # packed, its panels are those of these rows; or that of one tile, which its columns share.
    cdef Py_ssize_t i = first, i_now, j, j_now, rows, cols, ready, a_step, b_step
    cdef Py_ssize_t ps = at.ps, step = at.step
    cdef Py_ssize_t done        # the columns before need no epilogue
    cdef bint packs, packs_a, whole, asks, finishes, streams
    cdef const real* a
    cdef const real* b
    cdef real* c
    cdef real* panel
    cdef real* a_panel
    cdef asked_rows ask
    while i < end:
        rows = smaller(TILE_ROWS, at.m - i)
        if not (at.packs_a or at.turns_a or at.copies_a) \
                and (i > 0 or not (at.packs_b or at.streams_b)):
            rows = rows_of_tile(at.m - i, TILE_ROWS)
        i_now = at.i0 + i
        a = a_of(mm, i_now, at.p0)
        a_step = mm.a_step
        a_panel = at.a_panels
        if at.packs_a:
            a_panel += (i - first) // TILE_ROWS * at.a_size
        # The first tile of columns packs a, unless it packs b or is no whole tile. (Of a far a all
        # rows were packed at once: its lines would have to come again for each tile of them.)
        packs_a = (at.packs_a and not at.far or at.turns_a) and j_first == 0 \
            and rows == TILE_ROWS and at.cols >= TILE_COLS and (i > 0 or not at.packs_b)
        if at.packs_a and not packs_a:
            if j_first == 0 and not at.far:
                pack_rows(a, a_step, rows, ps, a_panel, at.a_size)
            a = a_panel
            a_step = TILE_ROWS
        elif at.copies_a:
            a_step = padded(ps)
            if at.keeps_a:
                a_panel += i // TILE_ROWS * at.a_size
            if not at.kept:
                copy_rows(a, mm.a_step, rows, ps, a_panel, a_step)
            a = a_panel
        c = at.c_panels + (i if at.split else at.held) * step
        # The first tile of rows packs b.
        ready = 0 if at.packs_b and i > 0 else at.whole
        done = j = j_first
        while j < j_end:
            cols = smaller(TILE_COLS, at.cols - j)
            j_now = at.j0 + j
            panel = at.b_panels + j * ps
            b = panel
            b_step = TILE_COLS
            packs = False
            if j < ready:
                b = mm.b + at.p0 * mm.b_step + j_now
                b_step = mm.b_step
                packs = at.packs_b
            streams = at.streams_b and i == 0 and cols == TILE_COLS
            whole = rows == TILE_ROWS and cols == TILE_COLS and not packs and not streams
            finishes = whole and mm.finish != NULL and at.ends and done == j
            ask.n = 0
            if whole and mm.uses != NULL and at.ends:
                mm.uses(mm.context, i_now, j_now, &ask)
            elif whole and at.asked > 0 and i + TILE_ROWS < at.m:
                # This tile's share of the next rows (a last, narrower tile asks for none).
                if at.kept:
                    ask_for(&ask, a + at.a_size + j // TILE_COLS * at.asked, a_step, at.asked)
                else:
                    ask_for(&ask, a_of(mm, i_now + TILE_ROWS, at.p0) + j // TILE_COLS * at.asked,
                            mm.a_step, at.asked)
            if whole and at.next_lines > 0 and i >= at.next_from:
                ask_for_next(at, &ask)
            asks = ask.n > 0
            if finishes:
                done += TILE_COLS
            if packs or packs_a or streams or ps > at.run:
                multiply_runs(<int>rows, <int>cols, mm.a_transposed, ps, at.run, a, a_step, b,
                              b_step, b + TILE_COLS if streams else NULL,
                              panel if packs else NULL, a_panel if packs_a else NULL,
                              &ask if asks else NULL, mm.finish if finishes else NULL, i_now,
                              j_now, c + j, step, at.p0 > 0)
                if packs_a:
                    a = a_panel
                    a_step = TILE_ROWS
                    packs_a = False
            elif finishes:
                multiply_and_finish(mm.a_transposed, ps, a, a_step, b, b_step,
                                    &ask if asks else NULL, mm.finish, i_now, j_now, c + j, step,
                                    at.p0 > 0)
            elif asks:
                multiply_and_ask(mm.a_transposed, ps, a, a_step, b, b_step, &ask, c + j, step,
                                 at.p0 > 0)
            else:
                multiply_tile(<int>rows, <int>cols, mm.a_transposed, ps, a, a_step, b, b_step,
                              c + j, step, at.p0 > 0)
            j += TILE_COLS
        i += rows
        if not at.ends or done >= j_end:
            continue
        if at.split:
            mm.epilogue(mm.context, c + done, step, i_now, at.j0 + done, rows, j_end - done)
            continue
        # Of a narrow result several tiles at once: its loops are short. (Not where the next
        # tile may be finished without them.)
        at.held += rows
        if i >= at.m or at.cols > TILE_COLS or at.held > (NARROW_TILES - 1) * TILE_ROWS \
                or (at.cols == TILE_COLS and mm.finish != NULL):
            mm.epilogue(mm.context, at.c_panels + done, step, i_now + rows - at.held,
                        at.j0 + done, at.held, j_end - done)
            at.held = 0


cdef void multiply_first_rows(const Matmul* mm, const Block* at, real* a) noexcept nogil:
    # The first tile of rows, in a block's columns that are read where they lie, of a b from memory:
    # some rows of it at a time, while the same columns of the next ones are asked for. (All rows
    # of a tile's columns would be as many pages, and lines a power of two apart would push each
    # other out of the cache before their turn.) It packs b, if other tiles are to read it. Sums
    # that a share leaves unfinished begin the next one's: their bits are those of one loop. `a`,
    # where its rows are copied, begins shares_size() numbers.
    cdef Py_ssize_t rows = smaller(TILE_ROWS, at.m), p, now, left, j, jb = 0, cols
    cdef Py_ssize_t a_step = padded(SHARE_P), sums_step = padded(SHARE_COLS)
    cdef real* sums = a + round_up(TILE_ROWS * a_step, 64)
    cdef real* unread = sums + round_up(TILE_ROWS * sums_step, 64)
    cdef const real* b
    cdef share_of_p share
    cdef bint ends
    share.begun_step = sums_step
    if rows < TILE_ROWS:        # what a missing row gives is ignored
        memset(a, 0, TILE_ROWS * a_step * sizeof(real))
    while jb < at.whole:
        cols = smaller(SHARE_COLS, at.whole - jb)
        p = 0
        while p < at.ps:
            left = smaller(at.run - p % at.run, at.ps - p)      # of the run
            now = smaller(SHARE_P, left)
            ends = now == left
            copy_rows(a_of(mm, at.i0, at.p0 + p), mm.a_step, rows, now, a, a_step)
            b = mm.b + (at.p0 + p) * mm.b_step + at.j0 + jb
            share.next = b              # nothing new
            if p + now < at.ps:
                share.next = b + now * mm.b_step
            elif jb + cols < at.whole:
                share.next = mm.b + at.p0 * mm.b_step + at.j0 + jb + cols
            elif not at.packs_b and at.p0 + at.ps < mm.k:
                share.next = mm.b + (at.p0 + at.ps) * mm.b_step + at.j0
            share.begun = sums if p % at.run > 0 else NULL
            j = 0
            while j < cols:
                multiply_share_and_pack(
                    &share, now, a, a_step, b + j, mm.b_step,
                    at.b_panels + (jb + j) * at.ps + p * TILE_COLS if at.packs_b else unread,
                    at.c_panels + jb + j if ends else sums + j,
                    at.step if ends else sums_step, ends and at.p0 + p >= at.run)
                share.next += TILE_COLS
                if share.begun:
                    share.begun += TILE_COLS
                j += TILE_COLS
            p += now
        jb += SHARE_COLS
    if at.ends and at.whole > 0:
        mm.epilogue(mm.context, at.c_panels, at.step, at.i0, at.j0, rows, at.whole)


cdef inline Py_ssize_t rows_at_once(const Matmul* mm, const Layout* layout,
                                    Py_ssize_t m) noexcept nogil:
    # So many of m rows as the scratch holds unfinished sums of, and copies at best.
    if layout.split or layout.pack_a and not mm.a_transposed:
        return smaller(UNFINISHED_ROWS, m)
    return m


cdef void multiply_range(const Matmul* mm, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0,
                         Py_ssize_t j1, real* scratch) noexcept nogil:
    # Rows i0..i1 and columns j0..j1 of c, by one thread. i0 and j0 are multiples of the tile.
    cdef Py_ssize_t m = i1 - i0, n = j1 - j0, k = mm.k
    cdef Py_ssize_t i, j, jb = 0, pb, end, rows, group
    cdef const real* b
    cdef Layout layout
    cdef Block at
    if mm.narrow:
        multiply_narrow_range(mm, i0, i1, scratch)
        return
    if mm.n == 1 and mm.b_step == 1 and not mm.a_transposed and not mm.b_transposed:
        multiply_one_column(mm, i0, i1, scratch)
        return
    if reads_whole_rows(mm, m, n):
        multiply_few_rows(mm, i0, i1, j0, j1, scratch)
        return
    if turns_few_rows(mm, m):
        multiply_few_rows_turned(mm, i0, i1, j0, j1, scratch)
        return
    if has_rows_in_lanes(mm):
        i0 = multiply_lanes_range(mm, i0, i1, scratch)
        m = i1 - i0
        if m == 0:
            return
    layout = layout_of(mm, m, n)
    rows = rows_at_once(mm, &layout, m)
    if rows < m:
        i = i0
        while i < i1:
            end = smaller(i + rows, i1)
            multiply_range(mm, i, end, j0, j1, scratch)
            i = end
        return
    memset(&at, 0, sizeof(at))
    at.i0 = i0
    at.m = m
    at.run = layout.run
    at.a_size = layout.a_size
    at.split = layout.split
    at.far = is_far(m, k)
    at.packs_b = layout.pack_b
    at.packs_a = layout.pack_a and mm.a_transposed
    at.turns_a = layout.turn_a
    at.copies_a = layout.pack_a and not mm.a_transposed
    at.keeps_a = layout.keep_a
    at.streams_b = not layout.pack_b and not mm.a_transposed and k >= LONG_P \
        and m > STREAMED_ROWS and bytes_of(k, mm.n) > FAR_B_BYTES
    at.b_panels = scratch + layout.b_at
    at.c_panels = scratch + layout.c_at
    # No range(start, stop, step) here: Cython's code for a runtime step is slow and long.
    while jb < n:
        at.j0 = j0 + jb
        at.cols = smaller(layout.col_block, n - jb)
        at.step = panel_step(at.cols)
        at.a_panels = scratch + layout.a_at
        pb = 0
        while pb < k or pb == 0:
            at.p0 = pb
            at.ps = smaller(layout.p_block, k - pb)
            at.ends = pb + at.ps >= k
            at.held = 0
            # What a tile asks for of the next one's rows, while it uses its own.
            at.asked = 0
            if at.far and mm.uses == NULL and not mm.a_transposed:
                at.asked = (at.ps * TILE_COLS + at.cols - 1) // at.cols
            # The last tile's columns may end at the end of b's memory: then it is packed first,
            # as is a transposed b. The others are read where they lie, by the first tile of rows
            # alone where they are packed.
            at.whole = at.cols - (0 if mm.b_slack else at.cols % TILE_COLS)
            if mm.b_transposed:
                at.whole = 0
            j = at.whole
            while j < at.cols:
                if mm.b_transposed:
                    b = mm.b + (at.j0 + j) * mm.b_step + pb
                else:
                    b = mm.b + pb * mm.b_step + at.j0 + j
                pack_cols(b, mm.b_step, mm.b_transposed, at.ps, smaller(TILE_COLS, at.cols - j),
                          at.b_panels + j * at.ps)
                j += TILE_COLS
            set_next(mm, &at, n - jb, &layout)
            rows = m
            group = at.cols
            if at.packs_a:
                rows = of_l2(A_TILES) * TILE_ROWS
                group = tiles_within(GROUP_BYTES, at.ps) * TILE_COLS
            i = 0
            if layout.by_shares:
                multiply_first_rows(mm, &at, scratch)
                i = smaller(TILE_ROWS, m)
                at.kept = False
                if at.whole < at.cols:      # the last tile's, which were packed
                    multiply_rows(mm, &at, 0, i, at.whole, at.cols)
            at.kept = layout.keep_a and jb > 0
            while i < m:
                end = smaller(i + rows, m)
                if at.packs_a and at.far:
                    pack_rows(a_of(mm, i0 + i, pb), mm.a_step, end - i, at.ps, at.a_panels,
                              at.a_size)
                j = 0
                while j < at.cols:
                    if at.packs_a:
                        at.next_lines = 0
                        if j + group >= at.cols:
                            set_next_a(mm, &at, end, at.cols - j)
                    multiply_rows(mm, &at, i, end, j, smaller(j + group, at.cols))
                    j += group
                i = end
            if at.keeps_a:
                at.a_panels += tiles_of(m, TILE_ROWS) * at.a_size
            pb += layout.p_block if layout.p_block > 0 else 1
        jb += layout.col_block


cdef inline bint is_small(const Matmul* mm) noexcept nogil:
    # Few columns, one run of p, and an a of which nothing need be copied or asked for.
    return mm.m > 1 and 1 < mm.n <= SMALL_TILES * TILE_COLS and mm.k <= MAX_RUN \
        and not is_far(mm.m, mm.k)


cdef Py_ssize_t small_end(const Matmul* mm) noexcept nogil:
    # The most scratch that it takes: b's panels and held rows of c.
    cdef Py_ssize_t step = round_up(mm.n, TILE_COLS)
    cdef Py_ssize_t held = TILE_ROWS if mm.n > TILE_COLS else NARROW_TILES * TILE_ROWS
    cdef Py_ssize_t a = TILE_ROWS * mm.k if turns_a(mm, mm.n) else 0
    return (step if mm.b_transposed else TILE_COLS) * mm.k + a + held * step


cdef void multiply_small(const Matmul* mm, Py_ssize_t i, real* scratch) noexcept nogil:
    # All of such a c, from row i on: finding one's way through blocks would take as long as a tile.
    cdef Py_ssize_t n = mm.n, k = mm.k, b_step = mm.b_step, to_next = TILE_COLS
    cdef Py_ssize_t step = round_up(n, TILE_COLS), tail = n % TILE_COLS, most = TILE_ROWS
    cdef Py_ssize_t j, rows, cols
    cdef Py_ssize_t held = 0        # rows that the epilogue has not had yet
    cdef Py_ssize_t done            # the columns before need no epilogue
    cdef Py_ssize_t a_step
    cdef const real* a = a_of(mm, i, 0)
    cdef const real* a_now
    cdef const real* b = mm.b
    cdef const real* last = NULL    # the last tile's panel of b, where it is packed
    cdef const real* panel
    cdef real* a_panel = NULL       # of a tile's rows, where they are packed
    cdef real* c = scratch
    cdef bint finishes, packed
    if mm.b_transposed:
        j = 0
        while j + TILE_COLS <= n:
            transpose_by_vectors(b + j * b_step, b_step, TILE_COLS, k, c, TILE_COLS)
            c += TILE_COLS * k
            j += TILE_COLS
    if tail and (mm.b_transposed or not mm.b_slack):
        j = n - tail
        pack_cols(b + (j * b_step if mm.b_transposed else j), b_step, mm.b_transposed, k, tail, c)
        last = c
        c += TILE_COLS * k
    if mm.b_transposed:
        b = scratch
        b_step = TILE_COLS
        to_next = TILE_COLS * k
    if mm.a_transposed and k <= SHORT_SUMS:     # for an update, most often
        most = UPDATE_ROWS
    elif turns_a(mm, n):
        a_panel = c
        c += TILE_ROWS * k
    while i < mm.m:
        rows = smaller(most, mm.m - i) if a_panel else rows_of_tile(mm.m - i, most)
        finishes = mm.finish != NULL and not mm.a_transposed and rows % (TILE_ROWS // 3) == 0
        done = j = 0
        panel = b
        a_now = a
        a_step = mm.a_step
        while j < n:
            cols = smaller(TILE_COLS, n - j)
            if finishes and cols == TILE_COLS:
                multiply_and_finish_rows(<int>rows, k, a, a_step, panel, b_step, mm.finish, i, j)
                done += TILE_COLS
            elif a_panel and j == 0 and rows == TILE_ROWS:
                multiply_and_pack_a(k, a, a_step, panel, b_step, a_panel, NULL, NULL, 0, 0,
                                    c + held * step, step, False)
                a_now = a_panel
                a_step = TILE_ROWS
            else:
                packed = last != NULL and cols < TILE_COLS
                multiply_tile(<int>rows, <int>cols, mm.a_transposed, k, a_now, a_step,
                              last if packed else panel, TILE_COLS if packed else b_step,
                              c + held * step + j, step, False)
            panel += to_next
            j += TILE_COLS
        a += rows if mm.a_transposed else rows * mm.a_step
        i += rows
        # Of a narrow result several tiles at once: its loops are short.
        if done < n:
            held += rows
            if n > TILE_COLS or held > (NARROW_TILES - 1) * TILE_ROWS or i >= mm.m:
                mm.epilogue(mm.context, c + done, step, i - held, done, held, n - done)
                held = 0
        elif held:      # (of one tile of columns, all of them)
            mm.epilogue(mm.context, c, step, i - rows - held, 0, held, n)
            held = 0


cdef int grid_rows(const Matmul* mm) noexcept nogil:
    # Threads form a grid over c's tiles: in how many rows of threads? The one that has most to do
    # decides; each also copies its columns of b, about half a tile's time a column of tiles. Where
    # rows that are updated are shared, prefetchers fetch what the neighbour has just written, and
    # it has to come back: an update takes twice as long. (They do not go beyond a page.)
    cdef Py_ssize_t row_tiles = tiles_of(mm.m, TILE_ROWS), col_tiles = tiles_of(mm.n, TILE_COLS)
    cdef Py_ssize_t cost, least = 0
    cdef int rows, cols, best = 1
    if has_rows_in_lanes(mm):       # each thread computes whole rows
        return mm.n_threads
    for rows in range(1, mm.n_threads + 1):
        if mm.n_threads % rows == 0:
            cols = mm.n_threads // rows
            cost = (2 * tiles_of(row_tiles, rows) + 1) * tiles_of(col_tiles, cols)
            if mm.updates and cols > 1 and bytes_of(1, mm.n) < cols * PAGE:
                cost += cost // 8
            if rows == 1 or cost < least:
                least = cost
                best = rows
    return best


cdef void part_of(const Matmul* mm, int rows, int part, Py_ssize_t* i0, Py_ssize_t* i1,
                  Py_ssize_t* j0, Py_ssize_t* j1) noexcept nogil:
    # One thread's share of c: a rectangle of whole tiles. rows: of threads, see grid_rows().
    cdef Py_ssize_t row_tiles = tiles_of(mm.m, TILE_ROWS), col_tiles = tiles_of(mm.n, TILE_COLS)
    cdef int cols = mm.n_threads // rows
    cdef int row = part // cols, col = part % cols
    i0[0] = row_tiles * row // rows * TILE_ROWS
    i1[0] = smaller(row_tiles * (row + 1) // rows * TILE_ROWS, mm.m)
    j0[0] = col_tiles * col // cols * TILE_COLS
    j1[0] = smaller(col_tiles * (col + 1) // cols * TILE_COLS, mm.n)


cdef void multiply_part(void* context, int part) noexcept nogil:
    cdef const Matmul* mm = <const Matmul*>context
    cdef Py_ssize_t i0 = 0, i1 = 0, j0 = 0, j1 = 0
    part_of(mm, grid_rows(mm), part, &i0, &i1, &j0, &j1)
    if i0 < i1 and j0 < j1:
        multiply_range(mm, i0, i1, j0, j1, mm.scratch + part * mm.scratch_step)


cdef inline int useful_threads(int n_threads, Py_ssize_t m, Py_ssize_t n,
                               Py_ssize_t k) noexcept nogil:
    # A thread more costs about a microsecond; it must bring several: a million multiply-adds each.
    cdef double work = <double>m * <double>n * <double>k
    cdef double most = work / 1e6
    return n_threads if most >= n_threads else (1 if most < 2 else <int>most)


cdef void multiply(Matmul* mm) noexcept nogil:
    cdef Py_ssize_t first = 0
    if mm.n_threads > 1:
        mm.n_threads = useful_threads(mm.n_threads, mm.m, mm.n, mm.k)
    if mm.n_threads > 1 and parallel(multiply_part, mm, mm.n_threads):
        return
    if mm.narrow:
        multiply_narrow_range(mm, 0, mm.m, mm.scratch)
    elif is_small(mm) and not turns_few_rows(mm, mm.m):
        if has_rows_in_lanes(mm):
            first = multiply_lanes_range(mm, 0, mm.m, mm.scratch)
        if first < mm.m:
            multiply_small(mm, first, mm.scratch)
    else:
        multiply_range(mm, 0, mm.m, 0, mm.n, mm.scratch)


# Epilogues. Rows that lie side by side in the result are one run of numbers: a loop over 12 rows
# of 10 numbers is mostly the loop's beginning and end.

cdef enum:
    LONG_ROW = 256
    MOST_LANES = 16         # of any instruction set's vector
    LINE = 16               # parameters begin at multiples of it (nncore/plan.py's ALIGNMENT)


cdef inline void add(const_restricted a, const_restricted b, restricted y,
                     Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = a[j] + b[j]


cdef inline void add_and_relu(const_restricted a, const_restricted b, restricted y,
                              Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = relu(a[j] + b[j], 0)


cdef inline void add_to(restricted y, const_restricted b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = y[j] + b[j]


cdef inline void close_up(real* panel, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t cols,
                          const real* b) noexcept nogil:
    # Move the panel's rows side by side, and add the bias to each (NULL: none).
    cdef real bias[MOST_LANES]
    cdef real row[MOST_LANES]
    cdef Py_ssize_t r, l
    if cols <= LANES_PER_VECTOR and step >= TILE_COLS:
        # Whole vectors: what is written beyond a row lies before the next row to be read.
        for l in range(LANES_PER_VECTOR):
            bias[l] = b[l] if b and l < cols else 0
        for r in range(rows):
            for l in range(LANES_PER_VECTOR):
                row[l] = panel[r * step + l] + bias[l]
            for l in range(LANES_PER_VECTOR):
                panel[r * cols + l] = row[l]
        return
    if b and step == 1:
        for r in range(rows):
            panel[r] = panel[r] + b[0]
        return
    if b:
        for r in range(rows):
            add_to(panel + r * step, b, cols)
    if step != cols:
        for r in range(1, rows):
            memmove(panel + r * cols, panel + r * step, cols * sizeof(real))


ctypedef struct Forward:
    const real* b           # bias, or NULL
    real* z                 # where z is kept, or NULL
    real* y
    Py_ssize_t step         # columns of z and y
    int kind
    real alpha


cdef inline void finish_forward(const Forward* f, const real* z, Py_ssize_t at,
                                Py_ssize_t n) noexcept nogil:
    # n neighbouring numbers of z and y, from `at` on. Fewer than a vector are computed as one, with
    # what lies behind them in the panel, whatever it is.
    cdef real y[MOST_LANES]
    cdef Py_ssize_t i
    if f.z:
        memcpy(f.z + at, z, n * sizeof(real))
    if n >= LANES_PER_VECTOR:
        activate(f.kind, z, f.y + at, n, f.alpha)
        return
    activate(f.kind, z, y, LANES_PER_VECTOR, f.alpha)
    for i in range(n):
        f.y[at + i] = y[i]


cdef void forward_epilogue(const void* context, real* panel, Py_ssize_t step, Py_ssize_t i,
                           Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # z = panel + b; y = activation(z)
    cdef const Forward* f = <const Forward*>context
    cdef Py_ssize_t r
    if f.b and not f.z and cols >= 2 * LANES_PER_VECTOR and (f.kind == RELU or f.kind == LINEAR):
        # The most frequent ones, at once.
        for r in range(rows):
            if f.kind == RELU:
                add_and_relu(panel + r * step, f.b + j, f.y + (i + r) * f.step + j, cols)
            else:
                add(panel + r * step, f.b + j, f.y + (i + r) * f.step + j, cols)
        return
    if cols == f.step and cols < LONG_ROW:
        close_up(panel, step, rows, cols, f.b)
        cols = rows * cols
        rows = 1
    elif f.b:
        for r in range(rows):
            add_to(panel + r * step, f.b + j, cols)
    for r in range(rows):
        finish_forward(f, panel + r * step, (i + r) * f.step + j, cols)


ctypedef struct BackwardData:
    const real* zy          # z or y of the layer below: what its derivative reads
    real* dx
    Py_ssize_t step
    int kind
    real alpha


cdef inline void finish_backward_data(const BackwardData* d, const real* dy, Py_ssize_t at,
                                      Py_ssize_t n) noexcept nogil:
    # n neighbouring numbers of dx, from `at` on.
    if d.kind == LINEAR:
        memcpy(d.dx + at, dy, n * sizeof(real))
    else:
        activate_backward(d.kind, dy, d.zy + at, d.dx + at, n, d.alpha)


cdef void backward_data_epilogue(const void* context, real* panel, Py_ssize_t step, Py_ssize_t i,
                                 Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # dx = panel times the derivative of the layer below
    cdef const BackwardData* d = <const BackwardData*>context
    cdef Py_ssize_t r
    if cols == d.step and cols < LONG_ROW:
        close_up(panel, step, rows, cols, NULL)
        cols = rows * cols
        rows = 1
    for r in range(rows):
        finish_backward_data(d, panel + r * step, (i + r) * d.step + j, cols)


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
        update(d.update, g, d.at + at, n)


cdef void backward_weights_epilogue(const void* context, real* panel, Py_ssize_t step,
                                    Py_ssize_t i, Py_ssize_t j, Py_ssize_t rows,
                                    Py_ssize_t cols) noexcept nogil:
    cdef const BackwardWeights* d = <const BackwardWeights*>context
    cdef Py_ssize_t r
    if cols == d.step and cols < LONG_ROW:
        close_up(panel, step, rows, cols, NULL)
        cols = rows * cols
        rows = 1
    for r in range(rows):
        gradient_epilogue(d, panel + r * step, (i + r) * d.step + j, cols)


cdef void backward_weights_uses(const void* context, Py_ssize_t i, Py_ssize_t j,
                                asked_rows* ask) noexcept nogil:
    # A tile's weights and slots lie in short pieces that no hardware prefetcher guesses.
    cdef const BackwardWeights* d = <const BackwardWeights*>context
    cdef const Update* u = d.update
    cdef Py_ssize_t at = d.at + i * d.step + j, s
    ask.n = 0
    ask_for(ask, u.parameters + at, d.step, TILE_COLS)
    for s in range(u.n_slots):
        ask_for(ask, u.slots + at + s * u.stride, d.step, TILE_COLS)


cdef enum:
    SUM_ROWS = 256          # rows summed one after the other: fewer roundings in a large batch


cdef void add_rows(const real* dz, Py_ssize_t rows, Py_ssize_t cols, bint slack,
                   restricted sums) noexcept nogil:
    # sums_j = sum_i dz(i, j), i in order.
    cdef Py_ssize_t i, j
    cdef const_restricted row
    cdef real one = 1
    if slack and cols <= LANES_PER_VECTOR:
        sum_narrow_rows(rows, cols, dz, sums)
        return
    if slack and cols <= LONG_ROW:  # 1 dz, as a matmul of one row: the sums stay in registers
        multiply_row(cols, rows, &one, 0, dz, cols, sums, False)
        return
    for j in range(cols):
        sums[j] = 0
    for i in range(rows):
        row = dz + i * cols
        for j in range(cols):
            sums[j] = sums[j] + row[j]


cdef void column_sums(const real* dz, Py_ssize_t rows, Py_ssize_t cols, bint slack,
                      real* sums) noexcept nogil:
    # sums_j = sum_i dz(i, j), in blocks of rows. sums holds 2 * cols numbers; with slack a
    # vector's width may be read past dz's end, and sums holds one more.
    cdef Py_ssize_t at = SUM_ROWS
    add_rows(dz, smaller(rows, SUM_ROWS), cols, slack, sums)
    while at < rows:
        add_rows(dz + at * cols, smaller(rows - at, SUM_ROWS), cols, slack, sums + cols)
        add_to(sums, sums + cols, cols)
        at += SUM_ROWS


# The three matmuls of a dense layer.

cdef inline bint gives_strips(Py_ssize_t n_in, Py_ssize_t n_out) noexcept nogil:
    # Are such a layer's rows in the lanes, as softmax wants them?
    return ROWS_IN_LANES(n_out, n_in) and n_in <= MAX_RUN


# A plan's narrow result of few rows is one panel, and done at once, its scratch laid out as
# layout_of() has it: describing the matmul and finding its way would cost more than a tiny net's
# arithmetic. What is read may be read for NNCORE_SLACK numbers beyond its end. `room`: the result
# may be written for a vector's width beyond its end.

cdef inline bint has_few_rows(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    return rows <= NARROW_PANEL and is_narrow(n, k)


cdef inline void dense_short(const real* x, const real* w, const Forward* f, bint room,
                             Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
                             real* scratch) noexcept nogil:
    cdef Py_ssize_t n = rows * n_out
    if not room:
        multiply_narrow(rows, n_out, n_in, x, n_in, w, n_out, f.b, scratch)
        finish_forward(f, scratch, 0, n)
        return
    if f.kind == LINEAR and not f.z:
        multiply_narrow(rows, n_out, n_in, x, n_in, w, n_out, f.b, f.y)
        return
    multiply_narrow(rows, n_out, n_in, x, n_in, w, n_out, f.b, scratch)
    if f.z:
        memcpy(f.z, scratch, n * sizeof(real))
    activate(f.kind, scratch, f.y, whole_lanes(n), f.alpha)


cdef inline void dense_backward_data_short(const real* dz, const real* w, const BackwardData* d,
                                           bint room, Py_ssize_t rows, Py_ssize_t n_in,
                                           Py_ssize_t n_out, real* scratch) noexcept nogil:
    cdef real* panel = scratch + narrow_b_size(n_out)
    if 2 <= n_out <= MOST_CLOSED:
        open_rows(n_in, n_out, w, scratch, LANES_PER_VECTOR)
    elif LANES_PER_VECTOR >= 4 and n_out <= SHORT_COLS:
        transpose_squares(w, n_out, n_in, n_out, scratch, LANES_PER_VECTOR)
    else:
        transpose(w, n_out, n_in, n_out, scratch, LANES_PER_VECTOR)
    if not room:
        multiply_narrow(rows, n_in, n_out, dz, n_out, scratch, LANES_PER_VECTOR, NULL, panel)
        finish_backward_data(d, panel, 0, rows * n_in)
        return
    if d.kind == LINEAR:
        multiply_narrow(rows, n_in, n_out, dz, n_out, scratch, LANES_PER_VECTOR, NULL, d.dx)
        return
    multiply_narrow(rows, n_in, n_out, dz, n_out, scratch, LANES_PER_VECTOR, NULL, panel)
    activate_backward(d.kind, panel, d.zy, d.dx, whole_lanes(rows * n_in), d.alpha)


# The same of one row of at most QUAD numbers, whose activation is has_quad()'s: they stay in a
# register. For QUAD numbers there is room wherever one is read or written.

cdef inline void dense_of_one(const real* x, const real* w, const real* b, restricted y, int kind,
                              Py_ssize_t n_in, Py_ssize_t n_out) noexcept nogil:
    cdef real z[QUAD]
    quad_row(n_in, x, w, n_out, b, z)
    activate_quad(kind, z, y)


cdef inline void dense_backward_data_of_one(const real* dz, const real* w, const_restricted y,
                                            restricted dx, int kind,
                                            Py_ssize_t n_out) noexcept nogil:
    cdef real sums[QUAD]
    quad_row_turned(n_out, dz, w, n_out, sums)
    chain_quad(kind, sums, y, dx)


cdef inline bint is_turned(Py_ssize_t n_in, Py_ssize_t n_out) noexcept nogil:
    # Does dense_backward_weights_short() compute dw^T?
    return n_out <= TILE_ROWS and n_out < LANES_PER_VECTOR and n_in % TILE_COLS == 0


cdef inline void dense_backward_weights_short(const real* x, const real* dz, real* dw,
                                              real* db, Py_ssize_t rows, Py_ssize_t n_in,
                                              Py_ssize_t n_out, real* turned) noexcept nogil:
    # dw, and db behind it, with 0 between them and to the end of db's last LINE numbers. `turned`
    # holds n_in numbers for each of LANES_PER_VECTOR rows.
    cdef Py_ssize_t l, j = 0, end = n_in * n_out
    if rows == 1 and n_out <= QUAD:
        quad_products(n_in, n_out, x, dz, dw)
    elif 2 <= n_out <= MOST_CLOSED and 2 * n_in > LANES_PER_VECTOR:
        multiply_closed(n_in, n_out, rows, x, n_in, dz, dw)
        end = round_up(end, LANES_PER_VECTOR)
    elif is_turned(n_in, n_out):    # as dz^T x, whose rows fill whole vectors
        while j < n_in:
            multiply_tile(<int>n_out, TILE_COLS, True, rows, dz, n_out, x + j, n_in, turned + j,
                          n_in, False)
            j += TILE_COLS
        transpose_few_rows(turned, n_in, n_out, n_in, dw)
    else:
        multiply_narrow_turned(n_in, n_out, rows, x, n_in, dz, n_out, dw)
    if end % LINE:      # else nothing lies between: what was written beyond is db's place
        for l in range(LINE):
            dw[end + l] = 0
    if db:
        sum_narrow_rows(rows, n_out, dz, db)
        for l in range(end_of_sums(n_out), LINE):
            db[l] = 0


cdef void dense(const real* x, const real* w, const Forward* f, Py_ssize_t rows,
                Py_ssize_t n_in, Py_ssize_t n_out, bint slack, int n_threads, real* scratch,
                Py_ssize_t scratch_step) noexcept nogil:
    # y = activation(x w + b); x (rows, n_in), w (n_in, n_out)
    cdef Matmul mm
    cdef Forward rest = f[0]
    cdef finished_rows finish
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
    mm.narrow = is_narrow(n_out, n_in)
    mm.bias = NULL
    if mm.narrow and slack:
        mm.bias = rest.b
        rest.b = NULL
    mm.epilogue = forward_epilogue
    mm.finish = NULL
    if not f.z and (f.kind == RELU or f.kind == LINEAR):
        finish.bias = f.b
        finish.slope = NULL
        finish.relu = f.kind == RELU
        finish.y = f.y
        finish.step = f.step
        mm.finish = &finish
    mm.uses = NULL
    mm.updates = False
    mm.context = &rest
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
    cdef finished_rows finish
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
    mm.narrow = is_narrow(n_in, n_out)
    mm.bias = NULL
    mm.epilogue = backward_data_epilogue
    mm.finish = NULL
    if d.kind == RELU or d.kind == LINEAR:
        finish.bias = NULL
        finish.slope = d.zy if d.kind == RELU else NULL
        finish.relu = False
        finish.y = d.dx
        finish.step = d.step
        mm.finish = &finish
    mm.uses = NULL
    mm.updates = False
    mm.context = d
    mm.n_threads = n_threads
    mm.scratch = scratch
    mm.scratch_step = scratch_step
    multiply(&mm)


cdef void dense_backward_weights(const real* x, const real* dz, const BackwardWeights* d,
                                 Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t x_step,
                                 Py_ssize_t n_out, bint slack, int n_threads, real* scratch,
                                 Py_ssize_t scratch_step) noexcept nogil:
    # dw = x^T dz, then stored or used by the optimizer; dw (n_in, n_out), x's rows x_step apart.
    cdef Matmul mm
    cdef BackwardWeights row
    cdef finished_rows finish
    if n_out == 1:
        # One column of n_in numbers is one row of them: dw^T = dz^T x.
        row = d[0]
        row.step = n_in
        mm.m = 1
        mm.n = n_in
        mm.k = rows
        mm.a = dz
        mm.a_step = 1
        mm.a_transposed = True
        mm.b = x
        mm.b_step = x_step
        mm.b_transposed = False
        mm.b_slack = False
        mm.narrow = False
        mm.bias = NULL
        mm.epilogue = backward_weights_epilogue
        mm.finish = NULL
        mm.uses = NULL
        mm.updates = not d.dw
        mm.context = &row
        mm.n_threads = n_threads
        mm.scratch = scratch
        mm.scratch_step = scratch_step
        multiply(&mm)
        return
    mm.m = n_in
    mm.n = n_out
    mm.k = rows
    mm.a = x
    mm.a_step = x_step
    mm.a_transposed = True
    mm.b = dz
    mm.b_step = n_out
    mm.b_transposed = False
    mm.b_slack = slack
    mm.narrow = is_narrow(n_out, rows)
    mm.bias = NULL
    mm.epilogue = backward_weights_epilogue
    mm.finish = NULL
    mm.uses = NULL
    mm.updates = not d.dw
    if d.dw and d.l1 == 0 and d.l2 == 0:
        memset(&finish, 0, sizeof(finish))
        finish.y = d.dw
        finish.step = d.step
        mm.finish = &finish
    elif not d.dw and d.step > LONG_ROW:
        mm.uses = backward_weights_uses
    mm.context = d
    mm.n_threads = n_threads
    mm.scratch = scratch
    mm.scratch_step = scratch_step
    multiply(&mm)
