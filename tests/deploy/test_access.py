"""The Role of the server allows the calls that the server makes, and no other."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes_asyncio import client
from kubernetes_asyncio.leaderelection.resourcelock import leaselock

from aiauto.server.executors.kubernetes import cluster, leadership
from tests.deploy.rendering import VALUES, Manifest, chart, found, overlay

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.once

Access = tuple[str, str, str, str]
"""A verb, an API group, a resource, and the only object that it is for; empty for any."""

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PATH = re.compile(
    r"/(?:api/v1|apis/([\w.]+)/\w+)/namespaces/\{namespace\}/(\w+)(/\{name\})?(/\w+)?"
)
APIS: dict[str, Any] = {
    "_core": client.CoreV1Api,
    "_batch": client.BatchV1Api,
    "api_instance": client.CoordinationV1Api,
}


def calls(module: ModuleType) -> set[Access]:
    """What a module asks of the cluster, as Kubernetes' own client names the requests."""
    made: set[Access] = set()
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)):
            continue
        if node.value.attr in APIS:
            made.add(access(APIS[node.value.attr], node.attr))
    return made


def access(api: Any, method: str) -> Access:
    source = inspect.getsource(getattr(api, f"{method}_with_http_info"))
    found_path = re.search(r"'(/apis?/[^']+)', '(\w+)'", source)
    assert found_path is not None, method
    parts = PATH.fullmatch(found_path[1])
    assert parts is not None, found_path[1]
    group, resource, name, below = parts.groups()
    verb = VERBS.get(found_path[2]) or ("get" if name else "list")
    return verb, group or "", f"{resource}{below or ''}", ""


def needed() -> set[Access]:
    made = calls(cluster)
    # What is listed to be kept up to date is watched by the same method.
    watched = {access(client.CoreV1Api, "list_namespaced_pod")}
    watched |= {access(client.BatchV1Api, "list_namespaced_job")}
    assert watched <= made
    made |= {("watch", group, resource, "") for _, group, resource, _ in watched}
    for verb, group, resource, _ in calls(leaselock):
        # What is created has no name that could be allowed.
        name = "" if verb == "create" else leadership.LEASE_NAME
        made.add((verb, group, resource, name))
    return made


def allowed(role: Manifest) -> set[Access]:
    return {
        (verb, group, resource, name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def test_the_calls_are_found() -> None:
    found_calls = needed()
    assert ("create", "batch", "jobs", "") in found_calls
    assert ("delete", "", "secrets", "") in found_calls
    assert ("update", "coordination.k8s.io", "leases", "aiauto-server") in found_calls


@pytest.mark.parametrize("name", VALUES)
def test_nothing_is_missing_and_nothing_is_more(name: str) -> None:
    role = found(overlay(name), "Role", "aiauto-server")
    assert allowed(role) == needed()
    assert not any("Cluster" in one["kind"] for one in overlay(name))


def test_the_chart_allows_the_same() -> None:
    assert allowed(found(chart(), "Role", "aiauto-server")) == needed()
