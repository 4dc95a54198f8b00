"""What EC2 and IAM say of an instance, through boto3, within their limits."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hsm_verifier.inventory.batches import Batches
from hsm_verifier.inventory.ec2 import Ec2Inventory
from hsm_verifier.inventory.static import StaticInventory, fingerprint
from hsm_verifier.refusal import Refusal
from lab.asking import request_of
from lab.aws import Aws


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIALAB")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lab")
    with Aws(tmp_path) as found:
        yield found


def test_v9_facts_are_awss_own(aws: Aws) -> None:
    machine = aws.launch()
    facts = Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(request_of(machine))
    assert (facts.instance_type, facts.role, facts.reservation_id) == (
        "m7i.large",
        "web-instance",
        machine.reservation_id,
    )
    assert facts.created == pytest.approx(aws.api.records[machine.instance_id].attached, abs=1)


def test_a_role_that_is_not_the_instances_is_not_confirmed(aws: Aws) -> None:
    machine, other = aws.launch(), aws.launch(role="admin")
    forged = request_of(machine, role=other.role)
    assert Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(forged).role is None


@pytest.mark.parametrize(
    ("trouble", "reason", "detail"),
    [
        ({"throttle": 99}, "upstream_busy", "V9 throttled"),
        ({"denied": {"DescribeInstances"}}, "upstream_busy", "V9 not_authorised"),
        ({"fail": 99}, "upstream_busy", "V9 aws_error"),
    ],
)
def test_p13_each_way_of_not_knowing_has_its_own_word(
    aws: Aws, trouble: dict[str, Any], reason: str, detail: str
) -> None:
    request = request_of(aws.launch())
    for name, value in trouble.items():
        setattr(aws.api.faults, name, value)
    with pytest.raises(Refusal) as caught:
        Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(request)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_p4_an_instance_that_is_not_visible_yet_may_come_back(aws: Aws) -> None:
    machine = aws.launch()
    aws.api.records[machine.instance_id].visible_from = float("inf")
    with pytest.raises(Refusal, match="V9 not_found") as caught:
        Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(request_of(machine))
    assert caught.value.reason == "not_visible_yet"


@pytest.mark.parametrize("state", ["stopped", "terminated", "shutting-down"])
def test_a22_an_instance_that_does_not_run_is_refused(aws: Aws, state: str) -> None:
    machine = aws.launch()
    aws.api.records[machine.instance_id].state = state
    with pytest.raises(Refusal) as caught:
        Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(request_of(machine))
    assert caught.value.reason == "not_admitted"


def test_p3_a_fleet_shares_its_look_ups(aws: Aws) -> None:
    requests = [request_of(aws.launch()) for _ in range(24)]
    inventory = Ec2Inventory(endpoint_url=aws.api.endpoint, window=0.3)
    with ThreadPoolExecutor(24) as pool:
        facts = list(pool.map(inventory.look_up, requests))
    assert {one.instance_id for one in facts} == {one.sub for one in requests}
    assert aws.api.seen["DescribeInstances"] <= 2
    assert aws.api.seen["ListInstanceProfilesForRole"] <= 2


def test_an_answer_is_kept_for_seconds_and_absence_is_not() -> None:
    clock, asked = [0.0], []

    def fetch(keys: list[str]) -> dict[str, int]:
        asked.append(keys)
        return {key: 1 for key in keys if key != "absent"}

    batches = Batches(fetch, window=0, keep=5, clock=lambda: clock[0])
    assert [batches.get("a", 1), batches.get("a", 1), batches.get("absent", 1), batches.get("absent", 1)] == [
        1,
        1,
        None,
        None,
    ]
    clock[0] = 6
    assert batches.get("a", 1) == 1
    assert asked == [["a"], ["absent"], ["absent"], ["a"]]


def test_a_failed_batch_is_told_to_all_who_wait() -> None:
    together = threading.Barrier(3)

    def fetch(_: list[str]) -> dict[str, int]:
        raise ValueError("down")

    batches = Batches(fetch, window=0.2)

    def ask(key: str) -> str:
        together.wait(5)
        try:
            batches.get(key, 5)
        except ValueError as error:
            return str(error)
        return "no error"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, "abc")) == ["down"] * 3


def test_l0_a_white_list_knows_fields_only(aws: Aws, tmp_path: Path) -> None:
    request = request_of(aws.launch())
    path = tmp_path / "white.toml"
    path.write_text(f'fingerprints = ["{fingerprint(request.sub, request.instance)}"]')
    assert StaticInventory(path).look_up(request).instance_id == request.sub
    with pytest.raises(Refusal, match="not_on_white_list"):
        StaticInventory(path).look_up(request_of(aws.launch()))
