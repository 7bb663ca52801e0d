"""What docs/kubernetes.md shows and tells is what is there."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from aiauto.server.executors.kubernetes import configuration, states
from aiauto.server.executors.kubernetes.configuration import Configuration
from tests.deploy.rendering import DEPLOY, ROOT, SECRETS, chart, found, kustomize
from tests.kubernetes import schemas

if TYPE_CHECKING:
    from tests.deploy.rendering import Manifest

pytestmark = pytest.mark.once

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_three_files_to_copy() -> None:
    assert len(BLOCKS) == 3


def built(tmp_path: Path) -> list[Manifest]:
    """The overlay of the page."""
    copy = tmp_path / "kubernetes"
    shutil.copytree(DEPLOY / "kubernetes", copy, ignore=shutil.ignore_patterns("secrets"))
    secrets = copy / "overlays" / "postgresql" / "secrets"
    secrets.mkdir()
    for name, text in SECRETS.items():
        (secrets / name).write_text(text, encoding="utf-8")
    mine = copy / "overlays" / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(BLOCKS[0], encoding="utf-8")
    done = kustomize(mine)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("by", ["kustomize", "helm"])
def test_the_overlay_and_the_values_do_what_they_say(tmp_path: Path, by: str) -> None:
    judge = schemas.load_or_skip()
    manifests = built(tmp_path) if by == "kustomize" else chart(**yaml.safe_load(BLOCKS[1]))
    assert [str(one) for manifest in manifests for one in judge.problems(manifest)] == []
    server = found(manifests, "Deployment", "aiauto-server")
    container = server["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.org/aiauto:0.4.0"
    ingress = found(manifests, "Ingress", "aiauto-server")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["lab.example.org"]
    assert ingress["spec"]["tls"][0]["hosts"] == ["lab.example.org"]
    files = found(manifests, "PersistentVolumeClaim", "aiauto-files")
    assert files["spec"]["storageClassName"] == "nfs"
    settings, workers = (_data(manifests, name) for name in ("aiauto-settings", "aiauto-workers"))
    assert settings["AIAUTO_PUBLIC_URL"] == "https://lab.example.org"
    assert settings["AIAUTO_MAX_PARALLELISM"] == "5000"
    assert settings["AIAUTO_TRUSTED_PROXIES"] == "10.42.3.0/24"
    assert yaml.safe_load(workers["kubernetes.yaml"])["shared_cache_claim"] == "aiauto-files"


def _data(manifests: list[Manifest], name: str) -> dict[str, str]:
    (one,) = [
        one
        for one in manifests
        if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith(name)
    ]
    data: dict[str, str] = one["data"]
    return data


def test_the_server_takes_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "kubernetes.yaml"
    file.write_text(BLOCKS[2], encoding="utf-8")
    read = configuration.load(file)
    assert [flavor.name for flavor in read.gpu_flavors] == ["rtx_4090", "a100"]
    assert read.queue == "experiments"


def test_every_field_is_told_with_its_default() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| .+ \| (.+) \|$", PAGE, re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == {one.name for one in fields(Configuration)}
    for one in fields(Configuration):
        if isinstance(one.default, (int, float)):
            assert told[one.name] == f"{one.default:g}"


def test_what_users_read_is_what_they_are_told() -> None:
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in Path(states.__file__).parent.glob("*.py")
    )
    for words in (
        " for a place on the cluster: ",
        " can't start (",
        "The cluster makes no Pods for the batch: ",
        "The batch waits for ",
        "The image has no Python",
        "neither uv nor pip",
        "The server can't be reached at ",
        "aiauto could not be installed into the image",
    ):
        assert words.strip() in PAGE.replace("…", ""), words
        assert words.strip() in code, words


def test_files_that_commands_name_are_there() -> None:
    for name in re.findall(r"(?<![\w/.])((?:deploy|examples)/[\w./-]+[\w])", PAGE):
        assert (ROOT / name).exists() or name.endswith("overlays/mine/kustomization.yaml"), name
