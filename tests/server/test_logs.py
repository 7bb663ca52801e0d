"""What the server writes down."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from aiauto.server.listening import listen
from aiauto.server.logs import AccessLog, JsonFormatter, PlainFormatter

KEY = "1-mZkQ0sYw8n_-dE"


def formatted(message: str) -> str:
    record = logging.LogRecord("aiauto.test", logging.INFO, __file__, 1, message, (), None)
    return PlainFormatter().format(record)


def test_secrets_are_blotted_out() -> None:
    line = formatted(f"GET /dashboard?a=1&key={KEY} aiauto_abcdefgh1234")
    assert line.endswith("INFO    aiauto.test: GET /dashboard?a=1&key=*** ***")


def test_cookies_are_blotted_out() -> None:
    line = formatted(r"b'Cookie: aiauto_0123456789=7.1.1798484245.Y6y-_Y\x00; theme=dark'")
    assert line.endswith(r"b'Cookie: ***\x00; theme=dark'")


def test_names_that_look_alike_stay() -> None:
    assert "aiauto.v1.AIAutoService aiauto_gen" in formatted("aiauto.v1.AIAutoService aiauto_gen")


async def found(_request: web.Request) -> web.Response:
    return web.Response()


async def test_the_access_log_has_no_query_and_no_line_breaks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "aiohttp.access")
    app = web.Application()
    app.router.add_get("/found", found)
    listener = listen("127.0.0.1", [0])
    runner = web.AppRunner(app, access_log_class=AccessLog, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with aiohttp.ClientSession() as browser:
        for path in (f"/found?key={KEY}", f"/lost%0Aline?key={KEY}"):
            async with browser.get(URL(url + path, encoded=True)):
                pass
    await runner.cleanup()
    records = [record for record in caplog.records if record.name == "aiohttp.access"]
    assert [record.levelno for record in records] == [logging.DEBUG, logging.INFO]
    assert "GET /found 200" in records[0].getMessage()
    assert "GET /lost%0Aline 404" in records[1].getMessage()
    assert KEY not in caplog.text


def test_json_for_programs() -> None:
    with pytest.raises(ValueError, match="base 10") as caught:
        int("aiauto_abcdefgh1234")
    error = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord(
        "aiauto.test", logging.ERROR, __file__, 1, "line\nbreak %s é", (f"?key={KEY}",), error
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "line\nbreak ?key=*** é"
    assert (told["level"], told["logger"]) == ("error", "aiauto.test")
    assert told["error"].endswith("with base 10: '***'")
    assert datetime.fromisoformat(told["time"]).utcoffset() == timedelta(0)


async def test_requests_in_json_have_parts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aiohttp.access")
    app = web.Application()
    app.router.add_get("/found", found)
    runner = web.AppRunner(app, access_log_class=AccessLog, shutdown_timeout=1)
    await runner.setup()
    listener = listen("127.0.0.1", [0])
    await web.SockSite(runner, listener).start()
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(f"http://127.0.0.1:{listener.getsockname()[1]}/found?key={KEY}"),
    ):
        pass
    await runner.cleanup()
    (record,) = (record for record in caplog.records if record.name == "aiohttp.access")
    told = json.loads(JsonFormatter().format(record))
    parts = {name: told[name] for name in ("remote", "method", "path", "status")}
    assert parts == {"remote": "127.0.0.1", "method": "GET", "path": "/found", "status": 200}
    assert told["seconds"] >= 0
