"""The examples with which this library was first described run as they stand, but for the token."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aiauto

if TYPE_CHECKING:
    from aiauto.testing import EmbeddedServer

TEXT = (Path(__file__).parent / "seed.ko.txt").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### (\d)\. .*?```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


def run(script: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("number", ["1", "4"])
def test_with_a_token(number: str, tmp_path: Path, server: EmbeddedServer) -> None:
    assert EXAMPLES[number].count("'<token>'") == 1
    script = tmp_path / "seed.py"
    script.write_text(EXAMPLES[number].replace("<token>", server.token), encoding="utf-8")
    done = run(script, {**os.environ, "AIAUTO_BASE_URL": server.url})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

    ac = aiauto.AIAutoController(server.token, server.url)
    if number == "1":
        study = ac.create_study("simple_optimization", "minimize")
        assert study.wait(timeout=120)
        status = study.get_status()
        assert (status["count_total"], status["count_succeeded"]) == (100, 100)
        assert study.best_trial.params.keys() == {"x", "y"}
    else:
        study = ac.create_study("test", "minimize")
        (trial,) = study.get_study().trials
        x, y = trial.params["x"], trial.params["y"]
        assert trial.value == (x - 2) ** 2 + (y - 3) ** 2
        assert trial.user_attrs["trialbatch_name"] == "ask_tell_local"


def test_without_a_token(tmp_path: Path, embedded_environment: dict[str, str]) -> None:
    script = tmp_path / "seed.py"
    script.write_text(EXAMPLES["4"].replace("'<token>'", ""), encoding="utf-8")
    done = run(script, embedded_environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_token_that_was_not_filled_in(tmp_path: Path, server: EmbeddedServer) -> None:
    script = tmp_path / "seed.py"
    script.write_text(EXAMPLES["1"], encoding="utf-8")
    done = run(script, {**os.environ, "AIAUTO_BASE_URL": server.url})
    assert done.returncode != 0
    assert "put your own token there" in done.stderr
