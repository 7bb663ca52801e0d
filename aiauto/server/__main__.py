"""``python -m aiauto.server``: the embedded server, which the SDK starts when it needs one."""

from __future__ import annotations

import argparse
import sys

from aiauto.errors import ArgumentError
from aiauto.server import lifecycle, logs
from aiauto.server.data_dir import DataDir
from aiauto.server.settings import Settings

IDLE_SECONDS = 600.0


def main() -> int:
    """Run the server.

    Returns:
        The exit code, as `aiauto.server.lifecycle.run` says.
    """
    parser = argparse.ArgumentParser(
        prog="python -m aiauto.server",
        description="Runs an aiauto server until nobody has used it for a while. "
        "To run one by hand, use `aiauto serve`.",
    )
    parser.add_argument("--data-dir", help="where it keeps its data")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port (default: that of last time, or any)")
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=IDLE_SECONDS,
        help="seconds without use after which it stops (default: %(default)g)",
    )
    options = parser.parse_args()
    logs.configure()
    try:
        settings = Settings.from_environment(**vars(options))
    except ArgumentError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person at the terminal
        return lifecycle.EXIT_USAGE
    if options.port is not None:
        ports = [settings.port]
    else:
        # Links and notebooks that know the port of last time go on working, and so do workers that
        # outlived a server that was killed.
        ports = [DataDir(settings.data_dir).last_port or 0, 0]
    return lifecycle.run(settings, ports, lambda _announcement: None)


if __name__ == "__main__":
    sys.exit(main())
