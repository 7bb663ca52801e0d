"""A node runs Pods as local processes: what they find there, and how they end."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes import manifests
from tests.kubernetes.api.conditions import find_condition
from tests.kubernetes.api.kinds import CLAIM, CONFIG_MAP, EVENT, JOB, NODE, POD, SECRET, Object
from tests.kubernetes.manifests import python

if TYPE_CHECKING:
    from tests.kubernetes.client import Client
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.kubelet import Node

pytestmark = pytest.mark.usefixtures("node")


def phase(cluster: Cluster, name: str, *wanted: str) -> Object:
    """A Pod, as soon as its phase is one of those."""

    def found() -> Object | None:
        pod = cluster.api.store.get(POD, "default", name)
        return pod if pod["status"]["phase"] in wanted else None

    return cluster.wait_for(found, f"Pod {name} is {' or '.join(wanted)}")


def waiting(cluster: Cluster, name: str, reason: str) -> str:
    """Why a Pod's container waits, as soon as it does so for that reason."""

    def found() -> str | None:
        for status in cluster.api.store.get(POD, "default", name)["status"].get(
            "containerStatuses", ()
        ):
            if status["state"].get("waiting", {}).get("reason") == reason:
                return str(status["state"]["waiting"]["message"])
        return None

    return cluster.wait_for(found, f"Pod {name} waits for {reason}")


def ended(pod: Object) -> Object:
    state: Object = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


async def printed(core: Any, name: str, **options: object) -> str:
    # What looks like JSON the client would make into something else.
    asked: Any = core.read_namespaced_pod_log(name, "default", _preload_content=False, **options)
    response = await asked
    text: str = await response.text()
    if response.status != 200:
        raise ApiException(status=response.status, reason=text)
    return text


async def outcome(client: Client, cluster: Cluster, core: Any, pod: Object) -> Any:
    """What the JSON says that a Pod prints."""
    await client.create(POD, "default", pod)
    name = pod["metadata"]["name"]
    done = phase(cluster, name, "Succeeded", "Failed")
    text = await printed(core, name)
    assert done["status"]["phase"] == "Succeeded", text
    return json.loads(text)


async def test_a_pod_runs_by_itself_and_says_how_it_went(
    client: Client, cluster: Cluster, core: Any
) -> None:
    code = (
        "import json, os, socket, sys; print(json.dumps([sys.prefix, os.getpid(), "
        "socket.gethostname(), os.listdir('/tmp'), sorted(os.environ)]))"
    )
    found = await outcome(client, cluster, core, manifests.pod("one", *python(code)))
    prefix, pid, hostname, temporary, variables = found
    assert (prefix, pid, hostname, temporary) == ("/opt/image", 1, "one", [])
    # Nothing of who runs the tests.
    assert "PYTEST_CURRENT_TEST" not in variables
    status = phase(cluster, "one", "Succeeded")["status"]
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions == {
        "PodScheduled": "True",
        "PodReadyToStartContainers": "False",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
    }
    state = ended({"status": status})
    assert (state["exitCode"], state["reason"]) == (0, "Completed")
    assert socket.gethostname() != "one"


async def test_where_its_variables_come_from(client: Client, cluster: Cluster, core: Any) -> None:
    await client.create(
        SECRET, "default", {"metadata": {"name": "token"}, "stringData": {"key": "secret"}}
    )
    await client.create(
        CONFIG_MAP, "default", {"metadata": {"name": "settings"}, "data": {"A": "a", "B": "b"}}
    )

    def of(path: str) -> Object:
        return {"fieldRef": {"fieldPath": path}}

    variables: list[Object] = [
        {"name": "PLAIN", "value": "plain"},
        {"name": "MADE", "value": "$(PLAIN)-$(NONE)-$$(PLAIN)"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}},
        {"name": "NAME", "valueFrom": of("metadata.name")},
        {"name": "NODE", "valueFrom": of("spec.nodeName")},
        {"name": "INDEX", "valueFrom": of("metadata.annotations['example.org/index']")},
        {"name": "LABEL", "valueFrom": of("metadata.labels['app']")},
        {"name": "IP", "valueFrom": of("status.podIP")},
        {
            "name": "MAYBE",
            "valueFrom": {"secretKeyRef": {"name": "none", "key": "a", "optional": True}},
        },
    ]
    names = json.dumps([*(one["name"] for one in variables), "X_A"])
    found = f"[sys.argv[1:], [os.environ.get(n) for n in {names}]]"
    code = f"import json, os, sys; print(json.dumps({found}))"
    fields = {
        "env": variables,
        "envFrom": [{"prefix": "X_", "configMapRef": {"name": "settings"}}],
        "args": ["$(NAME)", "$(NONE)"],
    }
    pod = manifests.pod("one", *python(code), container_fields=fields)
    pod["metadata"] |= {"annotations": {"example.org/index": "3"}, "labels": {"app": "x"}}
    arguments, values = await outcome(client, cluster, core, pod)
    assert arguments == ["one", "$(NONE)"]
    assert values == [
        "plain",
        "plain-$(NONE)-$(PLAIN)",
        "secret",
        "one",
        "node-1",
        "3",
        "x",
        "127.0.0.1",
        None,
        "a",
    ]


async def test_a_missing_secret_is_waited_for(client: Client, cluster: Cluster) -> None:
    source = {"secretKeyRef": {"name": "late", "key": "key"}}
    fields = {"env": [{"name": "TOKEN", "valueFrom": source}]}
    await client.create(POD, "default", manifests.pod("one", container_fields=fields))
    reason = "CreateContainerConfigError"
    assert waiting(cluster, "one", reason) == 'secret "late" not found'
    secret = {"metadata": {"name": "late"}, "stringData": {"other": "a"}}
    await client.create(SECRET, "default", secret)
    cluster.wait_for(
        lambda: "couldn't find key key in Secret default/late" in str(cluster.api.store.all(POD)),
        "the key is missing",
    )
    await client.merge(SECRET, "default", "late", {"stringData": {"key": "a"}})
    phase(cluster, "one", "Succeeded")


async def test_volumes_are_where_they_are_mounted(
    client: Client, cluster: Cluster, core: Any
) -> None:
    await client.create(
        SECRET, "default", {"metadata": {"name": "token"}, "stringData": {"key": "secret"}}
    )
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteMany"]}
    await client.create(CLAIM, "default", {"metadata": {"name": "shared"}, "spec": storage})
    volumes: list[Object] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        {"name": "token", "secret": {"secretName": "token", "defaultMode": 0o400}},
        {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}},
    ]
    mounts: list[Object] = [
        {"name": "disk", "mountPath": "/tmp"},  # noqa: S108
        {"name": "memory", "mountPath": "/dev/shm"},  # noqa: S108
        {"name": "token", "mountPath": "/etc/token", "readOnly": True},
        {"name": "shared", "mountPath": "/cache", "subPath": "team/study"},
        {"name": "shared", "mountPath": "/ro", "readOnly": True},
    ]
    first = "open('/tmp/a', 'w').write('1'); open('/dev/shm/b', 'w').write('2')"
    code = """
import json, os
found = [open('/tmp/a').read(), open('/dev/shm/b').read(), open('/etc/token/key').read()]
open('/cache/c', 'w').write('3')
for path in ('/ro/x', '/etc/token/x'):
    try:
        open(path, 'w')
    except OSError as error:
        found.append(error.strerror)
try:
    open('/dev/shm/big', 'wb').write(bytes(8 * 1024 * 1024))
except OSError as error:
    found.append(error.strerror)
print(json.dumps(found))
"""
    initial = manifests.container(*python(first), name="first", volumeMounts=mounts)
    pod = manifests.pod(
        "one",
        *python(code),
        container_fields={"volumeMounts": mounts},
        initContainers=[initial],
        volumes=volumes,
    )
    assert await outcome(client, cluster, core, pod) == [
        "1",
        "2",
        "secret",
        "Read-only file system",
        "Read-only file system",
        "No space left on device",
    ]
    shared = cluster.claims / "default" / "shared"
    assert (shared / "team/study/c").read_text(encoding="utf-8") == "3"


async def test_a_restricted_pod_is_nobody_special(
    client: Client, cluster: Cluster, core: Any
) -> None:
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteMany"]}
    await client.create(CLAIM, "default", {"metadata": {"name": "shared"}, "spec": storage})
    code = """
import json, os
found = [os.getuid(), os.getgid(), sorted(os.getgroups())]
for path in ('/x', '/tmp/x', '/root/x', '/empty/x', '/shared/x'):
    try:
        open(path, 'w').close()
        found.append('written')
    except OSError as error:
        found.append(error.strerror)
print(json.dumps(found))
"""
    context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    mounts = [{"name": "empty", "mountPath": "/empty"}, {"name": "shared", "mountPath": "/shared"}]
    claim = {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}
    pod = manifests.pod(
        "one",
        *python(code),
        container_fields={"securityContext": context, "volumeMounts": mounts},
        securityContext={"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456},
        volumes=[{"name": "empty", "emptyDir": {}}, claim],
    )
    uid, gid, groups, *written = await outcome(client, cluster, core, pod)
    assert (uid, gid, groups) == (1234, 2345, [3456])
    refused = "Read-only file system"
    # The folder of the root's user is not even to be looked into.
    assert [*written[:2], *written[3:]] == [refused, refused, "written", "written"]
    assert written[2] in {refused, "Permission denied"}


async def test_who_must_not_be_root_is_not_started_as_root(
    client: Client, cluster: Cluster
) -> None:
    pod = manifests.pod("one", securityContext={"runAsNonRoot": True})
    made = await client.create(POD, "default", pod)
    message = waiting(cluster, "one", "CreateContainerConfigError")
    who = f"one_default({made['metadata']['uid']})"
    expected = "container has runAsNonRoot and image will run as root"
    assert message == f'{expected} (pod: "{who}", container: main)'


def machine() -> tuple[str, list[set[str]]]:
    """What of this machine a container might change: mounts, and what is in some folders."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8")
    folders = [Path("/"), Path("/srv"), Path("/dev")]
    return mounts, [{one.name for one in folder.iterdir()} for folder in folders]


async def test_nothing_is_left_behind(client: Client, cluster: Cluster, core: Any) -> None:
    before = machine()
    code = "open('/left', 'w'); open('/dev/left', 'w'); import os; os.makedirs('/srv/left')"
    fields = {"volumeMounts": [{"name": "a", "mountPath": "/nowhere/before"}]}
    volumes: list[Object] = [{"name": "a", "emptyDir": {"medium": "Memory"}}]
    pod = manifests.pod("one", *python(code), container_fields=fields, volumes=volumes)
    await client.create(POD, "default", pod)
    phase(cluster, "one", "Succeeded")
    await client.delete(POD, "default", "one")
    cluster.wait_for(lambda: not cluster.api.store.all(POD), "the Pod is gone")
    assert machine() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "by file"),
        ({"terminationMessagePolicy": "FallbackToLogsOnError"}, "by file"),
    ],
)
async def test_a_pod_fails_with_its_exit_code_and_last_words(
    client: Client, cluster: Cluster, fields: Object, message: str
) -> None:
    code = (
        "open('/dev/termination-log', 'w').write('by file'); print('by log'); raise SystemExit(3)"
    )
    await client.create(
        POD, "default", manifests.pod("one", *python(code), container_fields=fields)
    )
    state = ended(phase(cluster, "one", "Failed"))
    assert (state["exitCode"], state["reason"]) == (3, "Error")
    assert state["message"] == message


async def test_the_end_of_the_log_stands_in_for_last_words(
    client: Client, cluster: Cluster
) -> None:
    fields = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    code = "print('by log'); raise SystemExit(3)"
    await client.create(
        POD, "default", manifests.pod("one", *python(code), container_fields=fields)
    )
    assert ended(phase(cluster, "one", "Failed"))["message"] == "by log\n"


async def test_a_program_that_is_not_there_is_a_start_error(
    client: Client, cluster: Cluster
) -> None:
    await client.create(POD, "default", manifests.pod("one", "no-such-program"))
    state = ended(phase(cluster, "one", "Failed"))
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    expected = 'exec: "no-such-program": executable file not found in $PATH'
    assert state["message"].endswith(expected)


async def test_logs_are_read_and_followed(client: Client, cluster: Cluster, core: Any) -> None:
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteMany"]}
    await client.create(CLAIM, "default", {"metadata": {"name": "shared"}, "spec": storage})
    code = """
import os, time
print('one', flush=True); print('two', flush=True)
while not os.path.exists('/shared/go'): time.sleep(0.02)
print('three')
"""
    claim: Object = {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}
    fields = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    pod = manifests.pod("one", *python(code), container_fields=fields, volumes=[claim])
    await client.create(POD, "default", pod)
    phase(cluster, "one", "Running")
    response = await core.read_namespaced_pod_log(
        "one", "default", follow=True, timestamps=True, _preload_content=False
    )
    lines = [await response.content.readline() for _ in range(2)]
    assert [line.split(b" ")[1] for line in lines] == [b"one\n", b"two\n"]
    (cluster.claims / "default/shared/go").touch()
    assert (await response.content.readline()).endswith(b"Z three\n")
    assert await response.content.readline() == b""
    phase(cluster, "one", "Succeeded")
    assert await printed(core, "one", tail_lines=2, container="main") == "two\nthree\n"
    assert await printed(core, "one", limit_bytes=5) == "one\nt"
    with pytest.raises(ApiException) as caught:
        await printed(core, "one", container="other")
    assert caught.value.status == 400


async def test_a_pod_that_is_deleted_has_time_to_end(
    client: Client, cluster: Cluster, core: Any
) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('ready', flush=True)
time.sleep(600)
"""
    await client.create(POD, "default", manifests.pod("one", *python(code)))
    phase(cluster, "one", "Running")
    version = (await client.list(POD, "default"))["metadata"]["resourceVersion"]
    follow: Any = core.read_namespaced_pod_log(
        "one", "default", follow=True, _preload_content=False
    )
    async with await follow as log:
        assert await log.content.readline() == b"ready\n"
        deleting = await client.delete(POD, "default", "one")
        assert deleting["metadata"]["deletionGracePeriodSeconds"] == 30
        # Who follows the log hears its end.
        assert await log.content.readline() == b""
    last = await until_deleted(client, version)
    assert last["status"]["phase"] == "Succeeded"
    assert ended(last)["exitCode"] == 0


async def until_deleted(client: Client, version: str) -> Object:
    """The last state of the Pod that is deleted."""
    async for kind, pod in client.watch(POD, "default", resourceVersion=version):
        if kind == "DELETED":
            return pod
    raise AssertionError("the watch ended")


async def test_a_pod_that_does_not_end_in_time_is_killed(client: Client, cluster: Cluster) -> None:
    # The first process of a container ignores what it does not handle.
    await client.create(POD, "default", manifests.pod("one", "sleep", "600"))
    phase(cluster, "one", "Running")
    version = (await client.list(POD, "default"))["metadata"]["resourceVersion"]
    await client.delete(POD, "default", "one", gracePeriodSeconds=1)
    last = await until_deleted(client, version)
    assert last["status"]["phase"] == "Failed"
    assert ended(last)["exitCode"] == 137


async def test_a_pod_has_so_long(client: Client, cluster: Cluster) -> None:
    pod = manifests.pod(
        "one", "sleep", "600", activeDeadlineSeconds=1, terminationGracePeriodSeconds=1
    )
    await client.create(POD, "default", pod)
    failed = phase(cluster, "one", "Failed")
    assert failed["status"]["reason"] == "DeadlineExceeded"


async def test_memory_runs_out(client: Client, cluster: Cluster) -> None:
    await client.create(POD, "default", manifests.pod("one", "sleep", "600"))
    phase(cluster, "one", "Running")
    cluster.oom("one")
    state = ended(phase(cluster, "one", "Failed"))
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("pressure", "TerminationByKubelet"),
        ("evict", "EvictionByEvictionAPI"),
        ("preempt", "PreemptionByScheduler"),
    ],
)
async def test_a_disruption_is_told_and_the_job_goes_on(
    client: Client, cluster: Cluster, by: str, reason: str
) -> None:
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    job = manifests.job(
        "one",
        "sleep",
        "600",
        backoffLimit=0,
        podFailurePolicy=policy,
        pod_spec={"terminationGracePeriodSeconds": 1},
    )
    await client.create(JOB, "default", job)

    def running() -> Object | None:
        found = [pod for pod in cluster.api.store.all(POD) if pod["status"]["phase"] == "Running"]
        return found[0] if found else None

    first = cluster.wait_for(running, "a Pod runs")
    version = (await client.list(POD, "default"))["metadata"]["resourceVersion"]
    getattr(cluster, by)(first["metadata"]["name"])
    async for _, pod in client.watch(POD, "default", resourceVersion=version):
        mine = pod["metadata"]["uid"] == first["metadata"]["uid"]
        if mine and pod["status"]["phase"] == "Failed":
            condition = find_condition(pod["status"], "DisruptionTarget")
            assert condition is not None
            assert condition["reason"] == reason
            assert (pod["status"].get("reason") == "Evicted") == (by == "pressure")
            break

    def another() -> bool:
        pod = running()
        return pod is not None and pod["metadata"]["uid"] != first["metadata"]["uid"]

    cluster.wait_for(another, "another Pod runs in its place")
    assert "failed" not in (await client.get(JOB, "default", "one"))["status"]


async def test_a_node_is_lost(client: Client, cluster: Cluster) -> None:
    await client.create(POD, "default", manifests.pod("one", "sleep", "600"))
    phase(cluster, "one", "Running")
    cluster.lose("node-1")
    cluster.wait_for(lambda: not cluster.api.store.all(POD), "the Pod is gone")
    assert cluster.all(NODE) == []


async def test_what_it_does_not_know_is_refused(client: Client, cluster: Cluster) -> None:
    pod = manifests.pod("one", restartPolicy="OnFailure")
    await client.create(POD, "default", pod)
    failed = phase(cluster, "one", "Failed")
    assert failed["status"]["message"] == (
        "this node of the tests knows no restartPolicy OnFailure, only Never"
    )


async def test_a_pod_survives_a_cut_watch(
    client: Client, cluster: Cluster, node: Node, core: Any
) -> None:
    cluster.compact()
    await client.create(POD, "default", manifests.pod("one", *python("print('here')")))
    phase(cluster, "one", "Succeeded")
    assert await printed(core, "one") == "here\n"
    told = {
        event["reason"] for event in cluster.all(EVENT) if event["source"]["component"] == "kubelet"
    }
    assert told == {"Pulling", "Pulled", "Started"}
