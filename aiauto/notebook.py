"""How notebooks show a study and its status: HTML that loads nothing and runs nothing.

Colors are such that they suit light and dark pages; what users named or printed is escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from aiauto.history import Point, history_svg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna.trial import FrozenTrial

# Of so many objectives at most a history is drawn.
MAX_HISTORIES = 4
MAX_ERROR_CHARACTERS = 4000
MAX_BATCHES = 20
SHARES = (
    ("count_succeeded", "succeeded", "#34a853"),
    ("count_pruned", "pruned", "#9aa0a6"),
    ("count_failed", "failed", "#d93025"),
    ("count_active", "running", "#4c8bf5"),
)
CELL = "text-align:left;padding:2px 12px 2px 0;background:transparent"


def study_html(
    status: Mapping[str, Any], trials: Sequence[FrozenTrial], directions: Sequence[str]
) -> str:
    """Show a study.

    Args:
        status: Its status.
        trials: Its trials.
        directions: Its directions.

    Returns:
        An HTML element.
    """
    ended = [
        (trial.number, trial.values if trial.state.name == "COMPLETE" else None)
        for trial in trials
        if trial.state.name in {"COMPLETE", "FAIL"}
    ]
    return _framed(_summary(status), _histories(ended, directions), _error(status))


def status_html(status: Mapping[str, Any]) -> str:
    """Show a status; with the history where it lists its trials.

    Args:
        status: What `get_status` has told.

    Returns:
        An HTML element.
    """
    ended = [
        (trial["trialNumber"], trial["values"] if trial["state"] == "COMPLETE" else None)
        for batch in status["trialbatches"].values()
        for trial in batch.get("completed_trials", {}).values()
        if trial["state"] in {"COMPLETE", "FAIL"} and trial["trialNumber"] >= 0
    ]
    return _framed(_summary(status), _histories(sorted(ended), None), _error(status))


def _framed(*parts: str) -> str:
    return f'<div style="color:inherit">{"".join(parts)}</div>'


def _summary(status: Mapping[str, Any]) -> str:
    head = f"<b>{escape(status['study_name'])}</b>: {_counts(status)}{_link(status)}"
    batches = list(status["trialbatches"].values())
    names = ("batch", "phase", "", "trials")
    titles = "".join(f'<th style="{CELL}">{name}</th>' for name in names)
    rows = "".join(_row(batch) for batch in batches[-MAX_BATCHES:])
    older = len(batches) - MAX_BATCHES
    note = f"<div>and {older} older batches</div>" if older > 0 else ""
    table = f'<table style="border-collapse:collapse"><tr>{titles}</tr>{rows}</table>{note}'
    return f"<div>{head}</div>{table if batches else ''}"


def _row(batch: Mapping[str, Any]) -> str:
    phase = " ".join(filter(None, (batch["phase"], batch["stop_reason"])))
    cells = (escape(batch["trialbatch_name"]), escape(phase), _bar(batch), _counts(batch))
    joined = "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{joined}</tr>"


def _counts(counts: Mapping[str, Any]) -> str:
    told = ", ".join(f"{counts[key]} {word}" for key, word, _ in SHARES if counts[key])
    done = f"{counts['count_completed']} of {counts['count_total']} trials"
    return f"{done} ({told})" if told else done


def _bar(batch: Mapping[str, Any]) -> str:
    total = max(batch["count_total"], 1)
    parts = "".join(
        f'<span title="{batch[key]} {word}" style="display:inline-block;height:10px;'
        f'width:{100 * batch[key] / total:.2f}%;background:{color}"></span>'
        for key, word, color in SHARES
        if batch[key]
    )
    frame = "width:160px;height:10px;line-height:0;font-size:0;outline:1px solid currentColor"
    return f'<div style="{frame}">{parts}</div>'


def _link(status: Mapping[str, Any]) -> str:
    url = status["dashboard_url"]
    if not url.startswith(("http://", "https://")):
        return ""
    return (
        f' &middot; <a href="{escape(url, quote=True)}" target="_blank" '
        'rel="noopener noreferrer">dashboard</a>'
    )


def _histories(
    ended: Iterable[tuple[int, Sequence[float] | None]], directions: Sequence[str] | None
) -> str:
    trials = list(ended)
    width = max((len(values) for _, values in trials if values is not None), default=0)
    drawings: list[str] = []
    for place in range(min(width, MAX_HISTORIES)):
        points = [
            Point(number, None if values is None or len(values) <= place else values[place])
            for number, values in trials
        ]
        label = "value" if width == 1 else f"value {place}"
        direction = None if directions is None else directions[place]
        drawings.append(history_svg(points, label=label, direction=direction))
    return "".join(drawings)


def _error(status: Mapping[str, Any]) -> str:
    error: str = status["last_error"]
    if not error:
        return ""
    cut = "…" + error[-MAX_ERROR_CHARACTERS:] if len(error) > MAX_ERROR_CHARACTERS else error
    return (
        "<details><summary>newest error</summary>"
        f'<pre style="background:transparent;color:inherit;white-space:pre-wrap">'
        f"{escape(cut)}</pre></details>"
    )
