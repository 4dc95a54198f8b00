"""Certificates are walked strictly as DER; what a Luna appliance makes is read, what is not DER is refused."""

import contextlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.wire.certificate import Certificate, common_names, read_certificate, unpem
from tests.wire.samples import NOW, OWNER, certify, rewrap, rsa_key

PEM = certify(rsa_key())
_BLOCK = unpem(PEM)
assert _BLOCK is not None
DER = _BLOCK[1]
SERIAL_ONE = b"\2\1\1\x30"  # serialNumber 1, then the SEQUENCE of the signature algorithm


def replaced(old: bytes, new: bytes) -> bytes:
    assert DER.count(old) == 1
    assert len(old) == len(new)
    return DER.replace(old, new)


def test_what_is_read_is_what_the_library_reads() -> None:
    library = x509.load_der_x509_certificate(DER)
    assert read_certificate(DER) == Certificate(
        subject=library.subject.public_bytes(),
        spki=library.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        not_before=int(library.not_valid_before_utc.timestamp()),
        not_after=int(library.not_valid_after_utc.timestamp()),
    )


def test_a_certificate_with_serial_zero_is_read_and_warns_nobody() -> None:
    assert read_certificate(replaced(SERIAL_ONE, b"\2\1\0\x30")) == read_certificate(DER)


@pytest.mark.parametrize("names", [[], ["web"], ["one", "two"]])
def test_common_names_are_those_that_the_library_reads(names: list[str]) -> None:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, value) for value in names]
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme"), *attributes])
    assert list(common_names(subject.public_bytes())) == names


@given(st.binary(max_size=40))
def test_a_subject_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        common_names(data)


def test_a_certificate_of_version_1_is_read() -> None:
    outer, fields = DER[:4], DER[4:8]
    version = b"\xa0\3\2\1\2"
    assert DER[8:13] == version
    shorter = [(int.from_bytes(head[2:], "big") - 5).to_bytes(2, "big") for head in (outer, fields)]
    made = outer[:2] + shorter[0] + fields[:2] + shorter[1] + DER[13:]
    assert read_certificate(made) == read_certificate(DER)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(-631_152_000, 2_524_607_999, id="1950 to 2049, the ends of UTCTime"),
        pytest.param(NOW, 253_402_300_799, id="to the end of 9999"),
    ],
)
def test_dates_of_both_forms_are_read(start: int, end: int) -> None:
    block = unpem(certify(OWNER, start=start, end=end))
    assert block is not None
    found = read_certificate(block[1])
    assert (found.not_before, found.not_after) == (start, end)


DATE = b"\x17\x0d270114080000Z"
BROKEN = {
    "empty": b"",
    "one byte": DER[:1],
    "cut short": DER[:-1],
    "a byte after it": DER + b"\0",
    "another outer type": b"\x31" + DER[1:],
    "indefinite length": b"\x30\x80" + DER[4:] + b"\0\0",
    "length of four bytes": b"\x30\x84\0\0" + DER[2:4] + DER[4:],
    "length with a leading zero": b"\x30\x83\0" + DER[2:4] + DER[4:],
    "long form of a short length": replaced(b"\2\1\1\x30\x0d\6\x09", b"\2\x81\1\1\x30\x0b\6"),
    "serial is no integer": replaced(SERIAL_ONE, b"\4\1\1\x30"),
    "month 13": replaced(DATE, b"\x17\x0d271314080000Z"),
    "second 60": replaced(DATE, b"\x17\x0d270114080060Z"),
    "date with an offset": replaced(DATE, b"\x17\x0d27011408+000Z"),
    "date without Z": replaced(DATE, b"\x17\x0d270114080000A"),
    "date of another type": replaced(DATE, b"\x16\x0d270114080000Z"),
    "date of the other form": replaced(DATE, b"\x18\x0d270114080000Z"),
    "date of the other form without Z": replaced(DATE, b"\x18\x0d2027011408000"),
    "date not ASCII": replaced(DATE, b"\x17\x0d\xff70114080000Z"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_der_certificate_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        read_certificate(BROKEN[name])


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_changed_byte_is_read_or_refused_but_never_crashes(at: int, flip: int) -> None:
    changed = DER[:at] + bytes([DER[at] ^ flip]) + DER[at + 1 :]
    try:
        assert isinstance(read_certificate(changed), Certificate)
    except ValueError:
        assert changed != DER


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_certificate(data)


@given(st.binary(min_size=1, max_size=200))
def test_pem_gives_back_what_was_wrapped(data: bytes) -> None:
    assert unpem(rewrap("CERTIFICATE", data)) == ("CERTIFICATE", data)


@pytest.mark.parametrize(
    "text",
    [
        PEM[:-2],
        PEM + "\n",
        "\n" + PEM,
        PEM.replace("-----BEGIN", "----BEGIN"),
        PEM.replace("END CERTIFICATE", "END X509"),
        PEM.replace("MII", "M=I", 1),
        PEM.replace("MII", "MI", 1),
        PEM.replace("MII", "M I", 1),
        PEM.replace("MII", "MI\u0131", 1),
    ],
)
def test_what_is_not_one_block_of_pem_is_none(text: str) -> None:
    assert unpem(text) is None


def test_the_last_line_end_may_be_missing() -> None:
    assert unpem(PEM[:-1]) == unpem(PEM)
