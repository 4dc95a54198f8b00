"""Ways to break one rule of the wire in an assertion that is good otherwise: each is well signed unless it says so."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from hsm_enrol.wire import jws
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.seal import KEMS, SealPublicKey
from hsm_enrol.wire.strict import b64u_encode
from tests.adversary.party import Subject

Break = Callable[[Subject, Assertion], bytes]
Table = dict[str, Break]
HEADER = b64u_encode(jws.ASSERTION_HEADER)


def joined(head: str, payload: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign two texts as they stand, whatever they hold."""
    signed = f"{head}.{payload}".encode()
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return signed + b"." + b64u_encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).encode()


def spelt(change: Callable[[str], str]) -> Break:
    """Spell the payload's base64url otherwise; the bytes mean the same."""
    return lambda subject, good: joined(HEADER, change(b64u_encode(padded(good))), subject.key)


def padded(good: Assertion) -> bytes:
    """Give the payload at a length that leaves unused bits in its last base64 character."""
    payload = good.to_payload()
    return payload + b" " * ((1 - len(payload)) % 3)


def loose_bits(text: str) -> str:
    """Set an unused bit of the last character: another text for the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]


def standard(text: str) -> str:
    """Spell in the alphabet of RFC 4648 section 4."""
    return text.replace("-", "+").replace("_", "/") if set("-_") & set(text) else "+" + text[1:]


E1: Table = {
    "padding": spelt(lambda text: text + "=" * (-len(text) % 4)),
    "the other alphabet": spelt(standard),
    "a line break inside": spelt(lambda text: text[:40] + "\n" + text[40:]),
    "an unused bit set": spelt(loose_bits),
    "a character too many": spelt(lambda text: text + "AAA"[: 1 + (4 - len(text) % 4) % 4]),
    "signature with padding": lambda subject, good: subject.sign(good) + b"==",
    "signature with an unused bit": lambda subject, good: flip_last(subject.sign(good)),
    "not ASCII": lambda subject, good: subject.sign(good).replace(b".", b".\xc3\xa9", 1),
}


def flip_last(compact: bytes) -> bytes:
    """Set an unused bit in the signature's last character."""
    return loose_bits(compact.decode()).encode()


def headed(text: bytes) -> Break:
    """Put another header there, well signed."""
    return lambda subject, good: jws.sign(text, good.to_payload(), subject.key)


def flattened(subject: Subject, good: Assertion) -> bytes:
    """The JSON serialisation of the same JWS."""
    head, payload, signature = subject.sign(good).decode().split(".")
    return json.dumps({"protected": head, "payload": payload, "signature": signature}).encode()


E2: Table = {
    "other order of members": headed(b'{"typ":"hsm-enrol-assertion+jwt","alg":"ES256"}'),
    "a blank in the header": headed(b'{"alg": "ES256","typ":"hsm-enrol-assertion+jwt"}'),
    "alg none": headed(b'{"alg":"none","typ":"hsm-enrol-assertion+jwt"}'),
    "alg HS256": headed(b'{"alg":"HS256","typ":"hsm-enrol-assertion+jwt"}'),
    "the receipt's type": headed(jws.RECEIPT_HEADER),
    "one more member": headed(b'{"alg":"ES256","crit":[],"typ":"hsm-enrol-assertion+jwt"}'),
    "a key in the header": headed(b'{"alg":"ES256","jwk":{},"typ":"hsm-enrol-assertion+jwt"}'),
    "four parts": lambda subject, good: subject.sign(good) + b".AAAA",
    "two parts": lambda subject, good: subject.sign(good).rpartition(b".")[0],
    "no signature": lambda subject, good: subject.sign(good).rpartition(b".")[0] + b".",
    "JSON serialisation": flattened,
    "a blank before": lambda subject, good: b" " + subject.sign(good),
    "a line break after": lambda subject, good: subject.sign(good) + b"\n",
}


def signed_as(change: Callable[[int, int, bytes], bytes]) -> Break:
    """Replace the signature: `change` gets r, s and the signed bytes."""

    def make(subject: Subject, good: Assertion) -> bytes:
        signed, _, text = subject.sign(good).rpartition(b".")
        raw = base64.urlsafe_b64decode(text + b"==")
        new = change(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"), signed)
        return signed + b"." + b64u_encode(new).encode()

    return make


def two(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


N = jws.ORDER
E3: Table = {
    "63 bytes": signed_as(lambda r, s, _: two(r, s)[:63]),
    "65 bytes": signed_as(lambda r, s, _: two(r, s) + b"\0"),
    "empty": signed_as(lambda _r, _s, _: b""),
    "r is 0": signed_as(lambda _, s, _m: two(0, s)),
    "s is 0": signed_as(lambda r, _s, _m: two(r, 0)),
    "r is n": signed_as(lambda _, s, _m: two(N, s)),
    "s is n": signed_as(lambda r, _s, _m: two(r, N)),
    "all ones": signed_as(lambda _r, _s, _m: b"\xff" * 64),
    "DER": signed_as(lambda r, s, _: utils.encode_dss_signature(r, s)),
    "one bit of r": signed_as(lambda r, s, _: two(r ^ 1, s)),
    "halves exchanged": signed_as(lambda r, s, _: two(s, r)),
}


def high_s(subject: Subject, good: Assertion) -> bytes:
    """The other of the two values of s: low s is not demanded."""
    return signed_as(lambda r, s, _: two(r, N - s))(subject, good)


def worded(change: Callable[[bytes], bytes]) -> Break:
    """Change the payload's bytes, then sign."""
    return lambda subject, good: subject.sign_payload(change(good.to_payload()))


def put(*path_and_value: Any) -> Break:
    """Set the member at a path to a value."""
    *path, last, value = path_and_value

    def make(subject: Subject, good: Assertion) -> bytes:
        found = json.loads(good.to_payload())
        at = found
        for name in path:
            at = at[name]
        at[last] = value
        return subject.sign_payload(json.dumps(found).encode())

    return make


def drop(*path: str) -> Break:
    """Take the member at a path out."""

    def make(subject: Subject, good: Assertion) -> bytes:
        found = json.loads(good.to_payload())
        at = found
        for name in path[:-1]:
            at = at[name]
        del at[path[-1]]
        return subject.sign_payload(json.dumps(found).encode())

    return make


def nested(depth: int) -> Any:
    """Lists in lists."""
    return [nested(depth - 1)] if depth else 1


def number(old: bytes, new: bytes) -> Break:
    """Replace a number's text."""
    return worded(lambda text: text.replace(old, new, 1))


E4: Table = {
    "byte order mark": worded(lambda text: b"\xef\xbb\xbf" + text),
    "UTF-16": worded(lambda text: text.decode().encode("utf-16-le")),
    "not UTF-8": worded(lambda text: text.replace(b'"boot"', b'"bo\xffot"')),
    "lone surrogate": worded(lambda text: text.replace(b'"boot"', b'"boot\\ud800"')),
    "U+0000": worded(lambda text: text.replace(b'"boot"', b'"boot\\u0000"')),
    "duplicate name": worded(lambda text: text.replace(b'{"aud"', b'{"pin":false,"aud"', 1)),
    "duplicate name, escaped": worded(lambda text: text.replace(b'{"aud"', b'{"p\\u0069n":false,"aud"', 1)),
    "duplicate name, deep": worded(lambda text: text.replace(b'"jwk":{', b'"jwk":{"crv":"P-256",', 1)),
    "depth of nine": put("instance", "role", nested(7)),
    "depth of ten thousand": worded(lambda _: b"[" * 10000 + b"]" * 10000),
    "a number with a point": number(b'"iat":1', b'"iat":1.0'),
    "a number with an exponent": number(b'"iat":1', b'"iat":1e0'),
    "a negative number": number(b'"iat":1', b'"iat":-1'),
    "a leading zero": number(b'"iat":1', b'"iat":01'),
    "2^53": number(b'"iat":1', b'"iat":9007199254740992'),
    "a number of a thousand digits": number(b'"iat":1', b'"iat":' + b"9" * 1000),
    "NaN": number(b'"iat":1', b'"iat":NaN'),
    "a boolean for an integer": put("iat", True),  # noqa: FBT003  a JSON value
    "an integer for a boolean": put("pin", 0),
    "an unknown member": put("admin", "yes"),
    "an unknown member, deep": put("instance", "spot", "yes"),
    "null for absent": put("instance", "public-hostname", None),
    "a list for an object": worded(lambda text: b"[" + text + b"]"),
    "text behind": worded(lambda text: text + b"{}"),
    "a comment": worded(lambda text: b"/**/" + text),
    "single quotes": worded(lambda text: text.replace(b'"', b"'")),
    "empty": worded(lambda _: b""),
}


def signed_by_another(_subject: Subject, good: Assertion) -> bytes:
    """The key inside is one, the signer another: what was parsed first proves nothing."""
    return jws.sign(jws.ASSERTION_HEADER, good.to_payload(), generate_key())


def changed_after(subject: Subject, good: Assertion) -> bytes:
    """Another payload under a signature that was good."""
    head, _, signature = subject.sign(good).decode().split(".")
    return f"{head}.{b64u_encode(replace(good, reason='operator').to_payload())}.{signature}".encode()


E5: Table = {"signed by another key": signed_by_another, "changed after signing": changed_after}


def jwk(**changes: Any) -> Break:
    """Change the key's members; None takes one out."""

    def make(subject: Subject, good: Assertion) -> bytes:
        found = good.cnf.as_json() | changes
        return put("cnf", "jwk", {name: value for name, value in found.items() if value is not None})(subject, good)

    return make


E6: Table = {
    "one more member": jwk(kid="me"),
    "the private half too": jwk(d="A" * 43),
    "no kty": jwk(kty=None),
    "another curve": jwk(crv="P-384"),
    "another type": jwk(kty="OKP"),
    "not on the curve": jwk(x="A" * 43),
    "x as long as it needs to be": jwk(x="AQ"),
    "x beyond the field": jwk(x="_" * 42 + "8"),
    "the negated point": lambda subject, good: jwk(y=negated(good.cnf))(subject, good),
}


def negated(key: PublicJwk) -> str:
    """Give the y of the other point with this x: on the curve, and not the signer's."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    y = int.from_bytes(base64.urlsafe_b64decode(key.y + "="), "big")
    return b64u_encode((prime - y).to_bytes(32, "big"))


E7: Table = {
    f"{'.'.join(path)} {words}": put(*path, value)
    for words, path, value in (
        ("with a line break", ("sub",), "i-0123456789abcdef0\n"),
        ("in capitals", ("sub",), "I-0123456789ABCDEF0"),
        ("with other digits", ("instance", "account-id"), "١١١١٢٢٢٢٣٣٣٣"),
        ("with a line break", ("instance", "region"), "eu-central-1\n"),
        ("with a slash", ("instance", "region"), "eu-central-1/"),
        ("with an at sign", ("submods", "identity-role", "region"), "eu-central-1@evil.example"),
        ("with a hash", ("submods", "identity-role", "region"), "eu-central-1#"),
        ("as a host", ("submods", "identity-role", "region"), "evil.example/-1"),
        ("with other digits", ("submods", "identity-role", "region"), "eu-central-١"),
        ("as a host", ("submods", "identity-role", "endpoint"), "https://evil.example/"),
        ("with a line break", ("submods", "identity-role", "security-token"), "abc\r\nhost:evil.example"),
        ("with a blank", ("submods", "identity-role", "security-token"), "abc def"),
        ("with a line break", ("submods", "identity-role", "amz-date"), "20270115T080000Z\n"),
        ("with other digits", ("submods", "identity-role", "amz-date"), "2027011٥T080000Z"),
        ("in capitals", ("submods", "identity-role", "signature"), "A" * 64),
        ("a long-term key", ("submods", "identity-role", "access-key-id"), "AKIAABCDEFGHIJKLMNOP"),
        ("too long", ("instance", "local-hostname"), "a" * 254),
        ("a path", ("instance", "role"), "../../root"),
        ("of 15 bytes", ("jti",), "A" * 20),
        ("too short", ("eat_nonce",), "A" * 21),
    )
}

TOP = "aud iat jti eat_nonce sub cnf seal trust instance reason pin submods"
CLAIMS = "instance-type reservation-id local-hostname account-id region image-id"
PROOF = "region endpoint access-key-id security-token amz-date signature"
MEMBERS = (
    *((name,) for name in TOP.split()),
    *(("instance", name) for name in CLAIMS.split()),
    *(("submods", "identity-role", name) for name in PROOF.split()),
    ("cnf", "jwk"),
    ("seal", "kem"),
    ("seal", "key"),
    ("submods", "iid", "rsa2048"),
)
V2: Table = (
    {f"without {'.'.join(path)}": drop(*path) for path in MEMBERS}
    | {f"{'.'.join(path)} is a list": put(*path, []) for path in MEMBERS}
    | {
        "reason unknown": put("reason", "curiosity"),
        "trust of five": put("trust", [b64u_encode(bytes([one]) * 32) for one in range(5)]),
        "trust twice the same": put("trust", ["A" * 43, "A" * 43]),
        "have is 0": put("have", 0),
        "one more proof": put("submods", "nitrotpm", {}),
        "one more field of a proof": put("submods", "identity-role", "host", "evil.example"),
    }
)

# X25519's points of small order (RFC 7748 section 6.1, as libsodium lists them): they load, and fail when used.
LOW_ORDER = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


def sealed_to(kem: str, raw: bytes) -> Break:
    """Ask for an answer to a key that nobody can use; AWS's proof is made for it."""
    key = SealPublicKey(kem=kem, raw=raw)
    return lambda subject, good: subject.sign_payload(subject.proven(replace(good, seal=key)).to_payload())


def v3(hybrid_key: bytes, p256_key: bytes) -> Table:
    """Give the broken seal keys, made of good ones."""
    return {
        f"X25519 point of low order {number}": sealed_to(KEMS[0], hybrid_key[:1184] + point)
        for number, point in enumerate(LOW_ORDER)
    } | {
        "hybrid key a byte short": sealed_to(KEMS[0], hybrid_key[:-1]),
        "hybrid key a byte long": sealed_to(KEMS[0], hybrid_key + b"\0"),
        "ML-KEM numbers beyond q": sealed_to(KEMS[0], b"\xff" * 1184 + hybrid_key[1184:]),
        "P-256 point off the curve": sealed_to(KEMS[1], p256_key[:-1] + bytes([p256_key[-1] ^ 1])),
        "P-256 point compressed": sealed_to(KEMS[1], b"\x02" + p256_key[1:33]),
        "P-256 in the hybrid form of X9.62": sealed_to(KEMS[1], bytes([6 | p256_key[-1] & 1]) + p256_key[1:]),
        "P-256 infinity": sealed_to(KEMS[1], bytes(65)),
        "a key of the other kem": sealed_to(KEMS[1], hybrid_key),
    }
