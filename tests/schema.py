"""Knows how to find out which members the code reads, and by which rule: it listens while a good specimen is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from hsm_enrol.wire.strict import MAX_INT, Fields

Schema = dict[str, dict[str, str]]


@contextmanager
def listening(names: Mapping[str, str]) -> Iterator[Schema]:
    """Give object -> member -> form, in the words of docs/protocol.md; `names` is grammar -> its name there."""
    seen: Schema = {}

    def named(grammar: str) -> str:
        return names.get(grammar, f"a grammar that is not in the document: {grammar}")

    def integer(least: int = 0, most: int = MAX_INT) -> str:
        return f"integer {least}..{'2^53-1' if most == MAX_INT else most}"

    forms: dict[str, Callable[..., str]] = {
        "take": lambda: "text",  # the others take, and then say more
        "text": named,
        "integer": integer,
        "boolean": lambda: "true or false",
        "word": lambda *words: "one of: " + ", ".join(words),
        "items": lambda least, most: f"{least} to {most} objects",
        "texts": lambda grammar, least, most: f"{least} to {most} of {named(grammar)}",
        "fields": lambda: "object",
    }

    def heard(method: str, form: Callable[..., str]) -> Callable[..., Any]:
        original = getattr(Fields, method)

        def read(self: Fields, name: str, *args: Any, **kwargs: Any) -> Any:
            value = original(self, name, *args, **kwargs)
            seen.setdefault(self._where, {})[name] = form(*args, **kwargs)
            return value

        return read

    with ExitStack() as patches:
        for method, form in forms.items():
            patches.enter_context(patch.object(Fields, method, heard(method, form)))
        yield seen
