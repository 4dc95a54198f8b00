"""systemd is asked for the time that settings allow: it would end a run after TimeoutStartSec= otherwise."""

import io
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from hsm_enrol.at_work import Run, at_work
from hsm_enrol.errors import CaUnusable
from hsm_enrol.host import service_manager
from hsm_enrol.host.service_manager import MARGIN, ask_for_time
from hsm_enrol.host.tools import run_tool
from hsm_enrol.host.voice import Voice
from hsm_enrol.settings import ImdsSettings, Settings
from tests.played_host import VERIFIER

Heard = Callable[[], list[float]]


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """What systemd was asked for, in seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(0)
        place = str(tmp_path / "notify")
        name = place if request.param == "path" else f"@{place}"
        manager.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)

        def messages() -> list[float]:
            found: list[float] = []
            while True:
                try:
                    text = manager.recv(4096).decode()
                except BlockingIOError:
                    return found
                before, _, microseconds = text.partition("EXTEND_TIMEOUT_USEC=")
                assert before == ""
                found.append(int(microseconds) / 1e6)

        yield messages


def tool(*argv: str, timeout: float) -> None:
    run_tool(
        argv,
        pin=None,
        timeout=timeout,
        env_conf=None,
        lock_fd=None,
        existing_objects="quit",
        stop=lambda: False,
        question=lambda _: None,
    )


def test_each_tool_has_its_own_time(heard: Heard) -> None:
    tool(sys.executable, "-c", "", timeout=1200.0)
    assert heard() == [1200.0 + MARGIN]


def test_a_run_has_the_time_that_its_settings_allow(heard: Heard, tmp_path: Path) -> None:
    settings = Settings(
        verifier=replace(VERIFIER, deadline=3600.0),
        imds=ImdsSettings(deadline=1800.0),
        root=str(tmp_path),
    )
    for place in ("run", "var/lib"):
        (tmp_path / place).mkdir(parents=True)
    run = Run(settings=settings, settings_path="settings", reason="operator", voice=Voice(stream=io.StringIO()))
    with pytest.raises(CaUnusable), at_work(run):  # there is none here; the time was asked for before
        pass
    assert heard() == [3600.0 + 2 * 1800.0 + MARGIN]


def test_nobody_is_asked_where_no_systemd_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ask_for_time(1.0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    ask_for_time(1.0)


def test_a_manager_that_takes_nothing_more_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    monkeypatch.setattr(service_manager, "PATIENCE", 0.1)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
    ):
        manager.bind(place)
        others.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                others.sendto(b"READY=1", place)
        asking = threading.Thread(target=ask_for_time, args=(1.0,), daemon=True)
        asking.start()
        asking.join(5)
        assert not asking.is_alive()
        assert manager.recv(4096) == b"READY=1"
        ask_for_time(1.0)  # there is room again
        heard = []
        while select.select([manager], [], [], 0)[0]:
            heard.append(manager.recv(4096))
    assert heard[-1] == b"EXTEND_TIMEOUT_USEC=91000000"
