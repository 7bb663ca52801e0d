"""What kustomize and the chart bring: as Kubernetes' schemas want it, and whole."""

from __future__ import annotations

import base64
import copy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from aiauto.server.executors.kubernetes import configuration
from aiauto.server.executors.kubernetes.jobs import labels
from aiauto.server.settings import ExecutorKind, Settings
from tests.deploy.rendering import (
    DEPLOY,
    NAMESPACE,
    VALUES,
    Manifest,
    chart,
    found,
    kustomize,
    overlay,
    pod_specs,
)
from tests.kubernetes import schemas
from tests.kubernetes.api.admission import _restricted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.once

# What a cluster, or whoever deploys, has made already.
GIVEN = {("Secret", "aiauto-tls")}


@pytest.fixture(
    params=[(how, name) for name in VALUES for how in ("kustomize", "helm")],
    ids=" ".join,
)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    how, name = request.param
    if how == "kustomize":
        return overlay(name, ingress=True)
    return chart(**VALUES[name], ingress={"enabled": True})


def test_kubernetes_would_take_them(manifests: list[Manifest]) -> None:
    judge = schemas.load_or_skip()
    problems = [
        f"{one['kind']} {one['metadata']['name']}: {problem}"
        for one in manifests
        for problem in judge.problems(one)
    ]
    assert problems == []


def test_the_schemas_find_what_is_wrong() -> None:
    judge = schemas.load_or_skip()
    deployment = copy.deepcopy(found(overlay("kind"), "Deployment", "aiauto-server"))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["readynessProbe"] = container.pop("readinessProbe")
    (problem,) = judge.problems(deployment)
    assert problem.kind == "unknown"


def test_every_name_is_one_object_in_one_namespace(manifests: list[Manifest]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(names)) == len(names)
    for one in manifests:
        if one["kind"] != "Namespace":
            assert one["metadata"].get("namespace", NAMESPACE) == NAMESPACE
    binding = found(manifests, "RoleBinding", "aiauto-server")
    assert [one["namespace"] for one in binding["subjects"]] == [NAMESPACE]


def test_what_they_name_is_there(manifests: list[Manifest]) -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests} | GIVEN
    if any(one["kind"] == "StatefulSet" for one in manifests):
        # Kustomize makes them of files; with the chart they are made by hand.
        there |= {("Secret", "aiauto-secrets"), ("Secret", "aiauto-postgresql")}
    named = {reference for one in manifests for reference in _references(one)}
    assert named - there == set()
    assert len(named) > 5


# Fields that hold a name, or an object with a `name`, and of what kind that is.
NAMING = {
    "claimName": "PersistentVolumeClaim",
    "configMap": "ConfigMap",
    "configMapRef": "ConfigMap",
    "secretKeyRef": "Secret",
    "secretName": "Secret",
    "secretRef": "Secret",
    "service": "Service",
    "serviceAccountName": "ServiceAccount",
    "serviceName": "Service",
}


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """All that is named in an object, by kind and name."""
    if isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        for one in parts:
            yield from _references(one)
    elif isinstance(value, dict):
        for key, one in cast("Manifest", value).items():
            if key in NAMING:
                yield NAMING[key], one if isinstance(one, str) else one["name"]
            yield from _references(one)


def test_selectors_select_and_ports_are_there(manifests: list[Manifest]) -> None:
    templates = [
        one["spec"]["template"] for one in manifests if one["kind"] in {"Deployment", "StatefulSet"}
    ]
    by_labels = [one["metadata"]["labels"] for one in templates]
    worker = labels("a-batch")
    for one in manifests:
        spec = one.get("spec", {})
        if one["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            selector = spec.get("podSelector") or spec["selector"]
            wanted = selector.get("matchLabels", selector)
            selected = [own for own in (*by_labels, worker) if wanted.items() <= own.items()]
            assert len(selected) == 1, one["metadata"]["name"]
        if one["kind"] == "Service":
            ports = {
                port["name"]
                for template in templates
                if spec["selector"].items() <= template["metadata"]["labels"].items()
                for port in template["spec"]["containers"][0]["ports"]
            }
            assert {port["targetPort"] for port in spec["ports"]} <= ports


def test_all_is_as_restricted_as_can_be(manifests: list[Manifest]) -> None:
    specs = pod_specs(manifests)
    assert "Deployment aiauto-server" in specs
    for name, spec in specs.items():
        assert list(_restricted(spec)) == [], name
        assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in spec["containers"])
        # Only the server has anything to ask of the cluster.
        asks = name == "Deployment aiauto-server"
        assert spec["automountServiceAccountToken"] is asks
    assert not found(manifests, "ServiceAccount", "aiauto-server")["automountServiceAccountToken"]


def test_the_server_understands_its_settings(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = _config(manifests, "aiauto-settings")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    read = Settings.from_environment(host="0.0.0.0")  # noqa: S104 - as in its Pod
    assert read.executor is ExecutorKind.KUBERNETES
    assert read.public_url == "https://aiauto.example.org"
    spec = pod_specs(manifests)["Deployment aiauto-server"]
    mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert str(read.data_dir) in mounts
    assert read.files.parent.as_posix() in mounts
    assert str(Path(settings["AIAUTO_KUBERNETES_CONFIG"]).parent) in mounts
    file = tmp_path / "kubernetes.yaml"
    file.write_text(_config(manifests, "aiauto-workers")["kubernetes.yaml"], encoding="utf-8")
    service = found(manifests, "Service", "aiauto-server")
    port = service["spec"]["ports"][0]["port"]
    assert configuration.load(file).worker_url == f"http://{service['metadata']['name']}:{port}"


def _config(manifests: list[Manifest], name: str) -> dict[str, str]:
    """What a ConfigMap holds. Kustomize ends its name in a hash."""
    (one,) = [
        m for m in manifests if m["kind"] == "ConfigMap" and m["metadata"]["name"].startswith(name)
    ]
    data: dict[str, str] = one["data"]
    return data


def test_there_are_as_many_servers_as_can_be() -> None:
    alone = found(overlay("kind"), "Deployment", "aiauto-server")["spec"]
    assert (alone["replicas"], alone["strategy"]) == (1, {"type": "Recreate"})
    several = found(overlay("postgresql"), "Deployment", "aiauto-server")["spec"]
    assert (several["replicas"], several["strategy"]["type"]) == (2, "RollingUpdate")
    kept = {one["metadata"]["name"] for one in overlay("postgresql") if "Claim" in one["kind"]}
    assert kept == {"aiauto-files"}


def test_nothing_is_built_before_there_are_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "kubernetes"
    shutil.copytree(DEPLOY / "kubernetes", folder, ignore=shutil.ignore_patterns("secrets"))
    done = kustomize(folder / "overlays" / "postgresql")
    assert done.returncode != 0
    assert "secrets/server.env" in done.stderr


def test_secrets_reach_the_server_and_the_database() -> None:
    manifests = overlay("postgresql")
    secrets = {
        one["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in one["data"].items()
        }
        for one in manifests
        if one["kind"] == "Secret"
    }
    specs = pod_specs(manifests)
    server = specs["Deployment aiauto-server"]["containers"][0]
    given = [one["secretRef"]["name"] for one in server["envFrom"] if "secretRef" in one]
    keys = {key for name in given for key in secrets[name]}
    assert keys == {"AIAUTO_ADMIN_TOKEN", "AIAUTO_SESSION_SECRET", "PGPASSWORD"}
    database = specs["StatefulSet aiauto-postgresql"]["containers"][0]
    (password,) = [
        one["valueFrom"]["secretKeyRef"] for one in database["env"] if "valueFrom" in one
    ]
    assert secrets[password["name"]][password["key"]] == "c" * 32


def test_no_secret_is_in_the_files() -> None:
    for file in DEPLOY.rglob("*"):
        if file.is_file() and "secrets" not in file.parts:
            text = file.read_text(encoding="utf-8")
            assert "kind: Secret\n" not in text, file
