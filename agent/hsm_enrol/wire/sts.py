"""Knows the one AWS request that proves an instance: STS GetCallerIdentity, byte for byte, and the host it goes to.

The asserting party signs this request and never sends it; the verifying party builds it again from its own table and
sends it (V8). So both must agree on each byte, and no text of the asserting party chooses a host.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from hsm_enrol.errors import WireError
from hsm_enrol.wire import assertion
from hsm_enrol.wire.assertion import IdentityRole

BODY: Final = b"Action=GetCallerIdentity&Version=2011-06-15"
CONTENT_TYPE: Final = "application/x-www-form-urlencoded; charset=utf-8"
SIGNED_HEADERS: Final = "content-type;host;x-amz-date;x-amz-security-token;x-hsm-enrol-binding"
UNSIGNED_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "hsm-verifier/1"}
ALGORITHM: Final = "AWS4-HMAC-SHA256"
ENDPOINTS: Final = ("regional", "fips")

# Grammars of what goes into the request. The date's shape is checked, its nearness to a clock is the verifier's.
REGION: Final = re.compile(assertion.REGION, re.ASCII)
ACCESS_KEY_ID: Final = re.compile(assertion.ACCESS_KEY_ID, re.ASCII)
SECURITY_TOKEN: Final = re.compile(assertion.SECURITY_TOKEN, re.ASCII)
AMZ_DATE: Final = re.compile(assertion.AMZ_DATE, re.ASCII)
SIGNATURE: Final = re.compile(assertion.SIGNATURE, re.ASCII)
BINDING: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
HOST: Final = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.ASCII
)

# AWS General Reference, "AWS STS endpoints": sts-fips exists in these four regions; the regional hosts of GovCloud are
# FIPS endpoints by themselves and have no second name.
_FIPS_HOSTS = frozenset({"us-east-1", "us-east-2", "us-west-1", "us-west-2"})
_FIPS_ITSELF = "us-gov-"

# Region prefix -> partition, DNS suffix; the first that fits, all others are the commercial partition. "" where the
# suffix is known by configuration only: naming a host under amazonaws.com for an isolated region would be a guess.
_PARTITIONS = (
    ("cn-", "aws-cn", "amazonaws.com.cn"),
    ("us-gov-", "aws-us-gov", "amazonaws.com"),
    ("eusc-", "aws-eusc", "amazonaws.eu"),
    ("us-iso-", "aws-iso", ""),
    ("us-isob-", "aws-iso-b", ""),
    ("eu-isoe-", "aws-iso-e", ""),
    ("us-isof-", "aws-iso-f", ""),
    ("", "aws", "amazonaws.com"),
)


def partition(region: str) -> str:
    """Give the partition of a region, the second field of its ARNs. WireError V8 when it is no region's name."""
    return _row(region)[0]


def sts_host(region: str, endpoint: str, suffix: str | None = None) -> str:
    """Give the host of STS in a region, always a regional one; port 443 goes without saying.

    `endpoint` is `regional` or `fips`; `suffix` a DNS suffix that overrides the table (by configuration, never by the
    other party). WireError V8 for a region, endpoint or suffix that does not exist; also `fips` where AWS has none, so
    that nobody who asked for it goes without it silently.
    """
    _, known = _row(region)
    host_suffix = suffix or known
    if not host_suffix or not HOST.fullmatch(host_suffix):
        raise WireError("V8", "suffix")
    if endpoint not in ENDPOINTS:
        raise WireError("V8", "endpoint")
    name = "sts"
    if endpoint == "fips" and not region.startswith(_FIPS_ITSELF):
        if region not in _FIPS_HOSTS:
            raise WireError("V8", "no fips endpoint in this region")
        name = "sts-fips"
    return f"{name}.{region}.{host_suffix}"


def signed_headers(*, host: str, amz_date: str, security_token: str, binding: str) -> dict[str, str]:
    """Give the five headers that are signed, in the order of the canonical request, names in small letters.

    WireError V8 when a value does not fit its grammar: a line break in one of them would be another header.
    """
    for pattern, value, what in (
        (HOST, host, "host"),
        (AMZ_DATE, amz_date, "amz-date"),
        (SECURITY_TOKEN, security_token, "security-token"),
        (BINDING, binding, "binding"),
    ):
        if not pattern.fullmatch(value):
            raise WireError("V8", what)
    return {
        "content-type": CONTENT_TYPE,
        "host": host,
        "x-amz-date": amz_date,
        "x-amz-security-token": security_token,
        "x-hsm-enrol-binding": binding,
    }


def canonical_request(*, host: str, amz_date: str, security_token: str, binding: str) -> bytes:
    """Give the canonical request of Signature Version 4 ("Create a signed AWS API request"), no LF at its end."""
    headers = signed_headers(host=host, amz_date=amz_date, security_token=security_token, binding=binding)
    lines = ["POST", "/", "", *(f"{name}:{value}" for name, value in headers.items()), "", SIGNED_HEADERS]
    return "\n".join([*lines, hashlib.sha256(BODY).hexdigest()]).encode("ascii")


def scope(region: str, amz_date: str) -> str:
    """Give the credential scope: day, region, service. WireError V8 on a bad region or date."""
    _row(region)
    if not AMZ_DATE.fullmatch(amz_date):
        raise WireError("V8", "amz-date")
    return f"{amz_date[:8]}/{region}/sts/aws4_request"


def authorization(evidence: IdentityRole) -> str:
    """Give the Authorization header of an assertion's evidence. WireError V8 on a value outside its grammar."""
    if not ACCESS_KEY_ID.fullmatch(evidence.access_key_id):
        raise WireError("V8", "access-key-id")
    if not SIGNATURE.fullmatch(evidence.signature):
        raise WireError("V8", "signature")
    credential = f"{evidence.access_key_id}/{scope(evidence.region, evidence.amz_date)}"
    return f"{ALGORITHM} Credential={credential}, SignedHeaders={SIGNED_HEADERS}, Signature={evidence.signature}"


def _row(region: str) -> tuple[str, str]:
    """Give partition and suffix."""
    if not REGION.fullmatch(region):
        raise WireError("V8", "region")
    return next((name, suffix) for prefix, name, suffix in _PARTITIONS if region.startswith(prefix))
