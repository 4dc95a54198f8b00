"""Knows how to read one CMS SignedData (RFC 5652): what was signed, by which algorithms, and the signature; no more.

AWS's signer streams: lengths are indefinite and the content comes in pieces, which is BER, not DER. Both spellings are
read here, each in one way only; whatever the grammar does not name is refused. Nothing is verified here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_INTEGER, _OCTETS, _NULL, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
_OCTETS_IN_PIECES = 0x24
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_CONSTRUCTED, _LONG_TAG, _INDEFINITE = 0x20, 0x1F, 0x80
_MOST_LENGTH_BYTES = 4
_MOST_DEPTH = 16

_DATA = bytes.fromhex("2a864886f70d010701")  # 1.2.840.113549.1.7.1
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")  # 1.2.840.113549.1.9.3
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")  # 1.2.840.113549.1.9.4
SHA256 = bytes.fromhex("608648016503040201")  # 2.16.840.1.101.3.4.2.1
RSA = bytes.fromhex("2a864886f70d010101")  # rsaEncryption, PKCS#1 v1.5
RSA_SHA256 = bytes.fromhex("2a864886f70d01010b")


class CmsError(Exception):
    """These bytes are not one SignedData with one signer; says where, in a word of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What one signer signed. `digest` and `algorithm` are the OIDs' bytes.

    `attributes` is the message that the signature is over when there are signed attributes (section 5.4), with the
    digest they claim for the content; None when it is over the content itself.
    """

    content: bytes
    digest: bytes
    algorithm: bytes
    signature: bytes
    attributes: bytes | None
    claimed_digest: bytes | None


def read_signed(data: bytes) -> Signed:
    """Read ContentInfo, SignedData, the one SignerInfo. Certificates inside are passed over. Raises CmsError."""
    outer = _whole(data, _SEQUENCE).children()
    _oid(outer, _SIGNED_DATA, "content_type")
    signed = _only_one(_take(outer, _CONTEXT_0, "content"), _SEQUENCE).children()
    _end(outer)
    _take(signed, _INTEGER, "version")
    _take(signed, _SET, "digest_algorithms")
    inner = _take(signed, _SEQUENCE, "encap_content_info").children()
    _oid(inner, _DATA, "encap_content_type")
    content = _octets(_take(inner, _CONTEXT_0, "content"))
    _end(inner)
    signers = _skip(signed, (_CONTEXT_0, _CONTEXT_1))
    if signers is None or signers.tag != _SET:
        raise CmsError("signer_infos")
    _end(signed)
    return _signer(_only_one(signers, _SEQUENCE).children(), content)


def _signer(signer: Iterator[_Element], content: bytes) -> Signed:
    _take(signer, _INTEGER, "version")
    _take(signer, _SEQUENCE, "sid")
    digest = _algorithm(_take(signer, _SEQUENCE, "digest_algorithm"))
    following = next(signer, None)
    attributes = claimed = None
    if following is not None and following.tag == _CONTEXT_0:
        # Signed as a SET OF in DER; in the message it has an implicit tag, which is its first byte.
        attributes, claimed = bytes([_SET]) + following.raw[1:], _claimed(following)
        following = next(signer, None)
    if following is None or following.tag != _SEQUENCE:
        raise CmsError("signature_algorithm")
    algorithm = _algorithm(following)
    signature = _take(signer, _OCTETS, "signature").body
    _end(signer)
    return Signed(
        content=content,
        digest=digest,
        algorithm=algorithm,
        signature=signature,
        attributes=attributes,
        claimed_digest=claimed,
    )


def _claimed(attributes: _Element) -> bytes:
    """Give the digest of signed attributes; type and digest must be there exactly once, the type must be data."""
    if attributes.indefinite:
        raise CmsError("signed_attributes")  # the signature is over DER
    found: dict[bytes, _Element] = {}
    for attribute in attributes.children():
        parts = attribute.children()
        name = _take(parts, _OID, "signed_attributes").body
        if name in found:
            raise CmsError("signed_attributes")
        found[name] = _take(parts, _SET, "signed_attributes")
        _end(parts)
    if not {_CONTENT_TYPE, _MESSAGE_DIGEST} <= set(found):
        raise CmsError("signed_attributes")
    if _only_one(found[_CONTENT_TYPE], _OID).body != _DATA:
        raise CmsError("signed_attributes")
    return _only_one(found[_MESSAGE_DIGEST], _OCTETS).body


def _octets(wrapper: _Element) -> bytes:
    """Give the content: an OCTET STRING, whole or in pieces."""
    inside = list(wrapper.children())
    if len(inside) != 1:
        raise CmsError("content")
    if inside[0].tag == _OCTETS:
        return inside[0].body
    pieces = list(inside[0].children()) if inside[0].tag == _OCTETS_IN_PIECES else []
    if not pieces or any(one.tag != _OCTETS for one in pieces):
        raise CmsError("content")
    return b"".join(one.body for one in pieces)


def _algorithm(element: _Element) -> bytes:
    """Give the OID of an AlgorithmIdentifier whose parameters are absent or NULL."""
    parts = element.children()
    name = _take(parts, _OID, "algorithm").body
    parameters = next(parts, None)
    if parameters is not None and (parameters.tag, parameters.body) != (_NULL, b""):
        raise CmsError("algorithm")
    _end(parts)
    return name


@dataclass(frozen=True, slots=True)
class _Element:
    """One tag with its body: `data[begin:end]`, the next one begins at `next`."""

    data: bytes
    tag: int
    start: int
    begin: int
    end: int
    next: int

    @property
    def indefinite(self) -> bool:
        return self.next != self.end

    @property
    def body(self) -> bytes:
        return self.data[self.begin : self.end]

    @property
    def raw(self) -> bytes:
        return self.data[self.start : self.next]

    def children(self) -> Iterator[_Element]:
        if not self.tag & _CONSTRUCTED:
            raise CmsError("structure")
        at = self.begin
        while at < self.end:
            child = _element(self.data, at, self.end, 0)
            at = child.next
            yield child


def _element(data: bytes, start: int, limit: int, depth: int) -> _Element:
    """Read the element at `start`; nothing of it may lie at or beyond `limit`."""
    if start + 2 > limit or depth > _MOST_DEPTH:
        raise CmsError("structure")
    tag, length, begin = data[start], data[start + 1], start + 2
    if tag & _LONG_TAG == _LONG_TAG or not tag:
        raise CmsError("structure")  # no tag here has more than one byte; 0 is the end mark
    if length == _INDEFINITE:
        if not tag & _CONSTRUCTED:
            raise CmsError("structure")
        at = begin
        while data[at : min(at + 2, limit)] != b"\0\0":
            at = _element(data, at, limit, depth + 1).next
        return _Element(data, tag, start, begin, at, at + 2)
    if length > _INDEFINITE:
        count = length - _INDEFINITE
        length = int.from_bytes(data[begin : begin + count], "big")
        begin += count
        # DER: the shortest form that holds the length
        if count > _MOST_LENGTH_BYTES or begin > limit or length < max(_INDEFINITE, 1 << 8 * (count - 1)):
            raise CmsError("structure")
    if begin + length > limit:
        raise CmsError("structure")
    return _Element(data, tag, start, begin, begin + length, begin + length)


def _whole(data: bytes, tag: int) -> _Element:
    element = _element(data, 0, len(data), 0)
    if element.tag != tag or element.next != len(data):
        raise CmsError("structure")
    return element


def _only_one(element: _Element, tag: int) -> _Element:
    children = list(element.children())
    if len(children) != 1 or children[0].tag != tag:
        raise CmsError("signer_infos" if element.tag == _SET else "structure")
    return children[0]


def _take(parts: Iterator[_Element], tag: int, what: str) -> _Element:
    element = next(parts, None)
    if element is None or element.tag != tag:
        raise CmsError(what)
    return element


def _oid(parts: Iterator[_Element], value: bytes, what: str) -> None:
    if _take(parts, _OID, what).body != value:
        raise CmsError(what)


def _skip(parts: Iterator[_Element], tags: tuple[int, ...]) -> _Element | None:
    """Give the first element after optional ones, each at most once and in this order."""
    element = next(parts, None)
    for tag in tags:
        if element is not None and element.tag == tag:
            element = next(parts, None)
    return element


def _end(parts: Iterator[_Element]) -> None:
    if next(parts, None) is not None:
        raise CmsError("more_than_expected")
