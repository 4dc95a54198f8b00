import http.client
import json
from collections.abc import Iterator

import pytest

from lab.imds import Faults, ImdsServer, Machine
from lab.imds_troubles import TROUBLES

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[ImdsServer]:
    with ImdsServer(clock=clock) as running:
        yield running


def say(
    server: ImdsServer, method: str, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def token(server: ImdsServer, ttl: str = "60") -> str:
    status, headers, body = say(server, "PUT", "/latest/api/token", {TTL: ttl})
    assert status == 200
    assert headers[TTL.lower()] == ttl
    return body


def get(server: ImdsServer, item: str) -> tuple[int, str]:
    status, _, body = say(server, "GET", f"/latest/{item}", {TOKEN: token(server)})
    return status, body


def test_a_get_without_token_is_refused_as_version_1_is_off(server: ImdsServer) -> None:
    assert say(server, "GET", "/latest/meta-data/instance-id")[0] == 401


def test_a_get_with_a_token_is_answered(server: ImdsServer) -> None:
    assert get(server, "meta-data/instance-id") == (200, server.machine.instance_id)


def test_a_made_up_token_is_refused(server: ImdsServer) -> None:
    assert say(server, "GET", "/latest/meta-data/instance-id", {TOKEN: "AQAEA=="})[0] == 401


def test_a_token_ends_with_its_time_to_live(server: ImdsServer, clock: Clock) -> None:
    short = {TOKEN: token(server, "5")}
    clock.now = 4.9
    assert say(server, "GET", "/latest/meta-data/mac", short)[0] == 200
    clock.now = 5.0
    assert say(server, "GET", "/latest/meta-data/mac", short)[0] == 401


@pytest.mark.parametrize("ttl", ["0", "21601", "-1", "", "five", "1.5", "٣"])
def test_a_time_to_live_outside_1_to_21600_is_refused(server: ImdsServer, ttl: str) -> None:
    headers = {TTL: ttl.encode().decode("latin-1")}
    assert say(server, "PUT", "/latest/api/token", headers)[0] == 400


def test_a_put_without_time_to_live_is_refused(server: ImdsServer) -> None:
    assert say(server, "PUT", "/latest/api/token")[0] == 400


def test_a_forwarded_put_is_refused(server: ImdsServer) -> None:
    assert say(server, "PUT", "/latest/api/token", {TTL: "60", "X-Forwarded-For": "10.0.0.1"})[0] == 403


def test_what_is_not_there_is_answered_with_a_page(server: ImdsServer) -> None:
    status, headers, body = say(server, "GET", "/latest/meta-data/public-hostname", {TOKEN: token(server)})
    assert status == 404
    assert headers["content-type"] == "text/html"
    assert "<h1>404 - Not Found</h1>" in body


def test_a_machine_without_role_has_no_iam_items() -> None:
    with ImdsServer(Machine(role=None, profile_arn=None)) as server:
        assert get(server, "meta-data/iam/info")[0] == 404
        assert get(server, "meta-data/iam/security-credentials/")[0] == 404


def test_folders_are_listed(server: ImdsServer) -> None:
    assert get(server, "meta-data/iam/security-credentials/") == (200, "web-instance")
    assert get(server, "meta-data/placement") == (200, "availability-zone\nregion")
    assert get(server, "") == (200, "dynamic/\nmeta-data/")
    assert "services/" in get(server, "meta-data/")[1].splitlines()


def test_the_document_is_json_of_the_machines_facts(server: ImdsServer) -> None:
    document = json.loads(get(server, "dynamic/instance-identity/document")[1])
    assert document["instanceId"] == server.machine.instance_id
    assert document["kernelId"] is None


def test_each_answer_closes_the_connection_unless_told_otherwise(server: ImdsServer) -> None:
    assert say(server, "GET", "/latest/meta-data/mac")[1]["connection"] == "close"
    with ImdsServer(keep_alive=True) as other:
        assert "connection" not in say(other, "GET", "/latest/meta-data/mac")[1]


def test_a_service_switched_off_answers_403_to_all() -> None:
    with ImdsServer(faults=Faults(off=True)) as server:
        assert say(server, "PUT", "/latest/api/token", {TTL: "60"})[0] == 403
        assert say(server, "GET", "/latest/meta-data/mac")[0] == 403


def test_throttling_passes_after_its_count() -> None:
    with ImdsServer(faults=Faults(throttle={"token": 2})) as server:
        assert [say(server, "PUT", "/latest/api/token", {TTL: "60"})[0] for _ in range(3)] == [503, 503, 200]


def test_resets_pass_after_their_count() -> None:
    with ImdsServer(faults=Faults(resets=1)) as server:
        with pytest.raises(ConnectionResetError):
            token(server)
        assert token(server)


def test_a_token_can_be_good_for_few_uses() -> None:
    with ImdsServer(faults=Faults(token_uses=1)) as server:
        once = {TOKEN: token(server)}
        assert say(server, "GET", "/latest/meta-data/mac", once)[0] == 200
        assert say(server, "GET", "/latest/meta-data/mac", once)[0] == 401


def test_requests_and_connections_are_counted(server: ImdsServer) -> None:
    get(server, "meta-data/mac")
    assert server.seen == {"PUT token": 1, "GET meta-data/mac": 1}
    assert server.connections == 2


def test_each_trouble_has_its_name() -> None:
    assert {"html", "oversize", "endless", "drip", "redirect", "gzip_bomb", "truncated"} <= set(TROUBLES)


def test_credentials_are_in_no_repr() -> None:
    machine = Machine()
    for secret in (machine.credentials.secret_access_key, machine.credentials.session_token):
        assert secret not in repr(machine)
        assert secret not in repr(machine.credentials)
