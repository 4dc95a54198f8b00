"""Knows how to lay the PIN down sealed to this machine, with systemd-creds: by stdin, never by argument."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from hsm_enrol.errors import CredentialsMissing, ToolFailed
from hsm_enrol.host.folders import below, errno_name

if TYPE_CHECKING:
    import subprocess

PROGRAM = "/usr/bin/systemd-creds"
NAME = "partition-pin"
LIMIT = 30.0  # seconds; a TPM takes a few, a host key 6 ms


def must_be_there(pin: str, root: str = "") -> None:
    """Prove that the PIN can be sealed, before anybody is asked for one; `pin` is deliver.pin. CredentialsMissing.

    Without a credential nobody could give the PIN back after a reboot: the verifier serves a bundle once.
    """
    if pin != "none" and not os.access(below(root, PROGRAM), os.X_OK):
        raise CredentialsMissing(pin=pin, path=PROGRAM)


def encrypt(pin: bytearray, *, root: str = "") -> bytes:
    """Give the PIN as a credential that `LoadCredentialEncrypted=partition-pin:` opens. Raises ToolFailed."""
    return bytes(_run("encrypt", pin, root))


def decrypt(credential: bytes, *, root: str = "") -> bytearray:
    """Give the PIN out of such a credential; the caller zeroes it. Raises ToolFailed."""
    return _run("decrypt", credential, root)


def _run(verb: str, given: bytes | bytearray, root: str) -> bytearray:
    import subprocess  # noqa: PLC0415  only where a PIN is sealed

    argv = [below(root, PROGRAM), verb, f"--name={NAME}", "-", "-"]
    try:
        with subprocess.Popen(  # noqa: S603  systemd's own program, no shell
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"LC_ALL": "C"}, cwd="/"
        ) as process:
            clock = threading.Timer(LIMIT, process.kill)
            clock.start()
            try:
                output = _talk(process, given)
            finally:
                clock.cancel()
    except OSError as error:
        raise ToolFailed(tool="systemd-creds", command=verb, what=errno_name(error)) from error
    if process.returncode or not output:
        raise ToolFailed(tool="systemd-creds", command=verb, what=f"exit status {process.returncode}")
    return output


def _talk(process: subprocess.Popen[bytes], given: bytes | bytearray) -> bytearray:
    """Write, close, read to the end, without a copy of the secret that could not be zeroed.

    Both are far smaller than a pipe holds, so one after the other cannot block.
    """
    output = bytearray()
    if process.stdin is not None and process.stdout is not None:
        with suppress(BrokenPipeError):
            os.write(process.stdin.fileno(), given)
        process.stdin.close()
        block = bytearray(4096)
        while count := os.readv(process.stdout.fileno(), [block]):
            output += memoryview(block)[:count]
        zero(block)
    return output


def zero(secret: bytearray | None) -> None:
    """Overwrite a secret that is not needed any more."""
    if secret is not None:
        with suppress(BufferError):
            secret[:] = bytes(len(secret))
