"""Whose fault it is where the dashboard raises.

Its handlers look up what a request names, and read what it carries, without a check: what is not
there or does not fit raises one of Python's own errors deep inside, by the fault of the request.
"""

from __future__ import annotations

import importlib
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import OptunaError

from aiauto.connect import Code, protocol
from aiauto.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from optuna.storages import BaseStorage

logger: logging.Logger = logging.getLogger("aiauto.server")

# An ImportError is of what draws plots, which is not part of a server.
NOT_THERE = (LookupError, FileNotFoundError, ArtifactNotFound, ImportError)
DOES_NOT_FIT = (
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    RecursionError,
    OptunaError,
)
OUR_FAULT = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})
REASONS = {
    HTTPStatus.NOT_FOUND: "There is no such thing here.",
    HTTPStatus.BAD_REQUEST: "This request does not fit.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "This server has a fault: its log tells which.",
}


def blaming_requests(application: Any, storage: BaseStorage) -> WSGIApplication:  # noqa: ANN401 - has no types
    """Wrap the dashboard, so that requests get their share of the blame, and the server its own.

    Args:
        application: The dashboard.
        storage: What it shows.

    Returns:
        An application that answers 404 to what is not there, 400 to what does not fit, and 500 to
        what no request can be blamed for.
    """
    # What its handlers raise comes to us, and not as an error 500 to the caller.
    application.catchall = False
    application.install(_without_a_veil)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            found: Iterable[bytes] = application(environ, start_response)
        except Exception as error:
            status, reason = _verdict(environ, storage, _first(error))
            # It may be a fault of the dashboard's all the same.
            is_fault = status == HTTPStatus.INTERNAL_SERVER_ERROR
            logger.log(
                logging.ERROR if is_fault else logging.INFO,
                "The dashboard answers %d at %s",
                status,
                environ.get("PATH_INFO"),
                exc_info=error,
            )
            body = json.dumps({"reason": reason}).encode()
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            start_response(f"{status.value} {status.phrase}", headers)
            return [body]
        return found

    return answer


def _without_a_veil(callback: Callable[..., Any]) -> Callable[..., Any]:
    """A plugin for Bottle: what the dashboard's calls raise comes out of them.

    They are wrapped in what makes an error 500 of everything, and tells only the log.
    """
    view: Callable[..., Any] | None = getattr(callback, "__wrapped__", None)
    if view is None:
        return callback
    called = view
    bottle: Any = importlib.import_module("bottle")

    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        bottle.response.content_type = "application/json"
        try:
            return called(*arguments, **named)
        except bottle.HTTPError as error:
            bottle.response.status = error.status_code
            return json.dumps({"reason": str(error.body)})

    return call


def _first(error: Exception) -> Exception:
    """What came first, where coping with it has failed for want of what it had not made yet."""
    if isinstance(error, UnboundLocalError) and isinstance(error.__context__, Exception):
        return error.__context__
    return error


def _verdict(
    environ: WSGIEnvironment, storage: BaseStorage, error: Exception
) -> tuple[HTTPStatus, str]:
    if isinstance(error, RpcError) and error.code not in OUR_FAULT:
        return HTTPStatus(protocol.http_status(error.code)), error.message
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    if not _is_there(environ, storage):
        status = HTTPStatus.NOT_FOUND
    elif _carries_something(environ):
        if isinstance(error, NOT_THERE):
            status = HTTPStatus.NOT_FOUND
        elif isinstance(error, DOES_NOT_FIT):
            status = HTTPStatus.BAD_REQUEST
    return status, REASONS[status]


def _is_there(environ: WSGIEnvironment, storage: BaseStorage) -> bool:
    """Whether there are the study and the trial that an address names."""
    named = environ.get("route.url_args", {})
    try:
        if "study_id" in named:
            storage.get_study_name_from_id(named["study_id"])
        if "trial_id" in named:
            storage.get_trial(named["trial_id"])
    except LookupError:
        return False
    return True


def _carries_something(environ: WSGIEnvironment) -> bool:
    """Whether there is something in a request, besides a study and a trial, that may not fit."""
    named = environ.get("route.url_args", {}).keys() - {"study_id", "trial_id"}
    return bool(
        named or environ.get("QUERY_STRING") or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}
    )
