"""Knows how to make the assertion that a laboratory machine's agent would make, without an agent."""

from __future__ import annotations

import dataclasses
import datetime as dt

from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire.assertion import Assertion, Instance
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.seal import SealPrivateKey
from lab.machine import Machine


def now() -> str:
    """Give this moment as AWS writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")


def request_of(machine: Machine, *, endpoint: str = "regional", date: str = "", role: str | None = None) -> Assertion:
    """Make an assertion with AWS's proof for it; keys, nonce and verifier are made up."""
    own = machine.credentials
    bare = Assertion(
        aud="hsm-enrol:5d0c",
        iat=1,
        jti="A" * 22,
        eat_nonce="n" * 43,
        sub=machine.instance_id,
        cnf=PublicJwk.from_key(generate_key().public_key()),
        seal=SealPrivateKey.generate("p256").public,
        trust=("t" * 43,),
        instance=Instance(
            instance_type=machine.instance_type,
            reservation_id=machine.reservation_id,
            local_hostname=machine.local_hostname,
            account_id=machine.account_id,
            region=machine.region,
            image_id=machine.image_id,
            local_ipv4=machine.local_ipv4 or "",
            public_hostname=machine.public_hostname,
            role=role or machine.role,
        ),
        reason="boot",
        have=None,
        pin=False,
        identity_role=None,
        iid="".join(machine.rsa2048.split()),
    )
    proof = sign_get_caller_identity(
        Credentials(
            access_key_id=own.access_key_id,
            secret_access_key=own.secret_access_key,
            session_token=own.session_token,
            expiration=own.expiration,
        ),
        region=machine.region,
        endpoint=endpoint,
        suffix=None,
        amz_date=date or now(),
        binding=bare.binding(),
    )
    return dataclasses.replace(bare, identity_role=proof)
