"""Checks the paths that a user passes, before anything is sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from aiauto.errors import ArgumentFileNotFoundError, ArgumentTypeError, ArgumentValueError

MAX_NAME_BYTES = 255


def local_file(value: object, name: str) -> Path:
    """Check that a path names a file of this machine which can be sent.

    Args:
        value: What came in.
        name: Name of the argument.
    """
    text = _text(value, name)
    file_name = os.path.basename(text)  # noqa: PTH119 - with Path "data/" would be a file
    if file_name in {"", ".", ".."}:
        message = f"{name} {text!r} has no file name: name a file."
        raise ArgumentValueError(message, argument=name)
    _check_names([file_name], text, name)
    path = Path(text)
    if path.is_dir():
        message = f"{name} {text!r} is a folder: name the files in it, or pack them into one."
        raise ArgumentValueError(message, argument=name)
    if not path.exists():
        message = f"{name} {text!r} does not exist (looked for {path.absolute()})."
        raise ArgumentFileNotFoundError(message, argument=name, path=text)
    return path


def new_file(value: object, name: str) -> Path:
    """Check that a path can name a file that is to be written.

    Args:
        value: What came in.
        name: Name of the argument.
    """
    path = Path(_text(value, name))
    if not path.parent.is_dir():
        message = f"{name} {str(path)!r} can't be written: there is no folder {str(path.parent)!r}."
        raise ArgumentFileNotFoundError(message, argument=name, path=str(path))
    return path


def cache_folder(value: object, name: str) -> str:
    """Check a folder in the shared cache; None and ``/`` stand for all of it.

    Args:
        value: What came in.
        name: Name of the argument.

    Returns:
        It without a slash at either end, empty for the whole cache.
    """
    if value is None:
        return ""
    text = _text(value, name, empty=True).strip()
    names = [one for one in text.split("/") if one not in {"", "."}]
    _check_names(names, text, name)
    return "/".join(names)


def cache_path(value: object, name: str) -> str:
    """Check a path in the shared cache.

    Args:
        value: What came in.
        name: Name of the argument.
    """
    text = _text(value, name)
    if text.startswith("/"):
        message = f"{name} is {text!r}: it must be relative, without / at its beginning."
        raise ArgumentValueError(message, argument=name)
    names = [one for one in text.split("/") if one not in {"", "."}]
    if not names:
        message = f"{name} is {text!r}: name a file or a folder in the shared cache."
        raise ArgumentValueError(message, argument=name)
    _check_names(names, text, name)
    return "/".join(names)


def _text(value: object, name: str, *, empty: bool = False) -> str:
    given = os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value
    if not isinstance(given, str):
        message = f"{name} must be a path as text, not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    if not given and not empty:
        message = f"{name} must not be empty."
        raise ArgumentValueError(message, argument=name)
    if "\0" in given:
        message = f"{name} {given!r} must not contain null bytes."
        raise ArgumentValueError(message, argument=name)
    return given


def _check_names(names: list[str], path: str, argument: str) -> None:
    """Refuse what the server would refuse."""
    for name in names:
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            message = f"{argument} {path!r} holds a name that is not valid Unicode: rename it."
            raise ArgumentValueError(message, argument=argument) from None
        if name == "..":
            message = f"{argument} {path!r} must not contain '..' path segments."
        elif size > MAX_NAME_BYTES:
            message = f"{argument} {path!r}: the name {name!r} exceeds {MAX_NAME_BYTES} bytes."
        elif "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
            message = f"{argument} {path!r} holds a backslash or a control character: rename it."
        else:
            continue
        raise ArgumentValueError(message, argument=argument)
