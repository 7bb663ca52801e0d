"""News of a page leave alone what somebody has opened, focused or selected on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

import aiauto
from tests.browser.objectives import failing_first

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visitor

NOT = aiauto.WaitOption.WAIT_NO
ALL = aiauto.WaitOption.WAIT_ALL_TRIALS


def select(place: Locator) -> str:
    """Select a text, as people do who are about to copy it."""
    place.evaluate("one => getSelection().selectAllChildren(one)")
    return selected(place.page)


def selected(page: Page) -> str:
    text: str = page.evaluate("String(getSelection())")
    return text


def test_a_trial_that_somebody_reads_stays_though_newer_ones_push_it_off_the_end(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    for number in range(60):
        (tmp_path / str(number)).touch()
    study = controller.create_study(study_name, direction="minimize")
    study.optimize(failing_first(tmp_path), n_trials=50, parallelism=1, wait_option=ALL)
    page = visitor.page
    page.goto(f"/study/{study_name}")
    table = page.get_by_role("table", name="Trials")
    rows = table.locator("tbody tr:not(.under)")
    expect(rows).to_have_count(50)
    table.get_by_text("Traceback", exact=True).click()
    traceback = table.locator(".under pre")
    expect(traceback).to_contain_text("the model exploded")
    study.optimize(failing_first(tmp_path), n_trials=3, parallelism=1, wait_option=ALL)
    expect(rows.first).to_contain_text("#52")
    expect(rows).to_have_count(51)
    expect(rows.last).to_contain_text("#0")
    expect(traceback).to_be_visible()
    # No longer, once it is closed; and not where others are asked for.
    table.get_by_text("Traceback", exact=True).click()
    page.get_by_role("heading", name=study_name).click()
    page.get_by_label("State").select_option("COMPLETE")
    expect(rows.last).to_contain_text("#3")
    page.get_by_label("State").select_option("")
    expect(rows).to_have_count(50)
    expect(rows.last).to_contain_text("#3")


def test_they_leave_alone_what_somebody_is_at(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    study = controller.create_study(study_name, direction="minimize")

    def start() -> str:
        return study.optimize(
            failing_first(tmp_path), n_trials=5, top_n_artifacts=1, parallelism=1, wait_option=NOT
        )

    name = start()
    (tmp_path / "0").touch()
    page = visitor.page

    # Of a study: its rows change, and others come above them.
    page.goto(f"/study/{study_name}")
    rows = page.get_by_role("table", name="Trials").get_by_role("row")
    first, second = rows.filter(has_text="#0"), rows.filter(has_text="#1")
    expect(first.get_by_role("link", name="weights.txt")).to_be_visible()
    expect(second).to_contain_text("running")
    page.get_by_text("Traceback", exact=True).click()
    traceback = page.locator(".under pre")
    page.keyboard.press("Tab")
    expect(traceback).to_be_focused()
    assert "the model exploded" in (told := select(traceback))
    (tmp_path / "1").touch()
    expect(first).to_contain_text("removed, only the best are kept")
    expect(second).to_contain_text("complete")
    expect(rows.filter(has_text="#2")).to_contain_text("running")
    expect(traceback).to_be_visible()
    expect(traceback).to_be_focused()
    assert selected(page) == told

    # Of a batch: what stands in its way, and what it is.
    page.goto(f"/trialbatch/{name}")
    newest = page.get_by_text("Newest error")
    newest.click()
    expect(page.locator(".trouble pre")).to_be_visible()
    asked = select(page.get_by_text("Best value", exact=True))
    (tmp_path / "2").touch()
    expect(page.locator("[data-count=succeeded]").first).to_have_text("2")
    expect(rows.filter(has_text="#2")).to_contain_text("complete")
    expect(page.locator(".trouble pre")).to_be_visible()
    expect(newest).to_be_focused()
    assert selected(page) == asked

    # Of all: a batch above is over, and the workspace holds more.
    while len(study.get_study().trials) < 4:  # lest the other batch take the trial that waits
        page.wait_for_timeout(50)
    over = start()
    page.goto("/")
    running = page.get_by_role("table", name="Batches")
    expect(running.get_by_role("row").nth(1)).to_contain_text(over)
    link = running.get_by_role("link", name=name)
    link.focus()
    study.cancel(trialbatch_name=over)
    expect(running.get_by_role("link", name=over)).to_have_count(0)
    expect(link).to_be_focused()
    dashboard = page.get_by_role("link", name="Optuna dashboard")
    dashboard.focus()
    (tmp_path / "3").touch()
    expect(running.get_by_role("row").filter(has_text=name)).to_contain_text("3 succeeded")
    expect(dashboard).to_be_focused()
    study.cancel()
