"""Threads and processes: how many, what decides it, and that nobody is ever in another's way.

Whatever could hang runs in a process of its own, which has a time limit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import _processors, _runtime, runtime
from nncore.callbacks import LambdaCallback

SOURCES = Path(__file__).parents[1] / "src"
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
COUNTS_THREADS = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="only Linux lists a process's threads in /proc"
)

#: What the programs below begin with: models whose matmuls pay for several threads, and the threads
#: that the system sees.
COMMON = """
import faulthandler, os, signal, sys, threading, warnings
faulthandler.dump_traceback_later(80, exit=True)  # a hang ends as a failure, and says where
import numpy as np
os_threads = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
at_first = os_threads()
import nncore
from nncore import _runtime, kernels
kernels.activate("relu", [1.0])             # loads a core
import sysconfig
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    assert not sys._is_gil_enabled(), "a module of nncore turned the GIL on"

rng = np.random.default_rng(0)
x = rng.normal(size=(512, 128)).astype("float32")
y = rng.integers(0, 10, 512)

def network(seed=0, n_threads=None):
    nncore.set_random_seed(seed)
    model = nncore.Sequential([nncore.Input((128,)), nncore.layers.Dense(128, "tanh"),
                               nncore.layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", n_threads=n_threads)
    return model

def trained(seed=0, n_threads=None):
    model = network(seed, n_threads)
    model.fit(x, y, batch_size=256, epochs=2, shuffle=False, verbose=0)
    return model.parameters.tobytes()
"""


@pytest.fixture
def program(python):
    """Run a program after COMMON; it has to end by itself, without a word on stderr."""

    def run(code, *arguments, **environment):
        settings = {"NNCORE_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1", **environment}
        done = python(COMMON + textwrap.dedent(code), *arguments, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


# --- what decides how many ---


@pytest.fixture
def no_variables(monkeypatch):
    for name in ("NNCORE_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "n", "origin"),
    [
        ({"NNCORE_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3, "NNCORE_NUM_THREADS"),
        ({"NNCORE_NUM_THREADS": " 256 "}, 256, "NNCORE_NUM_THREADS"),
        ({"NNCORE_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5, "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "4,2"}, 4, "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "1000"}, 256, "OMP_NUM_THREADS"),
    ],
)
def test_what_decides_the_number_of_threads(environment, n, origin, no_variables, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime.default_threads() == (n, origin)


def test_without_a_variable_the_processors_decide(no_variables):
    assert runtime.default_threads() == _processors.available()


@pytest.mark.parametrize("bad", ["0", "257", "-1", "two", "1.5", "1,2"])
def test_a_bad_variable_of_ours_is_an_error(bad, monkeypatch):
    monkeypatch.setenv("NNCORE_NUM_THREADS", bad)
    wanted = f"NNCORE_NUM_THREADS must be an integer from 1 to 256; received .*={bad}. Unset it"
    with pytest.raises(ValueError, match=wanted):
        runtime.default_threads()


@pytest.mark.parametrize("bad", ["0", "-1", "two", ",2"])
def test_a_bad_variable_of_others_is_a_warning(bad, no_variables, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", bad)
    with pytest.warns(RuntimeWarning, match=f"OMP_NUM_THREADS={bad} is no positive integer: "):
        assert runtime.default_threads() == _processors.available()


def test_the_error_comes_when_threads_are_asked_for(python):
    done = python(
        "import nncore; print('imported'); nncore.get_num_threads()", NNCORE_NUM_THREADS="many"
    )
    assert done.stdout == "imported\n"
    assert "ValueError: NNCORE_NUM_THREADS must be an integer" in done.stderr


def test_the_call_comes_before_the_variables(program):
    code = """
    print(nncore.get_num_threads(), nncore.runtime.num_threads_origin())
    nncore.set_num_threads(5)
    print(nncore.get_num_threads(), nncore.runtime.num_threads_origin())
    lines = []
    nncore.show_config(lines.append)
    assert "5 (by set_num_threads; processors: " in lines[-1], lines[-1]
    """
    assert program(code) == ["3", "NNCORE_NUM_THREADS", "5", "set_num_threads"]


def test_show_config_says_which_one_decided(program):
    code = """
    lines = []
    nncore.show_config(lines.append)
    assert "7 (by OMP_NUM_THREADS; " in lines[-1], lines[-1]
    """
    program(code, NNCORE_NUM_THREADS="", OMP_NUM_THREADS="7")


def test_the_affinity_counts(program):
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        pytest.skip("needs two processors and a system that binds processes to one")
    code = """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(nncore.get_num_threads(), nncore.runtime.num_threads_origin())
    """
    assert program(code, NNCORE_NUM_THREADS="", OMP_NUM_THREADS="") == ["1", "CPU", "affinity"]


def test_number_of_threads_is_checked():
    for bad in (0, -1, 257, 1.5, True, "2"):
        with pytest.raises(ValueError, match="must be an integer from 1 to 256"):
            runtime.set_num_threads(bad)


# --- the quotas of control groups ---

V2 = "30 24 0:26 {root} {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "31 23 0:29 {root} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = (
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "33 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "not a line of the kernel\n"
)


@pytest.fixture
def system(tmp_path):
    """Return a function that writes a root folder: /proc/self and the files of control groups."""

    def make(groups, mounts, files):
        files = {"proc/self/cgroup": groups, "proc/self/mountinfo": OTHER + mounts, **files}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


TOP = "sys/fs/cgroup"
V2_TOP = V2.format(root="/", point="/sys/fs/cgroup")
V1_TOP = V1.format(root="/", point="/sys/fs/cgroup/cpu,cpuacct")


def v1(folder, quota, period=100000):
    folder = f"{TOP}/cpu,cpuacct{folder}"
    return {
        f"{folder}/cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}/cpu.cfs_period_us": f"{period}\n",
    }


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        # Version 2: a container sees its own group at the top.
        ("0::/\n", V2_TOP, {f"{TOP}/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", V2_TOP, {f"{TOP}/cpu.max": "max 100000\n"}, None),
        ("0::/\n", V2_TOP, {f"{TOP}/cpu.max": "50000\n"}, 0.5),
        ("0::/\n", V2_TOP, {}, None),
        # Nested: the smallest on the way up counts, wherever it is; the neighbours do not.
        (
            "0::/a/b/c\n",
            V2_TOP,
            {
                f"{TOP}/a/cpu.max": "400000 100000",
                f"{TOP}/a/b/cpu.max": "30000 10000",
                f"{TOP}/a/b/c/cpu.max": "max 100000",
                f"{TOP}/a/other/cpu.max": "1000 100000",
            },
            3.0,
        ),
        ("0::/a/b\n", V2_TOP, {f"{TOP}/cpu.max": "200000 100000"}, 2.0),
        # A part of the hierarchy is mounted: the group's path begins with that part.
        (
            "0::/docker/f00/inner\n",
            V2.format(root="/docker/f00", point="/sys/fs/cgroup"),
            {f"{TOP}/cpu.max": "500000 100000", f"{TOP}/inner/cpu.max": "250000 100000"},
            2.5,
        ),
        # Another namespace's: what is mounted is all there is to see.
        (
            "0::/../../outside\n",
            V2_TOP,
            {f"{TOP}/cpu.max": "100000 100000", "sys/outside/cpu.max": "1000 100000"},
            1.0,
        ),
        (
            "0::/system/f00\n",
            V2.format(root="/docker/f00", point="/sys/fs/cgroup"),
            {f"{TOP}/cpu.max": "70000 10000"},
            7.0,
        ),
        # A foreign group that is mounted as well says nothing where the own one is.
        (
            "0::/mine\n",
            V2_TOP + V2.format(root="/theirs", point="/mnt"),
            {f"{TOP}/mine/cpu.max": "400000 100000", "mnt/cpu.max": "1000 100000"},
            4.0,
        ),
        # A folder with a space and a backslash in its name, as the kernel writes it.
        (
            "0::/\n",
            V2.format(root="/", point="/mnt/a\\040b\\134c"),
            {"mnt/a b\\c/cpu.max": "300000 100000"},
            3.0,
        ),
        # Version 1.
        ("4:cpu,cpuacct:/a\n3:cpuset:/x\n", V1_TOP, v1("/a", 250000), 2.5),
        ("4:cpu,cpuacct:/a\n", V1_TOP, v1("/a", -1), None),
        ("4:cpu,cpuacct:/a/b\n", V1_TOP, {**v1("/a", 100000), **v1("/a/b", 200000)}, 1.0),
        ("4:cpu,cpuacct:/a\n", V1_TOP, v1("/a", 60000, 20000), 3.0),
        # Both at once: the processors are version 1's, or the smaller counts.
        ("4:cpu,cpuacct:/a\n0::/u\n", V1_TOP + V2_TOP, v1("/a", 200000), 2.0),
        (
            "4:cpu,cpuacct:/a\n0::/u\n",
            V1_TOP + V2_TOP,
            {**v1("/a", 200000), f"{TOP}/u/cpu.max": "100000 100000"},
            1.0,
        ),
        # What cannot be read or understood is no limit.
        ("0::/\n", V2_TOP, {f"{TOP}/cpu.max": "many 100000\n"}, None),
        ("0::/\n", V2_TOP, {f"{TOP}/cpu.max": "100000 0\n"}, None),
        ("0::/\n", V2_TOP, {f"{TOP}/cpu.max": "\n"}, None),
        ("0::/\n", "", {f"{TOP}/cpu.max": "100000 100000\n"}, None),
        ("nonsense\n0::elsewhere\n", V2_TOP, {f"{TOP}/cpu.max": "100000 100000\n"}, None),
    ],
)
def test_the_quota_of_control_groups(groups, mounts, files, expected, system):
    assert _processors.quota(system(groups, mounts, files)) == expected


def test_no_control_groups_at_all(tmp_path):
    assert _processors.quota(tmp_path) is None


@pytest.mark.parametrize(
    ("processors", "cpu_max", "expected"),
    [
        (8, "150000 100000", (2, "CPU quota")),
        (8, "10000 100000", (1, "CPU quota")),
        (8, "701000 100000", (8, None)),  # rounded up: no fewer than the processors
        (8, "max 100000", (8, None)),
        (1, "200000 100000", (1, None)),
    ],
)
def test_the_smaller_of_quota_and_processors(processors, cpu_max, expected, system, monkeypatch):
    monkeypatch.setattr(_runtime, "cpu_count", lambda: processors)
    root = system("0::/\n", V2_TOP, {f"{TOP}/cpu.max": cpu_max})
    for machine, origin in ((processors, "processors"), (processors + 1, "CPU affinity")):
        monkeypatch.setattr(os, "cpu_count", lambda machine=machine: machine)
        assert _processors.available(root) == (expected[0], expected[1] or origin)


# --- threadpoolctl ---


def test_threadpoolctl_sees_and_limits_the_pool(program):
    pytest.importorskip("threadpoolctl", reason="the test extra has threadpoolctl")
    code = """
    import threadpoolctl
    nncore.register_threadpoolctl()
    nncore.register_threadpoolctl()

    def seen():
        (pool,) = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "nncore"]
        assert pool["internal_api"] == "nncore" and pool["version"] == nncore.__version__
        assert pool["num_threads"] == nncore.get_num_threads()
        return pool["num_threads"], nncore.runtime.num_threads_origin()

    whole = (3, "NNCORE_NUM_THREADS")
    assert seen() == whole
    with threadpoolctl.threadpool_limits(1):
        assert seen() == (1, "threadpoolctl")
        one = trained(), trained(n_threads=4)       # a model that asks for more is limited, too
        kernels.dense(np.ones((300, 300)), np.ones((300, 300)), n_threads=4)
        assert _runtime.pool_size() == 0 and os_threads() == at_first
        with threadpoolctl.threadpool_limits(2, "nncore"):
            assert seen() == (2, "threadpoolctl")
            kernels.dense(np.ones((300, 300)), np.ones((300, 300)), n_threads=4)
            assert _runtime.pool_size() == 1
        assert seen() == (1, "threadpoolctl")
        lines = []
        nncore.show_config(lines.append)
        assert "1 (by threadpoolctl; " in lines[-1], lines[-1]
    assert seen() == whole
    kernels.dense(np.ones((300, 300)), np.ones((300, 300)), n_threads=4)
    assert _runtime.pool_size() == 3                # undone: no limit is left behind
    assert one == (trained(), trained(n_threads=4))
    with threadpoolctl.threadpool_limits({"nncore": 8}):
        assert seen() == (8, "threadpoolctl")
    with threadpoolctl.threadpool_limits({"blas": 1}):
        assert seen() == whole
    with threadpoolctl.threadpool_limits(1):
        nncore.set_num_threads(5)                   # the last word counts
        assert seen() == (5, "set_num_threads")
    """
    program(code)


def test_without_threadpoolctl(program):
    code = """
    sys.modules["threadpoolctl"] = None
    try:
        nncore.register_threadpoolctl()
    except ImportError as error:
        print(error)
    """
    said = " ".join(program(code))
    assert "needs threadpoolctl 3.2 or newer" in said
    assert "pip install 'threadpoolctl>=3.2'" in said


# --- how many there are ---


@COUNTS_THREADS
def test_no_thread_before_the_first_work_that_pays(program):
    code = """
    assert os_threads() == at_first, "import"
    small = nncore.Sequential([nncore.Input((4,)), nncore.layers.Dense(3)])
    small.compile("sgd", "mse")
    large = network()
    assert os_threads() == at_first, "compile"
    small.fit(np.ones((64, 4)), np.ones((64, 3)), verbose=0)
    small.predict(np.ones((10, 4)))
    large.predict(x[:1])
    kernels.dense(np.ones((4, 4)), np.ones((4, 4)), n_threads=2)
    assert os_threads() == at_first and _runtime.pool_size() == 0, "work that is too small"
    large.fit(x, y, batch_size=256, verbose=0)
    # As many as the work pays for, and the caller is one of them.
    assert 1 <= _runtime.pool_size() <= 2, _runtime.pool_size()
    large.fit(x, y, batch_size=512, epochs=5, verbose=0)
    kernels.dense(np.ones((500, 500)), np.ones((500, 500)), n_threads=3)
    assert _runtime.pool_size() == 2 and os_threads() == at_first + 2
    """
    program(code)


@COUNTS_THREADS
def test_one_thread_starts_none(program):
    code = """
    trained()
    kernels.dense(np.ones((500, 500)), np.ones((500, 500)))
    assert os_threads() == at_first and _runtime.pool_size() == 0
    """
    program(code, NNCORE_NUM_THREADS="1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's affinity")
@pytest.mark.parametrize("setting", ["", "0"])
def test_helpers_run_where_their_caller_may(setting, program):
    code = """
    import time

    allowed = os.sched_getaffinity(0)
    expected = network().predict(x)
    model = network(n_threads=3)
    for _ in range(50):
        time.sleep(0.001)               # so that they sleep and are woken
        assert (model.predict(x) == expected).all()
    assert _runtime.pool_size() == 2
    for task in os.listdir("/proc/self/task"):
        found = os.sched_getaffinity(int(task))
        assert found == allowed if sys.argv[1] else found <= allowed and len(allowed - found) < 2
    """
    program(code, setting, NNCORE_MOVE_THREADS=setting)


EIGHT = """
serial = [trained(seed, n_threads=1) for seed in range(8)]
shared = network()
rows = [1, 7, 64, 256, 512]
expected = [shared.predict(x[:n]).tobytes() for n in rows]
wrong, most, going_on = [], [0], [True]
ready = threading.Barrier(9)

def work(seed):
    try:
        ready.wait()
        for k in range(4):
            for n, outputs in zip(rows, expected):
                if shared.predict(x[:n]).tobytes() != outputs:
                    wrong.append(f"predict {n}")
            model = nncore.Sequential.from_config(configs[seed])
            model.compile("adam", "sparse_categorical_crossentropy")
            model.set_weights(weights[seed])
            model.fit(x, y, batch_size=256, epochs=2, shuffle=False, verbose=0)
            if model.parameters.tobytes() != serial[seed]:
                wrong.append(f"fit {seed}")
    except BaseException as error:
        wrong.append(repr(error))
        raise

def watch():
    n = 0
    while going_on[0]:
        most[0] = max(most[0], os_threads())
        n = n % 3 + 1
        nncore.set_num_threads(n)       # a limit that is changed while others run
"""


@COUNTS_THREADS
def test_eight_threads_predict_with_one_model_and_train_their_own(program):
    code = EIGHT + textwrap.dedent("""
    models = [network(seed) for seed in range(8)]
    configs, weights = [m.get_config() for m in models], [m.get_weights() for m in models]
    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    watcher = threading.Thread(target=watch, daemon=True)
    before = os_threads()
    for t in (watcher, *threads):
        t.start()
    assert os_threads() - before == 9       # the eight wait for each other, and for this
    ready.wait()
    for t in threads:
        t.join()
    going_on[0] = False
    watcher.join()
    assert not wrong, wrong
    # The eight, the one that watches, and the pool's two: no more, however they meet.
    assert most[0] - at_first <= 8 + 1 + 2, (at_first, most[0])
    """)
    program(code)


def test_many_python_threads_share_the_pool(program):
    code = """
    a = rng.normal(size=(200, 300))
    expected = kernels.dense(a, a.T)
    wrong = []

    def work():
        for _ in range(20):
            if not (kernels.dense(a, a.T, n_threads=3) == expected).all():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and _runtime.pool_size() <= 2
    """
    program(code)


def test_the_number_of_threads_may_change_inside_fit():
    def trained(**hooks):
        nncore.set_random_seed(1)
        model = nncore.Sequential([nncore.Input((128,)), nncore.layers.Dense(128, "relu")])
        model.compile("adam", "mse")
        x = np.random.default_rng(0).normal(size=(512, 128))
        model.fit(x, x, batch_size=256, epochs=3, verbose=0, callbacks=[LambdaCallback(**hooks)])
        return model.parameters

    before = nncore.get_num_threads()
    try:
        nncore.set_num_threads(1)
        one = trained()
        changing = trained(
            on_train_batch_begin=lambda batch, logs: nncore.set_num_threads(1 + batch % 3),
            on_epoch_begin=lambda epoch, logs: nncore.set_num_threads(3 - epoch),
        )
    finally:
        nncore.set_num_threads(before)
    np.testing.assert_array_equal(changing, one)


# --- other processes ---


@NEEDS_FORK
def test_fit_fork_and_fit_in_the_child(program):
    code = """
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that is the test
    expected = trained()
    model = network()
    model.fit(x, y, batch_size=256, verbose=0)
    state = model.get_weights()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            none = _runtime.pool_size() == 0
            same = trained() == expected and _runtime.pool_size() > 0
            model.fit(x, y, batch_size=256, verbose=0)     # the parent's, whose pool is gone
            moved = any((a != b).any() for a, b in zip(state, model.get_weights()))
            os._exit(0 if none and same and moved else 1)
        children.append(child)
        assert trained() == expected
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    program(code)


@NEEDS_FORK
def test_a_fork_by_a_signals_handler_while_threads_share_a_prediction(program):
    code = """
    warnings.simplefilter("ignore", DeprecationWarning)
    model = nncore.Sequential([nncore.Input((8,)), nncore.layers.Dense(128, "relu"),
                               nncore.layers.Dense(128, "relu"), nncore.layers.Dense(4)])
    model.n_threads = 1
    rows = rng.normal(size=(500_000, 8)).astype("float32")
    expected = model.predict(rows)
    model.n_threads = 3
    model.predict(rows[:5000])
    assert _runtime.pool_size() > 0
    children = []

    def fork(*_):
        children.append(os.fork())
        model.predict(rows[:5000])      # with a pool, in the child a new one

    signal.signal(signal.SIGALRM, fork)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    same = (model.predict(rows) == expected).all()
    assert len(children) == 1
    if not children[0]:
        os._exit(0 if same and _runtime.pool_size() > 0 else 1)
    assert same
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    """
    program(code)


@NEEDS_FORK
def test_a_fork_while_other_threads_have_the_pool_and_the_locks(program):
    code = """
    warnings.simplefilter("ignore", DeprecationWarning)
    expected = trained(n_threads=3)
    going_on = True

    def work():
        while going_on:
            kernels.dense(x, x.T, n_threads=3)

    def hold():
        with nncore.layers._counters_lock, nncore.runtime._deciding:
            held.set()
            let_go.wait()

    held, let_go = threading.Event(), threading.Event()
    threads = [threading.Thread(target=work), threading.Thread(target=hold)]
    for t in threads:
        t.start()
    held.wait()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            nncore.set_num_threads(2)
            os._exit(0 if trained(n_threads=3) == expected else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    going_on = False
    let_go.set()
    for t in threads:
        t.join()
    """
    program(code)


@pytest.fixture
def work_module(tmp_path):
    """Return the folder of a module that other processes import: work.job(seed)."""
    (tmp_path / "work.py").write_text(
        COMMON + "\ndef job(seed):\n    return trained(seed), nncore.get_num_threads()\n"
    )
    return tmp_path


IN_WORKERS = """
sys.path.insert(0, sys.argv[1])
import work
warnings.simplefilter("ignore", DeprecationWarning)
expected = [trained(seed, n_threads=1) for seed in range(4)]
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(method, program, work_module):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    code = IN_WORKERS + textwrap.dedent("""
    import multiprocessing
    trained()                                       # so that there is a pool to be inherited
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        found = pool.map_async(work.job, range(4)).get(70)
    assert [bits for bits, n in found] == expected
    assert {n for bits, n in found} == {3}, found
    """)
    program(code, work_module, method)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend, program, work_module):
    pytest.importorskip("joblib", reason="the test extra has joblib")
    code = IN_WORKERS + textwrap.dedent("""
    import joblib
    trained()
    found = joblib.Parallel(n_jobs=2, backend=sys.argv[2], timeout=70)(
        joblib.delayed(work.job)(seed) for seed in range(4)
    )
    assert [bits for bits, n in found] == expected
    if sys.argv[2] == "loky":       # it tells each worker its share of the processors
        with joblib.parallel_config("loky", inner_max_num_threads=2):
            found = joblib.Parallel(n_jobs=3)(joblib.delayed(work.job)(s) for s in range(4))
        assert {n for bits, n in found} == {2}, found
        assert [bits for bits, n in found] == expected
    """)
    if backend == "threading":  # seeds and models are made in turn: they belong to the process
        code = code.replace("n_jobs=2", "n_jobs=1")
    program(code, work_module, backend, NNCORE_NUM_THREADS="", OMP_NUM_THREADS="")


def test_the_process_ends_while_threads_work(program):
    code = """
    def work():
        model = network(n_threads=3)
        while True:
            model.fit(x, y, batch_size=256, epochs=50, verbose=0)

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    while not _runtime.pool_size():
        pass
    print("bye")
    """
    assert program(code) == ["bye"]


# --- the pool itself, in C ---


def compiled_stress(tmp_path, *flags):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform == "win32" or compiler is None:
        pytest.skip("needs POSIX threads and a C compiler")
    if not (SOURCES / "threads.c").exists():
        pytest.skip("src/ is not beside tests/")
    stress = tmp_path / "stress"
    source = Path(__file__).with_name("threads_stress.c")
    command = [compiler, *flags, "-I", str(SOURCES), str(source), "-o", str(stress), "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        assert flags[0].startswith("-fsanitize"), done.stderr
        pytest.skip(f"the compiler cannot: {done.stderr[-200:]}")
    return stress


def run_stress(stress, *arguments):
    # A sanitizer that this Python runs under must not get into a program with its own.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(
        [stress, *arguments], capture_output=True, text=True, timeout=100, check=False,
        env=environment,
    )  # fmt: skip


def test_the_pool_under_stress(tmp_path):
    stress = compiled_stress(tmp_path, "-O2", "-Wall", "-Wextra", "-Werror")
    done = run_stress(stress, "fork")
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


def test_the_pool_has_no_races(tmp_path):
    stress = compiled_stress(tmp_path, "-fsanitize=thread", "-O1", "-g")
    done = run_stress(stress)
    if "FATAL: ThreadSanitizer" in done.stderr:
        pytest.skip(f"ThreadSanitizer cannot run here: {done.stderr[:200]}")
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
