"""Knows what must be refused: each input named by its fault, with the door it knocks at and the rule that it breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from hsm_enrol.wire import jws
from hsm_enrol.wire.jws import HALF, ORDER
from hsm_enrol.wire.seal import HYBRID, P256
from hsm_enrol.wire.strict import b64u_encode
from tests.vectors.inputs import (
    BUNDLES,
    FULL,
    JWKS,
    KEYS,
    RECEIPTS,
    SEALS,
    SERIAL,
)
from tests.vectors.refused_bundles import Fault, bundles, pairs
from tests.vectors.signing import REQUESTS, Json, Sealed, answer, proven, sign

KID = JWKS["answer"].thumbprint
BUNDLE, RSA_BUNDLE = BUNDLES.values()
ASKED = "a refresh, with all that may be absent left out"
ASSERTION = proven(replace(FULL, seal=SEALS[P256].public))


def refused(sealed: Sealed) -> Json:
    """Give refused.json."""
    faults = [
        *_base64url(),
        *_json(),
        *_jwk(),
        *_envelope(),
        *_assertion(),
        *_receipt(),
        *_answer(sealed),
        *bundles(),
        *pairs(),
        *_hosts(),
    ]
    return {
        "about": "Each must be refused at its door by its rule. json is given as hexadecimal bytes; an "
        "answer is about the request named `to` (messages.json) and opened with its seal key (keys.json); a bundle "
        "is checked at `now` (bundles.json).",
        "to": ASKED,
        "refused": [
            {"door": door, "rule": rule, "fault": fault, "given": given} for door, rule, fault, given in faults
        ],
    }


def _base64url() -> Iterator[Fault]:
    for fault, text in (
        ("padding", "AA=="),
        ("the alphabet of plain base64", "+/8"),
        ("last bits that are not zero", "AB"),
        ("a length that no bytes have", "A"),
        ("a line end", "AAAA\n"),
    ):
        yield "base64url", "E1", fault, text


def _json() -> Iterator[Fault]:
    for fault, raw in (
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("not UTF-8", b'"\xff"'),
        ("a surrogate in UTF-8", b'"\xed\xa0\x80"'),
        ("a lone surrogate, escaped", rb'"\ud800"'),
        ("U+0000, escaped", rb'"\u0000"'),
        ("one name twice", b'{"a":1,"a":1}'),
        ("one name twice, escaped and far in", rb'[[{"a":1,"\u0061":2}]]'),
        ("nine deep", b"[" * 9 + b"]" * 9),
        ("a fraction", b"1.0"),
        ("an exponent", b"1e2"),
        ("a negative number", b"-1"),
        ("minus zero", b"-0"),
        ("beyond 2^53-1", b"9007199254740992"),
        ("a leading zero", b"01"),
        ("not a number", b"NaN"),
        ("something after it", b"{}{}"),
        ("nothing", b""),
    ):
        yield "json", "E4", fault, raw.hex()


def _jwk() -> Iterator[Fault]:
    good = JWKS["owner"].as_json()
    for fault, jwk in (
        ("another member", good | {"use": "sig"}),
        ("a private key", good | {"d": good["x"]}),
        ("another curve", good | {"crv": "P-384"}),
        ("a point off the curve", good | {"y": good["x"]}),
        ("x beyond the prime, of a point on the curve", _beyond_the_prime()),
        ("a short coordinate", good | {"x": good["x"][:-2]}),
        ("no y", {name: value for name, value in good.items() if name != "y"}),
    ):
        yield "jwk", "E6", fault, jwk


def _beyond_the_prime() -> Json:
    """Give a point whose x, 5, is written as what leaves 5 when the prime is taken away."""
    prime, y = 2**256 - 2**224 + 2**192 + 2**96 - 1, "459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc"
    x = (prime + 5).to_bytes(32, "big")
    return {"crv": "P-256", "kty": "EC", "x": b64u_encode(x), "y": b64u_encode(bytes.fromhex(y))}


def _envelope() -> Iterator[Fault]:
    payload, owner = ASSERTION.to_payload(), KEYS["owner"]
    header = jws.ASSERTION_HEADER
    good = sign(header, payload, owner)
    first, second, third = good.split(".")
    for rule, fault, compact in (
        ("E2", "members of the header in another order", _sign(b'{"typ":"hsm-enrol-assertion+jwt","alg":"ES256"}')),
        ("E2", "a blank in the header", _sign(b'{"alg": "ES256","typ":"hsm-enrol-assertion+jwt"}')),
        ("E2", "alg none", _sign(b'{"alg":"none","typ":"hsm-enrol-assertion+jwt"}')),
        ("E2", "the header of a receipt", _sign(jws.RECEIPT_HEADER)),
        ("E2", "two parts", f"{first}.{second}"),
        ("E2", "four parts", f"{good}."),
        ("E3", "no signature", f"{first}.{second}."),
        ("E3", "a signature in DER", f"{first}.{second}.{b64u_encode(bytes.fromhex('3006020101020101'))}"),
        ("E3", "r is zero", f"{first}.{second}.{b64u_encode(bytes(HALF) + bytes([1] * HALF))}"),
        ("E3", "s is n", f"{first}.{second}.{b64u_encode(bytes([1] * HALF) + ORDER.to_bytes(HALF, 'big'))}"),
        ("E3", "signed by another key than cnf", sign(header, payload, KEYS["stranger"])),
        ("E1", "padding after the signature", f"{first}.{second}.{third}=="),
    ):
        yield "assertion", rule, fault, compact


def _sign(header: bytes) -> str:
    return sign(header, ASSERTION.to_payload(), KEYS["owner"])


def _assertion() -> Iterator[Fault]:
    good = ASSERTION.as_json()
    instance, role, seal = good["instance"], good["submods"]["identity-role"], good["seal"]
    low_order = SEALS[HYBRID].public.raw[:-32] + bytes(32)
    unreduced = b"\xff" * 1184 + SEALS[HYBRID].public.raw[-32:]

    def evidence(**changed: str) -> Json:
        return {"submods": {"identity-role": role | {name.replace("_", "-"): text for name, text in changed.items()}}}

    for rule, fault, changed in (
        ("V2", "another profile", {"eat_profile": "tag:hsm-enrol,2026:assertion/2"}),
        ("V2", "a member that is not in the table", {"admin": True}),
        ("V2", "null for absent", {"have": None}),
        ("V2", "a boolean for an integer", {"iat": True}),
        ("V2", "an integer for a boolean", {"pin": 1}),
        ("V2", "jti with last bits that are not zero", {"jti": "A" * 21 + "B"}),
        ("V2", "an instance id in capitals", {"sub": "i-0123456789ABCDEF0"}),
        ("V2", "a path for an instance id", {"sub": "i-01234567/../x"}),
        ("V2", "no answer key trusted", {"trust": []}),
        ("V2", "five answer keys trusted", {"trust": [KID[:-2] + one + "A" for one in "abcde"]}),
        ("V2", "one answer key trusted twice", {"trust": [KID, KID]}),
        ("V2", "a reason that is none", {"reason": "because"}),
        ("V2", "have zero", {"have": 0}),
        ("V2", "an account in other digits", {"instance": instance | {"account-id": "１23456789012"}}),
        ("V2", "a region with a line end", {"instance": instance | {"region": "eu-central-1\n"}}),
        ("V2", "a host for a region", evidence(region="eu-central-1.example/")),
        ("V2", "a header in a token", evidence(security_token="a\r\nhost: example")),
        ("V2", "a date of another form", evidence(amz_date="2027-01-15T08:00:00Z")),
        ("V2", "a third endpoint", evidence(endpoint="https://sts.example")),
        ("V2", "a submodule that no version has", {"submods": {"nitrotpm": {}}}),
        ("V2", "a document with line breaks", {"submods": {"iid": {"rsa2048": "AAAAAAAAAAAAAAAA\nAAAA"}}}),
        ("V2", "a seal key of another kem", {"seal": seal | {"kem": HYBRID}}),
        ("V2", "a kem that no version has", {"seal": seal | {"kem": "x25519"}}),
        ("V3", "a seal key of low order", {"seal": {"kem": HYBRID, "key": b64u_encode(low_order)}}),
        ("V3", "a seal key that is not reduced", {"seal": {"kem": HYBRID, "key": b64u_encode(unreduced)}}),
        ("V3", "a seal key off the curve", {"seal": {"kem": P256, "key": b64u_encode(b"\4" + bytes([7] * 64))}}),
    ):
        payload = json.dumps(good | changed, ensure_ascii=False).encode()
        yield "assertion", rule, fault, sign(jws.ASSERTION_HEADER, payload, KEYS["owner"])


def _receipt() -> Iterator[Fault]:
    good: Json = json.loads(RECEIPTS["installed"].to_payload())
    for fault, changed in (
        ("a code without a failure", {"code": "no_slots"}),
        ("a code that is none", {"result": "failed", "code": "no slots"}),
        ("serial zero", {"serial": 0}),
        ("a PIN in it", {"pin": "1234"}),
        ("a member that is not in the table", {"key": "x"}),
    ):
        payload = json.dumps(good | changed).encode()
        yield "receipt", "V2", fault, sign(jws.RECEIPT_HEADER, payload, KEYS["owner"])
    assertion_header = sign(jws.ASSERTION_HEADER, RECEIPTS["installed"].to_payload(), KEYS["owner"])
    yield "receipt", "E2", "the header of an assertion", assertion_header


def _answer(sealed: Sealed) -> Iterator[Fault]:
    request, plaintext = REQUESTS[ASKED], RSA_BUNDLE.to_bytes()
    good = answer(sealed, "by P-256", request, SERIAL + 1, plaintext)
    current = answer(sealed, "", request, SERIAL, None)
    inside = answer(sealed, "the serial before, by P-256", request, SERIAL + 1, BUNDLE.to_bytes())
    raw = good.sealed or b""
    full: Json = json.loads(good.to_payload())
    short: Json = json.loads(current.to_payload())
    header = jws.answer_header(KID)

    def signed(payload: Json, *, by: str = "answer", head: bytes = header) -> str:
        return sign(head, json.dumps(payload).encode(), KEYS[by])

    first, _, third = signed(full).split(".")
    for rule, fault, compact in (
        (
            "A2",
            "a kid that is not pinned",
            signed(full, by="stranger", head=jws.answer_header(JWKS["stranger"].thumbprint)),
        ),
        ("A2", "no kid", signed(full, head=b'{"alg":"ES256","typ":"hsm-enrol-answer+jwt"}')),
        ("A2", "the header of a receipt", signed(full, head=jws.RECEIPT_HEADER)),
        ("E3", "a pinned kid, signed by a stranger", signed(full, by="stranger")),
        ("E3", "another payload", f"{first}.{b64u_encode(json.dumps(full | {'iat': 1}).encode())}.{third}"),
        ("A3", "trial false", signed(full | {"trial": False})),
        ("A3", "current, and a trial", signed(short | {"trial": True})),
        ("A3", "current, and something sealed", signed(short | {"sealed": full["sealed"]})),
        ("A3", "a bundle, and nothing sealed", signed(short | {"state": "bundle"})),
        ("A3", "a member that is not in the table", signed(full | {"path": "/etc"})),
        ("A3", "to another request", signed(full | {"jti": "A" * 22})),
        ("A3", "to another instance", signed(full | {"sub": "i-0fedcba9876543210"})),
        ("A3", "to another audience", signed(full | {"aud": "hsm-enrol:other"})),
        ("A3", "to yesterday's nonce", signed(short | {"nonce": "yesterday-yesterday-yesterday"})),
        ("A3", "sealed to another key", signed(full | {"seal_thumbprint": "A" * 43})),
        ("A3", "sealed by another kem", signed(full | {"kem": HYBRID})),
        ("A4", "another serial about the same ciphertext", signed(full | {"serial": SERIAL + 2})),
        ("A4", "a flipped bit in the tag", signed(full | {"sealed": b64u_encode(raw[:-1] + bytes([raw[-1] ^ 1]))})),
        ("A4", "cut short", signed(full | {"sealed": b64u_encode(raw[:64])})),
        ("A5", "a bundle of another serial inside", signed(json.loads(inside.to_payload()))),
    ):
        yield "answer", rule, fault, compact


def _hosts() -> Iterator[Fault]:
    for fault, region, endpoint in (
        ("fips where AWS has none", "eu-central-1", "fips"),
        ("an isolated region without configuration", "us-iso-east-1", "regional"),
        ("a region that is a path", "eu-central-1/x", "regional"),
        ("the global endpoint", "aws-global", "regional"),
    ):
        yield "host", "V8", fault, [region, endpoint]
