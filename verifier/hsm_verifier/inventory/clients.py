"""Knows how to have AWS clients at hand: making one takes boto3 50 ms of CPU, far more than the call it is for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

CALL_SECONDS = 8
FOR_EVER = float("inf")
EARLY = 300.0  # seconds before assumed credentials end, after which they are not used any more
Place = tuple[str, str]  # account, region


class Clients:
    """boto3 clients by service and place: made once, anew before a role's credentials end. Safe for threads."""

    def __init__(
        self,
        *,
        endpoint_url: str = "",
        assume_role: str = "",
        make_client: Callable[..., Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`assume_role` is an ARN with `{account}` in it, "" for the VP's own credentials. `clock` is Unix seconds."""
        self._endpoint = endpoint_url or None
        self._assume_role = assume_role
        self._make_client = make_client or boto3.client
        self._clock = clock
        self._lock = threading.Lock()  # boto3's default session is not safe for threads that make clients
        self._made: dict[tuple[str, Place], tuple[float, Any]] = {}

    def get(self, service: str, place: Place) -> Any:
        """Give a client. Raises what boto3 raises."""
        with self._lock:
            until, client = self._made.get((service, place), (0.0, None))
            if until <= self._clock():
                until, client = self._make(service, place)
                self._made[(service, place)] = (until, client)
        return client

    def _make(self, service: str, place: Place) -> tuple[float, Any]:
        account, region = place
        config = Config(
            connect_timeout=3, read_timeout=CALL_SECONDS, retries={"mode": "standard", "total_max_attempts": 3}
        )
        keys: dict[str, Any] = {}
        until = FOR_EVER  # the VP's own credentials renew themselves inside the client
        if self._assume_role:
            sts = self._make_client("sts", region_name=region, endpoint_url=self._endpoint, config=config)
            role = self._assume_role.replace("{account}", account)
            got = sts.assume_role(RoleArn=role, RoleSessionName="hsm-verifier")["Credentials"]
            expires: datetime = got["Expiration"]
            until = expires.timestamp() - EARLY
            keys = {
                "aws_access_key_id": got["AccessKeyId"],
                "aws_secret_access_key": got["SecretAccessKey"],
                "aws_session_token": got["SessionToken"],
            }
        return until, self._make_client(service, region_name=region, endpoint_url=self._endpoint, config=config, **keys)
