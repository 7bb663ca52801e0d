"""Every page in every guise: judged by axe, no wider than its window, and left as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

import aiauto
from tests.browser.objectives import gated, two_values, varied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

ALL, NOT = aiauto.WaitOption.WAIT_ALL_TRIALS, aiauto.WaitOption.WAIT_NO
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
GUISES: dict[str, dict[str, Any]] = {
    "light": DESKTOP,
    "dark": {**DESKTOP, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
    "korean": {**DESKTOP, "locale": "ko-KR"},
}
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
# What axe calls worse than a nuisance.
GRAVE = {"serious", "critical"}


@dataclass(frozen=True)
class House:
    """A server in which something goes on."""

    server: EmbeddedServer
    pages: dict[str, str]


@pytest.fixture(scope="module")
def house(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    controller = aiauto.AIAutoController(server.token, server.url)
    study = controller.create_study("cifar10-resnet", direction="minimize")
    done = study.optimize(varied, n_trials=12, parallelism=2, wait_option=ALL)
    several = controller.create_study("loss-and-flops", directions=["minimize", "maximize"])
    several.optimize(two_values, n_trials=5, parallelism=1, wait_option=ALL)
    gate = tmp_path_factory.mktemp("gate")
    long = controller.create_study("still-running", direction="maximize")
    for number in range(3):
        (gate / str(number)).touch()
    running = long.optimize(gated(gate), n_trials=8, parallelism=2, wait_option=NOT)
    data = tmp_path_factory.mktemp("data") / "train.csv"
    data.write_text("a,b\n" * 50_000, encoding="utf-8")
    controller.upload_to_shared_cache(data, dest_dir="datasets", show_progress_bar=False)
    yield House(
        server,
        {
            "overview": "/",
            "tokens": "/token",
            "workspace": "/workspace",
            "studies": "/study",
            "study": "/study/cifar10-resnet",
            "several-objectives": "/study/loss-and-flops",
            "batches": "/trialbatch",
            "batch": f"/trialbatch/{running}",
            "batch-done": f"/trialbatch/{done}",
        },
    )
    long.cancel()
    controller.delete_from_shared_cache("datasets")


def judge(page: Page, *rules: str) -> list[str]:
    """What is gravely wrong with a page for who can't see it, or can't use a mouse.

    With `rules`, by these of axe's alone.
    """
    page.evaluate(AXE)
    options = {"runOnly": list(rules)} if rules else {}
    found: list[dict[str, Any]] = page.evaluate("how => axe.run(how)", options)["violations"]
    return [
        f"{one['id']} ({one['impact']}): {[node['html'] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in GRAVE
    ]


def settle(page: Page) -> None:
    """Wait until a page has all that it shows at first."""
    expect(page.locator(".loading:visible")).to_have_count(0)
    expect(page.locator("main section, main .panel").first).to_be_visible()


def look(page: Page, picture: Path) -> None:
    """Judge a page, and leave a picture of it."""
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=picture, full_page=True)
    assert judge(page) == [], picture.stem
    # Nothing is cut off at the side, and nobody has to scroll there.
    width = page.evaluate(
        "[document.scrollingElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width[0] <= width[1], picture.stem


@pytest.mark.parametrize("guise", GUISES)
def test_every_page(
    house: House, new_visitor: Callable[..., Visitor], screenshots: Path, guise: str
) -> None:
    visitor = new_visitor(**GUISES[guise])
    page = visitor.page
    page.goto("/study")
    look(page, screenshots / f"{guise}-login.png")
    visitor.log_in()
    language = "ko" if guise == "korean" else "en"
    for name, path in house.pages.items():
        page.goto(path)
        settle(page)
        assert page.locator("html").get_attribute("lang") == language
        if name.startswith("batch-") or name == "study":
            page.locator(".under summary").first.click()
        if name == "batch":
            page.locator(".logs summary").click()
            expect(page.get_by_role("log")).to_contain_text("waits")
        look(page, screenshots / f"{guise}-{name}.png")


def test_dialogs_and_a_new_token(house: House, visitor: Visitor, screenshots: Path) -> None:
    page = visitor.page
    page.goto("/token")
    page.get_by_label("What it is for").fill("to be looked at")
    page.get_by_role("button", name="Issue token").click()
    expect(page.locator("[data-token]")).to_be_visible()
    look(page, screenshots / "light-token-issued.png")
    page.get_by_role("button", name="Revoke to be looked at").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    look(page, screenshots / "light-dialog.png")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.goto("/workspace")
    page.get_by_role("button", name="Delete workspace").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    look(page, screenshots / "light-dialog-typed.png")


def test_by_the_keyboard_alone(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    settle(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    # From there on the first thing is of the page, and it can be seen where one is.
    page.keyboard.press("Tab")
    focused = page.locator("main :focus")
    expect(focused).to_have_text("Optuna dashboard")
    assert focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.goto("/study")
    settle(page)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "still-running":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("still-running")


def colours(page: Page, selector: str) -> tuple[str, str]:
    """Ground and ink of an element."""
    found: list[str] = page.locator(selector).first.evaluate(
        "one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]"
    )
    ground, ink = found
    return ground, ink


def test_dark_is_dark(new_visitor: Callable[..., Visitor]) -> None:
    """The way in has a style sheet of its own, and all other pages share one."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for scheme in ("light", "dark"):
        visitor = new_visitor(color_scheme=scheme)
        page = visitor.page
        page.goto("/login")
        seen[scheme] = [colours(page, "body")]
        visitor.log_in(path="/token")
        settle(page)
        seen[scheme] += [colours(page, "body"), colours(page, "main section")]
    ink = {"light": "rgb(28, 34, 48)", "dark": "rgb(230, 233, 240)"}
    ground = {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 21, 28)"}
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(26, 31, 41)"}
    for scheme, (login, body, section) in seen.items():
        assert login[0] == ground[scheme]
        assert body == (ground[scheme], ink[scheme])
        assert section == (paper[scheme], ink[scheme])


def test_tables_are_cards_on_a_phone(house: House, new_visitor: Callable[..., Visitor]) -> None:
    visitor = new_visitor(**GUISES["phone"])
    visitor.log_in(path="/study")
    page = visitor.page
    settle(page)
    # To who can't see it, it is a table all the same.
    row = page.get_by_role("table", name="Studies").get_by_role("row", name="cifar10-resnet")
    cells = row.get_by_role("cell")
    expect(cells.first).to_be_visible()
    boxes = [box for cell in cells.all() if (box := cell.bounding_box())]
    assert len(boxes) == cells.count() == 6
    width = GUISES["phone"]["viewport"]["width"]
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 1
        assert below["x"] + below["width"] <= width
    # What heads a column of a table heads each line of a card.
    for cell in cells.all()[1:]:
        heading = cell.evaluate("one => getComputedStyle(one, '::before').content")
        assert heading == f'"{cell.get_attribute("data-title")}"'
    head = page.get_by_role("columnheader", name="Best value").evaluate(
        "one => one.closest('thead').getBoundingClientRect().height"
    )
    assert head <= 1


def test_the_language_is_chosen_and_remembered(new_visitor: Callable[..., Visitor]) -> None:
    visitor = new_visitor(locale="ko-KR")
    visitor.log_in(path="/token")
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("토큰")
    page.get_by_label("언어").select_option("en")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tokens")
    page.goto("/study")
    expect(page.get_by_role("heading", level=1)).to_have_text("Studies")
    page.get_by_label("Language").select_option("ko")
    expect(page.get_by_role("heading", level=1)).to_have_text("Study 목록")
    # A browser that prefers neither sees English.
    other = new_visitor(locale="fr-FR")
    other.log_in(path="/token")
    expect(other.page.get_by_role("heading", level=1)).to_have_text("Tokens")
