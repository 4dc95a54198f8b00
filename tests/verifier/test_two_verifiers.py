"""Two real verifiers on one real PostgreSQL and one real OpenBao: a fleet enrols through both while one is killed."""

import json
import os
import shutil
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.bundle import Bundle
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.messages import ASSERTION_TYPE, RECEIPT_TYPE, Challenge, Problem
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_verifier.__main__ import main
from hsm_verifier.chain import verify
from hsm_verifier.cli.common import open_store
from hsm_verifier.ledger import desk
from hsm_verifier.settings import load_settings
from lab.asking import now
from lab.bench.asker import Asker
from lab.bench.line import Broken, Line, Reply, context_of
from lab.bench.site import CAPS, AwsApart, Verifier, aws_apart, make_bundle
from lab.openbao import OpenBao
from lab.postgres import Postgres

COUNT = int(os.environ.get("HSM_ENROL_FLEET", "200"))
CLIENTS = 12
TRIES = 60


@dataclass
class Pair:
    """Two verifiers and what they share."""

    one: Verifier
    other: Verifier
    addresses: list[tuple[str, int]]
    aws: AwsApart
    bundle: Bundle
    context: ssl.SSLContext

    def kill(self, which: Verifier) -> None:
        (process,) = which.processes
        process.send_signal(signal.SIGKILL)
        process.wait(20)


@pytest.fixture
def pair(tmp_path: Path, postgres: Postgres, openbao: OpenBao, capsys: pytest.CaptureFixture[str]) -> Iterator[Pair]:
    """Made as the manual says: init, settings, ledger create, bundle put; then the folder is copied."""
    name = f"two-{tmp_path.name}"[:60]
    postgres.create(name)
    mount = openbao.fresh_mount()
    role_id, secret_id = openbao.open_place(mount)
    folder = tmp_path / "one"
    assert main(["init", str(folder), "--host", "127.0.0.1"]) == 0
    for file, text in {"ledger.password": postgres.password, "bao.secret-id": secret_id}.items():
        (folder / "secrets" / file).touch(0o600)
        (folder / "secrets" / file).write_text(text)
    with aws_apart(tmp_path, COUNT + 1) as aws:
        config = folder / "hsm-verifier.toml"
        write_settings(
            config,
            aws,
            ledger=postgres.tls_url(name),
            openbao={"url": openbao.url, "ca_file": str(openbao.ca_file), "mount": mount, "role_id": role_id},
        )
        assert main(["ledger", "create", "--config", str(config)]) == 0
        bundle = make_bundle()
        (tmp_path / "bundle.json").write_bytes(bundle.to_bytes().replace(b'"schema":1,"serial":1,', b""))
        put = ["bundle", "put", "--config", str(config), "--group", "web", str(tmp_path / "bundle.json")]
        capsys.readouterr()
        assert main(put) == 0
        serial = int(capsys.readouterr().out.split()[0])
        shutil.copytree(folder, tmp_path / "other", ignore=shutil.ignore_patterns("audit*", "ledger.sqlite*"))
        verifiers, addresses = [], []
        for place in (folder, tmp_path / "other"):
            listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
            verifiers.append(Verifier(folder=place, listener=listener, serial=serial))
            addresses.append(verifiers[-1].address)
        try:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(Verifier.start, verifiers))
            for one in verifiers:
                one.listener.close()  # so that a verifier that is gone refuses connections
            published = replace(bundle, serial=serial)
            context = context_of(folder / "verifier-ca.pem")
            yield Pair(
                one=verifiers[0],
                other=verifiers[1],
                addresses=addresses,
                aws=aws,
                bundle=published,
                context=context,
            )
        finally:
            for one in verifiers:
                one.listener.close()
                one.stop()


def write_settings(config: Path, aws: AwsApart, *, ledger: str, openbao: dict[str, str]) -> None:
    told = aws.told
    values = {
        "ledger": ledger,
        "endpoint_url": told["ec2"],
        "sts_connect": told["sts"],
        "ca_file": told["ca_file"],
    }
    lines = []
    for line in config.read_text().splitlines():
        name = line.partition(" = ")[0]
        if name in {"bundles", "bundle_key"}:
            continue
        lines.append(f'{name} = "{values[name]}"' if name in values else line)
        lines += CAPS.splitlines() if line == "[server]" else []
        lines += ['ledger_password = "secrets/ledger.password"'] if name == "ledger" else []
    lines += ["[openbao]", 'secret_id_file = "secrets/bao.secret-id"', *(f'{k} = "{v}"' for k, v in openbao.items())]
    config.write_text("\n".join(lines) + "\n")
    (config.parent / "aws-certs" / f"{told['region']}.pem").write_text(told["certificate"])


@dataclass
class Enrolled:
    """What one instance got: whole answers only, and how often it had to turn to the other verifier."""

    asker: Asker
    bundles: list[Bundle] = field(default_factory=list)
    turned: int = 0


class Instance:
    """One instance: asks a verifier, and turns to the other when a connection fails, as the agent does."""

    def __init__(self, pair: Pair, asker: Asker, first: int) -> None:
        self._pair = pair
        self._at = first
        self._line: Line | None = None
        self._answered: tuple[Asker, Assertion, int] | None = None
        self.told = Enrolled(asker)

    def turn(self) -> None:
        """Go to the other verifier."""
        self.hang_up()
        self._at = 1 - self._at

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def exchange(self, method: str, path: str, kind: str = "", body: bytes = b"") -> Reply:
        for _ in range(TRIES):
            try:
                self._line = self._line or Line(self._pair.addresses[self._at], self._pair.context)
                reply = self._line.ask(method, path, kind, body)
            except (OSError, Broken):
                self.turn()
                self.told.turned += 1
            else:
                if reply.close:
                    self.hang_up()
                return reply
        raise AssertionError("both verifiers are gone")

    def ask(self, key_of: Asker | None = None) -> Reply:
        """One challenge and one assertion; opens the answer when there is one."""
        asker = key_of or self.told.asker
        challenge = Challenge.from_bytes(self.exchange("GET", "/v1/challenge").body)
        request = asker.request(challenge.nonce, amz_date=now(), iat=challenge.server_time)
        reply = self.exchange("POST", "/v1/enrolments", ASSERTION_TYPE, asker.signed(request))
        if reply.status == 200:
            answer = asker.read(reply.body)
            bundle = asker.open(answer, request)
            assert bundle is not None
            self.told.bundles.append(bundle)
            self._answered = (asker, request, answer.serial)
        return reply

    def tell(self, result: str = "installed", pin: str = "accepted") -> int:
        assert self._answered is not None
        asker, request, serial = self._answered
        receipt = asker.receipt(request, serial, result=result, pin=pin)
        return self.exchange("POST", "/v1/receipts", RECEIPT_TYPE, receipt).status

    def enrol(self) -> None:
        """Ask until served, then confirm. Busy and the like are waited for; any other refusal is a failure."""
        for _ in range(TRIES):
            reply = self.ask()
            if reply.status == 200:
                assert self.tell() == 204
                self.hang_up()
                return
            assert reply.status in {429, 503}, reply.body
            threading.Event().wait(min(reply.retry_after or 0.1, 0.5))
        raise AssertionError("never served")


def answers_of(verifier: Verifier) -> list[dict[str, Any]]:
    """The audit's lines about answers; the chain holds, also where the verifier was killed."""
    path = verifier.folder / "audit.jsonl"
    verify(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == "enrolment" and line["outcome"] == "answered"]


@pytest.mark.timeout(240)
def test_a_fleet_enrols_through_two_verifiers_while_one_is_killed_and_everyone_is_served_once(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    seal = SealPrivateKey.generate("mlkem768-x25519")
    party = pair.one.party
    fleet = [Asker(facts=facts, party=party, seal=seal) for facts in pair.aws.fleet()]
    scout = Instance(pair, fleet.pop(), 0)
    prove_the_pin(pair, scout, Instance(pair, fleet[0], 1))

    instances = [Instance(pair, asker, number % 2) for number, asker in enumerate(fleet)]
    done = threading.Semaphore(0)

    def enrol(instance: Instance) -> None:
        instance.enrol()
        done.release()

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(enrol, one) for one in instances]
        for _ in range(COUNT // 3):
            assert done.acquire(timeout=60)
        pair.kill(pair.one)
        for future in futures:
            future.result(timeout=90)

    for one in instances:
        assert set(one.told.bundles) == {pair.bundle}
    store = open_store(load_settings(pair.other.folder / "hsm-verifier.toml"))
    slots = desk.list_slots(store)
    store.close()
    owners = {one.facts.instance_id: PublicJwk.from_key(one.key.public_key()).thumbprint for one in fleet}
    owners[scout.told.asker.facts.instance_id] = PublicJwk.from_key(scout.told.asker.key.public_key()).thumbprint
    assert {line.instance_id: line.owner for line in slots} == owners
    assert {line.state for line in slots} == {"CONFIRMED"}
    assert len(slots) == COUNT + 1

    answers = [answers_of(one) for one in (pair.one, pair.other)]
    taken = Counter(line["instance"] for told in answers for line in told if line["how"] == "new")
    assert all(count == 1 for count in taken.values())
    assert {(line["instance"], line["owner"]) for told in answers for line in told} <= set(owners.items())
    assert all(told for told in answers)

    thief = Instance(pair, Asker(facts=fleet[0].facts, party=party, seal=seal, key=generate_key()), 1)
    refused = Problem.from_bytes(thief.ask().body)
    thief.hang_up()
    assert (refused.reason, refused.status) == ("already_enrolled", 409)

    again = sum(line["how"] == "again" for told in answers for line in told)
    turned = sum(1 for one in instances if one.told.turned)
    with capsys.disabled():
        print(
            f"\n{COUNT} instances served once each: {len(answers[0])} answers by the one until it was killed, "
            f"{len(answers[1])} by the other; {again} asked again, {turned} turned to the other"
        )


def prove_the_pin(pair: Pair, scout: Instance, waiting: Instance) -> None:
    """V13 across verifiers: the trial is given by one, seen by the other, and ended at either."""
    assert scout.ask().status == 200
    held = waiting.ask()
    assert Problem.from_bytes(held.body).reason == "hold"
    scout.turn()
    assert scout.tell("trying", "untried") == 204
    scout.turn()
    assert scout.tell() == 204
    assert waiting.ask().status == 200
    for one in (scout, waiting):
        one.hang_up()
