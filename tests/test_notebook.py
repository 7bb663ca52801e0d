"""What notebooks show: well-formed, bounded, nothing that loads or runs, and nothing unescaped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import optuna
import pytest

from aiauto.history import MAX_DOTS, Point, history_svg
from aiauto.notebook import status_html, study_html

EVIL = "<script>alert('&\"')</script>"


def tree(html: str) -> ET.Element:
    return ET.fromstring(html.replace("&middot;", "·"))  # noqa: S314 - our own


def batch(name: str = "b-1", **changed: Any) -> dict[str, Any]:
    return {
        "trialbatch_name": name,
        "phase": "Running",
        "count_active": 1,
        "count_succeeded": 2,
        "count_pruned": 0,
        "count_failed": 1,
        "count_total": 8,
        "count_completed": 3,
        "stop_reason": "",
        **changed,
    }


def status(*batches: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        **batch(),
        "study_name": "a-study",
        "dashboard_url": "http://127.0.0.1:1/dashboard?key=a&b",
        "last_error": "",
        "trialbatches": {one["trialbatch_name"]: one for one in batches},
        **changed,
    }


def trial(number: int, *values: float, failed: bool = False) -> optuna.trial.FrozenTrial:
    state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
    made = optuna.trial.create_trial(state=state, values=list(values) or None)
    made.number = number
    return made


def told(number: int, *values: float, state: str = "COMPLETE") -> dict[str, Any]:
    return {"trialNumber": number, "state": state, "values": list(values)}


# -------------------------------------------------------------------------------------- history


def test_a_history() -> None:
    points = [Point(0, 3.0), Point(1, 5.0), Point(2, None), Point(3, 1.0), Point(4, 2.0)]
    svg = tree(history_svg(points, label="value", direction="minimize"))
    dots = list(svg.iter("circle"))
    assert [one.findtext("title") for one in dots] == [
        "trial 0: 3",
        "trial 1: 5",
        "trial 3: 1",
        "trial 4: 2",
    ]
    height = {one.findtext("title"): float(one.attrib["cy"]) for one in dots}
    # Up is more.
    assert height["trial 1: 5"] < height["trial 0: 3"] < height["trial 3: 1"]
    assert [one.findtext("title") for one in svg.iter("path")].count("trial 2 failed") == 1
    best = [one.attrib["d"] for one in svg.iter("path") if one.get("stroke-width")]
    assert len(best) == 1
    assert best[0].count("V") == 1
    assert {"5", "1", "0", "4"} <= {one.text for one in svg.iter("text")}


def test_the_greatest_is_the_best_where_it_is_wanted() -> None:
    points = [Point(number, value) for number, value in enumerate([1.0, 3.0, 2.0, 4.0])]
    svg = tree(history_svg(points, label="value", direction="maximize"))
    best = [one.attrib["d"] for one in svg.iter("path") if one.get("stroke-width")]
    assert best[0].count("V") == 2


@pytest.mark.parametrize(
    "values",
    [[1.0], [2.0, 2.0], [1e308, -1e308], [float("inf"), 1.0, float("nan")], [5e-324, 0.0]],
    ids=str,
)
def test_any_values_can_be_drawn(values: list[float]) -> None:
    points = [Point(number, value) for number, value in enumerate(values)]
    svg = history_svg(points, label="value", direction="minimize")
    for number in re.findall(r'c[xy]="([^"]+)"', svg):
        assert 0 <= float(number) <= 640
    assert "nan" not in svg
    assert "inf" not in svg


@pytest.mark.parametrize("points", [[], [Point(0, None)], [Point(0, float("inf"))]], ids=str)
def test_nothing_to_draw(points: list[Point]) -> None:
    assert history_svg(points, label="value", direction=None) == ""


def test_a_long_history_is_thinned_and_keeps_the_best() -> None:
    points = [Point(number, 1.0) for number in range(10_000)]
    points[7777] = Point(7777, 0.5)
    svg = history_svg(points, label="value", direction="minimize")
    assert svg.count("<circle") <= MAX_DOTS + 2
    assert "trial 7777: 0.5" in svg


# ---------------------------------------------------------------------------------------- pages


def test_a_study() -> None:
    shown = study_html(
        status(batch(), batch("b-2", phase="Succeeded", stop_reason="Timeout")),
        [trial(0, 1.5), trial(1, failed=True), trial(2, 0.5)],
        ["minimize"],
    )
    page = tree(shown)
    text = " ".join(page.itertext())
    for words in (
        "a-study",
        "3 of 8 trials (2 succeeded, 1 failed, 1 running)",
        "b-1",
        "Succeeded Timeout",
        "value by trial",
    ):
        assert words in text
    assert len(list(page.iter("svg"))) == 1
    assert len(list(page.iter("circle"))) == 2


def test_several_objectives_have_a_history_each() -> None:
    page = tree(study_html(status(), [trial(0, 1.0, 2.0)], ["minimize", "maximize"]))
    labels = [one.attrib["aria-label"] for one in page.iter("svg")]
    assert labels == ["value 0 by trial", "value 1 by trial"]


def test_a_status_shows_the_trials_that_it_lists() -> None:
    assert "<svg" not in status_html(status(batch()))
    ended = {
        "b": told(1, 2.0),
        "a": told(0, 1.0),
        "c": told(2, state="FAIL"),
        "d": told(3, 1.0, state="PRUNED"),
        "e": told(-1, state="FAIL"),
    }
    page = tree(status_html(status(batch(completed_trials=ended))))
    titles = [one.text for one in page.iter("title")]
    assert titles == ["trial 2 failed", "trial 0: 1", "trial 1: 2"]


def test_a_study_without_batches() -> None:
    page = tree(study_html(status(), [], ["minimize"]))
    assert list(page.iter("table")) == []


def test_many_batches() -> None:
    page = tree(status_html(status(*(batch(f"b-{number}") for number in range(50)))))
    assert len(list(page.iter("tr"))) == 21
    assert "b-49" in "".join(page.itertext())
    assert "and 30 older batches" in "".join(page.itertext())


def test_what_users_wrote_is_escaped() -> None:
    evil = status(
        batch(EVIL, phase=EVIL, stop_reason=EVIL),
        study_name=EVIL,
        last_error=EVIL,
        dashboard_url="https://here/?" + EVIL,
    )
    for shown in (status_html(evil), study_html(evil, [trial(0, 1.0)], ["minimize"])):
        page = tree(shown)
        assert list(page.iter("script")) == []
        assert "<script" not in shown
        assert "".join(page.itertext()).count(EVIL) >= 4
        (link,) = page.iter("a")
        assert link.attrib["href"] == "https://here/?" + EVIL


def test_no_link_but_to_a_page() -> None:
    shown = status_html(status(dashboard_url="javascript:alert(1)"))
    assert "javascript" not in shown


def test_nothing_is_loaded() -> None:
    shown = study_html(status(batch()), [trial(0, 1.0)], ["minimize"])
    assert not re.search(r"src=|url\(|@import|<link|<img|<style|<iframe|\bon\w+=", shown)
    # Text and axes take the color of the page, be it light or dark.
    assert "currentColor" in shown
    assert not re.search(r"(?:#000|#fff|black|white)\b", shown)


def test_a_long_error_is_cut() -> None:
    shown = status_html(status(last_error="a" * 100_000 + "the end"))
    assert len(shown) < 10_000
    assert "the end" in shown
