"""E2, E3: a JWS is three parts, its header a constant, its signature 64 bytes in range."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.wire import jws
from hsm_enrol.wire.strict import b64u_decode, b64u_encode
from tests.wire.samples import KID, OWNER, STRANGER

HEADER = jws.ASSERTION_HEADER
COMPACT = jws.sign(HEADER, b"payload", OWNER)
FIRST, SECOND, THIRD = COMPACT.split(b".")
R_AND_S = b64u_decode(THIRD.decode(), "x")


def with_signature(signature: bytes) -> bytes:
    return b".".join((FIRST, SECOND, b64u_encode(signature).encode()))


def numbers(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def refused(compact: bytes) -> str:
    with pytest.raises(WireError) as caught:
        jws.verify(compact, HEADER, OWNER.public_key())
    return caught.value.rule


def test_what_was_signed_comes_back() -> None:
    assert jws.verify(COMPACT, HEADER, OWNER.public_key()) == b"payload"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b'{"typ":"hsm-enrol-assertion+jwt","alg":"ES256"}', id="members in another order"),
        pytest.param(b'{"alg": "ES256","typ":"hsm-enrol-assertion+jwt"}', id="a blank"),
        pytest.param(b'{"alg":"none","typ":"hsm-enrol-assertion+jwt"}', id="alg none"),
        pytest.param(b'{"alg":"HS256","typ":"hsm-enrol-assertion+jwt"}', id="alg HS256"),
        pytest.param(b'{"alg":"ES256"}', id="no typ"),
        pytest.param(b'{"alg":"ES256","jwk":{},"typ":"hsm-enrol-assertion+jwt"}', id="a key in the header"),
        pytest.param(b'{"alg":"ES256","crit":["b64"],"typ":"hsm-enrol-assertion+jwt"}', id="crit"),
        pytest.param(jws.RECEIPT_HEADER, id="a receipt's"),
        pytest.param(jws.answer_header(KID), id="an answer's"),
        pytest.param(b"", id="empty"),
    ],
)
def test_e2_another_header_is_refused_though_well_signed(header: bytes) -> None:
    assert refused(jws.sign(header, b"payload", OWNER)) == "E2"


@pytest.mark.parametrize(
    ("compact", "rule"),
    [
        pytest.param(b"", "E2", id="empty"),
        pytest.param(FIRST + b"." + SECOND, "E2", id="two parts"),
        pytest.param(COMPACT + b".", "E2", id="four parts"),
        pytest.param(COMPACT + b".AA", "E2", id="a fourth part"),
        pytest.param(b"." + COMPACT, "E2", id="a part before"),
        pytest.param(b" " + COMPACT, "E2", id="a blank before"),
        pytest.param(FIRST + b"=." + SECOND + b"." + THIRD, "E2", id="padded header"),
        pytest.param(COMPACT + b"\n", "E1", id="a newline after"),
        pytest.param(COMPACT + b"==", "E1", id="padded signature"),
        pytest.param(FIRST + b"." + SECOND + b"=." + THIRD, "E1", id="padded payload"),
        pytest.param(FIRST + b".\xc3\xa9AA." + THIRD, "E1", id="not ASCII"),
        pytest.param(FIRST + b".." + THIRD, "E3", id="payload taken out"),
        pytest.param(b'{"payload":"","signatures":[]}', "E2", id="JSON serialisation"),
    ],
)
def test_e2_anything_but_three_parts_is_refused(compact: bytes, rule: str) -> None:
    assert refused(compact) == rule


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="empty"),
        pytest.param(R_AND_S[:-1], id="63 bytes"),
        pytest.param(R_AND_S + b"\0", id="65 bytes"),
        pytest.param(OWNER.sign(FIRST + b"." + SECOND, ec.ECDSA(hashes.SHA256())), id="DER"),
        pytest.param(bytes(64), id="r and s zero"),
        pytest.param(bytes(32) + R_AND_S[32:], id="r zero"),
        pytest.param(R_AND_S[:32] + bytes(32), id="s zero"),
        pytest.param(numbers(jws.ORDER, 1), id="r is n"),
        pytest.param(numbers(1, jws.ORDER), id="s is n"),
        pytest.param(numbers(jws.ORDER + 1, 1), id="r is n + 1"),
        pytest.param(b"\xff" * 64, id="all ones"),
        pytest.param(R_AND_S[32:] + R_AND_S[:32], id="s before r"),
        pytest.param(bytes([R_AND_S[0] ^ 1]) + R_AND_S[1:], id="a flipped bit"),
    ],
)
def test_e3_a_signature_out_of_range_or_of_another_is_refused(signature: bytes) -> None:
    assert refused(with_signature(signature)) == "E3"


def test_e3_both_of_the_two_values_of_s_are_accepted() -> None:
    r, s = int.from_bytes(R_AND_S[:32], "big"), int.from_bytes(R_AND_S[32:], "big")
    for one in (s, jws.ORDER - s):
        assert jws.verify(with_signature(numbers(r, one)), HEADER, OWNER.public_key()) == b"payload"


def test_e3_another_key_is_refused() -> None:
    with pytest.raises(WireError, match="E3"):
        jws.verify(COMPACT, HEADER, STRANGER.public_key())


def test_e3_a_small_r_keeps_its_leading_zeros() -> None:
    # One signature in 256 begins with a zero byte: look for it, so that the fixed width is really met.
    for number in range(5000):
        payload = number.to_bytes(2, "big")
        compact = jws.sign(HEADER, payload, OWNER)
        signature = b64u_decode(compact.split(b".")[2].decode(), "x")
        assert len(signature) == 64
        if 0 in (signature[0], signature[32]):
            assert jws.verify(compact, HEADER, OWNER.public_key()) == payload
            return
    pytest.fail("no leading zero in 5000 signatures")


def test_e3_a_half_without_its_leading_zero_is_another_spelling_and_refused() -> None:
    # The numbers are the same; only the length tells.
    for number in range(5000):
        signed, _, signature = jws.sign(HEADER, number.to_bytes(2, "big"), OWNER).rpartition(b".")
        raw = b64u_decode(signature.decode(), "x")
        if raw[32] == 0:
            assert refused(signed + b"." + b64u_encode(raw[:32] + raw[33:]).encode()) == "E3"
            return
    pytest.fail("no leading zero in 5000 signatures")


def test_the_curves_order_is_the_librarys() -> None:
    with pytest.raises(ValueError):
        ec.derive_private_key(jws.ORDER, ec.SECP256R1())
    assert ec.derive_private_key(jws.ORDER - 1, ec.SECP256R1()).private_numbers().private_value == jws.ORDER - 1
