"""Knows how to look at everything that an enrolment needs, on the spot and in one go: facts first, then judgement.

Nothing is changed (to prove that a place can be written, a temporary file is made there and removed), nobody is asked
for a bundle, no PIN is used. A fault in one part hides none in another: what cannot be seen is a finding itself.
"""

from __future__ import annotations

from hsm_enrol.checks import client, identity, membership, pinned, surroundings, verifiers
from hsm_enrol.checks.finding import Finding, of_error, ok
from hsm_enrol.errors import EnrolError
from hsm_enrol.facts.client import find_client, find_places
from hsm_enrol.facts.identity import find_machine
from hsm_enrol.facts.look import Look
from hsm_enrol.facts.membership import find_membership
from hsm_enrol.facts.pinned import find_pinned
from hsm_enrol.facts.verifiers import find_greetings
from hsm_enrol.host.around import look_around
from hsm_enrol.host.site import Site
from hsm_enrol.settings import load


def check(look: Look) -> tuple[Finding, ...]:
    """Give every finding, in the order in which an enrolment would stumble."""
    around = look_around(look.root, look.environ)
    try:
        settings = load(look.settings_path, look.root)
    except EnrolError as error:
        return (of_error("settings", error), *surroundings.judge(around, proxy="", destinations=()))
    now, site = look.clock(), Site.of(settings)
    places = find_places(site)
    trusted = find_pinned(look, settings)
    kids = () if isinstance(trusted.kids, EnrolError) else trusted.kids
    greetings = tuple(find_greetings(look, settings))
    return (
        ok("settings", f"{look.settings_path} is understood"),
        *surroundings.judge(around, proxy=settings.verifier.proxy, destinations=_logical(places, look.root)),
        *pinned.judge(trusted, now),
        *identity.judge(find_machine(look, settings), now),
        *verifiers.judge(greetings, settings, kids, now),
        *client.judge(find_client(look, site, places)),
        *membership.judge(find_membership(look, site), now),
    )


def _logical(places: tuple[tuple[str, EnrolError | None], ...], root: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(root) for path, _ in places)
