"""Knows what pages and acts need: ledger, bundles, audit, counts, policy, sessions, and how a page is rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hsm_verifier import __version__
from hsm_verifier.admin.asked import Asked, Page
from hsm_verifier.admin.recent import Recent
from hsm_verifier.admin.sessions import Sessions
from hsm_verifier.admin.words import ago, moment
from hsm_verifier.ledger.fleet import Fleet
from hsm_verifier.published import Catalogue, Published
from hsm_verifier.visible import visible

if TYPE_CHECKING:
    from hsm_verifier.audit import Audit
    from hsm_verifier.counts import Counts
    from hsm_verifier.ledger.store import Store
    from hsm_verifier.ports import Policy

SHORT = 72  # characters

STATIC = {
    name: resources.files("hsm_verifier.admin").joinpath("static", name).read_bytes()
    for name in ("admin.css", "icon.svg")
}
ADDRESSES = {name: f"/static/{hashlib.sha256(content).hexdigest()[:16]}-{name}" for name, content in STATIC.items()}
"""Where a file is served: its name changes with its content, so that browsers may keep it for ever."""


def make_templates() -> Environment:
    """Give the templates' environment: everything is escaped unless a template of ours made it."""
    made = Environment(
        loader=PackageLoader("hsm_verifier.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.filters |= {"ago": ago, "moment": moment, "short": short}
    return made


def short(text: str) -> str:
    """Give a text that is only a hint where it stands, cut to one or two lines."""
    return visible(text, SHORT)


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """One operators' room. `clock` is Unix seconds; `tls_not_after` when this server's certificate ends."""

    audience: str
    store: Store
    catalogue: Catalogue
    recent: Recent
    audit: Audit
    counts: Counts
    policy: Policy
    sessions: Sessions
    clock: Callable[[], float]
    tls_not_after: float | None
    began: float
    templates: Environment = field(default_factory=make_templates)

    def bundle_names(self) -> dict[str, bool]:
        """Give the names under which groups get their bundles, and whether any of them has a release gate."""
        found: dict[str, bool] = {}
        for name in self.policy.names():
            group = self.policy.group(name)
            found[group.bundle_name] = found.get(group.bundle_name, False) or group.release_gate
        return found

    def handed_out(self, bundles: tuple[Published, ...]) -> tuple[Published, ...]:
        """Give those that some group gets: of a group that was given up nobody has to hear for ever."""
        names = self.bundle_names()
        return tuple(one for one in bundles if one.group in names)

    def missed(self, broken: dict[str, str]) -> dict[str, str]:
        """Give those broken ones that some group should get."""
        names = self.bundle_names()
        return {group: why for group, why in broken.items() if group in names}

    def fleet(self, bundles: tuple[Published, ...], now: float) -> Fleet:
        """Give the fleet as it stands against these bundles."""
        return Fleet(self.store, {one.group: one.serial for one in self.handed_out(bundles)}, now)

    def render(self, template: str, asked: Asked | None, *, status: int = 200, **values: Any) -> Page:
        """Fill a template; what anybody else wrote is escaped for HTML and spelled out where it is unprintable."""
        session = asked.session if asked else None
        body = self.templates.get_template(template).render(
            asked=asked,
            told=self.sessions.hear(session) if session else "",
            now=self.clock(),
            audience=self.audience,
            version=__version__,
            static=ADDRESSES,
            **values,
        )
        return Page(status=status, body=body)
