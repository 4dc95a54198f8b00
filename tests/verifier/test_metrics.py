"""/metrics: what it counts, and that Prometheus's own parser reads it."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hsm_verifier.admin.metrics import write
from hsm_verifier.counts import BOUNDS, Counts
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.fleet import Fleet
from hsm_verifier.published import Catalogue
from hsm_verifier.refusal import Refusal
from hsm_verifier.service import Service
from tests.documents import bare, table
from tests.verifier.party import NOW, Party, make_bundle

SOURCE = "192.0.2.7"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    return dict(_samples(text))


def _samples(text: str) -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("hsm_verifier_")
        assert family.documentation
        for sample in family.samples:
            yield (sample.name.removeprefix("hsm_verifier_"), tuple(sorted(sample.labels.items()))), sample.value


def text_of(party: Party, service: Service) -> str:
    bundles = Catalogue(party.world.vault).current()
    fleet = Fleet(party.world.store, {one.group: one.serial for one in bundles}, party.now)
    return write(
        service.counts.now(),
        states=fleet.counts(),
        overdue=fleet.overdue(),
        gates=desk.list_gates(party.world.store),
        mode=party.world.store.mode(),
        bundles=bundles,
        broken=(),
        tls_not_after=NOW + 5,
        began=NOW,
    )


def test_decisions_are_counted_by_outcome_and_reason_with_their_latency(party: Party, published: int) -> None:
    service = Service(party.world, party.audit)
    asker = party.asker()
    assert service.enrol(asker.ask(), SOURCE).status == 200
    party.aws.sts_says = Refusal("evidence_invalid", "V8 signature")
    for _ in range(2):
        service.enrol(party.asker("i-0fedcba9876543210").ask(), SOURCE)
    service.enrol(b"nonsense", SOURCE)
    service.refuse("enrolment", SOURCE, Refusal("busy", "V1 queue_full"))
    found = read(text_of(party, service))
    decided = {
        tuple(value for _, value in labels): count
        for (name, labels), count in found.items()
        if name == "decisions_total"
    }
    assert decided == {
        ("enrolment", "answered", ""): 1,
        ("enrolment", "refused", "evidence_invalid"): 2,
        ("enrolment", "refused", "malformed"): 1,
    }
    assert found["turned_away_total", (("event", "enrolment"), ("reason", "busy"))] == 1
    assert found["decision_seconds_count", (("event", "enrolment"),)] == 4
    assert found["decision_seconds_bucket", (("event", "enrolment"), ("le", "+Inf"))] == 4
    assert 0 < found["decision_seconds_sum", (("event", "enrolment"),)] < 60
    assert found["slots", (("state", "TAKEN"),)] == 1
    assert found["bundle_serial", (("group", "web"),)] == published
    ends = "bundle_certificate_expiry_seconds"
    assert found[ends, (("certificate", "client"), ("group", "web"))] == NOW + 3650 * 86400
    assert found[ends, (("certificate", "server"), ("group", "web"))] == NOW + 3650 * 86400
    assert found["tls_certificate_expiry_seconds", ()] == NOW + 5
    assert found["ledger_open", ()] == 1


def test_a_refused_pin_shows_as_a_halted_gate_and_as_an_alarm(party: Party, published: int) -> None:
    service = Service(party.world, party.audit)
    asker = party.asker()
    service.enrol(asker.ask(pin=True), SOURCE)
    with party.world.store.reading() as tx:
        from hsm_verifier.ledger.schema import slots

        nonce = tx.execute(slots.select()).mappings().one()["nonce"]
    before = read(text_of(party, service))
    assert before["gates", (("state", "UNPROVEN"),)] == 1
    assert before["audit_alarms_total", ()] == 0
    service.receipt(asker.receipt(published, nonce, "failed", "refused", code="pin_refused"), SOURCE)
    after = read(text_of(party, service))
    assert (after["gates", (("state", "HALTED"),)], after["gates", (("state", "UNPROVEN"),)]) == (1, 0)
    assert after["audit_alarms_total", ()] == 1


def test_no_label_holds_an_instance_or_anything_else_from_outside(party: Party, published: int) -> None:
    service = Service(party.world, party.audit)
    service.enrol(party.asker().ask(), SOURCE)
    text = text_of(party, service)
    for word in (party.asker().instance_id, SOURCE, party.asker().jwk.thumbprint, "CANARY"):
        assert word not in text


def test_a_decision_that_could_not_be_audited_counts_as_refused(party: Party, published: int) -> None:
    service = Service(party.world, party.audit)
    (party.folder / "audit.jsonl").mkdir()
    service.enrol(party.asker().ask(), SOURCE)
    counted = service.counts.now()
    assert counted.decisions == {("enrolment", "refused", "busy"): 1}
    assert counted.alarms == 1


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_belongs_to_its_bucket(bound: float) -> None:
    counts = Counts()
    for seconds in (bound, bound * 1.001):
        counts.decided("enrolment", "answered", "", seconds=seconds, alarm=False)
    place = BOUNDS.index(bound)
    expected = [0] * (len(BOUNDS) + 1)
    expected[place] = expected[place + 1] = 1
    assert counts.now().latency["enrolment"].counts == tuple(expected)


def test_two_groups_have_two_series(party: Party, published: int) -> None:
    party.world.vault.put("batch", make_bundle(pin_id=""), NOW)
    found = read(text_of(party, Service(party.world, party.audit)))
    assert {labels for name, labels in found if name == "bundle_serial"} == {(("group", "web"),), (("group", "batch"),)}


def test_the_document_lists_each_metric_with_its_kind_and_labels(party: Party, published: int) -> None:
    service = Service(party.world, party.audit)
    service.enrol(party.asker().ask(pin=True), SOURCE)
    service.refuse("enrolment", SOURCE, Refusal("busy", "V1 queue_full"))
    written = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(text_of(party, service))
    }
    told = {
        bare(row["metric"]): (row["kind"], set(filter(None, bare(row["labels"]).split(", "))))
        for row in table("docs/operators-page.md", "Metrics", "metric", "kind", "labels")
    }
    assert told == written
