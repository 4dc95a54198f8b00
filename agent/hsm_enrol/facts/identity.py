"""Knows how to find out whether this machine can say, and prove, which instance it is."""

from __future__ import annotations

from pathlib import Path

from hsm_enrol.ask import Question, make_assertion
from hsm_enrol.checks.identity import Machine, Told
from hsm_enrol.errors import EnrolError, KemMissing
from hsm_enrol.facts.look import Look, first_line, or_error
from hsm_enrol.host import state
from hsm_enrol.host.folders import below
from hsm_enrol.host.imds import DMI, Identity, Imds
from hsm_enrol.host.state import Owner
from hsm_enrol.settings import Settings
from hsm_enrol.wire.keys import generate_key
from hsm_enrol.wire.messages import Challenge
from hsm_enrol.wire.seal import SealPrivateKey, kem_available

IMDS_TIME = 12.0  # seconds: three silent token requests are the hop limit, and each may take two
_NO_NONCE = "n" * 43


def find_machine(look: Look, settings: Settings) -> Machine:
    """Ask IMDS everything, compare with firmware and disk, and make a proof with keys that are thrown away."""
    imds = Imds(
        settings.imds.endpoint,
        deadline=look.deadline(min(settings.imds.deadline, IMDS_TIME)),
        rng=look.rng,
        sleep=look.sleep,
        dmi=Path(below(look.root, DMI)),
    )
    try:
        found = or_error(lambda: (imds.fetch_identity(), imds.fetch_lifecycle()))
    finally:
        imds.close()
    kem = settings.assertion.kem
    return Machine(
        endpoint=settings.imds.endpoint,
        link_local=not settings.imds.endpoint,
        told=found if isinstance(found, EnrolError) else _told(*found),
        dmi=first_line(below(look.root, DMI)),
        proof=None if isinstance(found, EnrolError) else _proof(found[0], settings, look.clock()),
        foreign=() if isinstance(found, EnrolError) else _foreign(found[0].instance_id, look.root),
        kem=None if kem_available(kem) else KemMissing(kem=kem),
    )


def _told(found: Identity, lifecycle: str | None) -> Told:
    return Told(
        instance=found.instance_id,
        region=found.instance.region,
        public_hostname=found.instance.public_hostname,
        role=found.instance.role,
        lifecycle=lifecycle,
        expires=found.credentials.expires,
    )


def _proof(found: Identity, settings: Settings, now: float) -> EnrolError | None:
    """Make an assertion with keys that are thrown away; give why that cannot be done for this region."""
    made = or_error(
        lambda: make_assertion(
            found,
            settings,
            Owner(instance_id=found.instance_id, key=generate_key()),
            SealPrivateKey.generate("p256").public,
            keys=(),
            question=Question(reason="operator", have=None, pin=False),
            challenge=Challenge(nonce=_NO_NONCE, expires_in=0, server_time=int(now)),
            now=now,
        )
    )
    return made if isinstance(made, EnrolError) else None


def _foreign(instance: str, root: str) -> tuple[str, ...]:
    """Give other instances whose state lies here (P18)."""
    owner = or_error(lambda: state.read_owner(root))
    record = or_error(lambda: state.read_record(root))
    ids = [one.instance_id for one in (owner, record) if one is not None and not isinstance(one, EnrolError)]
    return tuple(sorted({one for one in ids if one != instance}))
