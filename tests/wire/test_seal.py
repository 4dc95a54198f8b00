"""The seal: opens for one key and one purpose; keys outside the table's lengths, curves and orders are refused (V3)."""

import hashlib

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm_enrol.errors import SealError, WireError
from hsm_enrol.wire import seal
from hsm_enrol.wire.jws import ORDER
from hsm_enrol.wire.seal import HYBRID, KEMS, P256, SealPrivateKey, SealPublicKey, answer_info, kem_available
from tests.wire.samples import seal_key

MLKEM = seal_key(HYBRID).public.raw[:1184]

# The points whose order divides 8 (cr.yp.to/ecdh.html, "How do I validate Curve25519 public keys?"), with those
# spellings beyond the prime that fit 255 bits; the unused top bit doubles each of them (RFC 7748 section 5 masks it).
P = 2**255 - 19
EIGHT_A = 325606250916557431795983626356110631294008115727848805560023387167927233504
EIGHT_B = 39382357235489614581723060781553021112529911719440698176882885853963445705823
LOW_ORDER = [0, 1, EIGHT_A, EIGHT_B, P - 1, P, P + 1]


@settings(max_examples=20)
@given(st.binary(max_size=300), st.binary(max_size=40), st.sampled_from(KEMS))
def test_a4_what_is_sealed_opens_with_its_key_and_info(plaintext: bytes, info: bytes, kem: str) -> None:
    key = seal_key(kem)
    sealed = key.public.seal(plaintext, info)
    assert len(sealed) == {HYBRID: 1120, P256: 65}[kem] + len(plaintext) + 16
    assert key.open(sealed, info) == plaintext


@pytest.mark.parametrize("kem", KEMS)
def test_the_same_text_is_sealed_anew_each_time(kem: str) -> None:
    assert seal_key(kem).public.seal(b"x", b"") != seal_key(kem).public.seal(b"x", b"")


def assert_shut(key: SealPrivateKey, sealed: bytes, info: bytes) -> None:
    with pytest.raises(SealError) as caught:
        key.open(sealed, info)
    assert (caught.value.args, caught.value.__cause__, caught.value.__context__) == ((), None, None)


@pytest.mark.parametrize("kem", KEMS)
def test_a4_every_way_not_to_open_is_one_error_without_cause(kem: str) -> None:
    key = seal_key(kem)
    sealed = key.public.seal(b"plaintext", b"info")
    enc = {HYBRID: 1120, P256: 65}[kem]
    for at in {0, 1, enc // 2, enc - 33, enc - 1, enc, len(sealed) - 17, len(sealed) - 1}:
        assert_shut(key, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"info")
    for length in (0, 1, enc - 1, enc, enc + 15, len(sealed) - 1):
        assert_shut(key, sealed[:length], b"info")
    assert_shut(key, sealed + b"\0", b"info")
    assert_shut(key, b"\0" * len(sealed), b"info")
    assert_shut(key, sealed, b"other")
    assert_shut(SealPrivateKey.generate(kem), sealed, b"info")


def test_a4_a_low_order_point_in_the_encapsulation_is_the_same_error() -> None:
    key = seal_key(HYBRID)
    sealed = key.public.seal(b"plaintext", b"info")
    assert_shut(key, sealed[:1088] + bytes(32) + sealed[1120:], b"info")


@pytest.mark.parametrize("kem", KEMS)
def test_a_seal_key_is_kept_as_32_bytes(kem: str) -> None:
    key = SealPrivateKey.generate(kem)
    kept = key.to_bytes()
    assert len(kept) == 32
    again = SealPrivateKey.from_bytes(kem, kept)
    assert again == key
    assert again.open(key.public.seal(b"x", b"i"), b"i") == b"x"
    assert SealPrivateKey.generate(kem) != key


@pytest.mark.parametrize(
    ("kem", "secret"),
    [
        pytest.param("x25519", bytes(32), id="unknown kem"),
        pytest.param(HYBRID, bytes(31), id="short seed"),
        pytest.param(HYBRID, bytes(96), id="expanded seed"),
        pytest.param(P256, bytes(33), id="long scalar"),
        pytest.param(P256, bytes(32), id="scalar zero"),
        pytest.param(P256, ORDER.to_bytes(32, "big"), id="scalar n"),
    ],
)
def test_a_kept_seal_key_that_is_damaged_is_one_error(kem: str, secret: bytes) -> None:
    with pytest.raises(SealError) as caught:
        SealPrivateKey.from_bytes(kem, secret)
    assert caught.value.__context__ is None


def test_the_seed_is_expanded_as_x_wing_says() -> None:
    wide = hashlib.shake_256(seal_key(HYBRID).to_bytes()).digest(96)
    first = mlkem.MLKEM768PrivateKey.from_seed_bytes(wide[:64])
    second = x25519.X25519PrivateKey.from_private_bytes(wide[64:])
    assert seal_key(HYBRID).public.raw == first.public_key().public_bytes_raw() + second.public_key().public_bytes_raw()
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    sealed = seal_key(HYBRID).public.seal(b"x", b"info")
    assert suite.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(first, second), b"info") == b"x"


@pytest.mark.parametrize("number", LOW_ORDER)
@pytest.mark.parametrize("top", [0, 2**255])
def test_v3_a_point_of_low_order_is_refused(number: int, top: int) -> None:
    point = (number + top).to_bytes(32, "little")
    x25519.X25519PublicKey.from_public_bytes(point)  # loads, and fails only when used
    with pytest.raises(WireError, match="V3"):
        SealPublicKey.load(HYBRID, MLKEM + point)


@pytest.mark.parametrize(
    ("kem", "raw"),
    [
        pytest.param("x25519", bytes(32), id="unknown kem"),
        pytest.param(HYBRID, b"", id="empty"),
        pytest.param(HYBRID, MLKEM, id="ML-KEM alone"),
        pytest.param(HYBRID, MLKEM + bytes([9, *bytes(30)]), id="one byte short"),
        pytest.param(HYBRID, MLKEM + bytes([9, *bytes(32)]), id="one byte long"),
        pytest.param(HYBRID, b"\xff" * 1184 + bytes([9, *bytes(31)]), id="coefficients beyond q"),
        pytest.param(P256, seal_key().public.raw[:33], id="compressed length"),
        pytest.param(P256, b"\4" + bytes(64), id="off the curve"),
        pytest.param(P256, b"\6" + seal_key().public.raw[1:], id="hybrid form"),
        pytest.param(P256, bytes(65), id="infinity"),
    ],
)
def test_v3_a_seal_key_outside_the_table_is_refused(kem: str, raw: bytes) -> None:
    with pytest.raises(WireError, match="V3 seal key"):
        SealPublicKey.load(kem, raw)


@pytest.mark.parametrize("kem", KEMS)
def test_v3_a_good_seal_key_loads(kem: str) -> None:
    assert SealPublicKey.load(kem, seal_key(kem).public.raw) == seal_key(kem).public


def test_a_library_that_spells_a_key_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def public_bytes_raw(self) -> bytes:
            return bytes(32)

        def public_bytes(self, *_: object) -> bytes:
            return bytes(65)

    def other(*_: object) -> Other:
        return Other()

    monkeypatch.setattr(x25519.X25519PublicKey, "from_public_bytes", other)
    monkeypatch.setattr(ec.EllipticCurvePublicKey, "from_encoded_point", other)
    for kem in KEMS:
        with pytest.raises(WireError, match="V3 seal key"):
            SealPublicKey.load(kem, SealPrivateKey.from_bytes(kem, b"\1" * 32).public.raw)


@pytest.fixture
def no_mlkem(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_: bytes) -> mlkem.MLKEM768PrivateKey:
        raise UnsupportedAlgorithm("no ML-KEM here")

    monkeypatch.setattr(mlkem.MLKEM768PrivateKey, "from_seed_bytes", unsupported)
    monkeypatch.setattr(mlkem.MLKEM768PublicKey, "from_public_bytes", unsupported)


@pytest.mark.usefixtures("no_mlkem")
def test_a_machine_without_mlkem_says_so_and_falls_back_to_nothing() -> None:
    assert not kem_available(HYBRID)
    assert kem_available(P256)
    with pytest.raises(UnsupportedAlgorithm):
        SealPrivateKey.generate(HYBRID)


def test_a_verifier_without_mlkem_blames_the_kem_and_not_the_key(request: pytest.FixtureRequest) -> None:
    raw = seal_key(HYBRID).public.raw
    request.getfixturevalue("no_mlkem")
    with pytest.raises(WireError, match=r"V3 seal\.kem"):
        SealPublicKey.load(HYBRID, raw)


def test_this_machine_has_both_kems() -> None:
    assert [kem for kem in KEMS if kem_available(kem)] == list(KEMS)


def test_two_kems_never_share_a_name_for_a_key() -> None:
    raw = seal_key().public.raw
    assert seal.seal_thumbprint(P256, raw) != seal.seal_thumbprint(HYBRID, raw)
    assert seal_key().public.thumbprint == seal.seal_thumbprint(P256, raw)


INFO = {"aud": "a", "jti": "j", "nonce": "n", "sub": "s", "serial": 1, "thumbprint": "t"}


@pytest.mark.parametrize("name", INFO)
def test_info_changes_with_each_of_its_parts(name: str) -> None:
    other = INFO | {name: 2 if name == "serial" else "other"}
    assert answer_info(**other) != answer_info(**INFO)  # type: ignore[arg-type]  # a table of texts and one number


def test_the_curve_key_is_a_scalar() -> None:
    number = int.from_bytes(seal_key().to_bytes(), "big")
    assert ec.derive_private_key(number, ec.SECP256R1()).public_key().public_numbers().x == int.from_bytes(
        seal_key().public.raw[1:33], "big"
    )
