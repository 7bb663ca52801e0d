"""The program of a worker."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from aiauto import config
from aiauto.errors import RpcError
from aiauto.runner.worker import Exit, Worker

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run trials until there are no more.

    Returns:
        The exit code, an `Exit`.
    """
    base_url = os.environ.get(config.BASE_URL_VARIABLE)
    token = os.environ.get(config.TOKEN_VARIABLE)
    if not base_url or not token:
        print(  # noqa: T201 - whoever started it by hand reads this
            f"aiauto.runner is started by an aiauto server, which sets {config.BASE_URL_VARIABLE} "
            f"and {config.TOKEN_VARIABLE}.",
            file=sys.stderr,
        )
        return Exit.USAGE
    signal.signal(signal.SIGTERM, _stop)
    try:
        with Worker(base_url, token) as worker:
            return worker.run()
    except RpcError as error:
        print(f"The server can't be worked for: {error}", file=sys.stderr)  # noqa: T201
        return Exit.SERVER_LOST
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else Exit.STOPPED


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(Exit.STOPPED)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that an objective has left behind must not keep the worker.
    os._exit(code)
