"""Knows where the few things that matter here stand in an X.509 certificate: subject, public key, and dates.

Luna appliances and clients make their own certificates with serial number 0. RFC 5280 forbids that; our library warns
about it today and says that it will refuse to load them. OpenSSL, which is what uses them in the end, does not mind. So
the outer structure (RFC 5280 section 4.1) is walked here, strictly as DER, and nothing else is read: these certificates
are pinned by a signed answer, and no name, issuer or extension of theirs is believed for anything.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

from hsm_enrol.shapes import dataclass

_PEM = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{1,40})-----\n((?:[A-Za-z0-9+/=]{1,76}\n)+)-----END ([A-Z0-9 ]{1,40})-----\n?", re.ASCII
)
_SEQUENCE, _INTEGER, _BIT_STRING, _UTC_TIME, _TIME, _VERSION = 0x30, 0x02, 0x03, 0x17, 0x18, 0xA0
_SET, _OID = 0x31, 0x06
_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3, X.520
_LONG_FORM = 0x80  # set in the first length byte: the others give the length's own length
_LONGEST_LENGTH = 3  # bytes; no certificate here is longer than 16 MiB
_CENTURY = 50  # RFC 5280 section 4.1.2.5.1: years 50 to 99 of UTCTime are 19xx


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`subject` and `spki` are DER as they stand; `not_before` and `not_after` are Unix seconds, both inclusive."""

    subject: bytes
    spki: bytes
    not_before: int
    not_after: int


def unpem(text: str) -> tuple[str, bytes] | None:
    """Give label and bytes of the one block that a PEM text consists of (RFC 7468); None when it is anything else."""
    found = _PEM.fullmatch(text)
    if found is None or found[1] != found[3]:
        return None
    try:
        return found[1], base64.b64decode(found[2].replace("\n", ""), validate=True)
    except binascii.Error:
        return None


def read_certificate(der: bytes) -> Certificate:
    """Read a DER certificate. Raises ValueError for anything else."""
    outer = _Reader(_only(der, _SEQUENCE))
    fields = _Reader(outer.content(_SEQUENCE))
    outer.content(_SEQUENCE)  # signatureAlgorithm
    outer.content(_BIT_STRING)
    outer.end()
    if fields.next_is(_VERSION):
        fields.content(_VERSION)
    fields.content(_INTEGER)  # serialNumber, whatever it is
    fields.content(_SEQUENCE)  # signature
    fields.content(_SEQUENCE)  # issuer
    dates = _Reader(fields.content(_SEQUENCE))
    not_before, not_after = _moment(*dates.take()), _moment(*dates.take())
    dates.end()
    subject = fields.whole(_SEQUENCE)
    spki = fields.whole(_SEQUENCE)
    return Certificate(subject=subject, spki=spki, not_before=not_before, not_after=not_after)


def common_names(subject: bytes) -> tuple[str, ...]:
    """Give the common names of a subject (RFC 5280, 4.1.2.4), what is not ASCII replaced. ValueError: no name."""
    names, rdns = [], _Reader(_only(subject, _SEQUENCE))
    while not rdns.is_done():
        attributes = _Reader(rdns.content(_SET))
        while not attributes.is_done():
            attribute = _Reader(attributes.content(_SEQUENCE))
            kind, (_, value) = attribute.content(_OID), attribute.take()
            attribute.end()
            if kind == _COMMON_NAME:
                names.append(value.decode("ascii", "replace"))
    return tuple(names)


class _Reader:
    """Takes one DER value after the other (X.690 sections 8.1 and 10.1: one-byte tags, definite shortest lengths)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next_is(self, tag: int) -> bool:
        return self._data[self._at : self._at + 1] == bytes([tag])

    def take(self) -> tuple[int, bytes]:
        """Give tag and content of the next value."""
        head = self._data[self._at : self._at + 2]
        if len(head) != 2:  # noqa: PLR2004  tag and first length byte
            raise ValueError("cut short")
        tag, length = head
        start = self._at + 2
        if length & _LONG_FORM:
            count = length ^ _LONG_FORM
            digits = self._data[start : start + count]
            length = int.from_bytes(digits, "big")
            start += count
            if not 1 <= count <= _LONGEST_LENGTH or digits[:1] == b"\0" or length < _LONG_FORM:
                raise ValueError("a length that is not DER")
        if start + length > len(self._data):
            raise ValueError("cut short")
        self._at = start + length
        return tag, self._data[start : self._at]

    def content(self, tag: int) -> bytes:
        found, content = self.take()
        if found != tag:
            raise ValueError("another type")
        return content

    def whole(self, tag: int) -> bytes:
        """Give the next value with its tag and length."""
        start = self._at
        self.content(tag)
        return self._data[start : self._at]

    def is_done(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError("something follows")


def _only(data: bytes, tag: int) -> bytes:
    reader = _Reader(data)
    content = reader.content(tag)
    reader.end()
    return content


def _moment(tag: int, content: bytes) -> int:
    """Give Unix seconds of a UTCTime or GeneralizedTime in the one form RFC 5280 allows: to the second, Z."""
    text = content.decode("ascii")
    if tag == _UTC_TIME and re.fullmatch(r"[0-9]{12}Z", text, re.ASCII):
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    elif tag != _TIME or not re.fullmatch(r"[0-9]{14}Z", text, re.ASCII):
        raise ValueError("no date")
    numbers = [int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))]
    return int(datetime(*numbers, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]  # six numbers, year to second
