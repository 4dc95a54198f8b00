"""Knows the settings file: hsm-enrol.toml as one frozen value, every fault named with its line."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSettings:
    """`[verifier]`: where the verifying party is and how it is recognised."""

    urls: tuple[str, ...]
    audience: str
    ca_file: str
    answer_keys: tuple[str, ...]
    deadline: float = 600.0
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImdsSettings:
    """`[imds]`: the endpoint, empty for the two link-local addresses."""

    endpoint: str = ""
    deadline: float = 120.0
    aws_dns_suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionSettings:
    """`[assertion]`: which evidence is sent and which kem seals the answer."""

    evidence: tuple[str, ...] = ("identity-role", "iid")
    sts_endpoint: str = "regional"
    kem: str = "mlkem768-x25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class LunaSettings:
    """`[luna]`: where the Luna client is and how the host joins."""

    prefix: str = ""
    config: str = ""
    join: str = "tool"
    group: str = "hsmusers"
    tool_timeout: float = 60.0
    existing_objects: str = "quit"
    allowed_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSettings:
    """`[deliver]`: what applications get beside ha.env."""

    pin: str = "none"
    java_security: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file. `root` is --root: it prefixes every path on disk, as systemd's tools do."""

    verifier: VerifierSettings
    imds: ImdsSettings = field(default_factory=ImdsSettings)
    assertion: AssertionSettings = field(default_factory=AssertionSettings)
    luna: LunaSettings = field(default_factory=LunaSettings)
    deliver: DeliverSettings = field(default_factory=DeliverSettings)
    root: str = ""
