"""Knows how to sign one request with an instance's AWS credentials: GetCallerIdentity, and no other.

Signature Version 4 ("Create a signed AWS API request" in the IAM guide) with everything variable taken out: the
canonical request is a constant of the protocol (wire/sts.py) but for host, date, token and binding. tests compare it
with botocore's signer.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from hsm_enrol.wire import sts
from hsm_enrol.wire.assertion import IdentityRole

if TYPE_CHECKING:
    from hsm_enrol.host.imds import Credentials


def sign_get_caller_identity(
    credentials: Credentials, *, region: str, endpoint: str, suffix: str | None, amz_date: str, binding: str
) -> IdentityRole:
    """Give the evidence: a GetCallerIdentity that only this instance's live credentials could have signed.

    `amz_date` is `YYYYMMDDThhmmssZ` by the verifier's clock, `binding` ties the signature to this request's keys, nonce
    and audience. `suffix` None or "" means the table's. WireError V8 on a value outside its grammar.
    """
    host = sts.sts_host(region, endpoint, suffix)
    canonical = sts.canonical_request(
        host=host, amz_date=amz_date, security_token=credentials.session_token, binding=binding
    )
    return IdentityRole(
        region=region,
        endpoint=endpoint,
        access_key_id=credentials.access_key_id,
        security_token=credentials.session_token,
        amz_date=amz_date,
        signature=_signature(credentials.secret_access_key, sts.scope(region, amz_date), amz_date, canonical),
    )


def _signature(secret_access_key: str, scope: str, amz_date: str, canonical: bytes) -> str:
    """Make the string to sign and a key for this day, region and service; give the signature in hexadecimal."""
    to_sign = "\n".join([sts.ALGORITHM, amz_date, scope, hashlib.sha256(canonical).hexdigest()])
    key = b"AWS4" + secret_access_key.encode("ascii")
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode("ascii"), "sha256")
    return hmac.digest(key, to_sign.encode("ascii"), "sha256").hex()
