"""What is asked of the cluster: the calls of its API that batches need, with objects as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import aiohttp
from kubernetes_asyncio import client, config

from aiauto.errors import ArgumentValueError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiauto.server.executors.kubernetes.configuration import Json

# Seconds that one answer may take, and that a connection may.
REQUEST_TIMEOUT: Final = 30.0
# A watch is begun anew after this: a silently dead one must not be believed.
WATCH_SECONDS: Final = 300
LIST_LIMIT: Final = 500
# What a Pod finds of its own account.
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_FILE: Final = ACCOUNT / "token"
NAMESPACE_FILE: Final = ACCOUNT / "namespace"
DEFAULT_NAMESPACE: Final = "default"
GONE: Final = 410
NOT_FOUND: Final = 404
CONFLICT: Final = 409
TOO_MANY: Final = 429
# As Kubernetes' own clients: so often is a call made again that the cluster has no time for.
ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 8.0

Kind = Literal["pod", "job"]


class ClusterError(Exception):
    """The cluster refused, or could not be reached.

    Attributes:
        status: The HTTP status of its answer; 0 where there was none.
        message: What it says, for people.
        retry_after: Seconds after which it wants to be asked again.
    """

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(status, message, retry_after)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message

    @property
    def is_final(self) -> bool:
        """Whether the same request would be refused again."""
        return 400 <= self.status < 500 and self.status not in {CONFLICT, TOO_MANY}


class Cluster:
    """A namespace of a cluster. Use `connect`.

    Attributes:
        namespace: Its name.
    """

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        """Use `connect`."""
        self.namespace = namespace
        self.api: client.ApiClient = api
        self._core = client.CoreV1Api(api)
        self._batch = client.BatchV1Api(api)

    @classmethod
    async def connect(cls, namespace: str = "") -> Cluster:
        """Find the cluster: that of ``KUBECONFIG``, else the one that this program runs in.

        Args:
            namespace: Where to work; empty for the namespace of the kubeconfig's context, or the
                one that this program runs in.

        Raises:
            ArgumentValueError: There is none, or the kubeconfig can't be used.
        """
        configuration = client.Configuration()
        try:
            found = await _find(configuration)
        except (config.ConfigException, OSError, ValueError) as error:
            message = (
                "There is no Kubernetes to run batches on: set KUBECONFIG to a file that leads to "
                f"a cluster, or run the server in one. ({error})"
            )
            raise ArgumentValueError(message, argument="executor") from error
        return cls(client.ApiClient(configuration), namespace or found)

    async def close(self) -> None:
        """End all connections."""
        await self.api.close()

    async def create_job(self, manifest: Json) -> Json:
        """Make a Job; one of that name that is there already is as good.

        Returns:
            The Job as it is in the cluster.
        """
        try:
            return await self._call(self._batch.create_namespaced_job, body=manifest)
        except ClusterError as error:
            if error.status != CONFLICT:
                raise
        return await self._call(self._batch.read_namespaced_job, name=manifest["metadata"]["name"])

    async def create_secret(self, manifest: Json) -> bool:
        """Make a Secret.

        Returns:
            Whether it was made: False where one of that name is there.
        """
        try:
            await self._call(self._core.create_namespaced_secret, body=manifest)
        except ClusterError as error:
            if error.status == CONFLICT:
                return False
            raise
        return True

    async def secret(self, name: str) -> Json | None:
        """A Secret; None where there is none of that name."""
        try:
            return await self._call(self._core.read_namespaced_secret, name=name)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def delete_secret(self, name: str) -> None:
        """Delete a Secret. One that is gone is."""
        await self._delete(self._core.delete_namespaced_secret, name=name)

    async def delete_job(self, name: str) -> None:
        """Delete a Job, and its Pods with it. They get their time to end. One that is gone is."""
        await self._delete(
            self._batch.delete_namespaced_job, name=name, propagation_policy="Background"
        )

    async def delete_pod(self, name: str) -> None:
        """Delete a Pod at once: it does not answer. One that is gone is."""
        await self._delete(self._core.delete_namespaced_pod, name=name, grace_period_seconds=0)

    async def last_event(self, job: str, reason: str) -> str | None:
        """What an event of a Job says, if there has been one for that reason.

        Args:
            job: Name of the Job.
            reason: The reason, as controllers name it.
        """
        selector = f"involvedObject.kind=Job,involvedObject.name={job},reason={reason}"
        answer = await self._call(self._core.list_namespaced_event, field_selector=selector)
        events: list[Json] = answer.get("items") or []
        return str(events[-1].get("message", "")) if events else None

    async def list_objects(self, kind: Kind, selector: str) -> tuple[list[Json], str]:
        """List Pods or Jobs.

        Args:
            kind: Which of the two.
            selector: A label selector.

        Returns:
            They, and the version of the cluster that they are of.
        """
        objects: list[Json] = []
        more: dict[str, str] = {}
        while True:
            answer = await self._call(
                self._lister(kind), label_selector=selector, limit=LIST_LIMIT, **more
            )
            objects += answer.get("items", [])
            version = str(answer["metadata"]["resourceVersion"])
            token = answer["metadata"].get("continue")
            if not token:
                return objects, version
            more = {"_continue": token}

    async def watch(self, kind: Kind, selector: str, version: str) -> AsyncIterator[Json]:
        """Tell what becomes of Pods or Jobs.

        Args:
            kind: Which of the two.
            selector: A label selector.
            version: The version of the cluster from which on.

        Yields:
            Events as Kubernetes has them, with ``type`` and ``object``. They end after a while.

        Raises:
            ClusterError: Status 410: what happened since then is not known any more.
        """
        try:
            answer = await self._answer(
                self._lister(kind),
                label_selector=selector,
                watch=True,
                allow_watch_bookmarks=True,
                resource_version=version,
                timeout_seconds=WATCH_SECONDS,
                _request_timeout=aiohttp.ClientTimeout(
                    sock_connect=REQUEST_TIMEOUT, sock_read=WATCH_SECONDS + REQUEST_TIMEOUT
                ),
            )
            async with answer:
                # Lines may be longer than what a stream reads at once.
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _event(line)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise _unreachable(error) from error

    def _lister(self, kind: Kind) -> Callable[..., Awaitable[Any]]:
        if kind == "pod":
            return self._core.list_namespaced_pod
        return self._batch.list_namespaced_job

    async def _delete(self, function: Callable[..., Awaitable[Any]], **given: object) -> None:
        try:
            await self._call(function, **given)
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise

    async def _call(self, function: Callable[..., Awaitable[Any]], **given: object) -> Json:
        """Make a call, again where the cluster asks for that or can't be reached."""
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(ATTEMPTS)):
            try:
                answer = await self._answer(function, _request_timeout=REQUEST_TIMEOUT, **given)
                async with answer:
                    content: Json = await answer.json()
            except ClusterError as error:
                if error.is_final or error.status == CONFLICT or not left:
                    raise
                wait = max(pause, error.retry_after)
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                if not left:
                    raise _unreachable(error) from error
                wait = pause
            else:
                return content
            # All at once is what a cluster without time can't bear.
            await asyncio.sleep(wait * random.uniform(1, 1.5))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        raise AssertionError  # the last attempt returns or raises

    async def _answer(
        self, function: Callable[..., Awaitable[Any]], **given: object
    ) -> aiohttp.ClientResponse:
        """The beginning of an answer that is no refusal."""
        answer: aiohttp.ClientResponse = await function(
            namespace=self.namespace, _preload_content=False, **given
        )
        if answer.ok:
            return answer
        async with answer:
            raise await _refusal(answer)


async def _find(configuration: client.Configuration) -> str:
    """Find a cluster.

    Args:
        configuration: Is made to lead there.

    Returns:
        The namespace that is meant where nobody says otherwise.
    """
    loaders: Any = config
    if os.environ.get("KUBECONFIG") or not TOKEN_FILE.exists():
        loader: Any = await loaders.load_kube_config(client_configuration=configuration)
        return str(loader.current_context["context"].get("namespace") or DEFAULT_NAMESPACE)
    loaders.load_incluster_config(client_configuration=configuration)
    return NAMESPACE_FILE.read_text(encoding="ascii").strip()


async def _refusal(answer: aiohttp.ClientResponse) -> ClusterError:
    """A refusal, with what the cluster says of it."""
    text = await answer.text(errors="replace")
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The cluster answers {answer.status} {answer.reason}: {text[:200]}"
    retry_after = answer.headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0
    return ClusterError(answer.status, message, min(seconds, LONGEST_PAUSE_SECONDS))


def _unreachable(error: Exception) -> ClusterError:
    return ClusterError(0, f"The cluster can't be reached: {error or type(error).__name__}")


def _event(line: bytes) -> Json:
    event: Json = json.loads(line)
    if event.get("type") == "ERROR":
        status: Json = event["object"]
        raise ClusterError(int(status.get("code", 0)), str(status.get("message", "")))
    return event
