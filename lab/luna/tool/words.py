"""Knows how the tools read their command line: any case, and prefixes are enough (seen: `vtl ver`, `-l`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def pick(word: str, known: Iterable[str]) -> str | None:
    """Find the word among those that are known: the whole word, else the first that it begins; None for neither."""
    spelled = word.lower()
    found = [one for one in known if one.lower().startswith(spelled)] if spelled else []
    return next((one for one in found if one.lower() == spelled), found[0] if found else None)


def options(words: Sequence[str], known: Mapping[str, bool]) -> dict[str, str] | None:
    """Read `-name value` pairs and `-flag`s; `known` tells which takes a value. None: not understood."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name = pick(word[1:], known) if word.startswith("-") else None
        if name is None or (known[name] and not rest):
            return None
        found[name] = rest.pop(0) if known[name] else ""
    return found
