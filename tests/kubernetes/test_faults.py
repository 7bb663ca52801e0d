"""What goes wrong on the way to the API, as the real client meets it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes.api.kinds import CONFIG_MAP

if TYPE_CHECKING:
    from tests.kubernetes.client import Client
    from tests.kubernetes.cluster import Cluster

ONE = {"metadata": {"name": "one"}}


async def test_requests_that_match_are_answered_with_an_error_so_often(
    client: Client, cluster: Cluster
) -> None:
    cluster.faults.answer(429, verb="list", path="/configmaps", times=2, retry_after=3)
    await client.create(CONFIG_MAP, "default", ONE)
    for _ in range(2):
        with pytest.raises(ApiException) as caught:
            await client.list(CONFIG_MAP, "default")
        assert caught.value.status == 429
        error: Any = caught.value
        assert error.headers["Retry-After"] == "3"
        body = json.loads(caught.value.body or "")
        assert body["details"]["retryAfterSeconds"] == 3
    await client.list(CONFIG_MAP, "default")
    assert cluster.faults.count(verb="list", path="/configmaps") == 3
    assert [call.status for call in cluster.faults.calls[-3:]] == [429, 429, 200]
    assert {call.user_agent for call in cluster.faults.calls} == {"test"}


async def test_a_conflict_comes_once(client: Client, cluster: Cluster) -> None:
    await client.create(CONFIG_MAP, "default", ONE)
    cluster.faults.conflict(verb="patch")
    with pytest.raises(ApiException) as caught:
        await client.merge(CONFIG_MAP, "default", "one", {"data": {"a": "1"}})
    assert caught.value.status == 409
    changed = await client.merge(CONFIG_MAP, "default", "one", {"data": {"a": "1"}})
    assert changed["data"] == {"a": "1"}


# Python 3.10 does not know that an encrypted connection is closed when the other end cuts it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_connection_is_cut(client: Client, cluster: Cluster) -> None:
    cluster.faults.cut(verb="create")
    with pytest.raises(aiohttp.ClientError):
        await client.create(CONFIG_MAP, "default", ONE)
    await client.create(CONFIG_MAP, "default", ONE)


async def test_an_answer_is_late(client: Client, cluster: Cluster) -> None:
    cluster.faults.delay(0.3, verb="list")
    start = time.monotonic()
    await client.list(CONFIG_MAP, "default")
    assert time.monotonic() - start >= 0.3
