"""Absolute paths that lead every worker to its own folders."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aiauto.errors import ArgumentValueError
from aiauto.server.executors import mounts
from aiauto.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not mounts.OWN_FOLDER.exists(), reason="this system has no /proc/self/cwd"
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mnt"
    monkeypatch.setattr(mounts, "MOUNTS", {path: "shared-cache"})
    return path


def test_every_worker_is_led_to_its_own(path: Path, tmp_path: Path) -> None:
    mounts.link_all()
    mounts.link_all()
    for name in ("one", "two"):
        folder = tmp_path / name / "shared-cache"
        folder.mkdir(parents=True)
        (folder / "file").write_text(name)
        found = subprocess.run(
            [sys.executable, "-c", f"print(open({str(path / 'file')!r}).read(), end='')"],
            cwd=folder.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert found.stdout == name


def test_what_is_there_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    with caplog.at_level(logging.WARNING, logger="aiauto.server"):
        mounts.link_all()
    assert path.is_dir()
    assert not path.is_symlink()
    assert "left as it is" in caplog.text


def test_what_can_not_be_made_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="aiauto.server"):
        mounts.link(tmp_path / "gone" / "mnt", "shared-cache")
    assert "can't be linked: No such file" in caplog.text


def test_they_are_made_only_where_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Settings.from_environment().link_mounts
    for answer, asked in (("0", False), ("1", True), ("", False)):
        monkeypatch.setenv("AIAUTO_LINK_MOUNTS", answer)
        assert Settings.from_environment().link_mounts is asked
    monkeypatch.setenv("AIAUTO_LINK_MOUNTS", "yes")
    with pytest.raises(ArgumentValueError, match="AIAUTO_LINK_MOUNTS is 'yes'"):
        Settings.from_environment()
