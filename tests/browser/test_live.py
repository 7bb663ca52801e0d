"""Pages that stay up to date, rest while nobody looks, and come back after the server was away."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

import aiauto
from tests.browser.objectives import gated, leaves_a_thread
from tests.proxy import StallingProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page, Request, Route

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

WAIT_NO = aiauto.WaitOption.WAIT_NO
# After so long a page gives up a stream on which it hears nothing, and a call.
SILENCE_MS = 60_000
PATIENCE_MS = 120_000
# After so long tokens are listed again, and what failed by the server's fault is tried again.
TOKENS_MS = 15_000
RETRY_MS = 30_000


def hide(page: Page, *, hidden: bool) -> None:
    """What a browser does when another tab is chosen, and when this one is again."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_lists_go_on_by_themselves(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    page = visitor.page
    study = controller.create_study(study_name)
    name = study.optimize(gated(tmp_path), n_trials=3, parallelism=1, wait_option=WAIT_NO)
    page.goto("/")
    running = page.get_by_role("region", name="Running now")
    row = running.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("1 running")
    link = row.get_by_role("link", name=name)
    link.focus()
    (tmp_path / "0").touch()
    expect(row).to_contain_text("1 succeeded")
    # What has the focus keeps it while the rest changes.
    expect(link).to_be_focused()
    page.goto("/trialbatch")
    batches = page.get_by_role("table", name="Batches")
    listed = batches.get_by_role("row").filter(has_text=name)
    expect(listed).to_contain_text("1 succeeded")
    (tmp_path / "1").touch()
    expect(listed).to_contain_text("2 succeeded")
    page.goto("/")
    expect(row).to_contain_text("2 succeeded")
    (tmp_path / "2").touch()
    expect(row).to_have_count(0)
    newest = page.get_by_role("region", name="Newest studies")
    expect(newest.get_by_role("row").filter(has_text=study_name)).to_contain_text("done")


def test_workers_that_end_after_their_batch_are_seen_to_end(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str
) -> None:
    page = visitor.page
    study = controller.create_study(study_name)
    name = study.optimize(leaves_a_thread, n_trials=1, parallelism=1, wait_option=WAIT_NO)
    page.goto(f"/trialbatch/{name}")
    expect(page.locator(".heading .badge")).to_have_text("done")
    worker = page.get_by_role("table", name="Workers").get_by_role("row").filter(has_text=name)
    expect(worker).to_contain_text("done")


def test_a_hidden_page_holds_no_connection(
    controller: aiauto.AIAutoController, visitor: Visitor, study_name: str, tmp_path: Path
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(gated(tmp_path), n_trials=2, parallelism=1, wait_option=WAIT_NO)
    page = visitor.page
    page.goto(f"/trialbatch/{name}")
    page.get_by_text("What workers print").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("trial 0 waits")
    with (
        page.expect_event("requestfailed", lambda one: "WatchTrialBatch" in one.url),
        page.expect_event("requestfailed", lambda one: "StreamLogs" in one.url),
    ):
        hide(page, hidden=True)
    (tmp_path / "0").touch()
    while study.get_status()["count_succeeded"] < 1:
        page.wait_for_timeout(50)
    expect(page.locator("[data-count=succeeded]").first).to_have_text("0")
    with page.expect_request(lambda one: "WatchTrialBatch" in one.url):
        hide(page, hidden=False)
    expect(page.locator("[data-count=succeeded]").first).to_have_text("1")
    # The log goes on where it was, and says nothing twice.
    expect(log).to_contain_text("trial 1 waits")
    assert (log.text_content() or "").count("trial 0 waits") == 1
    (tmp_path / "1").touch()
    expect(page.locator(".heading .badge")).to_have_text("done")


def test_a_page_comes_back_with_the_server(
    own_server: EmbeddedServer, new_visitor: Callable[..., Visitor], tmp_path: Path
) -> None:
    study = aiauto.AIAutoController().create_study("outlives-the-server")
    gate = tmp_path / "gate"
    gate.mkdir()
    name = study.optimize(gated(gate), n_trials=3, parallelism=1, wait_option=WAIT_NO)
    visitor = new_visitor(server=own_server)
    visitor.log_in()
    page = visitor.page
    page.goto(f"/trialbatch/{name}")
    succeeded = page.locator("[data-count=succeeded]").first
    (gate / "0").touch()
    expect(succeeded).to_have_text("1")
    expect(page.locator("[data-count=active]").first).to_have_text("1")
    address = own_server.url
    own_server.kill()
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("does not answer at the moment")
    own_server.start()
    assert own_server.url == address
    # The session outlives the server, and so does the worker.
    (gate / "1").touch()
    (gate / "2").touch()
    expect(succeeded).to_have_text("3", timeout=40_000)
    expect(notice).to_be_hidden()
    expect(page.locator(".heading .badge")).to_have_text("done")


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[StallingProxy]:
    with StallingProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def far_visitor(new_visitor: Callable[..., Visitor], proxy: StallingProxy) -> Visitor:
    """Somebody who comes through the proxy, and whose time can be made to pass."""
    visitor = new_visitor(url=proxy.url)
    visitor.page.clock.install()
    visitor.log_in()
    return visitor


def test_a_stream_that_was_lost_without_a_word_is_opened_anew(
    controller: aiauto.AIAutoController,
    far_visitor: Visitor,
    proxy: StallingProxy,
    study_name: str,
    tmp_path: Path,
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(gated(tmp_path), n_trials=2, parallelism=1, wait_option=WAIT_NO)
    page = far_visitor.page
    page.goto(f"/trialbatch/{name}")
    page.get_by_text("What workers print").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("trial 0 waits")
    succeeded = page.locator("[data-count=succeeded]").first
    expect(succeeded).to_have_text("0")
    proxy.stall(b"WatchTrialBatch")
    proxy.stall(b"StreamLogs")
    (tmp_path / "0").touch()
    while study.get_status()["count_succeeded"] < 1:
        page.wait_for_timeout(50)
    expect(succeeded).to_have_text("0")
    page.clock.fast_forward(SILENCE_MS)
    expect(succeeded).to_have_text("1")
    expect(log).to_contain_text("trial 1 waits")
    assert (log.text_content() or "").count("trial 0 waits") == 1
    expect(page.get_by_role("alert")).to_be_hidden()
    (tmp_path / "1").touch()
    expect(page.locator(".heading .badge")).to_have_text("done")


def test_a_part_that_was_lost_without_a_word_is_sent_again(
    controller: aiauto.AIAutoController, far_visitor: Visitor, proxy: StallingProxy, tmp_path: Path
) -> None:
    content = os.urandom(7_000_000)
    (tmp_path / "model.bin").write_bytes(content)
    page = far_visitor.page
    page.goto("/workspace")
    sent: list[str] = []

    def lose(request: Request) -> None:
        if request.url.endswith("/WriteUpload"):
            sent.append(request.post_data or "")
            if len(sent) == 2:
                proxy.stall(b"WriteUpload")

    page.on("request", lose)
    # So slow that a part can be lost while it is sent.
    line: Any = page.context.new_cdp_session(page)  # whose messages have no types
    line.send("Network.enable")
    speed = {"offline": False, "latency": 0, "downloadThroughput": -1}
    line.send("Network.emulateNetworkConditions", {**speed, "uploadThroughput": 4_000_000})
    page.get_by_label("Files").set_input_files(tmp_path / "model.bin")
    with page.expect_request(lambda _: len(sent) == 2):
        page.get_by_role("button", name="Upload").click()
    page.clock.fast_forward(PATIENCE_MS)
    expect(page.get_by_text("model.bin is there.").first).to_be_visible()
    # It is sent in smaller ones, lest the way be slow only.
    assert len(sent[2]) < len(sent[1]) / 3
    controller.download_from_shared_cache("model.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    controller.delete_from_shared_cache("model.bin")


def test_a_fault_of_the_server_ends_no_list(visitor: Visitor) -> None:
    page = visitor.page
    page.clock.install()
    fault = {"code": "internal", "message": "There is a fault."}
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        # Not the first one: the list has been there, and is to go on.
        if len(asked) in {2, 3, 5}:
            route.fulfill(status=500, json=fault)
        else:
            route.continue_()

    page.route("**/ListTokens", answer)
    page.goto("/token")
    rows = page.get_by_role("table", name="Tokens").get_by_role("row")
    expect(rows).not_to_have_count(0)
    alert = page.get_by_role("alert")
    page.clock.fast_forward(TOKENS_MS)
    expect(alert).to_contain_text("There is a fault.")
    with page.expect_request("**/ListTokens"):
        page.clock.fast_forward(RETRY_MS)
    expect(alert).to_contain_text("There is a fault.")
    page.clock.fast_forward(RETRY_MS)
    expect(alert).to_be_hidden()
    page.clock.fast_forward(TOKENS_MS)
    expect(alert).to_contain_text("There is a fault.")
    # Who does something need not wait.
    page.get_by_label("What it is for").fill("after the fault")
    page.get_by_role("button", name="Issue token").click()
    expect(rows.filter(has_text="after the fault")).to_have_count(1)
    expect(alert).to_be_hidden()
    page.get_by_role("button", name="Revoke after the fault").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(rows.filter(has_text="after the fault")).to_have_count(0)


def test_an_address_that_is_none_is_said_to_be_none(visitor: Visitor) -> None:
    page = visitor.page
    for path in ("/study/%zz", "/trialbatch/%ff"):
        page.goto(path)
        expect(page.get_by_role("alert")).to_contain_text("This address is not one of a page")
        expect(page.get_by_role("link", name="Studies", exact=True)).to_be_visible()


def test_a_stream_that_breaks_off_is_told_in_the_language_of_the_page(
    controller: aiauto.AIAutoController,
    new_visitor: Callable[..., Visitor],
    study_name: str,
    tmp_path: Path,
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(gated(tmp_path), n_trials=1, parallelism=1, wait_option=WAIT_NO)
    visitor = new_visitor(locale="ko-KR")
    visitor.log_in()
    page = visitor.page
    page.route("**/WatchTrialBatch", lambda route: route.fulfill(status=200, body=""))
    page.goto(f"/trialbatch/{name}")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text(re.compile(r"^[^A-Za-z]*중간에 끊겼습니다\.$"))
    page.unroute("**/WatchTrialBatch")
    expect(page.locator("[data-count=active]").first).to_have_text("1")
    expect(alert).to_be_hidden()
    (tmp_path / "0").touch()


def test_somebody_new_makes_their_workspace(
    own_server: EmbeddedServer, new_visitor: Callable[..., Visitor]
) -> None:
    own_server.data_dir.mkdir()
    own_server.start()
    visitor = new_visitor(server=own_server)
    visitor.log_in()
    page = visitor.page
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    expect(page.locator("pre")).to_contain_text(own_server.url)
    page.goto("/workspace")
    page.get_by_role("button", name="Make my workspace").click()
    expect(page.get_by_role("heading", name="workspace-1")).to_be_visible()
    expect(page.get_by_text("The shared cache is empty.")).to_be_visible()
    page.get_by_role("button", name="Delete workspace").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("workspace-1")
    dialog.get_by_role("button", name="Delete workspace").click()
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    assert aiauto.AIAutoController(own_server.token, own_server.url).create_study("again")
