"""Knows what EC2 and IAM say of an instance, within AWS's limits: batched, cached, paused, four ways of not knowing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from hsm_enrol.wire.assertion import Assertion
from hsm_verifier.aside import Aside, in_place
from hsm_verifier.inventory.batches import Batches, Bell
from hsm_verifier.inventory.clients import Clients, Place
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.inventory.pause import Pause, Paused
from hsm_verifier.inventory.roles import Roles
from hsm_verifier.inventory.words import REFUSED, THROTTLED, code_of, refusal_of
from hsm_verifier.refusal import Refusal

WAIT_SECONDS = 20.0
PAGE = 1000  # results a page; unpaginated calls have a smaller bucket of their own (EC2 API guide, throttling)


class Ec2Inventory:
    """Looks instances up by account and region, in the VP's own account or through a role to assume there."""

    def __init__(
        self,
        *,
        endpoint_url: str = "",
        assume_role: str = "",
        external_id: str = "",
        make_client: Callable[..., Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        bell: Callable[[], Bell] = threading.Event,
        aside: Aside = in_place,
    ) -> None:
        """`assume_role` is an ARN with `{account}` in it, "" for the VP's own credentials.

        `clock` (monotonic seconds) and `bell` are a simulation's when there is no time to wait for. For turns `bell` is
        theirs, and `aside` has a call to AWS made while others go on.
        """
        self._clients = Clients(
            endpoint_url=endpoint_url, assume_role=assume_role, external_id=external_id, make_client=make_client
        )
        self._clock, self._bell, self._aside = clock, bell, aside
        self._lock = threading.Lock()
        self._pauses: dict[tuple[str, Place], Pause] = {}
        self._instances: dict[Place, Batches[str, Facts]] = {}
        self._roles = Roles(
            self._clients,
            lambda place, call: self._call("iam", place, call),
            WAIT_SECONDS,
            clock=clock,
            bell=bell,
        )

    def look_up(self, request: Assertion) -> Facts:
        """V9: give the facts, the role of the instance's profile among them. Raises Refusal."""
        place = (request.instance.account_id, request.instance.region)
        try:
            facts = self._batches(place).get(request.sub, WAIT_SECONDS)
            if facts is None:
                raise Refusal("not_visible_yet", "V9 not_found")
            if facts.state not in {"pending", "running"}:
                raise Refusal("not_admitted", f"V9 state_{facts.state.replace('-', '_')}")
            if facts.profile_arn is None:
                return facts
            return replace(facts, role=self._roles.role_of(place, facts.profile_arn, request.instance.role))
        except Paused as paused:
            raise Refusal("upstream_busy", "V9 throttled", retry_after=max(1.0, paused.seconds)) from None
        except (ClientError, BotoCoreError, ResponseParserError, TimeoutError) as error:
            raise refusal_of(error) from None

    def _batches(self, place: Place) -> Batches[str, Facts]:
        with self._lock:
            if place not in self._instances:
                self._instances[place] = Batches(
                    lambda ids: self._describe(place, ids), clock=self._clock, bell=self._bell
                )
            return self._instances[place]

    def _call(self, service: str, place: Place, call: Callable[[], Any]) -> Any:
        """Make one call unless the service is left alone for now. Raises Paused, and what boto3 raises."""
        with self._lock:
            pause = self._pauses.setdefault((service, place), Pause(self._clock))
        pause.check()
        try:
            result = self._with_good_credentials(service, place, call)
        except ClientError as error:
            if code_of(error) in THROTTLED:
                raise pause.throttled() from None
            raise
        pause.served()
        return result

    def _with_good_credentials(self, service: str, place: Place, call: Callable[[], Any]) -> Any:
        try:
            return self._aside(call)
        except (ClientError, NoCredentialsError) as error:  # a client that found none when it was made looks no more
            refused = not isinstance(error, ClientError) or code_of(error) in REFUSED
            if not refused or not self._aside(lambda: self._clients.refused(service, place)):
                raise
        return self._aside(call)

    def _describe(self, place: Place, ids: list[str]) -> dict[str, Facts]:
        """One DescribeInstances for all: the filter does not fail on an unknown id, it leaves it out."""

        def call() -> dict[str, Facts]:
            found = {}
            pages = self._clients.get("ec2", place).get_paginator("describe_instances")
            for page in pages.paginate(
                Filters=[{"Name": "instance-id", "Values": ids}], PaginationConfig={"PageSize": PAGE}
            ):
                for reservation in page["Reservations"]:
                    for instance in reservation["Instances"]:
                        found[instance["InstanceId"]] = facts_of(reservation, instance, place)
            return found

        described: dict[str, Facts] = self._call("ec2", place, call)
        return described


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
        addresses=_addresses(instance),
    )


def _addresses(instance: dict[str, Any]) -> tuple[str, ...]:
    """Give every address that the instance may be seen by: all interfaces, private, public and IPv6 (P11)."""
    found = {instance.get("PrivateIpAddress"), instance.get("PublicIpAddress"), instance.get("Ipv6Address")}
    for interface in instance.get("NetworkInterfaces", []):
        found |= {interface.get("Association", {}).get("PublicIp")}
        for one in interface.get("PrivateIpAddresses", []):
            found |= {one.get("PrivateIpAddress"), one.get("Association", {}).get("PublicIp")}
        found |= {one.get("Ipv6Address") for one in interface.get("Ipv6Addresses", [])}
    return tuple(sorted(str(ip_address(one)) for one in found if one))


def _unix(moment: datetime | str | None) -> float | None:
    """Read a time as boto3 gives it, or as the AWS command line prints it."""
    if moment is None:
        return None
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp()
