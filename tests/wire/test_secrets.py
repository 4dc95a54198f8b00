"""Canaries: no repr and no error of this package shows a key, a PIN, a token or a signature."""

import traceback
from collections.abc import Callable

import pytest

from hsm_enrol.errors import SealError, WireError
from hsm_enrol.wire.answer import make_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.bundle import Bundle, check_bundle
from hsm_enrol.wire.seal import KEMS
from hsm_enrol.wire.strict import b64u_encode
from tests.wire.samples import (
    ANSWERER,
    NOW,
    ROLE,
    as_dict,
    assertion,
    bundle,
    certify,
    changed,
    dump,
    pem_of,
    rsa_key,
    seal_key,
)

KEY_LINES = [line for line in bundle().client.private_key.splitlines() if not line.startswith("-----")]
SECRETS = ["CANARY", ROLE.signature, assertion().iid or "", *KEY_LINES]


def assert_quiet(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text
    for kem in KEMS:
        raw = seal_key(kem).to_bytes()
        for form in (repr(raw), raw.hex(), b64u_encode(raw), str(int.from_bytes(raw, "big"))):
            assert form.strip("b'") not in text


@pytest.mark.parametrize("kem", KEMS)
def test_no_repr_shows_a_secret(kem: str) -> None:
    request = assertion(kem)
    compact = make_answer(request, serial=1, iat=NOW, bundle=bundle().to_bytes(), trial=False, key=ANSWERER)
    answer = verify_answer(compact, [ANSWERER.public_key()])
    for value in (bundle(), request, request.masked(), seal_key(kem), answer):
        assert_quiet(repr(value))
        assert_quiet(str(value))
    assert repr(answer.sealed) not in repr(answer)


def broken_bundle() -> Bundle:
    return Bundle.from_bytes(dump(changed(as_dict(bundle().to_bytes()), ("partition_pin", "value"), "CANARY\n")))


def foreign_pair() -> None:
    wrong = changed(as_dict(bundle().to_bytes()), ("client", "certificate"), certify(rsa_key()))
    check_bundle(Bundle.from_bytes(dump(wrong)), NOW)


def key_as_label() -> None:
    wrong = changed(as_dict(bundle().to_bytes()), ("ha", "label"), pem_of(ANSWERER))
    check_bundle(Bundle.from_bytes(dump(wrong)), NOW)


def broken_assertion() -> Assertion:
    payload = as_dict(assertion().to_payload())
    return Assertion.from_payload(dump(changed(payload, ("submods", "identity-role", "security-token"), "CANARY\n")))


def broken_seal() -> bytes:
    return seal_key().open(b"CANARY" * 40, b"CANARY")


@pytest.mark.parametrize("fault", [broken_bundle, foreign_pair, key_as_label, broken_assertion, broken_seal])
def test_no_error_shows_a_secret(fault: Callable[[], object]) -> None:
    with pytest.raises((WireError, SealError)) as caught:
        fault()
    assert_quiet(repr(caught.value))
    assert_quiet(str(vars(caught.value)))
    lines = traceback.format_exception_only(caught.value)
    assert_quiet("".join(lines))
