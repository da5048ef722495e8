"""The command line: ``nncore demo``, ``nncore trace``, ``nncore bench``, ``nncore config``.

``nncore demo`` is the library's main job from end to end on real data, and the quickest
way to see whether an installation works.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nncore import _trace_command

if TYPE_CHECKING:
    from nncore.datasets import Images
    from nncore.models import Sequential

__all__ = ["main"]

_EPOCHS = 20
_BATCH_SIZE = 32
_LEARNING_RATE = 0.002
_INK = " .:-=+*%@"
_SHOWN = 5
#: Says to a process that it was begun with so many threads for NumPy's BLAS.
_PINNED = "NNCORE_BENCH_PINNED"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0; 1 after an error, which is printed to standard error; 130 after Ctrl-C.  Wrong
        arguments end the process with 2, as argparse does.
    """
    options = _parser().parse_args(arguments)
    options.whole_process = arguments is None
    try:
        options.run(options)
        if sys.stdout is not None:  # `nncore demo >&-`
            sys.stdout.flush()
    except BrokenPipeError:  # `nncore demo | head`
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"nncore: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("nncore: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nncore", description="Dense neural networks on a CPU.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train on handwritten digits, beside the NumPy baseline",
        description="Train a 64-64-10 network on the embedded handwritten digits, print its "
        "accuracy on held-out ones, train it again by the NumPy baseline, compare, save the "
        "model, load it back and predict.",
        allow_abbrev=False,
    )
    demo.add_argument(
        "--epochs", type=_positive, default=_EPOCHS, metavar="N", help="default: %(default)s"
    )
    demo.add_argument(
        "--batch-size",
        type=_positive,
        default=_BATCH_SIZE,
        metavar="N",
        help="default: %(default)s",
    )
    demo.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="of weights and order; default: %(default)s",
    )
    demo.add_argument(
        "--output", metavar="FILE", help="keep the model in this file (default: a temporary one)"
    )
    demo.set_defaults(run=_demo)

    bench = commands.add_parser(
        "bench",
        help="compare with NumPy on this machine",
        description="Train and predict with networks from 2-2-2 to 1024-2048-2048-1000 beside the "
        "same in NumPy, in turn, and print the times, their ratio and the part of the machine's "
        "peak that is reached. Takes under a minute.",
        allow_abbrev=False,
    )
    bench.add_argument("--only", action="append", metavar="NAME", help="such as 64-64-10")
    bench.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    bench.add_argument("--threads", type=_positive, default=1, metavar="N", help="default: 1")
    bench.add_argument(
        "--seconds",
        type=_seconds,
        default=0.15,
        metavar="S",
        help="of each run, about; default: %(default)s",
    )
    bench.add_argument("--repeats", type=_positive, default=5, metavar="N")
    bench.add_argument("--json", metavar="FILE", help="write the results there")
    bench.set_defaults(run=_bench)

    _trace_command.add_parser(commands, _positive)

    config = commands.add_parser(
        "config",
        help="print version, compiler, instruction set, threads",
        description="Print version, compiler, instruction set and threads.",
        allow_abbrev=False,
    )
    config.set_defaults(run=_config)
    return parser


class _Version(argparse.Action):
    """Like argparse's own, but nothing is imported unless it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import nncore

        print(f"nncore {nncore.__version__}")
        parser.exit()


def _positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be a positive integer; received {text}")


def _seed(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= int(text) < 1 << 32:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be an integer from 0 to 2**32 - 1; received {text}")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 600:
            return float(text)
    raise argparse.ArgumentTypeError(
        f"must be a number of seconds, above 0 and at most 600; received {text}"
    )


def _config(options: argparse.Namespace) -> None:
    import nncore

    nncore.show_config()


def _bench(options: argparse.Namespace) -> None:
    from nncore import bench

    bench.find(options.only)
    bench.check_writable(options.json)
    if options.whole_process and os.environ.get(_PINNED) != str(options.threads):
        # NumPy's BLAS, which is loaded by now, reads the environment only once.
        dropped = bench.pin(options.threads)
        os.environ[_PINNED] = str(options.threads)
        if dropped:
            print(f"not used here: {', '.join(dropped)} (they slow a current OpenBLAS down)")
        bench.begin_anew()
    results = bench.run(
        options.only, options.dtype, options.threads, options.repeats, options.seconds
    )
    if options.json:
        bench.write_json(options.json, results)
    if any("wrong" in row for row in results["results"]):
        raise ValueError("some results were wrong; see above")


def _demo_model(seed: int, engine: str, dtype: str = "float32") -> Sequential:
    import nncore
    from nncore import layers

    nncore.set_random_seed(seed)
    model = nncore.Sequential(
        [
            layers.Input((8, 8)),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(64, activation="relu", dtype=dtype, name="hidden"),
            layers.Dense(10, activation="softmax", dtype=dtype, name="output"),
        ],
        name="digits",
    )
    model.compile(
        nncore.optimizers.Adam(learning_rate=_LEARNING_RATE),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        engine=engine,
    )
    return model


def _beside_the_baseline(
    options: argparse.Namespace, x: Images, y: Images, dtype: str
) -> tuple[float, float, float]:
    """Return the seconds of both engines, and the largest difference of their weights."""
    import numpy as np

    seconds, weights = [], []
    for engine in ("compiled", "reference"):
        model = _demo_model(options.seed, engine, dtype)
        begin = time.perf_counter()
        model.fit(x, y, batch_size=options.batch_size, epochs=options.epochs, verbose=0)
        seconds.append(time.perf_counter() - begin)
        weights.append(model.get_weights())
    largest = max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True))
    return seconds[0], seconds[1], largest


def _demo(options: argparse.Namespace) -> None:
    import numpy as np

    import nncore

    if options.output is not None:  # better now than after the training
        folder = os.path.dirname(os.path.abspath(options.output))
        if os.path.isdir(options.output):
            raise IsADirectoryError(
                f"--output {options.output} is a folder; give the name of a file"
            )
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"--output {options.output}: the folder {folder} does not exist"
            )
        if not os.access(folder, os.W_OK):
            raise PermissionError(
                f"--output {options.output}: the folder {folder} is not writable; name another one"
            )
    (x, y), (x_test, y_test) = nncore.datasets.digits()
    steps = options.epochs * -(-len(x) // options.batch_size)
    print(
        f"nncore {nncore.__version__}: a 64-64-10 network learns {len(x):,} handwritten digits of "
        f"8x8 pixels\n(Adam, learning rate {_LEARNING_RATE}, batches of {options.batch_size}, "
        f"{options.epochs} epochs)\n"
    )
    model = _demo_model(options.seed, "compiled")
    model.fit(x, y, batch_size=options.batch_size, epochs=options.epochs)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    right = round(accuracy * len(x_test))
    print(
        f"\nHeld-out accuracy: {100 * accuracy:.2f} % ({right} of {len(x_test)} digits that it "
        f"has not seen)"
    )

    print("\nThe same training, from the same start and in the same order, without progress bar:")
    compiled, reference, single = _beside_the_baseline(options, x, y, "float32")
    *_, double = _beside_the_baseline(options, x, y, "float64")
    print(f"  compiled kernels  {compiled:8.3f} s")
    print(f"  NumPy baseline    {reference:8.3f} s")
    print(f"  ratio             {reference / compiled:8.1f}")
    print(
        f"  largest difference of the resulting weights: {single:.1e} (float32: {steps} steps "
        f"magnify\n  what rounding leaves; in float64 it is {double:.1e})"
    )

    with tempfile.TemporaryDirectory(prefix="nncore-") as folder:
        path = options.output or os.path.join(folder, "digits.nncore")
        model.save(path)
        loaded = nncore.load_model(path)
        size = os.path.getsize(path)
    kept = path if options.output else "a temporary file (--output FILE keeps it)"
    print(f"\nSaved in {kept}, {size:,} bytes, and loaded back. It predicts:\n")
    shown = x_test[:: len(x_test) // _SHOWN][:_SHOWN]
    predicted = loaded.predict(shown, verbose=0)
    for row in range(8):
        print(" ".join("".join(_INK[ink // 2] for ink in image[row]).center(9) for image in shown))
    print(" ".join(f"{p.argmax()} ({100 * p.max():.0f} %)".center(9) for p in predicted))
    if not np.array_equal(predicted, model.predict(shown, verbose=0)):
        raise ValueError("the loaded model predicts something else than the saved one")
