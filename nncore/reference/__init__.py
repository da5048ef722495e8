"""Plain NumPy: every formula once more, and an executor of the same plan.

Read it to learn how a dense network works, line by line; the compiled floor is tested against
it.  Nothing here is generated from the kernels, nor they from it: two people's statements of
one formula, which must agree.
"""
