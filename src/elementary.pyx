# exp, log, erfc and their relatives: branch-free scalar formulas that the C compiler
# turns into vector code. `real` is float or double (see real.h), R(...) a literal of it.
# tools/coefficients.py gives every polynomial and its error.

cdef extern from "real.h" nogil:
    ctypedef float real
    ctypedef real* restricted "real * NNCORE_RESTRICT"
    ctypedef const real* const_restricted "const real * NNCORE_RESTRICT"
    bint IS_DOUBLE
    real R(double x)    # a literal as a real: a bare 1 would be a double in C, and slow
    real EXP_LOW        # below it e^x rounds to 0
    real EXP_FAR        # round(EXP_FAR / ln 2) is one more than the exponent of the smallest number
    real EXP_MOST       # the largest n of a finite 2^n
    real EXP_HIGH       # the largest x whose e^x is finite
    real LN2_HIGH       # ln 2 in two parts; n * LN2_HIGH is exact
    real LN2_LOW
    real REAL_MAX
    real REAL_MIN       # the smallest normal number
    real NOT_A_NUMBER
    real power_of_two(real n)                       # 2^n for integral n in the normal range
    real split_exponent(real x, real* exponent)     # x = m 2^e, sqrt(1/2) <= m < sqrt 2
    real rint_ "real_rint"(real x)
    real sqrt_ "real_sqrt"(real x)
    real abs_ "real_abs"(real x)
    real fused "real_fused"(real a, real b, real c)     # c + a b, rounded as the vectors do

ctypedef real (*formula)(real, real) noexcept nogil


# These polynomials are added up in pairs of terms, then pairs of pairs (Estrin 1960): the few
# numbers of a tiny network would wait for each step of Horner's scheme. For many it takes as long.

cdef inline real expm1_polynomial(real r) noexcept nogil:
    # e^r - 1 for |r| <= ln(2)/2. Relative error below 3e-9 (float), 3e-18 (double).
    cdef real v = r * r, v2, p, q
    if IS_DOUBLE:
        v2 = v * v
        p = ((R(0.5) + R(0.1666666666666667099) * r)
             + v * (R(0.04166666666666666975) + R(0.008333333333326135126) * r))
        q = ((R(0.00138888888888837483) + R(0.0001984126987482062527) * r)
             + v * (R(0.00002480158732554774122) + R(2.755725540020642443e-6) * r))
        q = q + v2 * ((R(2.755727364311029533e-7) + R(2.510521700472074516e-8) * r)
                      + v * R(2.091468696808687723e-9))
        p = p + v2 * q
    else:
        q = ((R(0.04166646492528590541) + R(0.008333310925480900835) * r)
             + v * (R(0.001393364999630925043) + R(0.0001989099082467365385) * r))
        p = (R(0.50000000134658092) + R(0.166666666816232314) * r) + v * q
    return r + v * p


cdef inline real exp_(real x) noexcept nogil:
    # 2^n e^r with n = round(x / ln 2); saturates at the largest finite number. 2^n is applied in
    # two halves, so that neither overflows, nor is 0 where the result is not.
    cdef real n, half, r, s
    x = EXP_HIGH if x > EXP_HIGH else x
    x = EXP_LOW if x < EXP_LOW else x
    n = rint_(x * R(1.442695040888963407))
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    half = rint_(n / R(2))
    s = power_of_two(half)
    return (s + s * expm1_polynomial(r)) * power_of_two(n - half)


cdef inline real exp_negative(real x) noexcept nogil:
    # e^x for x <= 0; as 0 where it is below the smallest normal number, or nearly so.
    cdef real n, r, s
    x = -EXP_FAR if x < -EXP_FAR else x     # there 2^n comes out as 0
    n = rint_(x * R(1.442695040888963407))
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    s = power_of_two(n)
    return s + s * expm1_polynomial(r)


cdef inline real expm1_(real x) noexcept nogil:
    # e^x - 1 without the cancellation near 0: 2^n (e^r - 1) + (2^n - 1).
    cdef real n, r, s
    x = EXP_HIGH if x > EXP_HIGH else x
    x = -40 if x < -40 else x
    n = rint_(x * R(1.442695040888963407))
    # At the top n is one too large for 2^n alone: that power is halved, then doubled.
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    s = power_of_two(n - R(1))
    return R(2) * (s * expm1_polynomial(r) + (s - R(0.5)))


cdef inline real log_mantissa(real m) noexcept nogil:
    # log m for sqrt(1/2) <= m < sqrt 2: log((1+s)/(1-s)) with s = (m-1)/(m+1).
    cdef real s, v, v2, p, q
    s = (m - R(1)) / (m + R(1))
    v = s * s
    v2 = v * v
    if IS_DOUBLE:
        p = ((R(0.6666666666666666646) + R(0.4000000000000087761) * v)
             + v2 * (R(0.2857142857080323001) + R(0.2222222239180046933) * v))
        q = ((R(0.181817956308847532) + R(0.1538624020581347788) * v)
             + v2 * (R(0.1326875966856061269) + R(0.1308676700994817371) * v))
        p = p + v2 * v2 * q
    else:
        p = ((R(0.6666666655445164633) + R(0.4000012187697200149) * v)
             + v2 * (R(0.2855081659971154867) + R(0.2333058193824189382) * v))
    return R(2) * s + s * v * p


cdef inline real log_(real x) noexcept nogil:
    # Natural logarithm of a positive, normal x; smaller x (0 too) count as the smallest normal.
    cdef real e, m
    m = split_exponent(x, &e)
    return e * LN2_HIGH + (log_mantissa(m) + e * LN2_LOW)


cdef inline real log1p_(real u) noexcept nogil:
    # log(1 + u) for u >= 0, with the rounding error of 1 + u put back.
    cdef real x = R(1) + u
    return log_(x) + (u - (x - R(1))) / x


cdef inline real tanh_(real x) noexcept nogil:
    # With m = e^(-2|x|) - 1: tanh|x| = -m / (m + 2). Full relative accuracy, near 0 too (and 0
    # itself, not -0, for 0).
    cdef real m = expm1_(-R(2) * abs_(x))
    cdef real y = m / (m + R(2))
    return y if x <= 0 else -y


cdef inline real sigmoid_(real x) noexcept nogil:
    # 1 / (1 + e^-x), with e^-x = 2^n e^r. 1 + 2^n is exact, or as good as 1 or 2^n: the sum is
    # rounded once. For the lowest x, whose n is held back, e^r grows until it overflows, and
    # 1 / infinity is 0.
    cdef real n, r, s
    x = EXP_FAR if x > EXP_FAR else x       # there 2^n comes out as 0
    n = rint_(x * <real>-1.442695040888963407)
    n = EXP_MOST if n > EXP_MOST else n
    r = (-x - n * LN2_HIGH) - n * LN2_LOW
    s = power_of_two(n)
    return R(1) / ((R(1) + s) + s * expm1_polynomial(r))


cdef inline real normal_cdf(real x) noexcept nogil:
    # Phi(x) = erfc(-x / sqrt 2) / 2; for a >= 0 erfc(a) = e^(-a^2) P(u) / (a + k) with
    # u = (a - k) / (a + k).
    # Relative error: that of e^(-a^2), about a^2 units in the last place.
    cdef real a = abs_(x) * R(0.7071067811865475244)
    cdef real u, p, q
    a = 40 if a > 40 else a
    if IS_DOUBLE:
        u = (a - R(3)) / (a + R(3))
        p = R(1.810281568363537054e-10)
        p = p * u + R(8.10266862400304194e-10)
        p = p * u + <real>-1.079503727850964297e-9
        p = p * u + <real>-8.689172296735516983e-9
        p = p * u + <real>-7.153751145497756811e-10
        p = p * u + R(5.117094154651605477e-8)
        p = p * u + R(4.56547003722574813e-8)
        p = p * u + <real>-2.338373598043515092e-7
        p = p * u + <real>-4.075688442682301269e-7
        p = p * u + R(9.988024518234279896e-7)
        p = p * u + R(2.765147991601647889e-6)
        p = p * u + <real>-4.749019807941394137e-6
        p = p * u + <real>-0.00001747047597754263288
        p = p * u + R(0.00003039804835964440012)
        p = p * u + R(0.0001075614667538378839)
        p = p * u + <real>-0.0002767778132333871694
        p = p * u + <real>-0.0005483096892521679841
        p = p * u + R(0.003034061995940421441)
        p = p * u + <real>-0.001212416627380999146
        p = p * u + <real>-0.02682723462404166554
        p = p * u + R(0.1195277612872965745)
        p = p * u + <real>-0.3104672619005835947
        p = p * u + R(0.5902283571041017219)
        p = p * u + <real>-0.8833944531698834572
        p = p * u + R(1.074006907088339703)
        q = exp_negative(-a * a) * p / (R(2) * (a + R(3)))
    else:
        u = (a - R(2)) / (a + R(2))
        p = R(0.00008857682934291035084)
        p = p * u + R(0.00007352872327142390691)
        p = p * u + <real>-0.0006094381728245733045
        p = p * u + <real>-0.0008620800432845665411
        p = p * u + R(0.003067694088675430294)
        p = p * u + R(0.006487466135595892348)
        p = p * u + <real>-0.02150662176549251714
        p = p * u + <real>-0.03644349822916288206
        p = p * u + R(0.2794718915931107072)
        p = p * u + <real>-0.6871606250987087966
        p = p * u + R(1.021582705242022975)
        q = exp_negative(-a * a) * p / (R(2) * (a + R(2)))
    return q if x < 0 else R(1) - q
