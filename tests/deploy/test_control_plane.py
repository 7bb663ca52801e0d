"""What is deployed, on Kubernetes' own control plane: taken, and allowed what it needs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.rendering import NAMESPACE, VALUES, Manifest, overlay
from tests.server.executors.kubernetes.test_jobs import job as job_manifest

plane = pytest.importorskip("tests.kubernetes.control_plane.plane")

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("control plane")]

SECONDS = 60
REFUSED = [
    ("list", "secrets"),
    ("update", "secrets"),
    ("create", "pods"),
    ("patch", "jobs.batch"),
    ("create", "pods/exec"),
    ("get", "configmaps"),
    ("update", "leases.coordination.k8s.io/another"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("list", "nodes"),
]


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Any]:
    with plane.control_plane() as running:
        yield running


@pytest.fixture(params=VALUES)
def deployed(request: pytest.FixtureRequest, control_plane: Any) -> Iterator[list[Manifest]]:
    """A control plane on which somebody has deployed the server."""
    manifests = overlay(request.param, ingress=True)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    told = control_plane.attempt("apply", "--server-side", "--filename=-", given=text)
    assert told.returncode == 0, told.stderr
    assert "Warning" not in told.stderr
    yield manifests
    control_plane.kubectl("delete", "namespace", NAMESPACE)


def test_the_server_gets_its_pods_and_may_do_its_work(
    control_plane: Any, deployed: list[Manifest]
) -> None:
    wanted = sum(one["spec"]["replicas"] for one in deployed if one["kind"] == "Deployment")

    def pods(selector: str) -> list[Manifest]:
        listed = control_plane.kubectl(
            "get", "pods", f"--namespace={NAMESPACE}", f"--selector={selector}", "--output=json"
        )
        found: list[Manifest] = json.loads(listed)["items"]
        return found

    # They were admitted: the namespace takes only Pods that are as restricted as can be.
    wait_for(lambda: len(pods("app.kubernetes.io/component=server")) == wanted)
    server = control_plane.account_kubeconfig(NAMESPACE, "aiauto-server")
    job = job_manifest(workers=2)
    control_plane.kubectl("create", "--filename=-", given=json.dumps(job), kubeconfig=server)
    wait_for(lambda: len(pods("app.kubernetes.io/component=worker")) == 2)
    control_plane.kubectl("delete", "job", job["metadata"]["name"], kubeconfig=server)
    for verb, resource in REFUSED:
        asked = control_plane.attempt("auth", "can-i", verb, resource, kubeconfig=server)
        assert asked.stdout.strip() == "no", (verb, resource)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
