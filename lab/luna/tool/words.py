"""Knows how the tools read their command line: any case, and prefixes are enough (seen: `vtl ver`, `-l`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lab.luna.tool.vtl_texts import COMMAND_USAGE
from lab.luna.tool.world import World


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


def begin(
    world: World, command: str, words: Sequence[str], known: Mapping[str, bool], *, need: Sequence[str] = ()
) -> dict[str, str]:
    """Name vtl's command and read its options; ends with a usage text when they are not understood."""
    world.begin(command)
    given = options(words, known)
    if given is None or not all(given.get(one) for one in need) or world.fault("usage"):
        wanted = " ".join(f"-{one} <{one}>" for one in known)
        world.leave(COMMAND_USAGE.format(command, wanted), world.generation.usage_status)
    return given
