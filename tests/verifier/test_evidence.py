"""What AWS vouches for, and everything that only looks like it (A2, A4, A5, A6)."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_verifier.evidence import caller_identity
from hsm_verifier.evidence.caller_identity import CallerIdentity, StsClient
from hsm_verifier.evidence.certs import CertificateError, import_text, load_folder
from hsm_verifier.evidence.iid import Documents, read_document
from hsm_verifier.evidence.names import Names
from hsm_verifier.refusal import Refusal
from hsm_verifier.turns import take_turn
from lab import pki
from lab.asking import request_of
from lab.aws import Aws
from lab.machine import Machine, document_of

REGION = "eu-central-1"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    with Aws(tmp_path) as found:
        yield found


class Asks:
    """STS's client on a loop of its own, as the server has it; each asker is a turn."""

    def __init__(self, client: StsClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def ask(self, request: Assertion) -> CallerIdentity:
        return self.all(request)[0]

    def all(self, *requests: Assertion) -> list[CallerIdentity]:
        """All at the same time."""

        async def run() -> list[CallerIdentity]:
            return await asyncio.gather(*(take_turn(lambda one=one: self._client.ask(one)) for one in requests))  # type: ignore[misc]  # a default that binds

        return self._runner.run(run())

    def wait(self, seconds: float) -> None:
        """Let time pass on the loop."""
        self._runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        async def hang_up() -> None:
            self._client.close()

        self._runner.run(hang_up())
        self._runner.close()


Ask = Callable[..., Asks]
Refused = Callable[[Assertion], Refusal]


@pytest.fixture
def asking() -> Iterator[Ask]:
    """Makes clients, and hangs up in the end."""
    with ExitStack() as stack:

        def make(aws: Aws, **other: str) -> Asks:
            options = {"connect": aws.sts.connect, "ca_file": str(aws.sts.ca_file)} | other
            made = Asks(StsClient(**options))  # type: ignore[arg-type]  # the three texts among its options
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def refused(asking: Ask, aws: Aws) -> Refused:
    def ask(request: Assertion) -> Refusal:
        with pytest.raises(Refusal) as caught:
            asking(aws).ask(request)
        return caught.value

    return ask


def test_v8_aws_names_the_asker(asking: Ask, aws: Aws) -> None:
    machine = aws.launch()
    assert asking(aws).ask(request_of(machine)).arn.endswith("/" + machine.instance_id)


@pytest.mark.parametrize("member", ["eat_nonce", "jti", "aud"])
def test_a4_a_proof_made_for_another_request_is_refused(refused: Refused, aws: Aws, member: str) -> None:
    request = request_of(aws.launch())
    other = dataclasses.replace(request, **{member: getattr(request, member)[::-1] + "x"})
    assert refused(other).reason == "evidence_invalid"


def test_a4_a_proof_bound_to_another_key_is_refused(refused: Refused, aws: Aws) -> None:
    request = request_of(aws.launch())
    other = dataclasses.replace(request, cnf=PublicJwk.from_key(generate_key().public_key()))
    assert refused(other).reason == "evidence_invalid"


def test_a2_a_session_named_like_the_victim_is_refused(refused: Refused, aws: Aws) -> None:
    machine = aws.launch()
    access_key = machine.credentials.access_key_id
    arn = f"arn:aws:sts::{machine.account_id}:assumed-role/web-instance/{machine.instance_id}"
    aws.sts.minted[access_key] = dataclasses.replace(aws.sts.minted[access_key], arn=arn)
    refusal = refused(request_of(machine))
    assert (refusal.reason, refusal.alarm) == ("evidence_invalid", True)


def test_another_instances_proof_is_refused(refused: Refused, aws: Aws) -> None:
    machine, victim = aws.launch(), aws.launch()
    forged = dataclasses.replace(machine, instance_id=victim.instance_id)
    assert refused(request_of(forged)).detail == "V8 arn_differs"


@pytest.mark.parametrize(
    "region", ["eu-central-1\n", "eu/central-1", "evil.example#-1", "e@x-y-1", "eu-central-\u0661"]
)
def test_a5_no_text_of_the_asker_chooses_a_host(refused: Refused, aws: Aws, region: str) -> None:
    request = request_of(aws.launch())
    assert request.identity_role is not None
    role = dataclasses.replace(request.identity_role, region=region)
    assert refused(dataclasses.replace(request, identity_role=role)).reason == "evidence_invalid"
    assert not aws.sts.bodies


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"throttle": 9}, "upstream_busy"),
        ({"fail": 9}, "upstream_busy"),
        ({"html": True}, "upstream_busy"),
        ({"oversize": True}, "upstream_busy"),
        ({"redirect": "https://127.0.0.1:1/"}, "upstream_busy"),
        ({"expired": True}, "nonce_stale"),
    ],
)
def test_sts_in_trouble_is_no_verdict_on_the_asker(
    refused: Refused, aws: Aws, faults: dict[str, Any], reason: str
) -> None:
    for name, value in faults.items():
        setattr(aws.sts.faults, name, value)
    assert refused(request_of(aws.launch())).reason == reason


def sts_error(code: object, message: object = "no") -> bytes:
    return json.dumps({"Error": {"Code": code, "Message": message}}).encode()


def sts_names(**result: object) -> bytes:
    return json.dumps({"GetCallerIdentityResponse": {"GetCallerIdentityResult": result}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "reason", "alarm"),
    [
        *((400, sts_error(code), "upstream_busy", False) for code in ("Throttling", "ThrottlingException")),
        *((400, sts_error(code), "upstream_busy", False) for code in ("RequestLimitExceeded", "ServiceUnavailable")),
        (400, sts_error("InternalFailure"), "upstream_busy", False),
        (500, sts_error("AccessDenied"), "upstream_busy", False),
        (503, sts_error("SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2"), "upstream_busy", False),
        (403, sts_error("SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2"), "clock_skew", False),
        (403, sts_error("SignatureDoesNotMatch", "Signature not yet current: 2 is later"), "clock_skew", False),
        (400, sts_error("SignatureDoesNotMatch", "not: Signature expired"), "evidence_invalid", False),
        *((403, sts_error(code), "nonce_stale", False) for code in ("ExpiredToken", "ExpiredTokenException")),
        *((status, sts_error("AccessDenied"), "evidence_invalid", False) for status in (400, 403, 499)),
        *((status, sts_error("AccessDenied"), "upstream_busy", False) for status in (201, 302, 399)),
        *((403, body, "upstream_busy", False) for body in (b"{}", b"[]", b'{"Error":"x"}', sts_error(None))),
        *((403, sts_error("AccessDenied", message), "upstream_busy", False) for message in (None, 1, ["no"])),
        (403, b"<html>", "upstream_busy", False),
        (200, b"<html>", "upstream_busy", True),
        *((200, body, "upstream_busy", True) for body in (b"{}", b"[]", b'"x"', sts_error("AccessDenied"))),
        *((200, sts_names(Account=one, Arn="arn:x"), "upstream_busy", True) for one in (None, 1, ["1"])),
        *((200, sts_names(Account="1", Arn=one), "upstream_busy", True) for one in (None, 1, ["arn:x"])),
        (200, sts_names(Arn="arn:x"), "upstream_busy", True),
    ],
)
def test_v8_what_sts_says_is_translated_and_no_half_answer_names_anyone(
    status: int, body: bytes, reason: str, *, alarm: bool
) -> None:
    with pytest.raises(Refusal) as caught:
        caller_identity.read_answer(status, body)
    assert (caught.value.reason, caught.value.alarm) == (reason, alarm)


def test_a_date_too_far_away_is_a_clock_matter(refused: Refused, aws: Aws) -> None:
    request = request_of(aws.launch())
    aws.sts.shift = 3600
    assert refused(request).reason == "clock_skew"


def test_the_environment_has_no_say(asking: Ask, aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("default login evil password evil")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert asking(aws).ask(request_of(aws.launch())).account == aws.account_id


def test_sts_with_another_authority_is_not_believed(asking: Ask, aws: Aws, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text(pki.authority("other").certificate_pem)
    with pytest.raises(Refusal) as caught:
        asking(aws, ca_file=str(wrong)).ask(request_of(aws.launch()))
    assert (caught.value.reason, caught.value.detail) == ("upstream_busy", "V8 sts_tls")


def test_p3_askers_share_connections_to_sts(asking: Ask, aws: Aws) -> None:
    asks = asking(aws)
    for _ in range(5):
        assert asks.ask(request_of(aws.launch())).account == aws.account_id
    assert (aws.sts.seen["ok"], aws.sts.connections) == (5, 1)


def test_a_connection_that_sts_closed_meanwhile_is_no_trouble(asking: Ask, aws: Aws) -> None:
    asks = asking(aws)
    aws.sts.faults.hang_up = True
    for _ in range(5):
        assert asks.ask(request_of(aws.launch())).account == aws.account_id
    assert (aws.sts.seen["ok"], aws.sts.connections) == (5, 5)


def test_an_answer_too_long_ends_its_connection(asking: Ask, aws: Aws) -> None:
    asks = asking(aws)
    aws.sts.faults.oversize = True
    with pytest.raises(Refusal, match="sts_oversize"):
        asks.ask(request_of(aws.launch()))
    aws.sts.faults.oversize = False
    assert asks.ask(request_of(aws.launch())).account == aws.account_id
    assert aws.sts.connections == 2


@pytest.mark.parametrize("fault", [{"drip": "header"}, {"drip": "body"}, {"hang": True}])
def test_an_exchange_with_sts_has_one_deadline_whatever_drips(
    refused: Refused, aws: Aws, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_identity, "TOTAL_SECONDS", 0.6)
    for name, value in fault.items():
        setattr(aws.sts.faults, name, value)
    began = time.monotonic()
    refusal = refused(request_of(aws.launch()))
    assert (refusal.reason, refusal.detail) == ("upstream_busy", "V8 sts_slow")
    assert time.monotonic() - began < 5


def test_a_kept_connection_has_the_deadline_of_each_new_exchange(
    asking: Ask, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_identity, "TOTAL_SECONDS", 1.5)
    asks = asking(aws)
    assert asks.ask(request_of(aws.launch())).account == aws.account_id
    asks.wait(1.6)  # longer than an exchange may take: what is tested is that this time does not count
    assert asks.ask(request_of(aws.launch())).account == aws.account_id
    assert aws.sts.connections == 1


def test_a_name_that_nobody_answers_for_is_waited_for_by_the_same_deadline_and_looked_up_once(
    asking: Ask, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_identity, "TOTAL_SECONDS", 0.4)
    asked: list[object] = []
    answer = threading.Event()

    def slow(*where: object, **_: object) -> list[object]:
        asked.append(where)
        answer.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    asks = asking(aws, connect="")
    request = request_of(aws.launch())
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(Refusal, match="V8 sts_slow"):
            asks.ask(request)
    assert time.monotonic() - began < 3
    assert asked == [(f"sts.{REGION}.amazonaws.com", 443)]
    answer.set()


@pytest.fixture
def peer_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], str]:
    """Dials a name that has these addresses; gives who took the connection."""

    async def dial(found: list[Any]) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            with await Names().dial(("sts.example", 443), 2.0) as line:
                return str(line.getpeername()[0])

    return lambda found: asyncio.run(dial(found))


def test_each_address_of_a_name_is_tried_until_one_takes_the_connection(peer_of: Callable[[list[Any]], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.2", server.getsockname()[1]))  # bound and not listening: refused
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, server.getsockname()[1]))
            for one in ("127.0.0.2", "127.0.0.1")
        ]
        assert peer_of(found) == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            peer_of(found[:1])
        with pytest.raises(ConnectionError, match="no address"):
            peer_of([])


@pytest.mark.parametrize("name", ["sts..example", "a" * 64 + ".example"])
def test_what_can_be_no_name_is_an_error_at_once_and_each_time(name: str) -> None:
    names = Names()

    async def dial() -> None:
        async with asyncio.timeout(10):
            with pytest.raises(OSError, match="no name of a host"):
                await names.dial((name, 443), 2.0)

    for _ in range(2):
        asyncio.run(dial())


def test_an_address_that_nobody_answers_at_leaves_time_for_the_next(peer_of: Callable[[list[Any]], str]) -> None:
    # A queue that is full and never served lets further connections wait, as a black hole does.
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as deaf, ExitStack() as stack:
        deaf.bind(("127.0.0.2", server.getsockname()[1]))
        deaf.listen(0)
        for _ in range(2):
            waits = stack.enter_context(socket.socket())
            waits.settimeout(0)
            waits.connect_ex(deaf.getsockname())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, server.getsockname()[1]))
            for one in ("127.0.0.2", "127.0.0.1")
        ]
        began = time.monotonic()
        assert peer_of(found) == "127.0.0.1"
        assert 0.9 < time.monotonic() - began < 2


# --- V5


def documents(aws: Aws) -> Documents:
    certificate = x509.load_pem_x509_certificate(aws.certificate_pem.encode())
    return Documents({REGION: certificate})


def test_v5_the_document_that_aws_signed_is_read(aws: Aws) -> None:
    machine = aws.launch()
    document = documents(aws).verify("".join(machine.rsa2048.split()), REGION)
    assert (document.instance_id, document.private_ip) == (machine.instance_id, machine.local_ipv4)


@pytest.mark.parametrize("left_out", [False, True], ids=["null", "left-out"])
def test_v5_an_instance_in_an_ipv6_only_subnet_has_no_private_ipv4(aws: Aws, *, left_out: bool) -> None:
    machine = dataclasses.replace(aws.launch(), local_ipv4=None)
    document = json.loads(document_of(machine))
    if left_out:
        del document["privateIp"]
    assert read_document(json.dumps(document).encode()).private_ip is None
    machine = aws.vouch(machine)
    assert documents(aws).verify("".join(machine.rsa2048.split()), REGION).private_ip is None


def forged(machine: Machine, change: str) -> str:
    der = base64.b64decode("".join(machine.rsa2048.split()))
    info = cms.ContentInfo.load(der)
    signed = info["content"]
    if change == "content":
        content = signed["encap_content_info"]["content"].native.replace(b"m7i.large", b"m7i.metal")
        signed["encap_content_info"] = {"content_type": "data", "content": content}
    elif change == "detached":
        signed["encap_content_info"] = {"content_type": "data"}
    elif change == "two signers":
        signed["signer_infos"] = [signed["signer_infos"][0], signed["signer_infos"][0].copy()]
    elif change == "no signer":
        signed["signer_infos"] = []
    elif change == "signature":
        signed["signer_infos"][0]["signature"] = b"\0" * 256
    elif change == "trailing":
        return base64.b64encode(der + b"\0").decode()
    elif change == "another key":
        other = pki.self_signed(pki.name(CN="other"))
        builder = pkcs7.PKCS7SignatureBuilder().set_data(machine.document)
        builder = builder.add_signer(other.certificate, other.key, hashes.SHA256())
        return base64.b64encode(builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])).decode()
    elif change == "weaker digest":
        signed["signer_infos"][0]["digest_algorithm"] = {"algorithm": "sha1"}
    elif change == "another algorithm":
        signed["signer_infos"][0]["signature_algorithm"] = {"algorithm": "sha512_rsa"}
    elif change == "garbage":
        return base64.b64encode(b"0\x82garbage" * 20).decode()
    return base64.b64encode(info.dump(force=True)).decode()


@pytest.mark.parametrize(
    "change",
    [
        "content",
        "detached",
        "two signers",
        "no signer",
        "signature",
        "trailing",
        "another key",
        "weaker digest",
        "another algorithm",
        "garbage",
    ],
)
def test_a6_a_forged_document_is_refused(aws: Aws, change: str) -> None:
    text = forged(aws.launch(), change)
    with pytest.raises(Refusal, match="V5"):
        documents(aws).verify(text, REGION)


def signed_by(own: pki.Pair, content: bytes, *options: pkcs7.PKCS7Options) -> str:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(own.certificate, own.key, hashes.SHA256())
    return base64.b64encode(builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, *options])).decode()


def test_v5_signed_attributes_may_be_left_out(aws: Aws) -> None:
    own, machine = pki.self_signed(pki.name(CN="region")), aws.launch()
    text = signed_by(own, machine.document, pkcs7.PKCS7Options.NoAttributes)
    read = Documents({REGION: own.certificate})
    assert read.verify(text, REGION).instance_id == machine.instance_id
    with pytest.raises(Refusal, match="V5 signature"):
        documents(aws).verify(text, REGION)


def test_v5_a_signed_document_has_at_most_8_kib(aws: Aws) -> None:
    own, content = pki.self_signed(pki.name(CN="region")), aws.launch().document
    read = Documents({REGION: own.certificate})
    assert read.verify(signed_by(own, content.ljust(8192)), REGION).region == REGION
    for other in (content.ljust(8193), b""):
        with pytest.raises(Refusal, match="V5 content"):
            read.verify(signed_by(own, other), REGION)


def test_v5_without_its_certificate_or_with_one_that_is_not_rsa_the_operator_is_alarmed(aws: Aws) -> None:
    text = "".join(aws.launch().rsa2048.split())
    other = pki.self_signed(pki.name(CN="ec"), pki.ec_key()).certificate
    for read in (Documents({}), Documents({REGION: other})):
        with pytest.raises(Refusal) as caught:
            read.verify(text, REGION)
        assert (caught.value.reason, caught.value.alarm) == ("upstream_busy", True)


def test_v5_what_is_no_base64_of_a_structure_is_refused(aws: Aws) -> None:
    for text in ("", "AA==", "AAA", "\u00e9", "!" + "".join(aws.launch().rsa2048.split())):
        with pytest.raises(Refusal, match="V5"):
            documents(aws).verify(text, REGION)


NAMES = "instanceId accountId region imageId instanceType privateIp availabilityZone pendingTime".split()  # noqa: SIM905  a list to read


def test_v5_each_word_of_a_document_has_its_grammar_and_only_one_may_be_missing(aws: Aws) -> None:
    document = json.loads(aws.launch().document)
    for name in NAMES:
        wrong = [document | {name: value} for value in (7, ["x"], "", "../x", document[name] + "\n")]
        if name != "privateIp":
            wrong += [document | {name: None}, {one: value for one, value in document.items() if one != name}]
        for changed in wrong:
            with pytest.raises(Refusal, match=f"V5 {name}"):
                read_document(json.dumps(changed).encode())


def test_v5_a_document_is_one_object_with_a_time_that_a_calendar_has(aws: Aws) -> None:
    content = aws.launch().document
    twice = content.replace(b"{", b'{"region":"eu-west-1",', 1)
    for other in (b"[]", b"7", b'"x"', b"", b"\xff", content + b"{}", twice, b"[" * 100_000):
        with pytest.raises(Refusal, match="V5 json"):
            read_document(other)
    impossible = json.dumps(json.loads(content) | {"pendingTime": "2026-02-30T08:00:00Z"})
    with pytest.raises(Refusal, match="V5 pendingTime"):
        read_document(impossible.encode())


def streamed(der: bytes) -> bytes:
    """The same SignedData as a signer that streams writes it: indefinite lengths, the content in pieces (BER)."""
    info = cms.ContentInfo.load(der)
    signed = info["content"]
    content = signed["encap_content_info"]["content"].contents
    pieces = b"".join(
        b"\x04" + bytes([len(part)]) + part for part in (content[at : at + 100] for at in range(0, len(content), 100))
    )
    inner = b"\x30\x80" + signed["encap_content_info"]["content_type"].dump()
    inner += b"\xa0\x80\x24\x80" + pieces + b"\0\0" * 3
    body = signed["version"].dump() + signed["digest_algorithms"].dump() + inner
    body += signed["certificates"].dump() + signed["signer_infos"].dump()
    whole: bytes = b"\x30\x80" + info["content_type"].dump() + b"\xa0\x80\x30\x80" + body + b"\0\0" * 3
    return whole


def test_v5_a_document_that_was_streamed_is_read_the_same(aws: Aws) -> None:
    machine = aws.launch()
    text = base64.b64encode(streamed(base64.b64decode("".join(machine.rsa2048.split())))).decode()
    assert text.startswith("MIAGCSqGSIb3DQEHAqCAMIAC")
    assert documents(aws).verify(text, REGION).instance_id == machine.instance_id


def test_a6_no_cut_and_no_changed_byte_of_the_structure_is_taken(aws: Aws) -> None:
    whole = streamed(base64.b64decode("".join(aws.launch().rsa2048.split())))
    read = documents(aws)
    genuine = read.verify(base64.b64encode(whole).decode(), REGION)
    for at in range(len(whole)):
        with pytest.raises(Refusal, match="V5"):
            read.verify(base64.b64encode(whole[:at]).decode(), REGION)
        changed = whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :]
        # Certificates and the signer's name are not looked at; a change there changes nothing that is given back.
        with contextlib.suppress(Refusal):
            assert read.verify(base64.b64encode(changed).decode(), REGION) == genuine


def test_a6_a_document_of_another_region_is_refused(aws: Aws) -> None:
    machine = aws.vouch(dataclasses.replace(aws.launch(), region="eu-west-1"))
    with pytest.raises(Refusal, match="V5"):
        documents(aws).verify("".join(machine.rsa2048.split()), REGION)


def test_certificates_are_imported_from_the_guides_text(tmp_path: Path) -> None:
    one, two = (pki.self_signed(pki.name(CN=text)) for text in ("one", "two"))
    short = pki.self_signed(pki.name(CN="dsa"), pki.ec_key())
    text = f"""
    Europe (Frankfurt) - eu-central-1
    {short.certificate_pem}
    RSA-2048
    {one.certificate_pem}
    US East (Ohio) us-east-2
    {two.certificate_pem}
    """
    found = import_text(text)
    assert found == {"eu-central-1": one.certificate, "us-east-2": two.certificate}
    with pytest.raises(CertificateError, match="two different"):
        import_text(text.replace("us-east-2", "eu-central-1"))
    (tmp_path / "eu-central-1.pem").write_text(one.certificate_pem + two.certificate_pem)
    with pytest.raises(CertificateError, match="exactly one"):
        load_folder(tmp_path)
