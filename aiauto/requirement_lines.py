"""Lines of requirements on their way to machines that have none of this one's files.

What names other files is settled here: ``-r`` is replaced by the lines of its file, and what can't
go over is refused, where pip would look for it in vain on the worker.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from aiauto.errors import ArgumentFileNotFoundError, ArgumentValueError

__all__ = ["check", "read"]

MAX_CHARACTERS = 256 * 1024
OPTION = re.compile(r"(-[a-zA-Z]|--[a-z-]+)(?:\s*=\s*|\s+|(?<=^-[a-zA-Z])(?=\S))(.*)")
INCLUDES = frozenset({"-r", "--requirement"})
CONSTRAINTS = frozenset({"-c", "--constraint"})
EDITABLES = frozenset({"-e", "--editable"})
FOLDERS = frozenset({"-f", "--find-links"})
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
NAMED = re.compile(r"[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@\s*")
# What may follow a requirement: a marker, a comment, options.
TAIL = re.compile(r"(\s*;|\s+#|\s+--).*")


def read(path: Path) -> str:
    """Read a requirements file, with the files that it includes.

    Args:
        path: The file.

    Returns:
        Its lines, which need no other file of this machine.

    Raises:
        ArgumentFileNotFoundError: It is not there, or one that it includes.
        ArgumentValueError: It can't be read, is too big, or holds what can't go over.
    """
    text = "".join(f"{line}\n" for line in _lines(path, ()))
    if len(text) > MAX_CHARACTERS:
        message = (
            f"requirements_file {str(path)!r} has {len(text)} characters with what it includes, "
            f"and at most {MAX_CHARACTERS} travel."
        )
        raise ArgumentValueError(message, argument="requirements_file")
    return text


def check(line: str, argument: str, where: str = "") -> None:
    """Make sure that a line means the same on another machine.

    Args:
        line: The line, without its line break.
        argument: The argument that it came with.
        where: The file that it stands in; empty for a list.

    Raises:
        ArgumentValueError: It does not.
    """
    place = f"{where}: {line!r}" if where else repr(line)
    option = OPTION.fullmatch(line)
    name, value = (option[1], option[2]) if option else ("", line)
    if name in INCLUDES | CONSTRAINTS and not _is_address(value):
        _refuse(
            f"{argument} holds {place}, and the workers do not have that file: "
            + (
                "pass it as requirements_file, which includes others."
                if name in INCLUDES
                else "write the versions into the requirements themselves."
            ),
            argument,
        )
    if name in EDITABLES:
        _refuse(
            f"{argument} holds {place}, and the workers do not have that folder. Code of your own "
            "needs no requirement: what the objective imports from a folder, or from a project "
            "installed with 'pip install -e', travels with it.",
            argument,
        )
    if not name or name in FOLDERS:
        target = _target(value, is_folder=name in FOLDERS)
        if target and not (_is_address(target) or _is_absolute(target)):
            _refuse(
                f"{argument} holds {place}: a relative path means nothing on the workers. Write an "
                "address, or an absolute path of a machine that runs them.",
                argument,
            )


def _lines(path: Path, including: tuple[Path, ...]) -> list[str]:
    if path.resolve() in including:
        _refuse(f"requirements_file {str(path)!r} includes itself.", "requirements_file")
    found: list[str] = []
    for line in _logical_lines(_text(path, including)):
        option = OPTION.fullmatch(line)
        if option and option[1] in INCLUDES and not _is_address(option[2]):
            inner = path.parent / TAIL.sub("", option[2]).strip().strip("\"'")
            found += _lines(inner, (*including, path.resolve()))
            continue
        check(line, "requirements_file", str(path))
        found.append(line)
    return found


def _logical_lines(text: str) -> list[str]:
    """Lines without comments, continued ones as one."""
    joined = re.sub(r"[ \t]*\\\r?\n[ \t]*", " ", text)
    lines = (line.strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _text(path: Path, including: tuple[Path, ...]) -> str:
    argument = "requirements_file"
    origin = f", which {str(including[-1])!r} includes," if including else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        message = f"{argument} {str(path)!r}{origin} does not exist (looked for {path.absolute()})."
        raise ArgumentFileNotFoundError(message, argument=argument, path=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{argument} {str(path)!r}{origin} can't be read as text: {error}."
        raise ArgumentValueError(message, argument=argument) from error


def _target(value: str, *, is_folder: bool) -> str:
    """The file or address that a requirement names; empty where it names a package."""
    value = TAIL.sub("", value).strip().strip("\"'")
    if is_folder:
        return value
    named = NAMED.match(value)
    if named:
        return value[named.end() :]
    plain = re.sub(r"\[[^\]]*\]$", "", value)
    is_path = "/" in plain or "\\" in plain or plain.startswith(".")
    return plain if is_path or plain.lower().endswith(ARCHIVES) else ""


def _is_address(target: str) -> bool:
    match = URL.match(target)
    if match is None or len(match[0]) == 2:  # a drive
        return False
    # "file:wheels/one.whl" is relative.
    return match[0].lower() != "file:" or target[len(match[0]) :].startswith("/")


def _is_absolute(target: str) -> bool:
    # Of whichever system: the workers' may be another.
    return PurePosixPath(target).is_absolute() or PureWindowsPath(target).is_absolute()


def _refuse(message: str, argument: str) -> NoReturn:
    raise ArgumentValueError(message, argument=argument)
