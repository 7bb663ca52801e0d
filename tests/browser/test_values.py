"""What pages tell of trials, studies and workspaces is what the SDK tells of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync
from playwright.sync_api import expect

import aiauto
from aiauto.connect import SyncTransport
from tests.browser.objectives import deadly, heavy, long_numbers, numbered, two_numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
MIB = 2**20


def cell(page: Page, number: int, title: str) -> Locator:
    """What a table of trials shows of one of them."""
    rows = page.get_by_role("table", name="Trials").get_by_role("row")
    row = rows.filter(has=page.locator("td.id", has_text=re.compile(rf"^#{number}$")))
    return row.locator(f'td[data-title="{title}"]')


def fact(page: Page, name: str) -> Locator:
    """One of the facts of a study or a batch."""
    of = page.locator("dl.facts > div").filter(has=page.locator("dt", has_text=name))
    return of.first.locator("dd")


def test_values_durations_and_the_best(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str
) -> None:
    study = controller.create_study(study_name, direction="minimize")
    name = study.optimize(numbered, n_trials=3, parallelism=1, wait_option=ALL)
    page = visitor.page
    for path in (f"/study/{study_name}", f"/trialbatch/{name}"):
        page.goto(path)
        for number, value in ((0, "0"), (1, "1.23457"), (2, "2.46913")):
            expect(cell(page, number, "Value")).to_have_text(value)
        for trial in study.get_study().trials:
            shown = cell(page, trial.number, "Duration").text_content() or ""
            assert trial.duration is not None
            assert re.fullmatch(r"[\d.]+ s", shown)
            # Two digits of it are shown.
            real = trial.duration.total_seconds()
            assert float(shown[:-2]) == pytest.approx(real, rel=0.06, abs=0.002)
        expect(fact(page, "Best")).to_contain_text(re.compile("^0"))
    page.goto(f"/study/{study_name}")
    expect(fact(page, "Best")).to_have_text("0 (trial 0)")
    page.goto("/study")
    row = page.get_by_role("row").filter(has_text=study_name)
    expect(row.locator('td[data-title="Best value"]')).to_have_text("0")


def test_whole_numbers_are_told_in_full(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str
) -> None:
    study = controller.create_study(study_name, direction="maximize")
    shown = (
        "16,777,216",
        "-20,241,130",
        "1,234,568",
        "123,457",
        "12,000,000,000,000",
        "0.333333",
        "1.0000e+20",
    )
    study.optimize(long_numbers, n_trials=len(shown), parallelism=1, wait_option=ALL)
    page = visitor.page
    page.goto(f"/study/{study_name}")
    for number, value in enumerate(shown):
        expect(cell(page, number, "Value")).to_have_text(value)
    for name, value in (
        ("batch", "16,777,216"),
        ("large", "9,007,199,254,740,993"),
        ("rate", "0.123457"),
        ("seed", "20,241,130"),
    ):
        expect(cell(page, 0, "Parameters")).to_contain_text(f"{name} {value}")


def test_the_best_of_several_objectives(
    controller: aiauto.AIAutoController, new_visitor: Callable[..., Visitor], study_name: str
) -> None:
    study = controller.create_study(study_name, directions=["minimize", "maximize"])
    name = study.optimize(two_numbers, n_trials=3, parallelism=1, wait_option=ALL)
    # Of each on its own, and that is said: no trial has both.
    for locale, title, told in (
        ("en-GB", "Best value", "0.5, 102.5 (best of each)"),
        ("ko-KR", "최적 값", "0.5, 102.5 (목적별 최적)"),
    ):
        visitor = new_visitor(locale=locale)
        visitor.log_in(path=f"/study/{study_name}")
        page = visitor.page
        expect(fact(page, title)).to_have_text(told)
        page.goto(f"/trialbatch/{name}")
        expect(fact(page, title)).to_have_text(told)
        page.goto("/study")
        row = page.get_by_role("row").filter(has_text=study_name)
        expect(row.locator(f'td[data-title="{title}"]')).to_have_text(told)
    page = visitor.page
    page.goto(f"/study/{study_name}")
    row = page.locator("tr").filter(has=page.locator("td.id", has_text=re.compile("^#1$")))
    expect(row.locator('td[data-title="값"]')).to_have_text("1.5, 101.5")


def used(server: EmbeddedServer) -> tuple[int, int]:
    """Bytes of the artifacts and of the shared cache, as the server counts them."""
    with SyncTransport(server.url, token=server.token) as transport:
        service = AIAutoServiceClientSync(transport)
        (found,) = service.list_workspaces(v1.ListWorkspacesRequest()).workspaces
    return found.artifact_store_used, found.shared_cache_used


def test_how_much_of_the_workspace_is_used(
    controller: aiauto.AIAutoController,
    visitor: Visitor,
    server: EmbeddedServer,
    study_name: str,
    tmp_path: Path,
) -> None:
    artifacts, cached = used(server)
    study = controller.create_study(study_name)
    study.optimize(heavy, n_trials=2, parallelism=1, wait_option=ALL)
    (tmp_path / "data.bin").write_bytes(bytes(MIB))
    controller.upload_to_shared_cache(tmp_path / "data.bin", show_progress_bar=False)
    assert used(server) == (artifacts + 3 * MIB, cached + MIB)

    page = visitor.page
    for path in ("/workspace", "/"):
        page.goto(path)
        for name, size in (("Artifacts", artifacts + 3 * MIB), ("Shared cache", cached + MIB)):
            meter = page.get_by_role("meter", name=name)
            told = meter.get_attribute("aria-valuetext") or ""
            match = re.fullmatch(r"([\d.]+) MiB of [\d.]+ [GM]iB", told)
            assert match is not None, told
            assert float(match[1]) == pytest.approx(size / MIB, abs=0.051)
    controller.delete_from_shared_cache("data.bin")
    study.delete()


def test_workers_that_died_and_those_in_their_place(
    controller: aiauto.AIAutoController, new_visitor: Callable[..., Visitor], study_name: str
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(deadly, n_trials=2, parallelism=1, wait_option=ALL)
    told = {
        "en-GB": ("Workers", "Restarts", "Reason", "failed", "killed by a signal", "done"),
        "ko-KR": ("워커", "재시작", "이유", "실패", "시그널로 종료", "완료"),
    }
    for locale, (label, restarts, reason, failed, killed, done) in told.items():
        visitor = new_visitor(locale=locale)
        visitor.log_in(path=f"/trialbatch/{name}")
        rows = visitor.page.get_by_role("table", name=label).locator("tbody tr")
        expect(rows).to_have_count(2)
        for row, count, state in ((rows.first, "0", failed), (rows.last, "1", done)):
            expect(row.locator(f'td[data-title="{restarts}"]')).to_have_text(count)
            expect(row.locator(".badge")).to_have_text(state)
        expect(rows.first.locator(f'td[data-title="{reason}"]')).to_contain_text(killed)
    study.delete()


def test_trials_that_no_batch_ran(
    controller: aiauto.AIAutoController, new_visitor: Callable[..., Visitor], study_name: str
) -> None:
    study = controller.create_study(study_name)
    of_optuna = study.get_study()
    for value in range(3):
        of_optuna.tell(of_optuna.ask(), value)
    of_optuna.tell(of_optuna.ask(), state=optuna.trial.TrialState.FAIL)

    def check(visitor: Visitor, sums: str, badge: str, succeeded: str, words: str) -> None:
        page = visitor.page
        page.goto("/study")
        row = page.get_by_role("row").filter(has_text=study_name)
        expect(row.locator(".sum")).to_have_text(sums)
        expect(row.locator(".badge")).to_have_text(badge)
        page.goto(f"/study/{study_name}")
        progress = page.locator("main > section:first-of-type")
        expect(progress.locator(".sum")).to_have_text(sums)
        expect(progress.locator("[data-count=succeeded]")).to_have_text(succeeded)
        expect(progress.get_by_role("img")).to_have_attribute("aria-label", re.compile(words))

    visitors = {locale: new_visitor(locale=locale) for locale in ("en-GB", "ko-KR")}
    for visitor in visitors.values():
        visitor.log_in()
    english, korean = visitors.values()
    check(english, "4 ended", "done", "3", "^4 of 4 trials have ended: 3 succeeded")
    check(korean, "4개 종료", "완료", "3", "^trial 4개 중 4개 종료: 성공 3")

    study.optimize(numbered, n_trials=2, parallelism=1, wait_option=ALL)
    check(english, "6 ended, 2 / 2 in batches", "done", "5", "^6 of 6 trials have ended")
    check(korean, "6개 종료, 배치 2 / 2", "완료", "5", "^trial 6개 중 6개 종료")
    study.delete()
