"""From the way in to a token, to a study that the SDK runs, to what is left of it."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

import aiauto
from aiauto import errors
from tests.browser.objectives import gated, varied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import optuna
    from playwright.sync_api import Locator, Page

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

ALL, NOT = aiauto.WaitOption.WAIT_ALL_TRIALS, aiauto.WaitOption.WAIT_NO


def count(page: Page, name: str) -> Locator:
    """A number of the batch that a page shows."""
    return page.locator(f"main > section:first-of-type [data-count={name}]")


def phase(page: Page) -> Locator:
    return page.locator(".heading .badge")


def opened(folder: Path, *numbers: int) -> None:
    for number in numbers:
        (folder / str(number)).touch()


def issue(page: Page, name: str) -> str:
    page.get_by_label("What it is for").fill(name)
    page.get_by_label("Expires").select_option("30")
    page.get_by_role("button", name="Issue token").click()
    token = page.locator("[data-token]").text_content()
    assert token
    assert re.fullmatch(r"aiauto_\S{40,}", token)
    return token


def test_from_the_way_in_to_live_counts(
    new_visitor: Callable[..., Visitor], server: EmbeddedServer, study_name: str, tmp_path: Path
) -> None:
    visitor = new_visitor()
    page = visitor.page
    visitor.log_in(path="/token")
    expect(page).to_have_url(f"{server.url}/token")

    token = issue(page, "laptop <1>")
    row = page.get_by_role("row").filter(has_text="laptop <1>")
    expect(row).to_contain_text(f"{token[:11]}…")

    controller = aiauto.AIAutoController(token, server.url)
    study = controller.create_study(study_name, direction="minimize")
    name = study.optimize(gated(tmp_path), n_trials=4, parallelism=2, wait_option=NOT)
    page.get_by_role("link", name="Batches").click()
    page.get_by_role("link", name=name).click()
    expect(count(page, "active")).to_have_text("2")
    expect(page.locator(".counts .sum").first).to_have_text("0 / 4")
    expect(phase(page)).to_have_text("running")
    # Live: nobody loads the page again.
    opened(tmp_path, 0)
    expect(count(page, "succeeded")).to_have_text("1")
    workers = page.get_by_role("table", name="Workers")
    expect(workers.get_by_role("row").filter(has_text=f"{name}-0")).to_contain_text("running")
    trials = page.get_by_role("table", name="Trials")
    finished = trials.get_by_role("row").filter(has_text="#0")
    expect(finished).to_contain_text("complete")

    page.get_by_role("button", name="Log of trial 1", exact=True).click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("#1 trial 1 waits")
    expect(log).not_to_contain_text("trial 0")
    opened(tmp_path, 1, 2, 3)
    expect(log).to_contain_text("#1 trial 1 goes on")
    expect(phase(page)).to_have_text("done")
    expect(page.locator(".counts .sum").first).to_have_text("4 / 4")
    expect(workers.get_by_role("row").filter(has_text=f"{name}-0")).to_contain_text("done")
    # Who can't see it is told, too.
    expect(page.locator("p[role=status].unseen")).to_contain_text("trials have ended")

    page.get_by_role("link", name="Studies", exact=True).first.click()
    best = f"{study.best_value:.6g}"
    row = page.get_by_role("row").filter(has_text=study_name)
    expect(row).to_contain_text("4 succeeded")
    if "e" not in best:
        expect(row).to_contain_text(best)

    page.get_by_role("link", name="Tokens").click()
    page.get_by_role("button", name="Revoke laptop").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("refused from now on")
    dialog.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row").filter(has_text="laptop")).to_have_count(0)
    with pytest.raises(errors.UnauthenticatedError):
        study.get_status()


def test_the_link_logs_in_and_the_way_out_leads_out(
    new_visitor: Callable[..., Visitor], controller: aiauto.AIAutoController, server: EmbeddedServer
) -> None:
    page = new_visitor().page
    link = controller.dashboard_url.replace("/dashboard", "/")
    page.goto(link)
    expect(page).to_have_url(f"{server.url}/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{server.url}/login")
    page.goto("/workspace")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_a_session_ends_with_its_token(
    new_visitor: Callable[..., Visitor], controller: aiauto.AIAutoController, visitor: Visitor
) -> None:
    page = visitor.page
    page.goto("/token")
    token = issue(page, "borrowed")
    other = new_visitor()
    other.log_in(token, path="/token")
    row = other.page.get_by_role("row").filter(has_text="borrowed")
    expect(row).to_contain_text("this session")
    row.get_by_role("button").click()
    dialog = other.page.get_by_role("dialog")
    expect(dialog).to_contain_text("This browser was logged in with it")
    dialog.get_by_role("button", name="Revoke").click()
    alert = other.page.get_by_role("alert")
    expect(alert).to_contain_text("You are not logged in any more")
    alert.get_by_role("link").click()
    expect(other.page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_a_batch_is_cancelled_and_deleted(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(gated(tmp_path), n_trials=3, parallelism=1, wait_option=NOT)
    page = visitor.page
    page.goto(f"/trialbatch/{name}")
    expect(count(page, "active")).to_have_text("1")
    cancel = page.get_by_role("button", name="Cancel batch")
    # Who thinks better of it, by the keyboard.
    cancel.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(cancel).to_be_focused()
    assert study.get_status()["count_active"] == 1

    cancel.click()
    dialog.get_by_role("button", name="Cancel batch").click()
    expect(phase(page)).to_have_text("failed")
    expect(page.locator("main")).to_contain_text("cancelled")
    expect(cancel).to_be_hidden()
    assert study.get_status()["trialbatches"][name]["stop_reason"] == "Cancelled"

    page.get_by_role("button", name="Delete batch").click()
    dialog.get_by_role("button", name="Delete batch").click()
    expect(page).to_have_url(re.compile(f"/study/{study_name}$"))
    expect(page.locator("main")).to_contain_text("There are no batches yet")
    assert study.get_status()["trialbatches"] == {}


def test_what_trials_leave(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    study = controller.create_study(study_name, direction="minimize")
    name = study.optimize(varied, n_trials=5, parallelism=1, wait_option=ALL)
    page = visitor.page
    page.goto(f"/study/{study_name}")
    trials = page.get_by_role("table", name="Trials")
    expect(trials.get_by_role("row").filter(has_text="#3")).to_contain_text("pruned")
    layers = study.get_study().trials[0].params["layers"]
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text(f"layers {study.best_params['layers']}")
    # What the server notes of a trial is in the list of trials.
    expect(progress).not_to_contain_text("artifact_id")
    first = trials.get_by_role("row").filter(has_text="#0")
    expect(first).to_contain_text(f"layers {layers}")

    with page.expect_download() as downloading:
        first.get_by_role("link", name="model.txt").click()
    downloading.value.save_as(tmp_path / "model.txt")
    assert downloading.value.suggested_filename == "model.txt"
    assert (tmp_path / "model.txt").read_text(encoding="utf-8") == "weights of trial 0\n"

    # The traceback as it is: what looks like markup is text.
    page.get_by_text("Traceback", exact=True).click()
    told = page.locator("details[open] pre")
    expect(told).to_contain_text("ValueError: the model exploded & <i>burned</i>")
    assert page.locator("main i, main pre b").count() == 0

    page.get_by_label("State").select_option("FAIL")
    expect(trials.locator("tbody tr:not(.under)")).to_have_count(1)

    page.get_by_role("button", name="Log of trial 4").click()
    expect(page).to_have_url(re.compile(rf"/trialbatch/{name}#log=4$"))
    log = page.get_by_role("log")
    expect(log).to_contain_text("#4 the learning rate is <b>small</b>")
    expect(page.get_by_role("status").filter(has_text="no more to come")).to_be_visible()
    page.get_by_label("Trial", exact=True).fill("")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(log).to_contain_text("#0 epoch 0")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Save as a file").click()
    downloading.value.save_as(tmp_path / "log")
    assert "#0 epoch 0: loss" in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_study_is_deleted_by_who_types_its_name(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str
) -> None:
    controller.create_study(study_name)
    page = visitor.page
    page.goto(f"/study/{study_name}")
    page.get_by_role("button", name="Delete study").click()
    dialog = page.get_by_role("dialog")
    button = dialog.get_by_role("button", name="Delete study")
    expect(button).to_be_disabled()
    dialog.get_by_role("textbox").fill("something else")
    expect(button).to_be_disabled()
    dialog.get_by_role("textbox").fill(study_name)
    button.click()
    expect(page).to_have_url(re.compile("/study$"))
    expect(page.get_by_role("link", name=study_name)).to_have_count(0)
    page.goto(f"/study/{study_name}")
    expect(page.get_by_role("alert")).to_contain_text(f"there is no study '{study_name}'")


def test_files_are_sent_to_the_shared_cache(
    controller: aiauto.AIAutoController, visitor: Visitor, tmp_path: Path
) -> None:
    content = {"big.bin": os.urandom(7_000_000), "empty": b"", "한글 <b>.csv": b"a,b\n"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    page = visitor.page
    page.goto("/workspace")
    expect(page.get_by_text("The shared cache is empty.")).to_be_visible()
    page.get_by_label("Files").set_input_files([tmp_path / name for name in content])
    page.get_by_label("Into folder").fill("from/page")
    page.get_by_role("button", name="Upload").click()
    for name, data in content.items():
        expect(page.get_by_text(f"from/page/{name} is there.").first).to_be_visible()
        local = tmp_path / "back"
        controller.download_from_shared_cache(f"from/page/{name}", local, overwrite=True)
        assert local.read_bytes() == data
    expect(page.get_by_role("row").filter(has_text="big.bin")).to_contain_text("6.7 MiB")
    expect(page.get_by_role("meter", name="Shared cache")).to_have_attribute(
        "aria-valuetext", "6.7 MiB of 500 MiB"
    )
    for name in content:
        page.get_by_role("button", name=f"Delete from/page/{name}").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("button", name=f"Delete from/page/{name}")).to_have_count(0)
    assert controller.list_shared_cache() == {"files": []}


def test_a_file_that_was_stopped_goes_on(
    controller: aiauto.AIAutoController, visitor: Visitor, tmp_path: Path
) -> None:
    content = os.urandom(10_000_000)
    (tmp_path / "model.bin").write_bytes(content)
    page = visitor.page
    page.goto("/workspace")
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url))
    # So slow that what is sent can be seen, and stopped.
    line: Any = page.context.new_cdp_session(page)  # whose messages have no types
    speed = {"offline": False, "latency": 0, "downloadThroughput": -1}
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", {**speed, "uploadThroughput": 1_000_000})
    page.get_by_label("Files").set_input_files(tmp_path / "model.bin")
    page.get_by_role("button", name="Upload").click()
    progress = page.get_by_role("progressbar", name="model.bin")
    # A tenth is for reading it, and each of the parts is nearly a third of the rest.
    expect(page.locator(".uploads .sum")).to_have_text(re.compile(r"^(38|66) %$"))
    page.get_by_role("button", name="Stop sending model.bin").click()
    expect(page.get_by_text("model.bin was stopped")).to_be_visible()
    expect(progress).to_have_count(0)
    assert controller.list_shared_cache() == {"files": []}

    line.send("Network.emulateNetworkConditions", {**speed, "uploadThroughput": -1})
    sent.clear()
    page.get_by_label("Files").set_input_files(tmp_path / "model.bin")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("model.bin is there.").first).to_be_visible()
    # Of four parts the first is there.
    assert 1 <= sum(url.endswith("/WriteUpload") for url in sent) <= 3
    controller.download_from_shared_cache("model.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    controller.delete_from_shared_cache("model.bin")


def talkative(_trial: optuna.Trial) -> float:
    for number in range(6_000):
        print(f"line {number}.")
    return 0.0


def test_a_long_log_keeps_its_end(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(talkative, n_trials=1, parallelism=1, wait_option=ALL)
    # What a worker has printed in a moment takes more than one to arrive.
    while sum(1 for _ in study.logs(trialbatch_name=name)) < 6_000:
        time.sleep(0.2)
    page = visitor.page
    page.goto(f"/trialbatch/{name}#log=0")
    log = page.get_by_role("log")
    expect(log).to_contain_text("line 5999.")
    expect(log).to_contain_text("… 1,000 earlier lines are not shown here")
    assert log.locator(".line").count() == 5_001
    text = log.text_content() or ""
    assert "line 999." not in text
    assert "line 1000." in text
    # Its file has the beginning, too.
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Save as a file").click()
    downloading.value.save_as(tmp_path / "log")
    told = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert told == [f"#0 line {number}." for number in range(6_000)]
