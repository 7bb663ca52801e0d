"""What tests about Kubernetes stand on: a cluster of their own, in this process, on a real port."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from kubernetes_asyncio.client import BatchV1Api, CoreV1Api

from tests.kubernetes import kubeconfigs, schemas
from tests.kubernetes.client import Client
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import plane
from tests.kubernetes.control_plane.cluster import RealCluster
from tests.kubernetes.named import NamedCluster
from tests.kubernetes.node.containers import why_not_here
from tests.kubernetes.node.images import Image, of_this_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from tests.kubernetes.live import LiveCluster

HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster itself is the same whatever Python runs the product: one is enough to try it."""
    for item in items:
        if item.path.parent in {HERE, HERE / "control_plane"}:
            item.add_marker(pytest.mark.once)


@pytest.fixture(scope="session")
def published() -> schemas.Schemas:
    """Kubernetes' own schemas. The test is left out where they can't be had."""
    return schemas.load_or_skip()


@pytest.fixture(scope="session")
def judging() -> schemas.Schemas | None:
    """Kubernetes' own schemas, where they can be had."""
    try:
        return schemas.load()
    except schemas.UnavailableError:
        return None


@pytest.fixture(scope="session")
def control_plane() -> Iterator[plane.ControlPlane]:
    """Kubernetes' own control plane, without nodes."""
    with plane.control_plane() as running:
        yield running


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster | LiveCluster]:
    """A cluster without nodes: the double, which judges objects by the published schemas if they
    are here; with `--control-plane` the real one; with `--cluster` the one of `KUBECONFIG`."""
    options: Any = request.config.option
    if options.cluster:
        with NamedCluster(
            kubeconfigs.named(),
            tmp_path / "cluster",
            image=options.cluster_image,
            address=options.cluster_address,
        ) as theirs:
            yield theirs
        return
    if options.control_plane:
        with RealCluster(request.getfixturevalue("control_plane"), tmp_path / "cluster") as real:
            yield real
        return
    judging = request.getfixturevalue("judging")
    with Cluster(tmp_path / "cluster", schemas=judging) as running:
        yield running


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    """A client of the cluster that may do everything."""
    connected = await Client.connect(cluster.kubeconfig, "test")
    yield connected
    await connected.close()


@pytest.fixture
def batch(client: Client) -> Any:
    """kubernetes-asyncio's own form of batch/v1. It takes manifests as they are, too."""
    return BatchV1Api(client.api)


@pytest.fixture
def core(client: Client) -> Any:
    """kubernetes-asyncio's own form of v1."""
    return CoreV1Api(client.api)


@pytest.fixture(scope="session")
def python_image() -> Image:
    """An image with the Python that runs the tests, without its packages."""
    return of_this_machine(Path(sys.base_prefix))


@pytest.fixture
def images(python_image: Image) -> Mapping[str, Image]:
    """What the node can pull."""
    return {"python:test": python_image}


@pytest.fixture
def node(cluster: Cluster | NamedCluster, request: pytest.FixtureRequest) -> Any:
    """A node of the cluster that runs containers. The test is left out where that can't be."""
    if isinstance(cluster, NamedCluster):
        return cluster.node
    if reason := why_not_here():
        pytest.skip(reason)
    return cluster.add_node(images=request.getfixturevalue("images"))
