"""Images: had once, refused in the words of the real node, and private with credentials."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes import manifests
from tests.kubernetes.api.kinds import EVENT, POD, SECRET, Object
from tests.kubernetes.node.images import Image, Images, PullError
from tests.kubernetes.test_node import phase, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kubernetes.client import Client
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.kubelet import Node

PRIVATE = "registry.example.org/team/train:1"


@pytest.fixture
def images(python_image: Image) -> Mapping[str, Image]:
    private = Image(python_image.prefix, credentials=("user", "password"))
    return {manifests.IMAGE: python_image, PRIVATE: private}


def using(name: str, image: str, **spec: object) -> Object:
    return manifests.pod(name, container_fields={"image": image}, **spec)


async def test_an_image_is_pulled_once(client: Client, cluster: Cluster, node: Node) -> None:
    for name in ("one", "two"):
        await client.create(POD, "default", manifests.pod(name))
        phase(cluster, name, "Succeeded")
    assert node.images.pulls == {manifests.IMAGE: 1}
    present = f'Container image "{manifests.IMAGE}" already present on machine'
    assert present in {event["message"] for event in cluster.all(EVENT)}


async def test_an_image_that_is_not_there(client: Client, cluster: Cluster, node: Node) -> None:
    await client.create(POD, "default", using("one", "nope:1"))
    failure = (
        'failed to pull and unpack image "docker.io/library/nope:1": failed to resolve reference '
        '"docker.io/library/nope:1": docker.io/library/nope:1: not found'
    )
    message = waiting(cluster, "one", "ErrImagePull")
    assert message == f"rpc error: code = NotFound desc = {failure}"
    backing_off = waiting(cluster, "one", "ImagePullBackOff")
    assert backing_off.startswith('Back-off pulling image "nope:1": ErrImagePull: rpc error')
    assert phase(cluster, "one", "Pending")
    await client.delete(POD, "default", "one")
    cluster.wait_for(lambda: not cluster.api.store.all(POD), "the Pod is gone")


def docker_config(registry: str, user: str, password: str) -> str:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": auth}}})


def credentials(name: str, password: str) -> Object:
    return {
        "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {
            ".dockerconfigjson": docker_config("registry.example.org", "user", password)
        },
    }


async def test_a_private_image_needs_credentials(
    client: Client, cluster: Cluster, node: Node
) -> None:
    await client.create(POD, "default", using("one", PRIVATE))
    assert "authorization failed" in waiting(cluster, "one", "ErrImagePull")
    await client.create(SECRET, "default", credentials("wrong", "guess"))
    await client.create(POD, "default", using("two", PRIVATE, imagePullSecrets=[{"name": "wrong"}]))
    assert "authorization failed" in waiting(cluster, "two", "ErrImagePull")
    # Last: what one Pod has pulled is there for the others, whatever they show.
    await client.create(SECRET, "default", credentials("right", "password"))
    pod = using("three", PRIVATE, imagePullSecrets=[{"name": "right"}])
    await client.create(POD, "default", pod)
    phase(cluster, "three", "Succeeded")


@pytest.mark.parametrize(
    ("name", "policy", "reason"),
    [
        ("Python:3", "Always", "InvalidImageName"),
        ("python:3", "Never", "ErrImageNeverPull"),
        ("python:3", "Always", "ErrImagePull"),
    ],
)
def test_each_failure_has_its_reason(name: str, policy: str, reason: str) -> None:
    with pytest.raises(PullError) as caught:
        Images({}).pull(name, policy, [])
    assert caught.value.reason == reason
