"""Mistakes that a type checker must show: one on every line that is marked, and none elsewhere.

A mark says what is wrong, and by which name mypy and pyright report it.
"""

from __future__ import annotations

import optuna
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as services
from aiauto_gen.connect import Context

import aiauto
from aiauto import connect


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -10, 10)


def text(trial: optuna.Trial) -> str:
    return "not a value"


# ------------------------------------------------------------------------------- controller


def controllers() -> None:
    aiauto.AIAutoController(tokn="token")  # MISTAKE: a misspelt argument [call-arg, reportCallIssue]
    aiauto.AIAutoController(7)  # MISTAKE: a token that is no text [arg-type, reportArgumentType]
    aiauto.AIAutoController("token", "url", "1Gi")  # MISTAKE: sizes have names [call-arg, reportCallIssue]
    aiauto.AIAutoControler()  # MISTAKE: a misspelt class [attr-defined, reportAttributeAccessIssue]


def studies(ac: aiauto.AIAutoController) -> None:
    ac.create_study()  # MISTAKE: no name [call-arg, reportCallIssue]
    ac.create_study("name", directon="minimize")  # MISTAKE: a misspelt argument [call-arg, reportCallIssue]
    ac.create_study("name", direction="minimise")  # MISTAKE: a misspelt direction [arg-type, reportArgumentType]
    ac.create_study("name", directions=["minimize", "up"])  # MISTAKE: no direction [list-item, reportArgumentType]
    ac.create_study("name", directions="minimize")  # MISTAKE: one where there are several [arg-type, reportArgumentType]
    ac.create_study("name", sampler=optuna.samplers.TPESampler)  # MISTAKE: the class, not a sampler [arg-type, reportArgumentType]
    ac.create_study("name", sampler=optuna.pruners.NopPruner())  # MISTAKE: a pruner [arg-type, reportArgumentType]
    ac.create_study("name", sampler="TPESampler")  # MISTAKE: the name of a sampler [arg-type, reportArgumentType]
    name: str = ac.create_study("name")  # MISTAKE: a study, not its name [assignment, reportAssignmentType]
    study: optuna.Study = ac.create_study("name")  # MISTAKE: not Optuna's study [assignment, reportAssignmentType]
    print(name, study)


# --------------------------------------------------------------------------------- optimize


def batches(study: aiauto.StudyWrapper) -> None:
    study.optimize()  # MISTAKE: no objective [call-arg, reportCallIssue]
    study.optimize(objective, trials=10)  # MISTAKE: a misspelt argument [call-arg, reportCallIssue]
    study.optimize(objective, n_trials="10")  # MISTAKE: a number in quotes [arg-type, reportArgumentType]
    study.optimize(objective, n_trials=10.5)  # MISTAKE: half a trial [arg-type, reportArgumentType]
    study.optimize(objective, wait_option="WAIT_ALL")  # MISTAKE: no option [arg-type, reportArgumentType]
    study.optimize(objective, wait_option=True)  # MISTAKE: no option [arg-type, reportArgumentType]
    study.optimize(objective, wait_option=aiauto.WaitOption.WAIT_ALL)  # MISTAKE: no option [attr-defined, reportAttributeAccessIssue]
    study.optimize(objective, resources_requests={"cpu": 1})  # MISTAKE: an amount without quotes [dict-item, reportArgumentType]
    study.optimize(objective, requirements_list=[b"torch"])  # MISTAKE: bytes are no text [list-item, reportArgumentType]
    study.optimize(objective, use_gpu="yes")  # MISTAKE: a text is no bool [arg-type, reportArgumentType]
    study.optimize(text)  # MISTAKE: an objective that returns a text [arg-type, reportArgumentType]
    study.optimize(lambda trial: trial.sugest_float("x", 0, 1))  # MISTAKE: a misspelt method [attr-defined, reportAttributeAccessIssue]
    study.optimize(objective(study.get_study().ask()))  # MISTAKE: a value, not a function [arg-type, reportArgumentType]
    done: bool = study.optimize(objective)  # MISTAKE: a name, not whether it is done [assignment, reportAssignmentType]
    study.wait(timeout="60")  # MISTAKE: a number in quotes [call-overload, reportArgumentType]
    study.wait(3, "batch", 60, True)  # MISTAKE: the progress bar has a name [call-overload, reportCallIssue]
    study.optimize(objective, timeout="60")  # MISTAKE: a number in quotes [arg-type, reportArgumentType]
    study.optimize(objective, patience=2.5)  # MISTAKE: half a trial [arg-type, reportArgumentType]
    study.optimize(objective, max_retries=None)  # MISTAKE: no number [arg-type, reportArgumentType]
    study.cancel(3)  # MISTAKE: the number of a trial [arg-type, reportArgumentType]
    study.is_trial_finished()  # MISTAKE: no trial [call-arg, reportCallIssue]
    print(done)


def notes(study: aiauto.StudyWrapper) -> None:
    aiauto.TrialController(study)  # MISTAKE: a study is no trial [arg-type, reportArgumentType]
    aiauto.TrialController(1).log("line")  # MISTAKE: a number is no trial [arg-type, reportArgumentType]
    aiauto.TrialController(study.get_study().ask()).set_user_attr("key")  # MISTAKE: no value [call-arg, reportCallIssue]


# ---------------------------------------------------------------------------------- results


def results(study: aiauto.StudyWrapper) -> None:
    print(study.best_valeu)  # MISTAKE: a misspelt property [attr-defined, reportAttributeAccessIssue]
    print(study.best_value())  # MISTAKE: a property, not a method [operator, reportCallIssue]
    value: str = study.best_value  # MISTAKE: a float is no text [assignment, reportAssignmentType]
    study.best_value = 1.0  # MISTAKE: it can't be set [misc, reportAttributeAccessIssue]
    print(study.get_status(include_trials=True)["trialbatches"]["batch"]["completed"])  # MISTAKE: a misspelt key [typeddict-item, reportGeneralTypeIssues]
    print(study.get_status(include_trials="yes"))  # MISTAKE: a text is no bool [call-overload, reportCallIssue]
    study.enqueue_trial([1.0])  # MISTAKE: values without names [arg-type, reportArgumentType]
    print([line.txt for line in study.logs()])  # MISTAKE: a misspelt attribute [attr-defined, reportAttributeAccessIssue]
    print([line for line in study.logs("0")])  # MISTAKE: a number in quotes [arg-type, reportArgumentType]
    needs: aiauto.Resources = {"cpus": "1"}  # MISTAKE: a misspelt resource [typeddict-unknown-key, reportAssignmentType]
    print(needs)
    status = study.get_status()
    print(status.count_completed)  # MISTAKE: a key, not an attribute [attr-defined, reportAttributeAccessIssue]
    print(status["count_complete"])  # MISTAKE: a misspelt key [typeddict-item, reportGeneralTypeIssues]
    print(status["trialbatches"]["batch"]["phase"].value)  # MISTAKE: a text, not an enum [attr-defined, reportAttributeAccessIssue]
    print(study.get_study().tel(0, 1.0))  # MISTAKE: a misspelt method of Optuna's [attr-defined, reportAttributeAccessIssue]
    print(value)


async def without_blocking(study: aiauto.StudyWrapper) -> None:
    study.wait_async()  # MISTAKE: not awaited [unused-coroutine, reportUnusedCoroutine]
    name: str = study.optimize_async(objective)  # MISTAKE: not awaited [assignment, reportAssignmentType]
    await study.optimize_async(objective, n_trials="10")  # MISTAKE: a number in quotes [arg-type, reportArgumentType]
    print([line for line in study.logs_async()], name)  # MISTAKE: without async [attr-defined, reportGeneralTypeIssues]


def errors(error: aiauto.RpcError) -> None:
    print(error.argument)  # MISTAKE: another error has that [attr-defined, reportAttributeAccessIssue]
    code: int = error.code  # MISTAKE: an enum of texts [assignment, reportAssignmentType]
    print(error.code is aiauto.Code.NOTFOUND)  # MISTAKE: a misspelt code [attr-defined, reportAttributeAccessIssue]
    print(error.detail(v1.Condition).type)  # MISTAKE: it may be None [union-attr, reportOptionalMemberAccess]
    raise aiauto.WaitTimeoutError("message", "batch")  # MISTAKE: the batch has a name [call-arg, reportCallIssue]
    print(code)


# --------------------------------------------------------------------------------- messages


def messages() -> None:
    v1.LogLine(txt="text")  # MISTAKE: a misspelt field [call-arg, reportCallIssue]
    v1.LogLine(text=b"text")  # MISTAKE: bytes are no text [arg-type, reportArgumentType]
    v1.LogLine(sequence="1")  # MISTAKE: a number in quotes [arg-type, reportArgumentType]
    v1.LogLine(stream=v1.Phase.PENDING)  # MISTAKE: another enum [arg-type, reportArgumentType]
    v1.LogLine(stream=1)  # MISTAKE: a number is no enum [arg-type, reportArgumentType]
    v1.LogLine(stream=v1.LogStream.STDOT)  # MISTAKE: a misspelt value [attr-defined, reportAttributeAccessIssue]
    v1.StudySpec(directions=["minimize"])  # MISTAKE: a message of its own [arg-type, reportArgumentType]
    v1.TrialBatchSpec(gpu_model={"gpu_3090": "4"})  # MISTAKE: a number in quotes [dict-item, reportArgumentType]
    v1.TrialInfo(values=["1.0"])  # MISTAKE: a number in quotes [list-item, reportArgumentType]
    line = v1.LogLine()
    line.sequence = "1"  # MISTAKE: a number in quotes [assignment, reportAttributeAccessIssue]
    line.text = None  # MISTAKE: no field is None unless it says so [assignment, reportAttributeAccessIssue]
    line.stream = v1.Phase.PENDING  # MISTAKE: another enum [assignment, reportAttributeAccessIssue]
    line.sequenze = 1  # MISTAKE: a misspelt field [attr-defined, reportAttributeAccessIssue]
    print(line.trial_number + 1)  # MISTAKE: it may be None [operator, reportOptionalOperand]
    other: v1.LogLine = v1.TrialInfo.parse(b"")  # MISTAKE: another message [assignment, reportAssignmentType]
    print(other)


# ---------------------------------------------------------------------------------- clients


async def call_async(client: services.AIAutoServiceClient, request: v1.GetStatusRequest) -> None:
    client.get_status(request)  # MISTAKE: not awaited [unused-coroutine, reportUnusedCoroutine]
    print(client.get_status(request).study_name)  # MISTAKE: not awaited [attr-defined, reportAttributeAccessIssue]
    await client.get_status()  # MISTAKE: no request [call-arg, reportCallIssue]
    await client.get_status(v1.OptimizeRequest())  # MISTAKE: another method's request [arg-type, reportArgumentType]
    await client.get_status(study_name="name")  # MISTAKE: fields, not a message [call-arg, reportCallIssue]
    await client.get_status(request, 5)  # MISTAKE: the timeout has a name [call-arg, reportCallIssue]
    await client.get_status(request, timeout="5")  # MISTAKE: a number in quotes [arg-type, reportArgumentType]
    await client.get_status(request, headers={"x-number": 7})  # MISTAKE: a number is no text [dict-item, reportArgumentType]
    await client.get_statuss(request)  # MISTAKE: a misspelt method [attr-defined, reportAttributeAccessIssue]
    print((await client.get_status(request)).study_nam)  # MISTAKE: a misspelt field [attr-defined, reportAttributeAccessIssue]


async def stream_async(client: services.LogServiceClient) -> None:
    stream = client.stream_logs(v1.StreamLogsRequest())
    print(await client.stream_logs(v1.StreamLogsRequest()))  # MISTAKE: a stream, not an answer [misc, reportGeneralTypeIssues]
    print(stream.lines)  # MISTAKE: a stream, not a message [attr-defined, reportAttributeAccessIssue]
    print([part for part in stream])  # MISTAKE: without async [attr-defined, reportGeneralTypeIssues]
    async for part in stream:
        print(part.text)  # MISTAKE: its lines have that [attr-defined, reportAttributeAccessIssue]


def call_sync(transport: connect.SyncTransport, other: connect.Transport) -> None:
    services.AIAutoServiceClient(transport)  # MISTAKE: the transport of the other client [arg-type, reportArgumentType]
    services.AIAutoServiceClientSync(other)  # MISTAKE: the transport of the other client [arg-type, reportArgumentType]
    services.AIAutoServiceClientSync("http://localhost")  # MISTAKE: an address is no transport [arg-type, reportArgumentType]
    client = services.AIAutoServiceClientSync(transport)
    number: int = client.get_status(v1.GetStatusRequest())  # MISTAKE: a message [assignment, reportAssignmentType]
    connect.Transport("http://localhost", codec="xml")  # MISTAKE: no codec [arg-type, reportArgumentType]
    connect.Transport("http://localhost", tokn="token")  # MISTAKE: a misspelt argument [call-arg, reportCallIssue]
    connect.Transport("http://localhost", compressions=["gzip"])  # MISTAKE: the name of a compression [list-item, reportArgumentType]
    print(number, connect.Transpor)  # MISTAKE: a misspelt class [attr-defined, reportAttributeAccessIssue]


# ---------------------------------------------------------------------------------- servers


class AnotherAnswer(services.AIAutoServiceBase):
    async def get_status(self, request: v1.GetStatusRequest, context: Context) -> v1.OptimizeResponse:  # MISTAKE: another method's answer [override, reportIncompatibleMethodOverride]
        return v1.OptimizeResponse()


class AnotherRequest(services.AIAutoServiceBase):
    async def get_status(self, request: v1.OptimizeRequest, context: Context) -> v1.GetStatusResponse:  # MISTAKE: another method's request [override, reportIncompatibleMethodOverride]
        return v1.GetStatusResponse()


class NotAsync(services.AIAutoServiceBase):
    def get_status(self, request: v1.GetStatusRequest, context: Context) -> v1.GetStatusResponse:  # MISTAKE: not async [override, reportIncompatibleMethodOverride]
        return v1.GetStatusResponse()


class NoContext(services.AIAutoServiceBase):
    async def get_status(self, request: v1.GetStatusRequest) -> v1.GetStatusResponse:  # MISTAKE: no context [override, reportIncompatibleMethodOverride]
        return v1.GetStatusResponse()


class NotAStream(services.LogServiceBase):
    async def stream_logs(self, request: v1.StreamLogsRequest, context: Context) -> v1.StreamLogsResponse:  # MISTAKE: one message, not a stream [override, reportIncompatibleMethodOverride]
        return v1.StreamLogsResponse()


class WrongBody(services.AIAutoServiceBase):
    async def get_status(self, request: v1.GetStatusRequest, context: Context) -> v1.GetStatusResponse:
        context.response_headers["x-number"] = 7  # MISTAKE: a number is no text [assignment, reportArgumentType]
        context.request_headers["x-name"] = "value"  # MISTAKE: what came can't be changed [index, reportIndexIssue]
        return request  # MISTAKE: the request is no answer [return-value, reportReturnType]


async def without_going_on(context: connect.CallContext) -> None:
    print(context.methd)  # MISTAKE: a misspelt attribute [attr-defined, reportAttributeAccessIssue]


INTERCEPTOR: connect.Interceptor = without_going_on  # MISTAKE: no call_next [assignment, reportAssignmentType]
COMPRESSION: connect.Compression = objective  # MISTAKE: nothing of that shape [assignment, reportAssignmentType]
