"""Knows how to draw the diagrams of docs/diagrams from the text files beside them: `python -m lab.diagrams`.

A sequence: `people: A | B`, then `A -> B: text`, `A --> B: text` (a reply), `note A: text`, `== heading`.
States: `state NAME at X,Y: text`, then `A -> B [bend N] [label X,Y]: text`; X and Y count cells, N is pixels to the
left of the way. Both begin with `title:`; ` / ` in a text is a line end, `#` begins a comment.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "diagrams"
LINE = 17  # pixels from one line of text to the next
INK, SOFT, FILL, PAPER, MARK = "#1f2933", "#616e7c", "#eef2f7", "#ffffff", "#0b69a3"
STYLE = f"""<style>
text {{ font: 13px "DejaVu Sans", Verdana, sans-serif; fill: {INK} }}
.title {{ font-size: 17px; font-weight: bold }} .head {{ font-weight: bold }} .soft {{ fill: {SOFT}; font-size: 12px }}
.line {{ stroke: {INK}; stroke-width: 1.4; fill: none }} .life {{ stroke: #9aa5b1; stroke-dasharray: 4 4 }}
.reply {{ stroke-dasharray: 6 4 }} .box {{ fill: {FILL}; stroke: {INK}; stroke-width: 1.2 }}
.note {{ fill: #fff8e1; stroke: #c9a227 }} .rule {{ stroke: {MARK}; stroke-width: 1 }} .mark {{ fill: {MARK} }}
</style>
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,1 L10,5 L0,9 z" fill="{INK}"/></marker></defs>"""


class DiagramError(Exception):
    """A line that cannot be read: its number and the line."""


def draw(text: str) -> str:
    """Give the SVG of a diagram's text. Raises DiagramError."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if len(lines) < 2 or not lines[0][1].startswith("title: "):  # a title and something under it
        raise DiagramError("a diagram begins with `title: `")
    title, rest = lines[0][1].removeprefix("title: "), lines[1:]
    if rest[0][1].startswith("people: "):
        return _sequence(title, rest[0][1].removeprefix("people: ").split(" | "), rest[1:])
    return _states(title, rest)


def _svg(title: str, width: float, height: float, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title)}">'
    )
    paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return "\n".join([head, STYLE, paper, _text(20, 32, title, "title", "start"), *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{name}>{escape(text.replace("`", ""))}</text>'


def _lines(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> list[str]:
    """Give the lines of a text, the first with its base line at y."""
    return [_text(x, y + LINE * at, line, kind, anchor) for at, line in enumerate(text.split(" / "))]


def _width(text: str) -> float:
    """Guess how wide a text is drawn: there is no font here to measure with."""
    return max(len(line) for line in text.split(" / ")) * 7.4


# --- a sequence

_ARROW = re.compile(r"(.+?) (-->|->) (.+?): (.+)")
_NOTE = re.compile(r"note (.+?): (.+)")
COLUMN, TOP = 205, 104


def _sequence(title: str, people: list[str], lines: list[tuple[int, str]]) -> str:
    at = {name: 105 + COLUMN * number for number, name in enumerate(people)}
    width, y = 105 + COLUMN * (len(people) - 1) + 105, float(TOP)
    parts: list[str] = []
    for number, line in lines:
        if line.startswith("== "):
            y += 14
            parts.append(f'<line class="rule" x1="20" y1="{y:.0f}" x2="{width - 20}" y2="{y:.0f}"/>')
            parts.append(_text(20, y + 17, line.removeprefix("== "), "head mark", "start"))
            y += 36
            continue
        note, arrow = _NOTE.fullmatch(line), _ARROW.fullmatch(line)
        if note and note[1] in at:
            y += _note(parts, at[note[1]], y, note[2], width)
        elif arrow and arrow[1] in at and arrow[3] in at:
            y += _arrow(parts, at[arrow[1]], at[arrow[3]], y, arrow[4], reply=arrow[2] == "-->")
        else:
            raise DiagramError(f"line {number}: {line}")
    lives = [f'<line class="life" x1="{x}" y1="{TOP - 20}" x2="{x}" y2="{y:.0f}"/>' for x in at.values()]
    heads = []
    for name, x in at.items():
        heads += [f'<rect class="box" x="{x - 80}" y="52" width="160" height="34" rx="6"/>', _text(x, 74, name, "head")]
    return _svg(title, width, y + 20, [*lives, *heads, *parts])


def _arrow(parts: list[str], start: int, end: int, y: float, text: str, *, reply: bool) -> float:
    """Draw one message; give how much room it took."""
    count = text.count(" / ") + 1
    low = y + LINE * count + 4
    middle = (start + end) / 2
    wide = _width(text) + 8
    parts.append(
        f'<rect x="{middle - wide / 2:.0f}" y="{y + 2:.0f}" width="{wide:.0f}" height="{LINE * count}" fill="{PAPER}"/>'
    )
    parts += _lines(middle, y + 14, text)
    kind = "line reply" if reply else "line"
    gap = 3 if end > start else -3
    parts.append(f'<path class="{kind}" d="M{start},{low:.0f} L{end - gap},{low:.0f}" marker-end="url(#tip)"/>')
    return LINE * count + 18


def _note(parts: list[str], x: int, y: float, text: str, width: int) -> float:
    count = text.count(" / ") + 1
    wide = _width(text) + 20
    left = min(max(x - wide / 2, 8), width - wide - 8)
    high = LINE * count + 10
    parts.append(
        f'<rect class="note" x="{left:.0f}" y="{y + 4:.0f}" width="{wide:.0f}" height="{high}" rx="3"/>',
    )
    parts += _lines(left + wide / 2, y + 22, text)
    return high + 14


# --- states

_STATE = re.compile(r"state (\w+) at (-?[\d.]+),(-?[\d.]+): (.*)")
_EDGE = re.compile(r"(\w+) -> (\w+)(?: bend (-?\d+))?(?: label (-?[\d.]+),(-?[\d.]+))?: (.+)")
CELL_X, CELL_Y, BOX_X, BOX_Y = 290, 150, 75, 32  # cell size, half a box


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    x: float
    y: float


def _states(title: str, lines: list[tuple[int, str]]) -> str:
    places: dict[str, _Place] = {}
    boxes: list[str] = []
    edges: list[str] = []
    low = 0.0
    for number, line in lines:
        state, edge = _STATE.fullmatch(line), _EDGE.fullmatch(line)
        if state:
            place = _cell(float(state[2]), float(state[3]))
            places[state[1]] = place
            boxes += _box(place, state[1], state[4])
        elif edge and edge[1] in places and edge[2] in places:
            label = _cell(float(edge[4]), float(edge[5])) if edge[4] else None
            start, end = places[edge[1]], places[edge[2]]
            middle = _middle(start, end, int(edge[3] or 0))
            low = max(low, (start.y + 2 * middle.y + end.y) / 4)
            edges += _loop(start, label, edge[6]) if start == end else _edge(start, end, middle, label, edge[6])
        else:
            raise DiagramError(f"line {number}: {line}")
    width = max(one.x for one in places.values()) + BOX_X + 50
    height = max(low, *(one.y + BOX_Y for one in places.values())) + 40
    return _svg(title, width, height, [*boxes, *edges])


def _cell(x: float, y: float) -> _Place:
    return _Place(x=125 + CELL_X * x, y=110 + CELL_Y * y)


def _box(place: _Place, name: str, text: str) -> list[str]:
    x, y = place.x - BOX_X, place.y - BOX_Y
    frame = f'<rect class="box" x="{x:.0f}" y="{y:.0f}" width="{2 * BOX_X}" height="{2 * BOX_Y}" rx="12"/>'
    return [frame, _text(place.x, place.y - 3, name, "head"), _text(place.x, place.y + 16, text, "soft")]


def _middle(start: _Place, end: _Place, bend: int) -> _Place:
    """Give the point that a curve is drawn toward, `bend` pixels to the left of the way from start to end."""
    length = math.hypot(end.x - start.x, end.y - start.y) or 1.0
    aside = _Place(x=(end.y - start.y) / length, y=-(end.x - start.x) / length)
    return _Place(x=(start.x + end.x) / 2 + aside.x * bend, y=(start.y + end.y) / 2 + aside.y * bend)


def _edge(start: _Place, end: _Place, middle: _Place, label: _Place | None, text: str) -> list[str]:
    first, last = _border(start, middle), _border(end, middle)
    path = f"M{first.x:.0f},{first.y:.0f} Q{middle.x:.0f},{middle.y:.0f} {last.x:.0f},{last.y:.0f}"
    on = label or _Place(x=(first.x + 2 * middle.x + last.x) / 4, y=(first.y + 2 * middle.y + last.y) / 4)
    return [f'<path class="line" d="{path}" marker-end="url(#tip)"/>', *_label(on, text)]


def _loop(place: _Place, label: _Place | None, text: str) -> list[str]:
    """Draw an arrow from a state to itself, above it."""
    x, y = place.x, place.y - BOX_Y
    path = f"M{x - 24:.0f},{y:.0f} C{x - 40:.0f},{y - 42:.0f} {x + 40:.0f},{y - 42:.0f} {x + 24:.0f},{y - 2:.0f}"
    on = label or _Place(x=x, y=y - 44)
    return [f'<path class="line" d="{path}" marker-end="url(#tip)"/>', *_label(on, text)]


def _border(box: _Place, toward: _Place) -> _Place:
    """Give where a line from a box's middle leaves the box."""
    dx, dy = toward.x - box.x, toward.y - box.y
    scale = min(BOX_X / abs(dx) if dx else math.inf, BOX_Y / abs(dy) if dy else math.inf)
    return _Place(x=box.x + dx * scale, y=box.y + dy * scale)


def _label(on: _Place, text: str) -> list[str]:
    count = text.count(" / ") + 1
    wide, top = _width(text) * 0.92 + 6, on.y - LINE * count / 2
    back = f'<rect x="{on.x - wide / 2:.0f}" y="{top:.0f}" width="{wide:.0f}" height="{LINE * count}" fill="{PAPER}"/>'
    return [back, *_lines(on.x, top + 13, text, "soft")]


def main() -> None:
    """Draw every diagram anew."""
    for path in sorted(FOLDER.glob("*.txt")):
        path.with_suffix(".svg").write_text(draw(path.read_text("utf-8")), "utf-8")
        print(path.with_suffix(".svg").relative_to(FOLDER.parent.parent))


if __name__ == "__main__":
    main()
