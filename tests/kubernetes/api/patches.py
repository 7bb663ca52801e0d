"""Patches: JSON merge patch (RFC 7396) and JSON patch (RFC 6902).

A strategic merge patch is understood where it means the same as a merge patch: without lists.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from tests.kubernetes.api.errors import StatusError, bad_request

MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"


def apply(content_type: str, patch: Any, target: dict[str, Any]) -> dict[str, Any]:
    """What becomes of an object.

    Args:
        content_type: Which kind of patch it is.
        patch: The patch.
        target: The object, which stays as it is.

    Raises:
        StatusError: Not a patch of that kind, or it does not fit the object.
    """
    if content_type == STRATEGIC and not _has_lists(patch):
        content_type = MERGE
    if content_type == MERGE:
        if not isinstance(patch, dict):
            raise bad_request("error decoding patch: a merge patch must be an object")
        return _merged(target, patch)
    if content_type == JSON:
        if not isinstance(patch, list):
            raise bad_request("error decoding patch: a JSON patch must be a list")
        return _patched(target, patch)  # pyright: ignore[reportUnknownArgumentType]
    raise StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {MERGE}",
    )


def _has_lists(patch: Any) -> bool:
    if isinstance(patch, dict):
        return any(_has_lists(one) for one in patch.values())  # pyright: ignore
    return isinstance(patch, list)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result: dict[str, Any] = dict(target) if isinstance(target, dict) else {}  # pyright: ignore
    for name, value in patch.items():  # pyright: ignore[reportUnknownVariableType]
        if value is None:
            result.pop(name, None)  # pyright: ignore[reportUnknownArgumentType]
        else:
            result[name] = _merged(result.get(name), value)  # pyright: ignore
    return result


def _patched(target: dict[str, Any], operations: list[Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"": copy.deepcopy(target)}
    for one in operations:
        try:
            _operate(document, one)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise StatusError(
                422,
                "Invalid",
                f"the server rejected our request due to an error in our request: {error}",
            ) from error
    return document[""]


def _operate(document: dict[str, Any], operation: dict[str, Any]) -> None:
    """Does one operation to a document, which is held under an empty name."""
    kind, path = operation["op"], operation["path"]
    if kind == "test":
        holder, key = _locate(document, path)
        if holder[key] != operation["value"]:
            raise ValueError(f"testing path {path} value failed")
    elif kind == "remove":
        holder, key = _locate(document, path)
        del holder[key]
    elif kind == "replace":
        holder, key = _locate(document, path)
        _ = holder[key]
        holder[key] = operation["value"]
    elif kind in {"add", "copy", "move"}:
        if kind == "add":
            value = operation["value"]
        else:
            source, name = _locate(document, operation["from"])
            value = copy.deepcopy(source[name])
            if kind == "move":
                del source[name]
        holder, key = _locate(document, path, adding=True)
        if isinstance(holder, list):
            holder.insert(key, value)  # pyright: ignore[reportUnknownMemberType]
        else:
            holder[key] = value
    else:
        raise ValueError(f"unexpected kind: {kind}")


def _locate(document: dict[str, Any], path: str, *, adding: bool = False) -> tuple[Any, Any]:
    """Whoever holds what a JSON pointer names, and its name there."""
    names = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    holder: Any = document
    for name in names[:-1]:
        holder = holder[int(name) if isinstance(holder, list) else name]
    last = names[-1]
    if not isinstance(holder, list):
        return holder, last
    if last == "-" and adding:
        return holder, len(holder)  # pyright: ignore[reportUnknownArgumentType]
    index = int(last)
    if not 0 <= index < len(holder) + adding:  # pyright: ignore[reportUnknownArgumentType]
        raise IndexError(f"index {last} is out of bounds")
    return holder, index
