"""How what clients send is read, and judged by the published schemas."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.kubernetes.api import patches
from tests.kubernetes.api.errors import Cause, StatusError, bad_request, invalid
from tests.kubernetes.api.registry import DeleteOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from tests.kubernetes.api.addresses import Address
    from tests.kubernetes.api.kinds import Kind, Object
    from tests.kubernetes.schemas import Problem, Schemas

# Of a status the real server takes what it gets; the other one it fills in.
_NOT_MISSED: Final = re.compile(r"^status|onPodConditions\[\d+\]\.status$")


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise bad_request(f"invalid JSON: {error}") from error


async def read_any(request: web.Request) -> Object:
    """An object of whatever kind.

    Raises:
        StatusError: It is none.
    """
    sent = await _json(request)
    if not isinstance(sent, dict):
        raise bad_request("the body of the request is no object")
    return sent  # pyright: ignore[reportUnknownVariableType]


async def read(request: web.Request, kind: Kind) -> Object:
    """An object.

    Raises:
        StatusError: It is none of that kind.
    """
    if request.content_type != "application/json":
        message = (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json"
        )
        raise StatusError(415, "UnsupportedMediaType", message)
    obj = await read_any(request)
    # Generated clients leave both out where their caller did.
    given = obj.setdefault("apiVersion", kind.api_version), obj.setdefault("kind", kind.name)
    if given != (kind.api_version, kind.name):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.name}): "
            f"{given[1]} in version {given[0]}"
        )
    return obj


def replacement(sent: Object) -> Callable[[Object], Object]:
    """A whole object, which makes itself of any old one."""
    return lambda _: sent


async def read_patch(request: web.Request) -> Callable[[Object], Object]:
    """A patch, which makes a new object of an old one.

    Raises:
        StatusError: It can't be read.
    """
    content_type, patch = request.content_type, await _json(request)
    return lambda old: patches.apply(content_type, patch, old)


async def delete_options(request: web.Request) -> DeleteOptions:
    """How to delete; the body says it, or else the query.

    Raises:
        StatusError: It can't be read.
    """
    query = {name: request.query.get(name) for name in ("gracePeriodSeconds", "propagationPolicy")}
    body = await _json(request)
    return DeleteOptions.read({**query, **(body if isinstance(body, dict) else {})})


def is_dry(query: Mapping[str, str]) -> bool:
    """Whether nothing is to be kept.

    Raises:
        StatusError: It says neither.
    """
    said = query.get("dryRun")
    if said not in {None, "", "All"}:
        raise bad_request(f'Invalid value: "{said}": dryRun: supported values: "All"')
    return said == "All"


def judge(
    obj: Object, address: Address, schemas: Schemas | None, strictness: str, warnings: list[str]
) -> Object:
    """Hold an object against its schema, as the real server does.

    Args:
        obj: The object.
        address: Where it goes.
        schemas: Kubernetes' own; None not to judge.
        strictness: "Strict", "Warn" or "Ignore": what becomes of fields that there are not.
        warnings: Gets what the client is to be warned of.

    Returns:
        The object without fields that there are not.

    Raises:
        StatusError: It is not what the schema wants.
    """
    if strictness not in {"Strict", "Warn", "Ignore"}:
        raise bad_request(f'invalid fieldValidation: "{strictness}"')
    if schemas is None:
        return obj
    problems = schemas.problems(obj)
    unknown = [one for one in problems if one.kind == "unknown"]
    if unknown and strictness == "Strict":
        listed = ", ".join(one.message for one in unknown)
        raise bad_request(f"strict decoding error: {listed}")
    if strictness == "Warn":
        warnings += [one.message for one in unknown]
    wrong = [one for one in problems if one.kind == "type"]
    if wrong:
        kind = address.kind
        raise bad_request(
            f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: '
            + "; ".join(map(str, wrong))
        )
    missing = [
        one for one in problems if one.kind == "required" and not _NOT_MISSED.search(one.field)
    ]
    if missing:
        causes = [Cause(one.field, "FieldValueRequired", one.message) for one in missing]
        raise invalid(address.kind, obj.get("metadata", {}).get("name", ""), causes)
    return _without(obj, unknown) if unknown else obj


def _without(obj: Object, unknown: list[Problem]) -> Object:
    pruned = copy.deepcopy(obj)
    for problem in unknown:
        holder: Any = pruned
        # The last part is the name itself, which may have dots: the rest leads to who holds it.
        names = [
            name or int(index)
            for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", problem.field)
        ]
        for name in names[:-1]:
            holder = holder[int(name) if isinstance(holder, list) else name]
        holder.pop(names[-1], None)
    return pruned
