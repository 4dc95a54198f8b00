"""The whole road of bytes: asserted, answered, opened, receipted; and an independent library agrees with each step."""

import pytest
from joserfc import jws as independent
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from hsm_enrol.errors import SealError
from hsm_enrol.wire import jws
from hsm_enrol.wire.answer import make_answer, open_answer, verify_answer
from hsm_enrol.wire.assertion import sign_assertion, verify_assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.receipt import sign_receipt, verify_receipt
from hsm_enrol.wire.seal import KEMS, SealPrivateKey
from tests.wire.samples import ANSWERER, KID, NOW, OWNER, assertion, bundle, receipt

ANSWER = make_answer(assertion(), serial=5, iat=NOW, bundle=bundle().to_bytes(), trial=True, key=ANSWERER)
CURRENT = make_answer(assertion(), serial=5, iat=NOW, bundle=None, trial=False, key=ANSWERER)


@pytest.mark.parametrize("kem", KEMS)
def test_what_was_sealed_for_one_asker_opens_for_it_alone(kem: str) -> None:
    seal = SealPrivateKey.generate(kem)
    said = assertion(seal=seal.public)
    request = verify_assertion(sign_assertion(said, OWNER))
    assert request == said
    compact = make_answer(request, serial=bundle().serial, iat=1, bundle=bundle().to_bytes(), trial=False, key=ANSWERER)
    answer = verify_answer(compact, [generate_key().public_key(), ANSWERER.public_key()])
    assert open_answer(answer, request, SealPrivateKey.from_bytes(kem, seal.to_bytes())) == bundle()
    with pytest.raises(SealError):
        open_answer(answer, request, SealPrivateKey.generate(kem))
    told = receipt(result="installed", code=None, pin="accepted", nonce=answer.nonce, serial=answer.serial)
    assert verify_receipt(sign_receipt(told, OWNER), lambda _sub, _serial: request.cnf) == told


@pytest.mark.parametrize(
    ("compact", "jwk", "header", "payload"),
    [
        pytest.param(
            sign_assertion(assertion(), OWNER),
            PublicJwk.from_key(OWNER.public_key()),
            {"alg": "ES256", "typ": "hsm-enrol-assertion+jwt"},
            assertion().to_payload(),
            id="assertion",
        ),
        pytest.param(
            ANSWER,
            PublicJwk.from_key(ANSWERER.public_key()),
            {"alg": "ES256", "kid": KID, "typ": "hsm-enrol-answer+jwt"},
            verify_answer(ANSWER, [ANSWERER.public_key()]).to_payload(),
            id="answer",
        ),
        pytest.param(
            CURRENT,
            PublicJwk.from_key(ANSWERER.public_key()),
            {"alg": "ES256", "kid": KID, "typ": "hsm-enrol-answer+jwt"},
            verify_answer(CURRENT, [ANSWERER.public_key()]).to_payload(),
            id="current",
        ),
        pytest.param(
            sign_receipt(receipt(), OWNER),
            PublicJwk.from_key(OWNER.public_key()),
            {"alg": "ES256", "typ": "hsm-enrol-receipt+jwt"},
            receipt().to_payload(),
            id="receipt",
        ),
    ],
)
def test_an_independent_library_verifies_what_we_sign(
    compact: bytes, jwk: PublicJwk, header: dict[str, str], payload: bytes
) -> None:
    key = ECKey.import_key({**jwk.as_json()})
    registry = JWSRegistry(algorithms=["ES256"])
    registry.max_payload_length = len(compact)
    found = independent.deserialize_compact(compact.decode(), key, registry=registry)
    assert found.headers() == header
    assert found.payload == payload
    assert key.thumbprint() == jwk.thumbprint


def test_we_verify_what_an_independent_library_signs() -> None:
    key = ECKey.generate_key("P-256", {"use": "sig"})
    compact = independent.serialize_compact({"alg": "ES256", "typ": "hsm-enrol-receipt+jwt"}, b"payload", key)
    public = PublicJwk.from_json({name: key.as_dict(private=False)[name] for name in ("crv", "kty", "x", "y")})
    assert jws.verify(compact.encode(), jws.RECEIPT_HEADER, public.key()) == b"payload"
