"""What goes wrong on the way to the API, and a record of all that was asked.

The nodes of the tests are spared: what goes wrong does so for whoever is tested.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.errors import StatusError, conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from tests.kubernetes.api.addresses import Address


# What the nodes of the tests call themselves.
NODE_AGENT: Final = "test-node"


@dataclass
class Call:
    """One request.

    Attributes:
        verb: What it does, such as "list" or "watch"; the HTTP method where it is about no object.
        path: Its path.
        query: Its query.
        user_agent: What the client calls itself.
        status: The answer's HTTP status; 0 until it is there.
    """

    verb: str
    path: str
    query: Mapping[str, str]
    user_agent: str
    status: int = 0

    @property
    def by_node(self) -> bool:
        """Whether a node of the tests made it."""
        return self.user_agent == NODE_AGENT


@dataclass
class _Fault:
    verb: str
    path: re.Pattern[str]
    times: int
    seconds: float = 0
    cut: bool = False
    error: Callable[[Address | None], StatusError] | None = None


@dataclass
class Faults:
    """Does something to requests that match.

    Each of its methods takes `verb`, a word such as "list" or "update" ("*" for any), `path`, a
    regular expression that is looked for in the path ("" for any), and `times`, for how many
    requests it holds. All may be called from any thread.

    Attributes:
        calls: Every request so far, those that failed as well.
    """

    calls: list[Call] = field(default_factory=list[Call])
    _faults: list[_Fault] = field(default_factory=list[_Fault])
    _watches: set[asyncio.Transport] = field(default_factory=set[asyncio.Transport])

    def answer(
        self,
        status: int,
        *,
        verb: str = "*",
        path: str = "",
        times: int = 1,
        retry_after: int | None = None,
    ) -> None:
        """Answer with an error, such as 429, 500 or 503.

        Args:
            status: HTTP status.
            verb: Which requests.
            path: Which requests.
            times: How many.
            retry_after: Seconds, for a header of that name.
        """
        reason, message = _SAID.get(status, ("InternalError", "an error on the server"))
        error = StatusError(status, reason, message, retry_after=retry_after)
        self._add(_Fault(verb, re.compile(path), times, error=lambda _: error))

    def conflict(self, *, verb: str = "*", path: str = "", times: int = 1) -> None:
        """Answer as if somebody else had changed the object a moment before."""

        def error(address: Address | None) -> StatusError:
            if address is None:
                return StatusError(409, "Conflict", "Conflict")
            return conflict(address.kind, address.name)

        self._add(_Fault(verb, re.compile(path), times, error=error))

    def delay(self, seconds: float, *, verb: str = "*", path: str = "", times: int = 1) -> None:
        """Begin later with what is asked."""
        self._add(_Fault(verb, re.compile(path), times, seconds=seconds))

    def cut(self, *, verb: str = "*", path: str = "", times: int = 1) -> None:
        """Close the connection instead of an answer. Nothing is done."""
        self._add(_Fault(verb, re.compile(path), times, cut=True))

    def heal(self) -> None:
        """Do nothing more to requests."""
        self._faults.clear()

    def _add(self, fault: _Fault) -> None:
        self._faults.append(fault)

    def count(self, *, verb: str = "*", path: str = "") -> int:
        """How many requests were made that match, those of nodes left out."""
        return sum(
            verb in {"*", call.verb} and re.search(path, call.path) is not None and not call.by_node
            for call in list(self.calls)
        )

    def drop_watches(self) -> None:
        """Cut the connection of every open watch. Called in the API's thread."""
        for transport in list(self._watches):
            transport.abort()

    def watching(self, transport: asyncio.Transport) -> None:
        """A watch begins."""
        self._watches.add(transport)

    def watched(self, transport: asyncio.Transport) -> None:
        """A watch is over."""
        self._watches.discard(transport)

    async def meet(self, request: web.Request, call: Call, address: Address | None) -> None:
        """Do to a request what is to be done.

        Raises:
            StatusError: That is the answer.
            ConnectionResetError: There is none.
        """
        if call.user_agent == NODE_AGENT:
            return
        for fault in list(self._faults):
            if fault.verb not in {"*", call.verb} or not fault.path.search(call.path):
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            if fault.seconds:
                await asyncio.sleep(fault.seconds)
                continue
            if fault.cut:
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError
            if fault.error is not None:
                raise fault.error(address)


_SAID = {
    429: (
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
    ),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server was unable to return a response in the time allotted"),
    410: ("Expired", "the resource version is too old"),
}
