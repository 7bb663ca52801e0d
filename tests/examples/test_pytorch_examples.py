"""The examples with PyTorch run as they stand: on real torch and torchvision, on a small image set.

The torch is one that is on the machine, in this Python or in Debian's (python3-torch and
python3-torchvision, 150 MB; the one of the package index brings gigabytes of CUDA). Workers install
a package of that name that leads there. Where there is none the tests say so and are left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[2] / "examples"
LOOK = """
import pathlib, sys, numpy, torch, torchvision
print(sys.version_info[:2] == {version}, numpy.__version__, pathlib.Path(torch.__file__).parents[1])
"""


pytestmark = [pytest.mark.timeout(400), pytest.mark.once]


def torch_of(python: str) -> tuple[str, Path] | None:
    """The version of numpy that a torch was made with, and the folder that it is in."""
    done = subprocess.run(
        [python, "-c", LOOK.format(version=tuple(sys.version_info[:2]))],
        capture_output=True,
        text=True,
        check=False,
    )
    fits, _, found = done.stdout.partition(" ")
    numpy, _, folder = found.strip().partition(" ")
    return (numpy, Path(folder)) if fits == "True" else None


def wheel(folder: Path, name: str, path: Path) -> Path:
    """A package that leads to where the real one is."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}_here.pth": f"{path}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        "Requires-Dist: numpy\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{one},,\n" for one in [*files, f"{info}/RECORD"])
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for one, text in files.items():
            archive.writestr(one, text)
    return file


@pytest.fixture
def environment(
    tmp_path: Path, embedded_environment: dict[str, str], gpus: Callable[..., None]
) -> dict[str, str]:
    """As on a machine with two GPUs (that torch does not find), and with a small image set."""
    found = next(
        (
            one
            for python in (sys.executable, "/usr/bin/python3")
            if Path(python).exists() and (one := torch_of(python))
        ),
        None,
    )
    if found is None:
        pytest.skip("no torch and torchvision for this Python on this machine")
    numpy, folder = found
    gpus("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090")
    wheels = [(name, wheel(tmp_path, name, folder)) for name in ("torch", "torchvision")]
    override = "".join(f"{name} @ {file.as_uri()}\n" for name, file in wheels)
    # All else comes from the package index: the numpy that this torch was made with, and fvcore.
    (tmp_path / "override.txt").write_text(f"{override}numpy=={numpy}\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, str(EXAMPLES / "make_small_cifar10.py"), str(tmp_path / "images")],
        check=True,
    )
    return {
        **embedded_environment,
        "PATH": os.environ["PATH"],
        "UV_OVERRIDE": str(tmp_path / "override.txt"),
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
