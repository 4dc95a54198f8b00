"""Each check of the verifying party by its number; what a stranger hears; how often AWS is asked."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.wire.answer import open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, IdentityRole, sign_assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_verifier.decide import decide
from hsm_verifier.ledger import desk, restored
from hsm_verifier.ledger.receipts import Note, note
from hsm_verifier.ledger.schema import db_now, gates, sightings
from hsm_verifier.ledger.sightings import VISIBLE_WITHIN
from hsm_verifier.policy import Verdict
from hsm_verifier.policy_file import read_policy
from hsm_verifier.refusal import Refusal
from hsm_verifier.vault import VaultError
from hsm_verifier.world import Trail
from tests.verifier.party import DOCUMENT, FACTS, INSTANCE, NOW, PIN, WEB, Asker, Party, differs, make_bundle

SOURCE = "192.0.2.7"


def ask(party: Party, body: bytes, trail: Trail | None = None) -> bytes:
    return decide(body, SOURCE, party.world, trail or Trail())


def refused(party: Party, body: bytes, trail: Trail | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ask(party, body, trail)
    return caught.value


def ways(refusal: Refusal) -> tuple[str, str]:
    return refusal.reason, refusal.detail


def test_an_instance_gets_its_bundle_sealed_to_its_run_alone(party: Party, published: int) -> None:
    asker = party.asker()
    request = asker.request()
    trail = Trail()
    compact = ask(party, sign_assertion(request, asker.key), trail)
    key = party.world.keys.choose(request.trust)
    assert key is not None
    answer = verify_answer(compact, [key.public_key()])
    bundle = open_answer(answer, request, asker.seal)
    assert bundle == replace(make_bundle(), serial=published)
    assert PIN.encode() not in compact
    assert (answer.serial, answer.state, answer.trial) == (published, "bundle", False)
    assert trail.facts["how"] == "new"
    assert trail.facts["level"] == "identity-role"
    assert not trail.alarm
    assert "CANARY" not in str(trail.facts)
    assert party.aws.calls == ["sts", "ec2"]


@pytest.mark.parametrize("body", [b"", b"a.b.c", b"\xff" * 40, b"eyJ.e30.AA"])
def test_v2_what_is_no_assertion_is_malformed_and_costs_aws_nothing(party: Party, body: bytes) -> None:
    assert refused(party, body).reason == "malformed"
    assert party.aws.calls == []


def test_v3_an_altered_assertion_is_malformed(party: Party) -> None:
    body = party.asker().ask()
    assert refused(party, body[:-4] + b"AAAA").reason == "malformed"
    assert refused(party, body + b"x" * 40000).reason == "too_large"


V4 = [
    ({"aud": "hsm-enrol:another"}, "unsupported", "V4 audience"),
    ({"eat_nonce": "A" * 43}, "nonce_stale", "V4 nonce_not_ours"),
    ({"trust": ("A" * 43,)}, "unsupported", "V4 trust"),
    ({"identity_role": None}, "evidence_missing", "V4 fields_below_identity-role"),
    ({"identity_role": None, "iid": "A" * 64}, "evidence_missing", "V4 iid_below_identity-role"),
]


@pytest.mark.parametrize(("changes", "reason", "detail"), V4)
def test_v4_offline_checks_refuse_before_aws_is_asked(
    party: Party, published: int, changes: dict[str, object], reason: str, detail: str
) -> None:
    assert ways(refused(party, party.asker().ask(**changes))) == (reason, detail)
    assert party.aws.calls == []
    assert desk.list_slots(party.world.store) == ()


@pytest.mark.parametrize(("name", "value"), [("account_id", "999922223333"), ("region", "eu-west-1")])
def test_v4_an_account_or_region_that_is_nobodys_is_refused(party: Party, name: str, value: str) -> None:
    instance = replace(party.asker().request().instance, **{name: value})
    assert ways(refused(party, party.asker().ask(instance=instance))) == ("evidence_invalid", "V4 account_or_region")


def role(asker: Asker, **changes: str) -> IdentityRole:
    found = asker.request().identity_role
    assert found is not None
    return replace(found, **changes)


@pytest.mark.parametrize("date", ["20270115T075459Z", "20270115T080501Z", "20269915T080000Z", "99991231T235959Z"])
def test_v4_evidence_signed_by_a_wrong_clock_is_clock_skew_with_our_time(party: Party, date: str) -> None:
    asker = party.asker()
    refusal = refused(party, asker.ask(identity_role=role(asker, amz_date=date)))
    assert ways(refusal) == ("clock_skew", "V4 amz_date")
    assert refusal.server_time


def test_v4_evidence_for_another_region_is_invalid(party: Party) -> None:
    asker = party.asker()
    refusal = refused(party, asker.ask(identity_role=role(asker, region="eu-west-1")))
    assert ways(refusal) == ("evidence_invalid", "V4 role_region")


def test_v5_a_document_is_looked_at_whenever_the_regions_certificate_is_here(party: Party, published: int) -> None:
    ask(party, party.asker().ask(iid="A" * 64))
    assert party.aws.calls == ["iid", "sts", "ec2"]


def test_v5_without_the_certificate_the_stronger_evidence_stands_alone(party: Party, published: int) -> None:
    party.aws.certificate_here = False
    ask(party, party.asker().ask(iid="A" * 64))
    assert party.aws.calls == ["sts", "ec2"]


def test_v5_a_document_that_is_all_the_evidence_is_not_believed_without_the_certificate(
    party: Party, published: int
) -> None:
    party.policy.lowest, party.policy.web = "fields", replace(WEB, level="fields")
    party.aws.certificate_here, party.aws.iid_says = False, Refusal("evidence_invalid", "V5 no_certificate")
    refusal = refused(party, party.asker().ask(identity_role=None, iid="A" * 64))
    assert ways(refusal) == ("evidence_invalid", "V5 no_certificate")


def test_v5_a_forged_document_ends_it_before_aws_is_asked(party: Party, published: int) -> None:
    party.aws.iid_says = Refusal("evidence_invalid", "V5 signature")
    assert ways(refused(party, party.asker().ask(iid="A" * 64))) == ("evidence_invalid", "V5 signature")
    assert party.aws.calls == ["iid"]


@pytest.mark.parametrize("name", ["instance_id", "account_id", "region", "image_id", "instance_type", "private_ip"])
def test_v6_each_claim_must_equal_the_document(party: Party, name: str) -> None:
    party.aws.document = replace(DOCUMENT, **{name: "other"})  # type: ignore[arg-type]  # each is a text
    refusal = refused(party, party.asker().ask(iid="A" * 64))
    assert ways(refusal) == ("evidence_invalid", "V6 document_differs")
    assert refusal.mismatches == (name,)


def test_v6_a_document_older_than_one_seen_is_a_replay(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask(iid="A" * 64))
    party.aws.document = replace(DOCUMENT, pending_time=DOCUMENT.pending_time - 1)
    refusal = refused(party, asker.ask(iid="A" * 64))
    assert ways(refusal) == ("evidence_invalid", "V6 document_older_than_stored")
    assert refusal.alarm
    party.aws.document = replace(DOCUMENT, pending_time=DOCUMENT.pending_time + 100)
    for _ in range(2):  # the same one again is no replay: it is the document of this boot
        ask(party, asker.ask(iid="A" * 64))
    party.aws.document = DOCUMENT
    assert refused(party, asker.ask(iid="A" * 64)).detail == "V6 document_older_than_stored"


def test_v7_an_owner_that_has_the_current_serial_hears_so_without_a_call_to_aws(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    party.aws.calls.clear()
    request = asker.request(have=published, reason="refresh")
    trail = Trail()
    answer = verify_answer(ask(party, sign_assertion(request, asker.key), trail), public_keys(party))
    assert (answer.state, answer.serial) == ("current", published)
    assert open_answer(answer, request, asker.seal) is None
    assert party.aws.calls == []
    assert [line.state for line in desk.list_slots(party.world.store)] == ["CONFIRMED"]


def test_o4_a_newcomer_that_has_the_current_serial_gets_no_bundle_with_it(party: Party, published: int) -> None:
    trail = Trail()
    answer = verify_answer(ask(party, party.asker().ask(have=published), trail), public_keys(party))
    assert (answer.state, answer.sealed, trail.facts["how"]) == ("current", None, "current")
    (slot,) = desk.list_slots(party.world.store)
    assert slot.state == "CONFIRMED"


def test_v7_another_key_does_not_hear_it(party: Party, published: int) -> None:
    ask(party, party.asker().ask())
    party.aws.calls.clear()
    refusal = refused(party, party.asker().ask(have=published))
    assert ways(refusal) == ("already_enrolled", "O1 another_key")
    assert refusal.alarm
    assert party.aws.calls == ["sts", "ec2"]


def test_v7_a_revoked_instance_that_names_the_current_serial_is_refused_with_an_alarm(
    party: Party, published: int
) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    assert desk.revoke(party.world.store, INSTANCE)
    newer = party.world.vault.put("web", make_bundle(), NOW + 60)
    refusal = refused(party, asker.ask(have=newer))
    assert ways(refusal) == ("not_admitted", "O1 revoked")
    assert refusal.alarm
    assert [(line.serial, line.state) for line in desk.list_slots(party.world.store)] == [(published, "REVOKED")]


def test_v8_what_aws_says_is_passed_on(party: Party) -> None:
    party.aws.sts_says = Refusal("evidence_invalid", "V8 arn_differs")
    trail = Trail()
    assert ways(refused(party, party.asker().ask(), trail)) == ("evidence_invalid", "V8 arn_differs")
    assert not trail.proved


def test_v8_each_instance_id_has_its_own_limit_and_others_go_on(party: Party, published: int) -> None:
    asker = party.asker()
    for _ in range(6):
        ask(party, asker.ask())
    refusal = refused(party, asker.ask())
    assert ways(refusal) == ("busy", "V8 asks_per_instance")
    assert refusal.retry_after == pytest.approx(10)
    ask(party, party.asker("i-0fedcba9876543210").ask())
    party.now += 10
    ask(party, asker.ask())


def test_v8_a_limit_is_spent_by_proven_askers_only(party: Party, published: int) -> None:
    party.aws.sts_says = Refusal("evidence_invalid", "V8 signature")
    for _ in range(20):
        assert refused(party, party.asker().ask()).reason == "evidence_invalid"
    party.aws.sts_says = None
    ask(party, party.asker().ask())


@pytest.mark.parametrize(("level", "changes"), [("fields", {}), ("iid", {"iid": "A" * 64})])
def test_v8_who_shows_less_spends_nothing_of_the_limit_of_those_whom_aws_named(
    party: Party, published: int, level: str, changes: dict[str, object]
) -> None:
    party.policy.lowest = level  # another group of that account and region accepts it, this instance's does not
    for _ in range(6):
        weak = party.asker().ask(identity_role=None, **changes)
        assert ways(refused(party, weak)) == ("evidence_missing", f"V10 {level}_below_identity-role")
    weak = party.asker().ask(identity_role=None, **changes)
    assert ways(refused(party, weak)) == ("busy", "V8 asks_per_instance")
    ask(party, party.asker().ask())


def test_v9_not_visible_is_not_yet_for_ten_minutes_by_the_databases_clock(party: Party, published: int) -> None:
    party.aws.ec2_says = Refusal("not_visible_yet", "V9 not_found")
    asker = party.asker()
    assert refused(party, asker.ask()).reason == "not_visible_yet"
    with party.world.store.deciding() as tx:
        tx.execute(sightings.update().values(first_seen=db_now() - VISIBLE_WITHIN - 1))
    assert ways(refused(party, asker.ask())) == ("not_admitted", "V9 not_found")


def test_v9_only_an_instance_that_aws_vouched_for_is_written_down_as_not_visible(party: Party, published: int) -> None:
    party.policy.lowest = "fields"
    party.aws.ec2_says = Refusal("not_visible_yet", "V9 not_found")
    assert refused(party, party.asker().ask(identity_role=None)).reason == "not_visible_yet"
    with party.world.store.reading() as tx:
        assert tx.execute(sightings.select()).first() is None


def test_v9_a_look_up_that_fails_is_no_sign_that_the_instance_is_gone(party: Party, published: int) -> None:
    party.aws.ec2_says = Refusal("not_visible_yet", "V9 not_found")
    asker = party.asker()
    refused(party, asker.ask())
    with party.world.store.deciding() as tx:
        tx.execute(sightings.update().values(first_seen=db_now() - VISIBLE_WITHIN - 1))
    party.aws.ec2_says = Refusal("upstream_busy", "V9 throttled")
    assert ways(refused(party, asker.ask())) == ("upstream_busy", "V9 throttled")


def test_v9_a_stopped_instance_is_not_admitted(party: Party) -> None:
    party.aws.ec2_says = Refusal("not_admitted", "V9 stopped")
    assert ways(refused(party, party.asker().ask())) == ("not_admitted", "V9 stopped")


def test_v10_no_group_lists_every_mismatch_for_the_audit(party: Party) -> None:
    party.policy.verdict = Verdict(group=None, mismatches=(differs("image"), differs("role")))
    refusal = refused(party, party.asker().ask())
    assert ways(refusal) == ("not_admitted", "V10 no_group")
    assert refusal.mismatches == ("V10 image", "V10 role")


def test_v10_observed_mismatches_are_kept_though_it_is_served(party: Party, published: int) -> None:
    party.policy.verdict = Verdict(group="web", mismatches=(differs("local-hostname", enforced=False),))
    trail = Trail()
    ask(party, party.asker().ask(), trail)
    assert trail.facts["mismatches"] == ["V10 local-hostname (observed)"]


def test_v10_the_groups_own_level_kem_and_demand_for_a_document_hold(party: Party, published: int) -> None:
    party.policy.lowest = "fields"
    weak = party.asker().ask(identity_role=None)
    assert ways(refused(party, weak)) == ("evidence_missing", "V10 fields_below_identity-role")
    party.policy.web = replace(WEB, kems=("mlkem768-x25519",))
    assert ways(refused(party, party.asker().ask())) == ("unsupported", "V10 kem")
    party.policy.web = replace(WEB, demand_iid=True)
    assert ways(refused(party, party.asker().ask())) == ("evidence_missing", "V10 iid_demanded")
    ask(party, party.asker().ask(iid="A" * 64))


def test_v10_a_document_that_is_demanded_and_cannot_be_verified_here_is_no_fault_of_the_instance(
    party: Party, published: int
) -> None:
    party.policy.web, party.aws.certificate_here = replace(WEB, demand_iid=True), False
    assert ways(refused(party, party.asker().ask())) == ("evidence_missing", "V10 iid_demanded")
    refusal = refused(party, party.asker().ask(iid="A" * 64))
    assert ways(refusal) == ("upstream_busy", "V10 no_certificate_for_region")
    assert refusal.alarm


@pytest.mark.parametrize(("level", "changes"), [("fields", {}), ("iid", {"iid": "A" * 64})])
def test_evidence_that_does_not_bind_the_key_is_an_alarm_each_time(
    party: Party, published: int, level: str, changes: dict[str, object]
) -> None:
    party.policy.lowest = level
    party.policy.web = replace(WEB, level=level)
    trail = Trail()
    ask(party, party.asker().ask(identity_role=None, **changes), trail)
    assert trail.alarm
    assert trail.facts["level"] == level
    assert "sts" not in party.aws.calls


def test_v11_v12_are_enforced_the_first_time_only(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    party.world.vault.put("web", make_bundle(), NOW + 90 * 86400)
    party.now += 100
    ask(party, asker.ask(have=published))
    assert party.policy.asked == [(SOURCE, NOW, True), (SOURCE, NOW + 100, False)]


LATE = replace(FACTS, launch_time=NOW - 86400)


def by_rules(party: Party, **rules: object) -> None:
    """Have a real policy judge, and an instance that is too old for a first request."""
    group = {"accounts": ["111122223333"], "regions": ["eu-central-1"]} | rules
    party.world = replace(party.world, policy=read_policy({"groups": {"web": group}}))
    party.aws.facts = LATE


def grant(party: Party, owner: str | None = None) -> None:
    desk.make_grant(party.world.store, INSTANCE, count=1, seconds=60, reason="restore", owner=owner)


def test_lg5_who_was_forgotten_by_a_restore_is_taken_in_again_by_a_grant_however_long_it_runs(
    party: Party, published: int
) -> None:
    by_rules(party)
    asker = party.asker()
    assert ways(refused(party, asker.ask(have=published))) == ("not_admitted", "V10 no_group")
    restored.enter(party.world.store)
    grant(party, owner=asker.jwk.thumbprint)
    assert ways(refused(party, party.asker().ask())) == ("not_admitted", "V10 no_group")
    trail = Trail()
    assert verify_answer(ask(party, asker.ask(have=published), trail), public_keys(party)).serial == published
    assert (trail.facts["how"], trail.facts["first_time"]) == ("granted", False)
    assert ways(refused(party, party.asker().ask())) == ("already_enrolled", "O1 another_key")


@pytest.mark.parametrize(
    ("rules", "for_this_key", "served"),
    [
        ({}, False, True),
        ({"grants": "owner"}, False, False),
        ({"grants": "owner"}, True, True),
        ({"grants": "off"}, True, False),
        ({"roles": ["db"]}, True, False),
        ({"source": {"mode": "enforce"}}, True, True),
    ],
)
def test_o6_a_grant_stands_for_v11_and_v12_as_far_as_the_group_lets_it_count(
    party: Party, published: int, *, rules: dict[str, object], for_this_key: bool, served: bool
) -> None:
    by_rules(party, **rules)
    asker = party.asker()
    grant(party, owner=asker.jwk.thumbprint if for_this_key else None)
    if served:
        assert verify_answer(ask(party, asker.ask()), public_keys(party)).serial == published
    else:
        assert ways(refused(party, asker.ask())) == ("not_admitted", "V10 no_group")


def test_o6_a_first_request_in_time_uses_no_grant_up(party: Party, published: int) -> None:
    by_rules(party)
    party.aws.facts = FACTS
    grant(party)
    trail = Trail()
    ask(party, party.asker().ask(), trail)
    assert trail.facts["how"] == "new"
    ask(party, party.asker().ask(), trail)
    assert trail.facts["how"] == "granted"


def test_v14_nothing_published_is_later_for_the_asker_and_an_alarm_for_the_operator(party: Party) -> None:
    refusal = refused(party, party.asker().ask())
    assert ways(refusal) == ("upstream_busy", "V14 nothing_published")
    assert refusal.alarm


def test_v14_a_bundle_that_does_not_open_takes_nothing(party: Party, published: int) -> None:
    file = party.folder / "bundles" / "web" / f"{published}.sealed"
    whole = file.read_bytes()
    party.world.vault.entry("web", published)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(VaultError):
        ask(party, party.asker().ask())
    assert desk.list_slots(party.world.store) == ()
    file.write_bytes(whole)
    ask(party, party.asker().ask())


def test_v15_asking_again_seals_anew_to_the_new_runs_key(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    asker.seal = SealPrivateKey.generate("mlkem768-x25519")
    request = asker.request()
    answer = verify_answer(ask(party, sign_assertion(request, asker.key)), public_keys(party))
    assert open_answer(answer, request, asker.seal) is not None


def test_moved_to_another_group_the_next_answer_is_that_groups(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    other = party.world.vault.put("db", make_bundle("pin-00000002"), NOW + 5)
    party.policy.verdict = Verdict(group="db", mismatches=())
    answer = verify_answer(ask(party, asker.ask()), public_keys(party))
    assert answer.serial == other > published


def test_groups_may_share_a_bundle_by_its_name(party: Party) -> None:
    party.policy.web = replace(WEB, bundle="common")
    serial = party.world.vault.put("common", make_bundle(), NOW)
    asker = party.asker()
    assert verify_answer(ask(party, asker.ask()), public_keys(party)).serial == serial
    assert verify_answer(ask(party, asker.ask(have=serial)), public_keys(party)).state == "current"


def test_a_90_day_old_instance_gets_the_rotation(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    party.now += 90 * 86400
    newer = party.world.vault.put("web", make_bundle(), party.now)
    found = role(asker, amz_date="20270415T080000Z")
    answer = verify_answer(ask(party, asker.ask(have=published, identity_role=found)), public_keys(party))
    assert (answer.state, answer.serial) == ("bundle", newer)


def test_a_cotenant_that_asks_first_after_a_publication_is_refused_with_an_alarm(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    newer = party.world.vault.put("web", make_bundle(), NOW + 60)
    refusal = refused(party, party.asker().ask())
    assert refusal.reason == "already_enrolled"
    assert refusal.alarm
    assert verify_answer(ask(party, asker.ask(have=published)), public_keys(party)).serial == newer


def test_v13_one_tries_the_pin_and_the_fleet_waits(party: Party, published: int) -> None:
    first, second = party.asker(), party.asker("i-0fedcba9876543210")
    trial = verify_answer(ask(party, first.ask(pin=True)), public_keys(party))
    assert trial.trial
    refusal = refused(party, second.ask(pin=True))
    assert ways(refusal) == ("hold", "V13 hold")
    assert refusal.retry_after is not None
    assert 15 <= refusal.retry_after <= 45
    party.aws.calls.clear()
    trail = Trail()
    assert ways(refused(party, second.ask(pin=True), trail)) == ("hold", "V13 held_again")
    assert trail.proved
    assert party.aws.calls == []
    report(party, first, trial.nonce, published, result="trying", pin="untried")
    report(party, first, trial.nonce, published, result="installed", pin="accepted")
    answer = verify_answer(ask(party, second.ask(pin=True)), public_keys(party))
    assert not answer.trial


def test_v13_who_waited_is_served_once_the_policy_has_no_gate(party: Party, published: int) -> None:
    first, second = party.asker(), party.asker("i-0fedcba9876543210")
    trial = verify_answer(ask(party, first.ask(pin=True)), public_keys(party))
    assert refused(party, second.ask(pin=True)).detail == "V13 hold"
    report(party, first, trial.nonce, published, result="failed", pin="refused")
    assert refused(party, second.ask(pin=True)).detail == "V13 held_again"
    party.policy.web = replace(WEB, release_gate=False)
    assert verify_answer(ask(party, second.ask(pin=True)), public_keys(party)).serial == published


def test_v13_who_waited_for_a_bundle_is_served_another_that_the_policy_gives_instead(
    party: Party, published: int
) -> None:
    first, second = party.asker(), party.asker("i-0fedcba9876543210")
    ask(party, first.ask(pin=True))
    assert refused(party, second.ask(pin=True)).detail == "V13 hold"
    other = party.world.vault.put("web-2", make_bundle("pin-00000002"), NOW + 5)
    party.policy.web = replace(WEB, bundle="web-2")
    assert verify_answer(ask(party, second.ask(pin=True)), public_keys(party)).serial == other


def test_v7_the_newest_of_a_bundle_that_no_group_gets_any_more_is_not_current(party: Party, published: int) -> None:
    asker = party.asker()
    ask(party, asker.ask())
    other = party.world.vault.put("web-2", make_bundle("pin-00000002"), NOW + 5)
    party.policy.web = replace(WEB, bundle="web-2")
    answer = verify_answer(ask(party, asker.ask(have=published, reason="refresh")), public_keys(party))
    assert (answer.state, answer.serial) == ("bundle", other)


def test_v13_who_waits_is_let_in_when_the_trials_lease_is_over(party: Party, published: int) -> None:
    first, second = party.asker(), party.asker("i-0fedcba9876543210")
    ask(party, first.ask(pin=True))
    assert refused(party, second.ask(pin=True)).reason == "hold"
    with party.world.store.deciding() as tx:
        tx.execute(gates.update().values(until=db_now() - 1))
    assert verify_answer(ask(party, second.ask(pin=True)), public_keys(party)).trial


def test_v13_while_the_gate_is_halted_who_waits_costs_aws_nothing(party: Party, published: int) -> None:
    first, second = party.asker(), party.asker("i-0fedcba9876543210")
    trial = verify_answer(ask(party, first.ask(pin=True)), public_keys(party))
    assert refused(party, second.ask(pin=True)).reason == "hold"
    report(party, first, trial.nonce, published, result="failed", pin="refused")
    party.aws.calls.clear()
    assert ways(refused(party, second.ask(pin=True))) == ("hold", "V13 held_again")
    assert party.aws.calls == []


def test_v13_waiting_at_the_gate_does_not_close_the_window(party: Party, published: int) -> None:
    first, second = party.asker(), party.asker("i-0fedcba9876543210")
    nonce = verify_answer(ask(party, first.ask(pin=True)), public_keys(party)).nonce
    assert refused(party, second.ask(pin=True)).reason == "hold"
    with party.world.store.deciding() as tx:
        tx.execute(sightings.update().values(first_pass=NOW - 8 * 86400))
    report(party, first, nonce, published, result="installed", pin="accepted")
    with party.world.store.deciding() as tx:
        tx.execute(sightings.update().values(first_pass=db_now() - 8 * 86400))
    ask(party, second.ask(pin=True))
    _source, now, first_time = party.policy.asked[-1]
    assert first_time
    with party.world.store.reading() as tx:
        clock = float(tx.execute(db_now().select()).scalar_one())
    assert now == pytest.approx(clock - 8 * 86400, abs=60)


def test_v13_a_cotenant_does_not_ride_on_anothers_first_pass(party: Party, published: int) -> None:
    ask(party, party.asker().ask(pin=True))
    waiting = party.asker("i-0fedcba9876543210")
    assert refused(party, waiting.ask(pin=True)).reason == "hold"
    assert refused(party, party.asker(waiting.instance_id).ask(pin=True)).detail == "V13 hold"
    assert party.policy.asked[-1] == (SOURCE, NOW, True)


def test_v13_no_gate_without_tools_without_a_pin_or_when_the_policy_has_none(party: Party, published: int) -> None:
    def trial(number: int, *, pin: bool) -> bool:
        body = party.asker(f"i-0fedcba98765432{number:02}").ask(pin=pin)
        return verify_answer(ask(party, body), public_keys(party)).trial

    assert not trial(10, pin=False)
    party.policy.web = replace(WEB, release_gate=False)
    assert not trial(11, pin=True)
    party.policy.web = WEB
    party.world.vault.put("web", make_bundle(pin_id=""), NOW + 1)
    assert not trial(12, pin=True)
    party.world.vault.put("web", make_bundle(), NOW + 2)
    assert trial(13, pin=True)


def test_rotation_of_answer_keys_uses_the_one_that_the_instance_pins(party: Party, published: int) -> None:
    old, new = generate_key(), generate_key()
    keys = type(party.world.keys)((new, old))
    party.world = replace(party.world, keys=keys)
    kids = {PublicJwk.from_key(key.public_key()).thumbprint: key for key in (old, new)}
    asker = party.asker()
    for kid, key in kids.items():
        verify_answer(ask(party, asker.ask(trust=(kid, "A" * 43))), [key.public_key()])
    verify_answer(ask(party, asker.ask(trust=tuple(kids))), [new.public_key()])


ORDER: list[tuple[str, Callable[[Party, Assertion], Assertion]]] = [
    ("V4 audience", lambda _party, request: replace(request, aud="hsm-enrol:x", eat_nonce="A" * 43, trust=("A" * 43,))),
    ("V4 nonce_not_ours", lambda _party, request: replace(request, eat_nonce="A" * 43, trust=("A" * 43,))),
    ("V4 trust", lambda _party, request: replace(request, trust=("A" * 43,), iid="A" * 64)),
]


@pytest.mark.parametrize(("detail", "change"), ORDER)
def test_cheap_checks_come_first(party: Party, detail: str, change: Callable[[Party, Assertion], Assertion]) -> None:
    party.aws.iid_says = Refusal("evidence_invalid", "V5 signature")
    asker = party.asker()
    assert refused(party, sign_assertion(change(party, asker.request()), asker.key)).detail == detail


def report(party: Party, asker: Asker, nonce: str, serial: int, *, result: str, pin: str) -> None:
    told = Note(
        instance_id=INSTANCE,
        owner=asker.jwk.thumbprint,
        serial=serial,
        nonce=nonce,
        result=result,
        code=None,
        pin=pin,
    )
    note(party.world.store, told)


def public_keys(party: Party) -> list[ec.EllipticCurvePublicKey]:
    key = party.world.keys.choose(party.world.keys.kids)
    assert key is not None
    return [key.public_key()]
