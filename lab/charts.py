"""Knows how to draw two kinds of chart as SVG: lines over time, and bars side by side. Text in, text out.

Colours are told apart by colour-blind eyes and on white or dark paper alike; every mark is also named in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#f0e442", "#000000")
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 64, 16, 56, 52
_CHARACTER = 7.2  # pixels of a letter at 13 px


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points in the axes' units; `dashed` for what is computed, not measured."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A moment to point at."""

    at: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, of one piece or several (name, value)."""

    name: str
    pieces: Sequence[tuple[str, float]]
    note: str = ""


@dataclass(slots=True)
class _Paper:
    height: int
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, weight: str = "") -> None:
        bold = f' font-weight="{weight}"' if weight else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{bold}>{escape(words)}</text>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str = 'stroke="#d0d0d0"') -> None:
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def done(self, title: str) -> str:
        inner = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {self.height}" width="{_WIDTH}" '
            f'height="{self.height}" role="img" aria-label="{escape(title)}" '
            'font-family="Helvetica, Arial, sans-serif" fill="#222222">\n'
            f'<rect width="{_WIDTH}" height="{self.height}" fill="#ffffff"/>\n{inner}\n</svg>\n'
        )


def lines(
    title: str,
    series: Sequence[Line],
    *,
    across: str,
    up: str,
    markers: Sequence[Marker] = (),
    height: int = 360,
    most: float | None = None,
) -> str:
    """Draw curves from the origin on; `across` and `up` say what the axes count, `most` ends the upper one."""
    paper = _Paper(height)
    paper.text(_LEFT, 24, title, size=16, weight="bold")
    wide = _nice(max(x for one in series for x, _ in one.points))
    high = most or _nice(max(y for one in series for _, y in one.points))
    right, bottom = _WIDTH - _RIGHT, height - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / wide * (right - _LEFT), bottom - min(y, high) / high * (bottom - _TOP)

    for value in _ticks(high):
        y = place(0, value)[1]
        paper.line(_LEFT, y, right, y)
        paper.text(_LEFT - 8, y + 4, _number(value), anchor="end")
    for value in _ticks(wide):
        x = place(value, 0)[0]
        paper.line(x, bottom, x, bottom + 5, 'stroke="#222222"')
        paper.text(x, bottom + 20, _number(value), anchor="middle")
    paper.line(_LEFT, bottom, right, bottom, 'stroke="#222222"')
    paper.text((right + _LEFT) / 2, height - 12, across, anchor="middle")
    paper.text(_LEFT, 46, up)
    for number, one in enumerate(series):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in one.points))
        dash = ' stroke-dasharray="6 4"' if one.dashed else ""
        colour = COLOURS[number % len(COLOURS)]
        paper.parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2.5"{dash} points="{path}"/>')
    for marker in markers:
        x = place(marker.at, 0)[0]
        paper.line(x, _TOP, x, bottom, 'stroke="#555555" stroke-dasharray="2 3"')
        paper.text(x + 4, bottom - 8, marker.name, size=12)
    _legend(paper, [one.name for one in series], right)
    return paper.done(title)


def bars(title: str, rows: Sequence[Bar], *, unit: str, wide: float | None = None) -> str:
    """Draw one bar a row, longest value at the right; pieces of several rows share their colours by name."""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.pieces))
    stacked = len(names) > 1
    height = _TOP + 34 * len(rows) + (60 if stacked else 30)
    paper = _Paper(height)
    paper.text(16, 24, title, size=16, weight="bold")
    paper.text(16, 44, unit)
    left = 24 + _CHARACTER * max(len(row.name) for row in rows)
    room = _WIDTH - left - 24 - _CHARACTER * max(len(_label(row)) for row in rows)
    most = wide or max(sum(value for _, value in row.pieces) for row in rows)
    for number, row in enumerate(rows):
        y = _TOP + 34 * number
        paper.text(left - 8, y + 17, row.name, anchor="end")
        x = left
        for name, value in row.pieces:
            size = value / most * room
            colour = COLOURS[names.index(name) % len(COLOURS)]
            paper.parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{max(size, 0.5):.1f}" height="24" fill="{colour}">'
                f"<title>{escape(name)}: {_number(value)}</title></rect>"
            )
            x += size
        paper.text(x + 6, y + 17, _label(row))
    if stacked:
        _legend(paper, names, _WIDTH - _RIGHT, y=_TOP + 34 * len(rows) + 22, begin=16.0)
    return paper.done(title)


def _label(row: Bar) -> str:
    total = _number(sum(value for _, value in row.pieces))
    return f"{total}  {row.note}".rstrip()


def _legend(paper: _Paper, names: Sequence[str], right: float, *, y: float = 46.0, begin: float | None = None) -> None:
    """Name the colours: from `begin` on, or ending at the right; on a second line when there is no room."""
    widths = [26 + _CHARACTER * len(name) for name in names]
    x = begin if begin is not None else right - sum(widths)
    for number, (name, width) in enumerate(zip(names, widths, strict=True)):
        if x + width > _WIDTH:
            x, y = begin or 16.0, y + 20
        colour = COLOURS[number % len(COLOURS)]
        paper.parts.append(f'<rect x="{x:.1f}" y="{y - 11:.1f}" width="12" height="12" fill="{colour}"/>')
        paper.text(x + 16, y, name)
        x += width


def _nice(value: float) -> float:
    """Give the next round number."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * scale >= value)


def _ticks(most: float) -> list[float]:
    """Give at most seven round numbers from 0 to `most`."""
    step = next(step for step in (_nice(most / 7), _nice(most / 5)) if step > 0)
    return [step * number for number in range(int(most / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if value and abs(value) < 10:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:,.0f}"
