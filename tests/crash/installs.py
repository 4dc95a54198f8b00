"""Whole installations to be stopped at every system call: fresh by the editor, a rotation, a mend, a departure.

No tool runs in them (tools are other processes, stopped elsewhere), so nothing is random but the journal's name.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from hsm_enrol.at_work import Host, recover
from hsm_enrol.host.state import RUN
from hsm_enrol.host.voice import Voice
from hsm_enrol.install import Wanted, install
from hsm_enrol.model import Desired
from hsm_enrol.pin_memory import no_pin
from hsm_enrol.record import Record, desired_from_bundle, without_secrets
from hsm_enrol.settings import DeliverSettings
from hsm_enrol.wire.bundle import Bundle
from lab.luna.certificates import appliance_pair, cached_key, client_pair
from lab.luna.estate import FIRST_APPLIANCE, Estate
from tests.crash.stories import Story
from tests.played_host import PlayedHost

JAVA = "/etc/java.security"
PROVIDERS = "security.provider.1=SUN\nsecurity.provider.2=SunRsaSign\n"


class Installs:
    """One host, built anew at the same place for each story; appliances are known and never asked."""

    def __init__(self) -> None:
        self.estate = Estate()
        self.first = self.estate.bundle()
        self.second = second_bundle(self.first)
        self.host: PlayedHost

    def fresh(self, root: Path) -> None:
        """A client as it was installed, its conf behind a link, a folder missing, a JDK."""
        self.host = PlayedHost(root, self.estate, "7.3", join="config", linked=True)
        self.host.set(deliver=DeliverSettings(java_security=(JAVA,)))
        self.host.path(JAVA).write_text(PROVIDERS)
        self.host.client.below("cert/server").rmdir()
        lock = self.host.path(f"{RUN}/lock")
        lock.parent.mkdir()
        lock.parent.chmod(0o755)
        lock.touch(mode=0o600)
        self.host.path("/var/lib/hsm-enrol").mkdir(mode=0o700)

    def joined(self, root: Path) -> None:
        """The same, joined."""
        self.fresh(root)
        self.join(root)

    def harmed(self, root: Path) -> None:
        """Joined, then the conf as on the first day, the CA file emptied, a key that anybody may read."""
        self.fresh(root)
        conf = self.host.conf
        self.join(root)
        self.host.client.conf.write_text(conf)
        (self.host.client.below("cert/server") / "CAFile.pem").write_bytes(b"")
        for key in self.host.client.below("cert/client").glob("*Key.pem"):
            key.chmod(0o644)

    def join(self, _: Path) -> None:
        """Install the first bundle."""
        self._install(self.first)

    def rotate(self, _: Path) -> None:
        """Install a bundle with another pair, one appliance rekeyed, the other gone, another label."""
        self._install(self.second)

    def mend(self, _: Path) -> None:
        """Mend from the record."""
        self.host.mend()

    def leave(self, _: Path) -> None:
        """Take the host out."""
        self.host.leave()

    @staticmethod
    def recover(root: Path) -> None:
        """Do what every writing command does first."""
        recover(str(root), Voice(stream=io.StringIO()))

    def _install(self, bundle: Bundle) -> None:
        with self.host.at_work() as host:
            desired = desired_from_bundle(bundle, host.site.paths(bundle.client.name, bundle.client.certificate))
            install(_wanted(host, desired), host.site, host.lock, host.run.voice)


def second_bundle(first: Bundle) -> Bundle:
    """Give a bundle with another pair, one appliance rekeyed, the other gone, another label."""
    renewed = client_pair(first.client.name, cached_key("renewed"))
    client = dataclasses.replace(first.client, certificate=renewed.certificate, private_key=renewed.key)
    rekeyed = appliance_pair(str(FIRST_APPLIANCE), cached_key("rekeyed")).certificate
    server = dataclasses.replace(first.servers[0], certificate=rekeyed)
    ha = dataclasses.replace(first.ha, label="pay-ha", members=first.ha.members[:1])
    return dataclasses.replace(first, serial=2, client=client, servers=(server,), ha=ha)


def _wanted(host: Host, desired: Desired) -> Wanted:
    before = host.record.before if host.record is not None else None

    def record(reached: Desired, tx: str, before: dict[str, str | None]) -> Record:
        installed = without_secrets(reached)
        return Record(agent="1", instance_id=host.instance, tx=tx, installed=installed, before=before)

    return Wanted(
        desired=desired,
        former=host.former,
        by_tools=False,
        proven=False,
        pin=no_pin(),
        before=dict(before) if before is not None else None,
        record=record,
        settings_path=host.run.settings_path,
    )


def stories() -> dict[str, Story]:
    """Give the stories; they share one host's place, so one is told at a time."""
    one = Installs()
    return {
        "fresh": Story(build=one.fresh, act=one.join, recover=one.recover),
        "rotation": Story(build=one.joined, act=one.rotate, recover=one.recover),
        "mend": Story(build=one.harmed, act=one.mend, recover=one.recover),
        "leave": Story(build=one.joined, act=one.leave, recover=one.recover),
    }
