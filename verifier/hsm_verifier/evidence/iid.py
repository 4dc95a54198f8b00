"""Knows whether AWS signed an identity document: one signer, one pinned key, only verified bytes read (V5)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hsm_enrol.wire import assertion
from hsm_verifier.evidence.cms import RSA, RSA_SHA256, SHA256, CmsError, read_signed
from hsm_verifier.refusal import Refusal

MAX_DOCUMENT = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What AWS signed; `pending_time` in Unix seconds (it moves at each start, not at a reboot)."""

    instance_id: str
    account_id: str
    region: str
    image_id: str
    instance_type: str
    private_ip: str | None  # none in a subnet that is IPv6 only
    availability_zone: str
    pending_time: int


class Documents:
    """The pinned regional certificates, and documents checked by them."""

    def __init__(self, certificates: Mapping[str, x509.Certificate]) -> None:
        """Take region -> its one certificate."""
        self._certificates = dict(certificates)

    def knows(self, region: str) -> bool:
        """Tell whether the region's certificate is here."""
        return region in self._certificates

    def verify(self, rsa2048: str, region: str) -> Document:
        """V5: give the document that AWS signed in `region`. Raises Refusal."""
        certificate = self._certificates.get(region)
        if certificate is None:
            raise Refusal("upstream_busy", "V5 no_certificate_for_region", alarm=True)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise Refusal("upstream_busy", "V5 certificate_is_not_rsa", alarm=True)
        try:
            cms = base64.b64decode(rsa2048, validate=True)
        except (binascii.Error, ValueError):
            raise _invalid("base64") from None
        document = read_document(signed_content(cms, key))
        if document.region != region:
            raise _invalid("region_of_another_certificate")
        return document


def signed_content(cms: bytes, key: rsa.RSAPublicKey) -> bytes:
    """Give the content that `key` signed: one SignedData, one SignerInfo, SHA-256 (RFC 5652). Raises Refusal.

    Certificates inside are not looked at: the key is pinned. Signed attributes, when there are any, must hold the
    content's type and digest exactly once, and are what the signature is over (section 5.4).
    """
    try:
        signed = read_signed(cms)
    except CmsError as error:
        raise _invalid(str(error)) from None
    if not 0 < len(signed.content) <= MAX_DOCUMENT:
        raise _invalid("content")
    if signed.digest != SHA256:
        raise _invalid("digest_algorithm")
    if signed.algorithm not in {RSA, RSA_SHA256}:
        raise _invalid("signature_algorithm")
    if signed.attributes is not None and signed.claimed_digest != hashlib.sha256(signed.content).digest():
        raise _invalid("signed_attributes")
    message = signed.content if signed.attributes is None else signed.attributes
    try:
        key.verify(signed.signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise _invalid("signature") from None
    return signed.content


_GRAMMARS = {
    "instanceId": assertion.INSTANCE_ID,
    "accountId": assertion.ACCOUNT_ID,
    "region": assertion.REGION,
    "imageId": assertion.IMAGE_ID,
    "instanceType": assertion.INSTANCE_TYPE,
    "privateIp": assertion.IPV4,
    "availabilityZone": r"[a-z0-9-]{3,40}",
    "pendingTime": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
}
_MAY_BE_MISSING = {"privateIp"}  # null or left out: no source tells which AWS does


def read_document(content: bytes) -> Document:
    """Read the verified bytes. AWS's document holds nulls, so this is not E4's door; duplicate names are refused."""
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise _invalid("json") from None
    if not isinstance(value, dict):
        raise _invalid("json")
    for name, grammar in _GRAMMARS.items():
        text = value.get(name)
        if text is None and name in _MAY_BE_MISSING:
            continue
        if not isinstance(text, str) or not re.fullmatch(grammar, text, re.ASCII):
            raise _invalid(name)
    try:
        pending = int(datetime.fromisoformat(value["pendingTime"]).timestamp())
    except ValueError:
        raise _invalid("pendingTime") from None
    return Document(
        instance_id=value["instanceId"],
        account_id=value["accountId"],
        region=value["region"],
        image_id=value["imageId"],
        instance_type=value["instanceType"],
        private_ip=value.get("privateIp"),
        availability_zone=value["availabilityZone"],
        pending_time=pending,
    )


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _invalid(what: str) -> Refusal:
    return Refusal("evidence_invalid", f"V5 {what}")
