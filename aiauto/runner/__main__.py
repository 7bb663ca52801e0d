"""The program of a worker."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from aiauto import config
from aiauto.errors import RpcError
from aiauto.runner.children import end_as_usual
from aiauto.runner.enrollment import enroll, not_enrolled
from aiauto.runner.worker import Exit, StoppedError, Worker

if TYPE_CHECKING:
    from types import FrameType

# For so long threads that an objective has left behind, and what it has put off until the end, may
# keep a worker that is done.
GRACE_SECONDS = 3.0


def main() -> int:
    """Run trials until there are no more.

    Returns:
        The exit code, an `Exit`.
    """
    base_url = os.environ.get(config.BASE_URL_VARIABLE)
    try:
        if base_url and (enrollment := os.environ.pop(config.ENROLLMENT_TOKEN_VARIABLE, None)):
            os.environ[config.TOKEN_VARIABLE] = enroll(base_url, enrollment)
    except RpcError as error:
        return not_enrolled(error)
    token = os.environ.get(config.TOKEN_VARIABLE)
    if not base_url or not token:
        print(  # noqa: T201 - whoever started it by hand reads this
            f"aiauto.runner is started by an aiauto server, which sets {config.BASE_URL_VARIABLE} "
            f"and {config.TOKEN_VARIABLE}.",
            file=sys.stderr,
        )
        return Exit.USAGE
    worker = Worker(base_url, token)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # Once is enough: what follows must not be cut off in turn.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        worker.stop()
        raise StoppedError

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    end_as_usual(stop)
    try:
        with worker:
            return worker.run()
    except StoppedError:
        return Exit.STOPPED
    except RpcError as error:
        print(f"The server can't be worked for: {error}", file=sys.stderr)  # noqa: T201
        return Exit.SERVER_LOST


def run() -> NoReturn:
    """Run trials until there are no more, and end the process."""
    _say_where_it_crashes()
    exit_code = main()
    threading.Thread(target=_end_soon, args=(exit_code,), daemon=True).start()
    sys.exit(exit_code)


def _say_where_it_crashes() -> None:
    if sys.version_info >= (3, 14):
        # Stacks of C code would crowd Python's out of the little output that a cluster keeps.
        faulthandler.enable(c_stack=False)
    else:
        faulthandler.enable()


def _end_soon(code: int) -> None:
    time.sleep(GRACE_SECONDS)
    os._exit(code)


if __name__ == "__main__":
    run()
