"""Samplers and pruners that are none: the server keeps text and nothing else, programs say so."""

from __future__ import annotations

import base64
import inspect
import json
import pickle
from typing import TYPE_CHECKING

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync
from hypothesis import given
from hypothesis import strategies as st

from aiauto import connect, samplers
from aiauto.errors import ArgumentValueError
from tests.fuzz.conftest import MEBIBYTE
from tests.fuzz.inputs import many
from tests.fuzz.messages import ANYTHING, HOSTILE, NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.conftest import Target
    from tests.fuzz.inputs import Count

# The same on every Python.
pytestmark = pytest.mark.once

CREATE = "/aiauto.v1.AIAutoService/CreateStudy"
JSON = {"content-type": "application/json"}
CLASSES = [
    *samplers.OURS,
    *(
        name
        for module in (optuna.samplers, optuna.pruners)
        for name, _ in inspect.getmembers(module, inspect.isclass)
    ),
]
ARGUMENTS = sorted(
    {
        name
        for module in (optuna.samplers, optuna.pruners)
        for _, one in inspect.getmembers(module, inspect.isclass)
        for name in inspect.signature(one).parameters
    }
)
PICKLED = [
    "",
    "AAAA",
    "not base64!",
    base64.b64encode(pickle.dumps(3)).decode(),
    base64.b64encode(pickle.dumps(optuna.samplers.RandomSampler())).decode(),
    base64.b64encode(pickle.dumps(optuna.pruners.NopPruner())[:-20]).decode(),
]


def described(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    kwargs = st.dictionaries(
        st.sampled_from(ARGUMENTS) | TEXTS, inner | NUMBERS | ANYTHING, max_size=3
    )
    spec: dict[str, st.SearchStrategy[object]] = {
        "kwargs": kwargs | ANYTHING,
        "digest": TEXTS,
        "pickled": ANYTHING
        | st.fixed_dictionaries(
            {}, optional={"data": st.sampled_from(PICKLED), "optuna": TEXTS, "python": ANYTHING}
        ),
    }
    pickled = spec.pop("pickled")
    plain = st.fixed_dictionaries({"cls": st.sampled_from(CLASSES) | TEXTS}, optional=spec)
    # Where it is there it counts alone.
    return plain | plain | st.fixed_dictionaries({"cls": st.just("X"), "pickled": pickled})


SPECS = st.one_of(
    described(st.recursive(ANYTHING, described, max_leaves=3)).map(json.dumps),
    ANYTHING.map(json.dumps),
    st.sampled_from([*HOSTILE, "{", "{}", '{"cls": "TPESampler"', '{"a":' * 50_000, "NaN"]),
)


def test_the_server_keeps_them_or_says_no(target: Target, count: Count) -> None:
    kept: dict[str, tuple[str, str]] = {}

    @many
    @given(sampler=SPECS, pruner=SPECS | st.just(""))
    def tell(sampler: str, pruner: str) -> None:
        name = f"spec-{len(kept)}"
        told = {"studyName": name, "direction": "minimize"}
        told |= {"samplerJson": sampler, "prunerJson": pruner}
        answer = target.ask("POST", CREATE, json.dumps({"spec": told}).encode(), JSON)
        if answer.check() == "":
            kept[name] = (sampler, pruner)
        else:
            assert answer.check() == "invalid_argument"
        # A study of another definition is another one, whatever that is.
        again = target.ask("POST", CREATE, json.dumps({"spec": told}).encode(), JSON)
        assert again.check() == answer.check()
        count()

    with target.within(96 * MEBIBYTE):
        tell()
    assert kept
    with connect.SyncTransport(target.server.url, token=target.server.token) as transport:
        service = AIAutoServiceClientSync(transport)
        found = {one.name: one for one in service.list_studies(v1.ListStudiesRequest()).studies}
    assert found.keys() >= kept.keys()


@pytest.mark.parametrize("load", [samplers.load_sampler, samplers.load_pruner])
def test_programs_load_them_or_say_why_not(load: Callable[[str], object], count: Count) -> None:
    loaded = 0

    @many
    @given(text=SPECS)
    def read(text: str) -> None:
        nonlocal loaded
        try:
            found = load(text)
        except ArgumentValueError as error:
            assert error.argument in {"sampler", "pruner"}  # noqa: PT017 - most are refused
        else:
            kinds = (optuna.samplers.BaseSampler, optuna.pruners.BasePruner)
            assert isinstance(found, kinds) if text else found is None
            loaded += bool(text)
        count()

    read()
    assert loaded


def test_workers_load_them_or_say_why_not(count: Count) -> None:
    """Each gives what it loads a stream of its own."""
    loaded = 0

    @many
    @given(text=SPECS)
    def read(text: str) -> None:
        nonlocal loaded
        for ordinal in (0, 3):
            try:
                loaded += samplers.load_sampler(text, worker_ordinal=ordinal) is not None
            except ArgumentValueError:
                continue
        count()

    read()
    assert loaded
