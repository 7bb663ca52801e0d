"""What is brought to a cluster: built by kustomize and by helm, as those who deploy do it."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import yaml

Manifest: TypeAlias = "dict[str, Any]"

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "aiauto"
# Where `make control-plane` puts what it builds.
BUILT: Final = ROOT / ".kubernetes" / "bin"
NAMESPACE: Final = "aiauto"
# For which helm renders: it asks no cluster.
VERSION: Final = "1.34.0"
SECONDS: Final = 60
SECRETS: Final = {
    "server.env": f"AIAUTO_ADMIN_TOKEN=aiauto_{'a' * 32}\nAIAUTO_SESSION_SECRET={'b' * 32}\n",
    "postgresql.env": f"PGPASSWORD={'c' * 32}\n",
}
# The values with which the chart is what the overlay of that name is.
VALUES: Final[dict[str, Manifest]] = {
    "kind": {},
    "postgresql": {
        "replicas": 2,
        "secret": "aiauto-secrets",
        "database": {"kind": "postgresql"},
    },
}
INGRESS: Final = "components: [../../components/ingress]\n"


def overlay(name: str, *, ingress: bool = False) -> list[Manifest]:
    """What kustomize makes of an overlay, with secrets that somebody has made for it.

    Args:
        name: Its folder.
        ingress: Whether the Ingress comes with it.
    """
    return list(_overlay(name, INGRESS if ingress else ""))


@functools.cache
def _overlay(name: str, more: str) -> tuple[Manifest, ...]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "kubernetes")
        shutil.copytree(DEPLOY / "kubernetes", copy, ignore=shutil.ignore_patterns("secrets"))
        own = copy / "overlays" / name
        (own / "secrets").mkdir()
        for file, text in SECRETS.items():
            (own / "secrets" / file).write_text(text, encoding="utf-8")
        with (own / "kustomization.yaml").open("a", encoding="utf-8") as kustomization:
            kustomization.write(more)
        done = kustomize(own)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build an overlay. Skips the test where nothing can."""
    kubectl = _program("kubectl")
    command = [kubectl, "kustomize"] if kubectl else [_program("kustomize"), "build"]
    if command[0] is None:
        pytest.skip("There is neither kubectl nor kustomize here: `make control-plane` builds one")
    return _run([str(one) for one in (*command, folder)])


def chart(**values: Any) -> list[Manifest]:
    """What helm makes of the chart. Skips the test where there is no helm."""
    done = helm("template", "aiauto", values=values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def helm(command: str, *arguments: str, values: Manifest) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart. Skips the test where there is none."""
    found = _program("helm")
    if found is None:
        pytest.skip("There is no helm here: `make control-plane` builds one")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "values.json")
        file.write_text(json.dumps(values), encoding="utf-8")
        options = ["--namespace", NAMESPACE, "--kube-version", VERSION, "--values", str(file)]
        return _run([found, command, *arguments, str(CHART), *options])


def found(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of that kind and name."""
    (one,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return one


def pod_specs(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The Pods that are made, by what makes them."""
    return {
        f"{one['kind']} {one['metadata']['name']}": one["spec"]["template"]["spec"]
        for one in manifests
        if one["kind"] in {"Deployment", "StatefulSet"}
    }


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(BUILT))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
