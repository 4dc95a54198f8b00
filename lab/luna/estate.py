"""Knows how to set up the whole Luna half at once: appliances with partitions, a client that they know, its tools.

with Estate() as estate:
    client = estate.install("10.4", tmp_path)  # below this root; 5.1, 5.4, 6.2, 7.3, 10.4, silent
    bundle = estate.bundle()  # what the verifying party would hand over
    ...  # join by the agent, or by hand: client.tool("vtl"), client.tool("lunacm")
    estate.appliances[1].down = True  # its switches turn while it runs
    client.switch(newGroup="hang")  # and so do the tools'
    assert estate.tries == 2
    assert not any(call.pin_elsewhere for call in client.calls())
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from hsm_enrol.wire.bundle import Bundle, Ha, Pin, Server
from hsm_enrol.wire.bundle import Client as BundleClient
from lab.luna.appliance import Appliance
from lab.luna.certificates import LunaPair, cached_key, client_pair
from lab.luna.client import Client, install_client
from lab.luna.partition import Partition

FIRST_APPLIANCE, FIRST_PARTITION = 679797, 156908040  # numbers in the shape of those in published texts


class Estate:
    """N appliances with a partition each, one PIN and one client pair for all; until `stop` or the end of the block.

    named: appliances are called hsm1.lab, hsm2.lab and so on, which only the stand-in tools can dial; else they are
    loopback addresses of their own, 127.0.0.11 and up, that anybody can. `servers` holds the ports really listened on.
    """

    def __init__(
        self,
        *,
        appliances: int = 2,
        label: str = "web-ha",
        pin: str = "Kuchen-7!mit Sahne",
        named: bool = False,
        client_name: str = "web",
    ) -> None:
        """Make everything; nothing listens before `start`."""
        self.label = label
        self.pin = pin
        self.client_name = client_name
        self.client: LunaPair = client_pair(client_name, cached_key(f"client {client_name}"))
        self.appliances: list[Appliance] = []
        self._addresses: list[str] = []
        self._running = ExitStack()
        for at in range(appliances):
            partition = Partition(serial=str(FIRST_PARTITION + at), label=f"par{at + 1}", pin=pin)
            host = f"127.0.0.{11 + at}"
            appliance = Appliance(str(FIRST_APPLIANCE + at), [partition], host=host)
            appliance.register(client_name, self.client.certificate)
            self.appliances.append(appliance)
            self._addresses.append(f"hsm{at + 1}.lab" if named else host)

    @property
    def servers(self) -> tuple[Server, ...]:
        """Give the appliances as a bundle has them, with their certificates of now."""
        pairs = zip(self._addresses, self.appliances, strict=True)
        return tuple(Server(address=name, port=one.port, certificate=one.certificate) for name, one in pairs)

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Give all partitions, in the order of their appliances."""
        return tuple(partition for one in self.appliances for partition in one.partitions.values())

    @property
    def members(self) -> tuple[str, ...]:
        """Give the partitions' serials."""
        return tuple(one.serial for one in self.partitions)

    @property
    def tries(self) -> int:
        """Count the PIN tries spent, right or wrong, on all partitions."""
        return sum(one.tries for one in self.partitions)

    @property
    def dial(self) -> Mapping[str, tuple[str, int]]:
        """Give where each address is really listened on."""
        return {name: (one.host, one.port) for name, one in zip(self._addresses, self.appliances, strict=True)}

    def bundle(self, *, serial: int = 1, pin_id: str = "pin-2026a", only: bool = True, retry: int = -1) -> Bundle:
        """Give the bundle that makes a host a member of this estate's group."""
        return Bundle(
            serial=serial,
            client=BundleClient(
                name=self.client_name, certificate=self.client.certificate, private_key=self.client.key
            ),
            servers=self.servers,
            ha=Ha(label=self.label, members=self.members, only=only, retry=retry, interval=60),
            pin=Pin(id=pin_id, value=self.pin),
        )

    def install(
        self,
        generation: str,
        root: Path,
        *,
        minimal: bool = False,
        linked: bool = False,
        receive_timeout: int = 20000,
        notes: Path | None = None,
    ) -> Client:
        """Install a client below `root` that can dial this estate; options as of lab.luna.client.install_client."""
        return install_client(
            root,
            generation,
            self.dial,
            minimal=minimal,
            linked=linked,
            receive_timeout=receive_timeout,
            notes=notes,
        )

    def renew_client(self) -> LunaPair:
        """Give the client another pair of the same subject; the appliances let both in, as in a rotation."""
        self.client = client_pair(self.client_name, cached_key(f"client {self.client_name} renewed"))
        for appliance in self.appliances:
            appliance.register(f"{self.client_name}-renewed", self.client.certificate)
        return self.client

    def start(self) -> Self:
        """Let all appliances serve."""
        with ExitStack() as stack:
            for one in self.appliances:
                stack.enter_context(one)
            self._running = stack.pop_all()
        return self

    def stop(self) -> None:
        """End them all; safe to call twice."""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
