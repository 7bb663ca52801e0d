"""The Job that a batch is, in the words of Kubernetes; and the Secrets that go with it."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from typing import TYPE_CHECKING, Final

from aiauto.server.executors.kubernetes.pods import CONTAINER, TOKEN_KEY, Work, pod_spec
from aiauto.version import __version__

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

    from aiauto.server.executors.kubernetes.configuration import Configuration, Json

# Which batch, and which GPU model, a Job and its Pods are of.
BATCH_LABEL: Final = "aiauto.dev/batch"
SHARE_ANNOTATION: Final = "aiauto.dev/gpu-share"
MANAGED_BY: Final = "aiauto"
DOCKER_CONFIG_KEY: Final = ".dockerconfigjson"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
# Kubernetes' own limit for what becomes part of the names of Pods (`-<index>-<5 letters>`).
MAX_JOB_NAME: Final = 52
DIGEST_LENGTH: Final = 6
MOST_FAILURES: Final = 2**31 - 1
# How many Pods an index may lose before they have begun a trial: the server gives up before that.
START_FAILURES: Final = 20
# Of `aiauto.runner.worker.Exit`: no other worker could run the batch, either.
CANT_RUN: Final = 78
# A Pod that can't find its Node, its image or its packages at once has so long to begin.
START_SECONDS: Final = 900


def labels(batch_name: str) -> dict[str, str]:
    """What all that belongs to a batch is labelled with."""
    return {
        "app.kubernetes.io/name": "aiauto",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/instance": batch_name,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        "app.kubernetes.io/version": re.sub(r"[^A-Za-z0-9_.-]", "_", __version__),
        BATCH_LABEL: batch_name,
    }


ALL: Final = f"app.kubernetes.io/managed-by={MANAGED_BY},{BATCH_LABEL}"
"""Selects what belongs to any batch."""


def of_batch(batch_name: str) -> str:
    """Selects what belongs to one batch."""
    return f"{ALL},{BATCH_LABEL}={batch_name}"


def batch_of(one: Json) -> str:
    """The batch that a Job or a Pod belongs to."""
    return str(one["metadata"].get("labels", {}).get(BATCH_LABEL, ""))


def job_name(batch_name: str, share: str) -> str:
    """Name of the Job of a batch, or of those of its trials that run on one GPU model."""
    slug = re.sub(r"[^a-z0-9]+", "-", share.lower()).strip("-")
    name = f"{batch_name}-{slug}" if slug else batch_name
    if len(name) <= MAX_JOB_NAME and slug == share:
        return name
    # Shortened, or not as it was written: others could become the same.
    digest = hashlib.sha256(share.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: MAX_JOB_NAME - DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


def token_secret_name(job: str) -> str:
    """Name of the Secret with a Job's enrollment token."""
    return f"{job}-token"


def pull_secret_name(batch_name: str) -> str:
    """Name of the Secret with the credentials for a batch's image."""
    return f"{batch_name}-pull"


def job_manifest(
    work: Work,
    configuration: Configuration,
    *,
    workers: int,
    trials: int,
    wheel_url: str,
    pull_secret: str | None,
) -> Json:
    """The Job that runs a batch, or those of its trials that run on one GPU model.

    A trial that fails is no failure of its Pod, which goes on with the next one. What Kubernetes
    takes from a Pod - its node, its place - is none of the Job's failures, and another Pod comes. A
    worker that says that it can't run the batch ends the Job: no other one could. Whoever dies in a
    trial is replaced, as often as there are trials to die in.

    Args:
        work: What its Pods shall do.
        configuration: How the cluster wants it.
        workers: How many Pods at once.
        trials: How many trials they may begin, those that are run again included.
        wheel_url: Where the workers' own code is to be had.
        pull_secret: The Secret with the credentials for the image; None for none.
    """
    name = job_name(work.batch_name, work.share)
    spec: Json = {
        "completionMode": "Indexed",
        "completions": workers,
        "parallelism": workers,
        "backoffLimit": min(trials + workers * START_FAILURES, MOST_FAILURES),
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": [CANT_RUN],
                    },
                },
            ]
        },
        # Two Pods for one index would be two workers, where one was asked for.
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": configuration.ttl_after_finished,
        "template": {
            "metadata": {
                "labels": labels(work.batch_name),
                "annotations": {SHARE_ANNOTATION: work.share},
            },
            "spec": pod_spec(
                work,
                configuration,
                wheel_url=wheel_url,
                token_secret=token_secret_name(name),
                pull_secret=pull_secret,
            ),
        },
    }
    if (deadline := _deadline(work.spec)) is not None:
        spec["activeDeadlineSeconds"] = deadline
    queue = {QUEUE_LABEL: configuration.queue} if configuration.queue else {}
    if queue:
        # The queue lets it begin.
        spec["suspend"] = True
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": {**labels(work.batch_name), **queue},
            "annotations": {SHARE_ANNOTATION: work.share},
        },
        "spec": spec,
    }


def owned_by(job: Json, name: str, batch_name: str) -> Json:
    """The metadata of what goes when a Job goes."""
    return {
        "name": name,
        "labels": labels(batch_name),
        "ownerReferences": [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": job["metadata"]["name"],
                "uid": job["metadata"]["uid"],
                "controller": False,
                "blockOwnerDeletion": False,
            }
        ],
    }


def token_secret(job: Json, batch_name: str, token: str) -> Json:
    """The Secret with a Job's enrollment token.

    Args:
        job: The Job, as it was made.
        batch_name: Its batch.
        token: The token.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": owned_by(job, token_secret_name(job["metadata"]["name"]), batch_name),
        "data": {TOKEN_KEY: _base64(token)},
    }


def pull_secret(job: Json, batch_name: str, docker_config: str) -> Json:
    """The Secret with the credentials for a batch's image.

    Args:
        job: A Job of the batch, as it was made.
        batch_name: The batch.
        docker_config: A Docker `config.json`.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": owned_by(job, pull_secret_name(batch_name), batch_name),
        "data": {DOCKER_CONFIG_KEY: _base64(docker_config)},
    }


def is_owned(secret: Json, uid: str) -> bool:
    """Whether a Secret goes with the Job of that uid."""
    owners: list[Json] = secret["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == uid for owner in owners)


def credentials_in(secret: Json) -> str:
    """What `pull_secret` was made of."""
    return base64.b64decode(secret["data"][DOCKER_CONFIG_KEY]).decode()


def _deadline(spec: v1.TrialBatchSpec) -> int | None:
    """After how many seconds the cluster ends a Job that the server should have ended.

    At the end of a batch's time its last trials go on, so that there is one only where they too
    have so long and no longer.
    """
    if spec.timeout_seconds is None or spec.trial_timeout_seconds is None:
        return None
    return math.ceil(spec.timeout_seconds + spec.trial_timeout_seconds) + START_SECONDS


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
