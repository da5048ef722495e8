# What every compiled core (nncore._core_<instruction set>_<f32 or f64>) has.
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

from numpy.typing import NDArray

from nncore.plan import Plan
from nncore.verify import Tables

DTYPE: str
TILE: tuple[int, int]
VECTOR_EXTENSIONS: bool
ACTIVATIONS: dict[str, str]
LOSSES: tuple[str, ...]
METRICS: tuple[str, ...]
OPTIMIZERS: dict[str, int]
REDUCTIONS: dict[str, int]
HYPER: tuple[str, ...]
OBSERVATIONS: tuple[str, ...]
OPS: dict[str, str]
TABLES: Tables

_Array = NDArray[Any]

@final
class Executor:
    def __init__(
        self,
        plan: Plan,
        parameters: _Array,
        slots: _Array | None,
        *,
        batch_size: int,
        n_threads: int = 1,
    ) -> None: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def parameters(self) -> _Array: ...
    @property
    def slots(self) -> _Array | None: ...
    @property
    def gradients(self) -> _Array | None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def scratch_size(self) -> int: ...
    n_threads: int
    def check_predicts(self) -> None: ...
    def check_between(self, other: Executor) -> None: ...
    def check_kept(self, number: int, array: object, n_batches: int, size: int) -> None: ...
    def check_totals(self, totals: object) -> None: ...
    def check_vector(self, name: str, array: _Array, shape: tuple[int, ...]) -> None: ...
    def set_hyper(self, hyper: Mapping[str, float]) -> None: ...
    def run(
        self,
        x: _Array,
        t: _Array | None = None,
        r: _Array | None = None,
        *,
        order: _Array | None = None,
        begin: int = 0,
        end: int | None = None,
        batch_size: int | None = None,
        iteration: int = 0,
        learning_rates: _Array | None = None,
        losses: _Array | None = None,
        loss_totals: _Array | None = None,
        totals: _Array | None = None,
        seconds: float = ...,
        kept: Sequence[_Array] | None = None,
        observed: _Array | None = None,
        every: int = 1,
        past: int = 0,
        between: Executor | None = None,
    ) -> int: ...
    def predict(self, x: _Array, out: _Array) -> None: ...
    def load(
        self,
        x: _Array,
        t: _Array | None = None,
        r: _Array | None = None,
        order: _Array | None = None,
        begin: int = 0,
        rows: int | None = None,
    ) -> None: ...
    def execute(
        self,
        index: int,
        iteration: int = 0,
        learning_rate: float = 0.0,
        totals: _Array | None = None,
    ) -> None: ...
    def read(self, buffer: int) -> _Array: ...

class Predictor:
    def __init__(
        self,
        executor: Executor,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        follows: bool = False,
        bulk: bool = False,
    ) -> None: ...
    def predict(self, x: object) -> _Array | None: ...

def verify(plan: Plan, n_slots: int) -> None: ...
def activate_into(kind: str, z: _Array, y: _Array, alpha: float = 0.0) -> None: ...
def activate_backward_into(
    kind: str, dy: _Array, zy: _Array, dx: _Array, alpha: float = 0.0
) -> None: ...
def loss_into(
    kind: str,
    y: _Array,
    t: _Array | None,
    labels: _Array | None,
    r: _Array | None,
    dy: _Array,
    values: _Array,
    alpha: float = 0.0,
    reduction: str = "sum_over_batch_size",
) -> float: ...
def metric_of(
    kind: str,
    y: _Array,
    t: _Array | None,
    labels: _Array | None,
    r: _Array | None,
    alpha: float = 0.0,
) -> tuple[float, float]: ...
def observe_of(kind: str, v: _Array, low: float = 0.0, high: float = 0.0) -> float: ...
def update_into(
    kind: str,
    w: _Array,
    g: _Array,
    slots: _Array,
    learning_rate: float,
    iteration: int = 0,
    hyper: Mapping[str, float] | None = None,
) -> None: ...
def dense_into(
    x: _Array,
    w: _Array,
    b: _Array | None,
    z: _Array,
    y: _Array,
    activation: str = "linear",
    alpha: float = 0.0,
    n_threads: int = 1,
    repeats: int = 1,
) -> None: ...
def dense_backward_data_into(
    dz: _Array,
    w: _Array,
    zy: _Array,
    dx: _Array,
    activation: str = "linear",
    alpha: float = 0.0,
    n_threads: int = 1,
    repeats: int = 1,
) -> None: ...
def dense_backward_weights_into(
    x: _Array, dz: _Array, dw: _Array, db: _Array, n_threads: int = 1, repeats: int = 1
) -> None: ...
def dropout_into(x: _Array, y: _Array, rate: float, seed: int, iteration: int = 0) -> None: ...
def permutation(n: int, seed: int = 0, epoch: int = 0) -> _Array: ...
def peak_gflops(seconds: float = 0.05) -> float: ...
def set_caches(ways: int, size: int) -> tuple[int, int]: ...
def scratch_spare(
    m: int,
    n: int,
    k: int,
    *,
    a_step: int,
    a_transposed: bool,
    b_transposed: bool,
    b_slack: bool,
    n_threads: int,
) -> int: ...

class Core(Protocol):
    """A compiled core, as runtime.core returns it."""

    DTYPE: str
    TILE: tuple[int, int]
    VECTOR_EXTENSIONS: bool
    ACTIVATIONS: dict[str, str]
    LOSSES: tuple[str, ...]
    METRICS: tuple[str, ...]
    OPTIMIZERS: dict[str, int]
    OBSERVATIONS: tuple[str, ...]
    OPS: dict[str, str]

    Executor: type[Any]
    Predictor: type[Any]

    activate_into: Any
    activate_backward_into: Any
    loss_into: Any
    metric_of: Any
    observe_of: Any
    update_into: Any
    dense_into: Any
    dense_backward_data_into: Any
    dense_backward_weights_into: Any
    dropout_into: Any
    permutation: Any
    peak_gflops: Any
    scratch_spare: Any
    set_caches: Any
