"""Mounting services into an aiohttp application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from aiauto.connect.compression import Compressions
from aiauto.connect.contract import StreamKind
from aiauto.connect.endpoint import Endpoint, Interceptor, Options, plain_error
from aiauto.connect.options import COMPRESS_MIN_BYTES, DEFAULT_COMPRESSIONS, MAX_MESSAGE_BYTES
from aiauto.connect.stream_endpoint import StreamEndpoint
from aiauto.connect.unary_endpoint import UnaryEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiauto.connect.compression import Compression
    from aiauto.connect.method import BoundMethodInfo, ServiceInfo

__all__ = ["add_services", "app_runner"]

_MAX_LINE_BYTES: Final = 64 * 1024


def add_services(
    app: web.Application,
    services: Iterable[ServiceInfo],
    *,
    interceptors: Sequence[Interceptor] = (),
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    compressions: Sequence[Compression] = DEFAULT_COMPRESSIONS,
    compress_min_bytes: int = COMPRESS_MIN_BYTES,
    prefix: str = "",
) -> None:
    """Mounts services into an application.

    Run the application with `app_runner`, or give your own runner its options: only so a call
    that its caller gives up is cancelled, and only so are requests inflated within the limits.

    Args:
        app: The application. It may serve other things beside.
        services: Instances of generated server classes.
        interceptors: Functions that run around every call, the first one outermost, before the
            body of the request is read: ``async def interceptor(context, call_next)`` must await
            ``call_next()`` once, or raise. Context variables that it sets are seen by the method.
        max_message_bytes: Size of a request message, inflated, above which it is refused.
        compressions: Compressions that callers may use. The caller's order counts.
        compress_min_bytes: Size of a response message in bytes from which on it is compressed,
            where the caller accepts it.
        prefix: Path in front of the services, for example `/api`.
    """
    options = Options(
        interceptors=tuple(interceptors),
        compressions=Compressions(compressions, min_bytes=compress_min_bytes),
        max_message_bytes=max_message_bytes,
    )
    names: set[str] = set()
    for service in services:
        for bound in service.__bound_methods__():
            path = prefix + bound.method.path
            names.add(path.rpartition("/")[0])
            app.router.add_route(hdrs.METH_ANY, path, _endpoint(bound, options))
    for name in sorted(names):
        app.router.add_route(hdrs.METH_ANY, name + "/{method:.*}", _unknown_method)


def app_runner(app: web.Application, **options: Any) -> web.AppRunner:  # noqa: ANN401 - aiohttp's
    """Makes the runner of an application with services.

    Args:
        app: The application.
        options: As `aiohttp.web.AppRunner` takes them. Here `handler_cancellation` is on,
            `auto_decompress` is off, and lines may be 64 KiB long, unless you say otherwise.
    """
    options.setdefault("handler_cancellation", True)
    options.setdefault("auto_decompress", False)
    options.setdefault("max_line_size", _MAX_LINE_BYTES)
    options.setdefault("max_field_size", _MAX_LINE_BYTES)
    return web.AppRunner(app, **options)


def _endpoint(bound: BoundMethodInfo, options: Options) -> Callable[..., Any]:
    kind: type[Endpoint] = UnaryEndpoint
    if bound.method.kind != StreamKind.UNARY:
        kind = StreamEndpoint
    return kind(bound.method, bound.handler, options).__call__


async def _unknown_method(request: web.Request) -> web.Response:
    service, _, method = request.path.lstrip("/").rpartition("/")
    message = f"the service {service} has no method {method!r}: is one side older than the other?"
    return plain_error(404, message, {})
