"""Knows how to print what a word of ours means: what happened, what to do, what to type, how the run ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from hsm_enrol.cli.out import show, show_json, wrapped
from hsm_enrol.errors import Usage
from hsm_enrol.explain import Explained, explain, words

_SAID_BY = {
    "status": "exit status",
    "fault": "fault",
    "event": "journal entry",
    "verifier": "the verifier's word",
}


def show_meaning(word: str, *, as_json: bool) -> int:
    """Print every meaning. Raises Usage for a word that is not ours."""
    found = explain(word.strip())
    if not found:
        near = difflib.get_close_matches(word, words(), n=1)
        raise Usage(fault=f"no reason, status or message id is called {word!r}" + (f"; {near[0]}?" if near else ""))
    if as_json:
        show_json({"meanings": [_members(one) for one in found]})
    else:
        show("\n\n".join("\n".join(_lines(one)) for one in found))
    return 0


def _members(one: Explained) -> dict[str, object]:
    return {
        "word": one.word,
        "kind": one.kind,
        "happened": one.happened,
        "do": one.do,
        "next": one.then,
        "exit_status": one.status,
        "message_id": one.message_id,
        "reasons": list(one.reasons),
    }


def _lines(one: Explained) -> Iterator[str]:
    """Give the lines for a person; what is to be typed is never broken."""
    yield f"{one.word} ({_SAID_BY[one.kind]})"
    yield from _labelled("happened", one.happened)
    yield from _labelled("means" if one.kind == "event" else "do", one.do)
    if one.then:
        yield f"  {'next':<12}{one.then}"
    if one.status is not None and one.kind != "status":
        yield f"  {'exit status':<12}{one.status}"
    if one.message_id:
        yield f"  {'MESSAGE_ID':<12}{one.message_id}"
    yield from _labelled("reasons", " ".join(one.reasons))


def _labelled(label: str, text: str) -> list[str]:
    return wrapped(text, f"  {label:<12}", " " * 14)
