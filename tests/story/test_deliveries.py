"""What applications get beside the slot: ha.env, the PIN if asked for, the Luna provider; kept right over reboots."""

import dataclasses
import datetime as dt
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from hsm_enrol.deliver import HA_ENV, PIN_CREDENTIAL, PIN_FILE
from hsm_enrol.host import credentials
from hsm_enrol.host.site import Site
from hsm_enrol.settings import DeliverSettings
from hsm_enrol.status import read_status
from lab.luna.estate import Estate
from tests.played_host import GROUP, PlayedHost
from tests.story.conftest import MakeWorld

NEEDS = Path(__file__).parents[2] / "packaging/dev/needs.sh"
JAVA, LATER = "/usr/lib/jvm/11/conf/security/java.security", "/usr/lib/jvm/21/conf/security/java.security"
PROVIDERS = "security.provider.1=SUN\nsecurity.provider.2=SunRsaSign\nkeystore.type=pkcs12\n"
LUNA = "com.safenetinc.luna.provider.LunaProvider"


@pytest.fixture(scope="module", autouse=True)
def _systemd() -> None:
    subprocess.run([NEEDS, "systemd-creds=systemd"], check=True, timeout=110)


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


@pytest.fixture
def host(estate: Estate, tmp_path: Path) -> PlayedHost:
    """A host that joins by the editor, with systemd's own program, whose host key is one of the test's."""
    made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
    made.set()
    seal_with(made, f'SYSTEMD_CREDENTIAL_SECRET={tmp_path}/host-key exec /usr/bin/systemd-creds "$@"')
    return made


def seal_with(host: PlayedHost, script: str) -> None:
    program = host.path(credentials.PROGRAM)
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def looks(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid)


def nowhere_but_in_the_pin_file(host: PlayedHost) -> None:
    pin = host.estate.pin.encode()
    found = [name for name, (_, content) in host.files().items() if isinstance(content, bytes) and pin in content]
    assert found in ([], [PIN_FILE.removeprefix("/")])


def test_the_key_is_for_a_group_and_certificates_are_for_all(host: PlayedHost) -> None:
    host.take()
    (key,) = host.client.below("cert/client").glob("*Key.pem")
    assert looks(key) == (0o640, 0, GROUP)
    public = [one for one in host.client.below("cert").rglob("*.pem") if one != key]
    assert len(public) == 4
    assert {looks(one) for one in public} == {(0o644, 0, 0)}
    assert looks(host.path(HA_ENV)) == (0o644, 0, 0)


def test_without_the_group_only_root_has_the_key_and_that_is_said(host: PlayedHost) -> None:
    host.path("/etc/group").write_text("root:x:0:\n")
    host.take()
    (key,) = host.client.below("cert/client").glob("*Key.pem")
    assert looks(key) == (0o600, 0, 0)
    assert "no group hsmusers here" in host.said.getvalue()
    host.path("/etc/group").write_text(f"root:x:0:\nhsmusers:x:{GROUP}:\n")
    assert host.mend() is True
    assert looks(key) == (0o640, 0, GROUP)


def test_the_pin_as_a_credential(host: PlayedHost) -> None:
    host.set(deliver=DeliverSettings(pin="credential"))
    host.take(trial=False)
    sealed = host.path(PIN_CREDENTIAL)
    assert looks(sealed) == (0o600, 0, 0)
    assert credentials.decrypt(sealed.read_bytes(), root=str(host.root)) == host.estate.pin.encode()
    assert not host.path(PIN_FILE).exists()
    nowhere_but_in_the_pin_file(host)
    record = host.record
    assert record is not None
    assert [row[4] for row in record.witness if str(row[0]).endswith("pin.cred")] == [""]  # a PIN is guessable
    assert host.mend() is False


def test_the_pin_as_a_file_comes_back_after_a_reboot_out_of_its_credential(host: PlayedHost) -> None:
    host.set(deliver=DeliverSettings(pin="file"))
    host.take(trial=False)
    assert host.path(PIN_FILE).read_text() == host.estate.pin
    assert looks(host.path(PIN_FILE)) == (0o440, 0, GROUP)
    calls = len(host.client.calls())
    for _ in range(2):
        host.reboot()
        assert host.mend() is True
        assert host.path(PIN_FILE).read_text() == host.estate.pin
        assert looks(host.path(PIN_FILE)) == (0o440, 0, GROUP)
        assert host.mend() is False
        nowhere_but_in_the_pin_file(host)
    assert len(host.client.calls()) == calls


def test_modes_of_what_holds_a_pin_are_mended(host: PlayedHost) -> None:
    host.set(deliver=DeliverSettings(pin="file"))
    host.take(trial=False)
    for path in (PIN_FILE, PIN_CREDENTIAL):
        host.path(path).chmod(0o666)
    assert host.mend() is True
    assert looks(host.path(PIN_FILE)) == (0o440, 0, GROUP)
    assert looks(host.path(PIN_CREDENTIAL)) == (0o600, 0, 0)
    assert host.mend() is False


@pytest.mark.parametrize("damaged", [False, True])
def test_the_pin_goes_with_the_host(host: PlayedHost, *, damaged: bool) -> None:
    host.set(deliver=DeliverSettings(pin="file"))
    host.take(trial=False)
    assert host.path(PIN_FILE).exists()
    if damaged:
        host.path("/var/lib/hsm-enrol/record.json").write_bytes(b"{")
        host.generalize()
    else:
        host.leave()
    assert (host.path(PIN_FILE).exists(), host.path(PIN_CREDENTIAL).exists()) == (False, False)


def test_what_the_settings_want_no_more_goes(host: PlayedHost) -> None:
    host.set(deliver=DeliverSettings(pin="file"))
    host.take(trial=False)
    host.set(deliver=DeliverSettings(pin="credential"))
    assert host.mend() is True
    assert (host.path(PIN_FILE).exists(), host.path(PIN_CREDENTIAL).exists()) == (False, True)
    host.set(deliver=DeliverSettings(pin="none"))
    assert host.mend() is True
    assert not host.path(PIN_CREDENTIAL).exists()
    assert host.mend() is False


@pytest.mark.parametrize("harm", ["gone", "damaged", "of another machine"])
def test_a_sealed_pin_that_does_not_open_is_a_warning_and_the_host_stays_a_member(
    host: PlayedHost, harm: str, tmp_path: Path
) -> None:
    host.set(deliver=DeliverSettings(pin="file"), join="tool")
    host.take()
    host.reboot()
    if harm == "gone":
        host.path(PIN_CREDENTIAL).unlink()
    elif harm == "damaged":
        host.path(PIN_CREDENTIAL).write_bytes(b"AAAA")
    else:
        (tmp_path / "host-key").unlink()
    host.mend()
    said = host.said.getvalue()
    assert ("pin.cred is gone" in said) == (harm == "gone")
    assert ("the sealed PIN does not open" in said) == (harm != "gone")
    assert not host.path(PIN_FILE).exists()
    assert "LUNA_HA_LABEL" in host.path(HA_ENV).read_text()
    missing = [PIN_CREDENTIAL, PIN_FILE] if harm == "gone" else [PIN_FILE]
    (said,) = warnings(host)
    assert said.startswith(f"deliver.pin wants {' and '.join(missing)}, and it is not there")


def warnings(host: PlayedHost) -> list[str]:
    return list(read_status(Site.of(host.settings), ask_tools=False).warnings(dt.datetime.now(dt.UTC)))


def test_a_status_tells_of_a_pin_that_the_settings_want_and_applications_did_not_get(host: PlayedHost) -> None:
    host.set(join="tool")
    host.take()
    assert warnings(host) == []
    host.set(deliver=DeliverSettings(pin="credential"), join="tool")
    host.mend()
    (said,) = warnings(host)
    assert said.startswith(f"deliver.pin wants {PIN_CREDENTIAL}, and it is not there")


def test_a_pin_that_the_installed_bundle_does_not_have_is_not_missed(host: PlayedHost) -> None:
    """No grant would bring it."""
    host.set(join="tool")
    host.take()
    host.take(dataclasses.replace(host.estate.bundle(serial=2), pin=None))
    host.set(deliver=DeliverSettings(pin="credential"), join="tool")
    host.said.truncate(0)
    host.mend()
    assert "is gone" not in host.said.getvalue()
    assert warnings(host) == []


def test_a_pin_that_nobody_proved_is_not_given_to_applications(host: PlayedHost) -> None:
    """On a trial without tools nothing proves it: each application would spend a try."""
    host.set(deliver=DeliverSettings(pin="file"))
    host.take(trial=True)
    assert not host.path(PIN_FILE).exists()
    assert not host.path(PIN_CREDENTIAL).exists()


def test_a_pin_that_a_tool_proved_here_is(host: PlayedHost) -> None:
    host.set(deliver=DeliverSettings(pin="file"), join="tool")
    host.take(trial=True)
    assert host.path(PIN_FILE).read_text() == host.estate.pin


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "echo half; exit 3"])
def test_a_pin_that_cannot_be_sealed_undoes_the_join(host: PlayedHost, script: str) -> None:
    host.set(deliver=DeliverSettings(pin="credential"))
    seal_with(host, script)
    error = host.fails(lambda: host.take(trial=False))
    assert (error.status, error.facts["tool"]) == (69, "systemd-creds")


@pytest.mark.parametrize("pin", ["credential", "file"])
def test_without_systemd_250_the_setting_is_an_error_before_anything_is_asked(make_world: MakeWorld, pin: str) -> None:
    world = make_world(deliver=f'pin = "{pin}"')
    before, lines = world.files(), world.party.audit()
    ran = world.agent("enrol")
    assert ran.returncode == 78, ran.stderr
    assert f"deliver.pin = {pin} needs systemd-creds" in ran.stderr
    assert (world.files(), world.party.audit()) == (before, lines)


def test_a_key_in_a_form_that_some_clients_do_not_take_is_installed_as_it_is_with_a_warning(
    host: PlayedHost, estate: Estate
) -> None:
    key = serialization.load_pem_private_key(estate.client.key.encode(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    estate.client = type(estate.client)(
        certificate=estate.client.certificate, key=key.private_bytes(*form).decode("ascii")
    )
    host.take()
    assert "not PKCS#1" in host.said.getvalue()
    (there,) = host.client.below("cert/client").glob("*Key.pem")
    assert there.read_text() == estate.client.key


# --- java.security


def java(host: PlayedHost, *paths: str, text: str = PROVIDERS) -> None:
    for path in paths:
        host.path(path).parent.mkdir(parents=True, exist_ok=True)
        host.path(path).write_text(text)
        host.path(path).chmod(0o640)
    host.set(deliver=DeliverSettings(java_security=paths))


def test_the_provider_is_added_once_and_goes_with_the_host(host: PlayedHost) -> None:
    java(host, JAVA)
    host.take()
    assert f"security.provider.3={LUNA}\nkeystore.type" in host.path(JAVA).read_text()
    assert looks(host.path(JAVA)) == (0o640, 0, 0)
    assert host.mend() is False
    host.path(JAVA).write_text(PROVIDERS)  # a JDK's upgrade
    assert host.mend() is True
    assert host.path(JAVA).read_text().count(LUNA) == 1
    host.leave()
    assert host.path(JAVA).read_text() == PROVIDERS


def test_a_jdk_that_comes_later_and_one_that_is_named_no_more(host: PlayedHost) -> None:
    java(host, JAVA)
    host.take()
    host.set(deliver=DeliverSettings(java_security=(LATER,)))
    assert host.mend() is True
    assert host.path(JAVA).read_text() == PROVIDERS
    java(host, LATER)
    assert host.mend() is True
    assert LUNA in host.path(LATER).read_text()
    assert host.mend() is False


def test_a_java_security_that_is_a_link_is_changed_where_it_leads(host: PlayedHost) -> None:
    real, other = "/etc/java-11-openjdk/security/java.security", "/etc/java-21-openjdk/security/java.security"
    java(host, real, other)
    host.path(JAVA).parent.mkdir(parents=True, exist_ok=True)
    host.path(JAVA).symlink_to(real)  # as Debian's packages lay it out; absolute, so below --root
    host.set(deliver=DeliverSettings(java_security=(JAVA, real)))
    host.take()
    assert (host.path(JAVA).is_symlink(), host.path(real).read_text().count(LUNA)) == (True, 1)
    assert host.mend() is False
    host.path(JAVA).unlink()
    host.path(JAVA).symlink_to(other)
    host.set(deliver=DeliverSettings(java_security=(JAVA,)))
    assert host.mend() is True
    assert (host.path(real).read_text(), host.path(other).read_text().count(LUNA)) == (PROVIDERS, 1)
    host.leave()
    assert host.path(other).read_text() == PROVIDERS
    assert host.path(JAVA).is_symlink()


def test_a_java_security_whose_links_lead_in_a_circle_is_told_and_nothing_changed(host: PlayedHost) -> None:
    host.path(JAVA).parent.mkdir(parents=True, exist_ok=True)
    host.path(JAVA).symlink_to(JAVA)
    host.set(deliver=DeliverSettings(java_security=(JAVA,)))
    assert host.fails(host.take).reason == "unsafe_file"


def test_providers_with_a_gap_end_it_before_a_tool_runs(host: PlayedHost) -> None:
    java(host, JAVA, text=PROVIDERS.replace("provider.2", "provider.5"))
    host.set(join="tool")
    error = host.fails(host.take)
    assert (error.status, error.reason) == (65, "not_understood")
    assert (host.client.calls(), host.estate.tries) == ((), 0)
