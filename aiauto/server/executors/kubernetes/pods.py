"""The Pod that is a worker, in the words of Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiauto import config
from aiauto.resources import DEFAULT_RESOURCES
from aiauto.server.batches.gpu_shares import ANY, RESOURCE

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

    from aiauto.server.executors.kubernetes.configuration import (
        Configuration,
        GpuFlavor,
        Json,
    )

CONTAINER: Final = "worker"
# Where the worker keeps what is its own, in an image that is somebody else's.
HOME: Final = "/opt/aiauto"
# Read by `bootstrap`, `aiauto.runner` and `aiauto.folders`.
WHEEL_VARIABLE: Final = "AIAUTO_WHEEL_URL"
CACHE_DIR_VARIABLE: Final = "AIAUTO_CACHE_DIR"
SHARED_CACHE_VARIABLE: Final = "AIAUTO_SHARED_CACHE_DIR"
TMP_CACHE_VARIABLE: Final = "AIAUTO_TMP_CACHE_DIR"
ARTIFACT_TMP_VARIABLE: Final = "AIAUTO_ARTIFACT_TMP_DIR"
SHARED_CACHE_DIR: Final = "/mnt/shared-cache"
TMP_CACHE_DIR: Final = "/mnt/tmp-cache"
# As long as a worker that is asked to end may take for its last words.
GRACE_SECONDS: Final = 10
TOKEN_KEY: Final = "token"  # noqa: S105 - the name of a key

BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")
# Images have Python under either name, and nothing else is asked of them.
START: Final = (
    'command -v python3 >/dev/null 2>&1 && exec python3 -c "$0"; '
    'command -v python >/dev/null 2>&1 && exec python -c "$0"; '
    'echo "The image has no Python: aiauto needs one of 3.10 or newer in it." >&2; exit 78'
)


@dataclass(frozen=True)
class Work:
    """What the Pods of one Job shall do.

    Attributes:
        batch_name: Their batch.
        spec: What the batch is.
        image: The image that they run in.
        share: The GPU model whose trials they run; empty for those of any.
        gpus: How many GPUs each of them has.
        flavor: What that model is on the cluster; None for any GPU, and for none.
        base_url: Address of the server, for Pods.
        shared_cache: Path of the workspace's shared cache within the claim; empty where there is
            no claim.
        shared_cache_dir: Where workers find it.
    """

    batch_name: str
    spec: v1.TrialBatchSpec
    image: str
    base_url: str
    share: str = ANY
    gpus: int = 0
    flavor: GpuFlavor | None = None
    shared_cache: str = ""
    shared_cache_dir: str = SHARED_CACHE_DIR


def pod_spec(
    work: Work,
    configuration: Configuration,
    *,
    wheel_url: str,
    token_secret: str,
    pull_secret: str | None,
) -> Json:
    """What a worker is to the cluster.

    Args:
        work: What it shall do.
        configuration: How the cluster wants it.
        wheel_url: Where the worker's own code is to be had.
        token_secret: The Secret with the enrollment token.
        pull_secret: The Secret with the credentials for the image; None for none.

    Returns:
        A PodSpec. It keeps to the Pod Security Standard *restricted*.
    """
    flavor = work.flavor
    volumes, mounts = _volumes(work, configuration)
    pull_secrets = [*configuration.image_pull_secrets, *([pull_secret] if pull_secret else [])]
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": configuration.user,
            "runAsGroup": configuration.user,
            "fsGroup": configuration.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": work.image,
                "command": ["sh", "-c", START, BOOTSTRAP.read_text(encoding="utf-8")],
                "env": _environment(work, configuration, wheel_url, token_secret),
                "resources": _resources(work),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    selector = {**configuration.node_selector, **(flavor.node_labels if flavor else {})}
    optional: Json = {
        "nodeSelector": selector,
        "tolerations": [*configuration.tolerations, *(flavor.tolerations if flavor else ())],
        "priorityClassName": configuration.priority_class,
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
    }
    return {**spec, **{name: value for name, value in optional.items() if value}}


def _environment(
    work: Work, configuration: Configuration, wheel_url: str, token_secret: str
) -> list[Json]:
    values = {
        **configuration.environment,
        "HOME": f"{HOME}/home",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        config.BASE_URL_VARIABLE: work.base_url,
        WHEEL_VARIABLE: wheel_url,
        CACHE_DIR_VARIABLE: f"{HOME}/cache",
        SHARED_CACHE_VARIABLE: work.shared_cache_dir,
        TMP_CACHE_VARIABLE: work.spec.tmp_cache_dir or TMP_CACHE_DIR,
        ARTIFACT_TMP_VARIABLE: f"{HOME}/artifacts",
        config.GPU_SHARE_VARIABLE: work.share,
    }
    if work.flavor is not None:
        values[config.GPU_NAME_VARIABLE] = work.flavor.name
    secret = {"secretKeyRef": {"name": token_secret, "key": TOKEN_KEY}}
    return [
        *({"name": name, "value": value} for name, value in values.items() if value),
        {"name": config.ENROLLMENT_TOKEN_VARIABLE, "valueFrom": secret},
        _from_field(config.POD_NAME_VARIABLE, "metadata.name"),
        _from_field(config.NODE_NAME_VARIABLE, "spec.nodeName"),
    ]


def _from_field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _resources(work: Work) -> Json:
    """What it asks for and what it may have: GPUs count the same in both, as Kubernetes wants."""
    resource = work.flavor.resource if work.flavor else RESOURCE
    gpus = {resource: str(work.gpus)} if work.gpus else {}
    requests = {**work.spec.resources_requests, **gpus}
    # What stands where a user names none is what the hosted service gives: nobody asked for a limit
    # that a small library goes beyond.
    limits = {
        name: amount
        for name, amount in work.spec.resources_limits.items()
        if amount != DEFAULT_RESOURCES.get(name)
    }
    return {"requests": requests, "limits": {**limits, **gpus}}


def _volumes(work: Work, configuration: Configuration) -> tuple[list[Json], list[Json]]:
    spec = work.spec
    own: Json = {"name": "aiauto", "emptyDir": {}}
    volumes: list[Json] = [own]
    mounts: list[Json] = [{"name": "aiauto", "mountPath": HOME}]

    def add(name: str, path: str, source: Json, **more: str) -> None:
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path, **more})

    scratch: Json = {"medium": "Memory"} if spec.use_tmp_cache_mem else {}
    if spec.tmp_cache_size:
        scratch["sizeLimit"] = spec.tmp_cache_size
    add("tmp-cache", spec.tmp_cache_dir or TMP_CACHE_DIR, {"emptyDir": scratch})
    if spec.dev_shm_size:
        memory = {"medium": "Memory", "sizeLimit": spec.dev_shm_size}
        add("dev-shm", "/dev/shm", {"emptyDir": memory})  # noqa: S108 - the one of the Pod
    if work.shared_cache:
        claim = {"claimName": configuration.shared_cache_claim}
        source = {"persistentVolumeClaim": claim}
        add("shared-cache", work.shared_cache_dir, source, subPath=work.shared_cache)
    else:
        add("shared-cache", work.shared_cache_dir, {"emptyDir": {}})
    return volumes, mounts
