"""Knows bundles that must be refused: members outside their tables, certificates and keys that are no pair."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hsm_enrol.wire.bundle import Bundle
from tests.vectors.inputs import BUNDLES, DAY, KEYS, NOW, certify, pem, rsa_key, rsa_numbers
from tests.vectors.signing import Json

Fault = tuple[str, str, str, Any]
"""Door, rule, fault, what is given."""
BUNDLE = next(iter(BUNDLES.values()))


def bundles() -> Iterator[Fault]:
    """Give what breaks a table (A5)."""
    good: Json = json.loads(BUNDLE.to_bytes())
    server, ha, pin = good["servers"][0], good["ha"], good["partition_pin"]

    def servers(**changed: object) -> Json:
        return {"servers": [server | changed]}

    for fault, changed in (
        ("another schema", {"schema": 2}),
        ("a path", {"path": "/etc/Chrystoki.conf"}),
        ("a client's name that is a path", {"client": good["client"] | {"name": "../web"}}),
        ("a client's name that begins with a dot", {"client": good["client"] | {"name": ".web"}}),
        ("no server", {"servers": []}),
        ("seventeen servers", {"servers": [server | {"address": f"hsm{number}.example"} for number in range(17)]}),
        ("two servers with one address", {"servers": [server, server | {"address": server["address"].upper()}]}),
        (
            "one IPv6 address in two spellings",
            {"servers": [server | {"address": one} for one in ("fd00::1", "FD00:0::1")]},
        ),
        ("an address that C libraries read as another", servers(address="127.1")),
        ("an address in hexadecimal", servers(address="0x7f000001")),
        ("an address with a blank", servers(address="hsm1 example")),
        ("port zero", servers(port=0)),
        ("port 65536", servers(port=65536)),
        ("something before the PEM", servers(certificate="x\n" + server["certificate"])),
        ("two certificates in one", servers(certificate=server["certificate"] * 2)),
        ("a label that ends the line", {"ha": ha | {"label": "web;"}}),
        ("a member twice", {"ha": ha | {"members": ["1", "1"]}}),
        ("a member with a leading zero", {"ha": ha | {"members": ["01"]}}),
        ("more tries than Luna takes", {"ha": ha | {"retry": 501}}),
        ("a shorter interval than Luna takes", {"ha": ha | {"interval": 59}}),
        ("a PIN with a line end", {"partition_pin": pin | {"value": "correct\nhorse"}}),
        ("a PIN that is not ASCII", {"partition_pin": pin | {"value": "corré"}}),
    ):
        yield "bundle", "A5", fault, json.dumps(good | changed)
    for_ever = json.dumps(good | {"ha": ha | {"retry": -1}})
    yield "bundle", "E4", "tries for ever in Luna's own writing", for_ever


def pairs() -> Iterator[Fault]:
    """Give certificates and keys that do not fit (A6)."""
    owner, answerer, stranger = KEYS["owner"], KEYS["answer"], KEYS["stranger"]
    numbers = rsa_numbers()
    bent = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d, numbers.dmp1 ^ 4, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    sec1 = owner.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for fault, changed in (
        ("a certificate of another key", _client(certificate=certify(stranger, "web"))),
        ("a certificate that has expired", _client(certificate=certify(owner, "web", end=NOW - 1))),
        ("a certificate that is not valid yet", _client(certificate=certify(owner, "web", start=NOW + 1))),
        ("a key under a certificate's name", _client(certificate=pem(owner).replace("PRIVATE KEY", "CERTIFICATE"))),
        ("a P-256 key under RSA's label", _client(private_key=_wrap("RSA PRIVATE KEY", sec1))),
        ("a locked key", _client(private_key=_wrap("ENCRYPTED PRIVATE KEY", sec1))),
        (
            "an RSA key with one bit of dP flipped",
            _client(certificate=certify(rsa_key(), "web"), private_key=pem(bent)),
        ),
        ("one subject, two keys", _servers(certify(answerer, "679797"), certify(stranger, "679797"))),
        ("an appliance's certificate that has expired", _servers(certify(answerer, "679797", end=NOW - DAY // 2))),
    ):
        yield "bundle", "A6", fault, changed.to_bytes().decode()


def _client(**changed: str) -> Bundle:
    return replace(BUNDLE, client=replace(BUNDLE.client, **changed))


def _servers(*certificates: str) -> Bundle:
    found = tuple(replace(one, certificate=pem_) for one, pem_ in zip(BUNDLE.servers, certificates, strict=False))
    return replace(BUNDLE, servers=found)


def _wrap(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
