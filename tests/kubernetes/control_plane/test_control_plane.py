"""The control plane that tests stand on is the real one, whole, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.kubernetes.control_plane.plane import require_built

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kubernetes.control_plane.plane import ControlPlane

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("control plane")]

ROOT = Path(__file__).parents[3]
SECONDS = 60
CONTAINER = {
    "name": "worker",
    "image": "python:3.12-slim",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
POD = {
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [CONTAINER],
}


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace that enforces the strictest Pod Security Standard."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    create(control_plane, {"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    # A Pod is refused before there is an account for it.
    wait_for(lambda: find(control_plane, "serviceaccount", "default", name))
    return name


@pytest.fixture
def node(control_plane: ControlPlane) -> str:
    """A node that says it is ready, and does nothing."""
    name = f"node-{uuid.uuid4().hex[:8]}"
    create(control_plane, {"kind": "Node", "metadata": {"name": name}})
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": now}
    size = {"cpu": "8", "memory": "16Gi", "pods": "100"}
    patch_status(control_plane, "node", name, {"conditions": [ready], "capacity": size})
    return name


def create(plane: ControlPlane, manifest: dict[str, Any], namespace: str = "default") -> Any:
    given = json.dumps({"apiVersion": "v1", **manifest})
    return json.loads(
        plane.kubectl("create", "-f-", "-ojson", f"--namespace={namespace}", given=given)
    )


def find(plane: ControlPlane, kind: str, name: str, namespace: str) -> Any:
    found = plane.kubectl(
        "get", kind, name, "-ojson", f"--namespace={namespace}", "--ignore-not-found"
    )
    return json.loads(found) if found else None


def patch_status(
    plane: ControlPlane, kind: str, name: str, status: dict[str, Any], namespace: str = "default"
) -> None:
    patch = json.dumps({"status": status})
    options = ("--subresource=status", f"--namespace={namespace}", f"--patch={patch}")
    plane.kubectl("patch", kind, name, *options)


def wait_for(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, "It does not come"
        time.sleep(0.1)
    return seen


def job(name: str, workers: int, **more: object) -> dict[str, Any]:
    spec = {"completionMode": "Indexed", "completions": workers, "parallelism": workers, **more}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {**spec, "template": {"spec": POD}},
    }


def pods_of(plane: ControlPlane, name: str, namespace: str) -> list[dict[str, Any]]:
    selector = f"--selector=batch.kubernetes.io/job-name={name}"
    answer = plane.kubectl("get", "pods", selector, "-ojson", f"--namespace={namespace}")
    items: list[dict[str, Any]] = json.loads(answer)["items"]
    return items


def test_job_completes_once_its_pods_have_succeeded_and_goes_with_what_it_owns(
    control_plane: ControlPlane, namespace: str, node: str
) -> None:
    made = create(control_plane, job("batch", 2, ttlSecondsAfterFinished=1), namespace)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "batch"}
    owned = {"name": "batch-token", "ownerReferences": [{**owner, "uid": made["metadata"]["uid"]}]}
    create(control_plane, {"kind": "Secret", "metadata": owned}, namespace)

    def bound() -> list[dict[str, Any]]:
        pods = pods_of(control_plane, "batch", namespace)
        return pods if sum("nodeName" in one["spec"] for one in pods) == 2 else []

    pods = wait_for(bound)
    assert {one["spec"]["nodeName"] for one in pods} == {node}
    indexed = {one["metadata"]["name"].rpartition("-")[0] for one in pods}
    assert indexed == {"batch-0", "batch-1"}
    for pod in pods:
        name = pod["metadata"]["name"]
        patch_status(control_plane, "pod", name, {"phase": "Succeeded"}, namespace)
    wait_for(lambda: not find(control_plane, "job", "batch", namespace))
    wait_for(lambda: not find(control_plane, "secret", "batch-token", namespace))
    wait_for(lambda: not pods_of(control_plane, "batch", namespace))


def test_restricted_namespace_refuses_what_is_privileged(
    control_plane: ControlPlane, namespace: str
) -> None:
    container = {**CONTAINER, "securityContext": {"privileged": True}}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
    spec = {**POD, "containers": [container]}
    given = json.dumps({**manifest, "spec": spec})
    done = control_plane.attempt("create", "-f-", f"--namespace={namespace}", given=given)
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted:latest": privileged' in done.stderr


def test_account_may_do_what_its_role_lets_it_and_no_more(
    control_plane: ControlPlane, namespace: str
) -> None:
    here = f"--namespace={namespace}"
    control_plane.kubectl("create", "serviceaccount", "server", here)
    control_plane.kubectl(
        "create", "role", "server", "--verb=create", "--resource=jobs.batch", here
    )
    account = f"--serviceaccount={namespace}:server"
    control_plane.kubectl("create", "rolebinding", "server", "--role=server", account, here)
    kubeconfig = control_plane.account_kubeconfig(namespace, "server")

    given = json.dumps(job("batch", 1))
    control_plane.kubectl("create", "-f-", given=given, kubeconfig=kubeconfig)
    done = control_plane.attempt("get", "secrets", kubeconfig=kubeconfig)
    assert done.returncode != 0
    assert f"system:serviceaccount:{namespace}:server" in done.stderr
    assert 'cannot list resource "secrets"' in done.stderr


def test_node_may_not_touch_the_pods_of_others(
    control_plane: ControlPlane, namespace: str, node: str
) -> None:
    other = control_plane.node_kubeconfig("other")
    create(control_plane, {"kind": "Pod", "metadata": {"name": "pod"}, "spec": POD}, namespace)
    wait_for(lambda: find(control_plane, "pod", "pod", namespace)["spec"].get("nodeName") == node)
    options = ("--subresource=status", f"--namespace={namespace}", "--patch={}")
    done = control_plane.attempt("patch", "pod", "pod", *options, kubeconfig=other)
    assert done.returncode != 0
    assert "forbidden" in done.stderr


def test_server_tells_of_a_field_that_there_is_not(
    control_plane: ControlPlane, namespace: str
) -> None:
    here = f"--namespace={namespace}"
    given = json.dumps(job("batch", 1, backofLimit=3))
    done = control_plane.attempt("create", "-f-", "--dry-run=server", here, given=given)
    assert done.returncode != 0
    assert 'unknown field "spec.backofLimit"' in done.stderr


def test_nothing_outlives_a_test_process_that_is_killed() -> None:
    require_built()
    program = (
        "import time\n"
        "from tests.kubernetes.control_plane.plane import control_plane\n"
        "with control_plane():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with tempfile.TemporaryDirectory(prefix="aiauto-") as folder:
        started = _start_and_kill(command, {**os.environ, "TMPDIR": folder})
        gone, alive = psutil.wait_procs(started, timeout=SECONDS)
    assert (len(gone), alive) == (4, [])


def _start_and_kill(command: list[str], environment: dict[str, str]) -> list[psutil.Process]:
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started = psutil.Process(process.pid).children()
        assert {one.name() for one in started} >= {"etcd", "kube-apiserver", "kube-scheduler"}
        process.send_signal(signal.SIGKILL)
    return started
