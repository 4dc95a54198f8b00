"""The whole road of bytes: asserted, answered, opened, receipted; and each wrong turn of it."""

from dataclasses import replace

import pytest
from joserfc import jws as independent
from joserfc.jwk import ECKey

from hsm_enrol.errors import SealError, WireError
from hsm_enrol.wire.answer import make_answer, open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, IdentityRole, Instance, sign_assertion, verify_assertion
from hsm_enrol.wire.bundle import Bundle, Client, Ha, Pin, Server
from hsm_enrol.wire.keys import PublicJwk, generate_key, public_to_pem
from hsm_enrol.wire.receipt import Receipt, sign_receipt, verify_receipt
from hsm_enrol.wire.seal import KEMS, SealPrivateKey

OWNER, ANSWERER = generate_key(), generate_key()
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BUNDLE = Bundle(
    serial=1796000000,
    client=Client(name="web", certificate=PEM, private_key=PEM.replace("CERTIFICATE", "PRIVATE KEY")),
    servers=(Server(address="hsm1.example", port=1792, certificate=PEM),),
    ha=Ha(label="group", members=("1234", "5678"), only=True, retry=-1, interval=60),
    pin=Pin(id="pin-00000001", value="canary-pin"),
)


def assertion(seal: SealPrivateKey) -> Assertion:
    return Assertion(
        aud="hsm-enrol:5d0c",
        iat=1796000000,
        jti="A" * 22,
        eat_nonce="n" * 43,
        sub="i-0123456789abcdef0",
        cnf=PublicJwk.from_key(OWNER.public_key()),
        seal=seal.public,
        trust=(PublicJwk.from_key(ANSWERER.public_key()).thumbprint,),
        instance=Instance(
            instance_type="m5.large",
            reservation_id="r-0123456789abcdef0",
            local_hostname="ip-10-0-0-1.eu-central-1.compute.internal",
            account_id="123456789012",
            region="eu-central-1",
            image_id="ami-0123456789abcdef0",
            local_ipv4="10.0.0.1",
            public_hostname=None,
            role="web",
        ),
        reason="boot",
        have=None,
        pin=True,
        identity_role=IdentityRole(
            region="eu-central-1",
            endpoint="regional",
            access_key_id="ASIAABCDEFGHIJKLMNOP",
            security_token="canary-token",
            amz_date="20261124T000000Z",
            signature="0" * 64,
        ),
        iid="A" * 64,
    )


@pytest.mark.parametrize("kem", KEMS)
def test_what_was_sealed_for_one_asker_opens_for_it_alone(kem: str) -> None:
    seal = SealPrivateKey.generate(kem)
    request = verify_assertion(sign_assertion(assertion(seal), OWNER))
    assert request == assertion(seal)
    compact = make_answer(request, serial=BUNDLE.serial, iat=1, bundle=BUNDLE.to_bytes(), trial=False, key=ANSWERER)
    answer = verify_answer(compact, [generate_key().public_key(), ANSWERER.public_key()])
    assert open_answer(answer, request, SealPrivateKey.from_bytes(kem, seal.to_bytes())) == BUNDLE
    with pytest.raises(SealError):
        open_answer(answer, request, SealPrivateKey.generate(kem))


@pytest.mark.parametrize("member", ["jti", "sub", "aud", "nonce", "seal_thumbprint", "kem"])
def test_a3_an_answer_to_another_request_is_refused(member: str) -> None:
    seal = SealPrivateKey.generate("p256")
    request = assertion(seal)
    answer = verify_answer(
        make_answer(request, serial=5, iat=1, bundle=BUNDLE.to_bytes(), trial=False, key=ANSWERER),
        [ANSWERER.public_key()],
    )
    other = replace(answer, **{member: "other"})  # type: ignore[arg-type]  # each member here is a text
    with pytest.raises(WireError, match="A3"):
        open_answer(other, request, seal)


def test_a2_an_answer_by_a_key_that_is_not_pinned_is_refused() -> None:
    compact = make_answer(
        assertion(SealPrivateKey.generate("p256")), serial=5, iat=1, bundle=None, trial=False, key=ANSWERER
    )
    with pytest.raises(WireError, match="A2"):
        verify_answer(compact, [OWNER.public_key()])
    broken = compact[:-8] + (b"AAAAAAAA" if compact[-8:] != b"AAAAAAAA" else b"BBBBBBBB")
    with pytest.raises(WireError, match=r"E[13]"):
        verify_answer(broken, [ANSWERER.public_key()])


def test_current_opens_to_nothing() -> None:
    request = assertion(SealPrivateKey.generate("p256"))
    answer = verify_answer(
        make_answer(request, serial=5, iat=1, bundle=None, trial=True, key=ANSWERER), [ANSWERER.public_key()]
    )
    assert (answer.state, answer.trial) == ("current", False)
    assert open_answer(answer, request, SealPrivateKey.generate("p256")) is None


def test_a_receipt_counts_by_the_owner_key_only() -> None:
    receipt = Receipt(
        aud="hsm-enrol:5d0c",
        sub="i-0123456789abcdef0",
        jti="A" * 22,
        nonce="n" * 43,
        serial=7,
        result="failed",
        code="no_slots",
        pin="untried",
    )
    compact = sign_receipt(receipt, OWNER)
    owner = PublicJwk.from_key(OWNER.public_key())
    assert verify_receipt(compact, lambda sub, serial: owner if (sub, serial) == (receipt.sub, 7) else None) == receipt
    assert verify_receipt(compact, lambda _sub, _serial: PublicJwk.from_key(ANSWERER.public_key())) is None
    assert verify_receipt(compact, lambda _sub, _serial: None) is None


def test_no_repr_shows_a_secret() -> None:
    seal = SealPrivateKey.generate("p256")
    shown = repr((BUNDLE, assertion(seal), seal, assertion(seal).masked()))
    assert "canary" not in shown
    assert BUNDLE.client.private_key not in shown
    assert repr(seal.to_bytes()) not in shown


def test_an_independent_library_verifies_what_we_sign() -> None:
    seal = SealPrivateKey.generate("p256")
    for compact, key in (
        (sign_assertion(assertion(seal), OWNER), OWNER),
        (make_answer(assertion(seal), serial=5, iat=1, bundle=None, trial=False, key=ANSWERER), ANSWERER),
    ):
        jwk = ECKey.import_key(public_to_pem(key.public_key()).decode())
        assert independent.deserialize_compact(compact.decode(), jwk, algorithms=["ES256"]).payload
