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


def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_five_steps(
    tmp_path: Path, embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    copy = tmp_path / "project"
    for name in ("aiauto", "gen", "proto"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("buf.yaml", "buf.gen.yaml"):
        shutil.copy(ROOT / name, copy)
    environment = {
        **embedded_environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'gen'}",
    }
    method, messages = blocks("proto")
    answer, call = blocks("python")
    _make, curl = blocks("bash")

    put_before(
        copy / "proto/aiauto/v1/service.proto", "  // Makes the caller's workspace, or", method
    )
    with (copy / "proto/aiauto/v1/study.proto").open("a", encoding="utf-8") as study:
        study.write("\n" + messages)
    for step in (["lint"], ["format", "--diff", "--exit-code"], ["generate"]):
        run(copy, environment, "buf", *step)
    put_before(
        copy / "aiauto/server/services/study.py", "    async def delete_study(", answer + "\n"
    )

    (copy / "call.py").write_text(call, encoding="utf-8")
    assert run(copy, environment, sys.executable, "call.py") == "['cats-1', 'cats-2']\n"
    reached = {"AIAUTO_BASE_URL": own_server.url, "AIAUTO_TOKEN": own_server.token}
    told = run(copy, {**environment, **reached}, "bash", "-euc", curl)
    assert told == '{"names":["dogs-1"]}'
