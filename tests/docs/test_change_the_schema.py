"""What docs/change-the-schema.md tells is done, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aiauto.testing import EmbeddedServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/change-the-schema.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.once


def blocks(kind: str) -> list[str]:
    return [body for name, body in FENCED.findall(PAGE) if name == kind]


def put_before(file: Path, place: str, text: str) -> None:
    content = file.read_text(encoding="utf-8")
    assert content.count(place) == 1
    file.write_text(content.replace(place, text + place), encoding="utf-8")


def run(folder: Path, environment: dict[str, str], *command: str, code: int = 0) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, which is installed already."""
    copy = tmp_path / "project"
    for name in ("aiauto", "gen", "proto", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("buf.yaml", "buf.gen.yaml", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, copy)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


@pytest.mark.timeout(300)
def test_the_five_steps(
    copy: Path, embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    environment = {
        **embedded_environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'gen'}",
    }
    method, messages = blocks("proto")
    answer, call, test = blocks("python")
    (request,) = re.findall(r"^`(.* lambda .*,)`$", PAGE, re.MULTILINE)
    generate, curl = blocks("bash")
    # What it installs is here, and is not to become that of the copy.
    make = ("make", "--old-file=.venv/.dev")

    put_before(
        copy / "proto/aiauto/v1/service.proto", "  // Makes the caller's workspace, or", method
    )
    with (copy / "proto/aiauto/v1/study.proto").open("a", encoding="utf-8") as study:
        study.write("\n" + messages)

    assert generate == "make gen\n"
    run(copy, environment, *make, "gen")

    put_before(
        copy / "aiauto/server/services/study.py", "    async def delete_study(", answer + "\n"
    )

    (copy / "call.py").write_text(call, encoding="utf-8")
    assert run(copy, environment, sys.executable, "call.py") == "['cats-1', 'cats-2']\n"
    (copy / "call.py").unlink()
    reached = {"AIAUTO_BASE_URL": own_server.url, "AIAUTO_TOKEN": own_server.token}
    told = run(copy, {**environment, **reached}, "bash", "-euc", curl)
    assert told == '{"names":["dogs-1"]}'

    new_test = "tests/server/services/test_find_studies.py"
    (copy / new_test).write_text(test, encoding="utf-8")
    pytest_on = ("pytest", "-q", "-n0", "-p", "no:cacheprovider")
    isolation = "tests/server/isolation/test_calls.py"
    known = (f"{isolation}::test_every_call_is_known_here[sqlite]",)
    missing = run(copy, environment, *pytest_on, *known, code=1)
    assert "AIAutoService/FindStudies" in missing
    put_before(
        copy / "tests/server/isolation/house.py",
        '    "AIAutoService/ListTrialBatches": ',
        f"    {request}\n",
    )
    others = f"{isolation}::test_another_user_finds_nothing[sqlite-False]"
    run(copy, environment, *pytest_on, *known, others, new_test)
    # The rest of `make check test` takes minutes.
    run(copy, environment, *make, "lint")
