"""The pictures of the documentation can be taken anew: `make pictures`, into another folder."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.browser.conftest import CHROMIUM

pictures = pytest.importorskip("tools.site.pictures")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COMMITTED = {one.name for one in (DOCS / "pictures").iterdir()}


def test_those_that_are_shown_are_those_that_are_taken() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    shown = set(re.findall(r"\]\((?:\.\./)?pictures/([\w.]+)\)", pages))
    assert shown == COMMITTED == pictures.ALL


def test_they_are_taken(tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    done = subprocess.run(
        [sys.executable, "-m", "tools.site.pictures", tmp_path, "--chromium", CHROMIUM],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {one.name for one in tmp_path.iterdir()} == COMMITTED
    for taken in tmp_path.iterdir():
        committed = DOCS / "pictures" / taken.name
        assert width(taken) == width(committed), taken.name
    drawn = "".join(ET.parse(tmp_path / pictures.PROGRESS).getroot().itertext())  # noqa: S314 - ours
    assert "tutorial:" in drawn.replace("\xa0", " ")


def width(picture: Path) -> str:
    """How wide a picture is."""
    if picture.suffix == ".svg":
        return ET.parse(picture).getroot().attrib["viewBox"].split()[2]  # noqa: S314 - ours
    header = picture.read_bytes()[:24]
    assert header[1:4] == b"PNG"
    return str(struct.unpack(">I", header[16:20])[0])
