"""The server's own code as a wheel."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import uv

import aiauto
from aiauto.server.wheel import NAME, OwnWheel

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import aiauto, aiauto_gen.aiauto.v1, aiauto.runner.__main__
from importlib.metadata import distribution
assert aiauto.__file__.startswith(sys.argv[1]), aiauto.__file__
assert aiauto_gen.aiauto.v1.__file__.startswith(sys.argv[1])
print(distribution("aiauto-client").version)
"""


def test_it_installs_and_is_the_same_version(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    wheel.write_bytes(OwnWheel().content())
    target = tmp_path / "installed"
    subprocess.run(
        [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--offline",
         "--python", sys.executable, "--target", str(target), str(wheel)],
        check=True,
    )  # fmt: skip
    program = [sys.executable, "-c", PROGRAM, str(target)]
    done = subprocess.run(program, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == aiauto.__version__


def test_it_is_made_once() -> None:
    wheel = OwnWheel()
    assert wheel.content() is wheel.content()
    assert wheel.content() == OwnWheel().content()
