"""Knows how to show what would be sent, without asking for anything: claims and evidence, credentials masked."""

from __future__ import annotations

import json
import time

from hsm_enrol.ask import Question, answer_keys, make_assertion
from hsm_enrol.at_work import Run, open_imds
from hsm_enrol.cli.out import show, show_json
from hsm_enrol.errors import KemMissing
from hsm_enrol.host import state
from hsm_enrol.host.state import Owner
from hsm_enrol.wire.keys import generate_key
from hsm_enrol.wire.messages import Challenge
from hsm_enrol.wire.seal import SealPrivateKey, kem_available

NO_NONCE = "not-asked-for-a-nonce--"


def show_assertion(run: Run, *, as_json: bool) -> int:
    """Print the assertion, bare or as a member of --json's object.

    Nonce and seal key are made up, and so is the owner key where there is none yet. Raises KemMissing, and what
    IMDS and the settings raise.
    """
    settings = run.settings
    if not kem_available(settings.assertion.kem):
        raise KemMissing(kem=settings.assertion.kem)
    imds = open_imds(run)
    try:
        identity = imds.fetch_identity()
    finally:
        imds.close()
    owner = state.read_owner(settings.root)
    if owner is None or owner.instance_id != identity.instance_id:
        run.voice.say("no owner key yet; the one shown is made up")
        owner = Owner(instance_id=identity.instance_id, key=generate_key())
    record = state.read_record(settings.root)
    installed = record.installed if record is not None else None
    now = time.time()
    request = make_assertion(
        identity,
        settings,
        owner,
        SealPrivateKey.generate(settings.assertion.kem).public,
        keys=answer_keys(settings),
        question=Question(reason=run.reason, have=None, pin=installed is None and settings.luna.join == "tool"),
        challenge=Challenge(nonce=NO_NONCE, expires_in=0, server_time=int(now)),
        now=now,
    )
    if as_json:
        show_json({"assertion": request.masked()})
    else:
        show(json.dumps(request.masked(), indent=2))
    return 0
