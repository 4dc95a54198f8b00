"""An instance that speaks with a server process over TLS; AWS believes what it says (played_server.py)."""

import time
from dataclasses import dataclass, replace

import requests
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key, public_from_pem
from hsm_enrol.wire.messages import ASSERTION_TYPE, Challenge
from hsm_enrol.wire.receipt import Receipt, sign_receipt
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_verifier.settings import load_settings
from tests.verifier.party import INSTANCE, make_request
from tests.verifier.served import Served


@dataclass
class Visitor:
    """Keys, and a connection that is kept."""

    served: Served
    session: requests.Session
    key: ec.EllipticCurvePrivateKey
    seal: SealPrivateKey

    @classmethod
    def of(cls, served: Served) -> "Visitor":
        return cls(served, served.session(), generate_key(), SealPrivateKey.generate("mlkem768-x25519"))

    def answer_key(self) -> ec.EllipticCurvePublicKey:
        return public_from_pem((self.served.folder / "answer-key.pem").read_bytes())

    def request(self) -> Assertion:
        told = Challenge.from_bytes(self.session.get(f"{self.served.url}/v1/challenge", timeout=10).content)
        kid = PublicJwk.from_key(self.answer_key()).thumbprint
        made = make_request(self.key, self.seal, sub=INSTANCE, eat_nonce=told.nonce, trust=(kid,))
        assert made.identity_role is not None
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(told.server_time))
        audience = load_settings(self.served.folder / "hsm-verifier.toml").audience
        return replace(made, aud=audience, identity_role=replace(made.identity_role, amz_date=date))

    def post(self, body: bytes, path: str = "enrolments", kind: str = ASSERTION_TYPE) -> requests.Response:
        headers = {"content-type": kind}
        return self.session.post(f"{self.served.url}/v1/{path}", data=body, headers=headers, timeout=20)

    def receipt(self, serial: int, nonce: str) -> bytes:
        told = Receipt(
            aud=load_settings(self.served.folder / "hsm-verifier.toml").audience,
            sub=INSTANCE,
            jti="A" * 22,
            nonce=nonce,
            serial=serial,
            result="installed",
            code=None,
            pin="accepted",
        )
        return sign_receipt(told, self.key)
