"""Every attack A1 to A22 of docs/threat-model.md, tried twice: against the defence, and with the defence taken out.

Each test says what goes through; `Attacked.outcome` insists that it does so exactly when the defence is not there. So
a test whose attack would fail anyway, or whose defence has gone, is red.
"""

import base64
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms

from hsm_enrol import ask
from hsm_enrol.errors import EnrolError
from hsm_enrol.host import courier as courier_module
from hsm_enrol.host import exchange, http_client, metadata, state
from hsm_enrol.host import heard as heard_module
from hsm_enrol.host.courier import Courier, Outgoing
from hsm_enrol.host.imds import Imds
from hsm_enrol.host.retry import Deadline
from hsm_enrol.settings import VerifierSettings
from hsm_enrol.wire import answer as answers
from hsm_enrol.wire import assertion as assertions
from hsm_enrol.wire import bundle as bundles
from hsm_enrol.wire import claims as claims_of_wire
from hsm_enrol.wire import strict, sts
from hsm_enrol.wire.answer import make_answer
from hsm_enrol.wire.assertion import Assertion, verify_assertion
from hsm_enrol.wire.bundle import Bundle, Server
from hsm_enrol.wire.keys import PublicJwk, generate_key, private_from_pem
from hsm_enrol.wire.messages import ASSERTION_TYPE, MAX_ANSWER
from hsm_verifier import app, decide, policy, policy_checks, request_checks
from hsm_verifier.evidence import caller_identity, iid
from hsm_verifier.evidence.caller_identity import CallerIdentity, StsClient
from hsm_verifier.inventory import ec2
from hsm_verifier.ledger import rows
from hsm_verifier.limits import Sources
from hsm_verifier.refusal import Refusal
from hsm_verifier.settings import load_settings
from lab import bad_party, pki
from lab.bad_party import BadParty, Orders
from lab.imds import Faults, ImdsServer
from tests.adversary.agent import agent, asks
from tests.adversary.documents import forged
from tests.adversary.party import Subject
from tests.adversary.site import Site
from tests.adversary.within import Within, make_within
from tests.verifier.party import make_bundle

GROUPS = {
    "office": 'source = { mode = "enforce" }',
    "documented": 'level = "iid"\naccept_unbound_evidence = true',
    "modern": 'http_tokens = "required"',
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("attacks"), groups=GROUPS)
    made.publish_all()
    yield made
    made.stop()


@dataclass
class Attacked:
    """The site under attack; `defended` says whether the defence is there this time."""

    site: Site
    party: Within
    patch: pytest.MonkeyPatch
    defended: bool

    def launch(self, role: str = "web-instance", **more: Any) -> Subject:
        return replace(self.site.launch(role, **more), party=self.party)

    def without(self, place: Any, name: str, instead: Any) -> None:
        """Take the defence out, in the runs that are without it."""
        if not self.defended:
            self.patch.setattr(place, name, instead)

    def outcome(self, *, went_through: bool) -> None:
        said = "the defence has gone" if self.defended else "no attack at all"
        assert went_through is not self.defended, (said, *self.site.audit()[-1:])


@pytest.fixture(params=["defended", "defence taken out"])
def attacked(request: pytest.FixtureRequest, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attacked]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of no worth")
    with make_within(load_settings(site.config), site.party()) as party:
        yield Attacked(site, party, monkeypatch, defended=request.param == "defended")


class Alike:
    """LEVELS that are all alike."""

    @staticmethod
    def index(_level: str) -> int:
        return 0


def served(subject: Subject, request: Assertion) -> bool:
    """Whether the asker got a bundle that it can open."""
    reply = subject.party.enrol(subject.sign(request))
    return reply.status == 200 and subject.opened(request, reply) is not None


def alarms(site: Site) -> list[dict[str, Any]]:
    return [line for line in site.audit() if line.get("alarm")]


def test_a1_an_insider_who_can_read_every_field_gets_nothing(attacked: Attacked) -> None:
    attacked.without(request_checks, "LEVELS", Alike)
    victim = attacked.launch()
    insider = victim.with_another_key()
    attacked.outcome(went_through=served(insider, insider.request(identity_role=None, iid=None)))


def test_a2_an_insider_who_names_a_session_like_the_victim_gets_nothing(attacked: Attacked) -> None:
    victim, own = attacked.launch(), attacked.launch()
    minted = attacked.site.aws.sts.minted
    name = own.identity.credentials.access_key_id
    session = f"arn:aws:sts::{attacked.site.aws.account_id}:assumed-role/web-instance/{victim.id}"
    minted[name] = replace(minted[name], arn=session)
    read = caller_identity.read_answer

    def by_session_name_only(status: int, body: bytes) -> CallerIdentity:
        said = read(status, body)
        return replace(said, arn=said.arn.replace("assumed-role/web-instance/", "assumed-role/aws:ec2-instance/"))

    attacked.without(caller_identity, "read_answer", by_session_name_only)
    insider = Subject(victim.party, replace(victim.identity, credentials=own.identity.credentials))
    attacked.outcome(went_through=served(insider, insider.request()))


def test_a3_a_copied_identity_document_alone_releases_nothing(attacked: Attacked) -> None:
    attacked.without(request_checks, "LEVELS", Alike)
    victim = attacked.launch()
    thief = victim.with_another_key()
    attacked.outcome(went_through=served(thief, thief.request(identity_role=None)))


def test_a4_a_captured_proof_is_worth_nothing_with_another_key(attacked: Attacked) -> None:
    attacked.without(assertions, "binding", lambda **_parts: "A" * 43)
    victim = attacked.launch()
    captured = victim.request()
    thief = victim.with_another_key()
    request = thief.request(eat_nonce=captured.eat_nonce, jti=captured.jti, identity_role=captured.identity_role)
    attacked.outcome(went_through=served(thief, request))


def test_a4_a_captured_assertion_sent_again_opens_for_its_author_alone(attacked: Attacked) -> None:
    victim = attacked.launch()
    request = victim.request()
    body = victim.sign(request)
    assert victim.opened(request, victim.party.enrol(body)) is not None
    thief = victim.with_another_key()
    # The defence is the seal: without it the bundle would stand in the answer for whoever asks.
    attacked.without(type(request.seal), "seal", lambda _self, plaintext, _info: plaintext)
    reply = victim.party.enrol(body)
    assert reply.status == 200
    payload = json.loads(base64.urlsafe_b64decode(reply.body.split(b".")[1] + b"=="))
    sealed = base64.urlsafe_b64decode(payload["sealed"] + "==")
    assert thief.party.enrol(body).status == 200
    attacked.outcome(went_through=b"PRIVATE KEY" in sealed)


def test_a5_no_text_of_the_asker_chooses_where_the_proof_is_sent(attacked: Attacked) -> None:
    asked: list[str] = []

    async def send(_self: StsClient, host: str, _headers: Any) -> tuple[int, bytes]:
        asked.append(host)
        raise Refusal("upstream_busy", "V8 recorded")

    attacked.patch.setattr(StsClient, "_send", send)
    subject = attacked.launch()
    good = subject.request()
    assert good.identity_role is not None
    evil = "evil.example#eu-central-1"
    attacked.without(claims_of_wire, "REGION", r".*")
    attacked.without(sts, "REGION", re.compile(r".*"))
    attacked.without(sts, "HOST", re.compile(r".*"))
    attacked.without(policy.Policy, "lowest_level", lambda *_: "identity-role")
    payload = json.loads(good.to_payload())
    payload["instance"]["region"] = payload["submods"]["identity-role"]["region"] = evil
    subject.party.enrol(subject.sign_payload(json.dumps(payload).encode()))
    attacked.outcome(went_through=any("evil.example" in host for host in asked))


@pytest.mark.parametrize("change", ["another signer", "other content", "two signers"])
def test_a6_a_document_that_aws_did_not_sign_names_nobody(attacked: Attacked, change: str) -> None:
    victim = attacked.launch("documented")

    def unverified(der: bytes, _key: Any) -> bytes:
        content: bytes = cms.ContentInfo.load(der)["content"]["encap_content_info"]["content"].native
        return content

    attacked.without(iid, "signed_content", unverified)
    document = forged(victim.identity.rsa2048, change)
    claims = victim.identity.instance
    if change == "other content":
        claims = replace(claims, image_id=claims.image_id.replace("ami-0", "ami-1"))
        machine = attacked.site.aws.api.records[victim.id]
        machine.machine = replace(machine.machine, image_id=claims.image_id)
    thief = victim.with_another_key()
    request = thief.request(identity_role=None, iid=document, instance=claims)
    attacked.outcome(went_through=served(thief, request))


def test_a7_an_instance_whose_metadata_any_proxy_can_read_is_not_admitted(attacked: Attacked) -> None:
    attacked.without(policy_checks, "members", lambda *_: [])
    subject = attacked.launch("modern", arrange=lambda record: setattr(record, "http_tokens", "optional"))
    attacked.outcome(went_through=served(subject, subject.request()))


def test_a7_a_metadata_service_without_tokens_is_not_believed(attacked: Attacked) -> None:
    """A proxy that passes GETs on passes no PUT on; the agent never asks without a token."""
    attacked.without(metadata.Metadata, "_new_token", lambda _self: "none")
    with ImdsServer(faults=Faults(status={"token": 405})) as server:
        attacked.patch.setattr(server, "use_token", lambda _token: True)
        asker = Imds(server.endpoint, deadline=Deadline(2), rng=random.Random(), sleep=lambda _seconds: None)
        try:
            went_through = asker.fetch_instance_id() == server.machine.instance_id
        except EnrolError:
            went_through = False
        finally:
            asker.close()
    attacked.outcome(went_through=went_through)


def test_a8_a_cotenant_that_comes_second_gets_nothing_and_raises_an_alarm(attacked: Attacked) -> None:
    agent_process = attacked.launch()
    agent_process.served()
    attacked.without(rows, "is_owner", lambda *_: True)
    cotenant = agent_process.with_another_key()
    before = len(alarms(attacked.site))
    attacked.outcome(went_through=served(cotenant, cotenant.request()))
    assert len(alarms(attacked.site)) - before == (1 if attacked.defended else 0)


def test_a9_a_second_key_after_success_is_refused_with_both_keys_in_the_alarm(attacked: Attacked) -> None:
    owner = attacked.launch()
    answer = owner.served()
    assert owner.told(answer).status == 204
    attacked.without(rows, "use_grant", lambda *_: True)
    other = owner.with_another_key()
    attacked.outcome(went_through=served(other, other.request()))
    if attacked.defended:
        line = alarms(attacked.site)[-1]
        names = [PublicJwk.from_key(one.key.public_key()).thumbprint for one in (other, owner)]
        assert [line["owner"], line["served_to"]] == names


def test_a10_an_address_that_the_asker_wrote_itself_does_not_count(attacked: Attacked) -> None:
    victim = attacked.launch("office")
    attacked.without(app, "client_of", lambda peer, forwarded, _hops: (*forwarded, peer)[0])
    address = victim.identity.instance.local_ipv4
    assert address is not None
    reply = victim.party.ask(
        "POST",
        "/v1/enrolments",
        victim.sign(victim.request()),
        {"content-type": ASSERTION_TYPE, "x-forwarded-for": address},
    )
    attacked.outcome(went_through=reply.status == 200)


def test_a11_a_clone_that_brings_the_owner_key_along_is_refused(attacked: Attacked) -> None:
    original = attacked.launch()
    original.served()
    made = decide.make_claim

    def per_instance(*found: Any) -> rows.Claim:
        claim = made(*found)
        return replace(claim, owner=base64.urlsafe_b64encode((claim.instance_id + claim.owner).encode())[:43].decode())

    attacked.without(decide, "make_claim", per_instance)
    clone = Subject(original.party, attacked.launch().identity, key=original.key)
    attacked.outcome(went_through=served(clone, clone.request()))


def test_a11_a_cloned_disk_starts_with_a_key_of_its_own(attacked: Attacked, tmp_path: Path) -> None:
    root = str(tmp_path)
    (tmp_path / "var/lib").mkdir(parents=True)
    original = state.owner_for("i-0123456789abcdef0", root)
    read = state.read_owner
    attacked.without(
        state,
        "read_owner",
        lambda at="": replace(found, instance_id="i-0fedcba9876543210") if (found := read(at)) else None,
    )
    clone = state.owner_for("i-0fedcba9876543210", root)
    attacked.outcome(went_through=clone.thumbprint == original.thumbprint)


def rogue(key: Any, bundle: Bundle | bytes) -> Callable[[bytes], bytes]:
    """Somebody who ends the asker's TLS and answers by himself, with a signing key of his choice."""

    def give(compact: bytes) -> bytes:
        content = bundle if isinstance(bundle, bytes) else bundle.to_bytes()
        serial = json.loads(content)["serial"]
        return make_answer(
            verify_assertion(compact), serial=serial, iat=int(time.time()), bundle=content, trial=False, key=key
        )

    return give


def taken_by_agent(subject: Subject, root: Path, give: Callable[[bytes], bytes], *, newest: int | None = None) -> bool:
    """Whether the agent takes what it was given for its verifier's bundle."""
    try:
        return asks(subject, root, give, newest=newest).bundle is not None
    except EnrolError:
        return False


def test_a12_a_party_in_the_middle_cannot_answer(attacked: Attacked, tmp_path: Path) -> None:
    key = generate_key()
    attacked.without(ask, "answer_keys", lambda _settings: (key.public_key(),))
    went_through = taken_by_agent(attacked.launch(), tmp_path, rogue(key, make_bundle()))
    attacked.outcome(went_through=went_through)


def test_a12_a_forged_current_does_not_keep_an_instance_from_its_rotation(attacked: Attacked, tmp_path: Path) -> None:
    key = generate_key()
    attacked.without(ask, "answer_keys", lambda _settings: (key.public_key(),))

    def nothing_newer(compact: bytes) -> bytes:
        return make_answer(verify_assertion(compact), serial=8, iat=1, bundle=None, trial=False, key=key)

    try:
        went_through = asks(attacked.launch(), tmp_path, nothing_newer, newest=8).bundle is None
    except EnrolError:
        went_through = False
    attacked.outcome(went_through=went_through)


def test_a12_an_answer_to_another_request_is_not_taken(attacked: Attacked, tmp_path: Path) -> None:
    subject = attacked.launch()
    kept = answers.open_answer

    def whichever(answer: Any, request: Any, seal: Any) -> Any:
        same = replace(request, jti=answer.jti, eat_nonce=answer.nonce, sub=answer.sub)
        return kept(answer, same, seal)

    attacked.without(ask, "open_answer", whichever)
    key = signing_key(attacked.site)

    def relayed(compact: bytes) -> bytes:
        request = replace(verify_assertion(compact), jti="A" * 22)
        return make_answer(
            request, serial=5, iat=1, bundle=replace(make_bundle(), serial=5).to_bytes(), trial=False, key=key
        )

    attacked.outcome(went_through=taken_by_agent(subject, tmp_path, relayed))


def signing_key(site: Site) -> Any:
    """The verifier's own key: from here on the verifier itself is the enemy, or has a bug."""
    return private_from_pem((site.folder / "secrets/answer-key-1.pem").read_bytes())


def poisoned(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A bundle with something in it that no honest verifier sends."""
    found = json.loads(make_bundle().to_bytes())
    change(found)
    return json.dumps(found).encode()


@pytest.mark.parametrize("name", ["../../../etc/cron.d/evil", "/etc/passwd", ".."])
def test_a13_a_bundle_names_no_path(attacked: Attacked, tmp_path: Path, name: str) -> None:
    attacked.without(bundles, "CLIENT_NAME", r".*")
    bad = poisoned(lambda found: found["client"].update(name=name))
    went_through = taken_by_agent(attacked.launch(), tmp_path, rogue(signing_key(attacked.site), bad))
    attacked.outcome(went_through=went_through)


def test_a14_an_answer_beyond_its_cap_is_not_read(attacked: Attacked, tmp_path: Path) -> None:
    attacked.without(courier_module, "MAX_ANSWER", 1 << 30)
    body = b"x" * (MAX_ANSWER + 1)
    with listening(tmp_path, enrolments=[bad_party.says(200, "application/jose", body)]) as (courier, _lines):
        attacked.outcome(went_through=heard(courier) == body)


def test_a14_an_answer_that_unpacks_itself_is_refused(attacked: Attacked, tmp_path: Path) -> None:
    bomb = b"not packed at all"
    attacked.without(http_client, "_cap", lambda _answer, _request: MAX_ANSWER)
    attacked.without(exchange, "_understood", lambda answer, _message: (answer.body, None))
    said = bad_party.says(200, "application/jose", bomb, content_encoding="gzip")
    with listening(tmp_path, enrolments=[said]) as (courier, _lines):
        attacked.outcome(went_through=heard(courier) != b"")


def test_a14_a_bundle_nested_without_end_is_refused(attacked: Attacked, tmp_path: Path) -> None:
    attacked.without(strict, "MAX_DEPTH", 10**6)
    seen: list[str] = []
    deep = poisoned(lambda found: found.update(more=nested(40)))
    parse = strict.parse_json

    def watching(data: bytes) -> Any:
        found = parse(data)
        seen.append("parsed")
        return found

    attacked.patch.setattr(bundles, "parse_json", watching)
    taken_by_agent(attacked.launch(), tmp_path, rogue(signing_key(attacked.site), deep))
    attacked.outcome(went_through=seen == ["parsed"])


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


def test_a15_an_error_text_cannot_write_on_the_terminal(attacked: Attacked, tmp_path: Path) -> None:
    attacked.without(heard_module, "printable", lambda text: text)
    evil = "ok\x1b]0;owned\x07\x9b2J\u202ehidden\nhsm-enrol: nothing to do"
    said = bad_party.problem("not_admitted", 403, detail=evil)
    with listening(tmp_path, enrolments=[said]) as (courier, lines):
        assert heard(courier) == b""
    text = "".join(lines)
    assert "not_admitted" in text
    attacked.outcome(went_through=any(sign in text for sign in "\x1b\x9b\u202e\n\x07"))


def test_a16_a_bundle_cannot_point_at_an_appliance_that_is_not_allowed(attacked: Attacked, tmp_path: Path) -> None:
    attacked.without(ask, "check_allowed", lambda *_: None)
    good = make_bundle()
    bad = replace(
        good, servers=(Server(address="hsm.evil.example", port=1792, certificate=good.servers[0].certificate),)
    )
    went_through = taken_by_agent(attacked.launch(), tmp_path, rogue(signing_key(attacked.site), bad))
    attacked.outcome(went_through=went_through)


@pytest.mark.parametrize("label", ["web\n  Evil = 1;", "a; }\nLunaSA Client = {", "web]"])
def test_a16_a_bundle_cannot_write_a_line_of_its_own_into_the_conf(
    attacked: Attacked, tmp_path: Path, label: str
) -> None:
    attacked.without(bundles, "LABEL", r"(?s).*")
    bad = poisoned(lambda found: found["ha"].update(label=label))
    went_through = taken_by_agent(attacked.launch(), tmp_path, rogue(signing_key(attacked.site), bad))
    attacked.outcome(went_through=went_through)


def test_a16_a_certificate_and_a_key_that_are_no_pair_are_refused(attacked: Attacked, tmp_path: Path) -> None:
    attacked.without(ask, "check_bundle", lambda *_: None)
    other = pki.self_signed(pki.name(CN="web"), pki.ec_key())
    bad = poisoned(lambda found: found["client"].update(private_key=other.key_pem))
    went_through = taken_by_agent(attacked.launch(), tmp_path, rogue(signing_key(attacked.site), bad))
    attacked.outcome(went_through=went_through)


def test_a17_the_strong_proof_cannot_be_left_out(attacked: Attacked) -> None:
    attacked.without(request_checks, "LEVELS", Alike)
    subject = attacked.launch()
    attacked.outcome(went_through=served(subject, subject.request(identity_role=None)))


def test_a17_a_document_from_before_the_last_start_is_a_replay(attacked: Attacked) -> None:
    victim = attacked.launch("documented")
    victim.served()
    machine = attacked.site.aws.api.records[victim.id].machine
    old = attacked.site.read(attacked.site.aws.vouch(replace(machine, pending_time="2026-01-01T00:00:00Z"))).rsa2048
    attacked.without(decide, "check_pending_time", lambda *_: None)
    attacked.outcome(went_through=served(victim, victim.request(identity_role=None, iid=old)))


def test_a17_an_older_bundle_is_not_taken_for_news(attacked: Attacked, tmp_path: Path) -> None:
    kept = ask.Asker._open
    attacked.without(ask.Asker, "_open", lambda self, compact, keys, _newest: kept(self, compact, keys, None))
    old = rogue(signing_key(attacked.site), replace(make_bundle(), serial=7))
    attacked.outcome(went_through=taken_by_agent(attacked.launch(), tmp_path, old, newest=8))


def test_a18_made_up_ids_cost_no_call_to_ec2(attacked: Attacked) -> None:
    attacked.without(StsClient, "ask", lambda *_: None)
    subject = attacked.launch()
    before = attacked.site.aws.api.seen.total()
    for number in range(5):
        made_up = replace(subject.identity, instance_id=f"i-{number:017x}")
        ghost = Subject(subject.party, made_up)
        assert ghost.party.enrol(ghost.sign(ghost.request(iid=None))).status in {403, 503}
    attacked.outcome(went_through=attacked.site.aws.api.seen.total() > before)


def test_a18_one_source_cannot_make_us_ask_aws_without_end(attacked: Attacked) -> None:
    attacked.without(Sources, "wait_for", lambda *_: 0.0)
    settings = load_settings(attacked.site.config)
    usual = replace(
        settings, server=replace(settings.server, wide_sources=(), burst_per_source=4, requests_per_source=0.01)
    )
    with make_within(usual, attacked.site.party()) as within:
        party = replace(within, source="203.0.113.9")
        subject = replace(attacked.launch(), party=party)
        bodies = [subject.sign(subject.request(eat_nonce=attacked.party.challenge().nonce)) for _ in range(6)]
        forged_bodies = [subject.sign(replace(verify_assertion(body), jti="A" * 22)) for body in bodies]
        before = attacked.site.aws.sts.seen.total()
        replies = [party.enrol(body).status for body in forged_bodies]
    attacked.outcome(went_through=attacked.site.aws.sts.seen.total() - before > 4)
    assert replies.count(429) == (2 if attacked.defended else 0)


def test_a19_nothing_on_disk_opens_an_answer_that_is_under_way(attacked: Attacked, tmp_path: Path) -> None:
    noted = state.note_pending
    held: list[ask.Asker] = []

    def with_the_key_beside(root: str, **facts: str) -> None:
        noted(root, **facts)
        (Path(root) / "run/hsm-enrol/seal").write_bytes(seal_of(held))

    attacked.without(ask, "note_pending", with_the_key_beside)
    found: list[Path] = []

    def give(compact: bytes) -> bytes:
        secret = seal_of(held)
        spelt = [
            secret,
            *(one(secret).rstrip(b"=") for one in (base64.b64encode, base64.urlsafe_b64encode)),
            secret.hex().encode(),
        ]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert any(path.name == "pending.json" for path in files)
        found.extend(path for path in files if any(one in path.read_bytes() for one in spelt))
        return attacked.party.enrol(compact).body

    held.append(agent(attacked.launch(), tmp_path, give))
    assert held[0].ask(ask.Question(reason="boot", have=None, pin=False), newest=None).bundle is not None
    attacked.outcome(went_through=bool(found))


def seal_of(held: list[ask.Asker]) -> bytes:
    """The seal key of the run under way."""
    seal = held[0]._seal
    assert seal is not None
    return seal.secret


def test_a20_a_slot_that_an_attacker_took_first_is_given_back_by_a_counted_grant(attacked: Attacked) -> None:
    agent_process = attacked.launch()
    attacker = agent_process.with_another_key()
    attacker.served()
    assert agent_process.enrol().reason == "already_enrolled"
    attacked.site.command("grant", agent_process.id, "--reason", "an attacker was first")
    attacked.without(rows, "use_grant", lambda *_: False)
    locked_out = agent_process.enrol().status != 200
    assert attacker.enrol().status == (409 if attacked.defended else 200)
    attacked.outcome(went_through=locked_out)


LOOK = """
import ctypes, resource, sys
from hsm_enrol.cli import main as cli
def look(_args, _voice):
    print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    return 0
cli._run = look
"""


def test_a21_the_agents_memory_is_in_no_core_file_and_readable_by_no_neighbour(attacked: Attacked) -> None:
    taken_out = "" if attacked.defended else "cli.leave_no_trace = lambda: None\n"
    code = f"{LOOK}{taken_out}sys.exit(cli.main(['status']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    attacked.outcome(went_through=ran.stdout.split() != ["0", "0"])


def test_a22_credentials_of_a_terminated_instance_open_nothing(attacked: Attacked) -> None:
    facts = ec2.facts_of
    attacked.without(ec2, "facts_of", lambda *found: replace(facts(*found), state="running"))
    subject = attacked.launch(arrange=lambda record: setattr(record, "state", "terminated"))
    attacked.outcome(went_through=served(subject, subject.request()))


class listening:  # noqa: N801  read as a verb
    """A bad party on loopback and the agent's courier beside it; gives the courier and the lines it shows."""

    def __init__(self, folder: Path, **orders: Any) -> None:
        authority = pki.authority("lab")
        (folder / "ca.pem").write_text(authority.certificate_pem)
        self.party = BadParty(folder, pki.server(authority, ["127.0.0.1"]), Orders(**orders))
        self.folder = folder

    def __enter__(self) -> tuple[Courier, list[str]]:
        self.party.__enter__()
        lines: list[str] = []
        settings = VerifierSettings(
            urls=(self.party.url,), audience="a", ca_file=str(self.folder / "ca.pem"), answer_keys=("/k",)
        )
        self.courier = Courier(
            settings,
            root="",
            deadline=Deadline(5),
            rng=random.Random(1),
            sleep=lambda _seconds: None,
            on_exchange=lines.append,
        )
        return self.courier, lines

    def __exit__(self, *_: object) -> None:
        self.courier.close()
        self.party.stop()


def heard(courier: Courier) -> bytes:
    """What the courier brings back, b"" when it refuses to."""
    try:
        return courier.ask(lambda _challenge, _now: Outgoing(compact=b"a", instance="i-0", thumbprint="t"))
    except EnrolError:
        return b""
