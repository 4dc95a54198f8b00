"""Knows the settings file: hsm-enrol.toml as one frozen value, each fault with its line and the nearest key."""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hsm_enrol.errors import BadSettings, SettingsMissing
from hsm_enrol.shapes import dataclass

DEFAULT_PATH = "/etc/hsm-enrol/hsm-enrol.toml"
_MAX_BYTES = 64 * 1024


class _Fault(Exception):
    """What is wrong with one value, and what would be right; the line is added where the text is at hand."""

    def __init__(self, what: str, better: str) -> None:
        super().__init__(what)
        self.what, self.better = what, better


# --- checks of one value: each gives the value in the form the program uses, or raises _Fault


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise _Fault("a text is wanted here", "put it in double quotes")
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise _Fault("unknown word", "one of: " + " | ".join(words))
        return str(value)

    return check


def _many(check: Callable[[Any], str], least: int, most: int) -> Callable[[Any], tuple[str, ...]]:
    def check_all(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise _Fault(f"a list of {least} to {most} texts is wanted here", 'like this: ["one", "two"]')
        return tuple(check(one) for one in value)

    return check_all


def _path(value: Any) -> str:
    path = _text(value)
    if path and not path.startswith("/"):
        raise _Fault("a path must be absolute", "start it with /")
    return path


def _url(value: Any) -> str:
    url = _text(value).rstrip("/")
    parts = urlsplit(url)
    try:
        whole = parts.scheme == "https" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole or parts.query or parts.fragment or parts.username or parts.path:
        raise _Fault("not the address of a verifier", 'like this: "https://vp1.example:8443"')
    return url


def _proxy(value: Any) -> str:
    proxy = _text(value)
    if proxy and (urlsplit(proxy).scheme != "http" or not urlsplit(proxy).hostname):
        raise _Fault("not the address of a proxy", 'like this: "http://proxy.example:3128", or "" for none')
    return proxy


def _endpoint(value: Any) -> str:
    endpoint = _text(value).rstrip("/")
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme != "http" or not parts.hostname or parts.path):
        raise _Fault("not an IMDS endpoint", 'like this: "http://169.254.169.254", or "" for the two link-local ones')
    return endpoint


def _audience(value: Any) -> str:
    audience = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9._:/-]{1,128}", audience, re.ASCII):
        raise _Fault("not an audience", "copy the line that `hsm-verifier init` printed")
    return audience


def _ca_file(value: Any) -> str:
    return "system" if value == "system" else _path(value)


def _suffix(value: Any) -> str:
    suffix = _text(value)
    if suffix and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", suffix, re.ASCII):
        raise _Fault("not a DNS suffix", 'like this: "amazonaws.com"')
    return suffix


def _group(value: Any) -> str:
    group = _text(value)
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", group, re.ASCII):
        raise _Fault("not a group name", 'like this: "hsmusers"')
    return group


def _server(value: Any) -> str:
    server = _text(value)
    try:
        ipaddress.ip_network(server)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,198}[A-Za-z0-9])?", server, re.ASCII):
            raise _Fault(
                "neither a host name nor an IP network", 'like this: "hsm1.example" or "10.1.0.0/16"'
            ) from None
    return server


_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "hr": 3600.0, "d": 86400.0}
_MAX_SPAN = 86400.0


def _span(value: Any) -> float:
    """Read a systemd time span (systemd.time(7)): `10min`, `1h 30min`, `500ms`; seconds, more than 0, at most a day."""
    text = value if isinstance(value, str) else ""
    parts = re.findall(r"\s*(\d{1,6})\s*([a-z]+)", text)
    total = sum(int(number) * _UNITS.get(unit, float("nan")) for number, unit in parts)
    whole = re.fullmatch(r"(\s*\d{1,6}\s*[a-z]+)+\s*", text, re.ASCII)
    if not whole or not 0 < total <= _MAX_SPAN:
        raise _Fault("not a time span", 'like this: "90s", "10min", "1h 30min"; a day at most')
    return total


# --- the file, one class a table


def _key(check: Callable[[Any], Any], default: Any = MISSING) -> Any:
    return field(metadata={"check": check}) if default is MISSING else field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSettings:
    """`[verifier]`: where the verifying party is and how it is recognised. Times in seconds."""

    urls: tuple[str, ...] = _key(_many(_url, 1, 16))
    audience: str = _key(_audience)
    ca_file: str = _key(_ca_file)
    answer_keys: tuple[str, ...] = _key(_many(_path, 1, 4))
    deadline: float = _key(_span, 600.0)
    proxy: str = _key(_proxy, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImdsSettings:
    """`[imds]`: the endpoint, empty for the two link-local addresses."""

    endpoint: str = _key(_endpoint, "")
    deadline: float = _key(_span, 120.0)
    aws_dns_suffix: str = _key(_suffix, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionSettings:
    """`[assertion]`: which evidence is sent and which kem seals the answer."""

    evidence: tuple[str, ...] = _key(_many(_one_of("identity-role", "iid"), 0, 2), ("identity-role", "iid"))
    sts_endpoint: str = _key(_one_of("regional", "fips"), "regional")
    kem: str = _key(_one_of("mlkem768-x25519", "p256"), "mlkem768-x25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class LunaSettings:
    """`[luna]`: where the Luna client is and how the host joins."""

    prefix: str = _key(_path, "")
    config: str = _key(_path, "")
    join: str = _key(_one_of("tool", "config"), "tool")
    group: str = _key(_group, "hsmusers")
    tool_timeout: float = _key(_span, 60.0)
    existing_objects: str = _key(_one_of("quit", "copy"), "quit")
    allowed_servers: tuple[str, ...] = _key(_many(_server, 0, 64), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSettings:
    """`[deliver]`: what applications get beside ha.env."""

    pin: str = _key(_one_of("none", "credential", "file"), "none")
    java_security: tuple[str, ...] = _key(_many(_path, 0, 16), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file. `root` is --root: it prefixes every path on disk, as systemd's tools do."""

    verifier: VerifierSettings
    imds: ImdsSettings = field(default_factory=ImdsSettings)
    assertion: AssertionSettings = field(default_factory=AssertionSettings)
    luna: LunaSettings = field(default_factory=LunaSettings)
    deliver: DeliverSettings = field(default_factory=DeliverSettings)
    root: str = ""


_TABLES: dict[str, type[Any]] = {
    "verifier": VerifierSettings,
    "imds": ImdsSettings,
    "assertion": AssertionSettings,
    "luna": LunaSettings,
    "deliver": DeliverSettings,
}
_T = TypeVar("_T")


def load(path: str, root: str = "") -> Settings:
    """Read the file at `path` as it stands (no root added); SettingsMissing or BadSettings, both exit 78."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsMissing(path=path, error=error.strerror or "unreadable") from None
    if len(raw) > _MAX_BYTES:
        raise BadSettings(path=path, line=1, what="the file is larger than 64 KiB", better="is that the right file?")
    return parse(raw, path, root)


def parse(raw: bytes, path: str, root: str = "") -> Settings:
    """Give the settings that the bytes of a file at `path` hold."""
    try:
        text = raw.decode("utf-8")
        tree = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadSettings(path=path, line=line, what="not UTF-8", better="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise BadSettings(path=path, line=line, what="not TOML", better="texts stand in double quotes") from None
    for name in tree:
        if name not in _TABLES:
            raise BadSettings(
                path=path,
                line=_line(text, "", name),
                what=f"unknown table or key {name!a}",
                better=_near(name, _TABLES),
            )
    tables = {name: _table(kind, tree.get(name, {}), name, text, path) for name, kind in _TABLES.items()}
    return Settings(root=root.rstrip("/"), **tables)


def _table(kind: type[_T], values: Any, name: str, text: str, path: str) -> _T:
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]  # every table above is a dataclass
    if not isinstance(values, dict):
        raise BadSettings(path=path, line=_line(text, "", name), what=f"{name!a} is a table", better=f"write [{name}]")
    for key in values:
        if key not in known:
            line = _line(text, name, key)
            raise BadSettings(path=path, line=line, what=f"unknown key {key!a} in [{name}]", better=_near(key, known))
    read = {}
    for key, one in known.items():
        if key in values:
            try:
                read[key] = one.metadata["check"](values[key])
            except _Fault as fault:
                line = _line(text, name, key)
                raise BadSettings(
                    path=path, line=line, what=f"{name}.{key}: {fault.what}", better=fault.better
                ) from None
        elif one.default is MISSING:
            raise BadSettings(
                path=path, line=_line(text, "", name), what=f"{name}.{key} is missing", better="it has no default"
            )
    return kind(**read)


def _near(word: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "known here: " + ", ".join(known)


def _line(text: str, table: str, key: str) -> int:
    """Find the line that sets `key` in `table` (or opens the table `key`); 1 when it is written in an unusual way."""
    here = ""
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        header = re.match(r"\[\[?\s*\"?([^\]\"\s]+)", bare)
        if header:
            here = header[1]
            if not table and here.split(".")[0] == key:
                return number
        elif here in {table, ""} and re.match(rf"[\"']?{re.escape(key if here else table or key)}[\"']?\s*[=.]", bare):
            return number
    return 1
