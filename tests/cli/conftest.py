"""Running the command: in this process where that is enough, and as a program where it is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

import aiauto
from aiauto.cli import app
from tests import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from aiauto.testing import EmbeddedServer

PROGRAM = [sys.executable, "-m", "aiauto"]
SCRIPT = """\
import threading


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    print(f"trial {trial.number} tries it")
    return x**2


def for_ever(trial):
    print("it began", flush=True)
    threading.Event().wait()


def broken(trial):
    raise ValueError("it is broken")


if __name__ == "__main__":
    raise RuntimeError("the file is imported, and not run")
"""


class Aiauto:
    """The command against the shared server."""

    def __init__(self, environment: dict[str, str], script: Path) -> None:
        self.environment = environment
        self.script = script

    def __call__(self, *arguments: object, code: int = 0, given: str | None = None) -> str:
        """Run it in this process; gives what it printed."""
        result = self._run(*arguments, code=code, given=given)
        return result.stdout if code == 0 else result.stderr

    def printed(self, *arguments: object, code: int = 0) -> str:
        """The same, but what it printed to standard output even where it failed."""
        return self._run(*arguments, code=code).stdout

    def _run(self, *arguments: object, code: int, given: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(one) for one in arguments], input=given)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    def json(self, *arguments: object) -> Any:
        """Run it with --json."""
        return json.loads(self(*arguments, "--json"))

    def at_a_terminal(
        self,
        *arguments: object,
        columns: int = 120,
        answers: Sequence[tuple[str, str]] = (),
        code: int = 0,
    ) -> str:
        """What it prints at a real terminal, where it may ask; without colours."""
        text = terminal.shown(
            [*PROGRAM, *map(str, arguments)],
            columns=columns,
            lines=40,
            environment={**os.environ, **self.environment, "NO_COLOR": "1"},
            answers=answers,
            code=code,
        )
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

    def start(
        self, *arguments: object, stdout: int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        """Start it as a program whose output is piped."""
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def cli(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Aiauto]:
    """The command against the shared server, which the environment names."""
    environment = {"AIAUTO_BASE_URL": server.url, "AIAUTO_TOKEN": server.token}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    script = tmp_path / f"script_{tmp_path.name}.py"
    script.write_text(SCRIPT, encoding="utf-8")
    yield Aiauto(environment, script)
    sys.path[:] = [one for one in sys.path if one != str(tmp_path)]
    sys.modules.pop(script.stem, None)


@pytest.fixture
def started(cli: Aiauto) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs that end with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        processes.append(cli.start(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def done(server: EmbeddedServer) -> aiauto.StudyWrapper:
    """A study with three trials that have ended, the last of which left an artifact."""
    controller = aiauto.AIAutoController(server.token, server.url)
    study = controller.create_study("cli_done")
    optuna_study = study.get_study()
    if not optuna_study.trials:
        study.optimize(_square, n_trials=3, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    return study


def _square(trial: Any) -> float:
    x: float = trial.suggest_float("x", 0, 1)
    print(f"trial {trial.number} tries {x}")
    if trial.number == 2:
        note = aiauto.tmp_cache_dir() / "note.txt"
        note.write_text("kept", encoding="utf-8")
        aiauto.AIAutoController().upload_artifact(trial, note)
    return x**2
