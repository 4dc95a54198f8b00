"""The reader of CMS SignedData by its grammar: what AWS's signers write, and everything beside it, which is refused."""

import pytest

from hsm_verifier.evidence.cms import RSA_SHA256, SHA256, CmsError, Signed, read_signed

SEQUENCE, SET, OID, OCTETS, INTEGER, NULL, ZERO, ONE = 0x30, 0x31, 0x06, 0x04, 0x02, 0x05, 0xA0, 0xA1
DATA, SIGNED_DATA = (bytes.fromhex(f"2a864886f70d01070{last}") for last in (1, 2))
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (bytes.fromhex(f"2a864886f70d01090{last}") for last in (3, 4, 5))
STRAY = bytes([NULL, 0])


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    length = len(body).to_bytes(1 + (len(body) > 255), "big")
    return bytes([tag, *([0x80 + len(length)] if len(body) > 127 else []), *length]) + body


def algorithm(name: bytes, *parameters: bytes) -> bytes:
    return der(SEQUENCE, der(OID, name), *parameters)


def attribute(name: bytes, *values: bytes) -> bytes:
    return der(SEQUENCE, der(OID, name), der(SET, *values))


TYPE_IS_DATA = attribute(CONTENT_TYPE, der(OID, DATA))
DIGEST = attribute(MESSAGE_DIGEST, der(OCTETS, b"digest"))
TIME = attribute(SIGNING_TIME, der(0x17, b"270114080000Z"))


def signer(
    *attributes: bytes, digest: bytes = algorithm(SHA256), by: bytes = algorithm(RSA_SHA256), rest: bytes = b""
) -> bytes:
    """A SignerInfo; without attributes the signature is over the content itself."""
    return signer_with(der(ZERO, *attributes) if attributes else b"", digest, by, rest)


def signer_with(
    signed: bytes, digest: bytes = algorithm(SHA256), by: bytes = algorithm(RSA_SHA256), rest: bytes = b""
) -> bytes:
    return der(SEQUENCE, der(INTEGER, b"\1"), der(SEQUENCE), digest, signed, by, der(OCTETS, b"signature"), rest)


def message(
    *signers: bytes,
    kind: bytes = SIGNED_DATA,
    content_kind: bytes = DATA,
    content: bytes = der(OCTETS, b"content"),
    optional: bytes = b"",
    after_content: bytes = b"",
    after_signers: bytes = b"",
    after: bytes = b"",
) -> bytes:
    inner = der(SEQUENCE, der(OID, content_kind), der(ZERO, content), after_content)
    parts = (der(INTEGER, b"\1"), der(SET, algorithm(SHA256)), inner, optional, der(SET, *signers), after_signers)
    return der(SEQUENCE, der(OID, kind), der(ZERO, der(SEQUENCE, *parts)), after)


WITH_ATTRIBUTES = signer(TYPE_IS_DATA, TIME, DIGEST)
PLAIN = Signed(
    content=b"content",
    digest=SHA256,
    algorithm=RSA_SHA256,
    signature=b"signature",
    attributes=None,
    claimed_digest=None,
)


@pytest.mark.parametrize(
    "data",
    [
        message(signer()),
        message(signer(digest=algorithm(SHA256, STRAY), by=algorithm(RSA_SHA256, STRAY))),
        message(signer(), optional=der(ZERO, b"certificates") + der(ONE, b"revocations")),
        message(signer(), content=der(0x24, der(OCTETS, b"con"), der(OCTETS, b"tent"))),
    ],
    ids=["least", "parameters NULL", "certificates", "in pieces"],
)
def test_v5_what_one_signer_signed_is_read(data: bytes) -> None:
    assert read_signed(data) == PLAIN


def test_v5_signed_attributes_are_given_as_they_were_signed() -> None:
    found = read_signed(message(WITH_ATTRIBUTES))
    assert (found.attributes, found.claimed_digest) == (der(SET, TYPE_IS_DATA, TIME, DIGEST), b"digest")


BROKEN = {
    "nothing": b"",
    "cut short": message(signer())[:-1],
    "a byte after it": message(signer()) + b"\0",
    "a set": b"\x31" + message(signer())[1:],
    "no signature algorithm": message(signer(by=b"")),
    "a tag of two bytes": message(signer(rest=b"\x1f\x81\0")),
    "another content type": message(signer(), kind=DATA),
    "another type inside": message(signer(), content_kind=SIGNED_DATA),
    "no signer": message(),
    "two signers": message(signer(), signer()),
    "something after the content": message(signer(), after_content=STRAY),
    "something after the signers": message(signer(), after_signers=STRAY),
    "something after all": message(signer(), after=STRAY),
    "something after the signature": message(signer(rest=STRAY)),
    "certificates twice": message(signer(), optional=der(ZERO) + der(ZERO)),
    "revocations first": message(signer(), optional=der(ONE) + der(ZERO)),
    "signers in a sequence": message(signer()).replace(der(SET, signer()), der(SEQUENCE, signer())),
    "two contents": message(signer(), content=der(OCTETS, b"content") * 2),
    "no piece": message(signer(), content=der(0x24)),
    "a piece that is none": message(signer(), content=der(0x24, der(OCTETS, b"content"), STRAY)),
    "pieces in a sequence": message(signer(), content=der(SEQUENCE, der(OCTETS, b"content"))),
    "pieces in pieces": message(signer(), content=der(0x24, der(0x24, der(OCTETS, b"content")))),
    "parameters": message(signer(digest=algorithm(SHA256, der(INTEGER, b"\1")))),
    "parameters twice": message(signer(by=algorithm(RSA_SHA256, STRAY, STRAY))),
    "NULL that is not empty": message(signer(by=algorithm(RSA_SHA256, der(NULL, b"x")))),
    "no type": message(signer(DIGEST)),
    "no digest": message(signer(TYPE_IS_DATA)),
    "another signed type": message(signer(attribute(CONTENT_TYPE, der(OID, SIGNED_DATA)), DIGEST)),
    "two digests": message(signer(TYPE_IS_DATA, DIGEST, attribute(MESSAGE_DIGEST, der(OCTETS, b"another")))),
    "two values of a digest": message(signer(TYPE_IS_DATA, attribute(MESSAGE_DIGEST, *[der(OCTETS, b"digest")] * 2))),
    "two values of a type": message(signer(attribute(CONTENT_TYPE, *[der(OID, DATA)] * 2), DIGEST)),
    "a third part of an attribute": message(
        signer(TYPE_IS_DATA, DIGEST, der(SEQUENCE, der(OID, DATA), der(SET), STRAY))
    ),
    "attributes that are not DER": message(signer_with(b"\xa0\x80" + TYPE_IS_DATA + DIGEST + b"\0\0")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_v5_whatever_the_grammar_does_not_name_is_refused(name: str) -> None:
    with pytest.raises(CmsError):
        read_signed(BROKEN[name])
