"""PyTorch for the examples that train with it: a real one where there is one, and a stand-in.

The real one is one that is on the machine, in this Python or in Debian's (python3-torch and
python3-torchvision, 150 MB; the one of the package index brings gigabytes of CUDA). The stand-in
(tests/examples/stand_in) has the same names and shapes, and learns nothing. Of either, workers
install packages that lead to where it is.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STAND_IN = Path(__file__).parent / "stand_in"
LOOK = """
import pathlib, sys, numpy, torch, torchvision
fits = sys.version_info[:2] == {version}
print(fits, numpy.__version__, torch.__version__, pathlib.Path(torch.__file__).parents[1])
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    """Variables with which workers get the stand-in for torch, torchvision and fvcore."""
    names = ("torch", "torchvision", "fvcore")
    return {
        "UV_OVERRIDE": override(tmp_path, names, STAND_IN),
        "UV_OFFLINE": "1",
        # What the same requirements led to elsewhere, without that override, is not meant here.
        "AIAUTO_CACHE_DIR": str(tmp_path / "environments"),
    }


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.once), "stand-in"])
def pytorch(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    stand_in: dict[str, str],
    record_property: Callable[[str, object], None],
) -> dict[str, str]:
    """Variables with which workers get a PyTorch, of each kind in turn."""
    if request.param == "stand-in":
        record_property("PyTorch", "a stand-in")
        return stand_in
    found = next(
        (
            one
            for python in (sys.executable, "/usr/bin/python3")
            if Path(python).exists() and (one := torch_of(python))
        ),
        None,
    )
    if found is None:
        record_property("PyTorch", "no real one: there is none for this Python on this machine")
        pytest.skip("no torch and torchvision for this Python on this machine")
    numpy, version, folder = found
    record_property("PyTorch", version)
    # All else comes from the package index: the numpy that this torch was made with, and fvcore.
    requirements = override(
        tmp_path, ("torch", "torchvision"), folder, requires="numpy", also=f"numpy=={numpy}"
    )
    return {**stand_in, "UV_OVERRIDE": requirements, "UV_OFFLINE": "0"}


def torch_of(python: str) -> tuple[str, str, Path] | None:
    """The version of numpy that a torch was made with, its own, and the folder that it is in."""
    done = subprocess.run(
        [python, "-c", LOOK.format(version=tuple(sys.version_info[:2]))],
        capture_output=True,
        text=True,
        check=False,
    )
    fits, *found = done.stdout.strip().split(" ", 3)
    return (found[0], found[1], Path(found[2])) if fits == "True" else None


def override(
    folder: Path, names: Sequence[str], target: Path, *, requires: str = "", also: str = ""
) -> str:
    """Write requirements for packages that lead to a folder, in place of those of their names.

    Args:
        folder: Where to write.
        names: Names of the packages.
        target: Where they lead to.
        requires: What they require.
        also: A requirement that is added.
    """
    lines = [f"{name} @ {wheel(folder, name, target, requires).as_uri()}" for name in names]
    file = folder / "override.txt"
    file.write_text("\n".join([*lines, also]) + "\n", encoding="utf-8")
    return str(file)


def wheel(folder: Path, name: str, target: Path, requires: str) -> Path:
    """A package that leads to where the real one is."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files = {
        f"{name}_here.pth": f"{target}\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{one},,\n" for one in [*files, f"{info}/RECORD"])
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for one, text in files.items():
            archive.writestr(one, text)
    return file
