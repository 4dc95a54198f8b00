"""Each key of the policy: once it admits, once it does not."""

import dataclasses
from typing import Any

import pytest

from hsm_verifier.inventory.facts import Facts
from hsm_verifier.policy import FIELDS, PolicyError, Verdict
from hsm_verifier.policy_file import read_policy
from lab.asking import request_of
from lab.machine import Machine

MACHINE = Machine()
REQUEST = request_of(MACHINE)
NOW = 1_800_000_000.0
FACTS = Facts(
    instance_id=MACHINE.instance_id,
    account=MACHINE.account_id,
    region=MACHINE.region,
    state="running",
    instance_type=MACHINE.instance_type,
    image_id=MACHINE.image_id,
    reservation_id=MACHINE.reservation_id,
    private_dns=MACHINE.local_hostname,
    public_dns=None,
    private_ip=MACHINE.local_ipv4,
    public_ip="198.51.100.7",
    launch_time=NOW - 60,
    created=NOW - 3600,
    vpc="vpc-0123456789abcdef0",
    subnet="subnet-0123456789abcdef0",
    http_tokens="required",
    profile_arn=MACHINE.profile_arn,
    role=MACHINE.role,
    tags={"aws:autoscaling:groupName": "web", "Team": "pay"},
)
LEAST = {"accounts": [MACHINE.account_id], "regions": [MACHINE.region]}


def judge(
    rules: dict[str, Any], facts: Facts = FACTS, *, source: str = "10.0.0.10", first_time: bool = True
) -> Verdict:
    policy = read_policy({"groups": {"web": LEAST | rules}})
    return policy.judge(REQUEST, facts, None, source=source, now=NOW, first_time=first_time)


@pytest.mark.parametrize(
    ("yes", "no", "word"),
    [
        ({"accounts": ["111122223333"]}, {"accounts": ["999999999999"]}, "account_or_region"),
        ({"regions": ["eu-central-1"]}, {"regions": ["us-gov-west-1"]}, "account_or_region"),
        ({"roles": ["web-instance"]}, {"roles": ["admin"]}, "role_not_in_group"),
        ({"instance_types": ["m7i.large"]}, {"instance_types": ["c5.large"]}, "instance_type_not_in_group"),
        ({"images": ["ami-0aaaabbbbccccdddd"]}, {"images": ["ami-00000000"]}, "image_not_in_group"),
        ({"vpcs": ["vpc-0123456789abcdef0"]}, {"vpcs": ["vpc-00000000"]}, "vpc_not_in_group"),
        ({"subnets": ["subnet-0123456789abcdef0"]}, {"subnets": ["subnet-00000000"]}, "subnet_not_in_group"),
        ({"auto_scaling_groups": ["web"]}, {"auto_scaling_groups": ["db"]}, "auto_scaling_group_not_in_group"),
        ({"tags": {"Team": "pay"}}, {"tags": {"Team": "ops"}}, "tag_Team_differs"),
        ({"partitions": ["aws"]}, {"partitions": ["aws-cn"], "regions": ["cn-north-1"]}, "account_or_region"),
        ({"windows": {"since_start": "15min"}}, {"windows": {"since_start": "30s"}}, "since_start_is_over"),
        ({"windows": {"since_creation": "2h"}}, {"windows": {"since_creation": "10min"}}, "since_creation_is_over"),
    ],
)
def test_v10_v12_a_rule_admits_or_names_what_differs(yes: dict[str, Any], no: dict[str, Any], word: str) -> None:
    assert judge(yes).group == "web"
    verdict = judge(no)
    assert verdict.group is None
    assert word in {one.what for one in verdict.mismatches}


def test_a_group_under_whose_name_nothing_can_be_published_wants_another_for_its_bundle() -> None:
    there = {"accounts": ["111122223333"], "regions": ["eu-central-1"]}
    for name in ("_web", ".", "-a"):
        with pytest.raises(PolicyError, match="begin with a letter or digit, or set bundle"):
            read_policy({"groups": {name: there}})
        assert read_policy({"groups": {name: there | {"bundle": "web"}}}).names() == (name,)


def test_v7_who_gets_a_bundle_is_told_by_its_name_account_and_region() -> None:
    there = {"accounts": ["111122223333"], "regions": ["eu-central-1"]}
    policy = read_policy(
        {"groups": {"web": there, "cache": there | {"bundle": "web"}, "far": there | {"regions": ["eu-west-1"]}}}
    )
    names = [one.name for one in policy.handing_out("web", "111122223333", "eu-central-1")]
    assert names == ["web", "cache"]
    assert policy.handing_out("cache", "111122223333", "eu-central-1") == ()
    assert policy.handing_out("far", "111122223333", "eu-central-1") == ()
    assert policy.handing_out("web", "999999999999", "eu-central-1") == ()


def test_a7_imdsv1_on_the_instance_is_refused_unless_accepted() -> None:
    open_to_v1 = dataclasses.replace(FACTS, http_tokens="optional")
    assert judge({}, open_to_v1).group is None
    assert judge({"http_tokens": "any"}, open_to_v1).group == "web"
    assert judge({}, dataclasses.replace(FACTS, http_tokens=None)).group == "web"  # a white list does not know


def test_v10_facts_of_another_account_are_never_those_of_the_claims() -> None:
    every = {"fields": dict.fromkeys(FIELDS, "off")}
    assert judge(every).group == "web"
    verdict = judge(every, dataclasses.replace(FACTS, account="999922223333"))
    assert verdict.group is None
    assert [one.what for one in verdict.mismatches] == ["account_differs"]


@pytest.mark.parametrize(
    ("field", "fact"),
    [
        ("instance-type", {"instance_type": "c5.large"}),
        ("image-id", {"image_id": "ami-00000000"}),
        ("reservation-id", {"reservation_id": "r-00000000"}),
        ("role", {"role": None}),
        ("local-hostname", {"private_dns": "other"}),
        ("public-hostname", {"public_dns": "other"}),
        ("local-ipv4", {"private_ip": "10.0.0.99"}),
    ],
)
def test_a1_a_false_claim_counts_as_the_group_says(field: str, fact: dict[str, Any]) -> None:
    facts = dataclasses.replace(FACTS, **fact)
    assert judge({"fields": {field: "enforce"}}, facts).group is None
    seen = judge({"fields": {field: "observe"}}, facts)
    assert seen.group == "web"
    assert f"V10 {field}_differs (observed)" in map(str, seen.mismatches)
    assert field not in str(judge({"fields": {field: "off"}}, facts).mismatches)


@pytest.mark.parametrize(
    "source",
    ["10.0.0.10", "198.51.100.7", "203.0.113.9", "192.0.2.8", "10.0.3.4", "2001:db8::7", "::ffff:10.0.0.10"],
)
def test_v11_p11_the_source_is_any_address_of_its_own_or_a_listed_nat_or_proxy(source: str) -> None:
    facts = dataclasses.replace(FACTS, addresses=("10.0.0.10", "10.0.3.4", "2001:db8::7"))
    listed = {"mode": "enforce", "nat": ["203.0.113.0/24"], "proxies": ["192.0.2.8/32"]}
    assert judge({"source": listed}, facts, source=source).group == "web"


@pytest.mark.parametrize(
    ("partition", "region", "other"),
    [
        ("aws", "eu-central-1", "us-gov-west-1"),
        ("aws-us-gov", "us-gov-west-1", "us-west-1"),
        ("aws-cn", "cn-north-1", "ap-east-1"),
    ],
)
def test_a_partition_stands_for_all_its_regions(partition: str, region: str, other: str) -> None:
    policy = read_policy({"groups": {"web": {"accounts": ["111122223333"], "regions": [], "partitions": [partition]}}})
    assert policy.lowest_level("111122223333", region) == "identity-role"
    assert policy.lowest_level("111122223333", other) is None


def test_v12_a_window_asked_for_is_not_passed_by_an_unknown_time() -> None:
    unknown = dataclasses.replace(FACTS, launch_time=None, created=None)
    assert judge({"windows": {"since_creation": "10min"}}, unknown).group is None
    seen = judge({}, unknown)
    assert (seen.group, [str(one) for one in seen.mismatches]) == ("web", ["V12 since_start_unknown (observed)"])


def test_the_audits_words_carry_no_value_from_outside() -> None:
    verdict = judge({"roles": ["admin"]}, dataclasses.replace(FACTS, role="CANARY", public_dns="CANARY"))
    assert "CANARY" not in " ".join(map(str, verdict.mismatches))
    assert {one.found for one in verdict.mismatches} >= {"CANARY"}


def test_v11_a10_another_source_counts_by_mode_and_only_the_first_time() -> None:
    enforce = {"source": {"mode": "enforce"}}
    assert judge(enforce, source="192.0.2.1").group is None
    assert judge(enforce, source="192.0.2.1", first_time=False).group == "web"
    assert judge(enforce, source="not an address").group is None
    assert judge({"source": {"mode": "off"}}, source="192.0.2.1").mismatches == ()


def test_o4_an_old_instance_may_rotate_outside_the_window() -> None:
    old = dataclasses.replace(FACTS, launch_time=NOW - 90 * 86400)
    assert judge({}, old).group is None
    assert judge({}, old, first_time=False).group == "web"


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ({"acounts": []}, "did you mean accounts?"),
        ({"level": "iid"}, "accept_unbound_evidence"),
        ({"level": "none"}, "level"),
        ({"regions": ["eu-central-1/"]}, "regions"),
        ({"windows": {"since_start": "soon"}}, "since_start"),
        ({"source": {"mode": "enforce", "nat": ["x"]}}, "nat"),
        ({"kems": []}, "kems"),
        ({"accounts": []}, "accounts: at least one"),
        ({"regions": []}, "or leave it empty and list partitions"),
        ({"partitions": ["aws-cn"]}, "eu-central-1 is in partition aws"),
        ({"partitions": ["aws-mars"]}, "partitions"),
        ({"source": {"proxies": "10.0.0.0/8"}}, "proxies"),
        ({"source": {"proxy": []}}, "did you mean proxies?"),
        ({"bundle": "../web"}, "bundle"),
        ({"grants": "some"}, "grants"),
        ({"fields": {"role": "maybe"}}, "fields.role"),
        ({"fields": {"rule": "off"}}, "did you mean role?"),
        ({"tags": {"a": 1}}, "tags"),
        ({"release_gate": "yes"}, "release_gate"),
        ({"level": "fields", "accept_unbound_evidence": True, "demand_iid": True}, "demand_iid"),
        (
            {"level": "fields", "accept_unbound_evidence": True, "regions": [], "partitions": ["aws"]},
            "list them, with level fields",
        ),
    ],
)
def test_a_fault_in_the_file_names_its_key(rules: dict[str, Any], what: str) -> None:
    with pytest.raises(PolicyError, match=what.replace("?", r"\?")):
        judge(rules)


def test_a17_the_weakest_level_anybody_accepts_is_known_before_aws_is_asked() -> None:
    weak = {"level": "iid", "accept_unbound_evidence": True}
    policy = read_policy({"groups": {"web": LEAST, "old": LEAST | weak}})
    assert policy.lowest_level(MACHINE.account_id, MACHINE.region) == "iid"
    assert policy.lowest_level("999999999999", MACHINE.region) is None


def test_a_group_needs_regions_or_partitions() -> None:
    with pytest.raises(PolicyError, match="regions is missing"):
        read_policy({"groups": {"web": {"accounts": ["111122223333"]}}})
