"""The addresses that the server gives out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiauto.server.settings import Settings
    from aiauto.server.web.sessions import Sessions

WORKER_HOST = "127.0.0.1"
"""Where a server that speaks HTTPS listens for workers of its own machine, without it."""


class Links:
    """Addresses of the server and of a user's pages.

    Attributes:
        base_url: Address of the server as users reach it.
        worker_url: Address of the server as workers on this machine reach it.
    """

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        """Make links for a server whose port is known.

        Args:
            settings: How the server runs. Its ports are the ones that it listens on.
            sessions: Makes log-in keys.
        """
        address = f"{_reachable(settings.host)}:{settings.port}"
        if settings.speaks_https:
            # Its certificate is for its name, by which this machine may not reach it.
            self.worker_url: str = f"http://{WORKER_HOST}:{settings.worker_port}"
            address = f"https://{address}"
        else:
            self.worker_url = address = f"http://{address}"
        self.base_url: str = (settings.public_url or address).rstrip("/")
        self._sessions = sessions
        self._with_key = settings.login_links

    def dashboard_url(self, user_id: int) -> str:
        """Address of a user's Optuna dashboard; on loopback it logs the user in.

        Args:
            user_id: The user.
        """
        return f"{self.base_url}/dashboard{self._query(user_id)}"

    def pages_url(self, user_id: int) -> str:
        """Address of the server's own pages; on loopback it logs the user in.

        Args:
            user_id: The user.
        """
        return f"{self.base_url}/{self._query(user_id)}"

    def _query(self, user_id: int) -> str:
        return f"?key={self._sessions.key(user_id)}" if self._with_key else ""


def _reachable(host: str) -> str:
    """A host to connect to, for one to listen on."""
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
    host = any_address.get(host.strip("[]"), host.strip("[]"))
    return f"[{host}]" if ":" in host else host
