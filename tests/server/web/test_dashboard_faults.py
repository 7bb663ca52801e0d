"""What the dashboard can't answer is the fault of the request that asked, or the server's own."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from yarl import URL

from aiauto import connect
from aiauto.errors import InternalError, ResourceExhaustedError, UnavailableError
from tests.server.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.web.conftest import Site


pytestmark = pytest.mark.once

ADA: Final = 1
WILDCARD: Final = re.compile(r"<(\w*):?(?:\w+:?[^>]*)?>")
# For each wildcard of a route. The first study and trial are there.
ODD: Final = {
    "study_id": ("0", "77", "-1", "x", "1.5", "", "9" * 30, "9" * 5000, "%00", "%ff"),
    "trial_id": ("0", "1", "77", "-1", "9" * 30, "9" * 5000, "%F0%9F%92%A9"),
    "artifact_id": ("abc-0", "0f0e0d0c-0000-4000-8000-000000000000", "a" * 5000),
    "history_id": ("x", "%ff", "a" * 5000),
    "plot_type": ("contour", "pareto_front", "x", "%00"),
    "filename": ("x", "..%2f..%2fapp.py", "%00"),
    "": ("", "/x", "/%ff"),
}
# What bodies and queries may have. Without what is right beside it, nothing wrong is looked at.
RIGHT: Final[dict[str, Any]] = {
    "study_name": "new", "directions": ["minimize"], "version": 1, "body": "text",
    "mode": "ChooseWorst", "candidates": [0, 1], "clicked": 0, "output_type": "note",
    "artifact_key": "x", "state": "complete", "values": [1.0], "user_attrs": {"a": 1},
    "file": "data:text/plain;base64,eA==", "filename": "x.txt", "user_query": "x",
    "last_response": {}, "remove_associated_artifacts": True, "after": 0, "trial_ids": "0",
}  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    None, 1, "x", -1.5, [], ["x"], [None], {}, {"x": 1}, "\ud800", "\x00", float("nan"), 10**400,
)  # fmt: skip
RAW: Final = (b"", b"{}", b"{", b"null", b"[]", b"\xff", b"[" * 20_000, b'"x"', b"1")


@dataclass(frozen=True)
class Route:
    """One of the dashboard's own.

    Attributes:
        method: Of its requests.
        rule: Its address, with wildcards.
        words: What it looks for in a body or a query.
    """

    method: str
    rule: str
    words: tuple[str, ...]

    @property
    def removes(self) -> bool:
        """Whether it may remove the study that others look at."""
        return self.method == "DELETE" or self.rule.endswith("/rename")

    def paths(self) -> Iterator[str]:
        """What is there, and then the same with one odd value each."""
        for odd in WILDCARD.findall(self.rule) or [""]:
            for value in ODD[odd]:
                yield self._path(odd, value)

    def _path(self, odd: str, value: str) -> str:
        return WILDCARD.sub(lambda found: value if found[1] == odd else ODD[found[1]][0], self.rule)

    def requests(self) -> Iterator[tuple[str, bytes]]:
        """Requests as paths and bodies, with one odd thing each."""
        there = next(self.paths())
        for path in self.paths():
            yield path, json.dumps(RIGHT).encode()
        for word, value in itertools.product(self.words, ("x", "-1", "%ff", "9" * 5000)):
            yield f"{there}?{word}={value}", b""
        if self.method in {"GET", "HEAD"}:
            return
        for raw in RAW:
            yield there, raw
        for word, value in itertools.product(self.words, VALUES):
            yield there, json.dumps({**RIGHT, word: value}).encode()


def routes() -> list[Route]:
    """All of the dashboard's, those last that remove what others look at."""
    dashboard: Any = importlib.import_module("optuna_dashboard")
    found: list[Route] = []
    for one in dashboard.wsgi(optuna.storages.InMemoryStorage()).routes:
        code = inspect.getsource(inspect.unwrap(one.callback))
        words = tuple(word for word in RIGHT if f'"{word}"' in code)
        found.append(Route(one.method, one.rule, words))
    return sorted(found, key=lambda route: route.removes)


def fill(storage: optuna.storages.BaseStorage) -> None:
    """A study and two trials, with the ids that requests have."""
    study = optuna.create_study(storage=storage, study_name="there")
    numbers = [study.ask()._trial_id for _ in range(2)]
    assert (study._study_id, numbers) == (0, [0, 1])


async def test_no_odd_request_is_a_fault_of_the_server(tmp_path: Path) -> None:
    answered: dict[str, set[int]] = {}
    async with serving(tmp_path / "data") as running:
        token = await running.token_of("ada")
        async with connect.Transport(running.url, token=token) as transport:
            await stubs.AIAutoServiceClient(transport).ensure_workspace(v1.EnsureWorkspaceRequest())
        await asyncio.to_thread(fill, running.parts.journal.storage(1))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as browser:
            for route in routes():
                statuses = answered.setdefault(f"{route.method} {route.rule}", set())
                for path, body in route.requests():
                    async with browser.request(
                        route.method, URL(running.url + path, encoded=True), data=body
                    ) as answer:
                        text = await answer.text(errors="replace")
                        told = (route.method, path[:200], body[:200], answer.status, text[:500])
                        assert answer.status < 500, told
                        assert "Traceback" not in text, told
                        statuses.add(answer.status)
    assert len(answered) > 20
    # It was no refusal of all: what is there was found, and written to.
    for known in ("GET /csv/<study_id:int>", "PUT /api/studies/<study_id:int>/note"):
        assert answered[known] & {200, 204}, answered


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        # Such a request has nothing that could be wrong.
        ("/api/studies", KeyError("of ours"), 500),
        ("/api/studies", ValueError("of ours"), 500),
        ("/api/studies/0", KeyError("of ours"), 500),
        ("/api/studies/0", RuntimeError("of ours"), 500),
        ("/api/studies/0?after=0", RuntimeError("of ours"), 500),
        ("/api/studies/0", InternalError("of ours"), 500),
        # Ours, and told as what they are.
        ("/api/studies/0", UnavailableError("The database is away."), 503),
        ("/api/studies", ResourceExhaustedError("Too much at once."), 429),
        # It may be the request's.
        ("/api/studies/0?after=0", ValueError("of theirs"), 400),
        ("/api/studies/77", RuntimeError("of theirs"), 404),
    ],
)
async def test_a_fault_of_the_server_is_in_its_log_once(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    error: Exception,
    status: int,
) -> None:
    storage = site.storages[10 * ADA]
    fill(storage)
    browser = await site.logged_in(ADA)

    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(storage, "get_all_studies", fail)
    caplog.set_level(logging.INFO, "aiauto")
    async with browser.get(path, headers={"Sec-Fetch-Site": "same-origin"}) as answer:
        assert answer.status == status
        reason = (await answer.json())["reason"]
    assert "of ours" not in reason
    assert "Traceback" not in reason
    if status in {429, 503}:
        assert reason == str(error)
    told = [record for record in caplog.records if record.exc_info]
    assert [record.exc_info and record.exc_info[1] for record in told] == [error]
    assert [record.levelno for record in told] == [logging.ERROR if status == 500 else logging.INFO]
