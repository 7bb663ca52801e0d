"""What has gone wrong is said in the language of the page, above the words of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import aiauto
from tests.browser.objectives import gated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

# By language: the fold, and the words of buttons and errors.
ENGLISH = {
    "details": "Details",
    "missing": "There are workers that can't start yet.",
    "not_found": "It is not there, or not any more.",
    "invalid_argument": "The server does not take what was entered.",
    "cancel": "Cancel batch",
    "files": "Files",
    "folder": "Into folder",
    "upload": "Upload",
}
KOREAN = {
    "details": "자세히",
    "missing": "아직 시작할 수 없는 워커가 있습니다.",
    "not_found": "찾을 수 없습니다. 이미 삭제되었을 수 있습니다.",
    "invalid_argument": "서버가 받을 수 없는 값입니다.",
    "cancel": "배치 취소",
    "files": "파일",
    "folder": "폴더",
    "upload": "업로드",
}


@pytest.mark.parametrize(("locale", "texts"), [("en-GB", ENGLISH), ("ko-KR", KOREAN)])
def test_each_in_the_language_of_the_page(
    own_server: EmbeddedServer,
    gpus: Callable[..., None],
    new_visitor: Callable[..., Visitor],
    tmp_path: Path,
    locale: str,
    texts: dict[str, str],
) -> None:
    def said(place: Locator, sentence: str, own: str) -> None:
        expect(place).to_contain_text(sentence)
        words = place.locator("pre").filter(has_text=own)
        # Who reads English need not ask for what the server says, which is English.
        if locale == "ko-KR":
            expect(words).to_be_hidden()
            place.get_by_text(texts["details"], exact=True).click()
        expect(words).to_be_visible()

    gpus("NVIDIA H100 80GB HBM3")
    controller = aiauto.AIAutoController()
    study = controller.create_study("short-of-gpus")
    name = study.optimize(
        gated(tmp_path), n_trials=2, parallelism=2, use_gpu=True, wait_option="WAIT_NO"
    )
    visitor = new_visitor(server=own_server, locale=locale)
    visitor.log_in(path=f"/trialbatch/{name}")
    page = visitor.page
    hint = page.locator(".hint").filter(has_text=texts["missing"])
    said(hint, texts["missing"], "Waits for GPUs: each of its workers needs")
    # News of the batch leave it as it is.
    (tmp_path / "0").touch()
    expect(page.locator("[data-count=succeeded]").first).to_have_text("1")
    expect(hint.locator("pre")).to_be_visible()

    page.get_by_role("button", name=texts["cancel"]).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    study.delete()
    dialog.locator("button.danger").click()
    said(dialog.get_by_role("alert"), texts["not_found"], name)

    page.goto("/study/nowhere")
    said(page.get_by_role("alert"), texts["not_found"], "there is no study 'nowhere'")

    page.goto("/workspace")
    (tmp_path / "file").touch()
    page.get_by_label(texts["files"], exact=True).set_input_files(tmp_path / "file")
    page.get_by_label(texts["folder"]).fill("..")
    page.get_by_role("button", name=texts["upload"]).click()
    said(page.locator(".uploads").get_by_role("alert"), texts["invalid_argument"], "..")
