"""The file that says how workers run on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiauto.errors import ArgumentValueError
from aiauto.server.executors.kubernetes.configuration import Configuration, GpuFlavor, load

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """\
namespace: hpo
worker_url: http://aiauto.aiauto.svc:8787/
gpu_flavors:
  - name: gpu_3090
    node_labels: {nvidia.com/gpu.product: NVIDIA-GeForce-RTX-3090}
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
  - name: mi300
    resource: amd.com/gpu
shared_cache_claim: aiauto-data
user: 1000
node_selector: {pool: "1"}
tolerations: [{operator: Exists}]
priority_class: low
queue: team-a
image_pull_secrets: [ours]
environment: {UV_DEFAULT_INDEX: "http://packages"}
ttl_after_finished: 60
start_timeout: null
"""


def test_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "kubernetes.yaml"
    path.write_text(WHOLE, encoding="utf-8")
    assert load(path) == Configuration(
        namespace="hpo",
        worker_url="http://aiauto.aiauto.svc:8787",
        gpu_flavors=(
            GpuFlavor(
                "gpu_3090",
                {"nvidia.com/gpu.product": "NVIDIA-GeForce-RTX-3090"},
                tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
            ),
            GpuFlavor("mi300", resource="amd.com/gpu"),
        ),
        shared_cache_claim="aiauto-data",
        user=1000,
        node_selector={"pool": "1"},
        tolerations=({"operator": "Exists"},),
        priority_class="low",
        queue="team-a",
        image_pull_secrets=("ours",),
        environment={"UV_DEFAULT_INDEX": "http://packages"},
        ttl_after_finished=60,
        start_timeout=None,
    )


def test_none_and_nothing_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "kubernetes.yaml"
    path.touch()
    assert load(path) == load(None) == Configuration()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "must be a mapping"),
        ("{", "can't be read"),
        ("gpu_flavours: []", "'gpu_flavours' is not known; there are namespace"),
        ("user: 0", "user is 0: it must be a whole number from 1"),
        ("user: true", "user is True"),
        ("worker_url: aiauto", "worker_url"),
        ("node_selector: {pool: 1}", "node_selector is 1: it must be a text; put it into quotes"),
        ("queue: [a]", "queue is ['a']"),
        ("start_timeout: -1", "start_timeout is -1: it must be a positive number of seconds"),
        ("tolerations: {}", "tolerations is {}: it must be a list"),
        ("tolerations: [a]", "it must be a list of mappings"),
        ("gpu_flavors: [{}]", "gpu_flavors[0].name is ''"),
        ("gpu_flavors: [{name: a}, {name: a}]", "gpu_flavors[1].name is 'a'"),
        ("gpu_flavors: [{name: a, labels: {}}]", "gpu_flavors[0].'labels' is not known"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "kubernetes.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArgumentValueError) as caught:
        load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentValueError, match="can't be read"):
        load(tmp_path / "nothing.yaml")
