"""Replies: what is said, what is audited, what a receipt does, and that nothing is said before it is durable."""

import json
import logging
from dataclasses import replace

import pytest

from hsm_enrol.wire.answer import verify_answer
from hsm_enrol.wire.messages import ANSWER_TYPE, PROBLEM_TYPE, Challenge, Problem
from hsm_verifier.audit import last_taken
from hsm_verifier.chain import verify
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.receipts import owner_jwk
from hsm_verifier.ledger.schema import db_now, gates, instances
from hsm_verifier.ledger.store import Store
from hsm_verifier.policy import Verdict
from hsm_verifier.refusal import Refusal
from hsm_verifier.service import TEXTS, Reply, Service
from hsm_verifier.witness import Witness
from tests.documents import table
from tests.verifier.party import INSTANCE, NOW, Asker, Party, differs

SOURCE = "192.0.2.7"


@pytest.fixture
def service(party: Party) -> Service:
    return Service(party.world, party.audit)


def lines(party: Party) -> list[dict[str, object]]:
    path = party.folder / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def problem(reply: Reply) -> Problem:
    assert reply.kind == PROBLEM_TYPE
    return Problem.from_bytes(reply.body)


def enrol(service: Service, asker: Asker, **changes: object) -> str:
    """Enrol and give the answer's nonce."""
    reply = service.enrol(asker.ask(**changes), SOURCE)
    assert reply.status == 200
    assert reply.kind == ANSWER_TYPE
    key = asker.party.world.keys.choose(asker.party.world.keys.kids)
    assert key is not None
    return verify_answer(reply.body, [key.public_key()]).nonce


def test_a_challenge_tells_time_and_what_is_accepted(party: Party, service: Service) -> None:
    reply = service.challenge()
    told = Challenge.from_bytes(reply.body)
    party.world.nonces.check(told.nonce, NOW)
    assert (told.server_time, told.expires_in) == (int(NOW), 300)
    assert told.evidence == ("identity-role",)
    assert set(told.kems) == {"p256", "mlkem768-x25519"}


def test_each_decision_is_one_audit_line_without_secrets(party: Party, service: Service, published: int) -> None:
    asker = party.asker()
    enrol(service, asker)
    party.aws.sts_says = Refusal("evidence_invalid", "V8 signature")
    heard = problem(service.enrol(party.asker().ask(), SOURCE))
    answered, refused = lines(party)
    assert (answered["outcome"], answered["how"], answered["serial"]) == ("answered", "new", published)
    assert (refused["outcome"], refused["reason"], refused["detail"]) == ("refused", "evidence_invalid", "V8 signature")
    assert refused["decision"] == heard.decision
    assert refused["source"] == SOURCE
    assert "CANARY" not in json.dumps([answered, refused])
    assert "BEGIN" not in json.dumps([answered, refused])
    assert verify(party.folder / "audit.jsonl").n == 2
    assert last_taken(party.folder / "audit.jsonl", 0.0) == Witness(
        instance_id=INSTANCE, serial=published, owner=asker.jwk.thumbprint
    )
    assert last_taken(party.folder / "audit.jsonl", NOW) is None


def test_before_v8_a_stranger_hears_no_policy_while_the_audit_knows(party: Party, service: Service) -> None:
    party.policy.lowest = "fields"
    party.policy.verdict = Verdict(group=None, mismatches=(differs("image"),))
    heard = problem(service.enrol(party.asker().ask(identity_role=None), SOURCE))
    assert (heard.reason, heard.status) == ("evidence_invalid", 403)
    (line,) = lines(party)
    assert (line["reason"], line["detail"], line["mismatches"]) == ("not_admitted", "V10 no_group", ["V10 image"])


def test_not_visible_is_told_as_busy_to_a_stranger(party: Party, service: Service) -> None:
    party.policy.lowest = "fields"
    party.aws.ec2_says = Refusal("not_visible_yet", "V9 not_found", retry_after=7)
    reply = service.enrol(party.asker().ask(identity_role=None), SOURCE)
    assert problem(reply).reason == "busy"
    assert reply.retry_after == 7


def test_after_v8_the_reason_is_told_and_no_more(party: Party, service: Service) -> None:
    party.policy.verdict = Verdict(group=None, mismatches=(differs("image"),))
    heard = problem(service.enrol(party.asker().ask(), SOURCE))
    assert (heard.reason, heard.status, heard.detail) == ("not_admitted", 403, TEXTS["not_admitted"])


def test_already_enrolled_is_a_conflict_with_an_alarm_and_gone_without_one(
    party: Party, service: Service, published: int, caplog: pytest.LogCaptureFixture
) -> None:
    asker = party.asker()
    nonce = enrol(service, asker)
    with caplog.at_level(logging.WARNING, "hsm_verifier"):
        other = problem(service.enrol(party.asker().ask(), SOURCE))
    assert (other.reason, other.status) == ("already_enrolled", 409)
    assert "already_enrolled" in caplog.text
    assert service.receipt(asker.receipt(published, nonce), SOURCE).status == 204
    own = problem(service.enrol(asker.ask(), SOURCE))
    assert (own.reason, own.status) == ("already_enrolled", 410)
    assert [line.get("alarm") for line in lines(party)] == [None, True, None, None]


def test_clock_skew_carries_our_time(party: Party, service: Service) -> None:
    party.now += 20  # the nonce is made by the same clock, the evidence's date is not
    party.aws.sts_says = Refusal("clock_skew", "V8 expired")
    heard = problem(service.enrol(party.asker().ask(), SOURCE))
    assert (heard.reason, heard.server_time) == ("clock_skew", int(party.now))


def test_a_bug_is_one_failed_decision_with_an_alarm(party: Party, service: Service) -> None:
    party.policy.group = None  # type: ignore[method-assign,assignment]  # stands for any bug
    reply = service.enrol(party.asker().ask(), SOURCE)
    assert (reply.status, problem(reply).reason) == (503, "busy")
    (line,) = lines(party)
    assert (line["detail"], line["alarm"]) == ("V0 TypeError", True)


def test_a_vault_that_does_not_open_is_later_for_the_asker(party: Party, service: Service, published: int) -> None:
    (party.folder / "bundles" / "web" / f"{published}.sealed").write_bytes(b"x" * 64)
    reply = service.enrol(party.asker().ask(), SOURCE)
    assert (reply.status, problem(reply).reason, reply.retry_after) == (503, "upstream_busy", 60)
    assert lines(party)[0]["alarm"] is True


def test_v15_nothing_is_sent_when_the_audit_cannot_be_written(party: Party, service: Service, published: int) -> None:
    (party.folder / "audit.jsonl").mkdir()
    reply = service.enrol(party.asker().ask(), SOURCE)
    assert (reply.status, problem(reply).reason) == (503, "busy")
    (party.folder / "audit.jsonl").rmdir()
    asker = party.asker("i-0fedcba9876543210")
    enrol(service, asker)


def test_a_receipt_is_204_repeatable_and_404_for_anyone_else(party: Party, service: Service, published: int) -> None:
    asker = party.asker()
    nonce = enrol(service, asker)
    receipt = asker.receipt(published, nonce)
    stranger = party.asker().receipt(published, nonce)
    no_slot = asker.receipt(published + 1, nonce)
    for body in (stranger, no_slot):
        reply = service.receipt(body, SOURCE)
        assert (reply.status, problem(reply).reason) == (404, "not_admitted")
    assert [service.receipt(receipt, SOURCE).status for _ in range(2)] == [204, 204]
    assert [line.state for line in desk.list_slots(party.world.store)] == ["CONFIRMED"]
    assert [line.get("effect") for line in lines(party)[3:]] == [["noted", "confirmed"], []]


def test_a_receipt_is_its_signers_even_when_the_owner_is_replaced_right_after(
    party: Party, service: Service, published: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = party.asker()
    nonce = enrol(service, asker)
    other = party.asker().jwk

    def read_then_replaced(store: Store, instance_id: str, serial: int) -> str | None:
        found = owner_jwk(store, instance_id, serial)
        with store.deciding() as tx:
            tx.execute(instances.update().values(owner=other.thumbprint, jwk=json.dumps(other.as_json())))
        return found

    monkeypatch.setattr("hsm_verifier.service.owner_jwk", read_then_replaced)
    assert problem(service.receipt(asker.receipt(published, nonce), SOURCE)).reason == "not_admitted"
    assert [line.state for line in desk.list_slots(party.world.store)] == ["TAKEN"]


@pytest.mark.parametrize("body", [b"", b"a.b.c", b"x" * 9000])
def test_what_is_no_receipt_is_malformed(party: Party, service: Service, body: bytes) -> None:
    assert problem(service.receipt(body, SOURCE)).reason == "malformed"


def test_a_receipt_for_another_audience_is_unsupported(party: Party, service: Service, published: int) -> None:
    asker = party.asker()
    nonce = enrol(service, asker)
    other = Service(replace(party.world, audience="hsm-enrol:other"), party.audit)
    assert problem(other.receipt(asker.receipt(published, nonce), SOURCE)).reason == "unsupported"


def test_a_failed_receipt_is_noted_with_its_code_and_the_slot_stays(
    party: Party, service: Service, published: int
) -> None:
    asker = party.asker()
    nonce = enrol(service, asker)
    body = asker.receipt(published, nonce, "failed", "unused", code="no_slots")
    assert service.receipt(body, SOURCE).status == 204
    (slot,) = desk.list_slots(party.world.store)
    assert (slot.state, slot.result, slot.code) == ("TAKEN", "failed", "no_slots")


def test_a_trial_may_begin_only_while_its_lease_holds(party: Party, service: Service, published: int) -> None:
    asker = party.asker()
    nonce = enrol(service, asker, pin=True)
    trying = asker.receipt(published, nonce, "trying", "untried")
    assert service.receipt(trying, SOURCE).status == 204
    with party.world.store.deciding() as tx:
        tx.execute(gates.update().values(until=db_now() - 1))
    late = service.receipt(trying, SOURCE)
    assert (late.status, problem(late).reason) == (503, "hold")


def test_a_refused_pin_halts_the_gate_with_an_alarm(party: Party, service: Service, published: int) -> None:
    asker = party.asker()
    nonce = enrol(service, asker, pin=True)
    body = asker.receipt(published, nonce, "failed", "refused", code="pin_refused")
    assert service.receipt(body, SOURCE).status == 204
    assert lines(party)[-1]["alarm"] is True
    reply = service.enrol(party.asker("i-0fedcba9876543210").ask(pin=True), SOURCE)
    assert problem(reply).reason == "hold"
    assert desk.resume_gate(party.world.store, "pin-00000001") == 1
    enrol(service, party.asker("i-0fedcba9876543210"), pin=True)


def test_a_refusal_costs_the_audit_what_sizing_says(service: Service, party: Party, published: int) -> None:
    rows = {one["what"]: one for one in table("docs/operating.md", "Sizing", "what", "figure", "what it counts")}
    row = rows["audit, a request that is refused"]
    service.enrol(b"nonsense", SOURCE)
    party.aws.sts_says = Refusal("evidence_invalid", "V8 signature")
    service.enrol(party.asker().ask(), SOURCE)
    nonsense, whole = (len(line) for line in (party.folder / "audit.jsonl").read_bytes().splitlines(keepends=True))
    assert whole == pytest.approx(int(row["figure"].split()[0]), rel=0.1)
    assert nonsense == pytest.approx(int(row["what it counts"].split()[-3]), rel=0.1)
