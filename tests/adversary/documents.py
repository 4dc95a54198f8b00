"""Identity documents that look like AWS's and are not (V5)."""

import base64
from collections.abc import Callable
from typing import Any

from asn1crypto import cms, core
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from lab import pki

Change = Callable[[Any, bytes], None]


def other_content(signed: Any, content: bytes) -> None:
    """Another image, under AWS's signature of the old one."""
    new = content.replace(b"ami-0", b"ami-1")
    assert new != content
    signed["encap_content_info"] = {"content_type": "data", "content": new}


def detached(signed: Any, _content: bytes) -> None:
    signed["encap_content_info"] = {"content_type": "data"}


def two_signers(signed: Any, _content: bytes) -> None:
    signed["signer_infos"] = [signed["signer_infos"][0], signed["signer_infos"][0].copy()]


def no_signer(signed: Any, _content: bytes) -> None:
    signed["signer_infos"] = []


def zero_signature(signed: Any, _content: bytes) -> None:
    signed["signer_infos"][0]["signature"] = bytes(256)


def weaker_digest(signed: Any, _content: bytes) -> None:
    signed["signer_infos"][0]["digest_algorithm"] = {"algorithm": "sha1"}


def another_type(signed: Any, content: bytes) -> None:
    """Content that says it is itself signed data: signed attributes and content types must not be mixed up."""
    signed["encap_content_info"] = {"content_type": "1.2.3.4", "content": core.OctetString(content)}


CHANGES: dict[str, Change] = {
    "other content": other_content,
    "detached": detached,
    "two signers": two_signers,
    "no signer": no_signer,
    "signature of zeros": zero_signature,
    "weaker digest": weaker_digest,
    "another content type": another_type,
}
FORGERIES = (*CHANGES, "another signer", "bytes behind", "a byte changed", "no CMS")


def forged(rsa2048: str, change: str) -> str:
    """Give AWS's document with one thing wrong."""
    der = base64.b64decode(rsa2048)
    if change == "bytes behind":
        return base64.b64encode(der + b"\0").decode()
    if change == "a byte changed":
        return base64.b64encode(der[:-1] + bytes([der[-1] ^ 1])).decode()
    if change == "no CMS":
        return base64.b64encode(b"0\x82nothing" * 20).decode()
    info = cms.ContentInfo.load(der)
    content = info["content"]["encap_content_info"]["content"].native
    if change == "another signer":
        other = pki.self_signed(pki.name(O="Amazon Web Services LLC"))
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(other.certificate, other.key, hashes.SHA256())
        return base64.b64encode(builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])).decode()
    CHANGES[change](info["content"], content)
    return base64.b64encode(info.dump(force=True)).decode()
