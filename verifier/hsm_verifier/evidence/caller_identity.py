"""Knows how to ask AWS who signed: the STS request is rebuilt, no text of the asker chooses a host (V8)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from hsm_enrol.errors import WireError
from hsm_enrol.wire import sts
from hsm_enrol.wire.assertion import Assertion, IdentityRole
from hsm_enrol.wire.strict import parse_json
from hsm_verifier.refusal import Refusal

CONNECT_SECONDS, TOTAL_SECONDS = 3.0, 8.0
MAX_BYTES = 64 * 1024
TRIES = 2  # one retry, on connection errors only

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


class _TrueName(HTTPAdapter):
    """Connects to a configured address while SNI, certificate name and Host header stay AWS's own."""

    def __init__(self, host: str) -> None:
        self._host = host
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Pin the name that the certificate must have."""
        super().init_poolmanager(*args, server_hostname=self._host, assert_hostname=self._host, **kwargs)


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet."""
        self._connect = connect
        self._verify: str | bool = ca_file or True
        self._suffixes = dict(dns_suffixes or {})
        self._clock = clock

    def ask(self, assertion: Assertion) -> CallerIdentity:
        """V8: return when AWS says that exactly this instance signed exactly this binding. Raises Refusal."""
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
        status, body = self._send(host, headers)
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

    def _send(self, host: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        deadline = self._clock() + TOTAL_SECONDS
        url = f"https://{self._connect or host}/"
        for left in range(TRIES - 1, -1, -1):
            try:
                return self._once(url, host, headers, deadline)
            except requests.exceptions.SSLError:
                raise Refusal("upstream_busy", "V8 sts_tls", alarm=True) from None
            except (requests.exceptions.RequestException, OSError):
                if not left or self._clock() >= deadline:
                    raise Refusal("upstream_busy", "V8 sts_unreachable") from None
        raise AssertionError("the loop returns or raises")

    def _once(self, url: str, host: str, headers: Mapping[str, str], deadline: float) -> tuple[int, bytes]:
        with requests.Session() as session:
            session.trust_env = False  # no proxy variables, no .netrc, no REQUESTS_CA_BUNDLE
            session.headers.clear()
            session.mount("https://", _TrueName(host))
            left = max(0.1, deadline - self._clock())
            with session.post(
                url,
                data=sts.BODY,
                headers=dict(headers),
                verify=self._verify,
                timeout=(min(CONNECT_SECONDS, left), left),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(8192):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise Refusal("upstream_busy", "V8 sts_oversize", alarm=True)
                    if self._clock() >= deadline:
                        raise Refusal("upstream_busy", "V8 sts_slow")
                return response.status_code, bytes(body)


def read_answer(status: int, body: bytes) -> CallerIdentity:
    """Read STS's JSON answer strictly; what is no answer becomes a Refusal by docs/protocol.md, "Problems"."""
    try:
        found: Any = parse_json(body)
    except WireError:
        raise Refusal("upstream_busy", "V8 sts_not_json", alarm=status == requests.codes.ok) from None
    if status != requests.codes.ok:
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
    if status >= requests.codes.server_error or code in _BUSY:
        return Refusal("upstream_busy", "V8 sts_busy")
    if message.startswith(_CLOCK):
        return Refusal("clock_skew", "V8 sts_date")
    if code in _STALE:
        return Refusal("nonce_stale", "V8 token_expired")
    if not requests.codes.bad_request <= status < requests.codes.server_error:
        return Refusal("upstream_busy", "V8 sts_status")
    return Refusal("evidence_invalid", "V8 sts_refused")
