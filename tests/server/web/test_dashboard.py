"""Optuna's dashboard as a browser uses it, each user with their own workspace."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from tests.server.conftest import until

if TYPE_CHECKING:
    import aiohttp

    from tests.server.web.conftest import Site

ADA, BOB = 1, 2
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    trial.report(x, 1)
    return x**2 + (kind == "a")


def fill(site: Site, user_id: int, name: str = "study", **directions: Any) -> optuna.Study:
    study = optuna.create_study(
        study_name=name,
        storage=site.storages[10 * user_id],
        sampler=optuna.samplers.RandomSampler(seed=user_id),
        **directions,
    )
    study.optimize(objective, n_trials=20)
    return study


async def get(browser: aiohttp.ClientSession, path: str) -> Any:
    async with browser.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_the_pages_and_what_they_load(site: Site) -> None:
    browser = await site.logged_in(ADA)
    for path in ("/dashboard", "/dashboard/studies/0", "/dashboard/"):
        async with browser.get(path) as answer:
            assert answer.status == 200
            text = await answer.text()
            assert '<script defer src="/static/bundle.js">' in text
            # No script stands in the page, and none that did would run.
            assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|javascript:", text)
            policy = dict(
                part.strip().split(" ", 1)
                for part in answer.headers["Content-Security-Policy"].split(";")
            )
            assert "'unsafe-inline'" not in policy["script-src"]
            assert policy["object-src"] == "'none'"
    sizes: list[int] = []
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        async with browser.get("/static/bundle.js", headers=headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/javascript"
            sizes.append(len(await answer.read()))
            etag = answer.headers["Last-Modified"]
        async with browser.head("/static/bundle.js", headers=headers) as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 1_000_000
        async with browser.get(
            "/static/bundle.js", headers=headers | {"If-Modified-Since": etag}
        ) as answer:
            assert answer.status == 304
    assert sizes[0] == sizes[1] > 5_000_000
    async with browser.get("/favicon.ico") as answer:
        assert answer.status == 200
    async with browser.get("/static/../_app.py") as answer:
        assert answer.status == 404


async def test_how_old_what_is_shown_may_be(site: Site) -> None:
    study = fill(site, ADA)
    browser = await site.logged_in(ADA)
    assert len((await get(browser, "/api/studies/0"))["trials"]) == 20
    study.tell(study.ask(), 1.0)
    fill(site, ADA, "another")
    # docs/journal.md: studies at once, trials soon.
    assert len((await get(browser, "/api/studies"))["study_summaries"]) == 2

    async def is_there() -> bool:
        return len((await get(browser, "/api/studies/0"))["trials"]) == 21

    await until(is_there)


async def test_studies_and_trials(site: Site) -> None:
    study = fill(site, ADA)
    browser = await site.logged_in(ADA)
    (summary,) = (await get(browser, "/api/studies"))["study_summaries"]
    assert summary["study_name"] == "study"
    detail = await get(browser, "/api/studies/0")
    assert len(detail["trials"]) == 20
    assert detail["best_trials"][0]["number"] == study.best_trial.number
    async with browser.get("/csv/0") as answer:
        lines = (await answer.text()).splitlines()
    assert len(lines) == 21
    async with browser.get("/api/studies/7") as answer:
        assert answer.status == 404


async def test_what_is_written_reaches_the_storage(site: Site) -> None:
    study = fill(site, ADA)
    browser = await site.logged_in(ADA)
    new = {"study_name": "by hand", "directions": ["maximize"]}
    async with browser.post("/api/studies", json=new, headers=OWN_PAGE) as answer:
        assert answer.status == 201
    note = {"version": 1, "body": "# Remember this \N{SNOWMAN}"}
    async with browser.put("/api/studies/0/note", json=note, headers=OWN_PAGE) as answer:
        assert answer.status == 204
    trial_id = study.trials[3]._trial_id
    async with browser.put(
        f"/api/studies/0/{trial_id}/note", json=note, headers=OWN_PAGE
    ) as answer:
        assert answer.status == 204
    waiting = study.ask()
    attributes = {"user_attrs": {"reviewed": True}}
    async with browser.post(
        f"/api/trials/{waiting._trial_id}/user-attrs", json=attributes, headers=OWN_PAGE
    ) as answer:
        assert answer.status == 204
    assert study.trials[-1].user_attrs == {"reviewed": True}
    assert any(
        "\N{SNOWMAN}" in str(value) for value in study._storage.get_study_system_attrs(0).values()
    )
    async with browser.delete("/api/studies/1", json={}, headers=OWN_PAGE) as answer:
        assert answer.status == 204
    assert optuna.get_all_study_names(study._storage) == ["study"]


async def test_users_see_their_own(site: Site) -> None:
    fill(site, ADA, "hers")
    fill(site, BOB, "his")
    for user, name in ((ADA, "hers"), (BOB, "his")):
        browser = await site.logged_in(user)
        (summary,) = (await get(browser, "/api/studies"))["study_summaries"]
        assert summary["study_name"] == name


async def test_importances_are_those_of_the_workspace(site: Site) -> None:
    """Both studies have the same id, the same number of trials, and other parameters."""
    fill(site, ADA)
    other = optuna.create_study(storage=site.storages[10 * BOB], study_name="other")
    other.optimize(lambda trial: trial.suggest_int("depth", 1, 9), n_trials=20)
    names: list[set[str]] = []
    for user in (ADA, BOB, ADA):
        browser = await site.logged_in(user)
        (importances,) = (await get(browser, "/api/studies/0/param_importances"))[
            "param_importances"
        ]
        names.append({entry["name"] for entry in importances})
        assert sum(entry["importance"] for entry in importances) == pytest.approx(1)
    assert names == [{"x", "kind"}, {"depth"}, {"x", "kind"}]
    # Of as many digits Python makes no number.
    async with browser.get(f"/api/studies/{'9' * 5000}/param_importances") as answer:
        assert answer.status == 404
    async with browser.get("/api/studies/5/param_importances") as answer:
        assert answer.status == 404


async def test_importances_follow_the_study(site: Site) -> None:
    storage = site.storages[10 * ADA]
    study = optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    browser = await site.logged_in(ADA)
    path = "/api/studies/0/param_importances"
    assert await get(browser, path) == {"param_importances": [[], []]}
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=30)
    first, second = (await get(browser, path))["param_importances"]
    assert {entry["distribution"] for entry in first} == {"FloatDistribution"}
    assert first[0]["name"] == "x"
    assert second[0]["name"] == "y"


async def test_a_body_that_is_too_big_is_refused(start_site: Any) -> None:
    site: Site = await start_site(max_page_body_bytes=1000)
    browser = await site.logged_in(ADA)
    for size, status in ((900, 201), (1000, 413), (900_000, 413)):
        new = {"study_name": "n", "directions": ["minimize"], "padding": "x" * size}
        async with browser.post("/api/studies", json=new, headers=OWN_PAGE) as answer:
            assert answer.status == status
            if status == 413:
                told = "this server's limit is 1000 (its admin sets AIAUTO_MAX_PAGE_BODY_BYTES)"
                assert told in await answer.text()
