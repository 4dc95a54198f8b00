"""Somebody who works the stand-in tools by hand: on a terminal, with the agent's own runner and its own words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hsm_enrol import luna
from hsm_enrol.host.tools import ToolRun, run_tool
from lab.luna.client import Client
from lab.luna.estate import Estate

# Which words found a group in which generation; in `silent` none does without the PIN among them.
DIALECT = {"5.1": "vtl-dashed", "5.4": "vtl", "6.2": "vtl", "7.3": "lunacm", "10.4": "lunacm"}
GENERATIONS = (*DIALECT, "silent")


@dataclass(kw_only=True)
class Hand:
    """One host's operator."""

    estate: Estate
    client: Client
    objects: str = "quit"
    timeout: float = 30

    def run(self, tool: str, *words: str, pin: str | None = None, timeout: float | None = None) -> ToolRun:
        return run_tool(
            [self.client.tool(tool), *words],
            pin=bytearray(pin.encode()) if pin is not None else None,
            timeout=timeout or self.timeout,
            env_conf=self.client.env_conf,
            lock_fd=None,
            existing_objects=self.objects,
            stop=lambda: False,
            question=luna.question,
        )

    @property
    def dialect(self) -> str:
        return DIALECT[self.client.generation]

    def conf(self) -> dict[str, str]:
        """Give all keys of the conf, read as simply as can be."""
        return dict(re.findall(r"^\s*([^\s=#]+)\s*=\s*([^{\n]*);$", self.client.conf.read_text(), re.MULTILINE))

    def put_pair(self) -> None:
        """Put the shared pair where the conf will name it, and name it there."""
        folder = self.client.below("cert/client")
        (folder / "web.pem").write_text(self.estate.client.certificate)
        (folder / "webKey.pem").write_text(self.estate.client.key)
        text = self.client.conf.read_text()
        for key, name in (("ClientCertFile", "web.pem"), ("ClientPrivKeyFile", "webKey.pem")):
            text = re.sub(rf"({key}\s*=\s*)[^;]*;", rf"\g<1>{self.client.prefix}/cert/client/{name};", text)
        self.client.conf.write_text(text)

    def add_servers(self) -> None:
        """Put the pair, register all appliances."""
        self.put_pair()
        for server in self.estate.servers:
            file = self.client.root / "server.pem"
            file.write_text(server.certificate)
            ran = self.run("vtl", *luna.add_server(server.address, str(file)))
            assert luna.added(ran.output), ran.output
            assert ran.status == 0

    def verify(self) -> tuple[str, ...] | None:
        """Give the serials that `vtl verify` lists."""
        found = luna.partitions(self.run("vtl", *luna.verify()).output)
        return None if found is None else tuple(one.serial for one in found)

    def new_group(self, pin: str | None = None) -> ToolRun:
        words = luna.new_group(self.dialect, self.estate.label, self.estate.members[0])
        return self.run(luna.program(self.dialect), *words, pin=pin or self.estate.pin)

    def add_member(self, number: str, pin: str | None = None) -> ToolRun:
        words = luna.add_member(self.dialect, self.estate.label, number, self.estate.members[1])
        return self.run(luna.program(self.dialect), *words, pin=pin or self.estate.pin)

    def show(self) -> ToolRun:
        return self.run(luna.program(self.dialect), *luna.show(self.dialect, self.estate.label))

    def join(self) -> None:
        """Do all of it, looking at each answer."""
        self.add_servers()
        founded = self.new_group()
        number = luna.group_number(founded.output)
        assert number, founded.output
        joined = self.add_member(number)
        assert not luna.is_error(joined.output), joined.output


def joined(estate: Estate, generation: str, root: Path) -> Hand:
    """Give a host that has joined."""
    hand = Hand(estate=estate, client=estate.install(generation, root))
    hand.join()
    return hand
