"""The Connect protocol as it looks on the wire: headers, timeouts, errors and their numbers.

See https://connectrpc.com/docs/protocol.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, cast

from aiauto.connect.errors import Code, ErrorDetail, InvalidArgumentError, RpcError
from aiauto.connect.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROTOCOL_VERSION: Final = "1"
UNARY_PREFIX: Final = "application/"
STREAM_PREFIX: Final = "application/connect+"
TRAILER_PREFIX: Final = "trailer-"
STREAM_ENCODING: Final = "connect-content-encoding"
STREAM_ACCEPT_ENCODING: Final = "connect-accept-encoding"

_HTTP_STATUS: Final[Mapping[Code, int]] = {
    Code.CANCELED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
_CODE_OF_STATUS: Final[Mapping[int, Code]] = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_CODES: Final[Mapping[str, Code]] = {code.value: code for code in Code}
_MAX_TIMEOUT_MS: Final = 9_999_999_999  # ten digits, 115 days


def http_status(code: Code) -> int:
    """The HTTP status of an answer with an error."""
    return _HTTP_STATUS[code]


def code_of_status(status: int) -> Code:
    """What an HTTP status means where the answer does not tell."""
    return _CODE_OF_STATUS.get(status, Code.UNKNOWN)


# ------------------------------------------------------------------------------- timeouts


def format_timeout(seconds: float) -> str:
    """Value of the Connect-Timeout-Ms header."""
    milliseconds = int(seconds * 1000)
    if not 0 < milliseconds <= _MAX_TIMEOUT_MS:
        milliseconds = min(max(milliseconds, 1), _MAX_TIMEOUT_MS)
    return str(milliseconds)


def parse_timeout(value: str) -> float:
    """Seconds in a Connect-Timeout-Ms header.

    Raises:
        InvalidArgumentError: It is not a number of at most ten digits.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise InvalidArgumentError(
            f"the header connect-timeout-ms is {value!r}, not milliseconds in at most ten digits"
        )
    return int(value) / 1000


# --------------------------------------------------------------------------------- errors


def error_to_json(error: RpcError) -> bytes:
    """The body of an answer with an error."""
    return _dump(_error_to_dict(error))


def end_stream_to_json(error: RpcError | None, trailers: Metadata) -> bytes:
    """The last message of a stream."""
    end: dict[str, object] = {}
    if error is not None:
        end["error"] = _error_to_dict(error)
    if trailers:
        end["metadata"] = trailers.lists()
    return _dump(end)


def _dump(value: object) -> bytes:
    # An error is told whatever its text holds: it may name a file whose name is not UTF-8.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")


def _error_to_dict(error: RpcError) -> dict[str, object]:
    found: dict[str, object] = {"code": error.code.value}
    if error.message:
        found["message"] = error.message
    if error.details:
        found["details"] = [_detail_to_dict(detail) for detail in error.details]
    return found


def _detail_to_dict(detail: ErrorDetail) -> dict[str, object]:
    value = base64.b64encode(detail.value).decode().rstrip("=")
    found: dict[str, object] = {"type": detail.type_name, "value": value}
    if detail.debug is not None:
        found["debug"] = detail.debug
    return found


def error_from_json(body: bytes, status: int, metadata: Metadata) -> RpcError | None:
    """Reads the body of an answer with an error; None where it is something else."""
    try:
        found = _load_object(body)
    except ValueError:
        return None
    return _error_from_dict(found, code_of_status(status), metadata)


def end_stream_from_json(body: bytes) -> tuple[RpcError | None, Metadata]:
    """Reads the last message of a stream: the error that it ends with, if any, and trailers.

    Raises:
        ValueError: It is something else.
    """
    found = _load_object(body)
    trailers = Metadata(_trailers_from_dict(found.get("metadata")))
    error = found.get("error")
    if not isinstance(error, dict):
        return None, trailers
    return _error_from_dict(cast("dict[str, Any]", error), Code.UNKNOWN, trailers), trailers


def _load_object(body: bytes) -> dict[str, Any]:
    found: object = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the data is wrong, not the caller
    return cast("dict[str, Any]", found)


def _trailers_from_dict(found: object) -> Iterable[tuple[str, str]]:
    if not isinstance(found, dict):
        return
    for name, values in cast("dict[str, object]", found).items():
        for value in cast("list[object]", values) if isinstance(values, list) else ():
            yield name, str(value)


def _error_from_dict(found: Mapping[str, Any], fallback: Code, metadata: Metadata) -> RpcError:
    code: object = found.get("code")
    message: object = found.get("message")
    details: object = found.get("details")
    return RpcError.of(
        _CODES.get(code, fallback) if isinstance(code, str) else fallback,
        message if isinstance(message, str) else "",
        details=_details_from_list(cast("list[object]", details))
        if isinstance(details, list)
        else (),
        metadata=metadata,
    )


def _details_from_list(found: Iterable[object]) -> Iterable[ErrorDetail]:
    for one in found:
        detail = cast("dict[str, object]", one) if isinstance(one, dict) else {}
        type_name, value = detail.get("type"), detail.get("value")
        if isinstance(type_name, str) and isinstance(value, str):
            try:
                yield ErrorDetail(type_name, from_base64(value), detail.get("debug"))
            except ValueError:
                continue


def from_base64(text: str) -> bytes:
    """Reads base64 of either alphabet, with or without padding.

    Raises:
        ValueError: It is none.
    """
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"not base64: {error}") from error
