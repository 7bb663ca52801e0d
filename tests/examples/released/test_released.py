"""Scripts for the released client run unchanged, but for the token."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiauto.testing import EmbeddedServer

pytestmark = pytest.mark.once

TEXT = (Path(__file__).parent / "scripts.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r"^### (.*?)\n\n```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
SHOWN = {
    "quick start": r"\{'study_name': 'my-first-study', .*'trialbatches': \{'my-first-study-.*\}\n"
    r"Best value: \d+\.\d{4}\nBest params: \{'x': \S+, 'y': \S+\}\n",
    "waiting": r"6\nThe trial completed!\nTrue\n",
    "pruning": r"12 True\n",
    "attributes": r"(0\.95 \{'key': 'value'\} True\n){2}",
    "ask and tell": r"(Trial \d completed: value=\d+\.\d{4}\n){5}\{'ask_tell_local'\}\n",
    "arguments": r"(True ){10}True\n",
    "images": r"True 4\n",
    "two objectives": r"4 \d\nTrue\n",
    "the best trial again": r"True True True\n",
    "every combination": r"Value: \d+\.\d{4}\nTotal trials completed: 8\n"
    r"Total combinations: (8|N/A)\nValueError: True True\n",
    "artifacts": r"\[True(, True){4}\]\nTrue\n",
    "shared cache": r"\{'uploaded_files': \['train\.csv'\]\}\n"
    r"\{'uploaded_files': \['(datasets/)?train\.csv', '(datasets/)?test\.csv'\]\}\n"
    r"\[\('datasets/test\.csv', 8\), \('datasets/train\.csv', 8\), \('train\.csv', 8\)\]\n"
    r"\['datasets/test\.csv', 'train\.csv'\]\n"
    r"(True ){5}True\n",
    "errors": r"Timeout: True\nFailed: True\nTrue True\n",
}


def run(name: str, folder: Path, server: EmbeddedServer) -> str:
    script = folder / "script.py"
    script.write_text(SCRIPTS[name].replace("<your-token>", server.token), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=folder,
        env={**os.environ, "AIAUTO_BASE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SHOWN)
def test_scripts(name: str, tmp_path: Path, server: EmbeddedServer) -> None:
    shown = run(name, tmp_path, server)
    assert re.fullmatch(SHOWN[name], shown), shown


def test_gpus(tmp_path: Path, gpus: Callable[..., None], own_server: EmbeddedServer) -> None:
    gpus(*["NVIDIA GeForce RTX 3090"] * 2, *["NVIDIA GeForce RTX 4090"] * 2)
    own_server.data_dir.mkdir()
    own_server.start()
    *lines, last = run("gpus", tmp_path, own_server).splitlines()
    assert set(lines) == {"NVIDIA GeForce RTX 3090 0,1", "NVIDIA GeForce RTX 4090 2,3"}
    assert len(lines) == 4
    assert re.fullmatch("NVIDIA GeForce RTX 4090 [23]", last)


def test_every_script_is_run() -> None:
    assert SCRIPTS.keys() == {*SHOWN, "gpus"}
