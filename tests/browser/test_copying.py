"""A new token is copied by its button, whatever a browser lets a page do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.test_journey import issue

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.conftest import Visitor


def test_a_token_is_copied(new_visitor: Callable[..., Visitor]) -> None:
    visitor = new_visitor(permissions=["clipboard-read", "clipboard-write"])
    visitor.log_in(path="/token")
    page = visitor.page
    copy = page.get_by_role("button", name="Copy", exact=True)
    told = page.get_by_role("status").filter(has=copy)

    token = issue(page, "by the clipboard")
    copy.click()
    expect(told).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == token
    # And so is what begins a script with it.
    page.get_by_role("button", name="Copy code").click()
    expect(told.get_by_text("Copied")).to_have_count(2)
    code = page.evaluate("navigator.clipboard.readText()")
    assert (
        code
        == f'import aiauto\n\nac = aiauto.AIAutoController("{token}", base_url="{visitor.url}")'
    )

    # Over plain HTTP from another machine a page has no clipboard, but the old way.
    page.add_init_script("delete Navigator.prototype.clipboard")
    page.reload()
    token = issue(page, "the old way")
    copy.click()
    expect(told).to_contain_text("Copied")
    name = page.get_by_label("What it is for")
    name.focus()
    page.keyboard.press("ControlOrMeta+V")
    expect(name).to_have_value(token)

    # Where neither is allowed the text is selected, and one key is left to press.
    page.add_init_script("document.execCommand = () => false")
    page.reload()
    token = issue(page, "by selecting it")
    copy.click()
    expect(told).to_contain_text("It is selected. Copy it: Ctrl+C")
    assert page.evaluate("String(getSelection())").strip() == token
    page.keyboard.press("ControlOrMeta+C")
    name.focus()
    page.keyboard.press("ControlOrMeta+V")
    expect(name).to_have_value(token)
