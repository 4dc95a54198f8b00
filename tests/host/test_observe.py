"""Looking at a host: three answers, three types, and no program is run."""

import errno
import os
from pathlib import Path

import pytest

from hsm_enrol.deliver import PIN_FILE
from hsm_enrol.errors import CannotTell
from hsm_enrol.host import observe
from hsm_enrol.model import ABSENT, Present, Unknown
from hsm_enrol.settings import LunaSettings, Settings, VerifierSettings

VERIFIER = VerifierSettings(urls=("https://vp.example",), audience="hsm-enrol:x", ca_file="system", answer_keys=("/k",))


def settings(root: Path, config: str = "") -> Settings:
    return Settings(verifier=VERIFIER, luna=LunaSettings(config=config), root=str(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/real.conf").write_bytes(b"conf")
    (tmp_path / "etc/Chrystoki.conf").symlink_to("/etc/real.conf")
    (tmp_path / "etc/group").write_text("root:x:0:\nhsmusers:x:990:alice\n")
    return tmp_path


def test_the_conf_is_read_through_its_links_which_are_told_as_logical_paths(root: Path) -> None:
    seen = observe.observe(settings(root), "/etc/Chrystoki.conf", [])
    assert seen.conf == Present(content=b"conf", mode=0o644, uid=0, gid=0, links=("/etc/Chrystoki.conf",))
    assert (seen.uid, seen.gid, seen.key_gid) == (0, 0, 990)


def test_three_answers_are_three_types(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "etc/pipe")
    (root / "etc/big").write_bytes(b"x" * ((1 << 20) + 1))
    paths = ["/etc/group", "/etc/none", "/etc/group/none", "/etc/Chrystoki.conf", "/etc/pipe", "/etc", "/etc/big"]
    seen = observe.observe(settings(root), "/etc/none.conf", paths)
    assert seen.conf is ABSENT
    assert isinstance(seen.at("/etc/group"), Present)
    assert [seen.at(path) for path in paths[1:]] == [
        ABSENT,
        ABSENT,
        Unknown(error="ELOOP"),
        Unknown(error="EINVAL"),
        Unknown(error="EINVAL"),
        Unknown(error="EFBIG"),
    ]
    with pytest.raises(CannotTell) as caught:
        observe.refuse_unknown(seen, "/etc/none.conf")
    assert caught.value.facts == {"path": "/etc/Chrystoki.conf", "error": "ELOOP"}

    def denied(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "sabotage")

    monkeypatch.setattr(os, "open", denied)
    assert observe.look("/etc/group", str(root)) == Unknown(error="EIO")


def test_a_pin_is_never_read_only_seen(root: Path) -> None:
    (root / "run/hsm-enrol").mkdir(parents=True)
    (root / "run/hsm-enrol/partition-pin").write_bytes(b"canary")
    found = observe.observe(settings(root), "/etc/Chrystoki.conf", [PIN_FILE]).at(PIN_FILE)
    assert isinstance(found, Present)
    assert found.content == b""


def test_the_conf_is_where_the_settings_or_the_clients_variable_say(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ChrystokiConfigurationPath", raising=False)
    assert observe.conf_of(settings(root)) == "/etc/Chrystoki.conf"
    monkeypatch.setenv("ChrystokiConfigurationPath", "/opt/luna")
    assert observe.conf_of(settings(root)) == "/opt/luna/Chrystoki.conf"
    assert observe.conf_of(settings(root, config="/srv/x.conf")) == "/srv/x.conf"
    monkeypatch.setenv("ChrystokiConfigurationPath", "relative")
    assert observe.conf_of(settings(root)) == "/etc/Chrystoki.conf"


@pytest.mark.parametrize(("group", "gid"), [("hsmusers", 990), ("root", 0), ("nobody-here", None), ("", None)])
def test_a_group_is_looked_up_on_the_host_it_is_for(root: Path, group: str, gid: int | None) -> None:
    assert observe.gid_of(group, str(root)) == gid


def test_without_a_root_the_machine_is_asked() -> None:
    assert observe.gid_of("root") == 0
    assert observe.gid_of("no-such-group") is None


def test_folders_still_to_be_made_are_told(root: Path) -> None:
    (root / "etc/dir").symlink_to("/etc")
    paths = ["/etc/a", "/etc/server/a", "/etc/server/b", "/etc/dir/x", "/opt/x", "/opt/luna/cert/x"]
    found = ("/etc/server", "/opt", "/opt/luna", "/opt/luna/cert")  # each is inside one that is there by then
    assert observe.missing_folders(paths, str(root)) == found


def test_looking_at_an_unsafe_folder_is_allowed_for_nothing_is_written(root: Path) -> None:
    (root / "etc").chmod(0o777)
    assert isinstance(observe.look("/etc/group", str(root)), Present)
