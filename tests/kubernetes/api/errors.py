"""What the API answers when it refuses: a `Status` in the words of the real server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kubernetes.api.kinds import Kind, Object


@dataclass(frozen=True)
class Cause:
    """Why one field is refused.

    Attributes:
        field: Path of the field, such as `spec.template.spec.containers[0].image`.
        reason: One of FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, ...
        message: What is wrong with it, for people.
    """

    field: str
    reason: str
    message: str


# How messages begin, by the reason of a cause.
REQUIRED: Final = "FieldValueRequired"
INVALID: Final = "FieldValueInvalid"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
DUPLICATE: Final = "FieldValueDuplicate"
UNKNOWN: Final = "FieldValueNotFound"
FORBIDDEN: Final = "FieldValueForbidden"


def required(field: str, detail: str = "") -> Cause:
    """A field that must be there."""
    return Cause(field, REQUIRED, f"Required value: {detail}" if detail else "Required value")


def bad_value(field: str, value: object, detail: str) -> Cause:
    """A field whose value can't be."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause(field, INVALID, f"Invalid value: {shown}: {detail}")


def not_supported(field: str, value: str, supported: Sequence[str]) -> Cause:
    """A field that takes only one of a few values."""
    listed = ", ".join(f'"{one}"' for one in supported)
    return Cause(field, NOT_SUPPORTED, f'Unsupported value: "{value}": supported values: {listed}')


class StatusError(Exception):
    """An answer other than success.

    Attributes:
        code: HTTP status.
        reason: Kubernetes' word for it.
        message: For people.
        details: What it is about, and the causes.
        retry_after: Seconds after which to try again.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.details: Object = dict(details or {})
        if retry_after is not None:
            self.details["retryAfterSeconds"] = retry_after

    def body(self) -> dict[str, Any]:
        """The `Status` object."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _details(kind: Kind, name: str) -> Object:
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural}


def not_found(kind: Kind, name: str) -> StatusError:
    """There is no such object."""
    message = f'{kind.resource} "{name}" not found'
    return StatusError(404, "NotFound", message, details=_details(kind, name))


def already_exists(kind: Kind, name: str) -> StatusError:
    """There is an object of that name."""
    message = f'{kind.resource} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=_details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """The writer had not seen the newest version."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and "
        "try again"
    )
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_details(kind, name))


def forbidden(kind: Kind, name: str, why: str) -> StatusError:
    """Admission, or a right that is missing."""
    message = f'{kind.resource} "{name}" is forbidden: {why}'
    return StatusError(403, "Forbidden", message, details=_details(kind, name))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """Fields that are refused."""
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    message = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    group = {"group": kind.group} if kind.group else {}
    details: Object = {
        "name": name,
        **group,
        "kind": kind.name,
        "causes": [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in causes
        ],
    }
    text = f'{kind.qualified} "{name}" is invalid: {message}'
    return StatusError(422, "Invalid", text, details=details)


def bad_request(message: str) -> StatusError:
    """What was sent can't be read."""
    return StatusError(400, "BadRequest", message)


def expired(message: str) -> StatusError:
    """What is asked about is forgotten: list anew."""
    return StatusError(410, "Expired", message)


def unauthorized() -> StatusError:
    """Nobody known calls."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def no_such_address() -> StatusError:
    """There is nothing at that address."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> StatusError:
    """The address does not take that method."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message)
