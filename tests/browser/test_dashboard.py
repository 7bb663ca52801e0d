"""Optuna's dashboard inside of the server, on a study that runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

import aiauto
from tests.browser.objectives import noted
from tests.browser.test_looks import DESKTOP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

NOT = aiauto.WaitOption.WAIT_NO


def in_dashboard(server: EmbeddedServer) -> re.Pattern[str]:
    """Its address: nothing of a link's key is left in it."""
    return re.compile(rf"^{server.url}/dashboard(\?studies_order_by=\w+)?$")


def test_it_goes_on_with_the_study(
    controller: aiauto.AIAutoController,
    new_visitor: Callable[..., Visitor],
    server: EmbeddedServer,
    screenshots: Path,
    study_name: str,
    tmp_path: Path,
) -> None:
    study = controller.create_study(study_name, direction="minimize")
    study.optimize(noted(tmp_path), n_trials=4, parallelism=1, wait_option=NOT)
    (tmp_path / "0").touch()
    (tmp_path / "1").touch()
    page = new_visitor(**DESKTOP).page
    # The link that scripts are given, as it is.
    page.goto(study.get_status()["dashboard_url"])
    expect(page).to_have_url(in_dashboard(server))
    page.get_by_role("link", name=study_name).click()
    points = page.locator(".js-plotly-plot .scatterlayer .point")
    expect(points).to_have_count(2)
    # Nobody loads the page again.
    (tmp_path / "2").touch()
    expect(points).to_have_count(3)
    page.screenshot(path=screenshots / "light-dashboard.png")

    page.get_by_role("link", name="Trials (List)").click()
    page.get_by_text("Trial 2", exact=True).click()
    expect(page.get_by_text("kept the weights of 2")).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="download artifact").click()
    downloading.value.save_as(tmp_path / "weights.txt")
    assert (tmp_path / "weights.txt").read_text(encoding="utf-8") == "weights of trial 2\n"
    page.screenshot(path=screenshots / "light-dashboard-trial.png")
    study.cancel()


def test_the_ways_there(
    controller: aiauto.AIAutoController,
    new_visitor: Callable[..., Visitor],
    server: EmbeddedServer,
    study_name: str,
) -> None:
    study = controller.create_study(study_name)
    page = new_visitor().page
    # What EnsureWorkspace has answered.
    page.goto(controller.dashboard_url)
    expect(page).to_have_url(in_dashboard(server))
    expect(page.get_by_role("link", name=study_name)).to_be_visible()
    page.goto("/workspace")
    page.get_by_role("link", name="Optuna dashboard").click()
    expect(page).to_have_url(in_dashboard(server))
    expect(page.get_by_role("link", name=study_name)).to_be_visible()
    page.goto(f"/study/{study_name}")
    page.get_by_role("link", name="Optuna dashboard").click()
    expect(page).to_have_url(re.compile(r"/dashboard/studies/\d+$"))
    expect(page.get_by_text(study_name).first).to_be_visible()
    study.delete()
