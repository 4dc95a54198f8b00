"""Knows what EC2 and IAM say of an instance, within AWS's limits: batched, cached, four ways of not knowing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from hsm_enrol.wire.assertion import Assertion
from hsm_verifier.inventory.batches import Batches
from hsm_verifier.inventory.clients import Clients, Place
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.refusal import Refusal

WAIT_SECONDS = 20.0
PROFILE_SECONDS = 60.0  # instance profiles change rarely, and IAM is one global endpoint with small limits
_THROTTLED = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"})
_DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthFailure"})
_REGION = frozenset({"InvalidClientTokenId", "OptInRequired", "InvalidAction"})


class Ec2Inventory:
    """Looks instances up by account and region, in the VP's own account or through a role to assume there."""

    def __init__(
        self,
        *,
        endpoint_url: str = "",
        assume_role: str = "",
        make_client: Callable[..., Any] | None = None,
    ) -> None:
        """`assume_role` is an ARN with `{account}` in it, "" for the VP's own credentials."""
        self._clients = Clients(endpoint_url=endpoint_url, assume_role=assume_role, make_client=make_client)
        self._instances: dict[Place, Batches[str, Facts]] = {}
        self._profiles: dict[Place, Batches[str, frozenset[str]]] = {}

    def look_up(self, request: Assertion) -> Facts:
        """V9: give the facts; a claimed role's instance profiles are asked from IAM and compared. Raises Refusal."""
        role, place = request.instance.role, (request.instance.account_id, request.instance.region)
        batches = self._instances.get(place)
        if batches is None:
            batches = self._instances.setdefault(place, Batches(lambda ids: self._describe(place, ids)))
        facts: Facts | None = self._ask(batches, request.sub)
        if facts is None:
            raise Refusal("not_visible_yet", "V9 not_found")
        if facts.state not in {"pending", "running"}:
            raise Refusal("not_admitted", f"V9 state_{facts.state.replace('-', '_')}")
        if role is None or facts.profile_arn is None:
            return facts
        return replace(facts, role=role if facts.profile_arn in self._profiles_of(place, role) else None)

    def _profiles_of(self, place: Place, role: str) -> frozenset[str]:
        batches = self._profiles.get(place)
        if batches is None:
            batches = self._profiles.setdefault(
                place, Batches(lambda names: self._list_profiles(place, names), keep=PROFILE_SECONDS)
            )
        return self._ask(batches, role) or frozenset()

    def _ask(self, batches: Batches[str, Any], key: str) -> Any:
        try:
            return batches.get(key, WAIT_SECONDS)
        except ClientError as error:
            raise refusal_of(error) from None
        except (BotoCoreError, TimeoutError):
            raise Refusal("upstream_busy", "V9 aws_unreachable") from None

    def _describe(self, place: Place, ids: list[str]) -> dict[str, Facts]:
        """One DescribeInstances for all: the filter does not fail on an unknown id, it leaves it out."""
        client = self._clients.get("ec2", place)
        found = {}
        pages = client.get_paginator("describe_instances").paginate(Filters=[{"Name": "instance-id", "Values": ids}])
        for page in pages:
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    found[instance["InstanceId"]] = facts_of(reservation, instance, place)
        return found

    def _list_profiles(self, place: Place, roles: list[str]) -> dict[str, frozenset[str]]:
        client = self._clients.get("iam", place)
        found = {}
        for role in roles:
            try:
                pages = client.get_paginator("list_instance_profiles_for_role").paginate(RoleName=role)
                found[role] = frozenset(one["Arn"] for page in pages for one in page["InstanceProfiles"])
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchEntity":
                    raise
                found[role] = frozenset()
        return found


def refusal_of(error: ClientError) -> Refusal:
    """Keep apart: throttled, not authorised, wrong region; the operator is told the cause, the asker "later" (P13)."""
    code = error.response["Error"]["Code"]
    if code in _THROTTLED:
        return Refusal("upstream_busy", "V9 throttled")
    if code in _DENIED:
        return Refusal("upstream_busy", "V9 not_authorised", alarm=True)
    if code in _REGION:
        return Refusal("upstream_busy", "V9 wrong_region", alarm=True)
    if code == "InvalidInstanceID.NotFound":
        return Refusal("not_visible_yet", "V9 not_found")
    return Refusal("upstream_busy", "V9 aws_error", alarm=True)


def facts_of(reservation: dict[str, Any], instance: dict[str, Any], place: Place) -> Facts:
    """Read one instance of DescribeInstances. Creation is the attach time of the device-index-0 interface (P10)."""
    attachments = [one["Attachment"] for one in instance.get("NetworkInterfaces", []) if "Attachment" in one]
    created = next(
        (one["AttachTime"] for one in attachments if one.get("DeviceIndex") == 0 and "AttachTime" in one), None
    )
    return Facts(
        instance_id=instance["InstanceId"],
        account=reservation.get("OwnerId", place[0]),
        region=place[1],
        state=instance["State"]["Name"],
        instance_type=instance["InstanceType"],
        image_id=instance["ImageId"],
        reservation_id=reservation["ReservationId"],
        private_dns=instance.get("PrivateDnsName", ""),
        public_dns=instance.get("PublicDnsName") or None,
        private_ip=instance.get("PrivateIpAddress"),
        public_ip=instance.get("PublicIpAddress"),
        launch_time=_unix(instance.get("LaunchTime")),
        created=_unix(created),
        vpc=instance.get("VpcId"),
        subnet=instance.get("SubnetId"),
        http_tokens=instance.get("MetadataOptions", {}).get("HttpTokens"),
        profile_arn=instance.get("IamInstanceProfile", {}).get("Arn"),
        role=None,
        tags={one["Key"]: one["Value"] for one in instance.get("Tags", [])},
    )


def _unix(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
