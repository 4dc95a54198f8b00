"""Break each MUST of docs/protocol.md once, from outside, against a running verifying party over TLS.

Without options a real `hsm-verifier serve` is started, with the laboratory's AWS behind it. With `--party-url URL` any
other party is asked, described by `--party-json FILE`; what needs a hand on that party's AWS or policy is skipped then.
"""

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hsm_enrol.settings import load
from hsm_enrol.wire import jws
from hsm_enrol.wire.answer import Answer, verify_answer
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.binding import lp
from hsm_enrol.wire.keys import PublicJwk, generate_key, public_from_pem
from hsm_enrol.wire.messages import ASSERTION_TYPE, MAX_ASSERTION, RECEIPT_TYPE
from hsm_enrol.wire.seal import KEMS, SealPrivateKey
from hsm_enrol.wire.strict import b64u_encode
from tests.adversary import breaks
from tests.adversary.documents import FORGERIES, forged
from tests.adversary.party import Party, Reply, Subject, identity_at, pause
from tests.adversary.site import NO_LIMIT, Site
from tests.verifier.party import make_bundle

GROUPS = {
    "pinned": "",
    "office": 'source = { mode = "enforce" }',
    "slow": 'windows = { since_start = "15min" }',
    "old": 'windows = { since_start = "off", since_creation = "1h" }',
    "relaunched": 'lost_key = "relaunched"',
    "documented": "demand_iid = true",
    "federal": 'kems = ["p256"]',
}
SHORT = {"header_timeout": "1.0", "body_timeout": "1.0"}
LONGEST_WAIT = 45  # seconds within which any party must have given up on a silent asker


@dataclass
class Bench:
    """The party under test; `site` when it is our own. Gives subjects: fresh ones as long as there are any."""

    party: Party
    site: Site | None = None
    elsewhere: list[str] = field(default_factory=list)

    def launch(self, role: str = "web-instance", **more: Any) -> Subject:
        """An instance that was never served. With another party only those that were named are there."""
        if self.site is not None:
            return self.site.launch(role, **more)
        if role != "web-instance" or more or not self.elsewhere:
            pytest.skip("needs another instance, or a hand on this party's AWS or policy")
        return Subject(self.party, identity_at(self.elsewhere.pop(0)))

    def own(self) -> Site:
        """Our own site, for what needs a hand on it."""
        if self.site is None:
            pytest.skip("needs a hand on this party's AWS or policy")
        return self.site


def bench_elsewhere(url: str, path: Path) -> Bench:
    """Read what `make lab` wrote."""
    told = json.loads(path.read_text())
    settings, root = load(told["config"]), told.get("root", "")

    def place(name: str) -> Path:
        return next(one for one in (Path(f"{root}{name}"), Path(name)) if one.exists())

    imds = told["imds"]
    return Bench(
        Party(
            url=url.rstrip("/"),
            ca_file=place(settings.verifier.ca_file),
            audience=settings.verifier.audience,
            answer_keys=tuple(public_from_pem(place(one).read_bytes()) for one in settings.verifier.answer_keys),
        ),
        elsewhere=[imds] if isinstance(imds, str) else list(imds),
    )


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    url = request.config.getoption("--party-url")
    if url:
        yield bench_elsewhere(url, Path(request.config.getoption("--party-json")))
        return
    site = Site(tmp_path_factory.mktemp("conformance"), groups=GROUPS, server=NO_LIMIT | SHORT)
    try:
        site.publish_all()
        site.publish("pinned", make_bundle())
        site.start()
        yield Bench(site.party(), site)
    finally:
        site.stop()


@pytest.fixture(scope="module")
def subject(bench: Bench) -> Subject:
    """The instance on whose behalf rules are broken; it is served last of all, by the control."""
    return bench.launch()


@pytest.fixture(scope="module")
def good(subject: Subject) -> Assertion:
    """The request that is broken in one place each time. Unbroken it is served: the control below shows that."""
    return subject.request()


@dataclass(frozen=True, kw_only=True)
class Aged:
    """Two instances served early, so that the verifier's short memory of what EC2 said of them is over later."""

    taken: Subject
    confirmed: Subject
    until: float


@pytest.fixture(scope="module")
def aged(bench: Bench) -> Aged:
    taken, confirmed = (bench.own().launch("relaunched") for _ in range(2))
    taken.served()
    other = taken.with_another_key()
    refused(bench.party, other.sign(other.request()), "already_enrolled")
    assert confirmed.told(confirmed.served()).status == 204
    return Aged(taken=taken, confirmed=confirmed, until=time.monotonic() + 6)


def refused(party: Party, body: bytes, *reasons: str) -> Reply:
    reply = party.enrol(body)
    assert reply.reason in reasons, (reply.status, reply.body)
    return reply


# --- encodings


def cases(rule: str, table: breaks.Table) -> pytest.MarkDecorator:
    """One test each, the rule in its id."""
    return pytest.mark.parametrize("break_it", [pytest.param(one, id=f"{rule} {name}") for name, one in table.items()])


@cases("E1", breaks.E1)
def test_e1_base64url_has_one_spelling(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@cases("E2", breaks.E2)
def test_e2_a_jws_is_three_parts_and_one_header(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@cases("E3", breaks.E3)
def test_e3_a_signature_is_64_bytes_in_range_and_fits(
    subject: Subject, good: Assertion, break_it: breaks.Break
) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@cases("E4", breaks.E4)
def test_e4_json_has_one_reading(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@cases("E5", breaks.E5)
def test_e5_nothing_read_before_the_signature_counts(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@cases("E6", breaks.E6)
def test_e6_a_jwk_is_four_members_on_the_curve(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@cases("E7", breaks.E7)
def test_e7_texts_match_wholly_and_in_ascii(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


# --- V1


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("enrolments", {"content-type": "application/json"}),
        ("enrolments", {"content-type": RECEIPT_TYPE}),
        ("enrolments", {"content-type": ASSERTION_TYPE, "content-encoding": "gzip"}),
        ("receipts", {"content-type": ASSERTION_TYPE}),
    ],
)
def test_v1_another_media_type_or_packing_is_refused(bench: Bench, path: str, headers: dict[str, str]) -> None:
    assert bench.party.ask("POST", f"/v1/{path}", b"a.b.c", headers).reason == "malformed"


@pytest.mark.parametrize(("path", "kind"), [("enrolments", ASSERTION_TYPE), ("receipts", RECEIPT_TYPE)])
def test_v1_more_than_the_cap_is_refused(bench: Bench, path: str, kind: str) -> None:
    reply = bench.party.ask("POST", f"/v1/{path}", b"x" * (MAX_ASSERTION + 1), {"content-type": kind})
    assert (reply.status, reply.reason) == (413, "too_large")


def test_v1_a_length_beyond_the_cap_is_refused_before_the_body(bench: Bench) -> None:
    with connect(bench) as sock:
        sock.sendall(head("enrolments", ASSERTION_TYPE, "Content-Length: 99999999"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_v1_a_body_without_a_length_is_cut_off_at_the_cap(bench: Bench) -> None:
    with connect(bench) as sock, contextlib.suppress(OSError):
        sock.sendall(head("enrolments", ASSERTION_TYPE, "Transfer-Encoding: chunked"))
        for _ in range(4):
            sock.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"GET /v1/challenge HTTP/1.1\r\nHost: x\r\n", id="headers"),
        pytest.param(
            f"POST /v1/enrolments HTTP/1.1\r\nHost: x\r\nContent-Type: {ASSERTION_TYPE}\r\n"
            "Content-Length: 9\r\n\r\nab".encode(),
            id="body",
        ),
    ],
)
def test_v1_a_silent_asker_is_cut_off(bench: Bench, first: bytes) -> None:
    with connect(bench) as sock:
        sock.sendall(first)
        sock.settimeout(LONGEST_WAIT)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while sock.recv(4096):
                pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1])
def test_v1_tls_before_1_2_is_refused(bench: Bench, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = version
    with (
        socket.create_connection(address(bench), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw)


def address(bench: Bench) -> tuple[str, int]:
    parts = urlsplit(bench.party.url)
    assert parts.hostname is not None
    return parts.hostname, parts.port or 443


def connect(bench: Bench) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(bench.party.ca_file))
    raw = socket.create_connection(address(bench), timeout=10)
    return context.wrap_socket(raw, server_hostname=address(bench)[0])


def head(path: str, kind: str, *more: str) -> bytes:
    lines = [f"POST /v1/{path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *more, "", ""]
    return "\r\n".join(lines).encode()


# --- V2 to V4: what the message alone shows


@cases("V2", breaks.V2)
def test_v2_the_schema_is_closed(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    # No kem is also a kem that is not supported: a party may say either.
    refused(subject.party, break_it(subject, good), "malformed", "unsupported")


@cases("V3", breaks.v3(SealPrivateKey.generate(KEMS[0]).public.raw, SealPrivateKey.generate(KEMS[1]).public.raw))
def test_v3_a_seal_key_must_work(subject: Subject, good: Assertion, break_it: breaks.Break) -> None:
    refused(subject.party, break_it(subject, good), "malformed")


@pytest.mark.parametrize(
    ("path", "value"), [(("eat_profile",), "tag:hsm-enrol,2026:assertion/2"), (("seal", "kem"), "rot13")]
)
def test_v4_another_profile_or_kem_is_unsupported(
    subject: Subject, good: Assertion, path: tuple[str, ...], value: str
) -> None:
    refused(subject.party, breaks.put(*path, value)(subject, good), "unsupported")


def test_v4_another_audience_is_unsupported(subject: Subject, good: Assertion) -> None:
    other = subject.proven(replace(good, aud="hsm-enrol:another"))
    refused(subject.party, subject.sign(other), "unsupported")


@pytest.mark.parametrize(
    "change", [lambda nonce: nonce[:-1] + "AB"[nonce[-1] == "A"], lambda _: "n" * 43, lambda nonce: nonce[::-1]]
)
def test_v4_a_nonce_that_was_not_given_is_stale(
    subject: Subject, good: Assertion, change: Callable[[str], str]
) -> None:
    other = subject.proven(replace(good, eat_nonce=change(good.eat_nonce)))
    refused(subject.party, subject.sign(other), "nonce_stale")


@pytest.mark.parametrize(("name", "value"), [("account_id", "999999999999"), ("region", "eu-west-8")])
def test_v4_an_account_or_region_that_is_nobodys_is_refused(
    subject: Subject, good: Assertion, name: str, value: str
) -> None:
    instance = replace(good.instance, **{name: value})
    refused(subject.party, subject.sign(replace(good, instance=instance)), "evidence_invalid")


@pytest.mark.parametrize("keep_document", [True, False])
def test_v4_weaker_evidence_than_the_policy_wants_is_missing(
    subject: Subject, good: Assertion, *, keep_document: bool
) -> None:
    weaker = replace(good, identity_role=None, iid=good.iid if keep_document else None)
    refused(subject.party, subject.sign(weaker), "evidence_missing")


def test_v4_evidence_of_another_region_is_refused(subject: Subject, good: Assertion) -> None:
    assert good.identity_role is not None
    other = replace(good, identity_role=replace(good.identity_role, region="us-east-1"))
    refused(subject.party, subject.sign(other), "evidence_invalid")


@pytest.mark.parametrize("seconds", [-3600, -330, 330, 3600, 10**9])
def test_v4_a_date_five_minutes_off_is_clock_skew_with_the_true_time(
    subject: Subject, good: Assertion, seconds: int
) -> None:
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + seconds))
    told = refused(subject.party, subject.sign(subject.proven(good, date=date)), "clock_skew").problem
    assert told.server_time is not None
    assert abs(told.server_time - time.time()) < 60


def test_v4_an_asker_that_pins_another_answer_key_is_told_before_anything_is_taken(
    subject: Subject, good: Assertion
) -> None:
    refused(subject.party, subject.sign(replace(good, trust=("A" * 43,))), "unsupported")


# --- V5, V6: the identity document


@pytest.mark.parametrize("change", [pytest.param(one, id=f"V5 {one}") for one in FORGERIES])
def test_v5_a_document_that_aws_did_not_sign_is_refused(subject: Subject, good: Assertion, change: str) -> None:
    other = replace(good, iid=forged(good.iid or "", change))
    refused(subject.party, subject.sign(other), "evidence_invalid")


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_id", "ami-0fedcba9876543210"), ("instance_type", "m7i.metal"), ("local_ipv4", "10.9.9.9")],
)
def test_v6_a_claim_that_the_document_contradicts_is_refused(
    subject: Subject, good: Assertion, name: str, value: str
) -> None:
    instance = replace(good.instance, **{name: value})
    refused(subject.party, subject.sign(replace(good, instance=instance)), "evidence_invalid")


def test_v6_another_instances_document_is_refused(bench: Bench, subject: Subject, good: Assertion) -> None:
    other = bench.own().launch().identity.rsa2048
    refused(subject.party, subject.sign(replace(good, iid=other)), "evidence_invalid")


def test_v6_a_document_older_than_one_already_shown_is_refused(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    subject.served()
    machine = site.aws.api.records[subject.id].machine
    old = site.read(site.aws.vouch(replace(machine, pending_time="2026-01-01T00:00:00Z"))).rsa2048
    refused(bench.party, subject.sign(subject.request(iid=old)), "evidence_invalid")


# --- V8: AWS's word, for exactly this request


BOUND = {
    "audience": lambda one: replace(one, aud=one.aud + "x"),
    "nonce": lambda one: replace(one, eat_nonce=one.eat_nonce[::-1]),
    "jti": lambda one: replace(one, jti="A" * 22),
    "owner key": lambda one: replace(one, cnf=PublicJwk.from_key(generate_key().public_key())),
    "seal key": lambda one: replace(one, seal=SealPrivateKey.generate("p256").public),
    "instance": lambda one: replace(one, sub="i-0fedcba9876543210"),
}


@pytest.mark.parametrize("change", [pytest.param(one, id=f"V8 {name}") for name, one in BOUND.items()])
def test_v8_a_proof_bound_to_anything_else_is_refused(
    subject: Subject, good: Assertion, change: Callable[[Assertion], Assertion]
) -> None:
    other = subject.proven(good, binding=change(good).binding())
    refused(subject.party, subject.sign(other), "evidence_invalid")


def test_v8_the_binding_has_lengths_and_a_label(subject: Subject, good: Assertion) -> None:
    texts = [good.aud, good.eat_nonce, good.jti, good.cnf.thumbprint, good.seal.thumbprint, good.sub]
    for parts in (
        b"".join(one.encode() for one in ["hsm-enrol/1 binding", *texts]),
        lp(*(one.encode() for one in texts)),
    ):
        other = subject.proven(good, binding=b64u_encode(hashlib.sha256(parts).digest()))
        refused(subject.party, subject.sign(other), "evidence_invalid")


def test_v8_a_signature_by_other_credentials_is_refused(subject: Subject, good: Assertion) -> None:
    assert good.identity_role is not None
    other = replace(good, identity_role=replace(good.identity_role, signature="0" * 64))
    refused(subject.party, subject.sign(other), "evidence_invalid")
    other = replace(good, identity_role=replace(good.identity_role, access_key_id="ASIAAAAAAAAAAAAAAAAA"))
    refused(subject.party, subject.sign(other), "evidence_invalid")


def test_v8_another_instances_credentials_are_refused(bench: Bench, subject: Subject) -> None:
    other = bench.own().launch()
    mixed = Subject(bench.party, replace(subject.identity, credentials=other.identity.credentials), key=subject.key)
    refused(bench.party, mixed.sign(mixed.request()), "evidence_invalid")


def test_v8_a_role_that_somebody_can_assume_is_refused(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    minted = site.aws.sts.minted[subject.identity.credentials.access_key_id]
    arn = f"arn:aws:sts::{site.aws.account_id}:assumed-role/web-instance/{subject.id}"
    site.aws.sts.minted[subject.identity.credentials.access_key_id] = replace(minted, arn=arn)
    refused(bench.party, subject.sign(subject.request()), "evidence_invalid")


def test_v8_an_instance_may_not_ask_without_end(bench: Bench) -> None:
    subject = bench.own().launch()
    reply = subject.party.enrol(subject.sign(subject.request()))
    for _ in range(10):
        if reply.status != 200:
            break
        reply = subject.party.enrol(subject.sign(subject.request()), patient=False)
    assert (reply.status, reply.reason) == (429, "busy")
    assert 1 <= int(reply.headers["retry-after"]) <= 15


def test_r_before_v8_a_stranger_hears_nothing_about_an_instance(bench: Bench) -> None:
    site = bench.own()
    subject, unseen = site.launch(), site.launch()
    subject.served()
    site.aws.stop_instance(unseen.id)
    for victim in (subject, unseen):
        stranger = victim.with_another_key()
        request = stranger.proven(stranger.request(), binding="A" * 43)
        refused(bench.party, stranger.sign(request), "evidence_invalid")


# --- V9 to V12: what AWS's API and the policy say


@pytest.mark.parametrize("state", ["stopping", "stopped", "shutting-down", "terminated"])
def test_v9_an_instance_that_does_not_run_is_not_admitted(bench: Bench, state: str) -> None:
    subject = bench.own().launch(arrange=lambda record: setattr(record, "state", state))
    refused(bench.party, subject.sign(subject.request()), "not_admitted")


@pytest.mark.usefixtures("aged")
def test_v9_an_instance_that_is_pending_is_served(bench: Bench) -> None:
    bench.own().launch(arrange=lambda record: setattr(record, "state", "pending")).served()


def test_v9_an_instance_that_is_not_visible_yet_may_come_back(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch(arrange=lambda record: setattr(record, "visible_from", time.time() + 3600))
    reply = refused(bench.party, subject.sign(subject.request()), "not_visible_yet")
    assert (reply.status, int(reply.headers["retry-after"]) >= 1) == (503, True)
    site.aws.api.records[subject.id].visible_from = 0
    subject.served()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_id", "ami-0fedcba9876543210"),
        ("instance_type", "m7i.metal"),
        ("reservation_id", "r-0123456789abcdef1"),
        ("role", "somebody-elses"),
        ("role", None),
    ],
)
def test_v10_a_false_claim_is_not_admitted(bench: Bench, name: str, value: str | None) -> None:
    subject = bench.own().launch()
    instance = replace(subject.identity.instance, **{name: value})  # type: ignore[arg-type]  # None for a role only
    refused(bench.party, subject.sign(subject.request(instance=instance, iid=None)), "not_admitted")


def test_v10_an_instance_of_no_group_is_not_admitted(bench: Bench) -> None:
    subject = bench.own().launch("stranger")
    refused(bench.party, subject.sign(subject.request()), "not_admitted")


def test_v10_an_instance_with_imdsv1_is_not_admitted(bench: Bench) -> None:
    subject = bench.own().launch(arrange=lambda record: setattr(record, "http_tokens", "optional"))
    refused(bench.party, subject.sign(subject.request()), "not_admitted")


def test_v10_a_group_may_demand_the_document_and_a_kem(bench: Bench) -> None:
    subject = bench.own().launch("documented")
    refused(bench.party, subject.sign(subject.request(iid=None)), "evidence_missing")
    subject.served()
    subject = bench.launch("federal")
    hybrid = SealPrivateKey.generate(KEMS[0])
    refused(bench.party, subject.sign(subject.request(seal=hybrid.public)), "unsupported")
    subject.served()


def test_v11_another_source_is_not_admitted_where_that_is_enforced(bench: Bench) -> None:
    subject = bench.own().launch("office")
    refused(bench.party, subject.sign(subject.request()), "not_admitted")


def test_v11_a_forwarded_address_from_nobody_listed_does_not_count(bench: Bench) -> None:
    subject = bench.own().launch("office")
    own_address = subject.identity.instance.local_ipv4
    assert own_address is not None
    body = subject.sign(subject.request())
    reply = bench.party.ask(
        "POST", "/v1/enrolments", body, {"content-type": ASSERTION_TYPE, "x-forwarded-for": own_address}
    )
    assert reply.reason == "not_admitted"


@pytest.mark.parametrize(("role", "member"), [("slow", "launched"), ("old", "attached")])
def test_v12_a_first_request_after_the_window_is_not_admitted(bench: Bench, role: str, member: str) -> None:
    late = bench.own().launch(role, arrange=lambda record: setattr(record, member, time.time() - 4000))
    refused(bench.party, late.sign(late.request()), "not_admitted")
    bench.launch(role).served()


def test_v12_o4_windows_do_not_apply_to_an_instance_that_was_served(bench: Bench) -> None:
    subject = bench.own().launch("slow")
    subject.served()
    bench.own().aws.api.records[subject.id].launched -= 90 * 86400
    subject.next_run().served()


# --- V13


def test_v13_one_tries_a_new_pin_and_the_others_wait(bench: Bench) -> None:
    site = bench.own()
    site.publish("pinned", make_bundle("pin-conformance"))
    first, second = site.launch("pinned"), site.launch("pinned")
    answer = first.served(pin=True)
    assert answer.trial
    held = refused(bench.party, second.sign(second.request(pin=True)), "hold")
    assert held.status == 503
    assert 15 <= int(held.headers["retry-after"]) <= 46
    assert not site.launch("pinned").served(pin=False).trial
    assert first.told(answer, "trying", "untried").status == 204
    refused(bench.party, second.sign(second.request(pin=True)), "hold")
    assert first.told(answer, "installed", "accepted").status == 204
    assert not second.served(pin=True).trial


def test_v13_a_refused_pin_halts_the_fleet_until_an_operator_resumes(bench: Bench) -> None:
    site = bench.own()
    site.publish("pinned", make_bundle("pin-that-is-wrong"))
    first, second = site.launch("pinned"), site.launch("pinned")
    answer = first.served(pin=True)
    assert first.told(answer, "trying", "untried").status == 204
    assert first.told(answer, "failed", "refused", code="pin_refused").status == 204
    refused(bench.party, second.sign(second.request(pin=True)), "hold")
    site.command("bundle", "resume", "--group", "pinned")
    assert second.served(pin=True).trial


def test_v13_a_trying_after_the_trial_went_elsewhere_is_no_permission(bench: Bench) -> None:
    site = bench.own()
    site.publish("pinned", make_bundle("pin-that-is-late"))
    first, second = site.launch("pinned"), site.launch("pinned")
    late = first.served(pin=True)
    assert first.told(late, "failed", "untried", code="cannot_write").status == 204
    assert second.served(pin=True).trial
    assert first.told(late, "trying", "untried").reason == "hold"


# --- V14, V15, O1 to O7: the one-time rule


def test_v14_the_answer_names_its_request_and_is_signed_by_a_pinned_key(bench: Bench) -> None:
    subject = bench.own().launch()
    request = subject.request()
    reply = bench.party.enrol(subject.sign(request))
    answer = verify_answer(reply.body, bench.party.answer_keys)
    assert (answer.jti, answer.sub, answer.aud) == (request.jti, request.sub, request.aud)
    assert (answer.nonce, answer.kem, answer.state) == (request.eat_nonce, request.seal.kem, "bundle")
    bundle = subject.opened(request, reply)
    assert bundle is not None
    assert bundle.serial == answer.serial


def test_o1_an_assertion_repeated_word_for_word_opens_for_its_sender_alone(bench: Bench) -> None:
    subject = bench.own().launch()
    request = subject.request()
    body = subject.sign(request)
    replies = [bench.party.enrol(body) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    opened = [subject.opened(request, reply) for reply in replies]
    assert opened[0] == opened[1]
    assert replies[0].body != replies[1].body


def test_o1_receipts_confirm_only_the_slots_last_answer(bench: Bench) -> None:
    subject = bench.own().launch()
    old, new = subject.served(), subject.served()
    assert subject.told(old).status == 204
    assert subject.enrol().status == 200
    assert subject.told(new).status == 204
    assert subject.enrol().status == 200


def test_o2_o4_a_newer_serial_goes_to_the_owner_and_to_nobody_else(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    before = subject.served()
    assert subject.told(before).status == 204
    newer = site.publish()
    other = subject.with_another_key()
    refused(bench.party, other.sign(other.request()), "already_enrolled")
    assert subject.served(have=before.serial, reason="refresh").serial == newer


def test_o3_current_costs_no_call_to_aws_and_is_for_the_owner_alone(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    answer = subject.served()
    calls = site.aws.sts.seen.total(), site.aws.api.seen.total()
    assert subject.served(have=answer.serial).state == "current"
    assert (site.aws.sts.seen.total(), site.aws.api.seen.total()) == calls
    other = subject.with_another_key()
    refused(bench.party, other.sign(other.request(have=answer.serial)), "already_enrolled")
    refused(bench.party, subject.sign(subject.request(have=answer.serial + 10**6)), "not_admitted")


def test_o5_a_lost_key_takes_over_after_a_new_start_unless_a_receipt_was_sent(bench: Bench, aged: Aged) -> None:
    pause(max(0.0, aged.until - time.monotonic()))
    for subject in (aged.taken, aged.confirmed):
        bench.own().aws.api.records[subject.id].launched += 60
    aged.taken.with_another_key().served()
    other = aged.confirmed.with_another_key()
    refused(bench.party, other.sign(other.request()), "already_enrolled")


def test_o6_a_grant_lets_another_key_take_over_once(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    assert subject.told(subject.served()).status == 204
    other = subject.with_another_key()
    site.command("grant", subject.id, "--reason", "conformance")
    other.served()
    third = subject.with_another_key()
    refused(bench.party, third.sign(third.request()), "already_enrolled")
    refused(bench.party, subject.sign(subject.request()), "already_enrolled")


def test_o7_what_is_current_now_is_given_whatever_an_earlier_try_got(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    first = subject.served()
    newer = site.publish()
    assert subject.served().serial == newer > first.serial


def test_lg4_a_copied_owner_key_is_refused_under_a_second_instance(bench: Bench) -> None:
    site = bench.own()
    subject = site.launch()
    subject.served()
    clone = Subject(bench.party, site.launch().identity, key=subject.key)
    refused(bench.party, clone.sign(clone.request()), "not_admitted")


# --- R: receipts and problems


RECEIPTS: dict[str, Callable[[Subject, Answer], bytes]] = {
    "another audience": lambda one, answer: one.receipt(answer, aud="hsm-enrol:another"),
    "an assertion's header": lambda one, answer: one.sign_payload(payload_of(one.receipt(answer))),
    "a code beside installed": lambda one, answer: one.sign_payload(
        payload_of(one.receipt(answer)).replace(b'"pin"', b'"code":"no_slots","pin"'), jws.RECEIPT_HEADER
    ),
    "an unknown result": lambda one, answer: one.sign_payload(
        payload_of(one.receipt(answer)).replace(b'"installed"', b'"perfect"'), jws.RECEIPT_HEADER
    ),
    "one more member": lambda one, answer: one.sign_payload(
        payload_of(one.receipt(answer)).replace(b'{"aud"', b'{"admin":1,"aud"'), jws.RECEIPT_HEADER
    ),
    "another slot": lambda one, answer: one.receipt(answer, serial=answer.serial + 1),
    "another instance": lambda one, answer: one.receipt(answer, sub="i-0fedcba9876543210"),
    "another key": lambda one, answer: one.with_another_key().receipt(answer),
    "an altered signature": lambda one, answer: one.receipt(answer)[:-4] + b"AAAA",
    "no JWS": lambda _one, _answer: b"a.b.c",
}
STATUS = {
    "another audience": 400,
    "another slot": 404,
    "another instance": 404,
    "another key": 404,
    "an altered signature": 404,
}


def payload_of(compact: bytes) -> bytes:
    return base64.urlsafe_b64decode(compact.split(b".")[1] + b"==")


def test_r_a_receipt_with_one_fault_changes_nothing(bench: Bench) -> None:
    subject = bench.own().launch()
    answer = subject.served()
    for name, make in RECEIPTS.items():
        reply = bench.party.receive(make(subject, answer))
        assert reply.status == STATUS.get(name, 400), name
        assert reply.problem.reason in {"malformed", "unsupported", "not_admitted"}
    assert subject.enrol().status == 200


def test_r2_r3_every_refusal_is_a_problem_with_a_known_reason_and_waits_are_short(
    subject: Subject, good: Assertion
) -> None:
    bodies = [b"", b"a.b.c", subject.sign(good)[:-2], breaks.put("iat", -1)(subject, good)]
    for body in bodies:
        told = subject.party.enrol(body)
        assert told.problem.decision
        assert int(told.headers.get("retry-after", "0")) <= 15 * 60
        assert told.headers["cache-control"] == "no-store"


def test_the_challenge_is_fresh_uncached_and_tells_the_time(bench: Bench) -> None:
    replies = [bench.party.ask("GET", "/v1/challenge") for _ in range(2)]
    nonces = {json.loads(reply.body)["nonce"] for reply in replies}
    assert len(nonces) == 2
    assert all(reply.headers["cache-control"] == "no-store" for reply in replies)
    assert abs(bench.party.challenge().server_time - time.time()) < 60


# --- the control: what was broken above is served when it is whole


def test_zz_control_e3_high_s_is_accepted_and_the_unbroken_request_served(subject: Subject, good: Assertion) -> None:
    """Last in the file: it takes the slot. With another party, name an instance that was never served."""
    fresh = subject.request()
    for body in (breaks.high_s(subject, fresh), subject.sign(fresh)):
        reply = subject.party.enrol(body)
        assert reply.status == 200, reply.body
        assert subject.opened(fresh, reply) is not None


def test_zz_o1_o2_o3_the_life_of_a_slot(bench: Bench, subject: Subject) -> None:
    """TAKEN and CONFIRMED, by the owner and by others; elsewhere on the one instance that there is."""
    if bench.site is not None:
        subject = bench.site.launch()
    other = subject.with_another_key()
    first = subject.served()
    again = subject.next_run().served()
    assert again.serial == first.serial
    assert bench.party.enrol(other.sign(other.request())).problem.status == 409
    assert subject.told(first).status == 204  # about an answer that is not the last: no effect
    assert subject.told(again, "failed", code="no_slots").status == 204  # stays TAKEN
    taken = subject.next_run().served()
    assert bench.party.receive(other.receipt(taken)).status == 404
    assert [subject.told(taken).status for _ in range(2)] == [204, 204]
    refused_again = bench.party.enrol(subject.sign(subject.request())).problem
    assert (refused_again.reason, refused_again.status) == ("already_enrolled", 410)
    have = subject.served(have=taken.serial, reason="refresh")
    assert (have.state, have.serial, have.sealed) == ("current", taken.serial, None)
    ahead = bench.party.enrol(subject.sign(subject.request(have=taken.serial + 1)))
    assert ahead.reason == "not_admitted"
