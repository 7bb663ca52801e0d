"""Patches: JSON merge patch (RFC 7396) and JSON patch (RFC 6902).

A strategic merge patch is understood where it means the same as a merge patch: without lists.
"""

from __future__ import annotations

import copy
from typing import Any, Final, cast

from tests.kubernetes.api.errors import StatusError, bad_request
from tests.kubernetes.api.kinds import Object, is_list

MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"


def apply(content_type: str, patch: Any, target: Object) -> Object:
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
        return _merge(target, cast("Object", patch))
    if content_type == JSON:
        if not isinstance(patch, list):
            raise bad_request("error decoding patch: a JSON patch must be a list")
        return _patched(target, cast("list[Object]", patch))
    raise StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {MERGE}",
    )


def _has_lists(patch: object) -> bool:
    if isinstance(patch, dict):
        return any(_has_lists(one) for one in cast("Object", patch).values())
    return isinstance(patch, list)


def _merge(target: Object, patch: Object) -> Object:
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            old: object = result.get(name)
            below = cast("Object", old) if isinstance(old, dict) else {}
            result[name] = _merge(below, cast("Object", value))
        else:
            result[name] = copy.deepcopy(value)
    return result


def _patched(target: Object, operations: list[Object]) -> Object:
    document: Object = {"": copy.deepcopy(target)}
    for one in operations:
        try:
            _operate(document, one)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise StatusError(
                422,
                "Invalid",
                f"the server rejected our request due to an error in our request: {error}",
            ) from error
    patched: Object = document[""]
    return patched


def _operate(document: Object, operation: Object) -> None:
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
        if is_list(holder):
            holder.insert(key, value)
        else:
            holder[key] = value
    else:
        raise ValueError(f"unexpected kind: {kind}")


def _locate(document: Object, path: str, *, adding: bool = False) -> tuple[Any, Any]:
    """Whoever holds what a JSON pointer names, and its name there."""
    names = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    holder: Any = document
    for name in names[:-1]:
        holder = holder[int(name) if isinstance(holder, list) else name]
    last = names[-1]
    if not is_list(holder):
        return holder, last
    index = len(holder) if last == "-" and adding else int(last)
    if not 0 <= index < len(holder) + adding:
        raise IndexError(f"index {last} is out of bounds")
    return holder, index
