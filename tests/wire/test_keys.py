"""E6: a P-256 key has one spelling; keys on disk are P-256 or refused."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.errors import WireError
from hsm_enrol.wire import keys
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.strict import b64u_encode
from tests.wire.samples import OWNER, key_of, pem_of, rsa_key

JWK = PublicJwk.from_key(OWNER.public_key()).as_json()
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
# A point whose x has a second spelling in 32 bytes.
FIVE = (5, 0x459243B9AA581806FE913BCE99817ADE11CA503C64D9A3C533415C083248FBCC)
POINT = {name: b64u_encode(number.to_bytes(32, "big")) for name, number in zip("xy", FIVE, strict=True)}


@given(st.integers(1, 2**255))
def test_e6_a_key_is_read_as_it_was_written(number: int) -> None:
    key = key_of(number).public_key()
    jwk = PublicJwk.from_key(key)
    assert PublicJwk.from_json(jwk.as_json()) == jwk
    assert jwk.key() == key
    assert PublicJwk.from_key(keys.public_from_pem(keys.public_to_pem(key))) == jwk


BAD: dict[str, Any] = {
    "not an object": [],
    "no kty": {name: value for name, value in JWK.items() if name != "kty"},
    "no y": {name: value for name, value in JWK.items() if name != "y"},
    "private": JWK | {"d": "AA"},
    "kid": JWK | {"kid": "AA"},
    "another curve": JWK | {"crv": "P-384"},
    "another type": JWK | {"kty": "OKP"},
    "small letters": JWK | {"crv": "p-256"},
    "x is a number": JWK | {"x": 1},
    "x is short": JWK | {"x": b64u_encode(bytes(31))},
    "x is long": JWK | {"x": b64u_encode(bytes(33))},
    "x is padded": JWK | {"x": JWK["x"] + "="},
    "x has another tail": JWK | {"x": JWK["x"][:-1] + "_"},
    "off the curve": JWK | {"y": JWK["x"]},
    "x beyond the field": JWK | POINT | {"x": b64u_encode((PRIME + FIVE[0]).to_bytes(32, "big"))},
    "the point at infinity": JWK | {"x": b64u_encode(bytes(32)), "y": b64u_encode(bytes(32))},
}


def test_e6_a_point_with_a_small_x_is_a_key_like_any_other() -> None:
    assert PublicJwk.from_json(JWK | POINT).key().public_numbers().x == FIVE[0]


@pytest.mark.parametrize("name", BAD)
def test_e6_another_spelling_or_no_point_is_refused(name: str) -> None:
    with pytest.raises(WireError, match="E6"):
        PublicJwk.from_json(BAD[name])


def test_e6_the_thumbprint_is_rfc_7638s() -> None:
    text = '{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.format(**JWK)
    assert PublicJwk.from_json(JWK).thumbprint == b64u_encode(hashlib.sha256(text.encode()).digest())


def test_e6_a_key_on_another_curve_has_no_jwk() -> None:
    with pytest.raises(WireError, match="E6"):
        PublicJwk.from_key(ec.generate_private_key(ec.SECP384R1()).public_key())


def test_e6_a_key_put_together_by_hand_is_checked_when_used() -> None:
    with pytest.raises(WireError):
        PublicJwk(x=JWK["x"], y=JWK["x"]).key()


def test_a_private_key_is_read_as_it_was_written() -> None:
    key = keys.generate_key()
    assert keys.private_from_pem(keys.private_to_pem(key)).private_numbers() == key.private_numbers()


ENCRYPTED = OWNER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
ED25519 = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="not text"),
        pytest.param(ENCRYPTED, id="encrypted"),
        pytest.param(pem_of(ec.generate_private_key(ec.SECP384R1())).encode(), id="P-384"),
        pytest.param(pem_of(rsa_key()).encode(), id="RSA"),
        pytest.param(ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), id="Ed25519"),
        pytest.param(keys.public_to_pem(OWNER.public_key()), id="public"),
    ],
)
def test_e6_a_private_key_that_is_not_p256_is_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="E6"):
        keys.private_from_pem(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(keys.private_to_pem(OWNER), id="private"),
        pytest.param(rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), id="RSA"),
        pytest.param(
            ec.generate_private_key(ec.SECP521R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            id="P-521",
        ),
    ],
)
def test_e6_a_public_key_that_is_not_p256_is_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="E6"):
        keys.public_from_pem(data)
