"""Every code block of docs/ runs, page by page, on a server and workers of the page's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.examples.conftest import STAND_IN, override
from tests.test_notebooks import execute

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"python", "bash", "text"}
NOTEBOOK = "how-to/notebook.md"
# Guides with tests of their own: test_codegen.py.
ELSEWHERE = {"codegen.md", NOTEBOOK}
PROGRAM = "from code_blocks import main; main()"

pytestmark = [pytest.mark.once, pytest.mark.timeout(170)]


def blocks(page: str) -> list[tuple[str, str]]:
    return FENCED.findall((DOCS / page).read_text(encoding="utf-8"))


PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
WITH_CODE = [page for page in PAGES if any(kind in RUN for kind, _ in blocks(page))]


@pytest.fixture
def environment(
    tmp_path: Path, embedded_environment: dict[str, str], gpus: Callable[..., None]
) -> dict[str, str]:
    """As on a machine with two GPUs, on which nothing was set up. PyTorch is a stand-in."""
    gpus("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090")
    return {
        **embedded_environment,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE),
        "UV_OVERRIDE": override(tmp_path, ["torch"], STAND_IN),
        "UV_OFFLINE": "1",
        "AIAUTO_CACHE_DIR": str(tmp_path / "environments"),
    }


@pytest.mark.parametrize("page", [page for page in WITH_CODE if page not in ELSEWHERE])
def test_the_blocks_run(
    page: str,
    tmp_path: Path,
    environment: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(DOCS / page)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = [line.split("\t") for line in done.stdout.splitlines()]
    assert [kind for _, kind, _ in seen] == [kind for kind, _ in blocks(page) if kind in RUN]
    for line, kind, skipped in seen:
        told = f"{page}:{line} ({kind}): {skipped}" if skipped else ""
        record_property("code block", told)


def test_the_notebook_runs(
    tmp_path: Path,
    own_server: object,
    record_property: Callable[[str, object], None],
) -> None:
    cells = [code for kind, code in blocks(NOTEBOOK) if kind == "python"]
    assert len(cells) == len(blocks(NOTEBOOK)) > 5
    execute(tmp_path, *cells)
    for _ in cells:
        record_property("code block", "")
