"""Whose fault it is where the dashboard raises.

Its handlers look up what a request names, and read what it carries, without a check: what is not
there or does not fit raises one of Python's own errors deep inside, by the fault of the request.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from optuna.artifacts.exceptions import ArtifactNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger: logging.Logger = logging.getLogger("aiauto.server")

NOT_THERE = (LookupError, FileNotFoundError, ArtifactNotFound)
DOES_NOT_FIT = (ValueError, TypeError, AttributeError, AssertionError, OverflowError)


def blaming_requests(application: WSGIApplication) -> WSGIApplication:
    """Wrap the dashboard, so that requests get their share of the blame.

    Args:
        application: The dashboard. What its handlers raise must come out of it.

    Returns:
        An application that answers 404 to what is not there, and 400 to what does not fit.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        cause: Exception
        try:
            return application(environ, start_response)
        except NOT_THERE as error:
            status, reason, cause = "404 Not Found", "There is no such thing here.", error
        except DOES_NOT_FIT as error:
            status, reason, cause = "400 Bad Request", "This request does not fit.", error
        # It may be a fault of the dashboard's all the same.
        logger.info("The dashboard refused %s", environ.get("PATH_INFO"), exc_info=cause)
        body = json.dumps({"reason": reason}).encode()
        start_response(status, [("Content-Type", "application/json")])
        return [body]

    return answer
