"""Root at the keyboard leaves nothing in the verifier's folder that the verifier cannot read."""

import os
import pwd
from pathlib import Path

import pytest

from hsm_verifier.__main__ import main
from hsm_verifier.cli.common import become_owner_of

Calls = list[tuple[object, ...]]
STRANGER = 4_000_000_000  # in no password file


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is asked of the kernel about whom we are; nothing is done."""
    made: Calls = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("initgroups", "setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *words, name=name: made.append((name, *words)))
    return made


def belongs_to(monkeypatch: pytest.MonkeyPatch, user: int, group: int, below: Path = Path("/")) -> None:
    stat = Path.stat

    def told(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = list(stat(path, follow_symlinks=follow_symlinks))
        return os.stat_result([*found[:4], user, group, *found[6:]] if path.is_relative_to(below) else found)

    monkeypatch.setattr(Path, "stat", told)


def test_root_goes_on_as_the_folders_owner_groups_first(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    belongs_to(monkeypatch, pwd.getpwnam("nobody").pw_uid, 7)
    become_owner_of(tmp_path)
    user = pwd.getpwnam("nobody").pw_uid
    assert calls == [("initgroups", "nobody", 7), ("setgid", 7), ("setuid", user)]


def test_an_owner_without_a_name_has_no_other_groups(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    belongs_to(monkeypatch, STRANGER, 7)
    become_owner_of(tmp_path)
    assert calls == [("setgroups", []), ("setgid", 7), ("setuid", STRANGER)]


def test_roots_own_folder_a_missing_one_and_other_users_change_nothing(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    become_owner_of(tmp_path / "missing")
    belongs_to(monkeypatch, 0, 0)
    become_owner_of(tmp_path)
    belongs_to(monkeypatch, STRANGER, 7)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    become_owner_of(tmp_path)
    assert calls == []


@pytest.mark.parametrize(
    "words",
    [
        ["ledger", "list"],
        ["audit", "verify"],
        ["group", "list"],
        ["bundle", "list"],
        ["aws-certs", "list"],
        ["answer-key", "rotate"],
        ["grant", "i-0a1b2c3d4e5f60718", "--reason", "why"],
        ["tls", "issue"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_each_command_does_so_before_anything_else(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    folder = tmp_path / "verifier"
    assert main(["init", str(folder)]) == 0
    assert calls == []
    before = times(folder)
    monkeypatch.setattr(os, "setuid", refuses)
    belongs_to(monkeypatch, STRANGER, 7)
    assert main([*words, "--config", str(folder / "hsm-verifier.toml")]) == 74
    assert times(folder) == before
    assert main(["init", str(folder)]) == 74


@pytest.mark.parametrize("words", [["grant", "i-0a1b2c3d4e5f60718", "--reason", "why"], ["tls", "issue"]])
@pytest.mark.parametrize("theirs", ["settings", "audit"])
def test_settings_that_name_a_folder_of_root_do_not_make_root_write_there(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, theirs: str, words: list[str]
) -> None:
    folder, other = tmp_path / "verifier", tmp_path / "other"
    assert main(["init", str(folder)]) == 0
    other.mkdir()
    settings = folder / "hsm-verifier.toml"
    text = settings.read_text()
    assert text.count('audit = "audit.jsonl"') == 1
    settings.write_text(text.replace('audit = "audit.jsonl"', f'audit = "{other}/audit.jsonl"'))
    monkeypatch.setattr(os, "setuid", refuses)
    belongs_to(monkeypatch, STRANGER, 7, below=folder if theirs == "settings" else other)
    assert main([*words, "--config", str(settings)]) == 74
    assert calls == [("setgroups", []), ("setgid", 7)]
    assert list(other.iterdir()) == []


def times(folder: Path) -> dict[str, int]:
    return {str(path): os.lstat(path).st_mtime_ns for path in folder.rglob("*")}


def refuses(_user: int) -> None:
    raise PermissionError(1, "Operation not permitted")
