"""Knows what stands in an assertion: the instance's facts and the role's evidence, each text by its grammar (E7)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from hsm_enrol.wire.strict import Fields

# Grammars, matched wholly and in ASCII. Host names as RFC 1123 has them; the others as AWS's documentation writes them.
AUDIENCE = r"[A-Za-z0-9._:/-]{1,128}"
NONCE = r"[A-Za-z0-9_-]{22,88}"
JTI = r"[A-Za-z0-9_-]{21}[AQgw]"  # 16 random bytes in base64url; E1: the last four bits are zero
INSTANCE_ID = r"i-[0-9a-f]{8}([0-9a-f]{9})?"
INSTANCE_TYPE = r"[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}"
RESERVATION_ID = r"r-[0-9a-f]{8}([0-9a-f]{9})?"
IMAGE_ID = r"ami-[0-9a-f]{8}([0-9a-f]{9})?"
ACCOUNT_ID = r"[0-9]{12}"
REGION = r"[a-z]{2,5}(-[a-z]{2,12}){1,2}-[0-9]{1,2}"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*"
ROLE = r"[A-Za-z0-9_+=,.@-]{1,64}"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
ACCESS_KEY_ID = r"ASIA[A-Z0-9]{12,124}"
SECURITY_TOKEN = r"[A-Za-z0-9+/=_-]{1,12288}"  # noqa: S105  a grammar
AMZ_DATE = r"[0-9]{8}T[0-9]{6}Z"
SIGNATURE = r"[0-9a-f]{64}"
CMS_TEXT = r"(?=.{16,8192}\Z)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"
REASONS = ("boot", "cloud-init", "operator", "refresh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """IMDS's own facts; what IMDS answers with 404 is None here and absent on the wire.

    `local_ipv4` is one of those: an instance in an IPv6-only subnet has none (EC2 guide, instance metadata categories).
    """

    instance_type: str
    reservation_id: str
    local_hostname: str
    account_id: str
    region: str
    image_id: str
    local_ipv4: str | None
    public_hostname: str | None
    role: str | None

    def as_json(self) -> dict[str, str]:
        """Give the members under IMDS's names."""
        found = {
            "instance-type": self.instance_type,
            "reservation-id": self.reservation_id,
            "local-hostname": self.local_hostname,
            "account-id": self.account_id,
            "region": self.region,
            "image-id": self.image_id,
            "local-ipv4": self.local_ipv4,
            "public-hostname": self.public_hostname,
            "role": self.role,
        }
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_fields(cls, fields: Fields) -> Instance:
        """Read the members; each has its grammar."""
        found = cls(
            instance_type=fields.text("instance-type", INSTANCE_TYPE),
            reservation_id=fields.text("reservation-id", RESERVATION_ID),
            local_hostname=fields.text("local-hostname", HOST_NAME),
            account_id=fields.text("account-id", ACCOUNT_ID),
            region=fields.text("region", REGION),
            image_id=fields.text("image-id", IMAGE_ID),
            local_ipv4=fields.optional_text("local-ipv4", IPV4),
            public_hostname=fields.optional_text("public-hostname", HOST_NAME),
            role=fields.optional_text("role", ROLE),
        )
        fields.nothing_else()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRole:
    """A GetCallerIdentity request, signed with the instance identity role, less all that the verifier rebuilds."""

    region: str
    endpoint: str
    access_key_id: str
    security_token: str = field(repr=False)
    amz_date: str
    signature: str = field(repr=False)

    def as_json(self) -> dict[str, str]:
        """Give the six members."""
        return {
            "region": self.region,
            "endpoint": self.endpoint,
            "access-key-id": self.access_key_id,
            "security-token": self.security_token,
            "amz-date": self.amz_date,
            "signature": self.signature,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> IdentityRole:
        """Read exactly the six members."""
        found = cls(
            region=fields.text("region", REGION),
            endpoint=fields.word("endpoint", "regional", "fips"),
            access_key_id=fields.text("access-key-id", ACCESS_KEY_ID),
            security_token=fields.text("security-token", SECURITY_TOKEN),
            amz_date=fields.text("amz-date", AMZ_DATE),
            signature=fields.text("signature", SIGNATURE),
        )
        fields.nothing_else()
        return found
