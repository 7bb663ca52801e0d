"""The examples with PyTorch run as they stand, on a small image set: see conftest.py on what."""

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

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.once, pytest.mark.timeout(400)]


@pytest.fixture
def environment(
    tmp_path: Path,
    embedded_environment: dict[str, str],
    gpus: Callable[..., None],
    pytorch: dict[str, str],
) -> dict[str, str]:
    """As on a machine with two GPUs (that torch does not find), and with a small image set."""
    gpus("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090")
    subprocess.run(
        [sys.executable, str(EXAMPLES / "make_small_cifar10.py"), str(tmp_path / "images")],
        check=True,
    )
    return {
        **embedded_environment,
        **pytorch,
        "PATH": os.environ["PATH"],
        "EXAMPLE_CIFAR10": str(tmp_path / "images"),
        "EXAMPLE_TRIALS": "2",
        "EXAMPLE_EPOCHS": "10",
    }


def run(name: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_objective(environment: dict[str, str]) -> None:
    shown = run("pytorch_cifar10.py", environment)
    assert "Best of 2 trials: number " in shown
    assert re.search(r"value  \d", shown)
    assert "'epochs': 10" in shown
    assert "on     NVIDIA GeForce RTX 3090" in shown


def test_two_objectives(environment: dict[str, str]) -> None:
    shown = run("pytorch_multi_objective.py", environment)
    assert "The best of 2 trials:" in shown
    # What the layers of the network take, counted by hand:
    # 28² · 6 · 3 · 5² + 10² · 16 · 6 · 5² + 400 · 120 + 120 · 84 + 84 · 10
    assert re.search(r"number \d: loss \S+, 651720 operations, \{'learning_rate'", shown)
