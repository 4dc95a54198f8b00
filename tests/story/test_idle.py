"""A run says "nothing to do" only where `status` finds no drift, and settings are what they were, wherever they lie."""

import datetime as dt
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hsm_enrol.host.site import Site
from hsm_enrol.idle import nothing_to_do
from hsm_enrol.settings import DeliverSettings
from hsm_enrol.status import read_status
from lab.luna.estate import Estate
from tests.played_host import GROUP, PlayedHost

NOW = dt.datetime.now(dt.UTC)
NO_GROUP = "root:x:0:\n"
WITH_GROUP = NO_GROUP + f"hsmusers:x:{GROUP}:\n"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    with Estate() as estate:
        made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
        made.set()
        yield made


def idle(host: PlayedHost) -> bool:
    return nothing_to_do(str(host.root), host.run.settings_path) is not None


def drift(host: PlayedHost) -> tuple[str, ...]:
    return read_status(Site.of(host.settings), ask_tools=False).problems(NOW)


def mended(host: PlayedHost) -> None:
    """See that nobody says "nothing to do" before it is so, and everybody afterwards."""
    assert not idle(host)
    assert host.mend() is True
    assert drift(host) == ()
    assert idle(host)


def test_a_group_that_comes_after_the_join_gets_the_key(host: PlayedHost) -> None:
    (host.root / "etc/group").write_text(NO_GROUP)
    host.take()
    assert idle(host)
    (host.root / "etc/group").write_text(WITH_GROUP)
    assert drift(host)
    mended(host)
    (key,) = host.client.below("cert/client").glob("*Key.pem")
    assert (key.stat().st_mode & 0o777, key.stat().st_gid) == (0o640, GROUP)


def test_a_group_that_goes_takes_the_key_away(host: PlayedHost) -> None:
    host.take()
    (host.root / "etc/group").write_text(NO_GROUP)
    assert drift(host)
    mended(host)


def test_a_change_of_groups_that_is_not_ours_is_looked_at_once_and_called_no_difference(host: PlayedHost) -> None:
    host.take()
    with (host.root / "etc/group").open("a") as table:
        table.write("another:x:4711:\n")
    assert drift(host) == ()
    assert not idle(host)
    assert host.mend() is False
    assert "nothing differs" in host.said.getvalue()
    assert idle(host)


def linked(path: Path) -> None:
    path.rename(f"{path}.elsewhere")
    path.symlink_to(f"{path}.elsewhere")


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_the_mode_of_ha_env(host: PlayedHost, mode: int) -> None:
    host.take()
    host.path("/run/hsm-enrol/ha.env").chmod(mode)
    assert drift(host)
    mended(host)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o644)


@pytest.mark.parametrize("harm", [linked, pipe])
def test_what_is_no_file_in_its_place_is_neither_believed_nor_waited_for(
    host: PlayedHost, harm: Callable[[Path], None]
) -> None:
    host.take()
    harm(host.path("/run/hsm-enrol/ha.env"))
    assert drift(host)
    assert not idle(host)


@pytest.mark.parametrize("links", [1, 2])
def test_settings_behind_a_link_are_looked_at_too(host: PlayedHost, links: int) -> None:
    settings = host.root / "etc/settings"
    settings.rename(host.root / "etc/real")
    for number in range(links - 1):
        (host.root / f"etc/link-{number}").symlink_to("real")
    settings.symlink_to("link-0" if links > 1 else str(host.root / "etc/real"))
    java = host.root / "etc/java.security"
    java.write_text("security.provider.1=SUN\n")
    host.take()
    assert idle(host)
    (host.root / "etc/real").write_text("other")
    host.settings = replace(host.settings, deliver=DeliverSettings(java_security=("/etc/java.security",)))
    assert drift(host)
    mended(host)
    if links > 1:
        (host.root / "etc/other").write_text("other still")
        (host.root / "etc/link-0").unlink()
        (host.root / "etc/link-0").symlink_to("other")
        assert not idle(host)


def test_a_java_security_that_becomes_another_jdks_is_looked_at(host: PlayedHost) -> None:
    for name in ("11", "21"):
        (host.root / f"etc/java-{name}").write_text("security.provider.1=SUN\n")
    link = host.root / "etc/java.security"
    link.symlink_to("java-11")
    host.set(deliver=DeliverSettings(java_security=("/etc/java.security",)))
    host.take()
    assert idle(host)
    link.unlink()
    link.symlink_to("java-21")
    assert drift(host)
    mended(host)
