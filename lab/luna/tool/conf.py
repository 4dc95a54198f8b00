"""Knows how to read Chrystoki.conf and to write it whole, in the layout of the client's generation.

Rewriting the whole file, in place, losing comments, is made up to the worst reading: what the real tools do to foreign
formatting is not in the public record. The switches `rewrite` and `comments` choose others.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from lab.luna.tool.world import World

CLIENT, TOKENS, SYNCHRONIZE, HA = "LunaSA Client", "VirtualToken", "HASynchronize", "HAConfiguration"


class Conf:
    """The file: sections in order, each a dict of keys; comments are kept apart, by the section they stand in."""

    def __init__(self, world: World) -> None:
        self._world = world
        folder = os.environ.get("ChrystokiConfigurationPath")  # noqa: SIM112  the client spells it so
        self.path = world.place(f"{folder}/Chrystoki.conf" if folder else "/etc/Chrystoki.conf")
        self.sections: dict[str, dict[str, str]] = {}
        self._comments: dict[str, list[str]] = {}
        try:
            with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError:
            world.leave("Error: Unable to open the configuration file.", 1)
        here = ""
        for raw in text.split("\n"):
            line = raw.strip()
            if line.startswith("#"):
                self._comments.setdefault(here, []).append(line)
            elif line.endswith("{"):
                here = line[:-1].rstrip(" =\t")
                self.sections.setdefault(here, {})
            elif line.startswith("}"):
                here = ""
            elif here and "=" in line:
                key, _, value = line.partition("=")
                self.sections[here][key.strip()] = value.strip().rstrip(";").strip().strip("'\"")

    def get(self, section: str, key: str) -> str:
        """Give a value, empty when there is none."""
        return self.sections.get(section, {}).get(key, "")

    def put(self, section: str, key: str, value: str) -> None:
        """Set a value."""
        self.sections.setdefault(section, {})[key] = value

    def drop(self, section: str, key: str) -> None:
        """Take a key away."""
        self.sections.get(section, {}).pop(key, None)

    def numbered(self, section: str, before: str, after: str = "") -> Iterator[tuple[int, str]]:
        """Give number and value of keys like ServerName00 or VirtualToken00Label, by number."""
        found = []
        for key, value in self.sections.get(section, {}).items():
            digits = key.removeprefix(before).removesuffix(after)
            if key == f"{before}{digits}{after}" and digits.isdigit():
                found.append((int(digits), value))
        yield from sorted(found)

    def free(self, section: str, before: str, after: str = "") -> int:
        """Give the lowest number that no such key has."""
        taken = {number for number, _ in self.numbered(section, before, after)}
        return next(number for number in range(100) if number not in taken)

    def servers(self) -> list[str]:
        """Give the appliances' addresses in order."""
        return [name for _, name in self.numbered(CLIENT, "ServerName")]

    def port(self, server: str) -> str:
        """Give the port that an appliance is dialled on."""
        numbers = [number for number, name in self.numbered(CLIENT, "ServerName") if name == server]
        return self.get(CLIENT, f"ServerPort{numbers[0]:02}") if numbers else ""

    def save(self) -> None:
        """Write the file whole, with the faults that are switched on."""
        world = self._world
        if world.fault("lies"):
            return
        if world.fault("foreign-key"):
            self.put("Luna", "DefaultTimeOut", "1")
        data = self.text().encode("utf-8", "surrogateescape")
        target = self.path + ".new" if world.switches["rewrite"] == "rename" else self.path
        with open(target, "wb") as file:
            if world.fault("truncate"):
                file.write(data[: len(data) // 2])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            file.write(data)
        if target != self.path:
            os.rename(target, self.path)

    def text(self) -> str:
        """Write the text in the generation's layout."""
        layout = self._world.generation.layout
        keep = self._world.switches["comments"]
        parts = ["".join(f"{one}\n" for one in self._comments.get("", ()))] if keep and "" in self._comments else []
        for section, entries in self.sections.items():
            lines = [f"{section}{layout.equals}{{"]
            lines += [f"{layout.indent}{one}" for one in self._comments.get(section, ()) if keep]
            for key, value in entries.items():
                indent = layout.indent[1:] if key in layout.odd else layout.indent
                lines.append(f"{indent}{key}{layout.equals}{value};")
            parts.append("\n".join([*lines, "}\n"]))
        return ("\n" if layout.spaced else "").join(parts)
