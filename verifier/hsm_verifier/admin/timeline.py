"""Knows how to lay moments out as bars: how many instances were served and refused in each part of a span of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hsm_verifier.admin.words import moment

WIDTH, HEIGHT, GAP = 960.0, 120.0, 2.0  # the drawing's own units; it is stretched to the page
SPANS = {"24h": (86400.0, 48), "7d": (7 * 86400.0, 56), "30d": (30 * 86400.0, 60)}
"""Seconds, and how many bars: half an hour, three hours, half a day each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One part of the span: where it stands, its two heights, and what it says."""

    x: float
    width: float
    served_y: float
    served_height: float
    refused_y: float
    refused_height: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All bars, the highest count, and the sums."""

    bars: tuple[Bar, ...]
    most: int
    served: int
    refused: int
    begin: float
    end: float


def draw(served: Iterable[float], refused: Iterable[float], *, span: str, now: float) -> Timeline:
    """Count moments (Unix seconds) into bars; refused stand upon served. `span` is a key of SPANS."""
    seconds, parts = SPANS[span]
    step = seconds / parts
    begin = (now // step + 1) * step - seconds  # whole parts: the same moment stays in the same bar as time goes on
    counts = [[0, 0] for _ in range(parts)]
    for which, moments in enumerate((served, refused)):
        for one in moments:
            place = int((one - begin) // step)
            if 0 <= place < parts:
                counts[place][which] += 1
    most = max((sum(pair) for pair in counts), default=0)
    scale = HEIGHT / most if most else 0.0
    width = WIDTH / parts
    return Timeline(
        bars=tuple(
            Bar(
                x=round(place * width + GAP / 2, 2),
                width=round(width - GAP, 2),
                served_y=round(HEIGHT - good * scale, 2),
                served_height=round(good * scale, 2),
                refused_y=round(HEIGHT - (good + bad) * scale, 2),
                refused_height=round(bad * scale, 2),
                says=f"{moment(begin + place * step)}: {good} served, {bad} refused",
            )
            for place, (good, bad) in enumerate(counts)
        ),
        most=most,
        served=sum(pair[0] for pair in counts),
        refused=sum(pair[1] for pair in counts),
        begin=begin,
        end=begin + seconds,
    )
