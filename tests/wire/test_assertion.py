"""E5, V2, V3: an assertion is read once by a closed schema, then its signature and its seal key are tried."""

from typing import Any

import pytest

from hsm_enrol.errors import WireError
from hsm_enrol.wire import jws
from hsm_enrol.wire.assertion import MAX_ASSERTION, Assertion, sign_assertion, verify_assertion
from hsm_enrol.wire.binding import binding
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.seal import KEMS, SealPublicKey
from hsm_enrol.wire.strict import b64u_encode
from tests.wire.samples import (
    OWNER,
    STRANGER,
    Path,
    as_dict,
    assertion,
    at,
    changed,
    dump,
    paths,
    seal_key,
    without,
)

FULL = as_dict(assertion().to_payload())
OPTIONAL = {
    ("have",),
    ("instance", "local-ipv4"),
    ("instance", "public-hostname"),
    ("instance", "role"),
    ("submods", "identity-role"),
    ("submods", "iid"),
}
ALL = sorted(paths(FULL), key=str)
MEMBERS = [path for path in ALL if isinstance(path[-1], str)]
OBJECTS = [(), *(path for path in ALL if isinstance(at(FULL, path), dict))]


def name_of(path: Path) -> str:
    return ".".join(map(str, path)) or "assertion"


def verify(payload: bytes) -> Assertion:
    return verify_assertion(jws.sign(jws.ASSERTION_HEADER, payload, OWNER))


def refused(payload: bytes) -> str:
    with pytest.raises(WireError) as caught:
        verify(payload)
    assert caught.value.__cause__ is None
    return caught.value.rule


@pytest.mark.parametrize("kem", KEMS)
def test_what_is_said_is_what_is_read(kem: str) -> None:
    assert verify_assertion(sign_assertion(assertion(kem), OWNER)) == assertion(kem)


@pytest.mark.parametrize("path", MEMBERS, ids=name_of)
def test_v2_what_may_be_absent_is_absent_and_the_rest_must_be_there(path: Path) -> None:
    payload = dump(without(FULL, path))
    if path in OPTIONAL:
        assert as_dict(verify(payload).to_payload()) == without(FULL, path)
    else:
        assert refused(payload) in {"V2", "E6"}


@pytest.mark.parametrize("path", ALL, ids=name_of)
@pytest.mark.parametrize(
    "new",
    [
        pytest.param(None, id="null"),
        pytest.param(-1, id="negative"),
        pytest.param(1.5, id="float"),
        pytest.param(2**53, id="too large"),
        pytest.param("", id="empty text"),
        pytest.param("x\n", id="newline at the end"),
        pytest.param("\u0661" * 22, id="digits outside ASCII"),
        pytest.param([], id="empty list"),
        pytest.param([[]], id="list of a list"),
        pytest.param({"x": "y"}, id="another object"),
    ],
)
def test_v2_a_member_of_another_type_is_refused(path: Path, new: Any) -> None:
    assert refused(dump(changed(FULL, path, new))) in {"V2", "E1", "E4", "E6"}


@pytest.mark.parametrize("path", [path for path in ALL if isinstance(at(FULL, path), str)], ids=name_of)
@pytest.mark.parametrize("extra", ["\n", " ", "\0", "\u0660", "/../"])
def test_v2_a_good_text_with_something_after_it_is_refused(path: Path, extra: str) -> None:
    if extra == "/../" and path == ("aud",):  # its alphabet has both signs; it is compared, never used as a path
        assert verify(dump(changed(FULL, path, at(FULL, path) + extra))).aud.endswith(extra)
    else:
        assert refused(dump(changed(FULL, path, at(FULL, path) + extra))) in {"V2", "E1", "E4", "E6"}


@pytest.mark.parametrize("path", [path for path in ALL if type(at(FULL, path)) in {int, bool}], ids=name_of)
def test_v2_a_boolean_is_no_integer_nor_the_other_way_round(path: Path) -> None:
    assert refused(dump(changed(FULL, path, 1 if at(FULL, path) is True else True))) == "V2"


@pytest.mark.parametrize("path", OBJECTS, ids=name_of)
def test_v2_a_member_that_is_not_in_the_schema_is_refused(path: Path) -> None:
    assert refused(dump(changed(FULL, (*path, "extra"), 1))) in {"V2", "E6"}


REFUSED: list[tuple[Path, Any]] = [
    (("eat_profile",), "tag:hsm-enrol,2026:assertion/2"),
    (("aud",), "a b"),
    (("aud",), "x" * 129),
    (("jti",), "AAECAwQFBgcICQoLDA0OD"),
    (("jti",), "AAECAwQFBgcICQoLDA0ODx"),
    (("eat_nonce",), "n" * 21),
    (("eat_nonce",), "n" * 89),
    (("eat_nonce",), "n" * 22 + "."),
    (("sub",), "i-0123456789ABCDEF0"),
    (("sub",), "i-012345678"),
    (("sub",), "i-"),
    (("seal", "kem"), "mlkem768-x25519"),
    (("seal", "kem"), "x25519"),
    (("seal", "key"), b64u_encode(b"\4" + bytes(63))),
    (("seal", "key"), b64u_encode(b"\4" + bytes(65))),
    (("trust",), []),
    (("trust",), [b64u_encode(bytes([n]) * 32) for n in range(5)]),
    (("trust",), [b64u_encode(bytes(32))] * 2),
    (("trust", 0), "A" * 42 + "B"),
    (("instance", "instance-type"), "m5"),
    (("instance", "instance-type"), "m5.large.x"),
    (("instance", "reservation-id"), "i-0123456789abcdef0"),
    (("instance", "local-hostname"), "a..b"),
    (("instance", "local-hostname"), "-a.b"),
    (("instance", "local-hostname"), "a" * 64 + ".b"),
    (("instance", "local-hostname"), ".".join(["a" * 60] * 5)),
    (("instance", "account-id"), "12345678901"),
    (("instance", "region"), "eu-central"),
    (("instance", "region"), "EU-central-1"),
    (("instance", "region"), "eu-central-1@evil.example"),
    (("instance", "region"), "evil.example/eu-central-1"),
    (("instance", "region"), "eu-central-1#"),
    (("instance", "region"), "eu-central-\u0661"),
    (("instance", "image-id"), "ami-xyz"),
    (("instance", "local-ipv4"), "10.0.0.256"),
    (("instance", "local-ipv4"), "010.0.0.1"),
    (("instance", "local-ipv4"), "10.0.0"),
    (("instance", "role"), "a/b"),
    (("instance", "role"), "x" * 65),
    (("reason",), "Boot"),
    (("have",), 0),
    (("submods", "identity-role", "endpoint"), "global"),
    (("submods", "identity-role", "access-key-id"), "AKIAABCDEFGHIJKLMNOP"),
    (("submods", "identity-role", "access-key-id"), "ASIAABCDEFGHIJKLMNO\u212a"),
    (("submods", "identity-role", "security-token"), "a\r\nhost: evil"),
    (("submods", "identity-role", "security-token"), "a" * 12289),
    (("submods", "identity-role", "amz-date"), "20270115T080000"),
    (("submods", "identity-role", "amz-date"), "2027-01-15T08:00:00Z"),
    (("submods", "identity-role", "signature"), "C0" * 32),
    (("submods", "identity-role", "signature"), "c0" * 31),
    (("submods", "iid", "rsa2048"), "QUJD\nQUJD"),
    (("submods", "iid", "rsa2048"), "QUJDQUJDQUJDQUJDQ"),
    (("submods", "iid", "rsa2048"), "QUJDQUJDQUJDQUJDQR=="),
    (("submods", "iid", "rsa2048"), "QUJDQUJDQUJDQUJDQUJ="),
    (("submods", "iid", "rsa2048"), "QUJD_-JDQUJDQUJD"),
    (("submods", "iid", "rsa2048"), "QUJD" * 2049),
]


@pytest.mark.parametrize(("path", "new"), REFUSED, ids=[name_of(path) for path, _ in REFUSED])
def test_v2_a_text_outside_its_grammar_is_refused(path: Path, new: Any) -> None:
    assert refused(dump(changed(FULL, path, new))) in {"V2", "E1"}


ACCEPTED: list[tuple[Path, Any]] = [
    (("aud",), "x"),
    (("sub",), "i-01234567"),
    (("instance", "instance-type"), "u-24tb1.112xlarge"),
    (("instance", "instance-type"), "mac2-m2pro.metal"),
    (("instance", "local-hostname"), "i-0123456789abcdef0.us-west-2.compute.internal"),
    (("instance", "region"), "us-gov-west-1"),
    (("instance", "region"), "eusc-de-east-1"),
    (("instance", "region"), "mx-central-1"),
    (("instance", "role"), "a_+=,.@-Z9"),
    (("submods", "identity-role", "endpoint"), "fips"),
    (("submods", "identity-role", "security-token"), "a" * 12288),
    (("submods", "iid", "rsa2048"), "QUJD" * 2048),
    (("submods", "iid", "rsa2048"), "QUJDQUJDQUJDQUJDQQ=="),
    (("submods", "iid", "rsa2048"), "QUJDQUJDQUJDQUJDQUI="),
]


@pytest.mark.parametrize(("path", "new"), ACCEPTED, ids=[name_of(path) for path, _ in ACCEPTED])
def test_v2_what_aws_really_says_is_accepted(path: Path, new: Any) -> None:
    assert at(as_dict(verify(dump(changed(FULL, path, new))).to_payload()), path) == new


def test_v2_an_assertion_without_evidence_is_well_formed() -> None:
    said = assertion(identity_role=None, iid=None, have=None)
    assert verify_assertion(sign_assertion(said, OWNER)) == said


def test_v1_an_assertion_beyond_its_cap_is_not_even_split() -> None:
    with pytest.raises(WireError, match="V1"):
        verify_assertion(b"." * (MAX_ASSERTION + 1))


def test_e5_the_payload_is_read_before_its_signature_and_used_only_after() -> None:
    first, second, third = sign_assertion(assertion(), OWNER).split(b".")
    other = sign_assertion(assertion(reason="operator"), OWNER).split(b".")[1]
    for middle in (other, b64u_encode(assertion(cnf=PublicJwk.from_key(STRANGER.public_key())).to_payload()).encode()):
        with pytest.raises(WireError, match="E3"):
            verify_assertion(b".".join((first, middle, third)))
    assert verify_assertion(b".".join((first, second, third))) == assertion()


def test_v3_the_signature_is_by_the_key_inside() -> None:
    with pytest.raises(WireError, match="E3"):
        verify_assertion(jws.sign(jws.ASSERTION_HEADER, assertion().to_payload(), STRANGER))


def test_v3_nobody_signs_for_another_key() -> None:
    with pytest.raises(WireError, match="V3"):
        sign_assertion(assertion(), STRANGER)


def test_v2_what_we_sign_we_could_read() -> None:
    with pytest.raises(WireError, match=r"V2 assertion\.reason"):
        sign_assertion(assertion(reason="because"), OWNER)


def hybrid(mlkem: bytes, x25519: bytes) -> dict[str, str]:
    return {"kem": "mlkem768-x25519", "key": b64u_encode(mlkem + x25519)}


GOOD_MLKEM = seal_key("mlkem768-x25519").public.raw[:1184]
BROKEN_SEAL_KEYS = {
    "X25519 point of low order": hybrid(GOOD_MLKEM, bytes(32)),
    "ML-KEM coefficients beyond q": hybrid(b"\xff" * 1184, bytes([9, *bytes(31)])),
    "P-256 point off the curve": {"kem": "p256", "key": b64u_encode(b"\4" + bytes(64))},
    "P-256 point in the hybrid spelling": {"kem": "p256", "key": b64u_encode(b"\6" + seal_key().public.raw[1:])},
}


@pytest.mark.parametrize("name", BROKEN_SEAL_KEYS)
def test_v3_a_seal_key_that_cannot_be_sealed_to_is_refused(name: str) -> None:
    assert refused(dump(changed(FULL, ("seal",), BROKEN_SEAL_KEYS[name]))) == "V3"


def test_v3_the_seal_key_is_tried_only_after_the_signature() -> None:
    payload = dump(changed(FULL, ("seal",), BROKEN_SEAL_KEYS["X25519 point of low order"]))
    with pytest.raises(WireError, match="E3"):
        verify_assertion(jws.sign(jws.ASSERTION_HEADER, payload, STRANGER))


def test_masked_shows_everything_but_evidence() -> None:
    shown = assertion().masked()
    assert "CANARY" not in str(shown)
    assert assertion().iid not in str(shown).split("'")
    assert shown["submods"]["identity-role"]["security-token"] == "(15 characters, masked)"
    assert shown["submods"]["identity-role"]["signature"] == "(64 characters, masked)"
    assert shown["submods"]["identity-role"]["amz-date"] == "20270115T080000Z"
    assert {name for name in shown if name != "submods"} == set(FULL) - {"submods"}


TEXTS = {
    "aud": "hsm-enrol:1",
    "eat_nonce": "n" * 22,
    "jti": "j" * 22,
    "cnf_thumbprint": "c" * 43,
    "seal_thumbprint": "s" * 43,
    "sub": "i-01234567",
}


def test_the_binding_changes_with_each_of_its_texts() -> None:
    bindings = {binding(**TEXTS), *(binding(**TEXTS | {name: TEXTS[name] + "x"}) for name in TEXTS)}
    assert len(bindings) == 1 + len(TEXTS)


def test_the_binding_is_the_assertions_own() -> None:
    said = assertion()
    assert said.binding() == binding(
        aud=said.aud,
        eat_nonce=said.eat_nonce,
        jti=said.jti,
        cnf_thumbprint=said.cnf.thumbprint,
        seal_thumbprint=said.seal.thumbprint,
        sub=said.sub,
    )
    others = [
        assertion(jti="A" * 22),
        assertion(sub="i-01234567"),
        assertion(aud="hsm-enrol:2"),
        assertion(eat_nonce="n" * 22),
        assertion(cnf=PublicJwk.from_key(STRANGER.public_key())),
        assertion(seal=SealPublicKey(kem="p256", raw=b"\4" + bytes(64))),
    ]
    assert said.binding() not in {other.binding() for other in others}
    assert assertion(reason="refresh", pin=False).binding() == said.binding()
