"""A1 to A5: an answer is by a pinned key, about the request just sent, opens, and holds a bundle of its serial."""

from dataclasses import replace
from typing import Any

import pytest

from hsm_enrol.errors import SealError, WireError
from hsm_enrol.wire import jws
from hsm_enrol.wire.answer import MAX_ANSWER, Answer, make_answer, open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.bundle import MAX_BUNDLE, Bundle
from hsm_enrol.wire.seal import KEMS, SealPrivateKey, answer_info
from hsm_enrol.wire.strict import b64u_encode
from tests.wire.samples import (
    ANSWERER,
    KID,
    NOW,
    OWNER,
    STRANGER,
    Path,
    as_dict,
    assertion,
    bundle,
    changed,
    dump,
    paths,
    seal_key,
    without,
)

SERIAL = bundle().serial
PINNED = [OWNER.public_key(), ANSWERER.public_key()]


def answer_to(
    request: Assertion, plaintext: bytes | None = bundle().to_bytes(), *, serial: int = SERIAL, trial: bool = False
) -> Answer:
    compact = make_answer(request, serial=serial, iat=NOW, bundle=plaintext, trial=trial, key=ANSWERER)
    return verify_answer(compact, PINNED)


FULL = as_dict(answer_to(assertion(), trial=True).to_payload())
CURRENT = as_dict(answer_to(assertion(), None).to_payload())


def read(payload: bytes) -> Answer:
    return verify_answer(jws.sign(jws.answer_header(KID), payload, ANSWERER), PINNED)


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("trial", [True, False])
def test_the_asker_gets_the_bundle(kem: str, trial: bool) -> None:  # noqa: FBT001  a table's column
    request = assertion(kem)
    answer = answer_to(request, trial=trial)
    assert (answer.state, answer.serial, answer.trial, answer.kem, answer.iat) == ("bundle", SERIAL, trial, kem, NOW)
    assert open_answer(answer, request, seal_key(kem)) == bundle()
    assert Answer.from_payload(answer.to_payload()) == answer


def test_current_is_signed_and_has_nothing_sealed() -> None:
    answer = answer_to(assertion(), None, trial=True)
    assert (answer.state, answer.trial, answer.sealed, answer.kem) == ("current", False, None, None)
    assert open_answer(answer, assertion(), seal_key()) is None
    assert set(CURRENT) == {"jti", "sub", "aud", "nonce", "iat", "serial", "state"}


def test_a1_an_answer_beyond_its_cap_is_not_even_split() -> None:
    with pytest.raises(WireError, match="A1"):
        verify_answer(b"." * (MAX_ANSWER + 1), PINNED)


def test_a2_only_pinned_keys_count() -> None:
    compact = make_answer(assertion(), serial=1, iat=NOW, bundle=None, trial=False, key=ANSWERER)
    for keys in ([], [OWNER.public_key()], [STRANGER.public_key(), OWNER.public_key()]):
        with pytest.raises(WireError, match="A2"):
            verify_answer(compact, keys)


def test_a2_a_stranger_who_names_a_pinned_key_is_refused() -> None:
    payload = dump(CURRENT)
    with pytest.raises(WireError, match="E3"):
        verify_answer(jws.sign(jws.answer_header(KID), payload, STRANGER), PINNED)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b'{"alg":"ES256","typ":"hsm-enrol-answer+jwt"}', id="no kid"),
        pytest.param(b'{"kid":"%b","alg":"ES256","typ":"hsm-enrol-answer+jwt"}' % KID.encode(), id="another order"),
        pytest.param(b'{"alg":"none","kid":"%b","typ":"hsm-enrol-answer+jwt"}' % KID.encode(), id="alg none"),
        pytest.param(jws.ASSERTION_HEADER, id="an assertion's header"),
        pytest.param(jws.RECEIPT_HEADER, id="a receipt's header"),
    ],
)
def test_a2_the_header_is_compared_as_bytes(header: bytes) -> None:
    with pytest.raises(WireError, match="A2"):
        verify_answer(jws.sign(header, dump(CURRENT), ANSWERER), PINNED)


def test_a2_nothing_of_the_payload_is_read_before_the_signature_fits() -> None:
    with pytest.raises(WireError, match="E3"):
        verify_answer(jws.sign(jws.answer_header(KID), b"not JSON", STRANGER), PINNED)


@pytest.mark.parametrize("name", FULL)
def test_a3_a_member_taken_out_is_refused(name: str) -> None:
    payload = dump(without(FULL, (name,)))
    if name == "trial":
        assert not read(payload).trial
    else:
        with pytest.raises(WireError, match="A3"):
            read(payload)


@pytest.mark.parametrize("path", list(paths(FULL)), ids=str)
@pytest.mark.parametrize("new", [None, -1, 1.5, "", "x\n", [], {"x": 1}], ids=repr)
def test_a3_a_member_of_another_type_is_refused(path: Path, new: Any) -> None:
    with pytest.raises(WireError, match=r"A3|E4"):
        read(dump(changed(FULL, path, new)))


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        pytest.param(FULL | {"extra": 1}, "A3", id="a member that is not in the schema"),
        pytest.param(FULL | {"trial": False}, "A3", id="trial false has one spelling: absent"),
        pytest.param(FULL | {"state": "none"}, "A3", id="unknown state"),
        pytest.param(FULL | {"serial": 0}, "A3", id="serial zero"),
        pytest.param(FULL | {"serial": True}, "A3", id="serial is a boolean"),
        pytest.param(FULL | {"sealed": FULL["sealed"] + "="}, "A3", id="padding"),
        pytest.param(FULL | {"kem": "x25519"}, "A3", id="unknown kem"),
        pytest.param(CURRENT | {"trial": True}, "A3", id="current and trial"),
        pytest.param(CURRENT | {"sealed": FULL["sealed"]}, "A3", id="current with something sealed"),
        pytest.param(CURRENT | {"kem": FULL["kem"]}, "A3", id="current with a kem"),
        pytest.param(CURRENT | {"seal_thumbprint": FULL["seal_thumbprint"]}, "A3", id="current with a thumbprint"),
        pytest.param(CURRENT | {"state": "bundle"}, "A3", id="bundle with nothing sealed"),
    ],
)
def test_a3_an_answer_outside_the_closed_schema_is_refused(payload: dict[str, Any], rule: str) -> None:
    with pytest.raises(WireError, match=rule):
        read(dump(payload))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("jti", "A" * 22),
        ("sub", "i-0fedcba9876543210"),
        ("aud", "hsm-enrol:other"),
        ("nonce", "n" * 43),
        ("kem", "mlkem768-x25519"),
        ("seal_thumbprint", "A" * 43),
    ],
)
def test_a3_an_answer_to_another_request_is_refused(member: str, value: str) -> None:
    answer = answer_to(assertion())
    other = replace(answer, **{member: value})  # type: ignore[arg-type]  # each member here is a text
    with pytest.raises(WireError, match=f"A3 {member}"):
        open_answer(other, assertion(), seal_key())


def test_a3_yesterdays_current_is_refused_today() -> None:
    answer = answer_to(assertion(eat_nonce="yesterday-yesterday-yesterday"), None)
    with pytest.raises(WireError, match="A3 nonce"):
        open_answer(answer, assertion(), seal_key())


def test_a4_a_bundle_sealed_for_another_purpose_does_not_open() -> None:
    answer = answer_to(assertion())
    with pytest.raises(SealError):  # the serial is in HPKE's info: it cannot be changed around the same ciphertext
        open_answer(replace(answer, serial=SERIAL + 1), assertion(), seal_key())
    with pytest.raises(SealError):
        open_answer(answer, assertion(), SealPrivateKey.generate("p256"))
    moved = answer_to(assertion(jti="A" * 22))
    with pytest.raises(SealError):
        open_answer(replace(moved, jti=assertion().jti), assertion(), seal_key())


@pytest.mark.parametrize(
    "plaintext",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no members"),
        pytest.param(bundle().to_bytes() + b"\0", id="something after it"),
        pytest.param(replace(bundle(), serial=SERIAL + 1).to_bytes(), id="another serial"),
    ],
)
def test_a5_what_was_sealed_is_no_bundle_of_this_serial(plaintext: bytes) -> None:
    with pytest.raises(WireError, match=r"A5|E4"):
        open_answer(answer_to(assertion(), plaintext), assertion(), seal_key())


def test_a5_a_bundle_beyond_its_cap_is_neither_sealed_nor_read() -> None:
    plaintext = bundle().to_bytes().ljust(MAX_BUNDLE + 1)
    with pytest.raises(WireError, match="A5"):
        answer_to(assertion(), plaintext)
    request = assertion()
    info = answer_info(
        aud=request.aud,
        jti=request.jti,
        nonce=request.eat_nonce,
        sub=request.sub,
        serial=SERIAL,
        thumbprint=request.seal.thumbprint,
    )
    answer = read(dump(FULL | {"sealed": b64u_encode(request.seal.seal(plaintext, info))}))
    with pytest.raises(WireError, match="A5 bundle is too large"):
        open_answer(answer, request, seal_key())
    assert open_answer(answer_to(request, plaintext[:-1]), request, seal_key()) == bundle()


def test_the_largest_bundle_fits_into_the_largest_answer() -> None:
    request = assertion("mlkem768-x25519", aud="a" * 128, eat_nonce="n" * 88)
    compact = make_answer(request, serial=2**53 - 1, iat=NOW, bundle=bytes(MAX_BUNDLE), trial=True, key=ANSWERER)
    assert len(compact) <= MAX_ANSWER
    assert isinstance(verify_answer(compact, PINNED), Answer)
    assert Bundle.from_bytes(bundle().to_bytes()) == bundle()
