"""Print the polynomial coefficients used in src/elementary.pyx, with their errors.

Each polynomial is the Chebyshev interpolant of its function, computed with 60
digits and converted to powers.  Run: python tools/coefficients.py
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath import chebyt, cos, erfc, exp, expm1, log, mp, mpf, pi, sqrt, taylor

mp.dps = 60


def interpolate(f: Callable[[mpf], mpf], low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Return the powers' coefficients, lowest first, of the interpolant of f."""
    n = degree + 1
    nodes = [cos(pi * (k + mpf(1) / 2) / n) for k in range(n)]
    values = [f((low + high) / 2 + (high - low) / 2 * u) for u in nodes]
    powers = [mpf(0)] * n
    for j in range(n):
        c = 2 / mpf(n) * sum(v * chebyt(j, u) for u, v in zip(nodes, values, strict=True))
        if j == 0:
            c /= 2
        for i, p in enumerate(reversed([] if j < 0 else _chebyshev_powers(j))):
            powers[i] += c * p
    # From u in [-1, 1] to x in [low, high]: u = (x - middle) / half.
    middle, half = (low + high) / 2, (high - low) / 2
    result = [mpf(0)] * n
    for i, a in enumerate(powers):
        for k, binomial in enumerate(taylor(lambda x, i=i: (1 + x) ** i, 0, i)):
            # (x - middle)^i expanded; taylor gives the binomial coefficients.
            result[k] += a * binomial * (-middle) ** (i - k) / half**i
    return result


def _chebyshev_powers(j: int) -> list[mpf]:
    a, b = [mpf(1)], [mpf(0), mpf(1)]
    if j == 0:
        return a
    for _ in range(j - 1):
        c = [mpf(0)] + [2 * v for v in b]
        for i, v in enumerate(a):
            c[i] -= v
        a, b = b, c
    return list(reversed(b))


def error(f: Callable[[mpf], mpf], c: list[mpf], low: mpf, high: mpf) -> mpf:
    """Return the largest relative error on 1,000 points."""
    worst = mpf(0)
    for k in range(1001):
        x = low + (high - low) * mpf(k) / 1000
        p = mpf(0)
        for a in reversed(c):
            p = p * x + a
        worst = max(worst, abs(p / f(x) - 1))
    return worst


def main() -> None:
    """Print every table."""

    def expm1_rest(r: mpf) -> mpf:
        # (e^r - 1 - r) / r^2
        return (expm1(r) - r) / r**2 if abs(r) > mpf("1e-20") else mpf(1) / 2

    def log_rest(v: mpf) -> mpf:
        # log((1+s)/(1-s)) = 2 s + s^3 R(s^2)
        if v < mpf("1e-30"):
            return mpf(2) / 3
        s = sqrt(v)
        return (log((1 + s) / (1 - s)) - 2 * s) / s**3

    def scaled_erfc(k: mpf) -> Callable[[mpf], mpf]:
        # e^(x^2) erfc(x) (x + k) over u = (x - k) / (x + k), u in [-1, 1)
        def f(u: mpf) -> mpf:
            if u == 1:
                return 1 / sqrt(pi)
            x = k * (1 + u) / (1 - u)
            if x > 1000:
                series = 1 - 1 / (2 * x**2) + 3 / (4 * x**4) - 15 / (8 * x**6)
                return (x + k) / (x * sqrt(pi)) * series
            return exp(x**2) * erfc(x) * (x + k)

        return f

    half = log(2) / 2 * mpf("1.0001")
    s2 = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2 * mpf("1.0001")
    for title, f, low, high, degrees in (
        ("expm1 rest", expm1_rest, -half, half, (5, 10)),
        ("log rest", log_rest, mpf(0), s2, (3, 7)),
        ("erfc (k = 2)", scaled_erfc(mpf(2)), mpf(-1), mpf(1), (10, 22, 24)),
        ("erfc (k = 3)", scaled_erfc(mpf(3)), mpf(-1), mpf(1), (22, 24)),
    ):
        for degree in degrees:
            c = interpolate(f, low, high, degree)
            print(f"{title}, degree {degree}, error {mp.nstr(error(f, c, low, high), 3)}")
            for a in c:
                print("   ", mp.nstr(a, 19))
    for name, bits in (("float", 24), ("double", 53)):
        ln2 = log(2)
        high_part = mp.floor(ln2 * 2 ** (bits - 12)) / 2 ** (bits - 12)
        print(name, "ln2 high", mp.nstr(high_part, 20), "low", mp.nstr(ln2 - high_part, 20))


if __name__ == "__main__":
    main()
