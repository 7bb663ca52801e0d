"""What an IDE shows of the installed package: right types, and mistakes where there are some."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONSUMER, MISTAKES = "consumer.py", "mistakes.py"
CHECKERS = ("mypy", "pyright")
MARK = re.compile(r"# MISTAKE: .+ \[([a-z-]+), (report\w+)\]$")
# A checker reads all of Optuna: minutes where a lot runs beside it. In one group, so that each
# reads it once.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("types"),
    pytest.mark.once,
]

# File and line -> what is wrong there, and the checker's name for it.
Reports: TypeAlias = "dict[tuple[str, int], dict[str, str]]"


def run(
    *command: str | Path, cwd: Path, first: Sequence[Path] = (), ends_with: Sequence[int] = (0,)
) -> str:
    """Runs a command.

    Args:
        command: It.
        cwd: Where. Outside the checkout, so that nothing of it is found in place of the package.
        first: Folders to look for programs in first.
        ends_with: Exit statuses that are as they should be.

    Returns:
        What it printed to standard output.
    """
    folders = [*first, Path(sys.executable).parent, os.environ["PATH"]]
    path = os.pathsep.join(str(folder) for folder in folders)
    program = shutil.which(command[0], path=path)
    assert program, f"{command[0]} is missing: install the dependency group 'check'"
    environment = {**os.environ, "PATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    # Each would show the checkout to a checker.
    for name in ("MYPYPATH", "PYTHONPATH"):
        environment.pop(name, None)
    done = subprocess.run(
        [program, *command[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode in ends_with, done.stdout + done.stderr
    return done.stdout


def is_editable() -> bool:
    origin = importlib.metadata.distribution("aiauto-client").read_text("direct_url.json")
    return bool(json.loads(origin or "{}").get("dir_info", {}).get("editable"))


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python in which the wheel is installed: this one, or in a checkout one of its own."""
    if not is_editable():
        return Path(sys.executable)
    root = tmp_path_factory.mktemp("installed")
    run("uv", "build", "--quiet", "--wheel", "--out-dir", "dist", ROOT, cwd=root)
    run("uv", "venv", "--quiet", "--python", sys.executable, "venv", cwd=root)
    found = root / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (wheel,) = root.glob("dist/*.whl")
    run("uv", "pip", "install", "--quiet", "--python", found, wheel, cwd=root)
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's files and settings."""
    folder = tmp_path_factory.mktemp("consumer")
    for name in (CONSUMER, MISTAKES):
        shutil.copyfile(HERE / name, folder / name)
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\n")
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    return folder


def mypy(python: Path, folder: Path) -> Reports:
    # A cache of its own: another one may know the package as it was.
    options = ("--python-executable", python, "--cache-dir", folder / "cache", "--output", "json")
    printed = run("mypy", *options, CONSUMER, MISTAKES, cwd=folder, ends_with=(0, 1))
    reports: Reports = defaultdict(dict)
    for line in printed.splitlines():
        one: dict[str, Any] = json.loads(line)
        if one["severity"] == "error":
            reports[one["file"], one["line"]][one["code"]] = one["message"]
    return reports


def pyright(python: Path, folder: Path) -> Reports:
    options = ("--pythonpath", python, "--outputjson")
    printed = run("pyright", *options, CONSUMER, MISTAKES, cwd=folder, ends_with=(0, 1))
    reports: Reports = defaultdict(dict)
    for one in json.loads(printed)["generalDiagnostics"]:
        line = one["range"]["start"]["line"] + 1
        reports[Path(one["file"]).name, line][one.get("rule", "")] = one["message"]
    return reports


@pytest.fixture(scope="session", params=CHECKERS)
def checked(request: pytest.FixtureRequest, python: Path, folder: Path) -> tuple[str, Reports]:
    """A checker, and what it reports about both files."""
    return request.param, (mypy if request.param == "mypy" else pyright)(python, folder)


def test_right_code_is_right(checked: tuple[str, Reports]) -> None:
    _, reports = checked
    assert {line: found for (file, line), found in reports.items() if file == CONSUMER} == {}


def test_mistakes_are_seen(checked: tuple[str, Reports]) -> None:
    checker, reports = checked
    marked = 0
    wrong: list[str] = []
    for number, line in enumerate((HERE / MISTAKES).read_text(encoding="utf-8").splitlines(), 1):
        found = reports.get((MISTAKES, number), {})
        mark = MARK.search(line)
        assert mark or "MISTAKE" not in line, f"line {number}: the mark is not complete"
        if mark:
            marked += 1
        expected = mark[1 + CHECKERS.index(checker)] if mark else None
        # On a line that is marked, what follows from the mistake may be reported too.
        if expected not in found if expected else found:
            wrong.append(f"{number}: {line.strip()}\n    {checker} reports {found or 'nothing'}")
    assert not wrong, "\n".join(wrong)
    assert marked > 50


@pytest.mark.parametrize("package", ["aiauto", "aiauto_gen"])
def test_every_public_type_is_known(python: Path, tmp_path: Path, package: str) -> None:
    # It asks the first Python on the path where the package is, whatever else it is told.
    options = ("--verifytypes", package, "--ignoreexternal", "--outputjson")
    printed = run("pyright", *options, cwd=tmp_path, first=[python.parent], ends_with=(0, 1))
    report = json.loads(printed)["typeCompleteness"]
    unknown = [
        (one["name"], [problem["message"] for problem in one["diagnostics"]])
        for one in report["symbols"]
        if one["isExported"] and not one["isTypeKnown"]
    ]
    assert unknown == []
    assert report["completenessScore"] == 1
    # The installed package was looked at, and not another one.
    installed = run(python, "-c", f"import {package}; print({package}.__path__[0])", cwd=tmp_path)
    assert Path(report["pyTypedPath"]).parent.samefile(installed.strip())
