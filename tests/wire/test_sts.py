from dataclasses import replace
from typing import Any

import botocore.loaders
import pytest

from hsm_enrol.errors import WireError
from hsm_enrol.wire import sts
from hsm_enrol.wire.assertion import IdentityRole

BINDING = "b" * 43
DATE = "20260102T030405Z"


EVIDENCE = IdentityRole(
    region="eu-central-1",
    endpoint="regional",
    access_key_id="ASIAQWERTYUIOPASDFGH",
    security_token="IQoJb3JpZ2luX2VjE/+=",
    amz_date=DATE,
    signature="0f" * 32,
)


def request(**changes: str) -> dict[str, str]:
    return {
        "host": "sts.eu-central-1.amazonaws.com",
        "amz_date": DATE,
        "security_token": "IQoJb3JpZ2luX2VjE/+=",
        "binding": BINDING,
        **changes,
    }


def test_the_canonical_request_is_that_of_the_protocol() -> None:
    assert sts.canonical_request(**request()).decode() == (
        "POST\n"
        "/\n"
        "\n"
        "content-type:application/x-www-form-urlencoded; charset=utf-8\n"
        "host:sts.eu-central-1.amazonaws.com\n"
        "x-amz-date:20260102T030405Z\n"
        "x-amz-security-token:IQoJb3JpZ2luX2VjE/+=\n"
        f"x-hsm-enrol-binding:{BINDING}\n"
        "\n"
        "content-type;host;x-amz-date;x-amz-security-token;x-hsm-enrol-binding\n"
        "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843"
    )
    assert len(sts.BODY) == 43


def test_the_headers_sent_are_the_headers_signed() -> None:
    headers = sts.signed_headers(**request())
    assert ";".join(headers) == sts.SIGNED_HEADERS
    assert list(headers) == sorted(headers)
    assert not set(headers) & {name.lower() for name in sts.UNSIGNED_HEADERS}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "sts.eu-central-1.amazonaws.com\nx-evil:1"),
        ("host", "sts.eu-central-1.amazonaws.com@evil.example"),
        ("host", "sts.eu-central-1.amazonaws.com:444"),
        ("host", "sts.eu-central-1.amazonaws.com/"),
        ("host", "localhost"),
        ("host", "a." * 127 + "a"),
        ("amz_date", "20260102T030405Z\n"),
        ("amz_date", "2026-01-02T03:04:05Z"),
        ("amz_date", "٢0260102T030405Z"),
        ("security_token", ""),
        ("security_token", "token\nhost:evil.example"),
        ("security_token", "token\r"),
        ("security_token", "tøken"),
        ("security_token", "x" * 12289),
        ("binding", "b" * 42),
        ("binding", "b" * 42 + "\n"),
        ("binding", "b" * 43 + "\n"),
        ("binding", "b" * 42 + "="),
    ],
)
def test_v8_no_value_can_become_another_header_or_host(name: str, value: str) -> None:
    for act in (sts.signed_headers, sts.canonical_request):
        with pytest.raises(WireError) as caught:
            act(**request(**{name: value}))
        assert caught.value.rule == "V8"
        assert value not in str(caught.value) or not value


@pytest.mark.parametrize(
    ("region", "endpoint", "host"),
    [
        ("eu-central-1", "regional", "sts.eu-central-1.amazonaws.com"),
        ("us-east-1", "regional", "sts.us-east-1.amazonaws.com"),
        ("us-east-1", "fips", "sts-fips.us-east-1.amazonaws.com"),
        ("us-east-2", "fips", "sts-fips.us-east-2.amazonaws.com"),
        ("us-west-1", "fips", "sts-fips.us-west-1.amazonaws.com"),
        ("us-west-2", "fips", "sts-fips.us-west-2.amazonaws.com"),
        ("us-gov-west-1", "regional", "sts.us-gov-west-1.amazonaws.com"),
        ("us-gov-west-1", "fips", "sts.us-gov-west-1.amazonaws.com"),
        ("us-gov-east-1", "fips", "sts.us-gov-east-1.amazonaws.com"),
        ("cn-north-1", "regional", "sts.cn-north-1.amazonaws.com.cn"),
        ("cn-northwest-1", "regional", "sts.cn-northwest-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "regional", "sts.eusc-de-east-1.amazonaws.eu"),
        ("ap-southeast-99", "regional", "sts.ap-southeast-99.amazonaws.com"),
    ],
)
def test_p12_each_region_has_its_own_host(region: str, endpoint: str, host: str) -> None:
    assert sts.sts_host(region, endpoint) == host


def test_p12_the_table_agrees_with_botocores_in_every_region_it_knows() -> None:
    table: Any = botocore.loaders.create_loader().load_data("endpoints")
    seen = 0
    for part in table["partitions"]:
        isolated = part["partition"].startswith("aws-iso")
        for region in part["regions"]:
            assert sts.partition(region) == part["partition"]
            host = sts.sts_host(region, "regional", part["dnsSuffix"] if isolated else None)
            assert host == f"sts.{region}.{part['dnsSuffix']}"
            seen += 1
    assert seen > 30


@pytest.mark.parametrize("region", ["us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1"])
def test_p12_an_isolated_region_wants_its_suffix_from_the_configuration(region: str) -> None:
    with pytest.raises(WireError, match="V8 suffix"):
        sts.sts_host(region, "regional")
    assert sts.sts_host(region, "regional", "c2s.ic.gov") == f"sts.{region}.c2s.ic.gov"


def test_a_configured_suffix_goes_before_the_table() -> None:
    assert sts.sts_host("eu-west-1", "regional", "lab.example") == "sts.eu-west-1.lab.example"
    assert sts.sts_host("eu-west-1", "regional", "") == "sts.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    "suffix", ["amazonaws.com/", "amazonaws.com\n", "evil.example#", "a@b.c", ".com", "a..b", "Amazonaws.com", "com"]
)
def test_v8_a_suffix_is_a_dns_name_and_nothing_else(suffix: str) -> None:
    with pytest.raises(WireError, match="V8 suffix"):
        sts.sts_host("eu-west-1", "regional", suffix)


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1"])
def test_v8_fips_is_refused_where_aws_has_none(region: str) -> None:
    with pytest.raises(WireError, match="V8 no fips"):
        sts.sts_host(region, "fips", "amazonaws.com")


@pytest.mark.parametrize("endpoint", ["", "global", "FIPS", "regional\n"])
def test_v8_there_is_no_third_endpoint(endpoint: str) -> None:
    with pytest.raises(WireError, match="V8 endpoint"):
        sts.sts_host("eu-west-1", endpoint)


@pytest.mark.parametrize(
    "region",
    [
        "", "eu-central-1\n", "eu-central-1/", "eu-central-1.evil.example", "evil@eu-central-1", "eu-central-1#",
        "eu-central", "EU-central-1", "eu-central-١", "eu-central-123", "e-central-1", "eu-c-1", "us-east-1a",
        "eu central-1", "-eu-central-1",
    ],
)  # fmt: skip
def test_v8_no_text_that_is_no_region_chooses_a_host(region: str) -> None:
    with pytest.raises(WireError, match="V8 region"):
        sts.sts_host(region, "regional")
    with pytest.raises(WireError, match="V8 region"):
        sts.partition(region)
    with pytest.raises(WireError, match="V8 region"):
        sts.scope(region, DATE)


def test_the_authorization_header_names_key_scope_and_signature() -> None:
    assert sts.authorization(EVIDENCE) == (
        "AWS4-HMAC-SHA256 Credential=ASIAQWERTYUIOPASDFGH/20260102/eu-central-1/sts/aws4_request, "
        f"SignedHeaders={sts.SIGNED_HEADERS}, Signature={'0f' * 32}"
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"access_key_id": "AKIAQWERTYUIOPASDFGH"}, "access-key-id"),  # a long-term key is not the instance's
        ({"access_key_id": "ASIAQWERTYUIOPASDFGH\r\nx:1"}, "access-key-id"),
        ({"signature": "0F" * 32}, "signature"),
        ({"signature": "0f" * 32 + "\n"}, "signature"),
        ({"signature": "0f" * 31}, "signature"),
        ({"amz_date": "20260102T030405Z/../"}, "amz-date"),
        ({"region": "us-east-1/s3"}, "region"),
    ],
)
def test_v8_an_authorization_header_takes_nothing_outside_its_grammar(changes: dict[str, str], what: str) -> None:
    with pytest.raises(WireError, match=f"V8 {what}"):
        sts.authorization(replace(EVIDENCE, **changes))
