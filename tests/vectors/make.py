"""Knows how to make the golden vectors: `python -m tests.vectors.make` writes tests/vectors/*.json anew.

Everything comes out the same each time but what HPKE seals: an encapsulation is random. Such a text is kept from the
last time as long as it opens to what it should.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from hsm_enrol.errors import WireError
from hsm_enrol.wire import jws, sts
from hsm_enrol.wire.answer import Answer
from hsm_enrol.wire.binding import lp
from hsm_enrol.wire.messages import Challenge, Problem
from hsm_enrol.wire.seal import HYBRID
from hsm_enrol.wire.strict import b64u_encode, dump_json, parse_json
from hsm_verifier.vault import Vault
from tests.vectors.inputs import BUNDLES, JWKS, KEYS, NOW, RECEIPTS, SEALS, SECRET_ACCESS_KEY, SERIAL
from tests.vectors.refused import refused
from tests.vectors.signing import HERE, REQUESTS, Json, Sealed, answer, sign


def answers(sealed: Sealed) -> dict[str, tuple[str, Answer]]:
    """Give the good answers, each with the name of the request it is about."""
    boot, refresh = REQUESTS
    first, second = (one.to_bytes() for one in BUNDLES.values())
    return {
        "the bundle, sealed by X-Wing": (boot, answer(sealed, "by X-Wing", REQUESTS[boot], SERIAL, first, trial=True)),
        "the bundle, sealed by P-256": (refresh, answer(sealed, "by P-256", REQUESTS[refresh], SERIAL + 1, second)),
        "nothing newer": (refresh, answer(sealed, "", REQUESTS[refresh], SERIAL, None)),
    }


def keys() -> Json:
    """Give keys.json."""
    return {
        "about": "Keys for tests. jwk, thumbprint: E6. seal: 32 secret bytes, what X-Wing's expand to, public.",
        "keys": {
            name: {
                "scalar": f"{key.private_numbers().private_value:064x}",
                "jwk": JWKS[name].as_json(),
                "thumbprint": JWKS[name].thumbprint,
            }
            for name, key in KEYS.items()
        },
        "seal": {
            kem: {
                "secret": key.to_bytes().hex(),
                "expanded": hashlib.shake_256(key.to_bytes()).hexdigest(96) if kem == HYBRID else None,
                "public": b64u_encode(key.public.raw),
                "thumbprint": key.public.thumbprint,
            }
            for kem, key in SEALS.items()
        },
        "aws": {"secret_access_key": SECRET_ACCESS_KEY},
    }


def encodings() -> Json:
    """Give encodings.json."""
    raw = [b"", b"\0", b"\xff\xef", bytes(range(32))]
    lists = [[], [""], ["a", ""], ["", "a"], ["hsm-enrol/1 binding", "x" * 300]]
    texts = [
        '{"b":[1,{"c":"é"}],"a":true}',
        ' {"big" : 9007199254740991 }',
        "[[[[[[[[]]]]]]]]",
        '"\\u00e9\\ud83d\\ude00"',
    ]
    return {
        "about": "E1: bytes and text. E7: texts and LP of them all. E4: texts, and how we write their value.",
        "base64url": [{"bytes": one.hex(), "text": b64u_encode(one)} for one in raw],
        "lp": [{"texts": one, "bytes": lp(*(text.encode() for text in one)).hex()} for one in lists],
        "json": [{"text": one, "written": dump_json(parse_json(one.encode())).decode()} for one in texts],
    }


def messages(sealed: Sealed) -> Json:
    """Give messages.json."""
    kid = JWKS["answer"].thumbprint
    found = [
        *(("assertion", name, "", jws.ASSERTION_HEADER, one.to_payload(), "owner") for name, one in REQUESTS.items()),
        *(("receipt", name, "", jws.RECEIPT_HEADER, one.to_payload(), "owner") for name, one in RECEIPTS.items()),
        *(
            ("answer", name, asked, jws.answer_header(kid), one.to_payload(), "answer")
            for name, (asked, one) in answers(sealed).items()
        ),
    ]
    return {
        "about": "Good messages: header and payload as they are signed, the key's name in keys.json, and the whole.",
        "messages": [
            {
                "kind": kind,
                "name": name,
                "answers": asked or None,
                "key": key,
                "header": header.decode(),
                "payload": payload.decode(),
                "signing_input": f"{b64u_encode(header)}.{b64u_encode(payload)}",
                "compact": sign(header, payload, KEYS[key]),
            }
            for kind, name, asked, header, payload, key in found
        ],
    }


def proofs() -> Json:
    """Give proofs.json."""
    found = []
    for name, request in REQUESTS.items():
        role = request.identity_role
        if role is None:
            continue
        host = sts.sts_host(role.region, role.endpoint)
        canonical = sts.canonical_request(
            host=host, amz_date=role.amz_date, security_token=role.security_token, binding=request.binding()
        )
        parts = (
            "hsm-enrol/1 binding",
            request.aud,
            request.eat_nonce,
            request.jti,
            request.cnf.thumbprint,
            request.seal.thumbprint,
            request.sub,
        )
        scope = sts.scope(role.region, role.amz_date)
        hashed = hashlib.sha256(canonical).hexdigest()
        found.append(
            {
                "assertion": name,
                "bound": lp(*(part.encode() for part in parts)).hex(),
                "binding": request.binding(),
                "host": host,
                "canonical_request": canonical.decode(),
                "string_to_sign": f"{sts.ALGORITHM}\n{role.amz_date}\n{scope}\n{hashed}",
                "signature": role.signature,
                "authorization": sts.authorization(role),
            }
        )
    regions = ("eu-central-1", "us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1")
    hosts = [
        {"region": one, "endpoint": kind, "partition": sts.partition(one), "host": _host(one, kind)}
        for one in regions
        for kind in sts.ENDPOINTS
    ]
    return {
        "about": "Binding and GetCallerIdentity of each assertion; hosts by region, null where none exists.",
        "proofs": found,
        "hosts": hosts,
    }


def _host(region: str, kind: str) -> str | None:
    try:
        return sts.sts_host(region, kind)
    except WireError:
        return None


def bundles() -> Json:
    """Give bundles.json."""
    return {
        "about": "Good bundles, valid at `now`.",
        "now": NOW,
        "bundles": {name: one.to_bytes().decode() for name, one in BUNDLES.items()},
    }


def open_messages() -> Json:
    """Give open.json."""
    challenge = Challenge(nonce="n" * 43, expires_in=300, server_time=NOW)
    problem = Problem(
        reason="clock_skew", status=400, detail="your clock differs from ours", decision="9f86d081884c", server_time=NOW
    )
    return {
        "about": "Messages that are not signed, as this project writes them.",
        "challenge": challenge.to_bytes().decode(),
        "problem": problem.to_bytes().decode(),
        "problem of few words": Problem(reason="busy", status=429).to_bytes().decode(),
    }


def serials() -> Json:
    """Give serials.json: what a real vault draws."""
    found = []
    for last in (0, NOW - 1, NOW, NOW + 500):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "last-serial").write_text(str(last), "ascii")
            drawn = Vault(Path(folder), bytes(32)).put("web", next(iter(BUNDLES.values())), NOW + 0.9)
        found.append({"last": last, "published": NOW, "serial": drawn})
    return {
        "about": "The serial of a bundle, by the last one drawn and the Unix time of publication.",
        "serials": found,
    }


def make() -> dict[str, str]:
    """Give every file's text by its name."""
    sealed = Sealed()
    found = {
        "keys": keys(),
        "encodings": encodings(),
        "messages": messages(sealed),
        "proofs": proofs(),
        "bundles": bundles(),
        "open": open_messages(),
        "serials": serials(),
        "refused": refused(sealed),
    }
    found["sealed"] = {
        "about": "What HPKE sealed: private key, info, plaintext. The one file not made the same twice.",
        "sealed": sealed.made,
    }
    return {f"{name}.json": json.dumps(one, indent=1, ensure_ascii=True) + "\n" for name, one in found.items()}


def main() -> None:
    """Write the files."""
    for name, text in make().items():
        (HERE / name).write_text(text, "ascii")
        print(f"tests/vectors/{name}")


if __name__ == "__main__":
    main()
