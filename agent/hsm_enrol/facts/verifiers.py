"""Knows how to greet each verifier without asking for anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hsm_enrol.checks.verifiers import Greeting
from hsm_enrol.errors import EnrolError
from hsm_enrol.facts.look import Look, or_error
from hsm_enrol.host.courier import Courier
from hsm_enrol.host.peer import certificate_until
from hsm_enrol.host.trust import trusting
from hsm_enrol.settings import Settings

VERIFIER_TIME = 8.0  # seconds for each verifier: a fault that needs longer to pass is one to be told


def find_greetings(look: Look, settings: Settings) -> Iterator[Greeting]:
    """Ask each verifier for a challenge, by itself: one that works must not hide one that does not."""
    for url in settings.verifier.urls:
        try:
            courier = Courier(
                replace(settings.verifier, urls=(url,)),
                root=look.root,
                deadline=look.deadline(VERIFIER_TIME),
                rng=look.rng,
                sleep=look.sleep,
                clock=look.clock,
                patience=VERIFIER_TIME / 2,
            )
        except EnrolError:
            return  # the CA file cannot be used, which is a finding already
        try:
            heard = or_error(courier.greet)
        finally:
            courier.close()
        until = None
        if not isinstance(heard, EnrolError) and not settings.verifier.proxy:
            until = certificate_until(url, trusting(settings.verifier.ca_file, look.root))
        yield Greeting(url=url, heard=heard, offset=courier.offset, until=until)
