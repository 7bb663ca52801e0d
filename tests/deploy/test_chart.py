"""The chart: the same as kustomize brings, and strict about its values."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import fields
from typing import Any, cast

import jsonschema
import pytest
import yaml

from aiauto.server.executors.kubernetes.configuration import Configuration, GpuFlavor
from aiauto.version import __version__
from tests.deploy.rendering import CHART, VALUES, Manifest, chart, helm, overlay

pytestmark = pytest.mark.once

HASH = re.compile(r"(aiauto-(?:settings|workers|secrets|postgresql))-[0-9a-z]{10}")
OWN_LABELS = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"}


def values() -> Manifest:
    content: Manifest = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return content


def schema() -> Manifest:
    content: Manifest = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("ingress", [False, True])
def test_kustomize_and_helm_bring_the_same(name: str, ingress: bool) -> None:  # noqa: FBT001
    by_kustomize = [one for one in overlay(name, ingress=ingress) if one["kind"] != "Namespace"]
    # With the chart, secrets are made by hand.
    by_kustomize = [one for one in by_kustomize if one["kind"] != "Secret"]
    by_helm = chart(**VALUES[name], ingress={"enabled": ingress})
    assert as_compared(by_helm) == as_compared(by_kustomize)


def as_compared(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {f"{one['kind']} {one['metadata']['name']}": one for one in map(_plain, manifests)}


def _plain(manifest: Manifest) -> Manifest:
    """A manifest without what each of the two tools adds of its own."""
    one: Manifest = json.loads(HASH.sub(r"\1", json.dumps(manifest)))
    metadata = one["metadata"]
    metadata.pop("namespace", None)
    metadata.get("annotations", {}).pop("helm.sh/resource-policy", None)
    if metadata.get("annotations") == {}:
        del metadata["annotations"]
    labels = {
        key: value for key, value in metadata.get("labels", {}).items() if key not in OWN_LABELS
    }
    metadata["labels"] = labels
    if one["kind"] == "ConfigMap":
        # Kustomize's generator gives none, and the layout of a file says nothing.
        del metadata["labels"]
        if text := one["data"].get("kubernetes.yaml"):
            one["data"]["kubernetes.yaml"] = yaml.safe_load(text)
    if one["kind"] == "Deployment":
        template: Manifest = one["spec"]["template"]
        template["metadata"].pop("annotations", None)
        for container in template["spec"]["containers"]:
            container["volumeMounts"].sort(key=_name)
        template["spec"]["volumes"].sort(key=_name)
    return one


def _name(one: Manifest) -> str:
    return str(one["name"])


@pytest.mark.parametrize("name", VALUES)
def test_helm_finds_nothing_to_say(name: str) -> None:
    done = helm("lint", "--strict", values=VALUES[name])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_change_of_the_settings_starts_the_server_anew() -> None:
    def annotations(**given: Any) -> Manifest:
        (one,) = [one for one in chart(**given) if one["kind"] == "Deployment"]
        found: Manifest = one["spec"]["template"]["metadata"]["annotations"]
        return found

    before = annotations()
    assert annotations() == before
    assert annotations(settings={"AIAUTO_MAX_TRIALS": "5"}) != before
    assert annotations(workers={"queue": "gpus"}) != before


def test_its_version_is_that_of_the_package() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


def test_the_schema_is_one_and_takes_the_values() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    for given in ({}, *VALUES.values()):
        assert refusals(given) == []


def refusals(given: Manifest) -> list[str]:
    """What the schema has against values that somebody gives."""
    validator: Any = jsonschema.Draft7Validator(schema())
    return [str(error.message) for error in validator.iter_errors(_merge(values(), given))]


def _merge(below: Manifest, above: Manifest) -> Manifest:
    result = copy.deepcopy(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merge(result[key], cast("Manifest", value)) if both else value
    return result


WRONG: list[Manifest] = [
    {"replica": 2},
    {"replicas": 2},
    {"replicas": 0},
    {"replicas": "2"},
    {"database": {"kind": "mysql"}, "secret": "aiauto-secrets"},
    {"database": {"kind": "postgresql"}},
    {"database": {"kind": "external"}, "secret": "aiauto-secrets"},
    {
        "database": {"kind": "external", "url": "postgresql+psycopg://me:password@db/aiauto"},
        "secret": "aiauto-secrets",
    },
    {"image": {"repositry": "aiauto"}},
    {"image": {"tag": ""}},
    {"ingress": {"enabled": "yes"}},
    {"settings": {"MAX_TRIALS": "5"}},
    {"settings": {"AIAUTO_MAX_TRIALS": 5}},
    {"settings": {"AIAUTO_ADMIN_TOKEN": "aiauto_0123456789abcdef0123456789abcdef"}},
    {"workers": {"gpu_flavours": []}},
    {"workers": {"gpu_flavors": [{"node_labels": {}}]}},
    {"workers": {"start_timeout": 0}},
    {"resources": {"limit": {"memory": "1Gi"}}},
    {"resources": {"limits": {"memory": "much"}}},
    {"networkPolicy": {"workersMayReach": [{"form": []}]}},
    {"trustedProxies": "10.42.3.0/24"},
    {"trustedProxies": ["ingress-nginx"]},
    {"trustedProxies": ["10.42.3.0/24,10.42.4.0/24"]},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused(wrong: Manifest) -> None:
    assert refusals(wrong)


RIGHT: list[Manifest] = [
    {"replicas": 3, "database": {"kind": "postgresql"}, "secret": "aiauto-secrets"},
    {
        "database": {"kind": "external", "url": "postgresql+psycopg://me@db.example/aiauto"},
        "secret": "aiauto-secrets",
    },
    {"settings": {"AIAUTO_MAX_PARALLELISM": "5000"}},
    {"workers": {"gpu_flavors": [{"name": "a100", "node_labels": {"gpu": "a100"}}]}},
    {"workers": {"start_timeout": None}},
    {"trustedProxies": ["10.42.3.0/24", "192.0.2.1", "2001:db8::/32", "::1"]},
]


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_is_taken(right: Manifest) -> None:
    assert refusals(right) == []


def test_the_schema_knows_every_field_of_the_workers() -> None:
    known = schema()["properties"]["workers"]["properties"]
    assert set(known) == {one.name for one in fields(Configuration)}
    flavor = known["gpu_flavors"]["items"]["properties"]
    assert set(flavor) == {one.name for one in fields(GpuFlavor)}
