"""A secret file is read when nobody but its owner and we ourselves may, by its mode or by its ACL."""

import errno
import os
import struct
from pathlib import Path

import pytest

from hsm_verifier.durable import ACL, read_secret

OWNER, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 0xFFFFFFFF
ROOT_READS = ((OWNER, 4, NOBODY), (GROUP_OBJ, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 0, NOBODY))
US, STRANGER = os.geteuid(), os.geteuid() + 1


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.key"
    path.write_bytes(b"a key")
    path.chmod(0o440)  # what systemd's credential on a tmpfs looks like to stat(2)
    return path


def has_acl(monkeypatch: pytest.MonkeyPatch, *entries: tuple[int, int, int]) -> None:
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

    def told(_handle: int, name: str) -> bytes:
        assert name == ACL == "system.posix_acl_access"
        return packed

    monkeypatch.setattr(os, "getxattr", told)


def has_none(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def told(_handle: int, _name: str) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "getxattr", told)


def test_a_credential_that_systemd_gives_us_by_an_acl_is_read(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_acl(monkeypatch, *ROOT_READS, (USER, 4, US))
    assert read_secret(secret) == b"a key"


@pytest.mark.parametrize(
    "more",
    [(USER, 4, STRANGER), (GROUP, 4, 7), (GROUP_OBJ, 4, NOBODY), (OTHER, 4, NOBODY), (USER, 2, STRANGER)],
    ids=["another user", "a group", "the owner's group", "everyone", "another user may write"],
)
def test_an_acl_that_names_anybody_else_is_refused(
    secret: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[int, int, int]
) -> None:
    has_acl(monkeypatch, *ROOT_READS, (USER, 4, US), more)
    with pytest.raises(PermissionError, match="may be read by others; chmod 600 it"):
        read_secret(secret)


@pytest.mark.parametrize("number", [errno.ENODATA, errno.ENOTSUP])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_without_an_acl_the_mode_says_it_all(
    secret: Path, monkeypatch: pytest.MonkeyPatch, number: int, mode: int
) -> None:
    has_none(monkeypatch, number)
    secret.chmod(mode)
    with pytest.raises(PermissionError):
        read_secret(secret)
    secret.chmod(0o600)
    assert read_secret(secret) == b"a key"


def test_the_kernels_own_acl_is_read_as_it_keeps_it(secret: Path) -> None:
    entries = ((OWNER, 4, NOBODY), (USER, 4, US), (GROUP_OBJ, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 0, NOBODY))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(secret, ACL, acl)
    assert secret.stat().st_mode & 0o777 == 0o440
    assert read_secret(secret) == b"a key"
