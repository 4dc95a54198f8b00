"""Knows what a single value of the settings may be: each check gives it as the program uses it, or raises Fault."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit


class Fault(Exception):
    """What is wrong with one value, and what would be right; the line is added where the text is at hand."""

    def __init__(self, what: str, better: str) -> None:
        """Say both in one line each."""
        super().__init__(what)
        self.what, self.better = what, better


def as_text(value: Any) -> str:
    """Give a printable text. Raises Fault."""
    if not isinstance(value, str) or not value.isprintable():
        raise Fault("a text is wanted here", "put it in double quotes")
    return value


def one_of(*words: str) -> Callable[[Any], str]:
    """Give a check that takes one of these words."""

    def check(value: Any) -> str:
        if value not in words:
            raise Fault("unknown word", "one of: " + " | ".join(words))
        return str(value)

    return check


def many(check: Callable[[Any], str], least: int, most: int) -> Callable[[Any], tuple[str, ...]]:
    """Give a check of a list whose items `check` takes."""

    def check_all(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Fault(f"a list of {least} to {most} texts is wanted here", 'like this: ["one", "two"]')
        return tuple(check(one) for one in value)

    return check_all


def as_path(value: Any) -> str:
    """Give an absolute path, or nothing. Raises Fault."""
    path = as_text(value)
    if path and not path.startswith("/"):
        raise Fault("a path must be absolute", "start it with /")
    return path


def as_url(value: Any) -> str:
    """Give a verifier's address, https and nothing behind the port. Raises Fault."""
    url = as_text(value).rstrip("/")
    parts = _parts(url, "https")
    if parts is None or parts.query or parts.fragment or parts.username or parts.path:
        raise Fault("not the address of a verifier", 'like this: "https://vp1.example:8443"')
    return url


def as_proxy(value: Any) -> str:
    """Give a proxy's address, or nothing. Raises Fault."""
    proxy = as_text(value)
    if proxy and _parts(proxy, "http") is None:
        raise Fault("not the address of a proxy", 'like this: "http://proxy.example:3128", or "" for none')
    return proxy


def as_endpoint(value: Any) -> str:
    """Give the address of a metadata service, or nothing. Raises Fault."""
    endpoint = as_text(value).rstrip("/")
    parts = _parts(endpoint, "http")
    if endpoint and (parts is None or parts.path):
        raise Fault("not an IMDS endpoint", 'like this: "http://169.254.169.254", or "" for the two link-local ones')
    return endpoint


def _parts(address: str, scheme: str) -> SplitResult | None:
    """Take an address apart; None when it is none of that scheme, with a host, and a port that there can be."""
    try:
        parts = urlsplit(address)
        whole = parts.scheme == scheme and _is_host(parts.hostname or "") and (parts.port is None or parts.port > 0)
    except ValueError:  # of brackets that do not close, and of a port that is no number or too large
        return None
    return parts if whole else None


def _is_host(host: str) -> bool:
    """Tell whether there can be such a host: wider than RFC 1123, as resolvers are (`_`, a last dot, any alphabet)."""
    if ":" in host:  # it stood in brackets
        ipaddress.IPv6Address(host)
        return True
    return re.fullmatch(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", host) is not None


def as_audience(value: Any) -> str:
    """Give the name of the verifiers' ledger. Raises Fault."""
    audience = as_text(value)
    if not re.fullmatch(r"[A-Za-z0-9._:/-]{1,128}", audience, re.ASCII):
        raise Fault("not an audience", "copy the line that `hsm-verifier init` printed")
    return audience


def as_ca_file(value: Any) -> str:
    """Give a path, or the word `system`. Raises Fault."""
    return "system" if value == "system" else as_path(value)


def as_suffix(value: Any) -> str:
    """Give a DNS suffix, or nothing. Raises Fault."""
    suffix = as_text(value)
    if suffix and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", suffix, re.ASCII):
        raise Fault("not a DNS suffix", 'like this: "amazonaws.com"')
    return suffix


def as_group(value: Any) -> str:
    """Give a group's name. Raises Fault."""
    group = as_text(value)
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", group, re.ASCII):
        raise Fault("not a group name", 'like this: "hsmusers"')
    return group


def as_server(value: Any) -> str:
    """Give a host name or an IP network. Raises Fault."""
    server = as_text(value)
    try:
        ipaddress.ip_network(server)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,198}[A-Za-z0-9])?", server, re.ASCII):
            raise Fault("neither a host name nor an IP network", 'like this: "hsm1.example" or "10.1.0.0/16"') from None
    return server


_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "hr": 3600.0, "d": 86400.0}
_MAX_SPAN = 86400.0


def as_span(value: Any) -> float:
    """Read a systemd time span (systemd.time(7)): `10min`, `1h 30min`, `500ms`; seconds, more than 0, at most a day."""
    text = value if isinstance(value, str) else ""
    parts = re.findall(r"\s*(\d{1,6})\s*([a-z]+)", text)
    total = sum(int(number) * _UNITS.get(unit, float("nan")) for number, unit in parts)
    whole = re.fullmatch(r"(\s*\d{1,6}\s*[a-z]+)+\s*", text, re.ASCII)
    if not whole or not 0 < total <= _MAX_SPAN:
        raise Fault("not a time span", 'like this: "90s", "10min", "1h 30min"; a day at most')
    return total
