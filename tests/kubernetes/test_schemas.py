"""Manifests are judged by Kubernetes' own schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes import manifests

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Object
    from tests.kubernetes.schemas import Schemas


def test_a_good_manifest_has_no_problem(published: Schemas) -> None:
    resources = {"limits": {"cpu": 1, "memory": "1.5Gi", "nvidia.com/gpu": "1"}}
    probe = {"httpGet": {"path": "/", "port": "http"}}
    main = manifests.container(resources=resources, readinessProbe=probe, args=None)
    assert published.problems(manifests.pod("one", containers=[main])) == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"nodeSelektor": {}}, 'spec.nodeSelektor: unknown field "spec.nodeSelektor"'),
        ({"containers": [{"image": "a"}]}, "spec.containers[0].name: Required value"),
        ({"hostname": 1}, "spec.hostname: 1 is not of type 'string'"),
        ({"priority": 2**31}, "spec.priority: 2147483648 is greater than the maximum"),
        (
            {"containers": [manifests.container(resources={"limits": {"cpu": "a lot"}})]},
            "spec.containers[0].resources.limits.cpu: 'a lot' does not match",
        ),
        (
            {"containers": [manifests.container(env=[{"name": "A", "value": 1}])]},
            "spec.containers[0].env[0].value: 1 is not of type 'string'",
        ),
    ],
)
def test_what_is_wrong_is_named(published: Schemas, spec: Object, problem: str) -> None:
    (found,) = published.problems(manifests.pod("one", **spec))
    assert str(found).startswith(problem)


def test_a_secret_must_be_base64_and_a_kind_must_be_known(published: Schemas) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "not base64"}}
    (found,) = published.problems(secret)
    assert found.field == "data.a"
    (unknown,) = published.problems({"apiVersion": "v1", "kind": "Cat"})
    assert str(unknown) == "kind: there is no Cat in v1"
