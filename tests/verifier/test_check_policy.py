"""`check-policy`: each word of it is what the server would do, and why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hsm_verifier.__main__ import main
from tests.verifier.party import make_bundle

POLICY = """
[groups.web]
accounts = ["111122223333"]
regions = ["eu-central-1"]
roles = ["web"]
tags = { Team = "pay" }
bundle = "common"
grants = "owner"
source = { mode = "enforce", nat = ["203.0.113.0/24"] }

[groups.batch]
accounts = ["111122223333"]
regions = []
partitions = ["aws"]
roles = ["batch"]
level = "iid"
accept_unbound_evidence = true
demand_iid = true
"""
FACTS = """
[facts]
account = "111122223333"
region = "eu-central-1"
instance_id = "i-0123456789abcdef0"
role = "web"
private_ip = "10.0.0.7"
launch_time = "5min"
http_tokens = "required"
tags = { Team = "pay" }
"""
# Shortened output of `aws ec2 describe-instances`, with its names and its way of writing times.
DESCRIBED: dict[str, Any] = {
    "Reservations": [
        {
            "ReservationId": "r-0123456789abcdef0",
            "OwnerId": "111122223333",
            "Instances": [
                {
                    "InstanceId": "i-0123456789abcdef0",
                    "ImageId": "ami-0123456789abcdef0",
                    "InstanceType": "m7i.large",
                    "LaunchTime": "2026-01-01T00:00:00+00:00",
                    "Placement": {"AvailabilityZone": "eu-central-1a"},
                    "PrivateDnsName": "ip-10-0-0-7.eu-central-1.compute.internal",
                    "PrivateIpAddress": "10.0.0.7",
                    "PublicDnsName": "",
                    "State": {"Code": 16, "Name": "running"},
                    "IamInstanceProfile": {"Arn": "arn:aws:iam::111122223333:instance-profile/web-profile"},
                    "MetadataOptions": {"HttpTokens": "optional"},
                    "Tags": [{"Key": "Team", "Value": "pay"}],
                    "NetworkInterfaces": [
                        {
                            "Attachment": {"AttachTime": "2025-12-01T00:00:00+00:00", "DeviceIndex": 0},
                            "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.7"}, {"PrivateIpAddress": "10.0.0.8"}],
                            "Ipv6Addresses": [{"Ipv6Address": "2001:db8::7"}],
                        }
                    ],
                }
            ],
        }
    ]
}
Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run check-policy on a file of facts; gives status, stdout, stderr."""
    (tmp_path / "policy.toml").write_text(POLICY)

    def call(facts: str, *words: str) -> tuple[int, str, str]:
        (tmp_path / "facts").write_text(facts)
        status = main(["check-policy", str(tmp_path / "facts"), "--policy", str(tmp_path / "policy.toml"), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def told(check: Check, facts: str, *words: str) -> dict[str, Any]:
    status, out, err = check(facts, "--json", *words)
    (one,) = json.loads(out)
    assert err == ""
    assert (status == 0) == (one["served_by"] is not None)
    found: dict[str, Any] = one
    return found


def test_it_says_what_an_instance_gets_and_what_stands_in_its_way_elsewhere(check: Check) -> None:
    status, out, _ = check(FACTS)
    assert status == 0
    assert out.splitlines() == [
        "i-0123456789abcdef0 in 111122223333 eu-central-1",
        "group web: admits it",
        "group batch: no",
        "  V10 role_not_in_group: web, wanted batch",
        "served by group web: bundle common",
        "  lost key: grant; grants: owner; release gate: on",
    ]


def test_it_says_why_not(check: Check) -> None:
    status, out, _ = check(FACTS.replace("5min", "20min").replace('"pay"', '"ops"'), "--source", "192.0.2.1")
    assert status == 1
    assert "  V10 tag_Team_differs: ops, wanted pay\n" in out
    assert "  V11 source_differs: 192.0.2.1, wanted 10.0.0.7 or 203.0.113.0/24\n" in out
    assert "  V12 since_start_is_over: 1200 s, wanted at most 900 s\n" in out
    assert out.endswith("refused: not_admitted (V10 no_group)\n")


@pytest.mark.parametrize(
    ("change", "words", "reason", "detail"),
    [
        ({}, (), None, None),
        ({"5min": "20min"}, ("--known",), None, None),
        ({"eu-central-1": "eu-west-1"}, (), "not_admitted", "V10 no_group"),
        ({"eu-central-1": "cn-north-1"}, (), "evidence_invalid", "V4 account_or_region"),
        ({"111122223333": "999999999999"}, (), "evidence_invalid", "V4 account_or_region"),
        ({}, ("--level", "fields"), "evidence_missing", "V4 fields_below_iid"),
        ({}, ("--level", "iid"), "evidence_missing", "V10 iid_below_identity-role"),
        ({'role = "web"': 'role = "batch"'}, ("--level", "iid"), "evidence_missing", "V10 iid_demanded"),
        ({'role = "web"': 'role = "batch"'}, ("--level", "iid", "--iid"), None, None),
        ({'"required"': '"required"\nstate = "stopped"'}, (), "not_admitted", "V9 state_stopped"),
        ({'"required"': '"optional"'}, (), "not_admitted", "V10 no_group"),
    ],
)
def test_each_check_has_its_say(
    check: Check, change: dict[str, str], words: tuple[str, ...], reason: str | None, detail: str | None
) -> None:
    facts = FACTS
    for old, new in change.items():
        facts = facts.replace(old, new)
    found = told(check, facts, *words)
    assert (found["reason"], found["detail"]) == (reason, detail)


def test_a_false_claim_is_compared_with_the_facts(check: Check) -> None:
    found = told(check, FACTS + '\n[claims]\nimage-id = "ami-0000000000000000f"\n')
    assert found["groups"][0]["mismatches"] == [
        {"check": "V10", "what": "image-id_differs", "enforced": True, "found": "ami-0000000000000000f", "wanted": ""}
    ]


def test_it_reads_what_aws_prints(check: Check) -> None:
    text = json.dumps(DESCRIBED)
    found = told(check, text, "--role", "web")
    words = {item["what"] for item in found["groups"][0]["mismatches"]}
    assert words == {"http_tokens_not_required", "since_start_is_over"}
    required = text.replace("optional", "required")
    assert told(check, required, "--role", "web", "--known")["served_by"] == "web"
    assert told(check, required, "--role", "web", "--known", "--source", "10.0.0.8")["served_by"] == "web"
    assert told(check, required, "--role", "web", "--known", "--source", "2001:db8::7")["served_by"] == "web"
    assert "name the one of arn:aws:iam::111122223333:instance-profile/web-profile with --role" in check(text)[1]


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ("[facts]\nacount = 'x'", "did you mean account?"),
        ("[facts]\naccount = '1'", "facts.region: a text is missing"),
        ("[facts]\naccount = '1'\nregion = 'r'\nlaunch_time = 'yesterday'", "facts.launch_time"),
        ("[facts]\naccount = '1'\nregion = 'r'\nrole = 7", "facts.role: a text"),
        ("[facts]\naccount = '1'\nregion = 'r'\n[claims]\nimageid = 'x'", "did you mean image-id?"),
        ('{"Reservations": [{}]}', "aws ec2 describe-instances"),
        ('{"Reservations": []}', "no instance in it"),
        ("{", "Expecting"),
        ("facts", "Expected"),
    ],
)
def test_a_fault_in_the_facts_names_its_key(check: Check, facts: str, what: str) -> None:
    status, out, err = check(facts)
    assert (status, out) == (65, "")
    assert what in err


def test_with_the_settings_it_names_the_serial_or_that_nothing_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vp"
    assert main(["init", str(folder)]) == 0
    (folder / "policy.toml").write_text(POLICY)
    (tmp_path / "facts").write_text(FACTS)
    (tmp_path / "b.json").write_bytes(make_bundle().to_bytes().replace(b'"schema":1,"serial":1,', b""))
    words = ["check-policy", str(tmp_path / "facts"), "--config", str(folder / "hsm-verifier.toml")]
    capsys.readouterr()
    assert main(words) == 1
    assert "refused: upstream_busy (V14 nothing_published)" in capsys.readouterr().out
    put = ["bundle", "put", "--config", str(folder / "hsm-verifier.toml"), "--group", "common"]
    assert main([*put, str(tmp_path / "b.json")]) == 0
    serial = int(capsys.readouterr().out)
    assert main(words) == 0
    assert f"served by group web: bundle common, serial {serial}\n" in capsys.readouterr().out
