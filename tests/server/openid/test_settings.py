"""By which issuer people log in: what the environment says, and what is refused before a start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aiauto.errors import ArgumentValueError
from aiauto.server.openid.admission import Admission
from aiauto.server.openid.settings import OpenIdSettings
from aiauto.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "do-not-tell"
ISSUER = "https://login.example.org/realms/lab"
WITHOUT_THE_EXTRA = """
import sys
sys.modules["joserfc"] = None
from aiauto.cli import main
sys.argv[1:] = ["serve", "--port", "0"]
main()
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AIAUTO_OIDC_ISSUER", ISSUER)
    monkeypatch.setenv("AIAUTO_OIDC_CLIENT_ID", "aiauto")
    monkeypatch.setenv("AIAUTO_OIDC_CLIENT_SECRET", SECRET)
    return monkeypatch


def test_none_unless_somebody_says_so() -> None:
    assert Settings.from_environment().openid is None


def test_the_environment(environment: pytest.MonkeyPatch) -> None:
    found = Settings.from_environment().openid
    assert found is not None
    assert (found.issuer, found.client_id, found.client_secret) == (ISSUER, "aiauto", SECRET)
    assert found.scopes == ("openid", "profile", "email")
    assert found.admission == Admission()
    assert found.shown_name == "login.example.org"
    assert SECRET not in repr(found) + str(found) + repr(Settings.from_environment())
    environment.setenv("AIAUTO_OIDC_SCOPES", "openid, groups email")
    environment.setenv("AIAUTO_OIDC_ALLOWED", "*@example.org, groups=lab")
    environment.setenv("AIAUTO_OIDC_NAME", " 연구실 ")
    found = OpenIdSettings.from_environment()
    assert found is not None
    assert found.scopes == ("openid", "groups", "email")
    assert found.admission.domains == {"example.org"}
    assert found.shown_name == "연구실"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIAUTO_OIDC_ISSUER", ""),
        ("AIAUTO_OIDC_ISSUER", "login.example.org"),
        ("AIAUTO_OIDC_ISSUER", "http://login.example.org"),
        ("AIAUTO_OIDC_ISSUER", "http://127.0.0.1.example.org"),
        ("AIAUTO_OIDC_ISSUER", "https://login.example.org?realm=lab"),
        ("AIAUTO_OIDC_ISSUER", "https://login.example.org/#lab"),
        ("AIAUTO_OIDC_ISSUER", "https://ada:secret@login.example.org"),
        ("AIAUTO_OIDC_ISSUER", "https://login.example.org:port"),
        ("AIAUTO_OIDC_ISSUER", "https://" + "x" * 300),
        ("AIAUTO_OIDC_CLIENT_ID", ""),
        ("AIAUTO_OIDC_CLIENT_SECRET", ""),
        ("AIAUTO_OIDC_CLIENT_SECRET", f"{SECRET}\n{SECRET}"),
        ("AIAUTO_OIDC_SCOPES", "email profile"),
        ("AIAUTO_OIDC_ALLOWED", "everybody"),
        ("AIAUTO_OIDC_NAME", "x" * 61),
        ("AIAUTO_OIDC_NAME", "a\nb"),
    ],
)
def test_what_can_not_work_is_refused(
    environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(ArgumentValueError, match=variable) as caught:
        Settings.from_environment()
    assert caught.value.argument == variable
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("issuer", ["http://localhost:8080/realms/lab", "http://[::1]:8080"])
def test_an_issuer_of_this_machine_may_go_without_encryption(
    environment: pytest.MonkeyPatch, issuer: str
) -> None:
    environment.setenv("AIAUTO_OIDC_ISSUER", issuer)
    assert OpenIdSettings.from_environment() is not None


def test_people_must_find_back(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    openid = OpenIdSettings.from_environment()
    with pytest.raises(ArgumentValueError, match="AIAUTO_PUBLIC_URL=https://") as caught:
        Settings(data_dir=tmp_path, host="10.0.0.1", plain_http=True, openid=openid)
    assert caught.value.argument == "public_url"
    Settings(data_dir=tmp_path, openid=openid)
    Settings(data_dir=tmp_path, host="10.0.0.1", public_url="https://lab.example", openid=openid)


def test_without_the_extra_it_does_not_start(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("AIAUTO_DATA_DIR", str(tmp_path / "data"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert 'pip install "aiauto-client[oidc]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


def test_certificates_that_can_not_be_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("AIAUTO_CA_BUNDLE", str(tmp_path / "missing.pem"))
    done = subprocess.run(
        [sys.executable, "-m", "aiauto", "serve", "--port", "0", "--data-dir", str(tmp_path / "d")],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "AIAUTO_CA_BUNDLE" in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
