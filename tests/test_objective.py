"""An objective arrives with the local code that it needs, in a process that has none of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import optuna
import pytest
from aiauto_gen.aiauto import v1
from hypothesis import given, settings
from hypothesis import strategies as st

from aiauto import objective
from aiauto.errors import ArgumentTypeError, ArgumentValueError, ObjectiveError
from aiauto.local_modules import is_local

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

# Numbers stand in for trials here.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
pack: Any = objective.pack
unpack: Any = objective.unpack

FACTOR = 3
LOCK = threading.Lock()


def by_module(trial: Any) -> Any:
    return trial * FACTOR


def uses_lock(trial: Any) -> Any:
    with LOCK:
        return trial


def calls_what_uses_lock(trial: Any) -> Any:
    return uses_lock(trial)


def with_default(trial: Any, lock: Any = LOCK) -> Any:
    return trial, lock


ANY_MODULE_FUNCTION: Any = by_module


class Model:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, trial: Any) -> Any:
        return trial * self.factor

    def method(self, trial: Any) -> Any:
        return trial + self.factor


ARRIVAL = """
import sys, traceback
from aiauto_gen.aiauto import v1
from aiauto.objective import unpack
from aiauto.runner import user_modules
payload = v1.ObjectivePayload.parse(sys.stdin.buffer.read())
function = unpack(payload)
user_modules.enter(payload.pickled)
try:
    print(repr(function(int(sys.argv[1]))))
except Exception:
    sys.exit(traceback.format_exc())
"""


def run(payload: v1.ObjectivePayload, folder: Path, argument: int = 2) -> Any:
    """Run an objective in a new process, in a folder from which nothing local can be imported."""
    done = arrive(payload, folder, argument)
    assert done.returncode == 0, done.stderr.decode()
    return eval(done.stdout)  # noqa: S307 - what repr wrote


def arrive(
    payload: v1.ObjectivePayload, folder: Path, argument: int = 2
) -> subprocess.CompletedProcess[bytes]:
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", ARRIVAL, str(argument)],
        input=bytes(payload),
        capture_output=True,
        cwd=empty,
        check=False,
    )


def sent_by(script: str, folder: Path, **files: str) -> v1.ObjectivePayload:
    """Write a script and local modules, and let the script send `objective`."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    code = textwrap.dedent(script) + (
        "\nimport sys\nfrom aiauto.objective import pack\n"
        "sys.stdout.buffer.write(bytes(pack(objective)))\n"
    )
    (folder / "script.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return v1.ObjectivePayload.parse(done.stdout)


def closure(offset: int) -> Callable[[Any], float]:
    def inner(trial: Any) -> Any:
        return by_module(trial) + offset

    return inner


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (by_module, 6),
        (lambda trial: trial + FACTOR, 5),
        (closure(10), 16),
        (Model(4), 8),
        (Model(4).method, 6),
        (functools.partial(lambda factor, trial: factor * trial, 5), 10),
        (abs, 2),
    ],
    ids=["function", "lambda", "closure", "object", "method", "partial", "builtin"],
)
def test_whatever_can_be_called_goes_over(function: Any, expected: float, tmp_path: Path) -> None:
    payload = pack(function)
    assert run(payload, tmp_path) == expected
    assert payload.objective_name
    assert unpack(payload)(2) == expected


def test_local_modules_go_along(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import helpers
        import package.models as models
        from package.constants import ONE
        def objective(trial):
            return helpers.triple(trial) + models.Model().two() + ONE
        """,
        tmp_path,
        helpers="""
            import threading
            from package import constants
            lock = threading.Lock()  # can't travel, and need not
            def locked():
                with lock:
                    return 0
            def triple(x):
                return 3 * x * constants.ONE
            """,
        package____init__="from . import constants",
        package__constants="ONE = 1",
        package__models="""
            from . import constants
            class Base:
                def two(self):
                    return 2
            class Model(Base):
                def two(self):
                    return super().two() * constants.ONE
            """,
    )
    assert run(payload, tmp_path) == 9


def test_local_modules_that_are_imported_inside_go_along(tmp_path: Path) -> None:
    payload = sent_by(
        """
        def objective(trial):
            import outer
            from package.deep import value
            from package import lazy
            return outer.f(trial) + value() + lazy.LAZY
        """,
        tmp_path,
        # Neither needs what it imports to be installed where the script runs.
        outer="""
            import inner
            try:
                import surely_not_installed
            except ImportError:
                pass
            def f(x):
                return inner.g(x)
            """,
        inner="def g(x):\n    from package.deep import value\n    return x + value()",
        package____init__="",
        package__deep="from .constants import TEN\ndef value():\n    return TEN",
        package__constants="TEN = 10",
        package__lazy="LAZY = 100",
    )
    assert run(payload, tmp_path) == 122


def test_plain_pickle_finds_what_came_of_a_module(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import pickle
        from models import Model, twice
        from package.deep.layers import Layer
        def objective(trial):
            # The one in C, and the one in Python, which imports modules in a way of its own.
            for dumps in (pickle.dumps, pickle._dumps):
                model, layer, function = pickle.loads(dumps((Model(), Layer(), twice)))
                assert (type(model), type(layer), function) == (Model, Layer, twice)
            return function(trial)
        """,
        tmp_path,
        models="""
            import threading
            lock = threading.Lock()
            class Model: pass
            def twice(x):
                return 2 * x
            """,
        package____init__="",
        package__deep____init__="",
        package__deep__layers="class Layer: pass",
    )
    assert run(payload, tmp_path) == 4


def test_nothing_that_came_is_imported_but_by_a_worker() -> None:
    before = list(sys.meta_path), sys.modules["__main__"]
    assert unpack(pack(Model(4)))(2) == 8
    assert (sys.meta_path, sys.modules["__main__"]) == before


def test_the_rest_of_a_module_is_said_not_to_have_come(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import importlib
        from models import twice
        def objective(trial):
            return twice(trial) + importlib.import_module("models").THREE
        """,
        tmp_path,
        models="THREE = 3\ndef twice(x):\n    return 2 * x\n",
    )
    done = arrive(payload, tmp_path)
    assert b"models.THREE did not come to the worker" in done.stderr
    assert b"Write `import models` inside the objective" in done.stderr


def test_parts_take_their_places_in_what_a_worker_has_itself(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import importlib
        import inspect
        import pickle
        from models import twice
        def objective(trial):
            assert pickle.loads(pickle.dumps(twice)) is twice
            here = importlib.import_module("models")
            assert inspect.getsource(here).startswith("THREE = 30")
            return here.twice(trial) + here.THREE
        """,
        tmp_path,
        models="THREE = 3\ndef twice(x):\n    return 2 * x\n",
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "models.py").write_text("THREE = 30\ntwice = None\n", encoding="utf-8")
    assert run(payload, tmp_path) == 34


def test_a_namespace_package_that_a_worker_has_stays_open(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import importlib
        import pickle
        from space.models import Model
        def objective(trial):
            assert type(pickle.loads(pickle.dumps(Model()))) is Model
            return importlib.import_module("space.other").TEN * trial
        """,
        tmp_path,
        space__models="class Model: pass",
    )
    (tmp_path / "empty" / "space").mkdir(parents=True)
    (tmp_path / "empty" / "space" / "other.py").write_text("TEN = 10\n", encoding="utf-8")
    assert run(payload, tmp_path) == 20


def test_an_imported_module_arrives_as_it_is_now(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import settings
        settings.RATE = 7
        def objective(trial):
            import settings as inside
            return trial * settings.RATE + (inside is settings)
        """,
        tmp_path,
        settings="RATE = 1",
    )
    assert run(payload, tmp_path) == 15


def test_a_project_installed_in_place_goes_along(tmp_path: Path) -> None:
    project = tmp_path / "elsewhere"
    project.mkdir()
    (project / "theirs.py").write_text("def f(x):\n    return x * 11\n", encoding="utf-8")
    payload = sent_by(
        f"""
        import sys
        sys.path.append({str(project)!r})  # as the .pth file of `pip install -e` does
        from theirs import f
        def objective(trial):
            return f(trial)
        """,
        tmp_path,
    )
    assert run(payload, tmp_path) == 22


def test_what_is_installed_goes_by_name(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "theirs-1.0.dist-info").mkdir(parents=True)
    (target / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (target / "theirs-1.0.dist-info" / "RECORD").write_text("theirs.py,,\n")
    (target / "theirs.py").write_text("def f(x):\n    return x\n", encoding="utf-8")
    payload = sent_by(
        f"import sys\nsys.path.append({str(target)!r})\n"
        "from theirs import f\ndef objective(trial):\n    return f(trial)\n",
        tmp_path,
    )
    done = arrive(payload, tmp_path)
    assert b"needs the module 'theirs'" in done.stderr
    assert b"requirements_list" in done.stderr


def test_tracebacks_show_lines_that_the_worker_does_not_have(tmp_path: Path) -> None:
    payload = sent_by(
        """
        import helpers
        def objective(trial):
            return helpers.fail(trial)
        TOKEN = "a secret of the script"
        """,
        tmp_path,
        helpers='def fail(x):\n    raise ValueError(f"no {x}")  # here\n',
    )
    (tmp_path / "script.py").unlink()
    (tmp_path / "helpers.py").unlink()
    text = arrive(payload, tmp_path).stderr.decode()
    assert "    return helpers.fail(trial)" in text
    assert "# here" in text
    # Only the lines of functions travel.
    assert b"secret" not in bytes(payload)


def test_source_text_goes_along() -> None:
    assert pack(by_module).source_code.startswith("def by_module")
    assert pack(Model(1)).source_code.startswith("class Model")
    assert pack(Model(1).method).source_code.lstrip().startswith("def method")
    assert pack(functools.partial(by_module)).source_code.startswith("def by_module")
    assert pack(functools.partial(by_module)).objective_name == "by_module"
    assert pack(abs).source_code == ""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def typed(trial):\n    return 1", namespace)  # noqa: S102
    assert pack(namespace["typed"]).source_code == ""
    assert {"cloudpickle", "optuna"} <= pack(by_module).package_versions.keys()


@pytest.mark.parametrize("given", [None, 3, "objective", [by_module]])
def test_what_can_not_be_called_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="objective must be a function"):
        pack(given)


def lock_holder() -> Callable[[Any], float]:
    connection = {"deep": [threading.Lock()]}
    return lambda trial: len(connection) + trial


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (uses_lock, "`LOCK` (a lock; uses_lock -> LOCK)"),
        (calls_what_uses_lock, "`LOCK` (a lock; calls_what_uses_lock -> uses_lock -> LOCK)"),
        (lock_holder(), "`[0]` (a lock; objective -> connection -> ['deep'] -> [0])"),
        (
            functools.partial(ANY_MODULE_FUNCTION, lock=threading.Lock()),
            "`argument lock` (a lock; objective -> argument lock)",
        ),
        (
            Model(threading.Lock()),  # type: ignore[arg-type]
            "`Model.factor` (a lock; objective -> Model.factor)",
        ),
        (
            Model(threading.Lock()).method,  # type: ignore[arg-type]
            "`Model.factor` (a lock; method -> Model object -> Model.factor)",
        ),
        (with_default, "`default of lock` (a lock; with_default -> default of lock)"),
    ],
)
def test_what_can_not_travel_is_named(function: Any, name: str) -> None:
    with pytest.raises(ArgumentValueError, match=r"can't travel to the workers") as caught:
        pack(function)
    assert name in str(caught.value)
    assert caught.value.argument == "objective"


@contextlib.contextmanager
def stranded(kind: str, folder: Path) -> Generator[Any]:
    """Something that can't leave its process."""
    if kind == "socket":
        with socket.socket() as sock:
            yield sock
    elif kind in {"wb", "w", "rb"}:
        (folder / "file").touch()
        with (folder / "file").open(kind) as file:
            yield file
    elif kind == "generator":
        yield (one for one in "abc")
    elif kind == "thread":
        yield threading.Thread(target=print)
    elif kind == "database":
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            yield connection
    elif kind == "event loop":
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            yield loop
    elif kind == "executor":
        with ThreadPoolExecutor(1) as pool:
            yield pool
    elif kind == "process":
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            yield process
    else:
        yield getattr(threading, kind)()


@pytest.mark.parametrize(
    "kind",
    [
        *("socket", "w", "wb", "rb", "generator", "thread", "database", "event loop", "executor"),
        *("process", "Lock", "RLock", "Condition", "Event", "local"),
    ],
)
def test_what_belongs_to_a_process_is_named(kind: str, tmp_path: Path) -> None:
    with stranded(kind, tmp_path) as stuck:

        def helper() -> Any:
            return stuck

        def objective(trial: Any) -> Any:
            return trial, helper()

        with pytest.raises(ArgumentValueError, match=r"Make it inside the function") as caught:
            pack(objective)
    assert "objective -> helper -> stuck" in str(caught.value)
    assert type(stuck).__name__ in str(caught.value)


def test_a_big_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "MAX_PICKLED_BYTES", 2**20)
    data = bytes(range(256)) * 2**13
    with pytest.raises(ArgumentValueError, match=r"`data` \(a bytes.* takes 2.0 MiB.*Load data"):
        pack(lambda trial: trial + len(data))
    rows = {"train": [data, 1], "test": [b"small"]}

    def helper() -> int:
        return len(rows)

    with pytest.raises(
        ArgumentValueError, match=r"-> helper -> rows -> \['train'\] -> \[0\]\) alone"
    ):
        pack(lambda trial: trial + helper())
    # Where many small ones do it together, the innermost that holds them is named.
    many = [bytes([number]) * 2**16 for number in range(32)]
    with pytest.raises(ArgumentValueError, match=r"`many` \(a list; .*\) alone takes 2\.0 MiB"):
        pack(lambda trial: trial + len(many))


def test_another_python_is_told_before_anything_is_loaded() -> None:
    payload = pack(by_module)
    payload.python_version = "2.7.18"
    payload.pickled = b"never read"
    with pytest.raises(ObjectiveError, match=r"sent from Python 2\.7\.18"):
        unpack(payload)


def test_what_does_not_load_tells_of_other_versions() -> None:
    payload = pack(by_module)
    payload.pickled = b"broken"
    payload.package_versions = {"numpy": "0.1", "optuna": optuna.__version__ + ".post1"}
    payload.requirements_txt = "numpy==0.1"
    with pytest.raises(ObjectiveError, match=r"numpy 0\.1 there.*optuna .*\.post1 there"):
        unpack(payload)


def test_packages_that_do_not_fit_are_told_before_anything_is_loaded() -> None:
    payload = pack(by_module)
    payload.package_versions["optuna"] = "1.2.3"
    payload.pickled = b"never read"
    with pytest.raises(ObjectiveError, match=r"optuna 1\.2\.3 was sent.*'optuna==1\.2\.3'"):
        unpack(payload)


def test_packages_that_are_used_go_along_by_version(tmp_path: Path) -> None:
    def uses_inside(trial: Any) -> Any:
        import psutil

        return psutil.cpu_count(), trial

    def uses_global(trial: Any) -> Any:
        return np.float64(trial)

    def uses_value(trial: Any) -> Any:
        return trial + value

    value = np.ones(3)
    always = {"aiauto-client", "cloudpickle", "optuna"}
    assert pack(by_module).package_versions.keys() == always
    assert pack(uses_inside).package_versions.keys() == always | {"psutil"}
    assert pack(uses_global).package_versions.keys() == always | {"numpy"}
    assert pack(uses_value).package_versions["numpy"] == version("numpy")
    payload = sent_by(
        "import helpers\ndef objective(trial):\n    return helpers.one(trial)\n",
        tmp_path,
        helpers="""
            import yaml
            import numpy as np
            def one(trial):
                return int(np.int64(trial))
            """,
    )
    # PyYAML is in the module, and nothing that was sent uses it.
    assert payload.package_versions.keys() == always | {"numpy"}
    assert run(payload, tmp_path) == 2


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.frozensets(st.integers() | st.text())
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(VALUES, VALUES, st.lists(VALUES, max_size=3), st.dictionaries(st.text(), VALUES))
def test_whatever_a_function_holds_arrives_as_it_was(
    free: Any, default: Any, arguments: list[Any], keywords: dict[str, Any]
) -> None:
    def inner(
        *given: Any, default: Any = default, again: Any = (free, default), **more: Any
    ) -> Any:
        return free, default, again, given, more

    class Holder:
        def __init__(self) -> None:
            self.held = (free, arguments)

        def method(self, trial: Any) -> Any:
            return self.held, inner(trial)

    def ways() -> list[Callable[[Any], Any]]:
        taken = {name for name in keywords if name not in {"default", "again"}}
        return [
            inner,
            lambda trial: (inner(trial), free),
            functools.partial(inner, *arguments, **{name: keywords[name] for name in taken}),
            Holder().method,
        ]

    for way in ways():
        payload = v1.ObjectivePayload.parse(bytes(pack(way)))
        assert unpack(payload)(7) == way(7)


def test_threads_may_send_at_the_same_time(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        payloads = list(pool.map(pack, [closure(number) for number in range(24)]))
    assert [unpack(one)(1) for one in payloads] == [3 + number for number in range(24)]
    assert run(payloads[-1], tmp_path, 1) == 26


def test_what_the_user_registered_stays_registered() -> None:
    here = sys.modules[__name__]
    registry = cloudpickle.cloudpickle.list_registry_pickle_by_value
    pack(by_module)
    assert __name__ not in registry()
    cloudpickle.register_pickle_by_value(here)
    try:
        pack(by_module)
        assert __name__ in registry()
    finally:
        cloudpickle.unregister_pickle_by_value(here)
    with pytest.raises(ArgumentValueError):
        pack(uses_lock)
    assert not {name for name in registry() if name.startswith("tests")}


def test_what_is_local() -> None:
    assert is_local(sys.modules[__name__])
    for module in (os, threading, cloudpickle, pytest, objective, v1, sys, sys.modules["__main__"]):
        assert not is_local(module)
    assert not is_local("os")


class Library:
    """Like the libraries that cffi puts among the modules: says that it is one, and is not."""

    @property
    def __class__(self) -> Any:
        return ModuleType

    @__class__.setter
    def __class__(self, _value: Any) -> None:
        raise TypeError


def test_what_only_says_that_it_is_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = Library()
    assert isinstance(library, ModuleType)
    monkeypatch.setitem(sys.modules, "bindings.lib", library)
    assert not is_local(library)
    assert pack(by_module).pickled
