"""The documents say what the code does: their tables are compared with it."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from hsm_enrol.errors import WireError
from hsm_enrol.host import heard, retry, their_clock
from hsm_enrol.wire import answer, assertion, bundle, jws, keys, messages, pairs, receipt, seal, strict, sts
from hsm_verifier import app, decide, nonce, refusal, request_checks
from hsm_verifier.cli import serve
from hsm_verifier.evidence import caller_identity, iid, sts_lines
from hsm_verifier.ledger import desk, gate, rows, sightings
from hsm_verifier.policy import LEVELS, Windows
from tests.documents import ROOT, bare, table, tables, text_of
from tests.schema import Schema, listening
from tests.wire import samples

PROTOCOL = "docs/protocol.md"
GRAMMARS = {row["name"]: row for row in table(PROTOCOL, "Grammars", "name", "grammar")}


def grammar_of(row: dict[str, str]) -> str:
    """Give a row's grammar as the code writes it."""
    pattern = row["grammar"].strip("`")
    least, _, most = row["length"].partition(" to ")
    return rf"(?=.{{{least},{most}}}\Z){pattern}" if most else pattern


# --- grammars and members

CHALLENGE = messages.Challenge(
    nonce="n" * 22,
    expires_in=300,
    server_time=samples.NOW,
    answer_keys=(samples.KID,),
    audience="hsm-enrol:5d0c",
)
PROBLEM = messages.Problem(reason="hold", status=503, detail="wait", decision="0a", server_time=samples.NOW)
ANSWER = answer.Answer(
    jti=samples.assertion().jti,
    sub=samples.assertion().sub,
    aud=samples.assertion().aud,
    nonce=samples.assertion().eat_nonce,
    iat=samples.NOW,
    serial=1,
    state="bundle",
    trial=True,
    kem="p256",
    seal_thumbprint=samples.seal_key().public.thumbprint,
    sealed=b"sealed",
)
Door = tuple[bytes, Callable[[bytes], object]]
DOORS: dict[str, Door] = {
    "challenge": (CHALLENGE.to_bytes(), messages.Challenge.from_bytes),
    "assertion": (samples.assertion().to_payload(), assertion.Assertion.from_payload),
    "answer": (ANSWER.to_payload(), answer.Answer.from_payload),
    "bundle": (samples.bundle().to_bytes(), bundle.Bundle.from_bytes),
    "receipt": (samples.receipt().to_payload(), receipt.Receipt.from_payload),
    "problem": (PROBLEM.to_bytes(), messages.Problem.from_bytes),
}
PLACES: dict[str, samples.Path] = {  # where in a specimen an object stands; its door is the first word
    "jwk": ("cnf", "jwk"),
    "assertion.seal": ("seal",),
    "assertion.instance": ("instance",),
    "assertion.submods": ("submods",),
    "assertion.submods.identity-role": ("submods", "identity-role"),
    "assertion.submods.iid": ("submods", "iid"),
    "bundle.client": ("client",),
    "server": ("servers", 0),
    "bundle.ha": ("ha",),
    "bundle.partition_pin": ("partition_pin",),
}
DOOR_OF = {"jwk": "assertion", "server": "bundle"}
MEMBERS = {
    heading.removeprefix("Members of "): found[0]
    for heading, found in tables(PROTOCOL).items()
    if heading.startswith("Members of ")
}


@pytest.fixture(scope="module")
def schema() -> Schema:
    names = {grammar_of(row): name for name, row in GRAMMARS.items()}
    with listening(names) as seen:
        for payload, read in DOORS.values():
            read(payload)
    seen.pop("assertion.cnf")  # described in words: one member, the JWK
    return seen


def test_every_object_of_the_wire_has_its_table(schema: Schema) -> None:
    assert set(MEMBERS) == set(schema)


@pytest.mark.parametrize("where", MEMBERS)
def test_a_table_has_exactly_the_members_the_code_reads_and_their_forms(schema: Schema, where: str) -> None:
    assert {bare(row["member"]): bare(row["form"]) for row in MEMBERS[where]} == schema[where]


@pytest.mark.parametrize(("where", "row"), [(where, row) for where, found in MEMBERS.items() for row in found])
def test_a_member_is_needed_or_not_as_its_table_says(where: str, row: dict[str, str]) -> None:
    payload, read = DOORS[DOOR_OF.get(where, where.partition(".")[0])]
    less = samples.without(samples.as_dict(payload), (*PLACES.get(where, ()), bare(row["member"])))
    if row["needed"] == "no":
        read(samples.dump(less))
    else:
        with pytest.raises(WireError):
            read(samples.dump(less))


def test_an_answer_without_a_bundle_has_none_of_the_bundles_members() -> None:
    payload, read = DOORS["answer"]
    only = {bare(row["member"]) for row in MEMBERS["answer"] if row["needed"] == "bundle"}
    current = {name: value for name, value in samples.as_dict(payload).items() if name not in only | {"trial"}}
    read(samples.dump(current | {"state": "current"}))
    for name in only:
        with pytest.raises(WireError):
            read(samples.dump(current | {"state": "current", name: samples.as_dict(payload)[name]}))


@pytest.mark.parametrize("name", [name for name, row in GRAMMARS.items() if row["specimen"]])
def test_a_specimen_fits_its_grammar(name: str) -> None:
    assert re.fullmatch(grammar_of(GRAMMARS[name]), bare(GRAMMARS[name]["specimen"]), re.ASCII)


def test_every_grammar_of_the_code_is_in_the_table_under_its_name() -> None:
    for module in (assertion, keys, bundle):
        for name, value in vars(module).items():
            if name in GRAMMARS and isinstance(value, str):
                assert grammar_of(GRAMMARS[name]) == value, name


# --- headers, sizes, words, numbers


def test_headers_are_the_bytes_of_the_table() -> None:
    found = {row["message"]: bare(row["header"]).encode() for row in table(PROTOCOL, "Encodings", "header")}
    assert found == {
        "assertion": jws.ASSERTION_HEADER,
        "receipt": jws.RECEIPT_HEADER,
        "answer": jws.answer_header("<kid>"),
    }


def test_caps_are_those_of_the_table() -> None:
    found = {row["message"]: int(row["at most, bytes"]) for row in table(PROTOCOL, "The exchange", "at most, bytes")}
    assert found == {
        "assertion": assertion.MAX_ASSERTION,
        "answer": answer.MAX_ANSWER,
        "bundle, before it is sealed": bundle.MAX_BUNDLE,
        "receipt": receipt.MAX_RECEIPT,
        "problem": messages.MAX_PROBLEM,
    }
    assert app.MAX_RECEIPT == receipt.MAX_RECEIPT


def test_addresses_and_media_types_are_those_of_the_table() -> None:
    steps = table(PROTOCOL, "The exchange", "step")
    assert [(bare(row["media type"]), bare(row["media type of the reply"])) for row in steps] == [
        ("", messages.JSON_TYPE),
        (messages.ASSERTION_TYPE, messages.ANSWER_TYPE),
        (messages.RECEIPT_TYPE, ""),
    ]
    source = inspect.getsource(app.make_app)
    for row in steps:
        method, path = bare(row["request"]).split()
        assert re.search(rf'"{path}": \("{method}", [a-z.]+\),', source)


def test_levels_are_those_of_the_table() -> None:
    assert tuple(bare(row["level"]) for row in table(PROTOCOL, "What is proved", "level")) == LEVELS


@pytest.mark.parametrize("row", table(PROTOCOL, "Seal", "kem"), ids=lambda row: bare(row["kem"]))
def test_seal_sizes_are_those_of_the_table(row: dict[str, str]) -> None:
    key = seal.SealPrivateKey.generate(bare(row["kem"]))
    assert len(key.public.raw) == int(row["public key, bytes"])
    assert len(key.to_bytes()) == int(row["private key, bytes"])
    assert len(key.public.seal(b"", b"")) == int(row["enc, bytes"]) + 16


def test_kems_are_those_of_the_table() -> None:
    assert tuple(bare(row["kem"]) for row in table(PROTOCOL, "Seal", "kem")) == seal.KEMS


def test_hosts_are_those_of_the_table() -> None:
    for row in table(PROTOCOL, "GetCallerIdentity", "partition"):
        region = "xx-west-1" if row["region begins with"] == "anything" else bare(row["region begins with"]) + "west-1"
        assert sts.partition(region) == bare(row["partition"])
        if row["suffix"] == "by configuration only":
            with pytest.raises(WireError):
                sts.sts_host(region, "regional")
        else:
            assert sts.sts_host(region, "regional") == f"sts.{region}.{bare(row['suffix'])}"


def test_the_documented_request_is_the_one_that_is_signed() -> None:
    made = sts.canonical_request(host="h.x", amz_date="20270115T080000Z", security_token="t", binding="b" * 43)
    for value, name in (
        ("host:h.x", "host:<host>"),
        ("20270115T080000Z", "<amz-date>"),
        ("token:t", "token:<security-token>"),
        ("b" * 43, "<b>"),
    ):
        made = made.replace(value.encode(), name.encode())
    shown = "".join(f"    {line}\n".replace("    \n", "\n") for line in made.decode().split("\n"))
    assert shown in text_of(PROTOCOL)
    assert f"    {sts.BODY.decode()}\n" in text_of(PROTOCOL)


def test_reasons_are_those_of_the_table() -> None:
    found = {bare(row["reason"]): row for row in table(PROTOCOL, "Reasons", "reason", "before V8")}
    assert tuple(found) == messages.REASONS
    assert {name: int(row["status"]) for name, row in found.items()} == refusal.STATUS
    assert {name for name, row in found.items() if row["Retry-After"] == "yes"} == refusal.LATER
    assert {name for name, row in found.items() if row["before V8"] == "yes"} == refusal.SAYABLE_EARLY
    again = {name for name, row in found.items() if row["exit"] == "75"}
    assert again == heard.NOW | heard.LATER
    assert {row["exit"] for row in found.values()} == {"75", "77"}


def test_numbers_are_those_of_the_table() -> None:
    found = {row["number"]: float(row["value"]) for row in table(PROTOCOL, "Numbers", "number")}
    assert found == {
        "depth of JSON": strict.MAX_DEPTH,
        "largest integer": strict.MAX_INT,
        "age of a nonce, seconds": nonce.LIFE,
        "nonce ahead of the clock, seconds": nonce.AHEAD,
        "amz-date from the clock, seconds": request_checks.CLOCK_SKEW,
        "requests a minute per instance id": serve.ASKS_PER_MINUTE,
        "STS: connect, seconds": sts_lines.CONNECT_SECONDS,
        "STS: in all, seconds": caller_identity.TOTAL_SECONDS,
        "STS: reply, bytes": sts_lines.MAX_BYTES,
        "not found is not yet, seconds": sightings.VISIBLE_WITHIN,
        "identity document, bytes": iid.MAX_DOCUMENT,
        "window after start, seconds": Windows().since_start,
        "trial, seconds": gate.LEASE,
        "tries of a PIN over a fleet": gate.MAX_TRIES,
        "hold, least seconds": decide.HOLD[0],
        "hold, most seconds": decide.HOLD[1],
        "a first pass is remembered, seconds": sightings.PASS_KEPT,
        "answers an hour per slot": rows.ANSWERS_AN_HOUR,
        "TAKEN is reported after, seconds": desk.OVERDUE,
        "takeovers since the last grant": rows.MAX_TAKEOVERS,
        "longest grant, seconds": desk.MAX_GRANT,
        "largest count of a grant": 100,  # tests/verifier/test_ledger_events.py: 101 is refused
        "Retry-After where the VP names none, seconds": refusal.DEFAULT_RETRY_AFTER,
        "Retry-After is obeyed up to, seconds": retry.LONGEST_RETRY_AFTER,
        "clocks that count as one, seconds": their_clock.SAME_CLOCK,
        "clocks too far apart, seconds": their_clock.WRONG_CLOCK,
        "servers in a bundle": bundle.MAX_SERVERS,
        "members of a group": bundle.MAX_MEMBERS,
        "least bits of an RSA key": pairs.LEAST_RSA_BITS,
    }


# --- rules

RULE = re.compile(r"\b(E[1-7]|O[1-7]|LG[1-5]|V(?:1[0-5]|[1-9])|R[1-3]|A[1-7])\b", re.ASCII)


def test_every_rule_is_defined_once_and_stands_in_the_code() -> None:
    defined = re.findall(r"^\*\*([A-Z]+[0-9]+)\*\*", text_of(PROTOCOL), re.MULTILINE)
    assert len(defined) == len(set(defined))
    in_code = {
        rule
        for folder in ("agent", "verifier")
        for path in (ROOT / folder).rglob("*.py")
        for rule in RULE.findall(path.read_text(encoding="utf-8"))
    }
    assert in_code == set(defined)


def test_every_fault_of_the_wire_names_a_rule_of_the_document() -> None:
    named: set[Any] = set()
    for path in (ROOT / "agent" / "hsm_enrol" / "wire").glob("*.py"):
        named |= set(re.findall(r'WireError\("([A-Z0-9]+)"', path.read_text(encoding="utf-8")))
    assert {"E1", "E2", "E3", "E4", "V1", "V3", "A1", "A2", "A3", "A5", "A6"} <= named
    assert all(RULE.fullmatch(rule) for rule in named)
