"""Objects: made, changed and deleted by the real client, and refused as the real server does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes import manifests
from tests.kubernetes.api.kinds import (
    CONFIG_MAP,
    JOB,
    LEASE,
    NAMESPACE,
    POD,
    PRIORITY_CLASS,
    SECRET,
    Object,
)
from tests.kubernetes.client import Client

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.schemas import Schemas


async def refused(asked: Coroutine[Any, Any, object]) -> Object:
    """The `Status` with which something is refused."""
    with pytest.raises(ApiException) as caught:
        await asked
    body: Object = json.loads(caught.value.body or "")
    assert body["kind"] == "Status"
    assert body["code"] == caught.value.status
    return body


def configuration(name: str, **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


async def test_a_new_object_has_what_the_server_gives_it(client: Client) -> None:
    made = await client.create(JOB, "default", manifests.job("one"))
    metadata, spec = made["metadata"], made["spec"]
    assert metadata["uid"]
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0
    assert spec["backoffLimit"] == 6
    assert spec["selector"]["matchLabels"] == {
        "batch.kubernetes.io/controller-uid": metadata["uid"]
    }
    assert spec["template"]["metadata"]["labels"]["job-name"] == "one"
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


async def test_names_are_made_and_taken_once(client: Client) -> None:
    made = await client.create(CONFIG_MAP, "default", {"metadata": {"generateName": "settings-"}})
    name = made["metadata"]["name"]
    assert name.startswith("settings-")
    assert len(name) == len("settings-") + 5
    taken = await refused(client.create(CONFIG_MAP, "default", configuration(name)))
    assert (taken["code"], taken["reason"]) == (409, "AlreadyExists")
    assert taken["message"] == f'configmaps "{name}" already exists'
    missing = await refused(client.get(JOB, "default", "none"))
    assert (missing["code"], missing["reason"]) == (404, "NotFound")
    assert missing["message"] == 'jobs.batch "none" not found'
    assert missing["details"] == {"name": "none", "group": "batch", "kind": "jobs"}
    nowhere = await refused(client.create(SECRET, "elsewhere", configuration("one")))
    assert nowhere["message"] == 'namespaces "elsewhere" not found'


async def test_who_has_not_seen_the_newest_version_writes_nothing(client: Client) -> None:
    first = await client.create(CONFIG_MAP, "default", configuration("one", a="1"))
    path = CONFIG_MAP.path("default", "one")
    second = await client.request("PUT", path, {**first, "data": {"a": "2"}})
    stale = await refused(client.request("PUT", path, {**first, "data": {"a": "3"}}))
    assert (stale["code"], stale["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale["message"]
    # Without a version it is written over; not so a Lease, which elects by it.
    unseen = {"metadata": {"name": "one"}, "data": {"a": "4"}}
    third = await client.request("PUT", path, unseen)
    assert int(third["metadata"]["resourceVersion"]) > int(second["metadata"]["resourceVersion"])
    lease = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "me"}}
    await client.create(LEASE, "default", lease)
    unversioned = await refused(client.request("PUT", LEASE.path("default", "leader"), lease))
    assert unversioned["reason"] == "Invalid"
    assert "must be specified for an update" in unversioned["message"]


async def test_what_changes_nothing_makes_no_version(client: Client) -> None:
    first = await client.create(CONFIG_MAP, "default", configuration("one", a="1"))
    again = await client.merge(CONFIG_MAP, "default", "one", {"data": {"a": "1"}})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_patches(client: Client) -> None:
    await client.create(CONFIG_MAP, "default", configuration("one", a="1", b="2"))
    merged = await client.merge(CONFIG_MAP, "default", "one", {"data": {"a": None, "c": "3"}})
    assert merged["data"] == {"b": "2", "c": "3"}
    path = CONFIG_MAP.path("default", "one")
    patch = [
        {"op": "test", "path": "/data/b", "value": "2"},
        {"op": "replace", "path": "/data/b", "value": "4"},
        {"op": "remove", "path": "/data/c"},
    ]
    as_json = "application/json-patch+json"
    patched = await client.request("PATCH", path, patch, content_type=as_json)
    assert patched["data"] == {"b": "4"}
    failed = await refused(client.request("PATCH", path, patch, content_type=as_json))
    assert failed["code"] == 422
    as_yaml = "application/apply-patch+yaml"
    unknown = await refused(client.request("PATCH", path, {}, content_type=as_yaml))
    assert unknown["code"] == 415


async def test_the_clients_own_patch_is_understood_where_it_has_no_lists(
    batch: Any, client: Client
) -> None:
    await client.create(JOB, "default", manifests.job("one", suspend=True))
    resumed = await batch.patch_namespaced_job("one", "default", {"spec": {"suspend": False}})
    assert resumed.spec.suspend is False


async def test_a_dry_run_leaves_nothing(client: Client) -> None:
    path = CONFIG_MAP.path("default")
    await client.request("POST", path, configuration("one"), query={"dryRun": "All"})
    assert (await client.list(CONFIG_MAP, "default"))["items"] == []


async def test_lists_are_selected_and_come_in_pages(client: Client, cluster: Cluster) -> None:
    for number in range(5):
        labels = {"parity": "odd" if number % 2 else "even", "number": str(number)}
        obj = {"metadata": {"name": f"c{number}", "labels": labels}}
        await client.create(CONFIG_MAP, "default", obj)

    async def names(**query: object) -> list[str]:
        found = await client.list(CONFIG_MAP, "default", **query)
        return [one["metadata"]["name"] for one in found["items"]]

    assert await names(labelSelector="parity=odd") == ["c1", "c3"]
    assert await names(labelSelector="parity in (even),number!=0") == ["c2", "c4"]
    assert await names(labelSelector="!parity") == []
    assert await names(fieldSelector="metadata.name=c4") == ["c4"]
    unknown = await refused(client.list(CONFIG_MAP, "default", fieldSelector="data.a=1"))
    assert unknown["message"] == "field label not supported: data.a"

    first = await client.list(CONFIG_MAP, "default", limit=2)
    await client.delete(CONFIG_MAP, "default", "c4")
    token = first["metadata"]["continue"]
    second = await client.list(CONFIG_MAP, "default", limit=2, **{"continue": token})
    # All pages are of the moment of the first.
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = second["metadata"]["continue"]
    third = await client.list(CONFIG_MAP, "default", limit=2, **{"continue": last})
    assert [one["metadata"]["name"] for one in third["items"]] == ["c4"]
    assert "continue" not in third["metadata"]

    first = await client.list(CONFIG_MAP, "default", limit=2)
    cluster.compact()
    token = first["metadata"]["continue"]
    late = await refused(client.list(CONFIG_MAP, "default", limit=2, **{"continue": token}))
    assert (late["code"], late["reason"]) == (410, "Expired")


async def test_unknown_fields_are_refused_warned_of_or_dropped(
    client: Client, published: Schemas, batch: Any
) -> None:
    job = manifests.job("one")
    job["spec"]["paralelism"] = 2
    strict = {"fieldValidation": "Strict"}
    strictly = await refused(client.request("POST", JOB.path("default"), job, query=strict))
    assert strictly["reason"] == "BadRequest"
    assert strictly["message"] == 'strict decoding error: unknown field "spec.paralelism"'
    made, _, headers = await batch.create_namespaced_job_with_http_info("default", job)
    assert made.spec.parallelism == 1
    assert headers["Warning"] == '299 - "unknown field \\"spec.paralelism\\""'
    job["metadata"]["name"] = "two"
    job["spec"]["parallelism"] = "two"
    wrong = await refused(client.create(JOB, "default", job))
    assert wrong["reason"] == "BadRequest"
    assert "cannot be handled as a Job" in wrong["message"]


WRONG: list[tuple[Object, str, str]] = [
    ({"restartPolicy": "Always"}, "spec.template.spec.restartPolicy", "Required value"),
    (
        {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]},
        "spec.template.spec.volumes[1].name",
        'Duplicate value: "a"',
    ),
    (
        {"containers": [manifests.container(volumeMounts=[{"name": "a", "mountPath": "/a"}])]},
        "spec.template.spec.containers[0].volumeMounts[0].name",
        'Not found: "a"',
    ),
    (
        {"containers": [manifests.container(resources={"requests": {"nvidia.com/gpu": "1"}})]},
        "spec.template.spec.containers[0].resources.limits",
        "Limit must be set for non overcommitable resources",
    ),
    (
        {"containers": [manifests.container(name="Main")]},
        "spec.template.spec.containers[0].name",
        "a lowercase RFC 1123 label",
    ),
]


@pytest.mark.parametrize(("change", "field", "message"), WRONG)
async def test_what_can_not_be_says_which_field(
    client: Client, change: Object, field: str, message: str
) -> None:
    job = manifests.job("one", pod_spec=change)
    invalid = await refused(client.create(JOB, "default", job))
    assert (invalid["code"], invalid["reason"]) == (422, "Invalid")
    assert invalid["message"].startswith('Job.batch "one" is invalid: ')
    assert [cause["field"] for cause in invalid["details"]["causes"]] == [field]
    assert message in invalid["details"]["causes"][0]["message"]


async def test_a_name_must_leave_room_for_its_pods(client: Client) -> None:
    long = await refused(client.create(JOB, "default", manifests.job("j" * 62)))
    assert "will not able to create pod with invalid DNS label" in long["message"]


async def test_most_of_a_job_can_not_be_changed(client: Client) -> None:
    await client.create(JOB, "default", manifests.job("one", completions=2, parallelism=2))
    template = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
    fixed = await refused(client.merge(JOB, "default", "one", template))
    assert fixed["details"]["causes"][0]["field"] == "spec.template"
    assert "field is immutable" in fixed["message"]
    alone = await refused(client.merge(JOB, "default", "one", {"spec": {"completions": 3}}))
    assert "can only be modified in tandem with spec.parallelism" in alone["message"]
    # An Indexed Job may grow and shrink.
    both = {"spec": {"completions": 3, "parallelism": 3}}
    grown = await client.merge(JOB, "default", "one", both)
    assert grown["metadata"]["generation"] == 2


async def test_a_finalizer_keeps_an_object_that_is_deleted(client: Client) -> None:
    obj = {"metadata": {"name": "one", "finalizers": ["example.org/keep"]}}
    made = await client.create(CONFIG_MAP, "default", obj)
    kept = await client.delete(CONFIG_MAP, "default", "one")
    assert kept["metadata"]["deletionTimestamp"]
    other = {"preconditions": {"uid": "another"}}
    mistaken = await refused(client.delete(CONFIG_MAP, "default", "one", **other))
    assert mistaken["reason"] == "Conflict"
    assert made["metadata"]["uid"] in mistaken["message"]
    await client.merge(CONFIG_MAP, "default", "one", {"metadata": {"finalizers": None}})
    assert (await refused(client.get(CONFIG_MAP, "default", "one")))["code"] == 404


async def test_what_is_owned_goes_with_its_owner(client: Client, cluster: Cluster) -> None:
    owner = await client.create(CONFIG_MAP, "default", configuration("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
    owned = configuration("owned")
    owned["metadata"]["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"]}]
    await client.create(SECRET, "default", {"metadata": owned["metadata"]})
    await client.delete(CONFIG_MAP, "default", "owner")
    cluster.wait_for(lambda: not cluster.api.store.all(SECRET), "what is owned is gone")


async def test_a_namespace_takes_all_in_it_along(client: Client, cluster: Cluster) -> None:
    await client.create(NAMESPACE, "", {"metadata": {"name": "team"}})
    await client.create(SECRET, "team", {"metadata": {"name": "one"}, "stringData": {"a": "b"}})
    assert (await client.get(SECRET, "team", "one"))["data"] == {"a": "Yg=="}
    ending = await client.delete(NAMESPACE, "", "team")
    assert ending["status"]["phase"] == "Terminating"
    cluster.wait_for(lambda: not cluster.api.store.all(SECRET, "team"), "the namespace is empty")
    cluster.wait_for(
        lambda: cluster.api.store.find(NAMESPACE, "", "team") is None, "the namespace is gone"
    )


async def test_pods_need_an_account_and_a_priority_that_are_there(client: Client) -> None:
    without = manifests.pod("one", serviceAccountName="worker")
    forbidden = await refused(client.create(POD, "default", without))
    assert forbidden["code"] == 403
    assert 'serviceaccount "worker" not found' in forbidden["message"]
    urgent = manifests.pod("one", priorityClassName="urgent")
    unknown = await refused(client.create(POD, "default", urgent))
    expected = 'pods "one" is forbidden: no PriorityClass with name urgent was found'
    assert unknown["message"] == expected
    await client.create(PRIORITY_CLASS, "", {"metadata": {"name": "urgent"}, "value": 7})
    assert (await client.create(POD, "default", urgent))["spec"]["priority"] == 7


async def test_a_restricted_namespace_says_all_that_a_pod_may_not(client: Client) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    await client.create(NAMESPACE, "", {"metadata": {"name": "safe", "labels": label}})
    forbidden = await refused(client.create(POD, "safe", manifests.pod("one")))
    assert forbidden["message"] == (
        'pods "one" is forbidden: violates PodSecurity "restricted:latest": '
        'allowPrivilegeEscalation != false (container "main" must set '
        "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "
        '"main" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or '
        'container "main" must set securityContext.runAsNonRoot=true), seccompProfile (pod or '
        'container "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    of_pod = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    good = manifests.pod(
        "one", container_fields={"securityContext": context}, securityContext=of_pod
    )
    await client.create(POD, "safe", good)


async def test_a_token_is_needed_and_does_what_its_role_allows(
    client: Client, cluster: Cluster
) -> None:
    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get"]}]
    limited = await Client.connect(cluster.kubeconfig_of(rules, "default"), "limited")
    await limited.create(JOB, "default", manifests.job("one"))
    listing = await refused(limited.list(JOB, "default"))
    assert listing["code"] == 403
    assert listing["message"] == (
        'jobs.batch is forbidden: User "system:serviceaccount:default:server" cannot list resource '
        '"jobs" in API group "batch" in the namespace "default"'
    )
    elsewhere = await refused(limited.get(JOB, "kube-system", "one"))
    assert elsewhere["code"] == 403
    await limited.close()
    configuration: Any = client.api.configuration
    configuration.api_key["BearerToken"] = "Bearer wrong"
    assert (await refused(client.list(JOB, "default")))["reason"] == "Unauthorized"


async def test_the_api_tells_of_itself(client: Client) -> None:
    assert (await client.request("GET", "/version"))["gitVersion"].startswith("v1.")
    groups = [one["name"] for one in (await client.request("GET", "/apis"))["groups"]]
    assert groups == ["batch", "coordination.k8s.io", "scheduling.k8s.io"]
    resources = (await client.request("GET", "/apis/batch/v1"))["resources"]
    assert [one["name"] for one in resources] == ["jobs", "jobs/status"]
    assert (await refused(client.request("GET", "/apis/apps/v1/deployments")))["code"] == 404
