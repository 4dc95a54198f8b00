"""Somebody who works the stand-in tools by hand: on a terminal, with the agent's own runner and its own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsm_enrol import chrystoki, luna
from hsm_enrol.chrystoki import CLIENT, SYNCHRONIZE, TOKENS
from hsm_enrol.host.tools import ToolRun, run_tool
from hsm_enrol.model import Change
from lab.luna.client import MINIMAL, MINIMAL_CERTS, Client
from lab.luna.estate import Estate

# Which words found a group in which generation; in `silent` none does without the PIN among them.
DIALECT = {"5.1": "vtl-dashed", "5.4": "vtl", "6.2": "vtl", "7.3": "lunacm", "10.4": "lunacm"}
GENERATIONS = (*DIALECT, "silent")


@dataclass(kw_only=True)
class Hand:
    """One host's operator. `put_…` does by files what the tools would do, for tests that are about something else."""

    estate: Estate
    client: Client
    objects: str = "quit"
    timeout: float = 60
    stop: Callable[[], bool] = lambda: False

    def run(self, tool: str, *words: str, pin: str | None = None) -> ToolRun:
        return run_tool(
            [self.client.tool(tool), *words],
            pin=bytearray(pin.encode()) if pin is not None else None,
            timeout=self.timeout,
            env_conf=self.client.env_conf,
            lock_fd=None,
            existing_objects=self.objects,
            stop=self.stop,
            question=luna.question,
        )

    @property
    def dialect(self) -> str:
        return DIALECT[self.client.generation]

    def conf(self) -> dict[str, str]:
        """Give all keys of the conf, read as simply as can be."""
        return dict(re.findall(r"^\s*([^\s=#]+)\s*=\s*([^{\n]*);$", self.client.conf.read_text(), re.MULTILINE))

    def edit(self, wanted: Mapping[tuple[str, str], str]) -> None:
        text = self.client.conf.read_text()
        conf = chrystoki.parse(text)
        changes = [
            Change(section=section, key=key, old=chrystoki.get(conf, section, key), new=value)
            for (section, key), value in wanted.items()
        ]
        self.client.conf.write_text(chrystoki.with_changes(text, changes))

    def put_pair(self) -> None:
        where = MINIMAL_CERTS if self.client.prefix == MINIMAL else "cert/client"
        folder = self.client.below(where)
        (folder / "web.pem").write_text(self.estate.client.certificate)
        (folder / "webKey.pem").write_text(self.estate.client.key)
        path = f"{self.client.prefix}/{where}/web"
        self.edit({(CLIENT, "ClientCertFile"): f"{path}.pem", (CLIENT, "ClientPrivKeyFile"): f"{path}Key.pem"})

    def put_servers(self) -> None:
        self.put_pair()
        folder = self.client.below("cert/server")
        (folder / "CAFile.pem").write_text("".join(one.certificate for one in self.estate.servers))
        wanted = {(CLIENT, "ServerCAFile"): f"{self.client.prefix}/cert/server/CAFile.pem", (CLIENT, "NetClient"): "1"}
        for at, server in enumerate(self.estate.servers):
            (folder / f"{server.address}Cert.pem").write_text(server.certificate)
            for key, value in (("Name", server.address), ("Port", str(server.port)), ("Htl", "0")):
                wanted[CLIENT, f"Server{key}{at:02}"] = value
        self.edit(wanted)

    def put_group(self) -> None:
        self.put_servers()
        rows = {"Label": self.estate.label, "SN": "77", "Members": ",".join(self.estate.members)}
        wanted = {(TOKENS, f"VirtualToken00{key}"): value for key, value in rows.items()}
        self.edit({**wanted, (SYNCHRONIZE, self.estate.label): "1"})

    def server_file(self) -> str:
        """Give the file that an appliance's certificate was brought in."""
        file = self.client.root / "server.pem"
        file.write_text(self.estate.servers[0].certificate)
        return str(file)

    def add_servers(self) -> None:
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
        """Do all of it by the tools, looking at each answer."""
        self.put_pair()
        self.add_servers()
        number = luna.group_number(self.new_group().output)
        assert number is not None
        ran = self.add_member(number)
        assert not luna.is_error(ran.output), ran.output


def host(estate: Estate, generation: str, root: Path) -> Hand:
    """Give a host whose appliances are registered."""
    hand = Hand(estate=estate, client=estate.install(generation, root))
    hand.put_servers()
    return hand


def member(estate: Estate, generation: str, root: Path) -> Hand:
    """Give a host that is in the group."""
    hand = Hand(estate=estate, client=estate.install(generation, root))
    hand.put_group()
    return hand
