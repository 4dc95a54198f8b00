"""Knows the settings file: hsm-enrol.toml as one frozen value, each fault with its line and the nearest key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any, TypeVar

from hsm_enrol.errors import BadSettings, SettingsMissing
from hsm_enrol.setting_values import (
    Fault,
    as_audience,
    as_ca_file,
    as_endpoint,
    as_group,
    as_path,
    as_proxy,
    as_server,
    as_span,
    as_suffix,
    as_url,
    many,
    one_of,
)
from hsm_enrol.shapes import dataclass

_MAX_BYTES = 64 * 1024


def _key(check: Callable[[Any], Any], default: Any = MISSING) -> Any:
    return field(metadata={"check": check}) if default is MISSING else field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSettings:
    """`[verifier]`: where the verifying party is and how it is recognised. Times in seconds."""

    urls: tuple[str, ...] = _key(many(as_url, 1, 16))
    audience: str = _key(as_audience)
    ca_file: str = _key(as_ca_file)
    answer_keys: tuple[str, ...] = _key(many(as_path, 1, 4))
    deadline: float = _key(as_span, 600.0)
    proxy: str = _key(as_proxy, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImdsSettings:
    """`[imds]`: the endpoint, empty for the two link-local addresses."""

    endpoint: str = _key(as_endpoint, "")
    deadline: float = _key(as_span, 120.0)
    aws_dns_suffix: str = _key(as_suffix, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionSettings:
    """`[assertion]`: which evidence is sent and which kem seals the answer."""

    evidence: tuple[str, ...] = _key(many(one_of("identity-role", "iid"), 0, 2), ("identity-role", "iid"))
    sts_endpoint: str = _key(one_of("regional", "fips"), "regional")
    kem: str = _key(one_of("mlkem768-x25519", "p256"), "mlkem768-x25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class LunaSettings:
    """`[luna]`: where the Luna client is and how the host joins."""

    prefix: str = _key(as_path, "")
    config: str = _key(as_path, "")
    join: str = _key(one_of("tool", "config"), "tool")
    group: str = _key(as_group, "hsmusers")
    tool_timeout: float = _key(as_span, 60.0)
    existing_objects: str = _key(one_of("quit", "copy"), "quit")
    allowed_servers: tuple[str, ...] = _key(many(as_server, 0, 64), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSettings:
    """`[deliver]`: what applications get beside ha.env."""

    pin: str = _key(one_of("none", "credential", "file"), "none")
    java_security: tuple[str, ...] = _key(many(as_path, 0, 16), ())


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
_WRITTEN = "each table and key once, texts in double quotes, all brackets closed"
_NOBODY = VerifierSettings(urls=(), audience="", ca_file="", answer_keys=())


def of_an_image(root: str = "") -> Settings:
    """Give the defaults and no verifier: for what cleans an image that holds no settings, and asks nobody."""
    return Settings(verifier=_NOBODY, root=root.rstrip("/"))


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
        raise BadSettings(path=path, line=line, what="not TOML", better=_WRITTEN) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists without end
        raise BadSettings(path=path, line=1, what="not TOML", better="no value of ours is that large") from None
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
            except Fault as fault:
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
    import difflib  # noqa: PLC0415  only for who has mistyped

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
