"""The examples with which this library was first described run, but for the token and two slips."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiauto

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiauto.testing import EmbeddedServer

TEXT = (Path(__file__).parent / "seed.ko.txt").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### (\d)\. .*?```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


def run(
    script: Path, environment: dict[str, str], *, warnings: str = "error"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", warnings, script.name],
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


def mended(code: str) -> str:
    """The example without its slips: `forward` belongs to the class, and `transform` can be called.

    And shorter: with eight trials in place of a hundred.
    """
    head, begin, rest = code.partition("    def forward(self, x):\n")
    body, end, tail = rest.partition("        return x")
    assert begin
    assert end
    indented = "".join(f"    {line}\n" for line in f"{begin}{body}{end}".splitlines())
    code = head + indented.rstrip("\n") + tail
    assert code.count("transform=[") == 2
    code = re.sub(
        r"transform=\[(.*?)^        \],",
        r"transform=transforms.Compose([\1]),",
        code,
        flags=re.MULTILINE | re.DOTALL,
    )
    assert code.count("n_trials=100") == 1
    return code.replace("n_trials=100", "n_trials=8")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.once
@pytest.mark.parametrize("number", ["2", "3"])
def test_with_gpus_and_pytorch(
    number: str,
    tmp_path: Path,
    own_server: EmbeddedServer,
    gpus: Callable[..., None],
    stand_in: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus(*["NVIDIA GeForce RTX 3090"] * 4)
    for name, value in stand_in.items():
        monkeypatch.setenv(name, value)
    own_server.data_dir.mkdir()
    own_server.start()
    script = tmp_path / "seed.py"
    code = mended(EXAMPLES[number]).replace("<token>", own_server.token)
    script.write_text(code, encoding="utf-8")
    # Optuna warns of its pruner: it is experimental.
    done = run(script, {**os.environ, "AIAUTO_BASE_URL": own_server.url}, warnings="default")
    assert done.returncode == 0, done.stderr

    ac = aiauto.AIAutoController(own_server.token, own_server.url)
    definitions: dict[str, dict[str, Any]] = {
        "2": {
            "study_name": "pytorch_optimization",
            "direction": "minimize",
            "pruner": {
                "cls": "PatientPruner",
                "kwargs": {"wrapped_pruner": {"cls": "MedianPruner"}, "patience": 4},
            },
        },
        "3": {"study_name": "pytorch_multiple_optimization", "directions": ["minimize"] * 2},
    }
    study = ac.create_study(**definitions[number])
    assert study.wait(timeout=120)
    status = study.get_status()
    assert status["count_total"] == status["count_completed"] == 8
    assert (status["count_failed"], status["last_error"]) == (0, "")
    names = {"learning_rate", "momentom", "batch_size", "epochs"}
    for trial in study.trials:
        assert trial.params.keys() == names
        assert trial.user_attrs["gpu_name"] == "NVIDIA GeForce RTX 3090"
        if number == "2":
            assert len(trial.intermediate_values) >= 10
        else:
            assert trial.values[1] == 651720


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


# Two more things that it was described with: how to see from code that all is done, and an
# objective in a file that a notebook cell has written.
STATUS_LOOP = """\
import time

import aiauto
from my_objective import objective


def sleep(seconds):
    time.sleep(seconds / 100)


ac = aiauto.AIAutoController('<token>')
study_wrapper = ac.create_study(
    study_name='{name}',
    direction='maximize',  # or 'minimize'
)
study_wrapper.optimize(
    objective=objective,
    n_trials=4,
    parallelism=2,
    use_gpu=False,
    runtime_image=aiauto.RUNTIME_IMAGES[0],
)
while study_wrapper.get_status()['count_completed'] < study_wrapper.get_status()['count_total']:
    sleep(10)  # 10초 마다 한 번 씩
print(study_wrapper.get_status())
"""
OBJECTIVE = """\
import aiauto
import optuna

def objective(trial: optuna.trial.Trial):
    \"\"\"
    이 함수는 외부 서버에서 실행됩니다.
    모든 import는 함수 내부에 작성하세요.
    \"\"\"
    import json  # 함수 내부에서 import

    x = trial.suggest_float('x', -10, 10)
    y = trial.suggest_float('y', -10, 10)
    return (x - 2) ** 2 + (y - 3) ** 2
"""


def test_a_loop_over_the_status_of_an_objective_in_a_file(
    tmp_path: Path, server: EmbeddedServer, study_name: str
) -> None:
    (tmp_path / "my_objective.py").write_text(OBJECTIVE, encoding="utf-8")
    script = tmp_path / "seed.py"
    text = STATUS_LOOP.replace("<token>", server.token).replace("{name}", study_name)
    script.write_text(text, encoding="utf-8")
    done = run(script, {**os.environ, "AIAUTO_BASE_URL": server.url})
    assert done.returncode == 0, done.stderr
    status = ast.literal_eval(done.stdout)
    assert (
        status.items()
        >= {
            "study_name": study_name,
            "count_active": 0,
            "count_succeeded": 4,
            "count_pruned": 0,
            "count_failed": 0,
            "count_total": 4,
            "count_completed": 4,
            "last_error": "",
        }.items()
    )
    assert {"dashboard_url", "updated_at"} <= status.keys()
