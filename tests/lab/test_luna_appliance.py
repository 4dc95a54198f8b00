"""Appliances: who gets in, what they see, what a wrong PIN costs; by TLS of this process, and by the tools."""

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from asn1crypto.x509 import Certificate

from hsm_enrol import luna
from hsm_enrol.chrystoki import CLIENT
from hsm_enrol.wire.bundle import Bundle
from lab.luna.appliance import Appliance
from lab.luna.certificates import LunaPair, appliance_pair, cached_key, client_pair
from lab.luna.estate import Estate
from lab.luna.partition import Partition
from tests.lab.luna_hand import Hand

# Appliances are threads of this process, so Python 3.12 and later warn of the fork; the real agent has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def talk(appliance: Appliance, client: LunaPair, folder: Path, **question: str) -> dict[str, Any]:
    """Ask one question, trusting the appliance's certificate of now."""
    file = folder / "client.pem"
    file.write_text(client.certificate + client.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=appliance.certificate)
    context.load_cert_chain(file)
    with (
        socket.create_connection((appliance.host, appliance.port), timeout=5) as connection,
        context.wrap_socket(connection) as secure,
    ):
        secure.sendall(json.dumps({"ask": "partitions", **question}).encode() + b"\n")
        with secure.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
            return answer


def serials(answer: dict[str, Any]) -> list[str]:
    return [one["serial"] for one in answer["partitions"]]


@pytest.fixture
def first(estate: Estate) -> Appliance:
    return estate.appliances[0]


def test_a_registered_client_sees_the_partitions(estate: Estate, first: Appliance, tmp_path: Path) -> None:
    assert serials(talk(first, estate.client, tmp_path)) == [estate.members[0]]
    assert first.seen == {"connections": 1, "handshakes": 1}


@pytest.mark.parametrize("who", ["of another name", "of the same name", "expired", "not valid yet"])
def test_any_other_certificate_is_refused(who: str, estate: Estate, first: Appliance, tmp_path: Path) -> None:
    key = cached_key("stranger")
    stranger = {
        "of another name": client_pair("stranger", key),
        "of the same name": client_pair(estate.client_name, key),
        "expired": client_pair("late", key, days=2, begin=-3),
        "not valid yet": client_pair("early", key, begin=1),
    }[who]
    if who in {"expired", "not valid yet"}:
        first.register(who, stranger.certificate)
    with pytest.raises((ssl.SSLError, ConnectionError, json.JSONDecodeError)):
        talk(first, stranger, tmp_path)
    assert first.seen["handshakes"] == 0


def test_a_client_that_was_forgotten_is_refused(estate: Estate, first: Appliance, tmp_path: Path) -> None:
    first.forget(estate.client_name)
    with pytest.raises((ssl.SSLError, ConnectionError, json.JSONDecodeError)):
        talk(first, estate.client, tmp_path)


def test_in_a_rotation_the_old_and_the_new_pair_are_both_let_in(
    estate: Estate, first: Appliance, tmp_path: Path
) -> None:
    old = estate.client
    new = estate.renew_client()
    assert new.certificate != old.certificate
    for pair in (old, new):
        assert serials(talk(first, pair, tmp_path)) == [estate.members[0]]


def test_with_ipcheck_only_the_registered_address_sees_partitions(
    estate: Estate, first: Appliance, tmp_path: Path
) -> None:
    first.ipcheck = True
    assert serials(talk(first, estate.client, tmp_path)) == []
    first.register(estate.client_name, estate.client.certificate, address="127.0.0.1")
    assert serials(talk(first, estate.client, tmp_path)) == [estate.members[0]]
    first.register(estate.client_name, estate.client.certificate, address="127.0.0.99")
    assert talk(first, estate.client, tmp_path, ask="login", serial=estate.members[0], pin=estate.pin) == {
        "result": "unknown"
    }
    assert estate.tries == 0


def test_an_appliance_that_is_down_refuses_and_comes_back_on_its_port(
    estate: Estate, first: Appliance, tmp_path: Path
) -> None:
    port = first.port
    first.down = True
    with pytest.raises(ConnectionRefusedError):
        talk(first, estate.client, tmp_path)
    first.down = False
    assert first.port == port
    assert serials(talk(first, estate.client, tmp_path)) == [estate.members[0]]


def test_an_appliance_that_hangs_takes_the_connection_and_says_nothing(estate: Estate, first: Appliance) -> None:
    first.hangs = True
    with socket.create_connection((first.host, first.port), timeout=0.3) as connection:
        connection.sendall(b"\x16\x03\x01")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        estate.stop()  # ends with the connection still held


def test_wrong_pins_lock_the_partition_and_a_right_one_before_forgets_them(tmp_path: Path) -> None:
    partition = Partition(serial="11", label="p", pin="right", limit=3)
    pair = client_pair("web", cached_key("client web"))
    with Appliance("1", [partition]) as appliance:
        appliance.register("web", pair.certificate)

        def login(pin: str) -> str:
            return str(talk(appliance, pair, tmp_path, ask="login", serial="11", pin=pin)["result"])

        assert [login(pin) for pin in ("a", "b", "right", "a", "b", "c", "right")] == [
            *("incorrect", "incorrect", "ok", "incorrect", "incorrect", "locked", "locked")
        ]
    assert (partition.tries, partition.locked) == (7, True)


def test_certificates_look_like_those_of_real_appliances(estate: Estate) -> None:
    for pem in (estate.appliances[0].certificate, estate.client.certificate):
        certificate = Certificate.load(ssl.PEM_cert_to_DER_cert(pem))
        assert certificate.serial_number == 0
        assert certificate["tbs_certificate"]["extensions"].native is None
        assert certificate.issuer == certificate.subject
        assert certificate.public_key.bit_size == 2048
    assert Certificate.load(ssl.PEM_cert_to_DER_cert(estate.appliances[0].certificate)).subject.native == {
        "country_name": "CA",
        "state_or_province_name": "Ontario",
        "locality_name": "Ottawa",
        "organization_name": "Chrysalis-ITS",
        "common_name": "679797",
    }
    assert estate.client.key.startswith("-----BEGIN RSA PRIVATE KEY-----")


def test_the_estates_bundle_passes_the_wires_checks(estate: Estate) -> None:
    bundle = estate.bundle()
    assert Bundle.from_bytes(bundle.to_bytes()) == bundle
    assert estate.pin not in repr(bundle) + repr(estate.partitions)
    assert [one.port for one in bundle.servers] == [one.port for one in estate.appliances]


# --- seen by the tools


def test_verify_lists_whoever_is_there(hand: Hand) -> None:
    first, second = hand.estate.appliances
    first.down = True
    assert hand.verify() == (hand.estate.members[1],)
    second.hangs = True
    hand.edit({(CLIENT, "ReceiveTimeout"): "300"})
    assert hand.verify() == ()
    first.down = second.hangs = False
    hand.edit({(CLIENT, "ReceiveTimeout"): "20000"})
    assert hand.verify() == hand.estate.members


@pytest.mark.parametrize("trouble", ["ipcheck", "unknown client", "re-keyed", "expired", "not the pinned one"])
def test_verify_finds_nothing_when_no_appliance_lets_us_in(trouble: str, hand: Hand) -> None:
    for appliance in hand.estate.appliances:
        if trouble == "ipcheck":
            appliance.ipcheck = True
        elif trouble == "unknown client":
            appliance.forget(hand.estate.client_name)
        elif trouble == "re-keyed":
            appliance.rekey()
        elif trouble == "expired":
            key = cached_key(f"appliance {appliance.number}")
            appliance.rekey(appliance_pair(appliance.number, key, days=2, begin=-3))
            file = hand.client.below("cert/server/CAFile.pem")
            file.write_text("".join(one.certificate for one in hand.estate.appliances))
        else:  # the same key and name, another certificate
            appliance.rekey(appliance_pair(appliance.number, cached_key(f"appliance {appliance.number}"), days=77))
    ran = hand.run("vtl", *luna.verify())
    assert (ran.status, luna.partitions(ran.output)) == (0, ())
    assert "Error: Unable to find any Luna SA slots/partitions" in ran.output


def test_a_group_with_one_appliance_away_shows_its_member_down(hand: Hand) -> None:
    hand.put_group()
    hand.estate.appliances[1].down = True
    (shown,) = luna.groups(hand.show().output)
    assert (shown.members, shown.alive) == (hand.estate.members, hand.estate.members[:1])


def test_nothing_is_dialled_that_the_laboratory_did_not_map(hand: Hand) -> None:
    hand.run("vtl", "addServer", "-n", "hsm.example", "-c", hand.server_file())
    assert "hsm.example" in hand.client.conf.read_text()
    assert hand.verify() == hand.estate.members


def test_an_encrypted_key_makes_no_tool_ask_for_its_password(hand: Hand) -> None:
    from cryptography.hazmat.primitives import serialization as form

    file = hand.client.below("cert/client/webKey.pem")
    key = form.load_pem_private_key(file.read_bytes(), None)
    how = form.BestAvailableEncryption(b"password")
    file.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, how))
    ran = hand.run("vtl", *luna.verify())
    assert (ran.asked, luna.partitions(ran.output)) == (False, ())
