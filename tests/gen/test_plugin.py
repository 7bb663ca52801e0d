"""What the plugin makes of a schema that has everything."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from aiauto import connect
from tests.gen.conftest import HERE, Generated, generate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def shop(generated: Generated) -> Any:
    return generated.module("acme.shop.v1")


@pytest.fixture
def services(generated: Generated) -> Any:
    return generated.module("acme.shop.v1.connect")


@pytest.fixture
def base(generated: Generated) -> Any:
    return generated.module("acme.base.v1")


@pytest.fixture
def well_known(generated: Generated) -> Any:
    return generated.module("google.protobuf")


def test_descriptors(generated: Generated, services: Any, shop: Any, base: Any) -> None:
    support = generated.module("connect")
    method = services.ORDER_SERVICE_GET_ORDER
    assert method.path == "/acme.shop.v1.OrderService/GetOrder"
    assert (method.service, method.name) == ("acme.shop.v1.OrderService", "GetOrder")
    assert (method.request_type, method.response_type) == (shop.GetOrderRequest, shop.Order)
    assert method.kind is support.StreamKind.UNARY
    assert method.idempotency is support.Idempotency.NO_SIDE_EFFECTS
    assert services.ORDER_SERVICE_CONVERT.idempotency is support.Idempotency.IDEMPOTENT
    assert services.ORDER_SERVICE_CONVERT.request_type is base.Order
    assert services.ORDER_SERVICE_PING.idempotency is support.Idempotency.UNKNOWN
    assert services.ORDER_SERVICE_PLACE_ORDER.request_id
    assert not method.request_id
    assert services.ORDER_SERVICE_IMPORT.response_type is shop.OrderLine
    for name, kind in (("WATCH_ORDERS", "SERVER"), ("UPLOAD_LINES", "CLIENT"), ("HAGGLE", "BIDI")):
        found = getattr(services, f"ORDER_SERVICE_{name}").kind
        assert found is support.StreamKind[f"{kind}_STREAM"]
    # Two methods whose constants would have the same name.
    assert services.STOCK__SERVICE_GET.path == "/acme.shop.v1.Stock/ServiceGet"
    assert services.STOCK_SERVICE__GET.path == "/acme.shop.v1.StockService/Get"


def doc_of(one: object) -> str:
    return (inspect.getdoc(one) or "").strip()


def test_docstrings(services: Any) -> None:
    doc = doc_of(services.OrderServiceClient)
    start = (
        'Orders, "quoted", with a back\\slash and """three quotes""".\n\nA second paragraph.\n\n'
    )
    assert doc.startswith(start)
    assert doc_of(services.OrderServiceBase).startswith(start)
    for name in ("OrderServiceClient", "OrderServiceClientSync", "OrderServiceBase"):
        one = getattr(services, name)
        expected = 'Gets an order. The comment ends with "quotes"'
        assert doc_of(one.get_order) == expected
        assert doc_of(one.ping) == "Behind the method."
        assert "buf:lint" not in doc_of(one.convert)


def public(one: object) -> list[str]:
    return [name for name in vars(one) if not name.startswith("_")]


def test_both_clients_have_the_same_signatures(services: Any) -> None:
    for name in services.__all__:
        if not name.endswith("Client"):
            continue
        one, other = getattr(services, name), getattr(services, f"{name}Sync")
        methods = public(one)
        assert methods == public(other)
        for method in methods:
            found = inspect.signature(getattr(one, method))
            expected = inspect.signature(getattr(other, method))
            assert [
                (key, value.kind, value.default) for key, value in found.parameters.items()
            ] == [(key, value.kind, value.default) for key, value in expected.parameters.items()]
            assert found.return_annotation.replace("Async", "") == expected.return_annotation


def test_deprecated(services: Any, shop: Any) -> None:
    with connect.SyncTransport("http://127.0.0.1:1", retries=connect.NO_RETRIES) as transport:
        client = services.OrderServiceClientSync(transport)
        with (
            pytest.warns(DeprecationWarning, match=r"acme\.shop\.v1\.OrderService\.OldGet"),
            pytest.raises(connect.UnavailableError),
        ):
            client.old_get(shop.GetOrderRequest())
        with pytest.warns(DeprecationWarning, match=r"acme\.shop\.v1\.OldService is deprecated"):
            services.OldServiceClientSync(transport)


async def test_every_method_runs(  # noqa: C901 - a method of every kind
    services: Any, shop: Any, base: Any, well_known: Any
) -> None:
    class Orders(services.OrderServiceBase):  # type: ignore[misc]
        async def get_order(self, request: Any, _context: Any) -> Any:
            return shop.Order(id=request.id, cash=base.Money(currency="EUR", cents=-5))

        async def convert(self, request: Any, _context: Any) -> Any:
            return shop.Order(an_int64=request.number)

        async def ping(self, request: Any, _context: Any) -> Any:
            assert request == well_known.Empty()
            return well_known.Timestamp(seconds=5)

        async def import_(self, request: Any, _context: Any) -> Any:
            return shop.OrderLine(text=request.from_)

        async def str(self, request: Any, _context: Any) -> Any:
            return shop.Context(text=request.text)

        async def place_order(self, request: Any, _context: Any) -> Any:
            return request.order

        async def watch_orders(self, request: Any, _context: Any) -> AsyncIterator[Any]:
            for letter in request.id:
                yield shop.Order(id=letter)

        async def upload_lines(self, requests: Any, _context: Any) -> Any:
            return shop.Order(lines=[line async for line in requests])

        async def haggle(self, requests: Any, _context: Any) -> AsyncIterator[Any]:
            async for money in requests:
                yield base.Money(cents=money.cents // 2)

    app = web.Application()
    connect.add_services(app, [Orders(), services.StockServiceBase()])
    runner = connect.app_runner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    codecs: tuple[Any, ...] = ("proto", "json")
    for codec in codecs:
        async with connect.Transport(url, codec=codec) as transport:
            client = services.OrderServiceClient(transport)
            order = await client.get_order(shop.GetOrderRequest(id="7"))
            assert order == shop.Order(id="7", cash=base.Money(currency="EUR", cents=-5))
            assert (await client.convert(base.Order(number=9))).an_int64 == 9
            assert await client.ping(well_known.Empty()) == well_known.Timestamp(seconds=5)
            assert (await client.import_(shop.Order(from_="x"))).text == "x"
            assert (await client.str(shop.Method(text="x"))).text == "x"
            placed = shop.PlaceOrderRequest(order=order, request_id="1")
            assert await client.place_order(placed) == order
            found = client.watch_orders(shop.GetOrderRequest(id="abc"))
            assert [one.id async for one in found] == ["a", "b", "c"]
            lines = [shop.OrderLine(text="a"), shop.OrderLine(amount=2)]
            assert (await client.upload_lines(lines)).lines == lines
            offers = client.haggle([base.Money(cents=8), base.Money(cents=4)])
            assert [one.cents async for one in offers] == [4, 2]
            with pytest.raises(connect.UnimplementedError, match="OrderService/Float is not impl"):
                await client.float(shop.Final())
            with pytest.raises(connect.UnimplementedError, match="StockService/Get is not impl"):
                await services.StockServiceClient(transport).get(shop.GetOrderRequest())
    await runner.cleanup()


@pytest.mark.timeout(300)
def test_types_of_what_is_generated(generated: Generated, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    names = ("connect.py", "acme/shop/v1/connect.py", "acme/base/v1/connect.py")
    files = [generated.root / name for name in names]
    config = tmp_path / "mypy.ini"
    # What the message compiler writes for the well-known types is not of this plugin.
    config.write_text("[mypy]\nstrict = true\n[mypy-acme_gen.google.*]\nignore_errors = true\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir"]
    done = subprocess.run(
        [*command, str(tmp_path), "--follow-imports", "silent", *map(str, files)],
        cwd=generated.root.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ----------------------------------------------------------------------------- the output


def read(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("connect.py"))
    }


def test_output_is_always_the_same(
    generated: Generated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(generated.root)
    assert list(first) == ["acme/base/v1/connect.py", "acme/shop/v1/connect.py", "connect.py"]
    # Not by the order of sets, nor by a configuration of ruff that lies about.
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    (tmp_path / "ruff.toml").write_text("line-length = 40\n")
    assert generate(HERE / "proto", tmp_path / "acme_gen").returncode == 0
    assert read(tmp_path / "acme_gen") == first
    header = "# Generated by aiauto.connect.plugin, version "
    assert all(text.startswith(header) for text in first.values())
    sources = "# source: acme/shop/v1/order.proto, acme/shop/v1/stock.proto\n"
    assert sources in first["acme/shop/v1/connect.py"]


@pytest.mark.parametrize(
    ("package", "rpcs", "message"),
    [
        ("connect", "rpc Get(M) returns (M);", "the proto package 'connect' is in the way"),
        ("connect.v1", "rpc Get(M) returns (M);", "the proto package 'connect.v1' is in the way"),
        ("", "rpc Get(M) returns (M);", "give the file a package"),
        (
            "acme.v1",
            "rpc GetIt(M) returns (M); rpc getIt(M) returns (M);",
            "the methods GetIt and getIt would both be called get_it in Python",
        ),
    ],
)
def test_schemas_that_can_not_be_generated(
    tmp_path: Path, package: str, rpcs: str, message: str
) -> None:
    proto = tmp_path / "proto"
    proto.mkdir()
    lines = ['syntax = "proto3";', f"package {package};" if package else "", "message M {}"]
    (proto / "a.proto").write_text("\n".join([*lines, f"service S {{ {rpcs} }}"]))
    done = generate(proto, tmp_path / "out_gen")
    assert done.returncode != 0
    assert message in done.stderr


def test_a_package_in_the_way_of_another(tmp_path: Path) -> None:
    proto = tmp_path / "proto"
    proto.mkdir()
    (proto / "a.proto").write_text(
        'syntax = "proto3"; package a; message M {} service S { rpc Get(M) returns (M); }'
    )
    (proto / "b.proto").write_text('syntax = "proto3"; package a.connect.b; message M {}')
    done = generate(proto, tmp_path / "out_gen")
    assert "the proto package 'a.connect.b' is in the way" in done.stderr
    assert "a/connect.py" in done.stderr


def test_a_schema_without_services(tmp_path: Path) -> None:
    proto = tmp_path / "proto"
    proto.mkdir()
    (proto / "a.proto").write_text('syntax = "proto3"; package a; message M { string b = 1; }')
    done = generate(proto, tmp_path / "out_gen")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out_gen") == {}
