import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.errors import WireError
from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire import sts

REGIONS = ("eu-central-1", "us-east-1", "us-gov-west-1", "cn-northwest-1", "eusc-de-east-1", "ap-southeast-5")
B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def credentials(key: str = "ASIAQWERTYUIOPASDFGH", secret: str = "s" * 40, token: str = "t" * 400) -> Credentials:
    return Credentials(
        access_key_id=key, secret_access_key=secret, session_token=token, expiration="2026-01-02T09:00:00Z"
    )


@contextmanager
def botocore_at(amz_date: str) -> Iterator[None]:
    moment = dt.datetime.strptime(amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        yield


def by_botocore(given: Credentials, *, region: str, host: str, amz_date: str, binding: str) -> dict[str, str]:
    """What AWS's own library sends for the same request: its headers in small letters."""
    request: Any = botocore.awsrequest.AWSRequest(
        method="POST",
        url=f"https://{host}/",
        data=sts.BODY,
        headers={"Content-Type": sts.CONTENT_TYPE, "X-Hsm-Enrol-Binding": binding},
    )
    keys = botocore.credentials.Credentials(given.access_key_id, given.secret_access_key, given.session_token)
    with botocore_at(amz_date):
        botocore.auth.SigV4Auth(keys, "sts", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def check(given: Credentials, *, region: str, endpoint: str, suffix: str | None, amz_date: str, binding: str) -> None:
    evidence = sign_get_caller_identity(
        given, region=region, endpoint=endpoint, suffix=suffix, amz_date=amz_date, binding=binding
    )
    host = sts.sts_host(region, endpoint, suffix)
    theirs = by_botocore(given, region=region, host=host, amz_date=amz_date, binding=binding)
    assert sts.authorization(evidence) == theirs["authorization"]
    ours = sts.signed_headers(
        host=host, amz_date=evidence.amz_date, security_token=evidence.security_token, binding=binding
    )
    assert {name: value for name, value in ours.items() if name != "host"} == {
        name: value for name, value in theirs.items() if name not in {"authorization", "host"}
    }
    assert (evidence.region, evidence.endpoint) == (region, endpoint)


@given(
    given_credentials=st.builds(
        credentials,
        key=st.text(B64[:26] + B64[52:], min_size=12, max_size=124).map("ASIA".__add__),
        secret=st.text(B64 + "+/=", min_size=1, max_size=128),
        token=st.text(B64 + "+/=_-", min_size=1, max_size=2000),
    ),
    region=st.sampled_from(REGIONS),
    suffix=st.sampled_from([None, "", "amazonaws.com", "lab.example"]),
    seconds=st.integers(1_577_836_800, 4_102_444_799),  # 2020 to 2099
    binding=st.text(B64 + "_-", min_size=43, max_size=43),
)
def test_any_request_is_signed_as_botocore_signs_it(
    given_credentials: Credentials, region: str, suffix: str | None, seconds: int, binding: str
) -> None:
    amz_date = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    check(given_credentials, region=region, endpoint="regional", suffix=suffix, amz_date=amz_date, binding=binding)


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "us-gov-east-1"])
def test_a_request_for_the_fips_endpoint_is_signed_for_that_host(region: str) -> None:
    check(credentials(), region=region, endpoint="fips", suffix=None, amz_date="20260102T030405Z", binding="b" * 43)


def evidence_signature(**changes: Any) -> str:
    values = {
        "region": "eu-central-1",
        "endpoint": "regional",
        "suffix": None,
        "amz_date": "20260102T030405Z",
        "binding": "b" * 43,
    }
    given = changes.pop("credentials", credentials())
    return sign_get_caller_identity(given, **{**values, **changes}).signature


@pytest.mark.parametrize(
    "changes",
    [
        {"region": "eu-west-1"},
        {"suffix": "lab.example"},
        {"amz_date": "20260102T030406Z"},
        {"binding": "c" * 43},
        {"credentials": credentials(secret="S" * 40)},
        {"credentials": credentials(token="T" * 400)},
    ],
)
def test_a_signature_is_good_for_one_host_date_token_and_binding(changes: dict[str, Any]) -> None:
    assert evidence_signature(**changes) != evidence_signature()


def test_another_binding_cannot_be_put_under_a_signature() -> None:
    assert evidence_signature(binding="b" * 43) != evidence_signature(binding="b" * 42 + "c")


@pytest.mark.parametrize(
    "changes",
    [
        {"region": "eu-central-1\n"},
        {"endpoint": "global"},
        {"suffix": "evil.example/"},
        {"amz_date": "2026-01-02"},
        {"binding": "short"},
        {"credentials": credentials(token="a\nb")},
    ],
)
def test_v8_nothing_outside_its_grammar_is_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="V8"):
        evidence_signature(**changes)


def test_neither_secret_nor_signature_is_in_a_repr() -> None:
    given = credentials(secret="CANARYSECRET", token="CANARYTOKEN")
    evidence = sign_get_caller_identity(
        given,
        region="eu-central-1",
        endpoint="regional",
        suffix=None,
        amz_date="20260102T030405Z",
        binding="b" * 43,
    )
    assert "CANARY" not in repr(given) + repr(evidence)
    assert evidence.signature not in repr(evidence)
