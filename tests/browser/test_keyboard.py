"""Everything that can be done on pages, done without a mouse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

import aiauto
from tests.browser.objectives import varied

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visitor

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
# More than there are on any page of these tests.
MOST_STOPS = 80


def tab_to(page: Page, wanted: Locator) -> None:
    """Go on by the tabulator until something has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    told = f"{wanted} is not reached by the tabulator"
    raise AssertionError(told)


def test_a_token_is_issued_and_revoked(visitor: Visitor) -> None:
    page, keyboard = visitor.page, visitor.page.keyboard
    page.goto("/token")
    tab_to(page, page.get_by_label("What it is for"))
    keyboard.type("by hand")
    tab_to(page, page.get_by_label("Expires"))
    # From 7 days to 90.
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    expect(page.get_by_label("Expires")).to_have_value("90")
    tab_to(page, page.get_by_role("button", name="Issue token"))
    keyboard.press("Enter")
    expect(page.locator("[data-token]")).to_have_text(re.compile(r"^aiauto_\S{40,}$"))
    row = page.get_by_role("row").filter(has_text="by hand")
    tab_to(page, row.get_by_role("button", name="Revoke by hand"))
    keyboard.press("Enter")
    # A question begins with what does no harm.
    expect(page.get_by_role("dialog").get_by_role("button", name="Leave it")).to_be_focused()
    tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Revoke"))
    keyboard.press("Enter")
    expect(row).to_have_count(0)


def test_a_file_is_sent(
    controller: aiauto.AIAutoController, visitor: Visitor, tmp_path: Path
) -> None:
    (tmp_path / "keys.csv").write_text("a,b\n", encoding="utf-8")
    page, keyboard = visitor.page, visitor.page.keyboard
    # The browser hands its choosers over only once it is told to, and on a busy machine a key that
    # is pressed right after it was told is faster.
    page.on("filechooser", lambda _: None)
    page.goto("/workspace")
    tab_to(page, page.get_by_label("Files"))
    with page.expect_file_chooser() as choosing:
        keyboard.press("Enter")
    choosing.value.set_files(tmp_path / "keys.csv")
    tab_to(page, page.get_by_label("Into folder"))
    keyboard.type("typed")
    keyboard.press("Enter")
    expect(page.get_by_text("typed/keys.csv is there.").first).to_be_visible()
    controller.delete_from_shared_cache("typed")


def test_trials_are_chosen_their_log_is_read_and_their_study_deleted(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str
) -> None:
    study = controller.create_study(study_name)
    study.optimize(varied, n_trials=5, parallelism=1, wait_option=ALL)
    page, keyboard = visitor.page, visitor.page.keyboard
    page.goto(f"/study/{study_name}")
    rows = page.get_by_role("table", name="Trials").locator("tbody tr:not(.under)")
    expect(rows).to_have_count(5)
    tab_to(page, page.get_by_label("State"))
    keyboard.type("fai")
    expect(rows).to_have_count(1)
    tab_to(page, page.locator(".under summary"))
    keyboard.press("Enter")
    expect(page.locator("details[open] pre")).to_contain_text("the model exploded")
    page.locator(".skip").focus()
    tab_to(page, page.get_by_role("button", name="Log of trial 4"))
    keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("#4 the learning rate")
    # Who asked for it is there.
    expect(page.locator(".logs summary")).to_be_focused()
    tab_to(page, page.get_by_label("Trial", exact=True))
    keyboard.press("ControlOrMeta+A")
    keyboard.type("0")
    keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("#0 the learning rate")

    page.goto(f"/study/{study_name}")
    tab_to(page, page.get_by_role("button", name="Delete study"))
    keyboard.press("Enter")
    # One is where the name is to be typed.
    expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    keyboard.type(study_name)
    keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/study$"))
    expect(page.get_by_role("link", name=study_name)).to_have_count(0)
