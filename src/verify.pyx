# What a plan may be, as the executor sees it: the table of ops. The check that makes running a plan
# safe is in nncore/verify.py: it is Python either way, and need not be compiled once for each core.

cdef enum:
    RESCALE, DENSE, ACTIVATE, DROPOUT, LOSS, METRIC, PENALTY, ACTIVITY_PENALTY, ACTIVATE_BACKWARD
    DROPOUT_BACKWARD, RESCALE_BACKWARD, DENSE_BACKWARD_DATA, DENSE_BACKWARD_WEIGHTS, CLIP_VALUE
    CLIP_NORM, CLIP_GLOBAL_NORM, UPDATE, KEEP, OBSERVE

TABLES = Tables("float64" if IS_DOUBLE else "float32", NNCORE_SLACK, ACTIVATIONS, LOSSES, METRICS,
                OPTIMIZERS, tuple(REDUCTIONS), OBSERVATIONS,
                frozenset([name for k, name in enumerate(LOSSES) if loss_takes_labels(k)]
                          + [name for k, name in enumerate(METRICS) if metric_takes_labels(k)]))


def verify(plan, Py_ssize_t n_slots):
    """Raise ValueError, naming the step, unless this core can run `plan` safely."""
    verify_plan(plan, n_slots, TABLES)
