"""A real server for tests: yours, and those of this package.

::

    from aiauto.testing import embedded_server

    def test_my_objective():
        with embedded_server() as server:
            ac = aiauto.AIAutoController(server.token, server.url)
            study = ac.create_study("test")
            study.optimize(objective, n_trials=4, wait_option="WAIT_ALL_TRIALS")
            assert study.best_value < 1

It listens on a free port of the loopback interface, keeps its data in a folder of its own, starts
workers as ever, and takes all of it away at the end.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from aiauto import embedded

if TYPE_CHECKING:
    from collections.abc import Generator

STOP_TIMEOUT = 15.0
"""Seconds that a server may take to end by itself."""


class EmbeddedServer:
    """A server under test. Made by `embedded_server`.

    Attributes:
        data_dir: Folder of its data. A controller made with ``AIAUTO_DATA_DIR`` set to it uses this
            server.
    """

    data_dir: Path

    def __init__(self, data_dir: Path, *, idle_timeout: float | None = None) -> None:
        self.data_dir = data_dir
        self._idle_timeout = idle_timeout
        self._last: embedded.RunningServer | None = None
        # By process and start time, so that no other process is ever mistaken for one of ours.
        self._process: psutil.Process | None = None
        self._workers: set[psutil.Process] = set()

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.data_dir)!r})"

    @property
    def url(self) -> str:
        """Its address; the last one while it is not running."""
        return self._server().url

    @property
    def token(self) -> str:
        """The token of its user."""
        return self._server().token

    @property
    def pid(self) -> int:
        """Its process; the last one while it is not running."""
        return self._server().pid

    def is_running(self) -> bool:
        """Tell whether it answers."""
        # A controller may have started it anew.
        found = embedded.find(self.data_dir)
        if found is not None:
            self._know(found)
        return found is not None

    def start(self) -> None:
        """Start it, if it does not run."""
        if not self.is_running():
            self._know(embedded.start(self.data_dir, idle_timeout=self._idle_timeout))

    def stop(self) -> None:
        """End it in order, as on SIGTERM, and wait for that."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it at once, as a crash does (SIGKILL). Its workers are left alone."""
        self._end(kill=True)

    def restart(self) -> None:
        """Stop it, if it runs, and start it again on the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it for good, and whatever it started."""
        self.stop()
        for worker in self._workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        psutil.wait_procs(self._workers, timeout=STOP_TIMEOUT)
        self._workers.clear()

    def _know(self, server: embedded.RunningServer) -> None:
        self._last = server
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(server.pid)

    def _server(self) -> embedded.RunningServer:
        self.is_running()
        if self._last is None:
            message = "the server has not been started"
            raise RuntimeError(message)
        return self._last

    def _end(self, *, kill: bool) -> None:
        self.is_running()
        if self._process is None:
            return
        try:
            # Its workers must be known before they have no parent any more.
            self._workers.update(self._process.children(recursive=True))
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait(STOP_TIMEOUT)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired:
            self._process.kill()


@contextlib.contextmanager
def embedded_server(
    data_dir: str | Path | None = None, *, idle_timeout: float | None = None
) -> Generator[EmbeddedServer, None, None]:
    """Run a server while the block runs.

    Args:
        data_dir: Folder of its data, which stays. Default: a temporary one, which goes.
        idle_timeout: Seconds without use after which it stops. Default: the server's.

    Yields:
        The server, which accepts calls.

    Raises:
        ServerStartError: It did not start.
    """
    with contextlib.ExitStack() as stack:
        if data_dir is None:
            data_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="aiauto-"))
        server = EmbeddedServer(Path(data_dir).absolute(), idle_timeout=idle_timeout)
        server.data_dir.mkdir(parents=True, exist_ok=True)
        stack.callback(server.close)
        server.start()
        yield server
