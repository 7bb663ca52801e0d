"""The project's own schema, with a method more."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aiauto import connect
from tests.gen.conftest import generate

PROTO = Path(__file__).parents[2] / "proto"
RPC = """
  // Renames a study.
  rpc RenameStudy(RenameStudyRequest) returns (RenameStudyResponse) {
    option idempotency_level = IDEMPOTENT;
  }
"""
MESSAGES = """
message RenameStudyRequest {
  string name = 1;
  string new_name = 2;
}

message RenameStudyResponse {
  string name = 1;
}
"""


async def test_an_rpc_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = tmp_path / "proto"
    shutil.copytree(PROTO, proto)
    service = proto / "aiauto/v1/service.proto"
    text = service.read_text(encoding="utf-8")
    start = "service AIAutoService {"
    assert start in text
    service.write_text(text.replace(start, start + RPC) + MESSAGES, encoding="utf-8")
    done = generate(proto, tmp_path / "more_gen")
    assert done.returncode == 0, done.stderr

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    v1: Any = importlib.import_module("more_gen.aiauto.v1")
    services: Any = importlib.import_module("more_gen.aiauto.v1.connect")

    class Server(services.AIAutoServiceBase):  # type: ignore[misc]
        async def rename_study(self, request: Any, _context: Any) -> Any:
            if request.name == request.new_name:
                raise connect.AlreadyExistsError(f"it is called {request.name} already")
            return v1.RenameStudyResponse(name=request.new_name)

    app = web.Application()
    connect.add_services(app, [Server()])
    runner = connect.app_runner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with connect.Transport(f"http://127.0.0.1:{runner.addresses[0][1]}") as transport:
        client = services.AIAutoServiceClient(transport)
        answer = await client.rename_study(v1.RenameStudyRequest(name="a", new_name="b"))
        assert answer == v1.RenameStudyResponse(name="b")
        with pytest.raises(connect.AlreadyExistsError, match="it is called a already"):
            await client.rename_study(v1.RenameStudyRequest(name="a", new_name="a"))
    await runner.cleanup()
    for name in [name for name in sys.modules if name.partition(".")[0] == "more_gen"]:
        del sys.modules[name]
