"""`hsm-enrol check` on a host of the laboratory where all is well, then with one pain at a time made real."""

import io
import json
import os
import random
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem

from hsm_enrol.__main__ import main as agent
from hsm_enrol.at_work import Run
from hsm_enrol.check import check
from hsm_enrol.checks import client, identity, surroundings, verifiers
from hsm_enrol.checks.finding import DAY, FAIL, OK, WARN, Finding, of_expiry
from hsm_enrol.cli.assertion import show_assertion
from hsm_enrol.errors import CannotWrite, KemMissing, StsUnknown, VerifierUnreachable
from hsm_enrol.facts.look import Look
from hsm_enrol.host import around, peer, state
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.site import Site
from hsm_enrol.host.state import Owner
from hsm_enrol.host.voice import Voice
from hsm_enrol.record import PinMemory, ReceiptDue, Record, desired_from_bundle, without_secrets
from hsm_enrol.settings import load
from hsm_enrol.wire.bundle import Bundle, Client, Ha, Server
from hsm_enrol.wire.keys import generate_key, public_to_pem
from hsm_enrol.wire.messages import Challenge
from lab.bad_party import BadParty, Orders, page
from lab.imds import Faults, ImdsServer
from lab.machine import Machine, RoleCredentials
from lab.pki import Pair, authority, name, self_signed, server
from tests.host.test_metadata import Waits
from tests.nobody import closed_port
from tests.verifier.served import Served, serving

ROOT = Path(__file__).parent.parent
MEMBERS = ("156908040", "156908041")
BANNER = "vtl (64-bit) v10.4.0-417. Copyright (c) 2021 SafeNet. All rights reserved."
VERIFIED = """
The following Luna SA Slots/Partitions were found:

Slot    Serial #                Label
====    ================        =====
   0           156908040        par1
   -           156908041        par2
"""
NOTHING_FOUND = "Error: Unable to find any Luna SA slots/partitions among registered server."


@dataclass
class Host:
    """A host below a folder: what stands there can be changed, then `look` again."""

    root: Path
    verifier: Served
    imds: ImdsServer
    environ: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=lambda: {"verify": VERIFIED, "banner": BANNER})

    def path(self, logical: str) -> Path:
        return self.root / logical.lstrip("/")

    def write(self, logical: str, text: str | bytes, mode: int = 0o644) -> Path:
        path = self.path(logical)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    @property
    def settings_path(self) -> str:
        return str(self.path("/etc/hsm-enrol/hsm-enrol.toml"))

    def settings(self, old: str = "", new: str = "") -> None:
        path = Path(self.settings_path)
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def put_vtl(self) -> None:
        script = (
            "#!/bin/sh\n" + 'case "$1" in\nverify) cat <<"END"\n{verify}\nEND\n;;\n-h) cat <<"END"\n{banner}\nEND\n;;\n'
        )
        script += 'haAdmin) echo "Error: no group";;\n*) echo "usage: vtl";;\nesac\n'
        self.write("/usr/safenet/lunaclient/bin/vtl", script.format(**self.answers), 0o755)

    def look(self, **changes: object) -> tuple[Finding, ...]:
        waits = Waits()  # time passes only by waiting
        look = Look(
            settings_path=self.settings_path,
            root=str(self.root),
            environ=self.environ,
            rng=random.Random(5),
            sleep=waits.sleep,
            deadline=lambda seconds: Deadline(seconds, clock=waits.clock),
        )
        return check(replace(look, **changes))  # type: ignore[arg-type]  # a look's fields by name

    def worse(self, **changes: object) -> list[Finding]:
        return [one for one in self.look(**changes) if one.level != OK]

    def only(self, **changes: object) -> Finding:
        """Give the one finding that is not ok."""
        (found,) = self.worse(**changes)
        assert found.hint
        return found


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("vp") / "vp", requests_per_source=500, burst_per_source=900) as one:
        yield one


@pytest.fixture
def imds() -> Iterator[ImdsServer]:
    with ImdsServer() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path, verifier: Served, imds: ImdsServer, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(around, "kernel_time_is_synchronised", lambda: True)
    host = Host(tmp_path / "root", verifier, imds)
    audience = next(
        line.split('"')[1]
        for line in (verifier.folder / "hsm-verifier.toml").read_text().splitlines()
        if line.startswith("audience")
    )
    host.write(
        "/etc/hsm-enrol/hsm-enrol.toml",
        f'[verifier]\nurls = ["{verifier.url}"]\naudience = "{audience}"\nca_file = "/etc/hsm-enrol/verifier-ca.pem"\n'
        f'answer_keys = ["/etc/hsm-enrol/answer-key.pem"]\n[imds]\nendpoint = "{imds.endpoint}"\ndeadline = "3s"\n',
    )
    for file in ("verifier-ca.pem", "answer-key.pem"):
        host.write(f"/etc/hsm-enrol/{file}", (verifier.folder / file).read_bytes())
    host.write("/etc/group", "root:x:0:\nhsmusers:x:990:tomcat\n")
    host.write("/etc/Chrystoki.conf", "Chrystoki2 = {\n   LibUNIX64 = /usr/lib/libCryptoki2_64.so;\n}\n")
    for folder in ("cert/client", "cert/server", "bin"):
        host.path(f"/usr/safenet/lunaclient/{folder}").mkdir(parents=True)
    host.put_vtl()
    for unit in ("hsm-enrol.service", "hsm-enrol.target"):
        host.write(f"/usr/lib/systemd/system/{unit}", (ROOT / "systemd" / unit).read_text())
    wants = host.path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(parents=True)
    (wants / "hsm-enrol.service").symlink_to("/usr/lib/systemd/system/hsm-enrol.service")
    for folder in ("/var/lib", "/run", "/sys/devices/virtual/dmi/id"):
        host.path(folder).mkdir(parents=True, exist_ok=True)
    host.write("/sys/devices/virtual/dmi/id/board_asset_tag", imds.machine.instance_id + "\n")
    return host


def laboratory(found: list[Finding]) -> list[Finding]:
    """Leave out the one line that is always there in the laboratory."""
    return [one for one in found if not one.line.startswith("the metadata service is asked at")]


@pytest.fixture(autouse=True)
def without_the_laboratorys_line(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = Host.worse
    monkeypatch.setattr(Host, "worse", lambda self, **changes: laboratory(worse(self, **changes)))


# --- all is well


def test_a_host_where_all_is_well_has_nothing_to_mend_and_is_not_changed(host: Host) -> None:
    def picture() -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in sorted(host.root.rglob("*"))
        }

    before = picture()
    found = host.look()
    assert laboratory([one for one in found if one.level != OK]) == []
    assert picture() == before
    subjects = {one.about for one in found}
    assert subjects >= {"settings", "proxy", "time", "units", "ca", "answer keys", "imds", "proof", "verifier", "clock"}
    assert subjects >= {"luna", "tools", "group", "places", "state"}
    text = "\n".join(one.line for one in found)
    assert "and so does its firmware" in text
    assert "vtl is of version 10.4" in text


def test_the_list_is_printed_with_hints_and_an_exit_status(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["hsm-enrol", "check", "--config", host.settings_path, "--root", str(host.root)])
    assert agent() == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 0 fail")
    host.path("/usr/safenet/lunaclient/bin/vtl").unlink()
    assert agent() == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail "))
    assert lines[at].split()[1] == "tools"
    assert any(line.strip().startswith("hint: ") for line in lines[at + 1 : at + 3])  # below a line that may be wrapped
    assert max(map(len, lines)) <= 80 or any(" " not in line[20:] for line in lines if len(line) > 80)
    monkeypatch.setattr("sys.argv", [*__import__("sys").argv, "--json"])
    assert agent() == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["ok"], told["status"]) == (1, False, 1)
    assert {one["level"] for one in told["findings"]} == {"ok", "warn", "fail"}


# --- settings and whom to believe


def test_broken_settings_are_told_as_enrol_would_and_what_else_can_be_seen(host: Host) -> None:
    host.settings("[imds]", "[imbs]")
    found = host.look()
    assert found[0].level == FAIL
    assert found[0].reason == "bad_settings"
    assert "did you mean imds?" in found[0].hint
    assert {one.about for one in found} >= {"proxy", "units"}


def test_missing_settings_are_told(host: Host) -> None:
    Path(host.settings_path).unlink()
    assert host.look()[0].reason == "settings_missing"


def test_a_wrong_ca_is_told(host: Host) -> None:
    host.write("/etc/hsm-enrol/verifier-ca.pem", authority("another").certificate_pem)
    found = host.only()
    assert (found.level, found.reason) == (FAIL, "verifier_untrusted")
    assert "signed by another CA" in found.line


def test_a_missing_ca_file_is_told_once(host: Host) -> None:
    host.path("/etc/hsm-enrol/verifier-ca.pem").unlink()
    assert host.only().reason == "ca_unusable"


def test_the_wrong_answer_key_is_told(host: Host) -> None:
    host.write("/etc/hsm-enrol/answer-key.pem", public_to_pem(generate_key().public_key()))
    found = host.only()
    assert (found.level, found.about) == (FAIL, "answer keys")
    assert "none of the pinned answer keys" in found.line


def test_an_answer_key_file_that_is_none_is_told(host: Host) -> None:
    host.write("/etc/hsm-enrol/answer-key.pem", "ssh-rsa AAAA")
    assert host.only().reason == "bad_settings"


def test_another_audience_is_told(host: Host) -> None:
    host.settings('audience = "hsm-enrol:', 'audience = "hsm-enrol:other-')
    found = host.only()
    assert (found.level, found.about) == (FAIL, "audience")


@pytest.mark.parametrize("file", ["hsm-enrol.toml", "verifier-ca.pem", "answer-key.pem"])
@pytest.mark.parametrize("how", ["writable by its group", "somebody else's"])
def test_who_could_change_whom_we_believe_is_told(file: str, how: str, host: Host) -> None:
    path = host.path(f"/etc/hsm-enrol/{file}")
    if how == "somebody else's":
        os.chown(path, 1234, 0)
    else:
        path.chmod(0o664)
    found = host.only()
    assert (found.level, found.about) == (FAIL, "trust")
    assert str(path) in found.line


def test_a_ca_about_to_expire_is_told(host: Host) -> None:
    almost = time.time() + 3640 * DAY  # hsm-verifier's live ten years
    told = [one for one in host.look(clock=lambda: almost) if one.about == "ca"]
    assert [one.level for one in told] == [WARN]
    gone = time.time() + 3660 * DAY
    told = [one for one in host.look(clock=lambda: gone) if one.about == "ca"]
    assert [one.level for one in told] == [FAIL]


def test_selinux_labels_of_another_place_are_told_where_selinux_enforces(host: Host) -> None:
    path = host.path("/etc/hsm-enrol/verifier-ca.pem")
    os.setxattr(path, "security.selinux", b"unconfined_u:object_r:user_tmp_t:s0\0")
    assert host.worse() == []
    host.write("/sys/fs/selinux/enforce", "1")
    found = host.only()
    assert (found.level, found.about) == (WARN, "selinux")
    assert found.hint == f"restorecon -v {path}"
    os.setxattr(path, "security.selinux", b"system_u:object_r:etc_t:s0\0")
    assert host.worse() == []


# --- surroundings


@pytest.mark.parametrize("variable", ["https_proxy", "HTTP_PROXY", "all_proxy"])
def test_p7_a_proxy_variable_is_told(variable: str, host: Host) -> None:
    host.environ[variable] = "http://user:CANARY@proxy.example:3128"
    found = host.only()
    assert (found.level, found.about) == (WARN, "proxy")
    assert variable in found.line
    assert "CANARY" not in found.line + found.hint


def test_a_proxy_of_the_settings_is_named_without_its_password(host: Host) -> None:
    said = list(surroundings.judge(FINE, proxy="http://user:CANARY@proxy.example:3128", destinations=()))
    assert "the verifier is asked through http://proxy.example:3128" in said[0].line


FINE = surroundings.Surroundings(
    privileged=True,
    proxies=(),
    synchronised=True,
    waiter="",
    units=surroundings.Units(enabled=True, writable=("/etc",), misnamed=()),
)


def test_p15_a_clock_that_nobody_keeps_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(around, "kernel_time_is_synchronised", lambda: False)
    assert "a run right after boot may be refused" in host.only().line
    wants = host.path("/etc/systemd/system/sysinit.target.wants")
    wants.mkdir()
    (wants / "systemd-time-wait-sync.service").symlink_to("/usr/lib/systemd/system/systemd-time-wait-sync.service")
    found = host.only()
    assert (found.level, found.about) == (WARN, "time")
    assert "systemd-time-wait-sync.service holds the boot until it is" in found.line


def test_the_kernel_says_whether_its_time_is_kept() -> None:
    assert around.kernel_time_is_synchronised() in {True, False, None}


def test_not_being_root_is_told() -> None:
    found = next(surroundings.judge(replace(FINE, privileged=False), proxy="", destinations=()))
    assert (found.level, found.about) == (FAIL, "user")


def test_p9_a_unit_that_is_not_enabled_is_told(host: Host) -> None:
    host.path("/etc/systemd/system/multi-user.target.wants/hsm-enrol.service").unlink()
    found = host.only()
    assert (found.level, found.about) == (WARN, "units")
    assert "systemctl enable" in found.hint


def test_a_unit_that_is_not_installed_is_told(host: Host) -> None:
    host.path("/usr/lib/systemd/system/hsm-enrol.service").unlink()
    assert "not installed" in host.only().line


@pytest.mark.parametrize("place", ["tomcat.service", "tomcat.service.d/hsm.conf"])
def test_an_application_that_names_the_service_instead_of_the_target_is_told(place: str, host: Host) -> None:
    host.write(f"/etc/systemd/system/{place}", "[Unit]\nAfter=network.target hsm-enrol.service\n")
    host.write("/etc/systemd/system/nginx.service", "[Unit]\nAfter=hsm-enrol.target\n")
    found = host.only()
    assert found.line.startswith("tomcat.service names hsm-enrol.service")


def test_a_place_outside_the_units_sandbox_is_told_until_a_drop_in_opens_it(host: Host) -> None:
    shutil.move(host.path("/usr/safenet/lunaclient"), host.path("/opt/luna"))
    host.settings("[imds]", '[luna]\nprefix = "/opt/luna"\n[imds]')
    found = host.worse()
    assert {one.about for one in found} == {"units"}
    assert all("may not write /opt/luna/" in one.line for one in found)
    host.write("/etc/systemd/system/hsm-enrol.service.d/luna.conf", "[Service]\nReadWritePaths=-/opt/luna\n")
    assert host.worse() == []


def test_a_place_in_etc_that_the_unit_takes_out_again_is_told_until_a_drop_in_opens_it(host: Host) -> None:
    conf = host.path("/etc/Chrystoki.conf")
    conf.write_text(conf.read_text() + "LunaSA Client = {\n   ServerCAFile = /etc/pki/luna/CAFile.pem;\n}\n")
    host.path("/etc/pki/luna").mkdir(parents=True)
    found = host.worse()
    assert {one.about for one in found} == {"units"}
    assert all("may not write /etc/pki/luna/" in one.line for one in found)
    host.write("/etc/systemd/system/hsm-enrol.service.d/luna.conf", "[Service]\nReadWritePaths=-/etc/pki/luna\n")
    assert host.worse() == []


def test_a_java_security_that_is_not_there_is_told(host: Host) -> None:
    host.settings("[imds]", '[deliver]\njava_security = ["/etc/java-17/java.securty"]\n[imds]')
    found = host.only()
    assert (found.level, found.about) == (WARN, "java")
    assert "/etc/java-17/java.securty" in found.line
    host.write("/etc/java-17/java.securty", "security.provider.1=SUN\n")
    assert host.worse() == []


# --- who this is


def test_p6_the_hop_limit_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsm_enrol.host.metadata.SILENT_PUTS", 1)
    host.imds.faults = Faults(token_timeout=True)
    found = host.only()
    assert (found.level, found.reason) == (FAIL, "imds_hop_limit")
    assert "HttpPutResponseHopLimit" in found.hint


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(off=True), "imds_off"),
        (Faults(odd={"token": "html"}), "imds_odd"),
        (Faults(missing={"dynamic/instance-identity/rsa2048"}), "imds_odd"),
    ],
    ids=["switched off", "a proxy's page", "no signed document"],
)
def test_imds_troubles_are_told_as_enrol_would(faults: Faults, reason: str, host: Host) -> None:
    host.imds.faults = faults
    assert host.only().reason == reason


def test_p16_a_throttled_imds_is_told(host: Host) -> None:
    host.imds.faults = Faults(status={"meta-data/instance-id": 503})
    assert host.only().reason == "imds_throttled"


def test_nobody_at_the_link_local_address_is_told(host: Host) -> None:
    host.imds.stop()
    assert host.only().reason == "imds_unreachable"


def test_p7_another_machines_metadata_service_is_told(host: Host) -> None:
    host.write("/sys/devices/virtual/dmi/id/board_asset_tag", "i-0aaaaaaaaaaaaaaaa\n")
    assert host.only().reason == "wrong_instance"


def test_p9_a_warm_pool_is_told(host: Host) -> None:
    host.imds.machine = Machine(lifecycle="Warmed:Pending")
    found = host.only()
    assert (found.level, found.about) == (WARN, "imds")
    assert "Warmed:Pending" in found.line


def test_expired_credentials_are_told(host: Host) -> None:
    host.imds.machine = Machine(credentials=RoleCredentials(expiration="2020-01-01T00:00:00Z"))
    found = host.only()
    assert (found.level, found.about) == (FAIL, "proof")


def test_p12_a_region_without_sts_address_is_told(host: Host) -> None:
    said = identity.judge(
        identity.Machine(
            endpoint="",
            link_local=True,
            told=identity.Told(
                instance="i-0", region="xx-moon-1", public_hostname="h", role=None, lifecycle=None, expires=2**40
            ),
            dmi="",
            proof=StsUnknown(region="xx-moon-1", what="suffix"),
            foreign=(),
            kem=None,
        ),
        0.0,
    )
    assert [one.reason for one in said if one.level == FAIL] == ["sts_unknown"]


def test_p18_state_of_another_instance_is_told(host: Host) -> None:
    state.owner_for("i-0bbbbbbbbbbbbbbbb", str(host.root))
    found = host.only()
    assert (found.level, found.about) == (WARN, "image")
    assert "i-0bbbbbbbbbbbbbbbb" in found.line
    assert "generalize" in found.hint


def test_a_kem_that_the_machine_lacks_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsm_enrol.facts.identity.kem_available", lambda _: False)
    assert host.only().reason == "kem_missing"


def test_showing_an_assertion_without_its_kem_is_that_fault_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_: bytes) -> mlkem.MLKEM768PrivateKey:
        raise UnsupportedAlgorithm("no ML-KEM here")

    monkeypatch.setattr(mlkem.MLKEM768PrivateKey, "from_seed_bytes", lacking)
    run = Run(
        settings=load(host.settings_path, str(host.root)),
        settings_path=host.settings_path,
        reason="operator",
        voice=Voice(stream=io.StringIO()),
    )
    with pytest.raises(KemMissing):
        show_assertion(run, as_json=False)


# --- the verifiers


def nobodys_url() -> str:
    return f"https://127.0.0.1:{closed_port()}"


def test_a_verifier_that_is_away_is_a_fault_only_when_it_is_the_only_one(host: Host) -> None:
    gone = nobodys_url()
    host.settings(f'urls = ["{host.verifier.url}"]', f'urls = ["{gone}", "{host.verifier.url}"]')
    found = host.only()
    assert (found.level, found.reason) == (WARN, "verifier_unreachable")
    host.settings(f', "{host.verifier.url}"]', "]")
    found = host.only()
    assert (found.level, found.reason) == (FAIL, "verifier_unreachable")
    assert gone in found.line


@pytest.fixture
def stranger(tmp_path: Path, host: Host) -> Iterator[Callable[..., BadParty]]:
    """Put a party with orders in the verifier's place."""
    ca = authority("lab")
    host.write("/etc/hsm-enrol/verifier-ca.pem", ca.certificate_pem)
    started: list[BadParty] = []

    def start(**orders: object) -> BadParty:
        one = BadParty(tmp_path, server(ca, ["127.0.0.1"]), Orders(**orders)).__enter__()  # type: ignore[arg-type]  # orders by name
        host.settings(host.verifier.url, one.url)
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


def test_a_proxy_in_the_verifiers_place_is_told(host: Host, stranger: Callable[..., BadParty]) -> None:
    stranger(challenge=[page(403)])
    assert host.only().reason == "not_our_verifier"


@pytest.mark.parametrize(("ahead", "words"), [(120, "behind"), (-120, "ahead of")])
def test_p15_clocks_apart_are_told(ahead: int, words: str, host: Host, stranger: Callable[..., BadParty]) -> None:
    stranger(ahead=ahead)
    found = next(one for one in host.worse() if one.about == "clock")
    assert found.level == WARN
    assert f"s {words} that of" in found.line


def test_p15_clocks_seven_hours_apart_fail(host: Host, stranger: Callable[..., BadParty]) -> None:
    stranger(ahead=7 * 3600)
    found = host.only()
    assert (found.level, found.reason) == (FAIL, "clock_wrong")


TOLD = Challenge(nonce="n" * 43, expires_in=300, server_time=0)


def disagreements(host: Host, **changes: object) -> list[str]:
    heard = replace(TOLD, **changes)  # type: ignore[arg-type]  # a challenge's fields by name
    greeting = verifiers.Greeting(url="https://vp", heard=heard)
    return [one.about for one in verifiers.judge([greeting], load(host.settings_path), (), 0.0) if one.level == FAIL]


def test_what_a_verifier_does_not_take_is_told(host: Host) -> None:
    assert disagreements(host) == []
    assert disagreements(host, kems=("p256",)) == ["kem"]
    assert disagreements(host, profiles=("tag:hsm-enrol,2027:assertion/2",)) == ["versions"]
    assert disagreements(host, evidence=("nitro-tpm",)) == ["evidence"]
    assert disagreements(host, evidence=("nitro-tpm", "iid")) == []


def test_a_tls_certificate_about_to_expire_is_told(host: Host) -> None:
    soon = verifiers.Greeting(url="https://vp", heard=TOLD, until=10 * DAY)
    said = list(verifiers.judge([soon], load(host.settings_path), (), 0.0))
    assert ("warn", "the TLS certificate of https://vp expires in 10 days") in [(one.level, one.line) for one in said]


def test_when_the_tls_certificate_expires_is_seen(host: Host, verifier: Served) -> None:
    context = ssl.create_default_context(cafile=verifier.ca_file)
    until = peer.certificate_until(verifier.url, context)
    assert until is not None
    assert 3600 * DAY < until - time.time() < 3660 * DAY
    assert peer.certificate_until(nobodys_url(), context) is None


# --- the client


def test_a_missing_client_is_told(host: Host) -> None:
    shutil.rmtree(host.path("/usr/safenet"))
    assert host.only().reason == "client_missing"


def test_a_missing_conf_is_told(host: Host) -> None:
    host.path("/etc/Chrystoki.conf").unlink()
    assert host.only().reason == "client_missing"


@pytest.mark.parametrize(("how", "words"), [("gone", "is missing"), ("not executable", "cannot be run")])
@pytest.mark.parametrize("join", ["tool", "config"])
def test_a_missing_vtl_is_told(how: str, words: str, join: str, host: Host) -> None:
    host.settings("[imds]", f'[luna]\njoin = "{join}"\n[imds]')
    vtl = host.path("/usr/safenet/lunaclient/bin/vtl")
    if how == "gone":
        vtl.unlink()
    else:
        vtl.chmod(0o644)
    found = host.only()
    assert (found.level, found.about) == (FAIL, "tools")
    assert words in found.line


def test_the_tools_of_the_minimal_client_are_found(host: Host) -> None:
    vtl = host.path("/usr/safenet/lunaclient/bin/vtl")
    (vtl.parent / "64").mkdir()
    vtl.rename(vtl.parent / "64" / "vtl")
    assert host.worse() == []


def test_an_old_client_is_told(host: Host) -> None:
    host.answers["banner"] = "usage: vtl ( help | createCert | addServer | verify )"
    host.put_vtl()
    found = host.only()
    assert (found.level, found.about) == (WARN, "tools")
    assert "older than 10" in found.line
    assert host.worse(ask_tools=False) == []


def test_a_conf_that_is_not_understood_is_told(host: Host) -> None:
    host.write("/etc/Chrystoki.conf", "Chrystoki2 = {\n  A = {\n}\n")
    assert host.only().reason == "not_understood"


def test_a_linked_conf_is_fine_and_its_target_is_named(host: Host) -> None:
    shutil.move(host.path("/etc/Chrystoki.conf"), host.path("/usr/safenet/lunaclient/Chrystoki.conf"))
    host.path("/etc/Chrystoki.conf").symlink_to("/usr/safenet/lunaclient/Chrystoki.conf")
    found = [one for one in host.look() if "symbolic link" in one.line]
    assert [one.level for one in found] == [OK]
    assert "/usr/safenet/lunaclient/Chrystoki.conf" in found[0].line
    assert host.worse() == []


def test_a_conf_that_cannot_be_replaced_is_told(host: Host) -> None:
    os.link(host.path("/etc/Chrystoki.conf"), host.path("/etc/another-name"))
    found = host.only()
    assert (found.level, found.about, found.reason) == (FAIL, "places", "unsafe_file")
    assert "hard links" in found.line


def test_a_read_only_file_system_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(paths: tuple[str, ...], **_: object) -> None:
        if "cert/server" in paths[0]:
            raise CannotWrite(path=paths[0], error="EROFS")

    monkeypatch.setattr("hsm_enrol.facts.client.preflight", read_only)
    found = host.worse()
    assert {one.reason for one in found} == {"cannot_write"}
    assert all("EROFS" in one.line for one in found)


def test_a_folder_that_others_may_write_is_told(host: Host) -> None:
    host.path("/usr/safenet/lunaclient/cert/client").chmod(0o777)
    found = host.worse()
    assert {one.reason for one in found} == {"unsafe_folder"}


def test_a_missing_group_is_told(host: Host) -> None:
    host.write("/etc/group", "root:x:0:\n")
    found = host.only()
    assert (found.level, found.about) == (WARN, "group")
    assert "hsmusers" in found.line


def test_without_a_client_no_place_is_judged() -> None:
    seen = client.Client(
        conf="/etc/Chrystoki.conf",
        links=(),
        place="/usr/safenet/lunaclient",
        tools=(),
        version=None,
        banner_wanted=False,
        group="hsmusers",
        group_there=True,
        destinations=(),
    )
    assert "places" not in {one.about for one in client.judge(seen)}


# --- an enrolled host


class Ntls:
    """An appliance's TLS: lets in one client certificate, then waits to be spoken to."""

    def __init__(self, folder: Path, client: Pair) -> None:
        self.pair = self_signed(name(O="Chrysalis-ITS", CN="679797"))
        (folder / "hsm.pem").write_text(self.pair.certificate_pem + self.pair.key_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "hsm.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=client.certificate_pem)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.hangs_up = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(5)
                try:
                    with self.context.wrap_socket(plain, server_side=True) as secured:
                        if not self.hangs_up:
                            secured.recv(1)
                except OSError:
                    continue

    def stop(self) -> None:
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


@dataclass
class Enrolled:
    host: Host
    ntls: Ntls
    record: Record

    def write(self, **changes: object) -> None:
        state.write_record(replace(self.record, **changes), str(self.host.root))  # type: ignore[arg-type]  # by name


@pytest.fixture
def enrolled(host: Host, tmp_path: Path) -> Iterator[Enrolled]:
    pair = self_signed(name(CN="web"))
    ntls = Ntls(tmp_path, pair)
    bundle = Bundle(
        serial=1,
        client=Client(name="web", certificate=pair.certificate_pem, private_key=pair.key_pem),
        servers=(Server(address="127.0.0.1", port=ntls.port, certificate=ntls.pair.certificate_pem),),
        ha=Ha(label="web-ha", members=MEMBERS, only=True, retry=-1, interval=60),
        pin=None,
    )
    site = Site.of(load(host.settings_path, str(host.root)))
    desired = desired_from_bundle(bundle, site.paths("web", pair.certificate_pem))
    host.write(desired.paths.cert, pair.certificate_pem)
    host.write(desired.paths.key, pair.key_pem, 0o600)
    record = Record(
        agent="0.1.0",
        instance_id=host.imds.machine.instance_id,
        tx="a" * 8,
        installed=without_secrets(desired),
        installed_at="2026-01-01T00:00:00Z",
    )
    made = Enrolled(host, ntls, record)
    made.write()
    yield made
    ntls.stop()


def about(found: tuple[Finding, ...], *subjects: str) -> list[tuple[str, str]]:
    return [(one.level, one.line) for one in found if one.about in subjects]


def test_an_enrolled_host_whose_appliances_let_it_in(enrolled: Enrolled) -> None:
    found = enrolled.host.look()
    assert about(found, "appliances") == [
        (OK, f"127.0.0.1 port {enrolled.ntls.port}: TLS stands, both certificates are accepted")
    ]
    assert about(found, "members") == [(OK, "2 of 2 members are there")]
    assert {level for level, _ in about(found, "certificates")} == {OK}
    assert WARN in {level for level, _ in about(found, "drift")}  # the conf names none of it yet


def test_ipcheck_is_told_when_tls_stands_and_no_partition_shows(enrolled: Enrolled) -> None:
    enrolled.host.answers["verify"] = NOTHING_FOUND
    enrolled.host.put_vtl()
    (found,) = [one for one in enrolled.host.look() if one.about == "members"]
    assert found.level == FAIL
    assert "ipcheck" in found.hint


def test_an_appliance_that_is_away_is_told_by_itself(enrolled: Enrolled) -> None:
    enrolled.host.answers["verify"] = NOTHING_FOUND
    enrolled.host.put_vtl()
    enrolled.ntls.stop()
    found = enrolled.host.look()
    assert about(found, "appliances") == [(FAIL, f"127.0.0.1 port {enrolled.ntls.port}: Connection refused")]
    assert about(found, "members") == [(FAIL, "no partition is visible")]


def test_a_member_that_is_down_is_told(enrolled: Enrolled) -> None:
    enrolled.host.answers["verify"] = VERIFIED.replace("   -           156908041        par2\n", "")
    enrolled.host.put_vtl()
    assert about(enrolled.host.look(), "members") == [
        (WARN, "member 156908041 is down"),
        (OK, "1 of 2 members are there"),
    ]


def test_tools_that_were_not_asked_are_told(enrolled: Enrolled) -> None:
    assert about(enrolled.host.look(ask_tools=False), "members")[0][0] == WARN


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("another certificate", "its certificate is not the one in the bundle"),
        ("another client", "it does not accept our client certificate"),
        ("hangs up", "it hangs up after the handshake"),
        ("no key", "our own pair cannot be read"),
        ("another key", "our own pair does not match"),
        ("not TLS", "it does not accept our client certificate"),
    ],
)
def test_why_an_appliances_tls_does_not_stand_is_told(spoil: str, words: str, enrolled: Enrolled) -> None:
    installed = enrolled.record.installed
    assert installed is not None
    certificate, pair = enrolled.ntls.pair.certificate_pem, enrolled.host.path
    if spoil == "another certificate":
        certificate = self_signed(name(O="Chrysalis-ITS", CN="679797")).certificate_pem
    elif spoil == "another client":
        other = self_signed(name(CN="web"))
        enrolled.host.write(installed.paths.cert, other.certificate_pem)
        enrolled.host.write(installed.paths.key, other.key_pem)
    elif spoil == "hangs up":
        enrolled.ntls.hangs_up = True
    elif spoil == "no key":
        pair(installed.paths.key).unlink()
    elif spoil == "another key":
        enrolled.host.write(installed.paths.key, self_signed(name(CN="web")).key_pem)
    elif spoil == "not TLS":
        enrolled.ntls.context.set_ciphers("ALL")
        enrolled.ntls.context.minimum_version = ssl.TLSVersion.TLSv1_3
        enrolled.ntls.context.load_verify_locations(cadata=certificate)
        enrolled.ntls.context.verify_mode = ssl.CERT_REQUIRED
        other = self_signed(name(CN="stranger"))
        enrolled.host.write(installed.paths.cert, other.certificate_pem)
        enrolled.host.write(installed.paths.key, other.key_pem)
    said = peer.knock(
        "127.0.0.1",
        enrolled.ntls.port,
        certificate,
        cert_file=str(pair(installed.paths.cert)),
        key_file=str(pair(installed.paths.key)),
    )
    assert said == (words not in {"our own pair cannot be read", "our own pair does not match"}, words)


def test_an_expired_and_an_almost_expired_certificate_are_told(enrolled: Enrolled) -> None:
    almost = time.time() + 3630 * DAY
    levels = {level for level, _ in about(enrolled.host.look(clock=lambda: almost), "certificates")}
    assert levels == {WARN}
    over = time.time() + 3660 * DAY
    levels = {level for level, _ in about(enrolled.host.look(clock=lambda: over), "certificates")}
    assert levels == {FAIL}


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [
        (-2, FAIL, "expired 2 days ago"),
        (0, FAIL, "expired less than a day ago"),
        (1, WARN, "expires in 1 day"),
        (29, WARN, "expires in 29 days"),
        (31, OK, "is good for 31 days"),
    ],
)
def test_an_expiry_is_told_in_days(days: int, level: str, words: str) -> None:
    found = of_expiry("x", "it", days * DAY, 0.0, "renew")
    assert (found.level, found.line) == (level, f"it {words}")


def test_a_key_in_a_form_that_some_clients_refuse_is_told(enrolled: Enrolled) -> None:
    installed = enrolled.record.installed
    assert installed is not None
    enrolled.host.write(installed.paths.key, "-----BEGIN PRIVATE KEY-----\n", 0o600)
    assert any("PKCS#1" in line for _, line in about(enrolled.host.look(), "luna"))


def test_p1_what_is_unsaid_unfinished_or_refused_is_told(enrolled: Enrolled) -> None:
    due = ReceiptDue(nonce="n" * 43, jti="A" * 22, serial=1, result="installed", pin="unused")
    enrolled.write(receipt_due=due, pin=PinMemory(id="pin-00000001", state="refused", serial=1))
    enrolled.host.path("/var/lib/hsm-enrol/undo").mkdir()
    found = enrolled.host.look()
    assert [level for level, _ in about(found, "state")] == [WARN, WARN]
    assert about(found, "pin") == [(WARN, "the partition PIN was refused here and is not tried again")]


def test_a_damaged_record_is_told(enrolled: Enrolled) -> None:
    enrolled.host.write("/var/lib/hsm-enrol/record.json", "{")
    assert "record_damaged" in {one.reason for one in enrolled.host.look()}


def test_the_owner_of_a_key_is_never_shown(enrolled: Enrolled) -> None:
    owner = state.owner_for(enrolled.record.instance_id, str(enrolled.host.root))
    assert isinstance(owner, Owner)
    text = repr(enrolled.host.look())
    assert "PRIVATE KEY" not in text.replace("BEGIN RSA PRIVATE KEY", "")
    assert VerifierUnreachable.reason not in text
