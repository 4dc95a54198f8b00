"""A file is written so that no power cut leaves half of it, and a secret one is read when nobody else may do so."""

import errno
import fcntl
import os
import stat
import struct
import threading
from pathlib import Path

import pytest

from hsm_verifier.durable import ACL, read_secret, write_file
from hsm_verifier.ledger.store import Store
from hsm_verifier.vault import Vault
from tests.verifier.party import NOW, make_bundle

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


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What reaches the disk, in its order: a file's bytes and mode, or a folder, when it is flushed; each new name."""
    found: list[tuple[object, ...]] = []
    real = os.fsync, os.rename, os.link

    def fsync(handle: int) -> None:
        there, status = Path(f"/proc/self/fd/{handle}"), os.fstat(handle)
        what = (there.read_bytes(), stat.S_IMODE(status.st_mode)) if stat.S_ISREG(status.st_mode) else there.resolve()
        found.append(("flushed", what))
        real[0](handle)

    def rename(old: Path, new: Path) -> None:
        found.append(("renamed", new))
        real[1](old, new)

    def link(old: Path, new: Path) -> None:
        found.append(("linked", new))
        real[2](old, new)

    for call in (fsync, rename, link):
        monkeypatch.setattr(os, call.__name__, call)
    return found


def held(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


@pytest.mark.parametrize(("replace", "named"), [(False, "linked"), (True, "renamed")])
def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_is_over(
    tmp_path: Path, done: list[tuple[object, ...]], *, replace: bool, named: str
) -> None:
    path = tmp_path / "last-serial"
    write_file(path, b"17", mode=0o640, replace=replace)
    assert done == [("flushed", (b"17", 0o640)), (named, path), ("flushed", tmp_path)]
    assert held(tmp_path) == {"last-serial": b"17"}


def test_what_is_there_is_replaced_by_who_says_so_and_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "last-serial"
    path.write_bytes(b"16")
    with pytest.raises(FileExistsError):
        write_file(path, b"17", mode=0o600)
    assert held(tmp_path) == {"last-serial": b"16"}
    write_file(path, b"17", mode=0o600, replace=True)
    assert held(tmp_path) == {"last-serial": b"17"}


def test_a_disk_that_takes_no_more_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last-serial"
    path.write_bytes(b"16")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"17", mode=0o600, replace=True)
    assert held(tmp_path) == {"last-serial": b"16"}


def test_nobody_else_may_read_a_secret_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = os.fchmod

    def fchmod(handle: int, mode: int) -> None:
        made.append(stat.S_IMODE(os.fstat(handle).st_mode))
        real(handle, mode)

    monkeypatch.setattr(os, "fchmod", fchmod)
    before = os.umask(0)
    try:
        write_file(tmp_path / "key.pem", b"secret", mode=0o644)
    finally:
        os.umask(before)
    assert made == [0o600]


def test_a_secret_is_no_link_to_anywhere(tmp_path: Path, secret: Path) -> None:
    secret.chmod(0o600)
    link = tmp_path / "link.key"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic"):
        read_secret(link)
    assert read_secret(secret) == b"a key"


def test_a_serial_is_used_up_on_the_disk_before_a_bundle_has_it(vault: Vault, done: list[tuple[object, ...]]) -> None:
    folder = vault._folder
    serial = vault.put("web", make_bundle(), NOW)
    sealed = folder / "web" / f"{serial}.sealed"
    assert done == [
        ("flushed", folder),  # the group's own folder is there
        ("flushed", (str(serial).encode(), 0o600)),
        ("renamed", folder / "last-serial"),
        ("flushed", folder),
        ("flushed", (sealed.read_bytes(), 0o600)),
        ("linked", sealed),
        ("flushed", folder / "web"),
    ]
    assert stat.S_IMODE(sealed.parent.stat().st_mode) == 0o700


def test_a_serial_that_was_used_up_is_never_given_again(vault: Vault) -> None:
    serial = vault.put("web", make_bundle(), NOW)
    (vault._folder / "web" / f"{serial}.sealed").unlink()
    assert vault.put("web", make_bundle(), NOW) == serial + 1
    (vault._folder / "last-serial").unlink()
    assert vault.put("db", make_bundle(), NOW) == serial + 2


def test_one_publication_waits_for_another(vault: Vault) -> None:
    vault.put("web", make_bundle(), NOW)
    with (vault._folder / ".lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        publishing = threading.Thread(target=vault.put, args=("web", make_bundle(), NOW))
        publishing.start()
        publishing.join(0.1)
        assert len(vault.serials("web")) == 1
    publishing.join(20)
    assert len(vault.serials("web")) == 2


def test_what_sqlite_committed_survives_a_power_cut(store: Store) -> None:
    with store.reading() as tx:
        said = {name: tx.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")}
    assert said == {"journal_mode": "wal", "synchronous": 2}  # FULL


def test_no_file_stays_open(tmp_path: Path, secret: Path) -> None:
    def handles() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    secret.chmod(0o600)
    before = handles()
    for number in range(3):
        write_file(tmp_path / str(number), b"17", mode=0o600)
        read_secret(secret)
    assert handles() == before
