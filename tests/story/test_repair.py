"""Whatever was harmed on a joined host is put right, from the record and from a newer bundle alike, and no more."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hsm_enrol.chrystoki import CLIENT, HA, SYNCHRONIZE, TOKENS
from hsm_enrol.errors import KeyLost
from hsm_enrol.model import der_of
from lab import pki
from lab.luna.appliance import Appliance
from lab.luna.estate import Estate
from lab.luna.partition import Partition
from tests.played_host import PlayedHost

FOREIGN = pki.self_signed(pki.name(CN="900"), pki.ec_key()).certificate_pem
GROUP_OF_OTHERS = """VirtualToken = {
   VirtualToken00Label = others;
   VirtualToken00SN = 199;
   VirtualToken00Members = 99;
}
HASynchronize = {
   others = 1;
}
"""
Harm = Callable[[PlayedHost], None]


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


# Others make it harder; a quiet host as well with HSM_ENROL_EVERY_POINT=1 (`make crash`).
NEIGHBOURS = ["with others", "quiet"] if os.environ.get("HSM_ENROL_EVERY_POINT") else ["with others"]


@pytest.fixture(params=NEIGHBOURS)
def host(request: pytest.FixtureRequest, estate: Estate, tmp_path: Path) -> PlayedHost:
    """A host before it joins; another agent's server, group and CA block may be there already."""
    made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
    made.set()
    if request.param == "with others":
        with_others(made)
    return made


def with_others(host: PlayedHost) -> None:
    text = host.conf + GROUP_OF_OTHERS
    server = "   NetClient = 1;\n   ServerName00 = theirs;\n   ServerPort00 = 1792;\n   ServerHtl00 = 0;\n"
    host.client.conf.write_text(text.replace("   NetClient = 1;\n", server))
    (host.client.below("cert/server") / "theirsCert.pem").write_text(FOREIGN)
    (host.client.below("cert/server") / "CAFile.pem").write_text("# theirs\n" + FOREIGN)


def others_are_untouched(host: PlayedHost) -> None:
    if "others" not in host.conf:
        return
    found = host.meaning
    assert found[CLIENT, "ServerName00"] == "theirs"
    assert found[TOKENS, "VirtualToken00Members"] == "99"
    assert found[SYNCHRONIZE, "others"] == "1"
    assert (host.client.below("cert/server") / "theirsCert.pem").read_text() == FOREIGN
    assert (host.client.below("cert/server") / "CAFile.pem").read_text().startswith("# theirs\n" + FOREIGN)


def change(host: PlayedHost, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, host.conf)
    assert count, pattern
    host.client.conf.write_text(text)


def key_of(host: PlayedHost) -> Path:
    (key,) = host.client.below("cert/client").glob("*Key.pem")
    return key


def wrong_modes(host: PlayedHost) -> None:
    for path in host.client.below("cert").rglob("*.pem"):
        if "theirs" not in path.name:
            path.chmod(0o666)


def wrong_owner(host: PlayedHost) -> None:
    for path in host.client.below("cert").rglob("*.pem"):
        if "theirs" not in path.name:
            os.chown(path, 12, 12)


def servers_emptied(host: PlayedHost) -> None:
    for address in host.estate.dial:
        (host.client.below("cert/server") / f"{address}Cert.pem").unlink()
    file = host.client.below("cert/server") / "CAFile.pem"
    file.write_text("# theirs\n" + FOREIGN if "others" in host.conf else "")


def ca_file_gone(host: PlayedHost) -> None:
    if "others" not in host.conf:  # theirs nobody could bring back
        (host.client.below("cert/server") / "CAFile.pem").unlink()


def conf_reset(host: PlayedHost) -> None:
    """A package upgrade put its own file there again, and the site its own entries back."""
    fresh = PlayedHost(host.root.parent / "fresh", host.estate, "7.3")
    theirs = "others" in host.conf
    host.client.conf.write_text(fresh.conf)
    if theirs:
        keep = (host.client.below("cert/server") / "CAFile.pem").read_text()
        with_others(host)
        (host.client.below("cert/server") / "CAFile.pem").write_text(keep)


def half_a_certificate(host: PlayedHost) -> None:
    (cert,) = (one for one in host.client.below("cert/client").glob("*.pem") if not one.name.endswith("Key.pem"))
    cert.write_text(cert.read_text()[:200])


def group_removed(host: PlayedHost) -> None:
    change(host, rf"   VirtualToken..Label = {host.estate.label};\n", "")


def members_changed(host: PlayedHost) -> None:
    change(host, ",".join(host.estate.members), host.estate.members[0])


def other_env(host: PlayedHost) -> None:
    host.path("/run/hsm-enrol/ha.env").write_text("LUNA_HA_LABEL=x\n")


HARMS: dict[str, Harm] = {
    "modes": wrong_modes,
    "owner": wrong_owner,
    "cert/server emptied": servers_emptied,
    "CA file gone": ca_file_gone,
    "conf reset": conf_reset,
    "half a certificate": half_a_certificate,
    "HAOnly off": lambda host: change(host, "HAOnly = 1", "HAOnly = 0"),
    "retry gone": lambda host: change(host, r" *reconnAtt = -1;\n", ""),
    "pointer changed": lambda host: change(host, r"ClientCertFile = [^;]*", "ClientCertFile = /nowhere.pem"),
    "port changed": lambda host: change(
        host, rf"ServerPort(0.) = {host.estate.appliances[1].port}", r"ServerPort\1 = 9"
    ),
    "server removed": lambda host: change(host, r" *ServerName.. = 127.0.0.12;\n", ""),
    "label removed": group_removed,
    "members changed": members_changed,
    "synchronize gone": lambda host: change(host, rf" *{host.estate.label} = 1;\n", ""),
    "ha.env changed": other_env,
}
SOURCES: dict[str, Callable[[PlayedHost], object]] = {
    "from the record": lambda host: host.mend(),
    "from a bundle": lambda host: host.take(host.estate.bundle(serial=2)),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("harm", HARMS)
def test_it_is_put_right(host: PlayedHost, harm: str, source: str) -> None:
    host.take()
    joined, meaning, calls = host.files(), host.meaning, len(host.client.calls())
    HARMS[harm](host)
    SOURCES[source](host)
    assert host.meaning == meaning
    others_are_untouched(host)
    after = host.files()
    skip = {"var/lib/hsm-enrol/record.json", "etc/Chrystoki.conf"}
    assert {name: one for name, one in after.items() if name not in skip} == {
        name: one for name, one in joined.items() if name not in skip
    }
    if source == "from the record":
        assert len(host.client.calls()) == calls  # no tool runs: a host can be mended while its HSMs are down
    assert host.mend() is False
    assert host.pins() == 0
    host.assert_no_litter()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("pattern", "new"),
    [
        (r"VirtualToken(..)SN = 1156908040", r"VirtualToken\1SN = 777"),
        ("ReceiveTimeout = 20000", "ReceiveTimeout = 5000"),
    ],
    ids=["group serial", "foreign key"],
)
def test_what_is_not_ours_to_decide_stays(host: PlayedHost, pattern: str, new: str, source: str) -> None:
    host.take()
    change(host, pattern, new)
    edited = host.conf
    SOURCES[source](host)
    assert host.conf == edited
    if "SN" in new and source == "from a bundle":
        record = host.record
        assert record is not None
        assert record.installed is not None
        assert record.installed.ha.serial == "777"


def test_a_lost_key_is_said_every_time_and_all_the_rest_is_mended(host: PlayedHost) -> None:
    host.take()
    meaning = host.meaning
    key_of(host).write_bytes(b"zeros")
    change(host, "HAOnly = 1", "HAOnly = 0")
    for _ in range(2):
        with pytest.raises(KeyLost):
            host.mend()
        assert host.meaning == meaning
        record = host.record
        assert record is not None
        assert record.witness == ()  # never "nothing to do"
    host.take(host.estate.bundle(serial=2))
    assert host.mend() is False


def test_certificates_that_were_cleared_away_with_their_folders_are_brought_back(host: PlayedHost) -> None:
    """`rm -r cert`: what only the verifier has is said to be lost, and the next bundle brings it."""
    host.take()
    whole = {name: found for name, found in host.files().items() if "/cert/" in name and "theirs" not in name}
    shutil.rmtree(host.client.below("cert"))
    change(host, "HAOnly = 1", "HAOnly = 0")
    subprocess.run(["chattr", "+i", host.client.conf], check=True)
    try:
        assert host.fails(host.mend).reason == "cannot_write"
    finally:
        subprocess.run(["chattr", "-i", host.client.conf], check=True)
    assert not host.client.below("cert").exists()  # the folders that were made went with the rest
    with pytest.raises(KeyLost):
        host.mend()
    host.take(host.estate.bundle(serial=2))
    assert host.mend() is False
    now = host.files()
    assert {name: now.get(name) for name in whole if "CAFile" not in name} == {
        name: found for name, found in whole.items() if "CAFile" not in name
    }


# --- what a newer bundle changes


def other_appliance(estate: Estate) -> Appliance:
    partition = Partition(serial="156908099", label="par9", pin=estate.pin)
    made = Appliance("679899", [partition], host="127.0.0.19")
    made.register(estate.client_name, estate.client.certificate)
    return made


def test_an_appliance_was_rekeyed(host: PlayedHost, estate: Estate) -> None:
    host.take()
    conf = host.conf
    old = estate.appliances[0].certificate
    estate.appliances[0].rekey()
    host.take(estate.bundle(serial=2))
    assert host.conf == conf
    ca_file = (host.client.below("cert/server") / "CAFile.pem").read_text()
    assert der_of(old) not in [
        der_of(one) for one in re.findall(r"-----BEGIN[^-]*-----[^-]*-----END[^-]*-----", ca_file)
    ]
    others_are_untouched(host)
    assert host.mend() is False


def test_a_member_comes_and_another_goes(host: PlayedHost, estate: Estate) -> None:
    host.take()
    first, second = estate.appliances
    third = other_appliance(estate)
    with third:
        estate.appliances.append(third)
        estate._addresses.append(third.host)
        dial(host, estate)
        host.take(estate.bundle(serial=2))
        assert host.meaning[TOKENS, token(host) + "Members"] == ",".join(estate.members)
        assert alive(host) == 3
        estate.appliances.remove(first)
        estate._addresses.remove(first.host)
        host.take(estate.bundle(serial=3))
        others_are_untouched(host)
        names = [value for (section, key), value in host.meaning.items() if key.startswith("ServerName")]
        assert sorted(names) == sorted([*(["theirs"] if "others" in host.conf else []), second.host, third.host])
        assert not (host.client.below("cert/server") / f"{first.host}Cert.pem").exists()
        assert host.mend() is False
        numbers = sorted(int(key[-2:]) for _, key in host.meaning if key.startswith("ServerName"))
        assert numbers == list(range(len(numbers)))


def dial(host: PlayedHost, estate: Estate) -> None:
    """Tell the stand-in tools of an appliance that came later."""
    import json

    facts = host.root.parent / f"{host.root.name}-notes" / "facts.json"
    found = json.loads(facts.read_text())
    facts.write_text(json.dumps(found | {"dial": {name: list(place) for name, place in estate.dial.items()}}))


def token(host: PlayedHost) -> str:
    label = host.estate.label
    return next(key.removesuffix("Label") for (_, key), value in host.meaning.items() if value == label)


def alive(host: PlayedHost) -> int:
    from hsm_enrol.host.site import Site
    from hsm_enrol.status import read_status

    return len(read_status(Site.of(host.settings), ask_tools=True).alive or ())


def test_another_label_is_taken_in_place(host: PlayedHost, estate: Estate) -> None:
    host.take()
    serial = host.meaning[TOKENS, token(host) + "SN"]
    estate.label = "pay-ha"
    host.take(estate.bundle(serial=2))
    found = host.meaning
    assert found[TOKENS, token(host) + "SN"] == serial
    assert found[SYNCHRONIZE, "pay-ha"] == "1"
    assert (SYNCHRONIZE, "web-ha") not in found
    assert "LUNA_HA_LABEL=pay-ha\n" in host.path("/run/hsm-enrol/ha.env").read_text()
    others_are_untouched(host)


def test_a_renewed_pair_comes_under_a_new_name_and_the_old_one_goes(host: PlayedHost, estate: Estate) -> None:
    host.take()
    old = key_of(host).name
    estate.renew_client()
    host.take(estate.bundle(serial=2))
    assert key_of(host).name != old
    assert len(list(host.client.below("cert/client").iterdir())) == 2
    assert host.mend() is False


def test_retry_and_only_follow_the_bundle(host: PlayedHost, estate: Estate) -> None:
    host.take()
    host.take(estate.bundle(serial=2, only=False, retry=5))
    assert (host.meaning[HA, "HAOnly"], host.meaning[HA, "reconnAtt"]) == ("0", "5")


@pytest.mark.parametrize("join", ["tool", "config"])
def test_an_image_that_was_registered_with_an_old_certificate_joins(estate: Estate, tmp_path: Path, join: str) -> None:
    """No record says that the entry is ours; the appliance was rekeyed since."""
    host = PlayedHost(tmp_path / "host", estate, "6.2", join=join)
    address = next(iter(estate.dial))
    old = estate.appliances[0].certificate
    text = host.conf.replace(
        "   ReceiveTimeout", f"   ServerName00 = {address};\n   ServerPort00 = 1792;\n   ReceiveTimeout"
    )
    host.client.conf.write_text(text)
    for name in (f"{address}Cert.pem", "CAFile.pem"):
        (host.client.below("cert/server") / name).write_text(old)
    estate.appliances[0].rekey()
    assert host.take().how == "joined"
    assert alive(host) == 2


# --- what is refused with nothing changed


def our_members_elsewhere(host: PlayedHost) -> None:
    host.client.conf.write_text(host.conf + GROUP_OF_OTHERS.replace("99;", f"{host.estate.members[1]};", 2))


def our_label_on_others(host: PlayedHost) -> None:
    host.client.conf.write_text(host.conf + GROUP_OF_OTHERS.replace("others", host.estate.label))


def our_label_twice(host: PlayedHost) -> None:
    rows = "".join(f"   VirtualToken0{n}Label = {host.estate.label};\n   VirtualToken0{n}SN = 1{n};\n" for n in (0, 1))
    host.client.conf.write_text(host.conf + f"{TOKENS} = {{\n{rows}}}\n")


def a_foreign_server_with_our_subject(host: PlayedHost) -> None:
    appliance = host.estate.appliances[0]
    with_others(host)
    old = appliance.certificate
    appliance.rekey()
    for name in ("theirsCert.pem", "CAFile.pem"):
        (host.client.below("cert/server") / name).write_text(old)


def a_section_twice(host: PlayedHost) -> None:
    host.client.conf.write_text(host.conf + f"{HA} = {{\n}}\n{HA} = {{\n}}\n")


@pytest.mark.parametrize("join", ["tool", "config"])
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (our_members_elsewhere, "group_conflict"),
        (our_label_on_others, "group_conflict"),
        (our_label_twice, "not_understood"),
        (a_foreign_server_with_our_subject, "subject_conflict"),
        (a_section_twice, "not_understood"),
    ],
)
def test_a_conflict_ends_it_with_nothing_changed(
    estate: Estate, tmp_path: Path, harm: Harm, reason: str, join: str
) -> None:
    host = PlayedHost(tmp_path / "host", estate, "7.3", join=join)
    harm(host)
    error = host.fails(host.take)
    assert (error.reason, error.status) == (reason, 65)
    assert host.client.calls() == ()
    assert host.courier.told[-1]["result"] == "failed"


def test_a_conflict_that_came_later_ends_a_repair_with_nothing_changed(host: PlayedHost) -> None:
    host.take()
    change(host, rf"Label = {host.estate.label};", "Label = stolen;")
    for act in (host.mend, lambda: host.take(host.estate.bundle(serial=2))):
        assert host.fails(act).reason == "group_conflict"
