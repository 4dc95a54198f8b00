"""What EC2 and IAM say of an instance, through boto3, within their limits."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, InvalidRegionError, NoCredentialsError
from botocore.utils import parse_timestamp

from hsm_verifier.inventory import clients
from hsm_verifier.inventory.batches import Batches
from hsm_verifier.inventory.clients import Clients, read_time
from hsm_verifier.inventory.ec2 import Ec2Inventory
from hsm_verifier.inventory.pace import Pace
from hsm_verifier.inventory.pause import Pause, Paused
from hsm_verifier.inventory.static import StaticInventory, fingerprint
from hsm_verifier.inventory.words import refusal_of
from hsm_verifier.refusal import Refusal
from hsm_verifier.turns import bell, take_turn, wait_for
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


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01T10:11:12.000Z",
        "2026-07-01T10:11:12Z",
        "20260701T101112Z",
        "2026-07-01T10:11:12+02:00",
        "2026-07-01T10:11:12",
        "Wed, 01 Jul 2026 10:11:12 GMT",
        "July 1st 2026 10:11:12Z",
        "1782900672",
        1782900672,
    ],
)
def test_times_are_read_as_botocore_would(text: object) -> None:
    assert read_time(text).timestamp() == parse_timestamp(text).timestamp()


def test_the_role_is_awss_word_whatever_was_claimed(aws: Aws) -> None:
    machine, other = aws.launch(), aws.launch(role="admin")
    forged = request_of(machine, role=other.role)
    assert Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(forged).role == machine.role
    assert aws.api.seen["ListInstanceProfilesForRole"] == 0


def test_where_profiles_may_not_be_read_a_claimed_role_is_confirmed_or_not(aws: Aws) -> None:
    machine, other = aws.launch(), aws.launch(role="admin")
    aws.api.faults.denied.add("GetInstanceProfile")
    inventory = Ec2Inventory(endpoint_url=aws.api.endpoint)
    assert inventory.look_up(request_of(machine)).role == machine.role
    assert inventory.look_up(request_of(machine, role=other.role)).role is None
    assert inventory.look_up(request_of(machine, role="no-such-role")).role is None
    assert aws.api.seen["GetInstanceProfile"] == 1  # that it is denied is remembered as well


def test_where_neither_may_be_read_it_is_not_authorised(aws: Aws) -> None:
    request = request_of(aws.launch())
    aws.api.faults.denied |= {"GetInstanceProfile", "ListInstanceProfilesForRole"}
    with pytest.raises(Refusal, match="V9 not_authorised"):
        Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(request)


def test_a_profile_that_iam_does_not_know_has_no_role(aws: Aws) -> None:
    machine = aws.launch()
    aws.api.profiles.clear()
    forged = request_of(machine)
    assert Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(forged).role is None


@pytest.mark.parametrize(
    ("trouble", "detail", "alarm"),
    [
        ({"throttle": 99}, "V9 throttled", False),
        ({"denied": {"DescribeInstances"}}, "V9 not_authorised", True),
        ({"fail": 99}, "V9 aws_error", True),
        ({"no_xml": 99}, "V9 aws_error", True),
    ],
)
def test_p13_each_way_of_not_knowing_has_its_own_word(
    aws: Aws, trouble: dict[str, Any], detail: str, *, alarm: bool
) -> None:
    request = request_of(aws.launch())
    for name, value in trouble.items():
        setattr(aws.api.faults, name, value)
    with pytest.raises(Refusal) as caught:
        Ec2Inventory(endpoint_url=aws.api.endpoint).look_up(request)
    assert (caught.value.reason, caught.value.detail) == ("upstream_busy", detail)
    assert caught.value.alarm is alarm  # what only an operator can mend is one


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
    inventory = Ec2Inventory(endpoint_url=aws.api.endpoint)
    with ThreadPoolExecutor(24) as pool:
        facts = list(pool.map(inventory.look_up, requests))
    assert {one.instance_id for one in facts} == {one.sub for one in requests}
    assert aws.api.seen["DescribeInstances"] <= 3
    assert aws.api.seen["GetInstanceProfile"] == 1


def test_p3_three_hundred_within_the_published_quota(aws: Aws) -> None:
    requests = [request_of(aws.launch()) for _ in range(300)]
    aws.api.faults.bucket = True
    inventory = Ec2Inventory(endpoint_url=aws.api.endpoint)
    with ThreadPoolExecutor(16) as pool:
        facts = list(pool.map(inventory.look_up, requests))
    assert len({one.instance_id for one in facts}) == 300
    print(f"300 look-ups: {aws.api.seen['DescribeInstances']} DescribeInstances")


def test_p3_while_throttled_nobody_asks_and_afterwards_all_goes_on(aws: Aws) -> None:
    first, second = request_of(aws.launch()), request_of(aws.launch())
    inventory = Ec2Inventory(endpoint_url=aws.api.endpoint)
    aws.api.faults.throttle = 2  # boto3 tries twice
    waits = []
    for request in (first, second):
        with pytest.raises(Refusal, match="V9 throttled") as caught:
            inventory.look_up(request)
        waits.append(caught.value.retry_after)
    assert waits == [1.0, 1.0]
    assert aws.api.seen["DescribeInstances"] == 2
    served = eventually(lambda: inventory.look_up(second).instance_id)
    assert served == second.sub
    assert aws.api.seen["DescribeInstances"] == 3


def eventually(act: Callable[[], str]) -> str:
    """What `act` gives once it is no longer refused; at most 20 seconds."""
    tick = threading.Event()
    for _ in range(1000):
        with contextlib.suppress(Refusal):
            return act()
        tick.wait(0.02)
    raise AssertionError("refused for ever")


def test_a_pause_doubles_up_to_its_end_and_is_forgotten_when_served() -> None:
    clock = [100.0]
    pause = Pause(lambda: clock[0])
    pause.check()
    seconds = []
    for _ in range(7):
        seconds.append(pause.throttled().seconds)
        with pytest.raises(Paused) as caught:
            pause.check()
        assert caught.value.seconds == seconds[-1]
        clock[0] += seconds[-1]
        pause.check()
    assert seconds == [1, 2, 4, 8, 16, 32, 32]
    pause.served()
    assert pause.throttled().seconds == 1


def test_clients_are_made_once_and_anew_before_a_roles_credentials_end() -> None:
    now, made, assumed = [1000.0], [], []

    class PlayedClient:
        def assume_role(self, *, RoleArn: str, RoleSessionName: str) -> dict[str, Any]:  # noqa: N803  boto3's names
            assumed.append((RoleArn, RoleSessionName))
            keys = dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken"), "x")
            return {"Credentials": {**keys, "Expiration": datetime.fromtimestamp(now[0] + 3600, UTC)}}

    def make(service: str, **_: object) -> PlayedClient:
        made.append(service)
        return PlayedClient()

    role = "arn:aws:iam::{account}:role/vp"
    kept = Clients(assume_role=role, make_client=make, clock=lambda: now[0])
    place = ("111122223333", "eu-central-1")
    first = kept.get("ec2", place)
    now[0] += 3200
    assert kept.get("ec2", place) is first
    now[0] += 150
    assert kept.get("ec2", place) is not first
    assert kept.get("ec2", ("444455556666", "eu-central-1")) is not kept.get("ec2", place)
    assert [arn for arn, _ in assumed] == [
        "arn:aws:iam::111122223333:role/vp",
        "arn:aws:iam::111122223333:role/vp",
        "arn:aws:iam::444455556666:role/vp",
    ]


def test_an_answer_is_kept_for_seconds_and_absence_is_not() -> None:
    clock, asked = [0.0], []

    def fetch(keys: list[str]) -> dict[str, int]:
        asked.append(keys)
        return {key: 1 for key in keys if key != "absent"}

    batches = Batches(fetch, spacing=0, keep=5, clock=lambda: clock[0])
    assert [batches.get("a", 1), batches.get("a", 1), batches.get("absent", 1), batches.get("absent", 1)] == [
        1,
        1,
        None,
        None,
    ]
    clock[0] = 6
    assert batches.get("a", 1) == 1
    assert asked == [["a"], ["absent"], ["absent"], ["a"]]


class Slow:
    """A fetch that tells when it began and ends when it is told to."""

    def __init__(self) -> None:
        self.began, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.asked: list[set[str]] = []
        self.broken = False

    def __call__(self, keys: list[str]) -> dict[str, str]:
        self.asked.append(set(keys))
        self.began.release()
        assert self.go.acquire(timeout=10)
        if self.broken:
            raise ValueError("down")
        return {key: key.upper() for key in keys}


def test_who_comes_while_a_call_is_under_way_shares_the_next() -> None:
    slow = Slow()
    batches: Batches[str, str] = Batches(slow, spacing=0)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(batches.get, "first", 10)
        assert slow.began.acquire(timeout=10)
        later = [pool.submit(batches.get, key, 10) for key in "abcabcfirst"[:6]]
        joins = pool.submit(batches.get, "first", 10)
        wait_until(lambda: sum(map(len, batches._waiting.values())) == 6 and len(batches._under_way["first"]) == 2)
        slow.go.release(2)
        assert [one.result(10) for one in (first, joins)] == ["FIRST", "FIRST"]
        assert [one.result(10) for one in later] == list("ABCABC")
    assert slow.asked == [{"first"}, {"a", "b", "c"}]


def test_a_failed_batch_is_told_to_all_who_wait_and_the_next_works() -> None:
    slow = Slow()
    slow.broken = True
    batches: Batches[str, str] = Batches(slow, spacing=0)
    with ThreadPoolExecutor(3) as pool:
        failed = [pool.submit(batches.get, "a", 10) for _ in range(3)]
        assert slow.began.acquire(timeout=10)
        wait_until(lambda: len(batches._under_way["a"]) == 3)
        slow.go.release()
        assert [str(one.exception(10)) for one in failed] == ["down"] * 3
    slow.broken = False
    slow.go.release()
    assert batches.get("a", 10) == "A"


def test_who_loses_patience_leaves_and_takes_no_turn_with_it() -> None:
    slow = Slow()
    batches: Batches[str, str] = Batches(slow, spacing=0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batches.get, "first", 10)
        assert slow.began.acquire(timeout=10)
        assert isinstance(pool.submit(batches.get, "late", 0.05).exception(10), TimeoutError)
        slow.go.release()
        assert first.result(10) == "FIRST"
    slow.go.release()
    assert batches.get("next", 10) == "NEXT"
    assert slow.asked == [{"first"}, {"next"}]


def test_calls_are_further_apart_the_longer_they_keep_coming_and_close_again_after_a_quiet() -> None:
    pace, now, apart = Pace(least=0.1, most=0.4, step=0.005), 1000.0, []
    assert pace.wait(now) == 0
    pace.start(now, many=True)
    for _ in range(100):
        apart.append(pace.wait(now))
        now += apart[-1] + 0.001  # somebody waited, and woke a moment late
        pace.start(now, many=True)
    assert apart[0] == pytest.approx(0.1)
    assert apart[20] == pytest.approx(0.2)
    assert apart[-1] == pytest.approx(0.4)
    now += 0.4 + 0.1  # nobody came for a tenth of a second: as good as somebody
    pace.start(now, many=True)
    assert pace.wait(now) == pytest.approx(0.4)
    now += 0.4 + 1
    pace.start(now, many=True)
    assert pace.wait(now) == pytest.approx(0.1)


def test_a_few_who_come_one_after_the_other_are_not_made_to_wait_longer() -> None:
    pace, now = Pace(least=0.1, most=0.4, step=0.005), 1000.0
    pace.start(now, many=True)
    for many in [False] * 50 + [True] * 10 + [False] * 50:
        now += pace.wait(now) + 0.001
        pace.start(now, many=many)
    assert pace.wait(now) == pytest.approx(0.15)


@pytest.mark.parametrize("given_up", ["leader", "next"])
def test_a_turn_that_is_given_up_leaves_its_lead_to_another(given_up: str) -> None:
    """Also one that was chosen to make the next call, and one that only keeps the pause before its call."""
    asked: list[list[str]] = []

    def fetch(keys: list[str]) -> dict[str, str]:
        asked.append(keys)
        wait_for(asyncio.sleep(0.05))
        return {key: key.upper() for key in keys}

    batches: Batches[str, str] = Batches(fetch, gap=0.2, bell=bell)

    async def run() -> list[str | None]:
        async with asyncio.timeout(10):
            first = asyncio.create_task(take_turn(lambda: batches.get("first", 5)))
            if given_up == "leader":  # "lost" keeps the pause after the first call
                assert await first == "FIRST"
            await asyncio.sleep(0)
            lost, stays = (asyncio.create_task(take_turn(lambda one=one: batches.get(one, 5))) for one in ("lost", "b"))  # type: ignore[misc]  # a default that binds
            await asyncio.sleep(0.01)
            lost.cancel()
            with pytest.raises(asyncio.CancelledError):
                await lost
            return [await stays, await take_turn(lambda: batches.get("last", 5))]

    assert asyncio.run(run()) == ["B", "LAST"]
    assert asked == [["first"], ["b"], ["last"]]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_l0_a_white_list_knows_fields_only(aws: Aws, tmp_path: Path) -> None:
    request = request_of(aws.launch())
    path = tmp_path / "white.toml"
    path.write_text(f'fingerprints = ["{fingerprint(request.sub, request.instance)}"]')
    assert StaticInventory(path).look_up(request).instance_id == request.sub
    with pytest.raises(Refusal, match="not_on_white_list"):
        StaticInventory(path).look_up(request_of(aws.launch()))


class PlayedSts:
    """Gives credentials that end in an hour, and counts."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.asked: list[dict[str, str]] = []

    def assume_role(self, **words: str) -> dict[str, Any]:
        self.asked.append(words)
        end = datetime.fromtimestamp(self.clock[0] + 3600, UTC)
        keys = {"AccessKeyId": f"ASIA{len(self.asked)}", "SecretAccessKey": "s", "SessionToken": "t"}
        return {"Credentials": keys | {"Expiration": end}}


def test_p13_a_role_is_assumed_once_for_each_place_and_anew_before_its_credentials_end() -> None:
    clock = [1000.0]
    sts = PlayedSts(clock)
    made: list[tuple[str, str, str]] = []

    def make(service: str, **how: Any) -> Any:
        if service == "sts":
            return sts
        made.append((service, how["region_name"], how["aws_access_key_id"]))
        return made[-1]

    role = "arn:{partition}:iam::{account}:role/reads"
    kept = Clients(assume_role=role, external_id="shared-word", make_client=make, clock=lambda: clock[0])
    for clock[0] in (1000.0, 1000.0, 1000.0 + 3600 - 301, 1000.0 + 3600 - 299):
        kept.get("ec2", ("111122223333", "us-gov-west-1"))
    assert made == [("ec2", "us-gov-west-1", "ASIA1"), ("ec2", "us-gov-west-1", "ASIA2")]
    assert sts.asked[0] == {
        "RoleArn": "arn:aws-us-gov:iam::111122223333:role/reads",
        "RoleSessionName": "hsm-verifier",
        "ExternalId": "shared-word",
    }


class PlayedEc2:
    """EC2 that takes one access key only, as a file of credentials had it when the client was made."""

    good = "AKIA1"

    def __init__(self, key: str, asked: list[str]) -> None:
        self._key, self._asked = key, asked

    def get_paginator(self, _name: str) -> "PlayedEc2":
        return self

    def paginate(self, **_: object) -> list[dict[str, Any]]:
        self._asked.append(self._key)
        if self._key != self.good:
            raise ClientError({"Error": {"Code": "AuthFailure"}}, "DescribeInstances")
        return []


def test_keys_that_were_exchanged_in_their_file_are_read_again_and_bad_ones_not_for_each_asker(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    in_file = ["AKIA1"]
    inventory = Ec2Inventory(make_client=lambda _service, **_how: PlayedEc2(in_file[0], asked))
    request = request_of(aws.launch())

    def ask() -> str:
        with pytest.raises(Refusal) as caught:
            inventory.look_up(request)
        return caught.value.detail

    assert ask() == "V9 not_found"
    in_file[0] = "AKIA2"
    monkeypatch.setattr(PlayedEc2, "good", "AKIA2")
    with monkeypatch.context() as later:
        later.setattr(clients, "NEW", 0.0)
        assert ask() == "V9 not_found"
    assert asked == ["AKIA1", "AKIA1", "AKIA2"]
    monkeypatch.setattr(PlayedEc2, "good", "AKIA3")
    asked.clear()
    assert [ask() for _ in range(3)] == ["V9 wrong_region"] * 3
    assert asked == ["AKIA2"] * 3


def test_credentials_that_came_after_the_first_look_up_are_found(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    keys = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    machine = aws.launch()
    inventory = Ec2Inventory(endpoint_url=aws.api.endpoint)
    with pytest.raises(Refusal, match="V9 own_credentials"):
        inventory.look_up(request_of(machine))
    keys.write_text("[default]\naws_access_key_id = AKIALAB\naws_secret_access_key = lab\n")
    with pytest.raises(Refusal, match="V9 own_credentials"):  # not looked for anew for each asker
        inventory.look_up(request_of(machine))
    monkeypatch.setattr(clients, "NEW", 0.0)
    assert inventory.look_up(request_of(machine)).instance_id == machine.instance_id


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ClientError({"Error": {"Code": "SlowDown"}}, "x"), "upstream_busy", "V9 throttled"),
        # EC2 says so of keys that are no more, and in a region that the account has not opted into.
        (ClientError({"Error": {"Code": "AuthFailure"}}, "x"), "upstream_busy", "V9 wrong_region"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "x"), "upstream_busy", "V9 own_credentials"),
        (ClientError({"Error": {"Code": "InvalidClientTokenId"}}, "x"), "upstream_busy", "V9 wrong_region"),
        (ClientError({"Error": {"Code": "OptInRequired"}}, "x"), "upstream_busy", "V9 wrong_region"),
        (ClientError({"Error": {"Code": "InvalidInstanceID.NotFound"}}, "x"), "not_visible_yet", "V9 not_found"),
        (ClientError({}, "x"), "upstream_busy", "V9 aws_error"),
        (NoCredentialsError(), "upstream_busy", "V9 own_credentials"),
        (InvalidRegionError(region_name="x"), "upstream_busy", "V9 wrong_region"),
        (EndpointConnectionError(endpoint_url="x"), "upstream_busy", "V9 aws_unreachable"),
        (TimeoutError(), "upstream_busy", "V9 aws_unreachable"),
    ],
)
def test_p13_what_an_error_of_awss_means(error: Any, reason: str, detail: str) -> None:
    told = refusal_of(error)
    assert (told.reason, told.detail) == (reason, detail)
