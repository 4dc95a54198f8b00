"""The stand-in for AWS, seen by AWS's own client library."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from requests.adapters import HTTPAdapter

from lab.aws import Aws
from lab.machine import Machine

BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
HOST = "sts.eu-central-1.amazonaws.com"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    with Aws(tmp_path) as found:
        yield found


class ToLab(HTTPAdapter):
    """Connects to the laboratory, under the true host name."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, server_hostname=HOST, assert_hostname=HOST, **kwargs)


def ask(aws: Aws, machine: Machine, *, body: bytes = BODY, region: str = "eu-central-1", **headers: str) -> Any:
    own = machine.credentials
    credentials = Credentials(own.access_key_id, own.secret_access_key, own.session_token)
    request = AWSRequest("POST", f"https://{HOST}/", data=BODY, headers={"Accept": "application/json"})
    SigV4Auth(credentials, "sts", region).add_auth(request)
    request.headers["Host"] = HOST
    for name, value in headers.items():
        del request.headers[name.replace("_", "-")]
        request.headers[name.replace("_", "-")] = value
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", ToLab())
        return session.post(
            f"https://{aws.sts.connect}/",
            data=body,
            headers=dict(request.headers.items()),
            verify=str(aws.sts.ca_file),
            timeout=5,
        )


def test_sts_names_the_instance_that_signed(aws: Aws) -> None:
    machine = aws.launch()
    reply = ask(aws, machine)
    result = reply.json()["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
    assert result["Arn"] == f"arn:aws:sts::111122223333:assumed-role/aws:ec2-instance/{machine.instance_id}"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": BODY + b"&x=1"}, "SignatureDoesNotMatch"),
        ({"region": "us-east-1"}, "SignatureDoesNotMatch"),
        ({"X_Amz_Date": "20200101T000000Z"}, "SignatureDoesNotMatch"),
        ({"X_Amz_Security_Token": "other"}, "InvalidClientTokenId"),
        ({"Host": "sts.us-east-1.amazonaws.com"}, "SignatureDoesNotMatch"),
    ],
)
def test_sts_refuses_what_was_not_signed_so(aws: Aws, change: dict[str, Any], code: str) -> None:
    reply = ask(aws, aws.launch(), **change)
    assert reply.status_code == 403
    assert reply.json()["Error"]["Code"] == code


@pytest.mark.parametrize("minutes", [-6, 6])
def test_sts_refuses_a_date_too_far_away(aws: Aws, minutes: int) -> None:
    machine = aws.launch()
    aws.sts.shift = dt.timedelta(minutes=minutes).total_seconds()
    assert ask(aws, machine).json()["Error"]["Message"].startswith("Signature expired")


def client(aws: Aws, service: str) -> Any:
    return boto3.client(
        service,
        region_name=aws.region,
        endpoint_url=aws.api.endpoint,
        aws_access_key_id="AKIALAB",
        aws_secret_access_key="lab",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_boto3_reads_an_instance_by_filter(aws: Aws) -> None:
    machine, other = aws.launch(), aws.launch()
    ec2 = client(aws, "ec2")
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [machine.instance_id, "i-00000000"]}])
    assert len(found["Reservations"]) == 1
    instance = found["Reservations"][0]["Instances"][0]
    assert found["Reservations"][0]["ReservationId"] == machine.reservation_id
    assert instance["InstanceId"] == machine.instance_id != other.instance_id
    assert instance["State"]["Name"] == "running"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["NetworkInterfaces"][0]["Attachment"]["DeviceIndex"] == 0
    assert instance["IamInstanceProfile"]["Arn"] == machine.profile_arn


def test_boto3_meets_aws_errors(aws: Aws) -> None:
    ec2 = client(aws, "ec2")
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2.describe_instances(InstanceIds=["i-00000000"])
    aws.api.faults.throttle = 1
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        ec2.describe_instances()
    aws.api.faults.denied.add("DescribeInstances")
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.describe_instances()


def test_boto3_lists_the_profiles_of_a_role(aws: Aws) -> None:
    machine = aws.launch(role="web")
    iam = client(aws, "iam")
    found = iam.list_instance_profiles_for_role(RoleName="web")["InstanceProfiles"]
    assert [one["Arn"] for one in found] == [machine.profile_arn]
    assert (
        iam.get_instance_profile(InstanceProfileName="web-profile")["InstanceProfile"]["Roles"][0]["RoleName"] == "web"
    )
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.list_instance_profiles_for_role(RoleName="none")


def test_the_published_quota_throttles(aws: Aws) -> None:
    aws.api.faults.bucket = True
    assert sum(aws.api.take_token() for _ in range(130)) in range(100, 110)
