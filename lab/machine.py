"""Knows what one EC2 instance would say about itself: the laboratory's facts, and the tree of items IMDS makes of them.

Item names and shapes are those of the EC2 guide ("Instance metadata categories", "Instance identity documents"); the
values are made up. Proof (signed document, live credentials) is put in by lab.aws; without it there are placeholders.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCredentials:
    """Temporary credentials as IMDS hands them out."""

    access_key_id: str = "ASIALAB0000000000000"
    secret_access_key: str = field(default="labSecretAccessKey/notARealOne+0123456789", repr=False)
    session_token: str = field(default="IQoJb3JpZ2luLWxhYi0tbm90LWEtcmVhbC1vbmU=", repr=False)
    last_updated: str = "2026-01-01T00:00:00Z"
    expiration: str = "2036-01-01T00:00:00Z"

    def as_item(self) -> bytes:
        """Give the JSON of a security-credentials item."""
        return pretty(
            {
                "Code": "Success",
                "LastUpdated": self.last_updated,
                "Type": "AWS-HMAC",
                "AccessKeyId": self.access_key_id,
                "SecretAccessKey": self.secret_access_key,
                "Token": self.session_token,
                "Expiration": self.expiration,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One instance. None means that IMDS answers 404 for that item (and for all of iam/ when there is no role)."""

    instance_id: str = "i-0123456789abcdef0"
    instance_type: str = "m7i.large"
    reservation_id: str = "r-0fedcba9876543210"
    local_hostname: str = "ip-10-0-0-10.eu-central-1.compute.internal"
    public_hostname: str | None = None
    local_ipv4: str | None = "10.0.0.10"
    mac: str = "02:00:00:00:00:0a"
    image_id: str = "ami-0aaaabbbbccccdddd"
    account_id: str = "111122223333"
    region: str = "eu-central-1"
    availability_zone: str = "eu-central-1a"
    domain: str = "amazonaws.com"
    partition: str = "aws"
    lifecycle: str | None = None
    role: str | None = "web-instance"
    profile_arn: str | None = "arn:aws:iam::111122223333:instance-profile/web-profile"
    pending_time: str = "2026-01-01T00:00:00Z"
    credentials: RoleCredentials = field(default_factory=RoleCredentials, repr=False)
    document: bytes = b""  # "" = made of the facts above
    rsa2048: str = "bGFiOiBub3QgYSBz\naWduYXR1cmUgYXQg\nYWxsLg=="  # lines of base64, as AWS sends them
    signature: str = "bGFiOiBub3QgYSBzaWduYXR1cmU="

    def items(self) -> dict[str, bytes]:
        """Give every item below /latest/ with its body."""
        meta: dict[str, str | None] = {
            "ami-id": self.image_id,
            "autoscaling/target-lifecycle-state": self.lifecycle,
            "instance-id": self.instance_id,
            "instance-type": self.instance_type,
            "local-hostname": self.local_hostname,
            "local-ipv4": self.local_ipv4,
            "mac": self.mac,
            "placement/availability-zone": self.availability_zone,
            "placement/region": self.region,
            "public-hostname": self.public_hostname,
            "reservation-id": self.reservation_id,
            "services/domain": self.domain,
            "services/partition": self.partition,
        }
        tree = {f"meta-data/{name}": value.encode() for name, value in meta.items() if value is not None}
        own = "meta-data/identity-credentials/ec2/"
        tree[own + "info"] = pretty(
            {"Code": "Success", "LastUpdated": self.credentials.last_updated, "AccountId": self.account_id}
        )
        tree[own + "security-credentials/ec2-instance"] = self.credentials.as_item()
        if self.profile_arn is not None:
            info = {"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z"}
            profile = {"InstanceProfileArn": self.profile_arn, "InstanceProfileId": "AIPALAB00000000000000"}
            tree["meta-data/iam/info"] = pretty({**info, **profile})
        if self.role is not None:
            tree[f"meta-data/iam/security-credentials/{self.role}"] = RoleCredentials().as_item()
        tree["dynamic/instance-identity/document"] = self.document or document_of(self)
        tree["dynamic/instance-identity/rsa2048"] = self.rsa2048.encode()
        tree["dynamic/instance-identity/signature"] = self.signature.encode()
        return tree


def document_of(machine: Machine) -> bytes:
    """Make the instance identity document, laid out as AWS does (null for what an instance does not have)."""
    return pretty(
        {
            "accountId": machine.account_id,
            "architecture": "x86_64",
            "availabilityZone": machine.availability_zone,
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": machine.image_id,
            "instanceId": machine.instance_id,
            "instanceType": machine.instance_type,
            "kernelId": None,
            "pendingTime": machine.pending_time,
            "privateIp": machine.local_ipv4,
            "ramdiskId": None,
            "region": machine.region,
            "version": "2017-09-30",
        }
    )


def pretty(value: dict[str, str | None]) -> bytes:
    """Lay JSON out as IMDS does: two spaces, and one before the colon."""
    return json.dumps(value, indent=2, separators=(",", " : ")).encode()
