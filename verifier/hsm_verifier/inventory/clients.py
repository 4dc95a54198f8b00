"""Knows how to reach EC2 and IAM of an account and region: by our own credentials, or through a role to assume there.

Clients are kept, since making one costs as much as an enrolment. Assumed credentials are got anew before they end, and
all of them when AWS refuses them: keys in a file may have been exchanged, a role's sessions called back.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.session import get_session
from botocore.utils import parse_timestamp

from hsm_enrol.wire.sts import partition

CALL_SECONDS = 8
EARLY = 300.0  # seconds before their end that assumed credentials are got anew
CONFIG = Config(
    connect_timeout=3,
    read_timeout=CALL_SECONDS,
    # One repetition is for broken connections; being throttled is Pause's business.
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=16,
)
NEW = 10.0  # seconds for which a refused client is not made anew once more
_LOADER = create_loader()
Place = tuple[str, str]
"""Account id and region."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A client, when it was made and until when its credentials are good, in Unix seconds."""

    client: Any
    made: float
    until: float


class Clients:
    """boto3 clients by service and place. Safe for threads."""

    def __init__(
        self,
        *,
        endpoint_url: str = "",
        assume_role: str = "",
        external_id: str = "",
        make_client: Callable[..., Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Everything empty is AWS's own addresses with our own credentials.

        `assume_role` is an ARN with `{account}` and perhaps `{partition}` in it; `external_id` goes with it. `clock` is
        Unix seconds.
        """
        self._endpoint = endpoint_url or None
        self._assume_role = assume_role
        self._external_id = external_id
        self._make = make_client or _make
        self._clock = clock
        self._lock = threading.Lock()
        self._gates: dict[Place, threading.Lock] = {}
        self._kept: dict[tuple[str, Place], _Kept] = {}

    def get(self, service: str, place: Place) -> Any:
        """Give the client of "ec2" or "iam". Raises ClientError and BotoCoreError, of AssumeRole too."""
        with self._gate(place):
            kept = self._kept.get((service, place))
            if kept is None or self._clock() >= kept.until:
                keys, until = self._credentials(place)
                kept = _Kept(self._client(service, place, **keys), made=self._clock(), until=until)
                self._kept[(service, place)] = kept
            return kept.client

    def refused(self, service: str, place: Place) -> bool:
        """Have it made anew, since AWS refused its credentials, or it has none. False when it was just made."""
        with self._gate(place):
            kept = self._kept.get((service, place))
            if kept is None or 0 <= self._clock() - kept.made < NEW:
                return False
            del self._kept[(service, place)]
            return True

    def _gate(self, place: Place) -> threading.Lock:
        with self._lock:  # one lock a place: an account that hangs in AssumeRole holds up nobody else
            return self._gates.setdefault(place, threading.Lock())

    def _credentials(self, place: Place) -> tuple[dict[str, str], float]:
        """Give what to sign with and until when; nothing and for ever when it is our own."""
        if not self._assume_role:
            return {}, float("inf")
        account, region = place
        role = self._assume_role.replace("{account}", account).replace("{partition}", partition(region))
        more = {"ExternalId": self._external_id} if self._external_id else {}
        sts = self._client("sts", place)
        got = sts.assume_role(RoleArn=role, RoleSessionName="hsm-verifier", **more)["Credentials"]
        keys = {
            "aws_access_key_id": got["AccessKeyId"],
            "aws_secret_access_key": got["SecretAccessKey"],
            "aws_session_token": got["SessionToken"],
        }
        return keys, got["Expiration"].timestamp() - EARLY

    def _client(self, service: str, place: Place, **keys: str) -> Any:
        return self._make(service, region_name=place[1], endpoint_url=self._endpoint, config=CONFIG, **keys)


def _make(service: str, **how: Any) -> Any:
    # A session of its own, since sessions are not safe for threads as clients are; what AWS's services look like is
    # read only once, EC2's description alone takes a quarter of a second.
    session = get_session()
    session.register_component("data_loader", _LOADER)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=read_time)
    return boto3.session.Session(botocore_session=session).client(service, **how)


def read_time(text: Any) -> datetime:
    """Read a time as EC2 writes it; botocore's own reader, which tries many spellings, is asked for all others only."""
    if isinstance(text, str) and text.endswith("Z"):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text)
    moment: datetime = parse_timestamp(text)
    return moment
