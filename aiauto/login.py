"""The login that `aiauto login` stores: an address and a token, for this user's eyes only.

It stands in for the arguments and the environment where neither names a server: see
`aiauto.config.resolve`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from aiauto.errors import ArgumentValueError
from aiauto.whole_file import whole_file


@dataclass(frozen=True)
class Login:
    """A stored login.

    Attributes:
        base_url: Address of the server.
        token: The user's token there. Never shown.
    """

    base_url: str
    token: str = field(repr=False)


def path() -> Path:
    """The file of the login.

    Returns:
        ``login.json`` in ``aiauto`` in ``XDG_CONFIG_HOME``, or in the place that the operating
        system has for settings. It need not exist.
    """
    # On Linux platformdirs reads this variable itself; on the other systems people set it as well.
    xdg = os.environ.get("XDG_CONFIG_HOME")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg, "aiauto", "login.json")
    return platformdirs.user_config_path("aiauto", appauthor=False) / "login.json"


def stored() -> Login | None:
    """Read the login.

    Returns:
        The login, or None where there is none.

    Raises:
        ArgumentValueError: The file is there and can't be read.
    """
    file = path()
    try:
        # Any JSON may stand there; what does not fit raises one of the errors below.
        record: Any = json.loads(file.read_text(encoding="utf-8"))
        login = Login(str(record["base_url"]), str(record["token"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = (
            f"The stored login {file} can't be read ({type(error).__name__}): run `aiauto login` "
            "again, or `aiauto logout` to do without it."
        )
        raise ArgumentValueError(message, argument="token") from error
    return login


def store(login: Login) -> Path:
    """Write the login, in place of the one that was there. Only this user may read it.

    Args:
        login: The login.

    Returns:
        The file.

    Raises:
        OSError: It can't be written.
    """
    file = path()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps({"base_url": login.base_url, "token": login.token})
    # It is never there with wider rights, or in part.
    with whole_file(file, private=True) as new:
        new.write(text.encode())
    return file


def forget() -> bool:
    """Delete the login. Tells whether there was one."""
    try:
        path().unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
