"""Knows what our documents show: fenced blocks, manual pages' examples, and commands within a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.documents import ROOT, text_of

# In the order of one host's life; then everything else there is, so that a new document is read without being listed.
FIRST = ("README.md", "docs/operating.md")
MANUALS = tuple(f"docs/man/{path.name}" for path in sorted((ROOT / "docs/man").iterdir()))
DOCUMENTS = FIRST + tuple(
    name for path in sorted((ROOT / "docs").rglob("*.md")) if (name := str(path.relative_to(ROOT))) not in FIRST
)
_ESCAPES = {r"\e": "\\", r"\-": "-", r"\(ga": "`", r"\&": ""}


@dataclass(frozen=True, slots=True)
class Block:
    """One thing shown: `language` as written behind the fence; continued lines of `sh` are joined."""

    document: str
    language: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Give it as it is written, the joined lines apart."""
        return "\n".join(self.lines)

    @property
    def name(self) -> tuple[str, str, str]:
        """Give what tells it from the others: document, language and first line."""
        return (self.document, self.language, self.lines[0] if self.lines else "")


def blocks() -> list[Block]:
    """Give every fenced block of every document, then the manual pages' examples, in the order of reading."""
    found = [one for name in DOCUMENTS for one in _fenced(name)]
    return found + [one for name in MANUALS for one in _examples(name)]


def _fenced(name: str) -> list[Block]:
    text = text_of(name)
    pairs = re.findall(r"^ *(?:```|~~~)([^\n]*)\n(.*?)^ *(?:```|~~~) *$", text, re.MULTILINE | re.DOTALL)
    assert len(pairs) * 2 == len(re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE)), f"{name}: a fence is not closed"
    return [Block(name, language, tuple(_joined(body).splitlines())) for language, body in pairs]


def _examples(name: str) -> list[Block]:
    """Give a manual page's examples: each displayed line (.Dl) is a command, a display (.Bd) of `[` is settings."""
    _, _, rest = text_of(name).partition("\n.Sh EXAMPLES\n")
    section, found = rest.partition("\n.Sh ")[0], []
    for display, line in re.findall(r"^\.Bd -literal\n(.*?)^\.Ed$|^\.Dl ([^\n]*)$", section, re.MULTILINE | re.DOTALL):
        body = _plain(display or line)
        found.append(Block(name, "toml" if body.startswith("[") else "sh", tuple(_joined(body).splitlines())))
    return found


def _plain(text: str) -> str:
    return re.sub(r"\\(?:e|-|\(ga|&)", lambda match: _ESCAPES[match[0]], text)


def _joined(text: str) -> str:
    return re.sub(r"\\\n *", "", text)


def commands_in_prose() -> list[tuple[str, str]]:
    """Give document and command of each `hsm-enrol ...` and `hsm-verifier ...` in running text and tables."""
    found = []
    for name in DOCUMENTS:
        prose = re.sub(r"^```.*?^```", "", text_of(name), flags=re.MULTILINE | re.DOTALL)
        commands = re.findall(r"`((?:sudo )?hsm-(?:enrol|verifier)\s[^`]*)`", prose)
        found += [(name, " ".join(one.removeprefix("sudo ").split())) for one in commands]
    for name in MANUALS:
        commands = re.findall(
            r"^\.(?:Dl|Ql) ((?:sudo )?hsm(?:\\-|-)(?:enrol|verifier) \w.*)$", text_of(name), re.MULTILINE
        )
        found += [(name, _plain(one).removeprefix("sudo ")) for one in commands]
    return found
