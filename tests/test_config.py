"""Which server is meant."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import aiauto
from aiauto import config, connection
from aiauto.errors import ArgumentError, ArgumentTypeError, ArgumentValueError

LOCAL = "http://127.0.0.1:8787"
OPENSSL = shutil.which("openssl")


def test_neither_token_nor_address_means_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_DATA_DIR", "/somewhere/data")
    assert config.resolve() == config.Embedded(Path("/somewhere/data"))


def test_a_token_alone_means_the_hosted_service() -> None:
    hosted = "https://dashboard.aiauto.pangyo.ainode.ai"
    assert config.resolve("a-token") == config.Remote(hosted, "a-token")


def test_the_environment_stands_in_for_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_TOKEN", "from-environment")
    assert config.resolve() == config.Remote(config.HOSTED_URL, "from-environment")
    monkeypatch.setenv("AIAUTO_BASE_URL", LOCAL + "/")
    assert config.resolve() == config.Remote(LOCAL, "from-environment")
    assert config.resolve("argument") == config.Remote(LOCAL, "argument")
    assert config.resolve("argument", "https://a.example/x/") == config.Remote(
        "https://a.example/x", "argument"
    )


def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_TOKEN", "")
    monkeypatch.setenv("AIAUTO_BASE_URL", "")
    assert isinstance(config.resolve(), config.Embedded)


def test_an_address_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentValueError, match=r"base_url names .* AIAUTO_TOKEN") as caught:
        config.resolve(base_url=LOCAL)
    assert caught.value.argument == "token"
    monkeypatch.setenv("AIAUTO_BASE_URL", LOCAL)
    with pytest.raises(ArgumentValueError, match="AIAUTO_BASE_URL names the server"):
        config.resolve()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8787",
        "localhost",
        "ftp://a.example",
        "http://",
        "http://a.example:port",
        "http://a.example:0",
        "http://[::1",
        "http://user@a.example",
        "http://a.example/?x=1",
        "",
        "500Mi",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ArgumentValueError, match=r"base_url is .*address of a server") as caught:
        config.resolve("token", url)
    assert caught.value.argument == "base_url"


@pytest.mark.parametrize("token", ["<token>", "", "  "])
def test_a_placeholder_is_no_token(token: str) -> None:
    with pytest.raises(ArgumentValueError, match="put your own token there"):
        config.resolve(token)


@pytest.mark.parametrize("token", ["se cret", "secret\n", "비밀", "secret\x00"])
def test_a_broken_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ArgumentValueError, match="copy it again") as caught:
        config.resolve(token)
    assert token.strip() not in str(caught.value)


@pytest.mark.parametrize(("token", "url"), [(1, None), (b"t", None), ("t", 80), ("t", Path())])
def test_other_types_are_refused(token: str, url: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must be text"):
        config.resolve(token, url)


def test_tokens_are_not_shown() -> None:
    assert "secret" not in repr(config.resolve("secret"))


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert config.data_dir() == tmp_path / "aiauto"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")  # to be ignored, says the specification
    assert config.data_dir().is_absolute()
    monkeypatch.setenv("AIAUTO_DATA_DIR", str(tmp_path / "chosen"))
    assert config.data_dir() == tmp_path / "chosen"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIAUTO_DATA_DIR", "here")
    assert config.data_dir() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AIAUTO_DATA_DIR", "~/there")
    assert config.data_dir() == tmp_path / "there"


def test_the_idle_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.idle_timeout() is None
    monkeypatch.setenv("AIAUTO_IDLE_TIMEOUT", "2.5")
    assert config.idle_timeout() == 2.5


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_senseless_idle_timeout_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIAUTO_IDLE_TIMEOUT", text)
    with pytest.raises(ArgumentError, match="AIAUTO_IDLE_TIMEOUT"):
        config.idle_timeout()


@pytest.mark.skipif(OPENSSL is None, reason="no openssl to make a certificate with")
def test_a_certificate_that_nobody_vouches_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run(
        [str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=us", *files],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(aiauto.RpcError, match="certificate"):
            aiauto.AIAutoController("a-token", url)
        monkeypatch.setenv("AIAUTO_INSECURE", "true")
        # The server is spoken with now; it understands nothing that is said.
        with (
            pytest.warns(UserWarning, match="certificates are not checked"),
            pytest.raises(aiauto.RpcError, match="501"),
        ):
            aiauto.AIAutoController("another-token", url)
        server.shutdown()


def test_a_bundle_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bundle in (tmp_path / "missing", tmp_path / "empty"):
        monkeypatch.setenv("AIAUTO_CA_BUNDLE", str(bundle))
        with pytest.raises(ArgumentValueError, match=r"AIAUTO_CA_BUNDLE is .*PEM"):
            config.ssl_context()
        (tmp_path / "empty").touch()


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://aiauto.example", True),
        ("https://aiauto.example", False),
        ("http://localhost:8787", False),
        ("http://127.0.0.1:8787", False),
    ],
)
def test_a_token_that_anybody_could_read(url: str, *, warns: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        connection.connect_to(config.Remote(url, "aiauto_readable"))
    assert any("plain HTTP" in str(one.message) for one in caught) == warns
