"""Where the server is and how long to wait for it: the environment, and every default in one place.

The environment is read when it is needed, never on import.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from aiauto import login
from aiauto.errors import ArgumentTypeError, ArgumentValueError

HOSTED_URL = "https://dashboard.aiauto.pangyo.ainode.ai"
"""Address of the hosted service: what a token without an address means."""

BASE_URL_VARIABLE = "AIAUTO_BASE_URL"
TOKEN_VARIABLE = "AIAUTO_TOKEN"  # noqa: S105 - the name of a variable
DATA_DIR_VARIABLE = "AIAUTO_DATA_DIR"
IDLE_TIMEOUT_VARIABLE = "AIAUTO_IDLE_TIMEOUT"
INSECURE_VARIABLE = "AIAUTO_INSECURE"
CA_BUNDLE_VARIABLE = "AIAUTO_CA_BUNDLE"
LOG_LEVEL_VARIABLE = "AIAUTO_LOG_LEVEL"
WORKER_VARIABLE = "AIAUTO_WORKER"
"""Set inside a worker, to its name: its token and its server are the ones to use there."""

GPU_NAME_VARIABLE = "AIAUTO_GPU_NAME"
"""Set for a worker with GPUs, to their name: it becomes the user attribute ``gpu_name``."""

ENROLLMENT_TOKEN_VARIABLE = "AIAUTO_ENROLLMENT_TOKEN"  # noqa: S105 - the name of a variable
"""Set in a Pod that is to become a worker: by this it gets a token of its own."""

POD_NAME_VARIABLE = "AIAUTO_POD_NAME"
"""Set in such a Pod, to its name."""

NODE_NAME_VARIABLE = "AIAUTO_NODE_NAME"
"""Set in such a Pod, to the machine that it runs on: its own host name is that of the Pod."""

GPU_SHARE_VARIABLE = "AIAUTO_GPU_SHARE"
"""Set in such a Pod, to the key of ``gpu_model`` whose trials it runs, if it is of one."""

CALL_TIMEOUT = 60.0
"""Seconds that one call may take, its retries included."""

CALL_PATIENCE = 30.0
"""Seconds for which a call is sent again to a server that has answered before and is away: several
times what a start takes."""

WORKSPACE_PATIENCE = 300.0
"""Seconds that a server may take to make a workspace, as the released client waits for it."""

SERVER_START_TIMEOUT = 60.0
"""Seconds that the embedded server may take to answer."""

SERVER_PROBE_TIMEOUT = 5.0
"""Seconds that a running embedded server may take to say that it lives."""

TRIAL_PATIENCE = 600.0
"""Seconds for which a single trial is waited for, as the released client does it."""

WATCH_RENEWAL = 60.0
"""Seconds after which a progress stream is opened anew, lest a silently dead one be believed."""

WATCH_PATIENCE = 600.0
"""Seconds for which an unreachable server is tried again before a wait gives up."""


@dataclass(frozen=True)
class Remote:
    """A server that somebody else runs.

    Attributes:
        url: Its address, without a slash at the end.
        token: The user's token there. Never shown.
        source: What named the token, in words: an argument, a variable, or the stored login. Makes
            no other server.
    """

    url: str
    token: str = field(repr=False)
    source: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Embedded:
    """The server of this machine, started on demand.

    Attributes:
        data_dir: Where it keeps its data; there is one server a folder.
    """

    data_dir: Path


def resolve(token: str | None = None, base_url: str | None = None) -> Remote | Embedded:
    """Decide which server is meant: arguments before variables before what `aiauto login` stored.

    Inside a worker it is the worker's own, with the worker's own rights, whatever is passed: some
    scripts make their controller inside the objective, too, with the token of their user.

    Args:
        token: The user's token. Default: ``AIAUTO_TOKEN``, else that of the stored login, for its
            own address only.
        base_url: Address of the server. Default: ``AIAUTO_BASE_URL``, else that of the stored
            login; without those, the hosted service if there is a token, the embedded server if
            there is none.

    Returns:
        The server.

    Raises:
        ArgumentTypeError: An argument is not text.
        ArgumentValueError: The address is none, the token can't be one, there is an address
            without a token, or the stored login can't be read.
    """
    if (own := _of_worker()) is not None:
        return own
    address, address_from = _argument_or_variable(base_url, "base_url", BASE_URL_VARIABLE)
    secret, secret_from = _argument_or_variable(token, "token", TOKEN_VARIABLE)
    if secret is not None:
        _check_token(secret, secret_from)
    url = None if address is None else checked_url(address, address_from)
    # A login that can't be read is nobody's business who needs none.
    stored = None if secret is not None and url is not None else login.stored()
    if stored is not None and url is None:
        url = checked_url(stored.base_url, str(login.path()))
    if stored is not None and secret is None and url == stored.base_url:
        _check_token(stored.token, str(login.path()))
        return Remote(stored.base_url, stored.token, "the stored login")
    if secret is not None:
        return Remote(url or HOSTED_URL, secret, secret_from)
    if url is None:
        return Embedded(data_dir())
    message = (
        f"{address_from} names the server {url}, and there is no token for it: pass "
        f"AIAutoController(token=...), set {TOKEN_VARIABLE} or run `aiauto login`. `aiauto serve` "
        "prints the token of a server that you run yourself; with neither address nor token aiauto "
        "runs one for you."
    )
    raise ArgumentValueError(message, argument="token")


def ssl_context() -> ssl.SSLContext | None:
    """How to check the certificate of a server.

    Returns:
        None for the usual way: by the authorities that this machine trusts, or those that
        ``SSL_CERT_FILE`` names. With ``AIAUTO_CA_BUNDLE``, a file of certificates in PEM form or a
        folder of them, by those and no others. With ``AIAUTO_INSECURE`` set to ``true``, ``1`` or
        ``yes``, as the released client has it, a context that accepts any certificate; that is
        warned of.

    Raises:
        ArgumentValueError: ``AIAUTO_CA_BUNDLE`` can't be read.
    """
    if not is_insecure():
        return authorities()
    message = (
        f"{INSECURE_VARIABLE} is set: certificates are not checked, so that anybody on the way to "
        "the server can read the token and change what is sent. Use it in your own network only."
    )
    warnings.warn(message, stacklevel=2)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def authorities() -> ssl.SSLContext | None:
    """How to check a certificate that must be checked, whatever else the environment says.

    Returns:
        None for the usual way; with ``AIAUTO_CA_BUNDLE``, by those certificates and no others.

    Raises:
        ArgumentValueError: ``AIAUTO_CA_BUNDLE`` can't be read.
    """
    bundle = os.environ.get(CA_BUNDLE_VARIABLE)
    return _trusting(Path(bundle).expanduser()) if bundle else None


def trust() -> tuple[str | None, str | None]:
    """What the environment says of certificates: with another answer, connections are others."""
    return os.environ.get(CA_BUNDLE_VARIABLE), os.environ.get(INSECURE_VARIABLE)


def _trusting(bundle: Path) -> ssl.SSLContext:
    try:
        if bundle.is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        message = (
            f"{CA_BUNDLE_VARIABLE} is {str(bundle)!r}, which can't be read as certificates: "
            f"{error.strerror or error}. Name a file in PEM form, with the certificate of the "
            "authority that signed the server's, or the server's own if it signed that itself."
        )
        raise ArgumentValueError(message, argument=CA_BUNDLE_VARIABLE) from error


def is_insecure() -> bool:
    """Whether the environment wants certificates to go unchecked."""
    return os.environ.get(INSECURE_VARIABLE, "").lower() in {"true", "1", "yes"}


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address stands for this machine and nothing else.

    Args:
        host: A name or an address, an IPv6 address with or without brackets.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def warn_if_readable(url: str) -> None:
    """Warn where a token would travel so that anybody on the way can read it.

    Inside a worker nobody could heed the warning: its server's address was chosen by others.

    Args:
        url: Address of the server.
    """
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not in_worker():
        message = (
            f"{url} is plain HTTP: whoever is on the way can read your token, your code and your "
            "results. Use an https:// address; `aiauto serve --tls-cert` serves one."
        )
        warnings.warn(message, stacklevel=2)


def in_worker() -> bool:
    """Whether this program is a worker, or was started by one."""
    return bool(os.environ.get(WORKER_VARIABLE))


def _of_worker() -> Remote | None:
    token, url = os.environ.get(TOKEN_VARIABLE), os.environ.get(BASE_URL_VARIABLE)
    return Remote(url.rstrip("/"), token) if in_worker() and token and url else None


def data_dir() -> Path:
    """Folder in which the embedded server of this user keeps its data.

    Returns:
        ``AIAUTO_DATA_DIR``; else ``aiauto`` in ``XDG_DATA_HOME`` or in the place that the operating
        system has for such data. Absolute; it need not exist.
    """
    if chosen := os.environ.get(DATA_DIR_VARIABLE):
        return Path(chosen).expanduser().absolute()
    # On Linux platformdirs reads this variable itself; on the other systems people set it as well.
    xdg = os.environ.get("XDG_DATA_HOME")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg, "aiauto")
    return platformdirs.user_data_path("aiauto", appauthor=False)


def idle_timeout() -> float | None:
    """Seconds without use after which an embedded server that is started now shall stop.

    Returns:
        ``AIAUTO_IDLE_TIMEOUT``; None leaves it to the server.

    Raises:
        ArgumentValueError: The variable is not a positive number.
    """
    text = os.environ.get(IDLE_TIMEOUT_VARIABLE)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        message = f"{IDLE_TIMEOUT_VARIABLE} is {text!r}: it must be a positive number of seconds."
        raise ArgumentValueError(message, argument=IDLE_TIMEOUT_VARIABLE)
    return seconds


def _argument_or_variable(given: object, name: str, variable: str) -> tuple[str | None, str]:
    """The value and where it came from, in words for an error."""
    if given is None:
        return os.environ.get(variable) or None, variable
    if not isinstance(given, str):
        message = f"{name} must be text, not {type(given).__name__}."
        raise ArgumentTypeError(message, argument=name)
    return given, name


def _check_token(token: str, source: str) -> None:
    if token.strip() in {"", "<token>"}:
        message = (
            f"{source} is {token!r}: put your own token there. Issue one at {HOSTED_URL}/token, or "
            "leave it out to run on this machine."
        )
        raise ArgumentValueError(message, argument="token")
    if not (token.isascii() and token.isprintable()) or " " in token:
        # The token itself is a secret and is not repeated.
        message = f"{source} holds characters that no token has: copy it again, without spaces."
        raise ArgumentValueError(message, argument="token")


def checked_url(url: str, source: str) -> str:
    """Check the address of a server.

    Args:
        url: The address.
        source: What named it, in words for an error.

    Returns:
        The address, without a slash at the end.

    Raises:
        ArgumentValueError: It can't be one.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        sound = False
    else:
        sound = sound and not (parts.query or parts.fragment or parts.username)
    if not sound:
        message = (
            f"{source} is {url!r}: it must be the address of a server, such as "
            "http://127.0.0.1:8787 or https://aiauto.example.org."
        )
        raise ArgumentValueError(message, argument="base_url")
    return url.rstrip("/")
