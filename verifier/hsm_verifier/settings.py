"""Knows the settings file: hsm-verifier.toml as one frozen value; an unknown key is an error, never ignored."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hsm_enrol.wire.assertion import AUDIENCE
from hsm_verifier.settings_table import SettingsError, read, refuse_unknown, table_of, with_paths

__all__ = [
    "AdminSettings",
    "AwsSettings",
    "OpenBaoSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "StateSettings",
    "load_settings",
    "parse_listen",
    "settings_from_table",
]

_ROLE = (
    r"arn:(\{partition\}|aws[a-z-]*):iam::(\{account\}|[0-9]{12})"
    r":role/([A-Za-z0-9_+=,.@/-]|\{account\}|\{partition\})+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`[server]`: where to listen and how much one source may cost us (V1). Times in seconds, rates per second."""

    tls_certificate: str
    tls_key: str
    listen: str = "0.0.0.0:8443"
    workers: int = 128
    queue: int = 2048
    connections: int = 3072
    connections_per_source: int = 32
    requests_per_source: float = 5.0
    burst_per_source: int = 40
    wide_sources: tuple[str, ...] = ()
    wide_factor: int = 50
    forwarded_by: tuple[str, ...] = ()
    proxy_protocol_from: tuple[str, ...] = ()
    handshake_timeout: float = 5.0
    header_timeout: float = 5.0
    body_timeout: float = 10.0
    keep_alive: float = 5.0
    stop_timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """`[state]`: where keys, ledger, bundles, certificates, audit and policy rest."""

    ledger: str
    ledger_password: str = ""
    bundles: str = ""
    bundle_key: str = ""
    answer_keys: tuple[str, ...]
    nonce_key: str
    aws_certs: str
    audit: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """`[aws]`: how AWS is reached. Empty means AWS's own addresses and the public roots."""

    inventory: str = "ec2"
    static_instances: str = ""
    endpoint_url: str = ""
    sts_connect: str = ""
    ca_file: str = ""
    assume_role: str = ""
    assume_role_external_id: str = ""
    dns_suffixes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """`[admin]`: the operators' page and /metrics; an empty `listen` is off. Who may what: admin/who.py."""

    listen: str = ""
    tokens: str = ""
    may_act: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBaoSettings:
    """`[openbao]`: where several verifiers share bundles, in place of `state.bundles`; empty `url` means not at all."""

    url: str = ""
    ca_file: str = ""
    namespace: str = ""
    mount: str = "secret"
    prefix: str = "hsm-enrol"
    auth_mount: str = "approle"
    role_id: str = ""
    secret_id_file: str = ""
    token_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file; paths are absolute, taken from the file's own folder."""

    audience: str
    server: ServerSettings
    state: StateSettings
    aws: AwsSettings
    path: Path
    openbao: OpenBaoSettings = field(default_factory=OpenBaoSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)


def load_settings(path: Path) -> Settings:
    """Read hsm-verifier.toml. Raises SettingsError naming the key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {type(error).__name__}") from None
    except ValueError as error:  # not TOML, or a number of thousands of digits
        raise SettingsError(f"{path}: {error}") from None
    return settings_from_table(table, path)


def settings_from_table(table: dict[str, Any], path: Path) -> Settings:
    """Turn the parsed file into Settings; `path` is the file's own, for relative paths and error texts."""
    refuse_unknown(table, {"audience", "server", "state", "aws", "admin", "openbao"}, "")
    audience = table.get("audience")
    if not isinstance(audience, str) or not re.fullmatch(AUDIENCE, audience, re.ASCII):
        raise SettingsError(f"audience: must match {AUDIENCE}; `hsm-verifier init` makes one")
    folder = path.absolute().parent
    server = read(ServerSettings, table_of(table, "server"), "server")
    state = read(StateSettings, table_of(table, "state"), "state")
    aws = read(AwsSettings, table_of(table, "aws"), "aws")
    admin = read(AdminSettings, table_of(table, "admin"), "admin")
    for name in ("wide_sources", "forwarded_by", "proxy_protocol_from"):
        for text in getattr(server, name):
            try:
                ipaddress.ip_network(text)
            except ValueError:
                raise SettingsError(f"server.{name}: {text!r} is no IP network") from None
    if not 1 <= len(state.answer_keys) <= 2:  # noqa: PLR2004
        raise SettingsError("state.answer_keys: one, or two while a rotation is under way")
    _check_aws(aws)
    openbao = read(OpenBaoSettings, table_of(table, "openbao"), "openbao")
    _check_store(state, openbao)
    parse_listen(server.listen)
    return Settings(
        audience=audience,
        server=with_paths(server, folder, ("tls_certificate", "tls_key")),
        state=with_paths(
            state,
            folder,
            (
                "ledger_password",
                "bundles",
                "bundle_key",
                "answer_keys",
                "nonce_key",
                "aws_certs",
                "audit",
                "policy",
            ),
        ),
        aws=with_paths(aws, folder, ("ca_file", "static_instances")),
        openbao=with_paths(openbao, folder, ("ca_file", "secret_id_file", "token_file")),
        path=path.absolute(),
        admin=with_paths(admin, folder, ("tokens", "tls_certificate", "tls_key")),
    )


def _check_aws(aws: AwsSettings) -> None:
    """See now what would otherwise be found by the first instance that asks."""
    if aws.inventory not in {"ec2", "static"}:
        raise SettingsError("aws.inventory: ec2 or static")
    if aws.endpoint_url and not re.fullmatch(r"https?://[^/\s]+(/[^\s?#]*)?", aws.endpoint_url):
        raise SettingsError(f"aws.endpoint_url: {aws.endpoint_url!r} is not https://HOST, or http://HOST")
    if aws.assume_role and not re.fullmatch(_ROLE, aws.assume_role, re.ASCII):
        raise SettingsError("aws.assume_role: like arn:{partition}:iam::{account}:role/NAME")
    if aws.sts_connect:
        parse_listen(aws.sts_connect, "aws.sts_connect")


def _check_store(state: StateSettings, openbao: OpenBaoSettings) -> None:
    """Bundles rest in files or in OpenBao, never in both: one of them would be the older one."""
    if bool(openbao.url) == bool(state.bundles):
        raise SettingsError("state.bundles or openbao.url: exactly one of them")
    if bool(state.bundles) != bool(state.bundle_key):
        raise SettingsError("state.bundle_key: goes with state.bundles")
    if not openbao.url:
        return
    if not _is_safe(openbao.url):
        raise SettingsError("openbao.url: https://…, or http:// to an agent on this machine")
    if bool(openbao.token_file) == bool(openbao.role_id and openbao.secret_id_file):
        raise SettingsError("openbao.token_file, or openbao.role_id and openbao.secret_id_file")
    for name in ("mount", "prefix", "auth_mount"):
        if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", getattr(openbao, name), re.ASCII):
            raise SettingsError(f"openbao.{name}: letters, digits, - and _, parts separated by /")


def _is_safe(url: str) -> bool:
    """Tell whether it is the address of a server, reached by TLS or on this machine."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in {"localhost", "127.0.0.1", "::1"})
    )


def parse_listen(text: str, key: str = "server.listen") -> tuple[str, int]:
    """Take "HOST:PORT" or "[IPV6]:PORT" apart. Raises SettingsError that names the key."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
        raise SettingsError(f"{key}: {text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
