"""The pictures of the operators' page in the documents show the page as it is; a browser is not needed to know that.

`make pictures` writes beside them what each was drawn from: the page's own bytes, its style sheet, the view.
"""

import hashlib
import json
import re

import pytest

from hsm_verifier.admin import office
from lab.pictures import RECORD, VIEWS, drawn_from, made_up_page, of_file
from tests.documents import ROOT, text_of

PICTURES = ROOT / "docs/pictures"
DRAWN = json.loads((PICTURES / RECORD).read_text())


def test_each_picture_is_made_by_make_pictures_and_shown_by_a_document() -> None:
    made = [f"{name}.png" for name, *_ in VIEWS]
    assert list(DRAWN) == made
    assert {path.name for path in PICTURES.iterdir()} == {*made, RECORD}
    documents = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
    shown = {
        (str(document), name)
        for document in documents
        for name in re.findall(r"\]\((?:docs/)?pictures/([^)]+)\)", text_of(str(document)))
    }
    assert sorted(name for _, name in shown) == sorted(made)
    assert "@$(PY) -m lab.pictures docs/pictures\n" in text_of("Makefile")


def test_each_picture_is_the_one_that_was_taken() -> None:
    for name, record in DRAWN.items():
        assert of_file(PICTURES / name) == record["picture"], f"{name}: run `make pictures`"


def test_each_picture_shows_the_page_as_it_is() -> None:
    with made_up_page() as operators:
        now = {f"{view[0]}.png": drawn_from(operators, view) for view in VIEWS}
    assert now == {name: one["drawn_from"] for name, one in DRAWN.items()}, "run `make pictures`"


def test_another_style_or_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names its style sheet by the hash of what is in it; a word stands for every template and figure."""
    view = next(one for one in VIEWS if one[0] == "grant")
    for name, address in office.ADDRESSES.items():
        assert hashlib.sha256(office.STATIC[name]).hexdigest()[:16] in address
    with made_up_page() as operators:
        seen = {drawn_from(operators, view), drawn_from(operators, (*view[:4], "dark"))}
        monkeypatch.setitem(office.ADDRESSES, "admin.css", "/static/admin.00000000.css")
        seen.add(drawn_from(operators, view))
    assert len(seen) == 3
