# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True, embedsignature=True
# cython: auto_pickle=False
"""The compiled floor: kernels and executor, for one number type and one instruction set.

This source is turned into C once and compiled once for each instruction set and for
float and double (see isa/ and setup.py). It knows no Python model.
"""

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport pow, sqrt
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t)
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

from threading import Lock

import numpy as np

from nncore._runtime cimport l1_ways, l2_bytes, num_threads, parallel, seconds as clock, share
from nncore.plan import goes_to_softmax
from nncore.verify import OPS, Tables, verify as verify_plan

cnp.import_array()

cdef extern from "denormals.h" nogil:
    ctypedef unsigned long long float_mode
    float_mode flush_denormals()            # both return the mode before
    float_mode keep_denormals()
    void set_float_mode(float_mode mode)

include "elementary.pyx"
include "activations.pyx"
include "losses.pyx"
include "optimizers.pyx"
include "metrics.pyx"
include "random.pyx"
include "gather.pyx"
include "matmul.pyx"
include "elementwise.pyx"
include "observe.pyx"
include "verify.pyx"
include "plan.pyx"
include "predictor.pyx"
include "kernels.pyx"
