"""Knows how to sign the same each time, and how to keep what cannot be made the same each time: what HPKE sealed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from hsm_enrol.errors import SealError
from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire.answer import Answer
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.seal import SealPrivateKey, answer_info
from hsm_enrol.wire.strict import b64u_decode, b64u_encode
from tests.vectors.inputs import ASSERTIONS, NOW, SEALS, SECRET_ACCESS_KEY

HERE = Path(__file__).parent
Json = dict[str, Any]


def sign(header: bytes, payload: bytes, key: ec.EllipticCurvePrivateKey) -> str:
    """Sign as jws.sign does, by RFC 6979: the same signature each time."""
    signed = f"{b64u_encode(header)}.{b64u_encode(payload)}"
    raw = key.sign(signed.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = utils.decode_dss_signature(raw)
    return f"{signed}.{b64u_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Sealed:
    """What was sealed, by name; kept while it opens."""

    def __init__(self) -> None:
        """Read what there is."""
        path = HERE / "sealed.json"
        self._old: Json = json.loads(path.read_text("ascii"))["sealed"] if path.exists() else {}
        self.made: Json = {}

    def seal(self, name: str, key: SealPrivateKey, plaintext: bytes, info: bytes) -> bytes:
        """Give enc and ciphertext."""
        old = self.made.get(name) or self._old.get(name, {})
        sealed = b64u_decode(old.get("sealed", ""), "sealed")
        if not _opens(key, sealed, info, plaintext):
            sealed = key.public.seal(plaintext, info)
        self.made[name] = {
            "kem": key.kem,
            "secret": key.to_bytes().hex(),
            "info": info.hex(),
            "plaintext": plaintext.decode("ascii"),
            "sealed": b64u_encode(sealed),
        }
        return sealed


def _opens(key: SealPrivateKey, sealed: bytes, info: bytes, plaintext: bytes) -> bool:
    try:
        return key.open(sealed, info) == plaintext
    except SealError:
        return False


def proven(assertion: Assertion) -> Assertion:
    """Give an assertion whose GetCallerIdentity is signed with the fixed AWS credentials."""
    role = assertion.identity_role
    if role is None:
        return assertion
    credentials = Credentials(
        access_key_id=role.access_key_id,
        secret_access_key=SECRET_ACCESS_KEY,
        session_token=role.security_token,
        expiration="",
    )
    signed = sign_get_caller_identity(
        credentials,
        region=role.region,
        endpoint=role.endpoint,
        suffix=None,
        amz_date=role.amz_date,
        binding=assertion.binding(),
    )
    return replace(assertion, identity_role=signed)


REQUESTS = {name: proven(one) for name, one in ASSERTIONS.items()}
BOOT = REQUESTS["a first boot"]


def info_of(request: Assertion, serial: int) -> bytes:
    """Give HPKE's info of an answer."""
    return answer_info(
        aud=request.aud,
        jti=request.jti,
        nonce=request.eat_nonce,
        sub=request.sub,
        serial=serial,
        thumbprint=request.seal.thumbprint,
    )


def answer(
    sealed: Sealed, name: str, request: Assertion, serial: int, plaintext: bytes | None, *, trial: bool = False
) -> Answer:
    """Give an answer's payload; with a plaintext it is sealed under `name`."""
    made = None
    if plaintext is not None:
        made = sealed.seal(name, SEALS[request.seal.kem], plaintext, info_of(request, serial))
    return Answer(
        jti=request.jti,
        sub=request.sub,
        aud=request.aud,
        nonce=request.eat_nonce,
        iat=NOW,
        serial=serial,
        state="current" if made is None else "bundle",
        trial=trial,
        kem=None if made is None else request.seal.kem,
        seal_thumbprint=None if made is None else request.seal.thumbprint,
        sealed=made,
    )
