"""A server that is told nonsense, and what it must never answer."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import psutil
import pytest

import aiauto
from aiauto.connect import Code
from aiauto.testing import embedded_server
from tests.fuzz.inputs import INPUTS, Count

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from aiauto.testing import EmbeddedServer

STUDY: Final = "fuzzed"
MEBIBYTE: Final = 1024 * 1024


def pytest_report_header() -> str:
    return f"inputs for each fuzzing test: {INPUTS} (AIAUTO_FUZZ_INPUTS)"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def check(self) -> str:
        """Check that it is one that a server may give to anybody.

        Returns:
            The code of the error; empty where there is none.
        """
        assert b"Traceback" not in self.body, self
        if self.headers.get("content-type", "").startswith("application/connect+"):
            return self._end_of_stream()
        if self.status == 200:
            return ""
        return checked_code(json.loads(self.body))

    def _end_of_stream(self) -> str:
        assert self.status == 200
        flags, rest = 0, self.body
        frame = b""
        while rest:
            flags, size = rest[0], int.from_bytes(rest[1:5], "big")
            frame, rest = rest[5 : 5 + size], rest[5 + size :]
        assert flags & 2, self
        end = json.loads(frame)
        return checked_code(end["error"]) if "error" in end else ""


def checked_code(error: dict[str, Any]) -> str:
    """The code of an error, which is the caller's fault and not the server's."""
    code: Code = Code(error["code"])
    assert code not in {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS}, error
    assert error["message"]
    found: str = code.value
    return found


class Target:
    """The server, over a socket of its own."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.address: str = urlsplit(server.url).netloc
        self.authorized: dict[str, str] = {"authorization": f"Bearer {server.token}"}
        self._connection: http.client.HTTPConnection | None = None
        self._callers = itertools.count()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request, and give what comes back."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.address, timeout=60)
        # From somewhere else each time, since failed log-ins from one place are slowed down.
        caller = ipaddress.IPv4Address("10.0.0.0") + next(self._callers)
        sent = {"x-forwarded-for": str(caller), **self.authorized, **(headers or {})}
        try:
            self._connection.request(method, path, body, sent)
            response = self._connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    @property
    def session_cookie(self) -> str:
        """Name of the cookie of those who have logged in."""
        body = urlencode({"token": self.server.token}).encode()
        form = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "none"}
        return self.ask("POST", "/login", body, form).headers["set-cookie"].partition("=")[0]

    def memory(self) -> int:
        """Bytes that the server's process holds."""
        rss: int = psutil.Process(self.server.pid).memory_info().rss
        return rss

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def within(self, growth: int) -> Generator[None]:
        """Check that the server goes on, and has not grown by more bytes than that."""
        before = self.memory()
        yield
        controller = aiauto.AIAutoController(self.server.token, self.server.url)
        assert controller.create_study(STUDY).get_status()["count_total"] >= 0
        assert self.memory() - before < growth


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        # It makes users, too.
        environment.setenv("AIAUTO_TRUST_USERS", "1")
        environment.setenv("AIAUTO_TRUSTED_PROXIES", "127.0.0.1")
        server = stack.enter_context(embedded_server())
        aiauto.AIAutoController(server.token, server.url).create_study(STUDY)
        target = Target(server)
        # What is made at the first call of its kind is no growth.
        for path in ("/dashboard", "/api/studies", "/metrics"):
            target.ask("GET", path)
        yield target
        target.close()


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Iterator[Count]:
    counting = Count(record_property)
    yield counting
    counting.report()
