"""The pictures in docs/diagrams are what their texts say."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lab.diagrams import FOLDER, DiagramError, draw

TEXTS = sorted(FOLDER.glob("*.txt"))


def shown(svg: str) -> str:
    return " ".join(text for text in ET.fromstring(svg).itertext() if text.strip())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_picture_is_drawn_from_the_text_beside_it(path: Path) -> None:
    assert path.with_suffix(".svg").read_text("utf-8") == draw(path.read_text("utf-8"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_word_of_the_text_is_in_the_picture(path: Path) -> None:
    seen = shown(path.with_suffix(".svg").read_text("utf-8"))
    for line in path.read_text("utf-8").splitlines():
        text = re.sub(r"^(== |[^:]*: )", "", line.strip())
        for part in re.split(r" [/|] ", text.replace("`", "")):
            assert part in seen


def test_no_picture_is_left_without_its_text() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} == {path.stem for path in TEXTS} >= {"enrol", "slot", "gate"}


def test_a_text_cannot_become_markup() -> None:
    svg = draw("title: a<b\npeople: A & B | C\nA & B -> C: <script>\nnote C: x")
    assert "<script>" not in svg
    assert "<script>" in shown(svg)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "title: nothing",
        "people: A\n",
        "title: x\npeople: A | B\nA -> C: hello",
        "title: x\nstate A at 0,0: a\nA => A: b",
    ],
)
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(DiagramError):
        draw(text)
