"""Knows what AWS's error codes mean to us: throttled, not authorised, wrong region, not found, or something else (P13).

The asker hears "later"; which it is stands in the audit, because each has another cure.
"""

from __future__ import annotations

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from hsm_verifier.refusal import Refusal

THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "SlowDown",
        "EC2ThrottledException",
    }
)
DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "SignatureDoesNotMatch"})
# Credentials of one partition mean nothing in another, and a region that was not opted into knows nobody: EC2 says
# AuthFailure there, STS and IAM InvalidClientTokenId; and both say the same of keys that are no more.
_REGION = frozenset(
    {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "OptInRequired", "InvalidAction"}
)
REFUSED = DENIED | _CREDENTIALS | _REGION
"""What AWS says to credentials that ended, were exchanged or called back; and to good ones that may not ask."""
_OUR_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
_NO_REGION = (boto.InvalidRegionError, boto.NoRegionError, boto.UnknownRegionError)


def code_of(error: ClientError) -> str:
    """Give AWS's code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def refusal_of(error: ClientError | BotoCoreError | ResponseParserError | TimeoutError) -> Refusal:
    """Keep the ways of not knowing apart; what only an operator can mend is an alarm."""
    if isinstance(error, ClientError):
        code = code_of(error)
        if code in THROTTLED:
            return Refusal("upstream_busy", "V9 throttled")
        if code in DENIED:
            return Refusal("upstream_busy", "V9 not_authorised", alarm=True)
        if code in _CREDENTIALS:
            return Refusal("upstream_busy", "V9 own_credentials", alarm=True)
        if code in _REGION:
            return Refusal("upstream_busy", "V9 wrong_region", alarm=True)
        if code == "InvalidInstanceID.NotFound":
            return Refusal("not_visible_yet", "V9 not_found")
        return Refusal("upstream_busy", "V9 aws_error", alarm=True)
    if isinstance(error, ResponseParserError):  # not AWS's servers, but what stands before them: 503 and plain words
        return Refusal("upstream_busy", "V9 aws_error", alarm=True)
    if isinstance(error, _OUR_CREDENTIALS):
        return Refusal("upstream_busy", "V9 own_credentials", alarm=True)
    if isinstance(error, _NO_REGION):
        return Refusal("upstream_busy", "V9 wrong_region", alarm=True)
    return Refusal("upstream_busy", "V9 aws_unreachable")
