"""What a batch is to a cluster."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from aiauto_gen.aiauto import v1

from aiauto.runner.worker import Exit
from aiauto.server.executors.kubernetes import jobs
from aiauto.server.executors.kubernetes.configuration import Configuration, GpuFlavor
from aiauto.server.executors.kubernetes.pods import HOME, Work

SHM = "/dev/shm"  # noqa: S108 - the one of a Pod
PLAIN = v1.TrialBatchSpec(
    study_name="study",
    n_trials=10,
    parallelism=4,
    resources_requests={"cpu": "256m", "memory": "256Mi"},
    resources_limits={"cpu": "256m", "memory": "256Mi"},
)
WORK = Work(batch_name="study-1", spec=PLAIN, image="python:3.11", base_url="http://aiauto")


def job(
    work: Work = WORK, configuration: Configuration | None = None, **given: Any
) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "workers": 4,
        "trials": 10,
        "wheel_url": "http://aiauto/worker/wheel.whl",
        "pull_secret": None,
    }
    return jobs.job_manifest(work, configuration or Configuration(), **(arguments | given))


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod(manifest)["containers"]
    only: dict[str, Any] = one
    return only


def environment(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        one["name"]: one.get("value", one.get("valueFrom")) for one in container(manifest)["env"]
    }


def volumes(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The volumes by where they are mounted."""
    by_name = {one["name"]: one for one in pod(manifest)["volumes"]}
    return {
        one["mountPath"]: by_name[one["name"]] | {"subPath": one.get("subPath")}
        for one in container(manifest)["volumeMounts"]
    }


def test_one_job_with_as_many_pods_as_workers() -> None:
    manifest = job()
    assert manifest["metadata"]["name"] == "study-1"
    spec = manifest["spec"]
    assert (spec["parallelism"], spec["completions"]) == (4, 4)
    assert spec["completionMode"] == "Indexed"
    assert spec["ttlSecondsAfterFinished"] == 600


def test_all_is_labelled_by_its_batch() -> None:
    manifest = job()
    for metadata in (manifest["metadata"], manifest["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/name"] == "aiauto"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "study-1"
        assert metadata["labels"][jobs.BATCH_LABEL] == "study-1"
        for value in metadata["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value), value


def test_what_the_cluster_takes_away_is_no_failure_and_what_cannot_run_is_final() -> None:
    ignore, fail = job()["spec"]["podFailurePolicy"]["rules"]
    assert ignore == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"]["values"] == [Exit.CANT_RUN]


def test_workers_may_die_in_every_trial() -> None:
    assert job(trials=10_000)["spec"]["backoffLimit"] > 10_000
    assert job(trials=2**31)["spec"]["backoffLimit"] == 2**31 - 1


@pytest.mark.parametrize(
    ("timeout", "trial_timeout", "least"),
    [(None, None, None), (60.0, None, None), (60.0, 30.0, 90)],
)
def test_the_deadline_leaves_time_for_the_last_trials(
    timeout: float | None, trial_timeout: float | None, least: int | None
) -> None:
    spec = replace(PLAIN, timeout_seconds=timeout, trial_timeout_seconds=trial_timeout)
    deadline = job(replace(WORK, spec=spec))["spec"].get("activeDeadlineSeconds")
    assert (deadline is None) == (least is None)
    assert least is None or deadline >= least


def test_a_pod_may_do_next_to_nothing() -> None:
    spec = pod(job())
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container(job())["securityContext"]
    assert security == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_no_secret_is_in_the_manifest() -> None:
    variables = environment(job())
    assert variables["AIAUTO_ENROLLMENT_TOKEN"] == {
        "secretKeyRef": {"name": "study-1-token", "key": "token"}
    }
    assert "AIAUTO_TOKEN" not in variables
    assert variables["AIAUTO_POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_what_nobody_asked_for_limits_nobody() -> None:
    assert container(job())["resources"] == {
        "requests": {"cpu": "256m", "memory": "256Mi"},
        "limits": {},
    }
    asked = replace(PLAIN, resources_limits={"cpu": "2", "memory": "4Gi"})
    limits = container(job(replace(WORK, spec=asked)))["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": "4Gi"}


def test_gpus_are_asked_for_by_resource_and_by_node() -> None:
    taint = {"key": "gpu", "operator": "Exists"}
    flavor = GpuFlavor("gpu_3090", {"product": "RTX-3090"}, tolerations=(taint,))
    manifest = job(replace(WORK, share="gpu_3090", gpus=2, flavor=flavor))
    assert container(manifest)["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert container(manifest)["resources"]["requests"]["nvidia.com/gpu"] == "2"
    assert pod(manifest)["nodeSelector"] == {"product": "RTX-3090"}
    assert pod(manifest)["tolerations"] == [taint]
    assert environment(manifest)["AIAUTO_GPU_SHARE"] == "gpu_3090"
    assert environment(manifest)["AIAUTO_GPU_NAME"] == "gpu_3090"
    assert manifest["metadata"]["annotations"] == {jobs.SHARE_ANNOTATION: "gpu_3090"}


def test_the_folders_that_a_user_may_size() -> None:
    spec = replace(
        PLAIN,
        dev_shm_size="1Gi",
        tmp_cache_dir="/scratch",
        use_tmp_cache_mem=True,
        tmp_cache_size="2Gi",
    )
    found = volumes(job(replace(WORK, spec=spec)))
    assert found[SHM]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert found["/scratch"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert environment(job(replace(WORK, spec=spec)))["AIAUTO_TMP_CACHE_DIR"] == "/scratch"
    plain = volumes(job())
    assert plain["/mnt/tmp-cache"]["emptyDir"] == {}
    assert SHM not in plain
    assert HOME in plain


def test_the_shared_cache_is_a_part_of_the_servers_claim() -> None:
    work = replace(WORK, shared_cache="files/7/shared-cache", shared_cache_dir="/data")
    manifest = job(work, Configuration(shared_cache_claim="aiauto-data"))
    shared = volumes(manifest)["/data"]
    assert shared["persistentVolumeClaim"] == {"claimName": "aiauto-data"}
    assert shared["subPath"] == "files/7/shared-cache"
    assert volumes(job())["/mnt/shared-cache"]["emptyDir"] == {}


def test_what_those_who_run_the_cluster_decide() -> None:
    configuration = Configuration(
        user=1234,
        node_selector={"pool": "hpo"},
        priority_class="low",
        queue="team-a",
        image_pull_secrets=("ours",),
        environment={"UV_CACHE_DIR": "/opt/uv"},
    )
    manifest = job(configuration=configuration, pull_secret="theirs")
    spec = pod(manifest)
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 1234
    assert spec["nodeSelector"] == {"pool": "hpo"}
    assert spec["priorityClassName"] == "low"
    assert spec["imagePullSecrets"] == [{"name": "ours"}, {"name": "theirs"}]
    assert environment(manifest)["UV_CACHE_DIR"] == "/opt/uv"
    assert manifest["metadata"]["labels"][jobs.QUEUE_LABEL] == "team-a"
    assert manifest["spec"]["suspend"] is True
    assert "suspend" not in job()["spec"]


def test_names_of_jobs_are_short_and_apart() -> None:
    batch = "s" * 40 + "-0123abcd"
    models = ["", "a", "A", "a b", "a-b", "nvidia-geforce-rtx-3090", "nvidia-geforce-rtx-4090"]
    names = {jobs.job_name(batch, model) for model in models}
    assert len(names) == len(models)
    for name in names:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", name), name
    assert jobs.job_name("study-1", "h100") == "study-1-h100"


def test_secrets_go_with_their_job() -> None:
    made = {"metadata": {"name": "study-1", "uid": "u-1"}}
    for secret in (
        jobs.token_secret(made, "study-1", "hidden"),
        jobs.pull_secret(made, "study-1", "{}"),
    ):
        (owner,) = secret["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", "study-1", "u-1")
        assert "hidden" not in str(secret)
