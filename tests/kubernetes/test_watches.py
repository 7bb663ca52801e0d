"""Watches: what they tell, where they go on from, and when they must begin anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.watch import Watch

from tests.kubernetes.api.kinds import CONFIG_MAP, Object
from tests.kubernetes.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kubernetes.client import Client


def configuration(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


async def told(events: AsyncIterator[tuple[str, Object]], count: int) -> list[tuple[str, str]]:
    """The next events, as types and names."""

    async def take() -> list[tuple[str, str]]:
        following = [await events.__anext__() for _ in range(count)]
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in following]

    return await asyncio.wait_for(take(), 30)


async def test_a_watch_goes_on_from_a_list(client: Client) -> None:
    await client.create(CONFIG_MAP, "default", configuration("old"))
    found = await client.list(CONFIG_MAP, "default")
    version = found["metadata"]["resourceVersion"]
    await client.create(CONFIG_MAP, "default", configuration("one"))
    await client.merge(CONFIG_MAP, "default", "one", {"data": {"a": "1"}})
    last = await client.delete(CONFIG_MAP, "default", "old")
    assert last["status"] == "Success"
    events = client.watch(CONFIG_MAP, "default", resourceVersion=version)
    assert await told(events, 3) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "old")]


async def test_without_a_version_all_there_is_comes_first(client: Client) -> None:
    await client.create(CONFIG_MAP, "default", configuration("one"))
    events = client.watch(CONFIG_MAP, "default")
    assert await told(events, 1) == [("ADDED", "one")]


async def test_what_is_selected_no_longer_is_deleted_for_the_watcher(client: Client) -> None:
    await client.create(CONFIG_MAP, "default", configuration("one", of="mine"))
    version = (await client.list(CONFIG_MAP, "default"))["metadata"]["resourceVersion"]
    for labels in ({"of": "others"}, {"of": "mine"}):
        await client.merge(CONFIG_MAP, "default", "one", {"metadata": {"labels": labels}})
    events = client.watch(CONFIG_MAP, "default", resourceVersion=version, labelSelector="of=mine")
    assert await told(events, 2) == [("DELETED", "one"), ("ADDED", "one")]


async def test_a_forgotten_version_is_gone(client: Client, cluster: Cluster, core: Any) -> None:
    version = (await client.list(CONFIG_MAP, "default"))["metadata"]["resourceVersion"]
    cluster.compact()
    async for kind, status in client.watch(CONFIG_MAP, "default", resourceVersion=version):
        assert kind == "ERROR"
        assert (status["code"], status["reason"]) == (410, "Expired")
    # The client's own watch makes an error of it.
    watch: Any = Watch()
    with pytest.raises(ApiException) as caught:
        async for _ in watch.stream(
            core.list_namespaced_config_map,
            "default",
            resource_version=version,
            timeout_seconds=10,
        ):
            pass
    assert caught.value.status == 410


async def test_forgetting_does_not_end_a_watch_that_has_seen_all(
    client: Client, cluster: Cluster
) -> None:
    version = (await client.list(CONFIG_MAP, "default"))["metadata"]["resourceVersion"]
    events = client.watch(CONFIG_MAP, "default", resourceVersion=version)
    # What it tells next is what comes after that.
    await client.create(CONFIG_MAP, "default", configuration("one"))
    assert await told(events, 1) == [("ADDED", "one")]
    cluster.compact()
    await client.create(CONFIG_MAP, "default", configuration("two"))
    assert await told(events, 1) == [("ADDED", "two")]


async def test_bookmarks_tell_how_far_a_watch_is(tmp_path: Path) -> None:
    from tests.kubernetes.client import Client

    with Cluster(tmp_path / "cluster", bookmark_seconds=0.05) as cluster:
        client = await Client.connect(cluster.kubeconfig, "test")
        version = (await client.list(CONFIG_MAP, "default"))["metadata"]["resourceVersion"]
        # Of another kind: the watch hears nothing of it, and its version grows all the same.
        await client.create(CONFIG_MAP, "kube-system", configuration("one"))
        events = client.watch(
            CONFIG_MAP, "default", resourceVersion=version, allowWatchBookmarks="true"
        )
        kind, obj = await events.__anext__()
        assert kind == "BOOKMARK"
        assert int(obj["metadata"]["resourceVersion"]) > int(version)
        await client.close()


async def test_a_watch_ends_when_its_time_is_over(client: Client) -> None:
    events = client.watch(CONFIG_MAP, "default", timeoutSeconds=1, allowWatchBookmarks="true")
    assert [kind async for kind, _ in events] == ["BOOKMARK"]


# Python 3.10 does not know that an encrypted connection is closed when the other end cuts it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_watches_can_be_cut(client: Client, cluster: Cluster) -> None:
    events = client.watch(CONFIG_MAP, "default")
    await client.create(CONFIG_MAP, "default", configuration("one"))
    assert await told(events, 1) == [("ADDED", "one")]
    cluster.drop_watches()
    with pytest.raises(aiohttp.ClientError):
        await events.__anext__()
