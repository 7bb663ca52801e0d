"""An objective arrives with the local code that it needs, in a process that has none of it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from aiauto_gen.aiauto import v1

from aiauto import local_code, objective
from aiauto.errors import ArgumentTypeError, ArgumentValueError, ObjectiveError

if TYPE_CHECKING:
    from collections.abc import Callable
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
function = unpack(v1.ObjectivePayload.parse(sys.stdin.buffer.read()))
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


def socket_holder() -> Callable[[Any], float]:
    connection = {"deep": [threading.Lock()]}
    return lambda trial: len(connection) + trial


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (uses_lock, "'LOCK'"),
        (calls_what_uses_lock, "'LOCK' of the variable 'uses_lock'"),
        (socket_holder(), "item 0 of the entry 'deep' of the variable 'connection'"),
        (functools.partial(ANY_MODULE_FUNCTION, lock=threading.Lock()), "the argument 'lock'"),
        (Model(threading.Lock()), "'factor' in the Model"),  # type: ignore[arg-type]
        (Model(threading.Lock()).method, "'factor' in the Model of the object"),  # type: ignore[arg-type]
    ],
)
def test_what_can_not_travel_is_named(function: Any, name: str) -> None:
    with pytest.raises(ArgumentValueError, match=r"can't travel to the workers") as caught:
        pack(function)
    assert name in str(caught.value)
    assert "(a lock)" in str(caught.value)
    assert caught.value.argument == "objective"


def test_a_big_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "MAX_PICKLED_BYTES", 2**20)
    data = bytes(range(256)) * 2**13
    with pytest.raises(ArgumentValueError, match=r"'data' alone takes 2.0 MiB.*Load data inside"):
        pack(lambda trial: trial + len(data))


def test_another_python_is_told_before_anything_is_loaded() -> None:
    payload = pack(by_module)
    payload.python_version = "2.7.18"
    payload.pickled = b"never read"
    with pytest.raises(ObjectiveError, match=r"sent from Python 2\.7\.18"):
        unpack(payload)


def test_what_does_not_load_tells_of_other_versions() -> None:
    payload = pack(by_module)
    payload.pickled = b"broken"
    payload.package_versions = {"optuna": "1.0"}
    with pytest.raises(ObjectiveError, match=r"optuna 1\.0 there"):
        unpack(payload)


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
    assert local_code.is_local(sys.modules[__name__])
    for module in (os, threading, cloudpickle, pytest, objective, v1, sys, sys.modules["__main__"]):
        assert not local_code.is_local(module)
    assert not local_code.is_local("os")
