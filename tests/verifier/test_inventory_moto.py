"""The inventory against somebody else's AWS: boto3 to moto's server over HTTP."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from hsm_enrol.wire.assertion import Assertion
from hsm_verifier.inventory.ec2 import Ec2Inventory
from hsm_verifier.refusal import Refusal
from lab import children
from lab.asking import request_of
from lab.machine import Machine

REGION = "eu-central-1"
OURS, THEIRS = "123456789012", "222233334444"
TRUST = '{"Version":"2012-10-17","Statement":[]}'


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Moto's server, in a process of its own; gives its address."""
    port = children.free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    process = children.start(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        log,
        env=os.environ | {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"},
    )

    def listens() -> bool:
        try:
            children.connect(port).close()
        except OSError:
            return False
        return True

    try:
        children.wait(process, log, listens)
        yield f"http://127.0.0.1:{port}"
    finally:
        children.stop(process, number=signal.SIGTERM)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)


@dataclass
class Account:
    """One account of moto's: makes roles and instances in it."""

    endpoint: str
    keys: dict[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, **self.keys)

    def launch(self, role: str) -> dict[str, Any]:
        """Run one instance with a role's profile and a tag; gives DescribeInstances' word of it."""
        iam, ec2 = self.client("iam"), self.client("ec2")
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)
        iam.create_instance_profile(InstanceProfileName=f"{role}-profile")
        iam.add_role_to_instance_profile(InstanceProfileName=f"{role}-profile", RoleName=role)
        made = ec2.run_instances(
            ImageId="ami-0aaaabbbbccccdddd",
            MinCount=1,
            MaxCount=1,
            InstanceType="m5.large",
            IamInstanceProfile={"Name": f"{role}-profile"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Team", "Value": "pay"}]}],
        )
        return dict(made["Instances"][0])


def request(instance: dict[str, Any], account: str, role: str) -> Assertion:
    machine = replace(Machine(), instance_id=instance["InstanceId"], account_id=account, region=REGION, role=role)
    return request_of(machine)


def test_facts_of_an_instance_with_a_role(endpoint: str) -> None:
    instance = Account(endpoint, {}).launch("web")
    facts = Ec2Inventory(endpoint_url=endpoint).look_up(request(instance, OURS, "web"))
    assert (facts.account, facts.region, facts.instance_type, facts.role) == (OURS, REGION, "m5.large", "web")
    assert (facts.image_id, facts.vpc, facts.subnet) == (
        instance["ImageId"],
        instance["VpcId"],
        instance["SubnetId"],
    )
    assert facts.launch_time == instance["LaunchTime"].timestamp()
    assert facts.tags == {"Team": "pay"}
    assert instance["PrivateIpAddress"] in facts.addresses
    assert facts.private_dns == instance["PrivateDnsName"]


def test_an_instance_that_is_nowhere_and_one_that_was_terminated(endpoint: str) -> None:
    account = Account(endpoint, {})
    gone = account.launch("short-lived")
    account.client("ec2").terminate_instances(InstanceIds=[gone["InstanceId"]])
    inventory = Ec2Inventory(endpoint_url=endpoint)
    with pytest.raises(Refusal, match="not_visible_yet") as caught:
        inventory.look_up(request({"InstanceId": "i-0fedcba9876543210"}, OURS, "web"))
    assert caught.value.detail == "V9 not_found"
    with pytest.raises(Refusal, match="V9 state_terminated"):
        inventory.look_up(request(gone, OURS, "short-lived"))


def test_an_instance_of_another_account_is_seen_through_a_role_there_only(endpoint: str) -> None:
    got = (
        Account(endpoint, {})
        .client("sts")
        .assume_role(RoleArn=f"arn:aws:iam::{THEIRS}:role/admin", RoleSessionName="test")["Credentials"]
    )
    keys = {
        "aws_access_key_id": got["AccessKeyId"],
        "aws_secret_access_key": got["SecretAccessKey"],
        "aws_session_token": got["SessionToken"],
    }
    instance = Account(endpoint, keys).launch("abroad")
    asked = request(instance, THEIRS, "abroad")
    role = "arn:{partition}:iam::{account}:role/hsm-verifier-reads"
    facts = Ec2Inventory(endpoint_url=endpoint, assume_role=role).look_up(asked)
    assert (facts.account, facts.role) == (THEIRS, "abroad")
    with pytest.raises(Refusal, match="not_visible_yet"):
        Ec2Inventory(endpoint_url=endpoint).look_up(asked)
