"""Logging in by an issuer, as people do it: there, a button, back, and a token for a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import aiauto
from aiauto.testing import embedded_server
from tests.browser.test_journey import issue
from tests.browser.test_looks import GUISES, look
from tests.issuer import issuing_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import optuna
    from playwright.sync_api import Page

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor
    from tests.issuer import LocalIssuer


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    with issuing_beside() as issuer:
        issuer.asks = True
        yield issuer


@pytest.fixture(scope="module")
def lab(issuer: LocalIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server where people log in by the issuer."""
    with pytest.MonkeyPatch.context() as patch:
        allowed = {"AIAUTO_OIDC_ALLOWED": "*@example.org", "AIAUTO_TRUST_USERS": "1"}
        for name, value in {**issuer.environment(), **allowed}.items():
            patch.setenv(name, value)
        with embedded_server(tmp_path_factory.mktemp("lab")) as server:
            yield server


@pytest.fixture
def newcomer(
    new_visitor: Callable[..., Visitor], lab: EmbeddedServer, issuer: LocalIssuer
) -> Callable[..., Visitor]:
    """Opens a browser of somebody who has not been here."""

    def open_(**given: object) -> Visitor:
        visitor = new_visitor(lab, **given)
        visitor.also.append(issuer.url)
        return visitor

    return open_


def square(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


def continue_with_lab(page: Page, person: str) -> None:
    page.get_by_role("link", name="Continue with Lab").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Lab log-in")
    page.get_by_role("button", name=f"I am {person}").click()


def test_from_the_issuer_to_a_study(
    newcomer: Callable[..., Visitor], lab: EmbeddedServer, study_name: str
) -> None:
    visitor = newcomer()
    page = visitor.page
    page.goto("/token")
    continue_with_lab(page, "ada")
    expect(page).to_have_url(f"{lab.url}/token")
    expect(page.get_by_text("You have no valid token.")).to_be_visible()

    controller = aiauto.AIAutoController(issue(page, "laptop"), lab.url)
    study = controller.create_study(study_name, direction="minimize")
    study.optimize(square, n_trials=3, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    page.get_by_role("link", name="Studies", exact=True).first.click()
    expect(page.get_by_role("row").filter(has_text=study_name)).to_contain_text("3 succeeded")

    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{lab.url}/login")
    page.goto("/study")
    continue_with_lab(page, "ada")
    expect(page.get_by_role("row").filter(has_text=study_name)).to_be_visible()


def test_without_scripts(newcomer: Callable[..., Visitor], lab: EmbeddedServer) -> None:
    page = newcomer(java_script_enabled=False).page
    page.goto("/workspace")
    continue_with_lab(page, "ada")
    expect(page).to_have_url(f"{lab.url}/workspace")
    # Which says that it needs scripts; the way in does not.
    expect(page.locator("noscript")).to_have_count(1)


@pytest.mark.parametrize("guise", GUISES)
def test_its_looks(
    newcomer: Callable[..., Visitor],
    issuer: LocalIssuer,
    monkeypatch: pytest.MonkeyPatch,
    screenshots: Path,
    guise: str,
) -> None:
    page = newcomer(**GUISES[guise]).page
    page.goto("/study")
    look(page, screenshots / f"{guise}-login-openid.png")
    stranger = {"sub": "0b7f-eve", "email": "eve@elsewhere.org", "preferred_username": "eve"}
    monkeypatch.setattr(issuer, "person", stranger)
    page.locator("a.button").click()
    page.get_by_role("button", name="I am eve").click()
    expect(page.get_by_role("alert")).to_contain_text("0b7f-eve")
    look(page, screenshots / f"{guise}-login-refused.png")
    expect(page.locator("a.button")).to_be_visible()
