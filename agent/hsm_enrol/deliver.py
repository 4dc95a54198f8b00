"""Knows what applications get once the slot is there: ha.env, the PIN if asked for, the Luna provider."""

from __future__ import annotations

from collections.abc import Iterator

from hsm_enrol import java_security
from hsm_enrol.model import Desired, Present, PutFile, Seen, Step
from hsm_enrol.plan import Former
from hsm_enrol.settings import Settings

HA_ENV = "/run/hsm-enrol/ha.env"
PIN_FILE = "/run/hsm-enrol/partition-pin"
PIN_CREDENTIAL = "/var/lib/hsm-enrol/pin.cred"
ENV_MODE, PIN_MODE, LONE_PIN_MODE, CREDENTIAL_MODE = 0o644, 0o440, 0o400, 0o600


def delivered_paths(desired: Desired, settings: Settings) -> tuple[str, ...]:
    """Give every path that a delivery may touch on this host."""
    return (HA_ENV, *pin_files(settings), *desired.paths.java)


def pin_files(settings: Settings) -> tuple[str, ...]:
    """Give the files that hold the PIN, sealed or not, as the settings want it delivered."""
    wanted = {"none": (), "credential": (PIN_CREDENTIAL,), "file": (PIN_CREDENTIAL, PIN_FILE)}
    return wanted[settings.deliver.pin]


def ha_env(desired: Desired) -> bytes:
    """Give the text for EnvironmentFile=. The slot is the one last proven; labels are what applications should use."""
    slot = "" if desired.ha.slot is None else f"LUNA_HA_SLOT={desired.ha.slot}\n"
    return f"LUNA_HA_LABEL={desired.ha.label}\n{slot}".encode("ascii")


def deliveries(desired: Desired, seen: Seen, former: Former) -> Iterator[Step]:
    """Give the steps for what has no secret: ha.env and the java.security files; a JDK that is not there is no fault.

    A java.security file that the settings name no more loses the provider. Raises java_security.NotUnderstood.
    """
    env, there = ha_env(desired), seen.at(HA_ENV)
    if not isinstance(there, Present) or there.content != env or there.mode != ENV_MODE:
        yield PutFile(path=HA_ENV, content=env, mode=ENV_MODE, uid=seen.uid, gid=seen.gid)
    for path in dict.fromkeys((*desired.paths.java, *former.java)):
        found = seen.at(path)
        if isinstance(found, Present):
            change = java_security.with_provider if path in desired.paths.java else java_security.without_provider
            content = change(found.content, path)
            if content != found.content:
                yield PutFile(path=path, content=content, mode=found.mode, uid=found.uid, gid=found.gid)


def sealed_pin(credential: bytes, seen: Seen) -> Iterator[Step]:
    """Give the step that lays down the PIN sealed to this machine."""
    there = seen.at(PIN_CREDENTIAL)
    if not isinstance(there, Present) or there.content != credential or there.mode != CREDENTIAL_MODE:
        yield PutFile(
            path=PIN_CREDENTIAL, content=credential, mode=CREDENTIAL_MODE, uid=seen.uid, gid=seen.gid, secret=True
        )


def open_pin(pin: bytes, seen: Seen) -> PutFile:
    """Give the step that writes the PIN for applications, on tmpfs, readable by luna.group."""
    mode, gid = (LONE_PIN_MODE, seen.gid) if seen.key_gid is None else (PIN_MODE, seen.key_gid)
    return PutFile(path=PIN_FILE, content=pin, mode=mode, uid=seen.uid, gid=gid, secret=True)
