"""A user's program, never run: what type checkers see of the package and of what is generated.

`assert_type` compares exactly, so an `Any` that leaks from a signature is an error here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import betterproto2
import optuna
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as services
from aiauto_gen.connect import AsyncStream, BoundMethod, Context, Idempotency, Method, Stream
from aiohttp import web
from typing_extensions import NotRequired, TypedDict, assert_never, assert_type

import aiauto
from aiauto import connect
from aiauto.testing import EmbeddedServer, embedded_server

if TYPE_CHECKING:
    from aiauto_gen.connect import AsyncTransport, SyncTransport


# ------------------------------------------------------------------------------- controller


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    return x**2


def noted(trial: optuna.Trial) -> float:
    notes = aiauto.TrialController(trial)
    assert_type(notes, aiauto.TrialController)
    assert_type(notes.get_trial(), optuna.Trial | optuna.trial.FrozenTrial)
    notes.log("a line")
    notes.log(1.5)
    notes.set_user_attr("epochs", 3)
    notes.flush()
    return objective(trial)


def objectives(trial: optuna.Trial) -> tuple[float, float]:
    x = trial.suggest_int("x", 0, 10)
    return x, -x


def controllers() -> aiauto.AIAutoController:
    aiauto.AIAutoController()
    aiauto.AIAutoController("token", "http://127.0.0.1:8787")
    aiauto.AIAutoController(None, None)
    ac = aiauto.AIAutoController(
        token="token",
        base_url="http://127.0.0.1:8787",
        storage_size="1Gi",
        artifact_store_size="2Gi",
        shared_cache_dir="/mnt/shared-cache",
        shared_cache_size="500Mi",
    )
    assert_type(ac, aiauto.AIAutoController)
    assert_type(ac.base_url, str)
    assert_type(ac.token, str)
    assert_type(ac.dashboard_url, str)
    assert_type(ac.get_storage(), optuna.storages.BaseStorage)
    return ac


def files(ac: aiauto.AIAutoController, trial: optuna.Trial) -> None:
    artifact_id = ac.upload_artifact(trial, "model.pt")
    assert_type(artifact_id, str)
    assert_type(ac.download_artifact(artifact_id, Path("model.pt"), overwrite=True), Path)
    assert_type(ac.get_artifact_tmp_dir(), str)
    store = ac.get_artifact_store()
    assert_type(store, aiauto.ArtifactStore)
    optuna.artifacts.upload_artifact(
        artifact_store=store, file_path="model.pt", study_or_trial=trial
    )
    uploaded = ac.upload_to_shared_cache(["train.csv", Path("test.csv")], dest_dir="datasets")
    assert_type(uploaded["uploaded_files"], list[str])
    ac.upload_to_shared_cache("train.csv", show_progress_bar=False)
    for file in ac.list_shared_cache()["files"]:
        assert_type(file, aiauto.SharedCacheFile)
        assert_type(file["size"], int)
        assert_type(ac.delete_from_shared_cache(file["name"])["found"], bool)
    assert_type(ac.download_from_shared_cache("train.csv", "train.csv"), Path)
    assert_type(ac.shared_cache_dir, Path)
    assert_type(aiauto.shared_cache_dir(), Path)
    assert_type(aiauto.tmp_cache_dir(), Path)


def studies(ac: aiauto.AIAutoController) -> aiauto.StudyWrapper:
    assert_type(ac.create_study("name"), aiauto.StudyWrapper)
    assert_type(ac.create_study("name", "maximize"), aiauto.StudyWrapper)
    assert_type(ac.create_study("name", ["minimize", "maximize"]), aiauto.StudyWrapper)
    ac.create_study(study_name="name", directions=("minimize", "maximize"))
    ac.create_study("name", sampler=optuna.samplers.TPESampler(seed=1))
    ac.create_study("name", pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
    ac.create_study(
        "name",
        sampler={"cls": "TPESampler", "kwargs": {"seed": 1}},
        pruner={"cls": "MedianPruner", "kwargs": {}},
    )
    study = ac.create_study("name", direction="minimize", directions=None)
    assert_type(study.study_name, str)
    return study


# --------------------------------------------------------------------------------- optimize


def batches(study: aiauto.StudyWrapper) -> None:
    assert_type(study.optimize(objective), str)
    assert_type(study.optimize(objectives, 100, 4), str)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    study.optimize(objective, wait_option=aiauto.WaitOption.WAIT_ALL_TRIALS, wait_timeout=None)
    name = study.optimize(
        objective,
        n_trials=100,
        parallelism=4,
        requirements_list=["torch>=2"],
        resources_requests={"cpu": "1"},
        resources_limits={"cpu": "2"},
        runtime_image=aiauto.RUNTIME_IMAGES[0],
        use_gpu=True,
        gpu_model={"gpu_3090": 4},
        wait_option="WAIT_NO",
        wait_timeout=60,
        dev_shm_size="1Gi",
        tmp_cache_dir="/mnt/tmp-cache",
        use_tmp_cache_mem=True,
        tmp_cache_size="1Gi",
        top_n_artifacts=3,
        image_pull_docker_config_json={"auths": {}},
        timeout=3600,
        trial_timeout=60.5,
        patience=20,
        max_retries=2,
        show_progress_bar=False,
    )
    needs: aiauto.Resources = {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}
    known: dict[str, str] = {"amd.com/gpu": "1"}
    study.optimize(objective, resources_requests=needs, resources_limits=known, patience=None)
    assert_type(study.cancel(), None)
    study.cancel(name)
    assert_type(study.delete(), None)
    assert_type(study.wait(), bool)
    assert_type(study.wait(3, name, 60.0, show_progress_bar=True), bool)
    assert_type(study.wait(trialbatch_name=name, timeout=None), bool)
    assert_type(study.is_trial_finished(3), bool)
    assert_type(study.is_trial_finished("trial-name", name), bool)
    assert_type(aiauto.RUNTIME_IMAGES, list[str])
    assert_type(aiauto.__version__, str)


def waits(option: aiauto.WaitOption) -> str:
    # Narrowing knows every member.
    if option is aiauto.WaitOption.WAIT_NO:
        return "at once"
    if option is aiauto.WaitOption.WAIT_ATLEAST_ONE_TRIAL:
        return "soon"
    if option is aiauto.WaitOption.WAIT_ALL_TRIALS:
        return "late"
    assert_never(option)


# ---------------------------------------------------------------------------------- results


def status(study: aiauto.StudyWrapper) -> float | None:
    status = study.get_status(include_trials=True)
    assert_type(status, aiauto.StudyStatusWithTrials)
    by_place = study.get_status("batch", True)  # noqa: FBT003 - as scripts may have it
    assert_type(by_place, aiauto.StudyStatusWithTrials)
    assert_type(study.get_status(), aiauto.StudyStatus)
    assert_type(study.get_status("batch"), aiauto.StudyStatus)
    assert_type(study.get_status("batch", include_trials=False), aiauto.StudyStatus)
    either = study.get_status(None, bool(study))
    assert_type(either, aiauto.StudyStatus | aiauto.StudyStatusWithTrials)
    assert_type(either["count_total"], int)
    for short in study.get_status()["trialbatches"].values():
        assert_type(short, aiauto.TrialBatchStatus)
        assert_type(short["stop_reason"], str)
        assert_type(short.get("completed_trials", {}), dict[str, aiauto.TrialStatus])
    assert_type(status["study_name"], str)
    assert_type(status["count_completed"], int)
    assert_type(status["dashboard_url"], str)
    assert_type(status["last_error"], str)
    assert_type(status["updated_at"], str)
    assert_type(status["trialbatches"], dict[str, aiauto.TrialBatchStatusWithTrials])
    for name, batch in status["trialbatches"].items():
        assert_type(name, str)
        assert_type(batch["phase"], str)
        assert_type(batch["count_total"], int)
        for condition in batch["conditions"]:
            assert_type(condition, aiauto.ConditionStatus)
            assert_type(condition["last_transition_time"], str)
        for trial in batch["completed_trials"].values():
            assert_type(trial, aiauto.TrialStatus)
            assert_type(trial["trialNumber"], int)
            assert_type(trial["values"], list[float])
            assert_type(trial["userAttrs"], dict[str, str])
            assert_type(trial["reason"], str)
            return assert_type(trial["value"], float | None)
    return None


def lines(study: aiauto.StudyWrapper) -> None:
    for line in study.logs():
        assert_type(line, aiauto.LogLine)
        assert_type(line.text, str)
        assert_type(line.trial, int | None)
        assert_type(line.stream, Literal["stdout", "stderr"])
    assert_type(next(study.logs(3, "batch", follow=True)), aiauto.LogLine)
    study.logs(trial=3, trialbatch_name=None, follow=True)


async def without_blocking(study: aiauto.StudyWrapper, function: aiauto.Objective) -> None:
    option: aiauto.WaitOptionName = "WAIT_NO"
    assert_type(await study.optimize_async(function, 10, wait_option=option, patience=3), str)
    assert_type(await study.wait_async(3, "batch", 60), bool)
    assert_type(await study.get_status_async(), aiauto.StudyStatus)
    assert_type(await study.get_status_async(include_trials=True), aiauto.StudyStatusWithTrials)
    async for line in study.logs_async(follow=True):
        assert_type(line, aiauto.LogLine)


def new_study(ac: aiauto.AIAutoController, direction: aiauto.Direction) -> aiauto.StudyWrapper:
    return ac.create_study("name", direction)


class Report(TypedDict):
    """A user's own type, with one of ours in it."""

    status: aiauto.StudyStatus
    note: NotRequired[str]


def report(study: aiauto.StudyWrapper) -> Report:
    return {"status": study.get_status()}


def results(study: aiauto.StudyWrapper) -> None:
    assert_type(study.trials, list[optuna.trial.FrozenTrial])
    assert_type(study.enqueue_trial({"x": 1.0}), None)
    study.enqueue_trial({"x": 1.0}, {"who": "me"}, skip_if_exists=True)
    study.enqueue_trial(study.best_trial)
    assert_type(study.best_value, float)
    assert_type(study.best_params, dict[str, Any])
    assert_type(study.best_trial, optuna.trial.FrozenTrial)
    assert_type(study.best_trials, list[optuna.trial.FrozenTrial])
    optuna_study = study.get_study()
    assert_type(optuna_study, optuna.Study)
    assert_type(optuna_study.trials, list[optuna.trial.FrozenTrial])
    trial = optuna_study.ask()
    assert_type(trial, optuna.Trial)
    assert_type(optuna_study.tell(trial, objective(trial)), optuna.trial.FrozenTrial)


# ----------------------------------------------------------------------------------- errors


def errors(study: aiauto.StudyWrapper) -> None:
    try:
        study.optimize(objective)
    except aiauto.ArgumentFileNotFoundError as error:
        assert_type(error.argument, str)
        assert_type(error.path, str)
        assert_type(error.errno, int | None)
    except aiauto.ArgumentError as error:
        assert_type(error.argument, str)
    except aiauto.WaitTimeoutError as error:
        assert_type(error.trialbatch_name, str)
    except aiauto.TrialBatchFailedError as error:
        assert_type(error.trialbatch_name, str)
        assert_type(error.last_error, str)
    except aiauto.NotFoundError as error:
        assert_type(error, aiauto.NotFoundError)
    except aiauto.RpcError as error:
        assert_type(error.code, aiauto.Code)
        assert_type(error.message, str)
        assert_type(error.http_status, int | None)
        assert_type(error.details, tuple[connect.ErrorDetail, ...])
        assert_type(error.detail(v1.Condition), v1.Condition | None)
        for detail in error.details:
            assert_type(detail.type_name, str)
            assert_type(detail.value, bytes)
            assert_type(detail.unpack(v1.Condition), v1.Condition | None)
        assert_type(error.metadata, connect.Metadata)
        assert_type(error.metadata["x-request-id"], str)
        assert_type(error.metadata.get("x-request-id"), str | None)
        assert_type(error.metadata.get_all("x-request-id"), list[str])
    except aiauto.AIAutoError as error:
        assert_type(error, aiauto.AIAutoError)


def builtin_errors() -> None:
    # Each may be caught by the class that Python has for it.
    at_values: ValueError = aiauto.ArgumentValueError("message", argument="n_trials")
    at_types: TypeError = aiauto.ArgumentTypeError("message", argument="n_trials")
    at_files: FileNotFoundError = aiauto.ArgumentFileNotFoundError("message", path="a.txt")
    at_times: TimeoutError = aiauto.WaitTimeoutError("message", trialbatch_name="batch")
    at_deadlines: TimeoutError = aiauto.DeadlineExceededError("message")
    at_connections: ConnectionError = aiauto.UnavailableError("message")
    at_rights: PermissionError = aiauto.PermissionDeniedError("message")
    at_runs: RuntimeError = aiauto.TrialBatchFailedError("message", last_error="error")
    one_name: aiauto.RpcError = aiauto.AIAutoRpcError("message", details=[v1.Condition()])
    print(at_values, at_types, at_files, at_times, at_deadlines, at_connections, at_rights)
    print(at_runs, one_name)
    assert_type(aiauto.RpcError.of(aiauto.Code.NOT_FOUND, "message"), aiauto.RpcError)
    assert_type(aiauto.Code("not_found"), aiauto.Code)
    as_text: str = aiauto.Code.NOT_FOUND.value
    print(as_text)


def own_tests() -> None:
    with embedded_server() as server:
        assert_type(server, EmbeddedServer)
        assert_type(server.url, str)
        assert_type(server.token, str)
        aiauto.AIAutoController(server.token, server.url)


# --------------------------------------------------------------------------------- messages


def messages() -> v1.TrialBatchSpec:
    study = v1.StudySpec(study_name="name", direction="minimize")
    assert_type(study.study_name, str)
    assert_type(study.direction, str | None)
    assert_type(study.directions, v1.DirectionList | None)
    if study.directions is not None:
        assert_type(study.directions.values, list[str])
    assert_type(betterproto2.which_one_of(study, "direction_spec"), tuple[str, Any | None])
    spec = v1.TrialBatchSpec(
        study_name="name",
        n_trials=4,
        resources_requests={"cpu": "1"},
        gpu_model={"gpu_3090": 4},
        image_pull_registry=v1.ImagePullRegistry(),
    )
    assert_type(spec.n_trials, int)
    assert_type(spec.use_gpu, bool)
    assert_type(spec.gpu_model, dict[str, int])
    assert_type(spec.dev_shm_size, str | None)
    assert_type(spec.image_pull_registry, v1.ImagePullRegistry | None)
    spec.parallelism = 2
    spec.dev_shm_size = None
    spec.resources_limits["cpu"] = "2"
    answer = v1.GetStatusResponse()
    assert_type(answer.trialbatches, dict[str, v1.TrialBatchStatus])
    trial = v1.TrialInfo(values=[1.0, 2], value=1)
    assert_type(trial.values, list[float])
    assert_type(trial.value, float)
    assert_type(v1.TrialInfo.parse(bytes(trial)), v1.TrialInfo)
    assert_type(v1.TrialInfo.from_json(trial.to_json()), v1.TrialInfo)
    assert_type(v1.TrialInfo.from_dict(trial.to_dict()), v1.TrialInfo)
    assert_type(trial.to_dict(), dict[str, Any])
    assert_type(bytes(trial), bytes)
    assert_type(v1.ObjectivePayload().pickled, bytes)
    return spec


def enums(line: v1.LogLine) -> Literal["out", "err", "?"]:
    assert_type(line.stream, v1.LogStream)
    assert_type(line.stream.value, int)
    assert_type(line.trial_number, int | None)
    assert_type(v1.LogStream(1), v1.LogStream)
    assert_type(v1.LogStream.from_string("STDOUT"), v1.LogStream)
    v1.LogLine(stream=v1.LogStream.STDERR, text="text")
    if line.stream is v1.LogStream.STDOUT:
        return "out"
    if line.stream is v1.LogStream.STDERR:
        return "err"
    assert_type(line.stream, Literal[v1.LogStream.UNSPECIFIED])
    return "?"


# ---------------------------------------------------------------------------------- clients


async def call_async(transport: connect.Transport) -> None:
    client = services.AIAutoServiceClient(transport)
    request = v1.GetStatusRequest(study_name="name")
    assert_type(await client.get_status(request), v1.GetStatusResponse)
    answer = await client.get_status(request, timeout=5, headers={"x-request-id": "7"})
    assert_type(answer.trialbatches["batch"].count_completed, int)
    await client.get_status(request, timeout=None)
    made = await client.optimize(v1.OptimizeRequest(batch=messages(), request_id="id"))
    assert_type(made, v1.OptimizeResponse)
    assert_type(made.trialbatch_name, str)


async def stream_async(transport: connect.Transport) -> None:
    client = services.LogServiceClient(transport)
    stream = client.stream_logs(v1.StreamLogsRequest(trialbatch_name="batch", follow=True))
    assert_type(stream, AsyncStream[v1.StreamLogsResponse])
    async with stream as entered:
        assert_type(entered, AsyncStream[v1.StreamLogsResponse])
        async for part in entered:
            assert_type(part, v1.StreamLogsResponse)
            assert_type([line.text for line in part.lines], list[str])
    assert_type(await anext(stream), v1.StreamLogsResponse)
    assert_type(await anext(stream, None), v1.StreamLogsResponse | None)
    assert_type([part async for part in stream], list[v1.StreamLogsResponse])
    assert_type(stream.headers, Mapping[str, str])
    assert_type(stream.trailers, Mapping[str, str])
    await stream.aclose()
    progress = services.ProgressServiceClient(transport)
    async for change in progress.watch_trial_batch(v1.WatchTrialBatchRequest(), timeout=60):
        assert_type(change.status, v1.TrialBatchStatus | None)
        assert_type(change.best_trial, v1.TrialInfo | None)


def call_sync(transport: connect.SyncTransport) -> None:
    client = services.AIAutoServiceClientSync(transport)
    answer = client.get_status(v1.GetStatusRequest(study_name="name"), timeout=5)
    assert_type(answer, v1.GetStatusResponse)
    assert_type(client.list_studies(v1.ListStudiesRequest()), v1.ListStudiesResponse)
    journal = services.JournalServiceClientSync(transport)
    assert_type(journal.read_entries(v1.ReadEntriesRequest()), v1.ReadEntriesResponse)


def stream_sync(transport: connect.SyncTransport) -> None:
    client = services.LogServiceClientSync(transport)
    stream = client.stream_logs(v1.StreamLogsRequest(), headers={"x-request-id": "7"})
    assert_type(stream, Stream[v1.StreamLogsResponse])
    with stream as entered:
        assert_type(entered, Stream[v1.StreamLogsResponse])
        for part in entered:
            assert_type(part.lines, list[v1.LogLine])
    assert_type(next(stream), v1.StreamLogsResponse)
    assert_type(list(stream), list[v1.StreamLogsResponse])
    stream.close()


async def transports() -> None:
    async with connect.Transport(
        "https://rpc.acme.com",
        token=lambda: "token",
        timeout=None,
        codec="json",
        compressions=[connect.GZIP],
        headers={"x-tenant": "acme"},
        retries=connect.NO_RETRIES,
        use_get=True,
    ) as transport:
        assert_type(transport, connect.Transport)
        assert_type(transport.base_url, str)
        await call_async(transport)
    with connect.SyncTransport("https://rpc.acme.com", token="token") as blocking:
        assert_type(blocking, connect.SyncTransport)
        call_sync(blocking)
    a_transport: AsyncTransport = connect.Transport("https://rpc.acme.com")
    a_blocking: SyncTransport = connect.SyncTransport("https://rpc.acme.com")
    print(a_transport, a_blocking)


# A method without a client: the types come from its descriptor.
async def call_by_descriptor(transport: connect.Transport, blocking: connect.SyncTransport) -> None:
    method = services.LOG_SERVICE_STREAM_LOGS
    assert_type(method, Method[v1.StreamLogsRequest, v1.StreamLogsResponse])
    assert_type(method.path, str)
    assert_type(method.idempotency, Idempotency)
    assert_type(method.request_type, type[v1.StreamLogsRequest])
    stream = transport.server_stream(method, v1.StreamLogsRequest())
    assert_type(stream, connect.ResponseStream[v1.StreamLogsResponse])
    assert_type(stream.trailers, connect.Metadata)
    other = blocking.server_stream(method, v1.StreamLogsRequest())
    assert_type(other, connect.SyncResponseStream[v1.StreamLogsResponse])
    get_status = services.AI_AUTO_SERVICE_GET_STATUS
    assert_type(await transport.unary(get_status, v1.GetStatusRequest()), v1.GetStatusResponse)


# ---------------------------------------------------------------------------------- servers


class Studies(services.AIAutoServiceBase):
    """Some methods of a service; the others answer `unimplemented`."""

    async def get_status(
        self, request: v1.GetStatusRequest, context: Context
    ) -> v1.GetStatusResponse:
        assert_type(request.study_name, str)
        assert_type(context.method, str)
        assert_type(context.peer, str)
        assert_type(context.request_headers, Mapping[str, str])
        assert_type(context.request_headers.get("authorization"), str | None)
        assert_type(context.deadline_left(), float | None)
        context.response_headers["x-request-id"] = "7"
        context.response_trailers["x-took"] = "1"
        if not request.study_name:
            raise connect.InvalidArgumentError("study_name is empty", details=[request])
        return v1.GetStatusResponse(study_name=request.study_name)


class Logs(services.LogServiceBase):
    """A method that streams is an asynchronous generator."""

    async def stream_logs(
        self, request: v1.StreamLogsRequest, context: Context
    ) -> AsyncIterator[v1.StreamLogsResponse]:
        context.response_headers["x-request-id"] = "7"
        for number in range(request.after, 10):
            yield v1.StreamLogsResponse(lines=[v1.LogLine(sequence=number)])


async def log_call(context: connect.CallContext, call_next: connect.Next) -> None:
    assert_type(context.method, str)
    assert_type(context.peer, str)
    assert_type(await call_next(), None)


def serve() -> web.AppRunner:
    app = web.Application()
    connect.add_services(app, [Studies(), Logs()], interceptors=[log_call], prefix="/rpc")
    interceptor: connect.Interceptor = log_call
    connect.add_services(app, (Logs(),), interceptors=(interceptor,))
    assert_type(Logs().__bound_methods__(), tuple[BoundMethod, ...])
    return assert_type(connect.app_runner(app), web.AppRunner)


class OwnCompression:
    """Anything of this shape is a `connect.Compression`."""

    name = "own"

    def compress(self, data: bytes) -> bytes:
        return data

    def decompress(self, data: bytes, limit: int) -> bytes:
        return data[:limit]


compression: connect.Compression = OwnCompression()
