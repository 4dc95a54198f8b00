"""Knows how to ask AWS who signed: the STS request is rebuilt, no text of the asker chooses a host (V8)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11

from hsm_enrol.errors import WireError
from hsm_enrol.wire import sts
from hsm_enrol.wire.assertion import Assertion, IdentityRole
from hsm_enrol.wire.strict import parse_json
from hsm_verifier.evidence.sts_lines import StsLines
from hsm_verifier.refusal import Refusal
from hsm_verifier.turns import wait_for

TOTAL_SECONDS = 8.0
TRIES = 2  # one retry, on connection errors only, on a new connection: the first may have been open too long

# STS error code -> reason (docs/protocol.md, "Problems"). Everything else that is a 4xx is `evidence_invalid`.
_BUSY = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure"}
)
_STALE = frozenset({"ExpiredToken", "ExpiredTokenException"})
_CLOCK = ("Signature expired", "Signature not yet current")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity:
    """Whom AWS named."""

    account: str
    arn: str


class StsClient:
    """Sends rebuilt GetCallerIdentity requests. `connect` ("host:port") is an egress of the site's own, "" AWS itself.

    `dns_suffixes` maps a region prefix to a DNS suffix, for partitions that AWS's table does not name.
    """

    def __init__(
        self,
        *,
        connect: str = "",
        ca_file: str = "",
        dns_suffixes: Mapping[str, str] | None = None,
    ) -> None:
        """Read the roots; connect when asked. Raises OSError, SettingsError."""
        self._lines = StsLines(connect=connect, ca_file=ca_file)
        self._suffixes = dict(dns_suffixes or {})

    def ask(self, assertion: Assertion) -> CallerIdentity:
        """V8: return when AWS says that exactly this instance signed exactly this binding. Raises Refusal.

        Only a turn can ask: others go on while AWS is waited for.
        """
        evidence = assertion.identity_role
        if evidence is None:
            raise Refusal("evidence_missing", "V8 no_identity_role")
        try:
            host = sts.sts_host(evidence.region, evidence.endpoint, self._suffix(evidence.region))
            headers = sts.signed_headers(
                host=host,
                amz_date=evidence.amz_date,
                security_token=evidence.security_token,
                binding=assertion.binding(),
            )
            headers |= sts.UNSIGNED_HEADERS | {"Authorization": sts.authorization(evidence)}
            arn = self._arn(assertion, evidence)
        except WireError as error:
            raise Refusal("evidence_invalid", f"V8 {error.what}") from None
        status, body = wait_for(self._send(host, headers))
        said = read_answer(status, body)
        if said.account != assertion.instance.account_id:
            raise Refusal("evidence_invalid", "V8 account_differs", alarm=True)
        if said.arn != arn:
            raise Refusal("evidence_invalid", "V8 arn_differs", alarm=True)
        return said

    def _suffix(self, region: str) -> str | None:
        return next((suffix for prefix, suffix in self._suffixes.items() if region.startswith(prefix)), None)

    def _arn(self, assertion: Assertion, evidence: IdentityRole) -> str:
        return (
            f"arn:{sts.partition(evidence.region)}:sts::{assertion.instance.account_id}"
            f":assumed-role/aws:ec2-instance/{assertion.sub}"
        )

    async def _send(self, host: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                return await self._try(host, headers)
        except TimeoutError:
            raise Refusal("upstream_busy", "V8 sts_slow") from None

    async def _try(self, host: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        for left in range(TRIES - 1, -1, -1):
            try:
                reply = await self._lines.post(host, headers, sts.BODY, fresh=not left)
            except (OSError, h11.RemoteProtocolError) as error:
                # A kept connection may end in an SSLError too; on a new one it means that this is not STS.
                if isinstance(error, ssl.SSLCertVerificationError) or (isinstance(error, ssl.SSLError) and not left):
                    raise Refusal("upstream_busy", "V8 sts_tls", alarm=True) from None
                if not left:
                    raise Refusal("upstream_busy", "V8 sts_unreachable") from None
            else:
                return reply.status, reply.body
        raise AssertionError("the loop returns or raises")

    def close(self) -> None:
        """Hang up, on the loop that asked."""
        self._lines.close()


def read_answer(status: int, body: bytes) -> CallerIdentity:
    """Read STS's JSON answer strictly; what is no answer becomes a Refusal by docs/protocol.md, "Problems"."""
    try:
        found: Any = parse_json(body)
    except WireError:
        raise Refusal("upstream_busy", "V8 sts_not_json", alarm=status == HTTPStatus.OK) from None
    if status != HTTPStatus.OK:
        raise _refusal(status, found)
    try:
        result = found["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
        account, arn = result["Account"], result["Arn"]
    except (KeyError, TypeError):
        raise Refusal("upstream_busy", "V8 sts_shape", alarm=True) from None
    if not isinstance(account, str) or not isinstance(arn, str):
        raise Refusal("upstream_busy", "V8 sts_shape", alarm=True)
    return CallerIdentity(account=account, arn=arn)


def _refusal(status: int, found: Any) -> Refusal:
    error = found.get("Error") if isinstance(found, dict) else None
    code = error.get("Code") if isinstance(error, dict) else None
    message = error.get("Message") if isinstance(error, dict) else None
    if not isinstance(code, str) or not isinstance(message, str):
        return Refusal("upstream_busy", "V8 sts_shape")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _BUSY:
        return Refusal("upstream_busy", "V8 sts_busy")
    if message.startswith(_CLOCK):
        return Refusal("clock_skew", "V8 sts_date")
    if code in _STALE:
        return Refusal("nonce_stale", "V8 token_expired")
    if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refusal("upstream_busy", "V8 sts_status")
    return Refusal("evidence_invalid", "V8 sts_refused")
