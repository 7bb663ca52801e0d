"""AIAutoController: one a server and token, checked arguments, and able to travel."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import optuna
import pytest

import aiauto

if TYPE_CHECKING:
    from aiauto.testing import EmbeddedServer


def test_there_is_one_for_an_address_and_token(server: EmbeddedServer) -> None:
    first = aiauto.AIAutoController(server.token, server.url)
    assert aiauto.AIAutoController(token=server.token, base_url=server.url + "/") is first
    other = server.url.replace("127.0.0.1", "localhost")
    assert aiauto.AIAutoController(server.token, other) is not first


def test_threads_get_the_same_one(server: EmbeddedServer) -> None:
    url = server.url.replace("127.0.0.1", "LOCALHOST")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(aiauto.AIAutoController, [server.token] * 16, [url] * 16))
    assert len({id(one) for one in made}) == 1


def test_without_a_token_this_machine_is_meant(own_server: EmbeddedServer) -> None:
    ac = aiauto.AIAutoController()
    assert ac is aiauto.AIAutoController()
    assert ac.base_url == own_server.url
    assert ac.token == own_server.token
    assert ac.dashboard_url.startswith(f"{own_server.url}/dashboard")
    assert own_server.token not in repr(ac)
    assert str(own_server.data_dir) in repr(ac)


def test_the_environment_names_the_server(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIAUTO_BASE_URL", server.url)
    monkeypatch.setenv("AIAUTO_TOKEN", server.token)
    assert aiauto.AIAutoController() is aiauto.AIAutoController(server.token, server.url)


def test_the_token_is_not_shown(controller: aiauto.AIAutoController, study_name: str) -> None:
    study = controller.create_study(study_name)
    assert study_name in repr(study)
    assert controller.base_url in repr(controller)
    for shown in (repr(controller), repr(study)):
        assert controller.token not in shown


def test_a_wrong_token(server: EmbeddedServer) -> None:
    with pytest.raises(aiauto.UnauthenticatedError, match="check that it was issued by") as caught:
        aiauto.AIAutoController("aiauto_wrong", server.url)
    assert server.url in str(caught.value)
    assert "aiauto_wrong" not in str(caught.value)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiauto.config.CALL_TIMEOUT", 2.0)
    # The second where the deadline comes in the middle of an attempt: it tells of the one before.
    expected = (aiauto.UnavailableError, aiauto.DeadlineExceededError)
    with pytest.raises(expected, match=r"127\.0\.0\.1:1 can't be reached"):
        aiauto.AIAutoController("token", "http://127.0.0.1:1")


def test_sizes(server: EmbeddedServer) -> None:
    aiauto.AIAutoController(server.token, server.url, storage_size="1Gi", shared_cache_dir="/a")
    bad: list[dict[str, Any]] = [
        {"storage_size": "11Gi"},
        {"artifact_store_size": "1TB"},
        {"shared_cache_size": 500},
        {"shared_cache_dir": "cache"},
    ]
    for sizes in bad:
        (name,) = sizes
        with pytest.raises(aiauto.ArgumentError, match=name) as caught:
            aiauto.AIAutoController(server.token, server.url, **sizes)
        assert caught.value.argument == name


# ------------------------------------------------------------------------------------- studies


def test_the_signature_of_create_study() -> None:
    parameters = inspect.signature(aiauto.AIAutoController.create_study).parameters
    assert list(parameters) == [
        "self",
        "study_name",
        "direction",
        "directions",
        "sampler",
        "pruner",
    ]


def test_a_study_is_opened_again(controller: aiauto.AIAutoController, study_name: str) -> None:
    first = controller.create_study(study_name, "maximize")
    again = controller.create_study(study_name, direction="maximize")
    assert first.study_name == again.study_name == study_name
    assert first.get_study().directions == again.get_study().directions


def test_another_definition_is_refused(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    controller.create_study(study_name, "minimize")
    with pytest.raises(aiauto.AlreadyExistsError, match="exists with"):
        controller.create_study(study_name, "maximize")
    with pytest.raises(aiauto.AlreadyExistsError, match="exists with"):
        controller.create_study(study_name, sampler=optuna.samplers.RandomSampler(seed=1))


@pytest.mark.parametrize(
    ("definition", "argument"),
    [
        ({"direction": "minimize", "directions": ["minimize"]}, "direction"),
        ({"direction": "sideways"}, "direction"),
        ({"directions": "minimize"}, "directions"),
        ({"directions": []}, "directions"),
        ({"study_name": "no spaces"}, "study_name"),
        ({"study_name": ""}, "study_name"),
        ({"study_name": 7}, "study_name"),
    ],
)
def test_bad_definitions(
    controller: aiauto.AIAutoController, definition: dict[str, Any], argument: str
) -> None:
    given: dict[str, Any] = {"study_name": "a-study", **definition}
    with pytest.raises(aiauto.ArgumentError) as caught:
        controller.create_study(**given)
    assert caught.value.argument == argument
    assert isinstance(caught.value, (ValueError, TypeError))


def test_bad_samplers_and_pruners(controller: aiauto.AIAutoController, study_name: str) -> None:
    bad: list[dict[str, Any]] = [
        {"sampler": "TPESampler"},
        {"sampler": optuna.pruners.NopPruner()},
        {"pruner": 3},
    ]
    for definition in bad:
        (name,) = definition
        with pytest.raises((TypeError, ValueError), match=name):
            controller.create_study(study_name, **definition)


def test_one_storage_for_all_studies(controller: aiauto.AIAutoController, study_name: str) -> None:
    controller.create_study(study_name)
    storage = controller.get_storage()
    assert storage is controller.get_storage()
    assert study_name in optuna.get_all_study_names(storage)


# -------------------------------------------------------------------------------------- travel


def test_it_comes_back_as_itself(controller: aiauto.AIAutoController, study_name: str) -> None:
    assert pickle.loads(pickle.dumps(controller)) is controller
    study = controller.create_study(study_name)
    study.get_study()
    copied = pickle.loads(pickle.dumps(study))
    assert copied.study_name == study_name
    assert copied.get_status()["count_total"] == 0


def test_it_is_not_mistaken_for_one_with_another_token(server: EmbeddedServer) -> None:
    url = server.url.replace("127.0.0.1", "LocalHost")
    with pytest.raises(aiauto.UnauthenticatedError):
        aiauto.AIAutoController("aiauto_other", url)
    ac = aiauto.AIAutoController(server.token, url)
    assert pickle.loads(pickle.dumps(ac)) is ac


def test_it_travels_without_its_token(controller: aiauto.AIAutoController, study_name: str) -> None:
    pickled = pickle.dumps((controller, controller.create_study(study_name)))
    assert controller.token.encode() not in pickled


ARRIVE = """
import pickle, sys
ac, study = pickle.loads(sys.stdin.buffer.read())
print(ac.base_url, study.get_status()["study_name"], len(study.get_study().trials))
"""


def test_elsewhere_it_speaks_with_the_rights_that_it_finds(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    pickled = pickle.dumps((controller, controller.create_study(study_name)))

    def arrive(**environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", ARRIVE],
            input=pickled,
            env={**os.environ, **environment},
            capture_output=True,
            timeout=60,
            check=False,
        )

    with_token = arrive(AIAUTO_TOKEN=controller.token)
    assert with_token.stdout.decode().split() == [controller.base_url, study_name, "0"]
    as_in_a_worker = arrive(
        AIAUTO_TOKEN=controller.token,
        AIAUTO_BASE_URL=controller.base_url.replace("127.0.0.1", "localhost"),
    )
    assert as_in_a_worker.stdout.decode().split()[0].startswith("http://localhost:")
    without = arrive()
    assert without.returncode != 0
    assert b"set AIAUTO_TOKEN" in without.stderr


def test_of_this_machine_it_finds_the_server_again(own_server: EmbeddedServer) -> None:
    ac = aiauto.AIAutoController()
    pickled = pickle.dumps((ac, ac.create_study("travelling")))
    done = subprocess.run(
        [sys.executable, "-c", ARRIVE], input=pickled, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode().split() == [own_server.url, "travelling", "0"]


def test_a_script_leaves_no_warnings_behind(own_server: EmbeddedServer) -> None:
    script = "import aiauto; aiauto.AIAutoController().create_study('s').get_study().ask()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert own_server.is_running()
