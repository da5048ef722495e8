# Optimizers: the update of n numbers of one parameter and its slots, from their gradient.
# Formulas are Keras 3's.
#
# To add one: its name in the enum and in OPTIMIZERS (with its number of slots), its formula
# and loop, and its line in update_function(). Each loop reads and writes every number once. A sum
# of two products, or of one and a quotient, is written fused(): left to itself the compiler may
# fuse one in a loop's vectors and the other at its end, and how many numbers are updated together
# would show. What takes roots and divides goes by WIDTH: the compiler knows no fast division.

cdef extern from "lanes.h" nogil:
    ctypedef real lanes         # WIDTH numbers, and arithmetic of it theirs
    const Py_ssize_t WIDTH
    lanes take_lanes(const real* p, Py_ssize_t n)           # the first n <= WIDTH numbers of p
    void put_lanes(real* p, lanes a, Py_ssize_t n)
    lanes fused_lanes(real a, lanes b, lanes c)
    lanes larger_lanes(lanes a, lanes b)
    lanes root(lanes a)
    lanes quotient(lanes a, lanes b)

cdef enum:
    SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, RMSPROP_FULL, ADAM, AMSGRAD
    N_OPTIMIZERS

# In the enum's order: name -> number of slots.
OPTIMIZERS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1,
              "rmsprop_full": 3, "adam": 2, "amsgrad": 3}

HYPER = ("momentum", "rho", "epsilon", "beta_1", "beta_2", "centered", "weight_decay")

cdef enum:
    POWERS = 64

ctypedef struct Powers:
    # Powers of one number: beta^high_t for the last high_t, a multiple of POWERS, that was asked
    # for, and beta^0, beta^1, ... (0: not yet).
    double beta, high
    long long high_t
    double low[POWERS]

ctypedef struct Update:
    # What an update needs; `parameters` and `slots` are the flat vectors.
    int kind
    real* parameters
    real* slots
    Py_ssize_t stride       # from one slot's vector to the next
    int n_slots
    real rate               # the learning rate, with Adam's bias corrections in it
    real decay              # learning rate times weight decay
    Powers beta_1, beta_2
    bint is_finite          # no constant is infinite, or an epsilon of 0, as a real
    bint keeps_zeros        # does a step leave unused numbers, whose gradients are 0, as they are?
    real momentum, rho, epsilon, centered
    real less_rho, less_beta_1, less_beta_2     # 1 - rho ..., subtracted in double
    void (*function)(const Update*, const_restricted, restricted, restricted, restricted,
                     restricted, Py_ssize_t) noexcept nogil

# Not local variables: only of parameters does the compiler believe that they do not overlap, and
# testing it takes longer than to update a few numbers.
ctypedef void (*update_pointer)(const Update* u, const_restricted g, restricted w, restricted s0,
                                restricted s1, restricted s2, Py_ssize_t n) noexcept nogil


cdef inline void update(const Update* u, const real* g, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    # Update the n parameters from `at` on.
    cdef real* w = u.parameters + at
    cdef real* s0 = u.slots + at if u.n_slots > 0 else NULL
    cdef real* s1 = s0 + u.stride if u.n_slots > 1 else NULL
    cdef real* s2 = s1 + u.stride if u.n_slots > 2 else NULL
    u.function(u, g, w, s0, s1, s2, n)


cdef void update_sgd(const Update* u, const_restricted g, restricted w, restricted s0,
                     restricted s1, restricted s2, Py_ssize_t n) noexcept nogil:
    # w -= rate g
    cdef real rate = u.rate, decay = u.decay
    cdef Py_ssize_t i
    for i in range(n):
        w[i] = w[i] - w[i] * decay - rate * g[i]


cdef void update_momentum(const Update* u, const_restricted g, restricted w, restricted m,
                          restricted s1, restricted s2, Py_ssize_t n) noexcept nogil:
    # m = momentum m - rate g;  w += m
    cdef real rate = u.rate, decay = u.decay, momentum = u.momentum
    cdef Py_ssize_t i
    for i in range(n):
        m[i] = fused(momentum, m[i], -(rate * g[i]))
        w[i] = w[i] - w[i] * decay + m[i]


cdef void update_nesterov(const Update* u, const_restricted g, restricted w, restricted m,
                          restricted s1, restricted s2, Py_ssize_t n) noexcept nogil:
    # m = momentum m - rate g;  w += momentum m - rate g
    cdef real rate = u.rate, decay = u.decay, momentum = u.momentum
    cdef Py_ssize_t i
    for i in range(n):
        m[i] = fused(momentum, m[i], -(rate * g[i]))
        w[i] = w[i] - w[i] * decay + fused(momentum, m[i], -(rate * g[i]))


cdef inline void adagrad_lanes(const Update* u, const real* g, real* w, real* a,
                               Py_ssize_t n) noexcept nogil:
    # a += g^2;  w -= rate g / sqrt(a + epsilon)        (Duchi et al. 2011)
    cdef lanes g_ = take_lanes(g, n), w_ = take_lanes(w, n)
    cdef lanes a_ = take_lanes(a, n) + g_ * g_
    put_lanes(a, a_, n)
    put_lanes(w, w_ - w_ * u.decay - quotient(u.rate * g_, root(a_ + u.epsilon)), n)


cdef void update_adagrad(const Update* u, const_restricted g, restricted w, restricted a,
                         restricted s1, restricted s2, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while n - i >= WIDTH:
        adagrad_lanes(u, g + i, w + i, a + i, WIDTH)
        i += WIDTH
    if i < n:
        adagrad_lanes(u, g + i, w + i, a + i, n - i)


cdef inline void rmsprop_lanes(const Update* u, const real* g, real* w, real* v,
                               Py_ssize_t n) noexcept nogil:
    # v = rho v + (1 - rho) g^2;  w -= rate g / sqrt(v + epsilon)        (Hinton, lecture 6e)
    cdef lanes g_ = take_lanes(g, n), w_ = take_lanes(w, n)
    cdef lanes v_ = fused_lanes(u.rho, take_lanes(v, n), u.less_rho * (g_ * g_))
    put_lanes(v, v_, n)
    put_lanes(w, w_ - w_ * u.decay - quotient(u.rate * g_, root(v_ + u.epsilon)), n)


cdef void update_rmsprop(const Update* u, const_restricted g, restricted w, restricted v,
                         restricted s1, restricted s2, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while n - i >= WIDTH:
        rmsprop_lanes(u, g + i, w + i, v + i, WIDTH)
        i += WIDTH
    if i < n:
        rmsprop_lanes(u, g + i, w + i, v + i, n - i)


cdef inline void rmsprop_full_lanes(const Update* u, const real* g, real* w, real* v, real* a,
                                    real* m, Py_ssize_t n) noexcept nogil:
    # As rmsprop, with a = rho a + (1 - rho) g taken off as a^2 when centered (1, else 0),
    # and m = momentum m + rate g / sqrt(v - centered a^2 + epsilon);  w -= m
    cdef lanes g_ = take_lanes(g, n), w_ = take_lanes(w, n)
    cdef lanes v_ = fused_lanes(u.rho, take_lanes(v, n), u.less_rho * (g_ * g_))
    cdef lanes a_ = u.centered * fused_lanes(u.rho, take_lanes(a, n), u.less_rho * g_)
    cdef lanes m_ = fused_lanes(u.momentum, take_lanes(m, n),
                                quotient(u.rate * g_, root(v_ - a_ * a_ + u.epsilon)))
    put_lanes(v, v_, n)
    put_lanes(a, a_, n)
    put_lanes(m, m_, n)
    put_lanes(w, w_ - w_ * u.decay - m_, n)


cdef void update_rmsprop_full(const Update* u, const_restricted g, restricted w, restricted v,
                              restricted a, restricted m, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while n - i >= WIDTH:
        rmsprop_full_lanes(u, g + i, w + i, v + i, a + i, m + i, WIDTH)
        i += WIDTH
    if i < n:
        rmsprop_full_lanes(u, g + i, w + i, v + i, a + i, m + i, n - i)


cdef inline void adam_lanes(const Update* u, const real* g, real* w, real* m, real* v,
                            Py_ssize_t n) noexcept nogil:
    # m += (1 - beta_1)(g - m);  v += (1 - beta_2)(g^2 - v);  w -= rate m / (sqrt v + epsilon)
    # with both bias corrections in rate        (Kingma and Ba 2015, end of section 2)
    cdef lanes g_ = take_lanes(g, n), w_ = take_lanes(w, n)
    cdef lanes m_ = take_lanes(m, n), v_ = take_lanes(v, n)
    m_ = m_ + (g_ - m_) * u.less_beta_1
    v_ = v_ + (g_ * g_ - v_) * u.less_beta_2
    put_lanes(m, m_, n)
    put_lanes(v, v_, n)
    put_lanes(w, w_ - w_ * u.decay - quotient(u.rate * m_, root(v_) + u.epsilon), n)


cdef void update_adam(const Update* u, const_restricted g, restricted w, restricted m,
                      restricted v, restricted s2, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while n - i >= WIDTH:
        adam_lanes(u, g + i, w + i, m + i, v + i, WIDTH)
        i += WIDTH
    if i < n:
        adam_lanes(u, g + i, w + i, m + i, v + i, n - i)


cdef inline void amsgrad_lanes(const Update* u, const real* g, real* w, real* m, real* v, real* h,
                               Py_ssize_t n) noexcept nogil:
    # Adam with the largest v so far in the denominator        (Reddi et al. 2018)
    cdef lanes g_ = take_lanes(g, n), w_ = take_lanes(w, n)
    cdef lanes m_ = take_lanes(m, n), v_ = take_lanes(v, n), h_
    m_ = m_ + (g_ - m_) * u.less_beta_1
    v_ = v_ + (g_ * g_ - v_) * u.less_beta_2
    h_ = larger_lanes(take_lanes(h, n), v_)
    put_lanes(m, m_, n)
    put_lanes(v, v_, n)
    put_lanes(h, h_, n)
    put_lanes(w, w_ - w_ * u.decay - quotient(u.rate * m_, root(h_) + u.epsilon), n)


cdef void update_amsgrad(const Update* u, const_restricted g, restricted w, restricted m,
                         restricted v, restricted h, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while n - i >= WIDTH:
        amsgrad_lanes(u, g + i, w + i, m + i, v + i, h + i, WIDTH)
        i += WIDTH
    if i < n:
        amsgrad_lanes(u, g + i, w + i, m + i, v + i, h + i, n - i)


cdef update_pointer update_function(int kind) noexcept nogil:
    if kind == SGD: return update_sgd
    elif kind == MOMENTUM: return update_momentum
    elif kind == NESTEROV: return update_nesterov
    elif kind == ADAGRAD: return update_adagrad
    elif kind == RMSPROP: return update_rmsprop
    elif kind == RMSPROP_FULL: return update_rmsprop_full
    elif kind == ADAM: return update_adam
    elif kind == AMSGRAD: return update_amsgrad
    return NULL


ctypedef struct Hyper:
    double momentum, rho, epsilon, beta_1, beta_2, centered, weight_decay


cdef void check_iteration(long long iteration) except *:
    if not 0 <= iteration < <long long>1 << 62:
        raise ValueError(f"iteration must be from 0 to 2^62 - 1; received {iteration}")


cdef Hyper read_hyper(mapping) except *:
    # Some of HYPER; the others are 0.
    cdef Hyper h
    for name in mapping:
        if name not in HYPER:
            raise ValueError(f"unknown hyper-parameter {name!r}; known: {', '.join(HYPER)}")
    h.momentum = mapping.get("momentum", 0.0)
    h.rho = mapping.get("rho", 0.0)
    h.epsilon = mapping.get("epsilon", 0.0)
    h.beta_1 = mapping.get("beta_1", 0.0)
    h.beta_2 = mapping.get("beta_2", 0.0)
    h.centered = mapping.get("centered", 0.0)
    h.weight_decay = mapping.get("weight_decay", 0.0)
    return h


cdef inline void set_powers(Powers* p, double beta) noexcept nogil:
    memset(p, 0, sizeof(Powers))
    p.beta = beta
    p.high = 1


cdef inline double power(Powers* p, long long t) noexcept nogil:
    # beta^t, or 0 where 1 - beta^t rounds to 1: there beta^t <= e^-((1 - beta) t) < 2^-54. It is
    # the product of two powers that most steps find computed, and the same whoever asks first.
    cdef Py_ssize_t low = <Py_ssize_t>(<uint64_t>t % POWERS)
    if (1 - p.beta) * <double>t >= 38:
        return 0
    if t - low != p.high_t:
        p.high_t = t - low
        p.high = pow(p.beta, <double>p.high_t)
    if p.low[low] == 0:
        p.low[low] = pow(p.beta, <double>low)
    return p.high * p.low[low]


cdef void set_update(Update* u, int kind, const Hyper* h) noexcept nogil:
    # What is the same for every step.
    u.kind = kind
    u.momentum = <real>h.momentum
    u.rho = <real>h.rho
    u.epsilon = <real>h.epsilon
    u.less_rho = <real>(1 - h.rho)
    u.less_beta_1 = <real>(1 - h.beta_1)
    u.less_beta_2 = <real>(1 - h.beta_2)
    u.centered = <real>h.centered
    set_powers(&u.beta_1, h.beta_1)
    set_powers(&u.beta_2, h.beta_2)
    u.is_finite = (abs_(u.momentum) <= REAL_MAX and abs_(u.rho) <= REAL_MAX
                   and abs_(u.less_rho) <= REAL_MAX and abs_(u.less_beta_1) <= REAL_MAX
                   and abs_(u.less_beta_2) <= REAL_MAX and abs_(u.centered) <= REAL_MAX
                   and (kind < ADAGRAD or u.epsilon >= REAL_MIN))
    u.function = update_function(kind)
    if kind == SGD:
        u.n_slots = 0
    elif kind == ADAM:
        u.n_slots = 2
    else:
        u.n_slots = 3 if kind == AMSGRAD or kind == RMSPROP_FULL else 1


cdef inline void begin_update(Update* u, const Hyper* h, double learning_rate,
                              long long iteration) noexcept nogil:
    # The numbers of one step; `iteration` counts the steps before it.
    cdef double rate = learning_rate
    if u.kind == ADAM or u.kind == AMSGRAD:
        rate = learning_rate * sqrt(1 - power(&u.beta_2, iteration + 1)) \
            / (1 - power(&u.beta_1, iteration + 1))
    u.rate = <real>rate
    u.decay = <real>(learning_rate * h.weight_decay)
    u.keeps_zeros = u.is_finite and abs_(u.rate) <= REAL_MAX and abs_(u.decay) <= REAL_MAX


cdef inline void add_penalty(restricted g, const_restricted w, Py_ssize_t n, real l1,
                             real l2) noexcept nogil:
    # The derivative of l1 sum|w| + l2 sum w^2, added to g.
    cdef Py_ssize_t i
    for i in range(n):
        g[i] = g[i] + R(2) * l2 * w[i] + l1 * (1 if w[i] > 0 else (-1 if w[i] < 0 else w[i]))
