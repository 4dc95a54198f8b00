import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.errors import EnrolError, ImdsOdd, WrongInstance
from hsm_enrol.host import imds
from hsm_enrol.host.imds import CREDENTIALS, DOCUMENT, LINK_LOCAL, Imds
from hsm_enrol.host.retry import Deadline
from lab.imds import Faults, ImdsServer, Machine, RoleCredentials, document_of

PLAIN_MACHINE = Machine(role=None, profile_arn=None)


@pytest.fixture
def server() -> Iterator[ImdsServer]:
    with ImdsServer(
        Machine(public_hostname="ec2-198-51-100-7.compute.amazonaws.com", lifecycle="InService")
    ) as running:
        yield running


def never(seconds: float) -> None:
    raise AssertionError(f"slept {seconds}")


def ask(server: ImdsServer | str, dmi: Path | None = None) -> Imds:
    endpoint = server if isinstance(server, str) else server.endpoint
    return Imds(endpoint, deadline=Deadline(10), rng=random.Random(1), sleep=never, dmi=dmi)


def odd(machine: Machine, faults: Faults | None = None) -> dict[str, str | int]:
    """Read a machine that must be refused as odd; give the facts."""
    with ImdsServer(machine, faults or Faults()) as server:
        with pytest.raises(ImdsOdd) as caught:
            ask(server).fetch_identity()
        assert caught.value.facts["endpoint"] == server.endpoint
    return caught.value.facts


def test_an_identity_is_what_the_machine_says(server: ImdsServer) -> None:
    machine = server.machine
    identity = ask(server).fetch_identity()
    assert identity.instance_id == machine.instance_id
    assert identity.instance.instance_type == machine.instance_type
    assert identity.instance.reservation_id == machine.reservation_id
    assert identity.instance.local_hostname == machine.local_hostname
    assert identity.instance.public_hostname == machine.public_hostname
    assert identity.instance.account_id == machine.account_id
    assert identity.instance.region == machine.region
    assert identity.instance.image_id == machine.image_id
    assert identity.instance.local_ipv4 == machine.local_ipv4
    assert identity.instance.role == machine.role
    assert identity.domain == "amazonaws.com"
    assert identity.partition == "aws"
    assert identity.document == document_of(machine)
    assert identity.credentials.access_key_id == machine.credentials.access_key_id
    assert identity.credentials.secret_access_key == machine.credentials.secret_access_key
    assert identity.credentials.session_token == machine.credentials.session_token


def test_a_reading_after_a_long_wait_has_a_deadline_of_its_own(server: ImdsServer) -> None:
    now = 0.0
    deadline = Deadline(10, clock=lambda: now)
    service = Imds(server.endpoint, deadline=deadline, rng=random.Random(1), sleep=never)
    first = service.fetch_identity()
    now = 1000.0
    assert deadline.expired
    assert service.fetch_identity() == first


def test_signed_texts_come_without_line_breaks(server: ImdsServer) -> None:
    identity = ask(server).fetch_identity()
    assert "\n" in server.machine.rsa2048
    assert identity.rsa2048 == server.machine.rsa2048.replace("\n", "")


def test_p8_what_a_machine_has_not_is_none() -> None:
    with ImdsServer(PLAIN_MACHINE) as server:
        identity = ask(server).fetch_identity()
    assert identity.instance.public_hostname is None
    assert identity.instance.role is None


def test_auto_scalings_target_state_is_read_by_itself(server: ImdsServer) -> None:
    assert ask(server).fetch_lifecycle() == "InService"
    with ImdsServer(PLAIN_MACHINE) as plain:
        assert ask(plain).fetch_lifecycle() is None
    item = "meta-data/autoscaling/target-lifecycle-state"
    with ImdsServer(faults=Faults(values={item: b"in service"})) as other, pytest.raises(ImdsOdd) as caught:
        ask(other).fetch_lifecycle()
    assert caught.value.facts["item"] == item


def test_nothing_is_read_that_nobody_asks_for(server: ImdsServer) -> None:
    ask(server).fetch_identity()
    read = {name.removeprefix("GET ") for name in server.seen} - {"PUT token"}
    assert len(read) == 15
    assert not read & {"meta-data/mac", "meta-data/placement/availability-zone", "dynamic/instance-identity/signature"}


def test_an_instance_in_an_ipv6_only_subnet_has_no_ipv4_address() -> None:
    with ImdsServer(Machine(local_ipv4=None)) as server:
        assert ask(server).fetch_identity().instance.local_ipv4 is None


def test_an_empty_public_hostname_is_none_too() -> None:
    with ImdsServer(faults=Faults(values={"meta-data/public-hostname": b""})) as server:
        assert ask(server).fetch_identity().instance.public_hostname is None


def test_the_first_of_several_local_host_names_counts() -> None:
    with ImdsServer(Machine(local_hostname="ip-10-0-0-10.one.example two.example")) as server:
        assert ask(server).fetch_identity().instance.local_hostname == "ip-10-0-0-10.one.example"


@pytest.mark.parametrize(
    "item",
    [
        "meta-data/instance-id",
        "meta-data/instance-type",
        "meta-data/reservation-id",
        "meta-data/local-hostname",
        "meta-data/ami-id",
        "meta-data/placement/region",
        "meta-data/services/domain",
        "meta-data/services/partition",
        DOCUMENT,
        "dynamic/instance-identity/rsa2048",
        CREDENTIALS,
    ],
)
@pytest.mark.parametrize("how", ["missing", "html", "line break", "empty", "not ASCII", "redirect"])
def test_p8_no_required_item_is_taken_from_anything_but_a_value_in_form(item: str, how: str) -> None:
    machine = Machine()
    faults = Faults()
    if how == "missing":
        faults.missing.add(item)
    elif how == "line break":
        faults.values[item] = machine.items()[item].replace(b'"', b"") + b"\r\nX: 1"
    elif how == "not ASCII":
        faults.values[item] = machine.items()[item].replace(b'"', b"") + "é".encode()
    else:
        faults.odd[item] = how
    facts = odd(machine, faults)
    assert facts["item"] == item
    assert (facts["what"] == "absent") is (how == "missing")


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("meta-data/instance-id", b"i-0123456789ABCDEF0"),
        ("meta-data/instance-id", b"i-0123456789abcdef0 "),
        ("meta-data/instance-id", "i-٠١٢٣٤٥٦٧".encode()),
        ("meta-data/instance-type", b"m7i large"),
        ("meta-data/reservation-id", b"r-"),
        ("meta-data/local-hostname", b"-a..b"),
        ("meta-data/local-hostname", b" "),
        ("meta-data/public-hostname", b"a" * 300),
        ("meta-data/public-hostname", b"host/../x"),
        ("meta-data/local-ipv4", b"10.0.0.256"),
        ("meta-data/local-ipv4", b"10.0.0.1.1"),
        ("meta-data/local-ipv4", b"10.0.0.1."),
        ("meta-data/local-ipv4", b"010.0.0.1"),
        ("meta-data/ami-id", b"ami-xyz"),
        ("meta-data/placement/region", b"eu-central-1a"),
        ("meta-data/services/domain", b"amazonaws.com/evil"),
        ("meta-data/services/partition", b"aws:evil"),
        ("meta-data/iam/security-credentials/", b"one\ntwo"),
        ("meta-data/iam/security-credentials/", b"../x"),
        ("dynamic/instance-identity/rsa2048", b"-----BEGIN PKCS7-----"),
    ],
)
def test_a_value_out_of_form_is_odd(item: str, value: bytes) -> None:
    facts = odd(Machine(), Faults(values={item: value}))
    assert facts["item"] == item


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_id": "i-01234567", "reservation_id": "r-01234567", "image_id": "ami-01234567"},  # before 2016
        {"instance_type": "u-6tb1.112xlarge"},
        {"instance_type": "mac2-m2pro.metal"},
        {"local_hostname": "i-0123456789abcdef0.eu-central-1.compute.internal"},
        {"local_hostname": "host"},
        {"role": "a+b=c,d.e@f_g-h", "profile_arn": "arn:aws:iam::111122223333:instance-profile/path/to/p"},
        {"lifecycle": "Warmed:Pending:Wait"},
        {"region": "cn-north-1", "partition": "aws-cn", "domain": "amazonaws.com.cn", "role": None},
        {"region": "us-gov-west-1", "partition": "aws-us-gov", "role": None},
        {"local_ipv4": "255.199.0.9"},
    ],
)
def test_values_that_exist_are_in_form(changes: dict[str, Any]) -> None:
    machine = replace(Machine(), **changes)
    with ImdsServer(machine) as server:
        identity = ask(server).fetch_identity()
    assert identity.instance.role == machine.role
    assert identity.instance.local_hostname == machine.local_hostname


# --- the document


def document(**changes: object) -> bytes:
    return json.dumps({**json.loads(document_of(Machine())), **changes}).encode()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (document(instanceId="i-0fffffffffffffff0"), "another instance's"),
        (document(instanceId=None), "instanceId is absent or out of form"),
        (document(accountId="12345"), "accountId is absent or out of form"),
        (document(accountId=111122223333), "accountId is absent or out of form"),
        (document(region="mars"), "region is absent or out of form"),
        (b'{"region":"eu-central-1","region":"us-east-1"}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 9000, "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_a_document_that_is_not_this_instances_is_odd(body: bytes, what: str) -> None:
    facts = odd(Machine(document=body))
    assert (facts["item"], facts["what"]) == (DOCUMENT, what)


def test_p12_region_of_document_and_of_placement_must_agree() -> None:
    facts = odd(Machine(document=document(region="us-east-1")))
    assert facts["item"] == "meta-data/placement/region"


# --- the role


def test_a_role_of_another_name_than_its_profile_is_fine() -> None:
    with ImdsServer(Machine(role="some-role")) as server:
        assert ask(server).fetch_identity().instance.role == "some-role"


def test_a_profile_without_a_role_is_no_role() -> None:
    with ImdsServer(Machine(role=None)) as server:
        assert ask(server).fetch_identity().instance.role is None


def test_a_role_without_a_profile_is_odd() -> None:
    facts = odd(Machine(profile_arn=None))
    assert (facts["item"], facts["what"]) == ("meta-data/iam/info", "absent beside a role")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::999900001111:instance-profile/web-profile",
        "arn:aws-cn:iam::111122223333:instance-profile/web-profile",
    ],
)
def test_a_profile_of_another_account_or_partition_is_odd(arn: str) -> None:
    assert odd(Machine(profile_arn=arn))["what"] == "another account's profile"


def test_a_profile_that_is_no_profile_is_odd() -> None:
    assert odd(Machine(profile_arn="arn:aws:iam::111122223333:role/web"))["item"] == "meta-data/iam/info"


# --- the credentials


def test_credentials_are_read_anew_each_time(server: ImdsServer) -> None:
    reader = ask(server)
    first = reader.fetch_credentials()
    server.machine = replace(server.machine, credentials=RoleCredentials(access_key_id="ASIANEW0000000000000"))
    second = reader.fetch_credentials()
    assert (first.access_key_id, second.access_key_id) == ("ASIALAB0000000000000", "ASIANEW0000000000000")


def test_their_expiration_is_a_moment(server: ImdsServer) -> None:
    server.machine = replace(server.machine, credentials=RoleCredentials(expiration="2026-01-02T03:04:05Z"))
    credentials = ask(server).fetch_credentials()
    assert credentials.expiration == "2026-01-02T03:04:05Z"
    assert credentials.expires == 1767323045


@pytest.mark.parametrize(
    ("credentials", "what"),
    [
        (RoleCredentials(access_key_id="AKIALAB0000000000000"), "AccessKeyId is absent or out of form"),
        (RoleCredentials(secret_access_key="CANARY SECRET"), "SecretAccessKey is absent or out of form"),
        (RoleCredentials(session_token="CANARY\nTOKEN"), "Token is absent or out of form"),
        (RoleCredentials(session_token=""), "Token is absent or out of form"),
        (RoleCredentials(expiration="soon"), "Expiration is absent or out of form"),
        (RoleCredentials(expiration="2026-13-45T99:00:00Z"), "Expiration is no date"),
    ],
)
def test_credentials_out_of_form_are_odd_and_not_repeated(credentials: RoleCredentials, what: str) -> None:
    with ImdsServer(Machine(credentials=credentials)) as server, pytest.raises(ImdsOdd) as caught:
        ask(server).fetch_credentials()
    assert caught.value.facts["what"] == what
    assert "CANARY" not in str(caught.value) + repr(caught.value) + repr(caught.value.facts)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_credentials_that_are_not_ready_are_odd() -> None:
    with ImdsServer(faults=Faults(values={CREDENTIALS: b'{"Code":"AssumeRoleUnauthorizedAccess"}'})) as server:
        with pytest.raises(ImdsOdd) as caught:
            ask(server).fetch_credentials()
        assert caught.value.facts["what"] == "Code is not Success"


def test_a_broken_credentials_text_is_in_no_error(server: ImdsServer) -> None:
    server.faults.values[CREDENTIALS] = b'{"Code":"Success","SecretAccessKey":"CANARY"'
    with pytest.raises(ImdsOdd) as caught:
        ask(server).fetch_credentials()
    assert "CANARY" not in str(caught.value) + repr(caught.value)
    assert caught.value.__suppress_context__


def test_secrets_are_in_no_repr_of_an_identity(server: ImdsServer) -> None:
    text = repr(ask(server).fetch_identity())
    assert server.machine.credentials.secret_access_key not in text
    assert server.machine.credentials.session_token not in text


def test_the_id_is_read_once_and_what_is_read_later_is_held_against_it(server: ImdsServer) -> None:
    service = ask(server)
    assert service.fetch_instance_id() == service.fetch_identity().instance_id == server.machine.instance_id
    assert server.seen["GET meta-data/instance-id"] == 1
    server.machine = Machine(instance_id="i-0fffffffffffffff0")
    with pytest.raises(ImdsOdd) as caught:
        service.fetch_identity()
    assert caught.value.facts["item"] == DOCUMENT


# --- DMI


def test_the_firmware_names_the_same_instance(server: ImdsServer, tmp_path: Path) -> None:
    dmi = tmp_path / "board_asset_tag"
    dmi.write_text(server.machine.instance_id + "\n")
    assert ask(server, dmi).fetch_identity().instance_id == server.machine.instance_id


def test_another_machines_service_is_refused_before_anything_else_is_asked(server: ImdsServer, tmp_path: Path) -> None:
    dmi = tmp_path / "board_asset_tag"
    dmi.write_text("i-0fffffffffffffff0\n")
    with pytest.raises(WrongInstance) as caught:
        ask(server, dmi).fetch_identity()
    assert caught.value.facts == {"imds": server.machine.instance_id, "dmi": "i-0fffffffffffffff0"}
    assert server.seen == {"PUT token": 1, "GET meta-data/instance-id": 1}


@pytest.mark.parametrize("tag", [b"", b"Not Specified\n", b"i-xyz", b"\xff\xfe", b"i-" + b"0" * 4000])
def test_a_tag_that_names_no_instance_is_no_check(server: ImdsServer, tmp_path: Path, tag: bytes) -> None:
    dmi = tmp_path / "board_asset_tag"
    dmi.write_bytes(tag)
    assert ask(server, dmi).fetch_identity().instance_id == server.machine.instance_id


def test_a_machine_without_dmi_is_no_check(server: ImdsServer, tmp_path: Path) -> None:
    assert ask(server, tmp_path / "absent").fetch_identity().instance_id == server.machine.instance_id


# --- addresses


def test_no_endpoint_means_link_local_ipv4_then_ipv6(server: ImdsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LINK_LOCAL == ("http://169.254.169.254", "http://[fd00:ec2::254]")
    assert ask("")._items.endpoint == "http://169.254.169.254 or http://[fd00:ec2::254]"
    monkeypatch.setattr(imds, "LINK_LOCAL", ("http://127.0.0.1:1", server.endpoint))
    assert ask("").fetch_identity().instance_id == server.machine.instance_id


def test_a_configured_endpoint_is_the_only_one_asked(server: ImdsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with ImdsServer() as other:
        monkeypatch.setattr(imds, "LINK_LOCAL", (other.endpoint,))
        assert ask(server.endpoint + "/").fetch_identity().instance_id == server.machine.instance_id
        assert other.seen == {}


def test_one_run_asks_each_item_once(server: ImdsServer) -> None:
    ask(server).fetch_identity()
    assert set(server.seen.values()) == {1}
    assert sum(server.seen.values()) == 16


def test_every_error_says_nothing_of_what_was_read(server: ImdsServer) -> None:
    server.faults.values["meta-data/instance-type"] = b"CANARY \x1b[31m"
    with pytest.raises(EnrolError) as caught:
        ask(server).fetch_identity()
    assert "CANARY" not in caught.value.fault() + caught.value.advice()
