"""The history of a study as a drawing: the value of each trial, and the best so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
# Between the lowest value and the axis, on which failed trials are marked.
FOOT = 12
# More could not be told apart, and would make a notebook heavy.
MAX_DOTS = 500
# Each stands out against white and against black; text and axes take the color of the page.
DOT, BEST, FAILED = "#4c8bf5", "#e8710a", "#d93025"


@dataclass(frozen=True)
class Point:
    """A trial that has ended.

    Attributes:
        number: Its number.
        value: What it returned; None where it failed.
    """

    number: int
    value: float | None


def history_svg(points: Sequence[Point], *, label: str, direction: str | None) -> str:
    """Draw a history.

    Args:
        points: The trials, by their number.
        label: What the values are.
        direction: ``minimize`` or ``maximize``; None leaves the best out.

    Returns:
        An SVG element that needs nothing else; empty where there is nothing to draw.
    """
    valued = [
        (point.number, point.value)
        for point in points
        if point.value is not None and math.isfinite(point.value)
    ]
    if not valued:
        return ""
    place = _Scale([number for number, _ in valued], [value for _, value in valued])
    best = _best_so_far(valued, direction) if direction else []
    # Evenly thinned, with every improvement kept.
    step = -(-len(valued) // MAX_DOTS)
    shown = [one for index, one in enumerate(valued) if index % step == 0 or one in best]
    dots = "".join(
        f'<circle cx="{place.x(number):.1f}" cy="{place.y(value):.1f}" r="3" fill="{DOT}" '
        f'fill-opacity="0.7"><title>trial {number}: {value:.6g}</title></circle>'
        for number, value in shown
    )
    failed = [point.number for point in points if point.value is None][-MAX_DOTS:]
    crosses = "".join(
        f'<path d="M{place.x(number) - 3:.1f} {HEIGHT - BOTTOM - 3}l6 6m0 -6l-6 6" '
        f'stroke="{FAILED}"><title>trial {number} failed</title></path>'
        for number in failed
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="width:100%;max-width:{WIDTH}px;font:11px sans-serif" role="img" '
        f'aria-label="{escape(label, quote=True)} by trial">'
        f"{_axes(place, label)}{crosses}{dots}{_line(place, best, valued[-1][0])}</svg>"
    )


class _Scale:
    """Where trials and values are on the drawing."""

    def __init__(self, numbers: list[int], values: list[float]) -> None:
        self.first, self.last = min(numbers), max(numbers)
        self.low, self.high = min(values), max(values)

    def x(self, number: int) -> float:
        share = (number - self.first) / max(self.last - self.first, 1)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        # Halved, since the difference of two floats may be too large for a third.
        span = self.high / 2 - self.low / 2
        share = 0.5 if span == 0 else (value / 2 - self.low / 2) / span
        lowest = HEIGHT - BOTTOM - FOOT
        return lowest - share * (lowest - TOP)


def _best_so_far(valued: list[tuple[int, float]], direction: str) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for number, value in valued:
        better = not best or (
            value > best[-1][1] if direction == "maximize" else value < best[-1][1]
        )
        if better:
            best.append((number, value))
    return best


def _line(place: _Scale, best: list[tuple[int, float]], last: int) -> str:
    if not best:
        return ""
    (number, value), *later = best
    path = f"M{place.x(number):.1f} {place.y(value):.1f}"
    path += "".join(f"H{place.x(one):.1f}V{place.y(better):.1f}" for one, better in later)
    path += f"H{place.x(last):.1f}"
    return f'<path d="{path}" fill="none" stroke="{BEST}" stroke-width="2"/>'


def _axes(place: _Scale, label: str) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    texts = [
        (LEFT - 6, TOP + 4, "end", f"{place.high:.4g}"),
        (LEFT - 6, bottom - FOOT + 4, "end", f"{place.low:.4g}" if place.high > place.low else ""),
        (LEFT, HEIGHT - 10, "middle", str(place.first)),
        (right, HEIGHT - 10, "end", str(place.last) if place.last > place.first else ""),
        ((LEFT + right) / 2, HEIGHT - 10, "middle", f"{label} by trial"),
    ]
    marks = "".join(
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor">'
        f"{escape(text)}</text>"
        for x, y, anchor, text in texts
    )
    frame = f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor"/>'
    return f'<g opacity="0.7">{frame}{marks}</g>'
