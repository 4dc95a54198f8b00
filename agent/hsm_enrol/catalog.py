"""Knows how to word the journal's message catalog: one entry for each error and each event, for `journalctl -x`.

`python -m hsm_enrol.catalog >systemd/hsm-enrol.catalog` writes the file that the packages ship; a test compares them.
"""

from __future__ import annotations

import string
import sys

from hsm_enrol.errors import EnrolError, catalogue
from hsm_enrol.events import EVENTS, field_of


def catalog() -> str:
    """Give the catalog's text (https://www.freedesktop.org/wiki/Software/systemd/catalog/)."""
    entries = [_entry(event.message_id, event.subject, event.text) for event in EVENTS]
    entries += [_entry(kind.message_id, kind.says, _text(kind)) for kind in catalogue()]
    return "# The messages of hsm-enrol; made by `python -m hsm_enrol.catalog`.\n\n" + "\n".join(entries)


def _entry(message_id: str, subject: str, text: str) -> str:
    head = (
        f"-- {message_id}",
        f"Subject: {_filled(subject)}",
        "Defined-By: hsm-enrol",
        "Documentation: man:hsm-enrol(8)",
    )
    return "\n".join((*head, "", _filled(text), ""))


def _text(kind: type[EnrolError]) -> str:
    hint = f"{kind.hint}\n\n" if kind.hint else ""
    then = f"Next: {kind.then}\n\n" if kind.then else ""
    return f"{hint}{then}Exit status {kind.status} (`{kind.reason}`), in step {{step}} on instance {{instance}}."


def _filled(template: str) -> str:
    """Turn `{fact}` into the `@FIELD@` that journald fills in."""
    parts = string.Formatter().parse(template)
    return "".join(text + (f"@{field_of(name)}@" if name else "") for text, name, _, _ in parts)


if __name__ == "__main__":
    sys.stdout.write(catalog())
