"""Knows how to read an item of instance metadata as what it should be: a name, base64, a JSON object; or refuse it.

An error names the item and, for JSON, the member. It never holds the value, which may be a credential.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hsm_enrol.host.metadata import Metadata

if TYPE_CHECKING:
    import re


class Items(Metadata):
    """The metadata service with a grammar for each answer. Raises what `fetch` raises, and ImdsOdd."""

    def required(self, item: str) -> bytes:
        """Read an item that every instance has."""
        body = self.fetch(item)
        if body is None:
            raise self.odd(item, "absent")
        return body

    def text(self, item: str, pattern: re.Pattern[str], *, first_word: bool = False) -> str:
        """Read a required name or number; with `first_word`, what stands before the first space."""
        text = self.required(item).decode("ascii", "replace")
        return self._checked(item, text.split(" ")[0] if first_word else text, pattern)

    def optional(self, item: str, pattern: re.Pattern[str]) -> str | None:
        """Read what some instances have. 404 is absence (P8), and so is an empty body: public-hostname comes so too."""
        body = self.fetch(item)
        return self._checked(item, body.decode("ascii", "replace"), pattern) if body else None

    def base64_text(self, item: str, pattern: re.Pattern[str]) -> str:
        """Read base64, without the line breaks that IMDS puts in."""
        return self._checked(item, self.required(item).replace(b"\n", b"").decode("ascii", "replace"), pattern)

    def json_object(self, item: str, body: bytes | None = None) -> dict[str, object]:
        """Read a JSON object, or parse the `body` already read. AWS writes null for absent members here."""
        try:
            values = json.loads(self.required(item) if body is None else body, object_pairs_hook=_no_twins)
        except (ValueError, RecursionError):
            raise self.odd(item, "not JSON") from None  # the exception holds the whole text
        if not isinstance(values, dict):
            raise self.odd(item, "not a JSON object")
        return values

    def member(self, item: str, values: dict[str, object], name: str, pattern: re.Pattern[str]) -> str:
        """Give a required member of such an object."""
        value = values.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.odd(item, f"{name} is absent or out of form")
        return value

    def _checked(self, item: str, text: str, pattern: re.Pattern[str]) -> str:
        if not pattern.fullmatch(text):
            raise self.odd(item, "out of form")
        return text


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse an object with two readings."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values
