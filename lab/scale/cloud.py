"""Knows how AWS answers a fleet's verifier: in its own time, within its quotas, and not always.

Documented: the token bucket of DescribeInstances (100, then 20 a second, an account and region), STS's 600 requests a
second an account and region, that EC2 shows new instances late. Made up: how long calls take, how late, IAM's bucket.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire.assertion import Assertion, Instance
from hsm_verifier.evidence.caller_identity import CallerIdentity, read_answer
from hsm_verifier.refusal import Refusal
from lab.scale.simulation import Simulation

ACCOUNT, REGION, ROLE = "111122223333", "eu-central-1", "web-instance"
PROFILE = f"arn:aws:iam::{ACCOUNT}:instance-profile/{ROLE}-profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Tokens and tokens a second."""

    describe: tuple[float, float] = (100.0, 20.0)
    iam: tuple[float, float] = (20.0, 5.0)
    sts: tuple[float, float] = (600.0, 600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What goes wrong. `late` is the share of instances that EC2 shows only after up to `latest` seconds.

    `storms` are (begin, end) in which EC2 and STS answer 503. `quick` is the laboratory's AWS: calls take 2 ms.
    """

    late: float = 0.1
    latest: float = 20.0
    storms: tuple[tuple[float, float], ...] = ()
    quick: bool = False


@dataclass(slots=True, kw_only=True)
class Bucket:
    """A token bucket."""

    size: float
    rate: float
    level: float = field(init=False)
    filled: float = 0.0

    def __post_init__(self) -> None:
        """Begin full."""
        self.level = self.size

    def take(self, now: float) -> bool:
        """Draw one token; False when there is none."""
        self.level = min(self.size, self.level + (now - self.filled) * self.rate)
        self.filled = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Born:
    """One instance as AWS knows it; times in the simulation's seconds."""

    instance_id: str
    instance: Instance
    credentials: Credentials
    launched: float
    visible: float


class Cloud:
    """One region of one account."""

    def __init__(self, simulation: Simulation, rng: random.Random, quotas: Quotas, weather: Weather) -> None:
        """Begin empty."""
        self._simulation, self._rng, self._weather = simulation, rng, weather
        self._describe = Bucket(size=quotas.describe[0], rate=quotas.describe[1])
        self._iam = Bucket(size=quotas.iam[0], rate=quotas.iam[1])
        self._sts = Bucket(size=quotas.sts[0], rate=quotas.sts[1])
        self.born: dict[str, Born] = {}
        self._keys: dict[str, Born] = {}
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.described_at: list[float] = []

    def launch(self, number: int, at: float) -> Born:
        """Start an instance; ids are drawn, addresses counted."""
        rng = self._rng
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        late = rng.uniform(0, self._weather.latest) if rng.random() < self._weather.late else 0.0
        born = Born(
            instance_id=f"i-{rng.getrandbits(68):017x}",
            instance=Instance(
                instance_type="m7i.large",
                reservation_id="r-0fedcba9876543210",
                local_hostname=f"ip-{address.replace('.', '-')}.{REGION}.compute.internal",
                account_id=ACCOUNT,
                region=REGION,
                image_id="ami-0aaaabbbbccccdddd",
                local_ipv4=address,
                public_hostname=None,
                role=ROLE,
            ),
            credentials=Credentials(
                access_key_id=f"ASIA{rng.getrandbits(64):016X}",
                secret_access_key=f"{rng.getrandbits(160):040x}",
                session_token=f"{rng.getrandbits(2400):0600x}",
                expiration="2036-01-01T00:00:00Z",
            ),
            launched=at,
            visible=at + late,
        )
        self.born[born.instance_id] = self._keys[born.credentials.access_key_id] = born
        return born

    def ask(self, assertion: Assertion) -> CallerIdentity:
        """Play STS: verify the signature for real and let the verifier's own reader read the answer (V8)."""
        self._take_time(0.02, 0.06)
        self.calls["GetCallerIdentity"] += 1
        if self._stormy():
            return read_answer(503, _sts_error("ServiceUnavailable"))
        if not self._sts.take(self._simulation.now):
            self.throttled["GetCallerIdentity"] += 1
            return read_answer(400, _sts_error("Throttling"))
        said = assertion.identity_role
        if said is None:
            raise Refusal("evidence_missing", "V8 no_identity_role")
        born = self._keys[said.access_key_id]
        own = sign_get_caller_identity(
            born.credentials,
            region=said.region,
            endpoint=said.endpoint,
            suffix=None,
            amz_date=said.amz_date,
            binding=assertion.binding(),
        )
        if own != said or born.instance_id != assertion.sub:
            return read_answer(403, _sts_error("SignatureDoesNotMatch"))
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/aws:ec2-instance/{born.instance_id}"
        result = {"GetCallerIdentityResult": {"Account": ACCOUNT, "Arn": arn}}
        return read_answer(200, json.dumps({"GetCallerIdentityResponse": result}).encode())

    def close(self) -> None:
        """Nothing is open."""

    def make_client(self, _service: str, **_: object) -> Client:
        """Play boto3.client."""
        return Client(self)

    def describe(self, ids: list[str]) -> dict[str, Any]:
        """Play one DescribeInstances: the filter leaves out what is not visible yet."""
        self._take_time(0.06, 0.14 + 0.0005 * len(ids))
        now = self._simulation.now
        self.described_at.append(now)
        self._draw("DescribeInstances", self._describe, "RequestLimitExceeded")
        shown = [self.born[one] for one in ids if one in self.born and self.born[one].visible <= now]
        return {"Reservations": [self._reservation(one) for one in shown]}

    def profile(self) -> dict[str, Any]:
        """Play one GetInstanceProfile."""
        self._take_time(0.05, 0.2)
        self._draw("GetInstanceProfile", self._iam, "Throttling")
        return {"InstanceProfile": {"Arn": PROFILE, "Roles": [{"RoleName": ROLE}]}}

    def _draw(self, action: str, bucket: Bucket, code: str) -> None:
        self.calls[action] += 1
        if self._stormy():
            raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": ""}}, action)
        if not bucket.take(self._simulation.now):
            self.throttled[action] += 1
            raise ClientError({"Error": {"Code": code, "Message": ""}}, action)

    def _stormy(self) -> bool:
        return any(begin <= self._simulation.now < end for begin, end in self._weather.storms)

    def _take_time(self, least: float, most: float) -> None:
        self._simulation.sleep(0.002 if self._weather.quick else self._rng.uniform(least, most))

    def _reservation(self, born: Born) -> dict[str, Any]:
        zero = self._simulation.clock() - self._simulation.now
        moment = datetime.fromtimestamp(zero + born.launched, UTC)
        claims = born.instance
        instance = {
            "InstanceId": born.instance_id,
            "State": {"Name": "running"},
            "InstanceType": claims.instance_type,
            "ImageId": claims.image_id,
            "PrivateDnsName": claims.local_hostname,
            "PrivateIpAddress": claims.local_ipv4,
            "LaunchTime": moment,
            "MetadataOptions": {"HttpTokens": "required"},
            "IamInstanceProfile": {"Arn": PROFILE},
            "NetworkInterfaces": [{"Attachment": {"DeviceIndex": 0, "AttachTime": moment}}],
        }
        return {"OwnerId": ACCOUNT, "ReservationId": claims.reservation_id, "Instances": [instance]}


class Client:
    """boto3's client and its own paginator, as far as the verifier uses them."""

    def __init__(self, cloud: Cloud) -> None:
        """Take what make_client is given."""
        self._cloud = cloud

    def get_paginator(self, _operation: str) -> Client:
        """Be one's own paginator."""
        return self

    def paginate(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Give the one page. Raises ClientError: being throttled is the verifier's own business."""
        yield self._cloud.describe(wanted["Filters"][0]["Values"])

    def get_instance_profile(self, **_: str) -> dict[str, Any]:
        """Give the one profile there is."""
        return self._cloud.profile()


def _sts_error(code: str) -> bytes:
    return json.dumps({"Error": {"Code": code, "Message": "played"}}).encode()
