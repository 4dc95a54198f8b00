"""A6: certificate and key are one pair in every number, labelled as what they are, and good now."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import check_bundle
from hsm_enrol.wire.certificate import unpem
from hsm_enrol.wire.pairs import check_client, check_servers, rsa_fits
from tests.wire.samples import DAY, NOW, OWNER, STRANGER, bundle, certify, key_of, pem_of, rewrap, rsa_key

RSA_CERTIFICATE = certify(rsa_key())
FORMS = [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]


def der_of(pem: str) -> bytes:
    block = unpem(pem)
    assert block is not None
    return block[1]


def refused(certificate: str, key: str, now: int = NOW) -> str:
    with pytest.raises(WireError) as caught:
        check_client(certificate, key, now)
    assert caught.value.rule == "A6"
    assert caught.value.__cause__ is None
    return caught.value.what


@pytest.mark.parametrize("form", FORMS)
def test_a6_a_pair_is_accepted_as_pkcs1_sec1_and_pkcs8(form: PrivateFormat) -> None:
    check_client(RSA_CERTIFICATE, pem_of(rsa_key(), form), NOW)
    check_client(certify(OWNER), pem_of(OWNER, form), NOW)
    for curve in (ec.SECP384R1(), ec.SECP521R1()):
        key = ec.generate_private_key(curve)
        check_client(certify(key), pem_of(key, form), NOW)


def integer(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\2" + length(content) + content


def length(content: bytes) -> bytes:
    if len(content) < 128:
        return bytes([len(content)])
    digits = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


def pkcs1(*numbers: int) -> str:
    content = b"".join(integer(one) for one in (0, *numbers))
    return rewrap("RSA PRIVATE KEY", b"\x30" + length(content) + content)


def numbers_of(key: rsa.RSAPrivateKey) -> list[int]:
    """n, e, d, p, q, dp, dq, qinv: RFC 8017 appendix A.1.2."""
    own = key.private_numbers()
    return [own.public_numbers.n, own.public_numbers.e, own.d, own.p, own.q, own.dmp1, own.dmq1, own.iqmp]


NAMES = ["n", "e", "d", "p", "q", "dp", "dq", "qinv"]


def test_a6_the_numbers_as_they_are_pass() -> None:
    check_client(RSA_CERTIFICATE, pkcs1(*numbers_of(rsa_key())), NOW)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bit", [0, 1, 2, 500, 900])
def test_a6_a_flipped_bit_in_any_rsa_number_is_noticed(name: str, bit: int) -> None:
    numbers = numbers_of(rsa_key())
    numbers[NAMES.index(name)] ^= 1 << bit
    refused(RSA_CERTIFICATE, pkcs1(*numbers))


@pytest.mark.parametrize("name", ["d", "p", "dp", "dq", "qinv"])
def test_a6_the_flip_is_one_that_loading_the_key_does_not_notice(name: str) -> None:
    # Why the arithmetic is there: with its slow validation off, the library takes this key.
    numbers = numbers_of(rsa_key())
    numbers[NAMES.index(name)] ^= 2
    pem = pkcs1(*numbers)
    load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    assert refused(RSA_CERTIFICATE, pem) == "client certificate and key are no pair"


def test_a6_numbers_that_are_consistent_but_trivial_are_refused() -> None:
    own = rsa_key().private_numbers()
    public = own.public_numbers
    n, e, d = public.n, public.e, own.d

    def fits(*, p: int = own.p, q: int = own.q, d: int = d, iqmp: int = own.iqmp) -> bool:
        dmp1, dmq1 = (d % max(p - 1, 1)), (d % max(q - 1, 1))
        made = rsa.RSAPrivateNumbers(p=p, q=q, d=d, dmp1=dmp1, dmq1=dmq1, iqmp=iqmp, public_numbers=public)
        return rsa_fits(made, public)

    assert fits()
    assert not fits(p=1, q=n)
    assert not fits(p=n, q=1)
    assert not fits(p=-own.p, q=-own.q)
    assert not fits(d=d + (own.p - 1) * (own.q - 1))
    assert not fits(d=0)
    assert not fits(d=d * e)
    assert not fits(iqmp=own.iqmp + own.p)
    assert fits(p=own.q, q=own.p, iqmp=pow(own.p, -1, own.q))


def test_a6_a_short_rsa_key_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    assert refused(certify(key), pem_of(key)) == "client certificate and key are no pair"


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        pytest.param(RSA_CERTIFICATE, pem_of(rsa_key(1)), id="another RSA key"),
        pytest.param(RSA_CERTIFICATE, pem_of(OWNER), id="a P-256 key to an RSA certificate"),
        pytest.param(certify(OWNER), pem_of(rsa_key()), id="an RSA key to a P-256 certificate"),
        pytest.param(certify(OWNER), pem_of(STRANGER), id="another P-256 key"),
        pytest.param(certify(OWNER), pem_of(ec.generate_private_key(ec.SECP384R1())), id="another curve"),
    ],
)
def test_a6_two_halves_of_two_pairs_are_refused(certificate: str, key: str) -> None:
    assert refused(certificate, key) == "client certificate and key are no pair"


def test_a6_an_ec_key_whose_public_half_is_anothers_is_refused() -> None:
    # The point inside the key file is the certificate's, the scalar is not.
    own, other = der_of(pem_of(OWNER)), der_of(pem_of(key_of(0x1001 ^ 2)))
    scalar = own.index((0x1001).to_bytes(32, "big"))
    mixed = own[:scalar] + other[scalar : scalar + 32] + own[scalar + 32 :]
    refused(certify(OWNER), rewrap("PRIVATE KEY", mixed))


ED25519 = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ENCRYPTED = OWNER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
LEGACY = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param(pem_of(OWNER) * 2, id="two blocks"),
        pytest.param("x\n" + pem_of(OWNER), id="text before"),
        pytest.param(pem_of(OWNER) + "x", id="text after"),
        pytest.param(pem_of(OWNER).replace("\n", "\r\n"), id="CRLF"),
        pytest.param(pem_of(OWNER).replace("END PRIVATE", "END RSA PRIVATE"), id="two labels"),
        pytest.param(ENCRYPTED.decode(), id="encrypted PKCS#8"),
        pytest.param(LEGACY.decode(), id="encrypted PKCS#1"),
        pytest.param(certify(OWNER), id="a certificate"),
        pytest.param(rewrap("EC PARAMETERS", b"\6\x08*\x86H\xce=\3\1\7") + pem_of(OWNER), id="parameters before"),
        pytest.param(rewrap("PRIVATE KEY", b"\0" * 48), id="no key inside"),
        pytest.param(rewrap("PRIVATE KEY", der_of(pem_of(OWNER))).replace("M", "=", 1), id="padding inside"),
        pytest.param(ED25519.decode(), id="Ed25519"),
        pytest.param(rewrap("RSA PRIVATE KEY", der_of(pem_of(OWNER))), id="P-256 labelled RSA"),
        pytest.param(rewrap("EC PRIVATE KEY", der_of(pem_of(rsa_key()))), id="RSA labelled EC"),
        pytest.param(
            rewrap("EC PRIVATE KEY", der_of(pem_of(rsa_key(), PrivateFormat.TraditionalOpenSSL))),
            id="PKCS#1 labelled EC",
        ),
    ],
)
def test_a6_a_key_that_is_not_exactly_what_its_label_says_is_refused(key: str) -> None:
    refused(certify(OWNER), key)


@pytest.mark.parametrize(
    "certificate",
    [
        pytest.param("", id="empty"),
        pytest.param(certify(OWNER) * 2, id="two blocks"),
        pytest.param("subject=x\n" + certify(OWNER), id="text before"),
        pytest.param(rewrap("TRUSTED CERTIFICATE", der_of(certify(OWNER))), id="another label"),
        pytest.param(pem_of(OWNER), id="a key"),
        pytest.param(rewrap("CERTIFICATE", b"\0" * 48), id="no certificate inside"),
        pytest.param(rewrap("CERTIFICATE", der_of(certify(OWNER)) + b"\0"), id="a byte after it"),
        pytest.param(rewrap("CERTIFICATE", der_of(certify(OWNER))[:-1]), id="a byte short"),
    ],
)
def test_a6_a_certificate_that_is_not_exactly_one_is_refused(certificate: str) -> None:
    assert refused(certificate, pem_of(OWNER)).startswith("client certificate")


def test_a6_a_certificate_is_good_from_its_first_second_to_its_last() -> None:
    certificate = certify(OWNER, start=NOW, end=NOW + DAY)
    for now in (NOW, NOW + DAY):
        check_client(certificate, pem_of(OWNER), now)
    assert refused(certificate, pem_of(OWNER), NOW - 1) == "client certificate is not valid yet"
    assert refused(certificate, pem_of(OWNER), NOW + DAY + 1) == "client certificate has expired"


def test_a6_servers_are_good_now_too() -> None:
    with pytest.raises(WireError, match="A6 server certificate has expired"):
        check_servers([certify(OWNER), certify(STRANGER, "other", end=NOW - 1)], NOW)
    with pytest.raises(WireError, match="A6 server certificate is not one"):
        check_servers([pem_of(OWNER)], NOW)


def test_a6_two_servers_may_share_subject_and_key_but_not_the_subject_alone() -> None:
    check_servers([certify(OWNER, "1"), certify(STRANGER, "2")], NOW)
    check_servers([certify(OWNER, "1"), certify(OWNER, "1", end=NOW + 9)], NOW)
    with pytest.raises(WireError, match="A6 two servers share"):
        check_servers([certify(OWNER, "1"), certify(STRANGER, "1")], NOW)


def test_a6_a_whole_bundle_is_checked() -> None:
    check_bundle(bundle(), NOW)
    with pytest.raises(WireError, match="A6 client"):
        check_bundle(replace(bundle(), client=replace(bundle().client, private_key=pem_of(STRANGER))), NOW)
    with pytest.raises(WireError, match="A6 server"):
        check_bundle(replace(bundle(), servers=(replace(bundle().servers[0], certificate=pem_of(OWNER)),)), NOW)
