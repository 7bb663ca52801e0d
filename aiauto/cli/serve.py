"""`aiauto serve`: a server in the foreground."""

from __future__ import annotations

import functools
import logging
import sys
from enum import Enum
from pathlib import Path  # noqa: TC003 - typer looks at the types when the program runs
from typing import TYPE_CHECKING, Annotated

import typer

from aiauto.errors import ArgumentError

if TYPE_CHECKING:
    from aiauto.server.lifecycle import Announcement
    from aiauto.server.settings import Settings


class LogFormat(str, Enum):
    """How a server logs."""

    TEXT = "text"
    JSON = "json"


class Executor(str, Enum):
    """Where workers run."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


DEFAULT_PORT = 8787
LOOPBACK = "127.0.0.1"


def serve(  # noqa: PLR0913 - each an option
    *,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. The default can be reached from this machine only; any "
            "other must be asked for here."
        ),
    ] = LOOPBACK,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"Port to listen on; 0 means any. Without it: {DEFAULT_PORT}, or any if that is "
            "taken.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Folder to keep everything in. Default: AIAUTO_DATA_DIR, else `aiauto` in your "
            "user data folder.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Certificate to speak HTTPS with, and those between it and its authority, in PEM "
            "form. It is read again when the file has changed. Default: AIAUTO_TLS_CERT.",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="The certificate's key, in PEM form. Default: AIAUTO_TLS_KEY."
        ),
    ] = None,
    plain_http: Annotated[
        bool,
        typer.Option(
            "--plain-http", help="Let other machines reach the server without encryption."
        ),
    ] = False,
    trusted_proxies: Annotated[
        str | None,
        typer.Option(
            help="Proxies in front that are believed when they tell by X-Forwarded-For who calls: "
            "addresses or networks, with commas between them. Default: AIAUTO_TRUSTED_PROXIES, "
            "else none."
        ),
    ] = None,
    executor: Annotated[
        Executor | None,
        typer.Option(
            help="Where workers run: as processes of this machine, or as Pods of the Kubernetes "
            "cluster that KUBECONFIG leads to or this server runs in. Default: AIAUTO_EXECUTOR, "
            "else local."
        ),
    ] = None,
    kubernetes_config: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="YAML file that says how workers run on the cluster. Default: "
            "AIAUTO_KUBERNETES_CONFIG, else what most clusters want.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="How to log: lines for people, or JSON for programs.")
    ] = LogFormat.TEXT,
    trust_users: Annotated[
        bool,
        typer.Option(
            "--trust-users",
            help="Allow several users. Their code runs as the user who starts this server, and can "
            "read what all of them have. Default: AIAUTO_TRUST_USERS, else not.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every request and every detail.")
    ] = False,
) -> None:
    """Run a server in the foreground until Ctrl-C.

    Studies and their trials are kept in the data folder; batches that are not over go on at the
    next start. People log in by a token, and by OpenID Connect where AIAUTO_OIDC_ISSUER and its
    like are set. Exit codes: 0 after a clean stop, 2 where the port, the folder, the certificate,
    the database or a variable can't be used or there are several users without --trust-users, 3
    where another server uses the folder.
    """
    # What the server is made of takes its time to import, and no other command needs it.
    from aiauto.server import lifecycle, logs  # noqa: PLC0415
    from aiauto.server.settings import ExecutorKind, Settings  # noqa: PLC0415
    from aiauto.server.trusted_proxies import TrustedProxies  # noqa: PLC0415

    as_json = log_format == LogFormat.JSON
    logs.configure(logging.DEBUG if verbose else logging.INFO, as_json=as_json)
    try:
        settings = Settings.from_environment(
            host=host,
            port=port,
            data_dir=data_dir,
            tls_cert=tls_cert,
            tls_key=tls_key,
            executor=None if executor is None else ExecutorKind(executor.value),
            kubernetes_config=kubernetes_config,
            plain_http=plain_http or None,
            trusted_proxies=None
            if trusted_proxies is None
            else TrustedProxies.parse("--trusted-proxies", trusted_proxies),
            trust_users=trust_users or None,
        )
    except ArgumentError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(lifecycle.EXIT_USAGE) from None
    if not settings.on_loopback:
        print(WARNING.format(host=host), file=sys.stderr)
        if not settings.speaks_https:
            print(READABLE, file=sys.stderr)
    # What a Pod prints is kept, and read by people who have no business with its token.
    in_cluster = settings.executor is ExecutorKind.KUBERNETES
    introduce = functools.partial(_introduce, show_token=not in_cluster)
    raise typer.Exit(lifecycle.run(settings, _ports(settings, port), introduce))


WARNING = """\
Listening on {host}, which other machines can reach: whoever has a token runs code of their choice
here, as the user who started this server.
"""
READABLE = """\
There is no encryption on this port: what does not come through a proxy with TLS can be read on the
way, tokens included.
"""


def _ports(settings: Settings, port: int | None) -> list[int]:
    from aiauto.server.data_dir import DataDir  # noqa: PLC0415 - as above

    if port is not None:
        return [port]
    data = DataDir(settings.data_dir)
    # A server that did not end cleanly has left workers behind that look for it where it was.
    left = data.last_port if data.read_state() else None
    return [*([left] if left else []), DEFAULT_PORT, 0]


def _introduce(announcement: Announcement, *, show_token: bool) -> None:
    url = announcement.url
    token = announcement.token if show_token else f"<what is in {announcement.data_dir / 'token'}>"
    text = f"""\
aiauto is running on {url}. Ctrl-C stops it.

  In a script:   aiauto.AIAutoController("{token}", base_url="{url}")
  Or leave both out of the script and set, in its shell:
                 export AIAUTO_BASE_URL={url}
                 export AIAUTO_TOKEN={token}
  Pages:         {announcement.pages_url}
  Dashboard:     {announcement.dashboard_url}
  Data:          {announcement.data_dir}
"""
    print(text, flush=True)
