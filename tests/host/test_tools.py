"""The tool runner against real child processes: five ways to ask for a PIN, and every way to misbehave."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm_enrol.errors import Busy, ClientMissing, ToolFailed
from hsm_enrol.host import tools
from hsm_enrol.host.dial import look_up
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.tools import ToolRun, run_tool
from tests.host.look_ups import let_go, under_way

PIN = "canary-7Fq!2"
STARTED = 2.0  # seconds in which an interpreter is up and has spoken, whatever else the machine does

WAYS = {
    "getpass": """
        import getpass
        got = getpass.getpass("Please enter the password for the partition: ")
    """,
    "prompt then flush": """
        import os, termios
        os.write(1, b"Enter partition challenge > ")
        termios.tcflush(0, termios.TCIFLUSH)
        got = input()
    """,
    "/dev/tty": """
        with open("/dev/tty", "r+b", buffering=0) as tty:
            tty.write(b"Password: ")
            got = tty.readline().decode().rstrip("\\n")
    """,
    "stars in raw mode": """
        import os, tty
        os.write(1, b"Enter PIN:\\n> ")
        tty.setraw(0)
        got = ""
        while (key := os.read(0, 1)) not in b"\\r\\n":
            got += key.decode()
            os.write(1, b"*")
    """,
    "plain stdin": """
        import sys
        sys.stdout.write("password? ")
        sys.stdout.flush()
        got = sys.stdin.readline().rstrip("\\n")
    """,
}
CHECKS = """
import hashlib, os
print("got", hashlib.sha256(got.encode()).hexdigest())
for name in ("cmdline", "environ"):
    print(name, got.encode() in open(f"/proc/self/{name}", "rb").read())
"""


def question(tail: str) -> str | None:
    line = tail.rstrip("\n").rsplit("\n", 1)[-1] if tail.rstrip().endswith(">") else tail
    if "copy" in tail and "quit" in tail:
        return "objects"
    if re.search(r"(?i)(password|pin|challenge)[^\n]*[:>?]\s*(\n>\s*)?$", tail) or line == "> ":
        return "pin"
    return None


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], list[str]]:
    def write(body: str) -> list[str]:
        path = tmp_path / "vtl"
        path.write_text(f"#!{sys.executable} -I\n{textwrap.dedent(body)}")
        path.chmod(0o755)
        return [str(path), "addMember"]

    return write


def run(
    argv: list[str],
    *,
    pin: str | None = None,
    timeout: float = 20,
    lock_fd: int | None = None,
    env_conf: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> ToolRun:
    return run_tool(
        argv,
        pin=None if pin is None else bytearray(pin.encode()),
        timeout=timeout,
        env_conf=env_conf,
        lock_fd=lock_fd,
        existing_objects="quit",
        stop=stop,
        question=question,
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_pin_is_typed_once_however_it_is_asked_for_and_shows_nowhere(
    way: str, tool: Callable[[str], list[str]]
) -> None:
    ran = run(tool(textwrap.dedent(WAYS[way]) + CHECKS), pin=PIN)
    digest = __import__("hashlib").sha256(PIN.encode()).hexdigest()
    assert f"got {digest}" in ran.output, ran.output
    assert f"got {digest}" in ran.after_pin
    assert "cmdline False" in ran.output
    assert "environ False" in ran.output
    assert PIN not in ran.output
    assert (ran.status, ran.asked, ran.pin_sent, ran.asked_again) == (0, True, True, False)
    assert PIN not in repr(ran)


def test_a_tool_that_echoes_the_pin_itself_is_blotted_out(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool('got = input("PIN: ")\nprint("wrong pin", got)'), pin=PIN)
    assert PIN not in ran.output
    assert "wrong pin ****" in ran.after_pin


def test_a_second_question_ends_the_tool(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool('input("Password: ")\nprint("incorrect")\ninput("Password: ")\nprint("third")'), pin=PIN)
    assert ran.asked_again
    assert ran.status is None
    assert "incorrect" in ran.after_pin
    assert "third" not in ran.output


def test_a_question_without_a_pin_to_give_ends_the_tool_with_no_try_spent(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool('input("Password: ")\nprint("went on")'))
    assert (ran.status, ran.asked, ran.pin_sent, ran.asked_again) == (None, True, False, False)
    assert "went on" not in ran.output


def test_the_question_about_existing_objects_gets_the_word_from_the_settings(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool('print("answer", input("There are objects: copy, remove, quit > "))'), pin=PIN)
    assert "answer quit" in ran.output
    assert not ran.pin_sent
    assert not ran.let_in


def test_who_asks_about_objects_after_the_pin_was_let_in(tool: Callable[[str], list[str]]) -> None:
    ask = 'input("There are objects: copy, remove, quit > ")\n'
    first, last = run(tool(ask + 'input("PIN: ")'), pin=PIN), run(tool('input("PIN: ")\n' + ask), pin=PIN)
    assert (first.pin_sent, first.let_in) == (True, False)  # before the PIN it proves nothing
    assert (last.pin_sent, last.let_in) == (True, True)


def test_a_tool_is_started_and_ends_beside_a_look_up_that_nobody_answers(
    tool: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No wait without a deadline of ours; safe beside a thread, since no code of ours runs in the child."""
    answer, ours = threading.Event(), threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (answer.wait(), [])[1])
    monkeypatch.setattr(os, "fork", ours.set)
    monkeypatch.setattr(subprocess, "Popen", ours.set)
    began = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            look_up("vp.example", 443, 0.1)
        ran = run(tool('print("got", input("PIN: "))'), pin=PIN, timeout=10)
        assert (ran.status, ran.pin_sent) == (0, True)
        assert time.monotonic() - began < 10
        assert len(under_way()) == 1
        assert not ours.is_set()
    finally:
        let_go(answer)


def test_a_pause_in_the_middle_of_a_line_is_no_question(tool: Callable[[str], list[str]]) -> None:
    ran = run(
        tool('import select\nprint("pin", end="", flush=True)\nselect.select([], [], [], 0.6)\nprint("g sent")'),
        pin=PIN,
    )
    assert (ran.status, ran.pin_sent) == (0, False)


def test_the_environment_is_exact_and_the_rest_is_tidy(
    tool: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LD_PRELOAD", "")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.dup2(2, 50)  # as a careless parent leaves one open
    os.umask(0o077)
    cwd = Path.cwd()
    try:
        ran = run(
            tool("""
            import os, signal
            print(sorted(os.environ))
            print(os.environ["ChrystokiConfigurationPath"], os.getcwd(), oct(os.umask(0)), os.getsid(0) == os.getpid())
            print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), signal.getsignal(signal.SIGHUP).name)
            print(sorted(os.listdir("/proc/self/fd"))[:3], os.isatty(0), os.ttyname(0) == os.ttyname(2))
            print(os.path.exists("/proc/self/fd/50"), os.tcgetpgrp(os.open("/dev/tty", os.O_RDWR)) == os.getpid())
            """),
            env_conf="/etc/luna",
        )
    finally:
        os.close(50)
        assert os.umask(0o022) == 0o077
        assert Path.cwd() == cwd
        signal.signal(signal.SIGHUP, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    lines = ran.output.splitlines()
    assert lines[0] == "['ChrystokiConfigurationPath', 'LC_ALL', 'PATH', 'TERM']"
    assert lines[1] == "/etc/luna / 0o22 True"
    assert lines[2] == "[] SIG_DFL"
    assert lines[3] == "['0', '1', '2'] True True"
    assert lines[4] == "False True"


def test_a_hanging_tool_is_ended_at_the_limit(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool("import signal\nprint('on my way', flush=True)\nsignal.pause()"), timeout=STARTED)
    assert ran.timed_out
    assert ran.status is None
    assert "on my way" in ran.output


def test_a_tool_that_ignores_sigterm_is_killed_with_its_children(
    tool: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "GRACE", 0.3)
    ran = run(
        tool("""
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        if child:
            print("child", child, flush=True)
        while True:
            signal.pause()
        """),
        timeout=STARTED,
    )
    assert ran.timed_out
    child = int(ran.output.split()[1])
    limit = time.monotonic() + 5
    while os.path.exists(f"/proc/{child}") and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < limit


def test_ten_megabytes_of_output_are_read_and_the_last_64_kib_kept(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool("import sys\nfor _ in range(10): sys.stdout.write('x' * 1048575 + '\\n')\nprint('the end')"))
    assert ran.status == 0
    assert len(ran.output) <= tools.CAP
    assert ran.output.endswith("the end\n")


def test_bytes_that_are_no_text_are_no_trouble(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool("import os\nos.write(1, bytes(range(256)))"))
    assert ran.status == 0
    assert "\ufffd" in ran.output


def test_a_tool_that_closes_its_terminal_and_lives_on_is_waited_for(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool("import os, select\nfor fd in (0, 1, 2): os.close(fd)\nselect.select([], [], [], 0.3)\nos._exit(7)"))
    assert ran.status == 7


def test_an_exit_status_and_a_death_by_signal_are_told_apart(tool: Callable[[str], list[str]]) -> None:
    assert run(tool("raise SystemExit(3)")).status == 3
    assert run(tool("import os\nos.kill(os.getpid(), 11)")).status is None


def test_how_a_tool_ended_is_known_although_whoever_started_us_ignores_its_children(
    tool: Callable[[str], list[str]],
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run(tool("raise SystemExit(3)")).status == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_wish_to_stop_ends_the_tool(tool: Callable[[str], list[str]]) -> None:
    ran = run(tool("import signal\nsignal.pause()"), stop=lambda: True)
    assert ran.stopped
    assert ran.status is None


def test_no_program_and_no_executable_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClientMissing):
        run([str(tmp_path / "vtl"), "verify"])
    (tmp_path / "vtl").write_bytes(b"\0garbage")
    (tmp_path / "vtl").chmod(0o755)
    with pytest.raises(ToolFailed) as caught:
        run([str(tmp_path / "vtl"), "verify"])
    assert caught.value.facts["what"] == "it cannot be started (ENOEXEC)"


AGENT = """
import sys
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.tools import run_tool
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
with Lock(sys.argv[1]) as lock:
    run_tool(sys.argv[2:], pin=None, timeout=60, env_conf=None, lock_fd=lock.fileno(), existing_objects="quit",
             stop=lambda: False, question=lambda tail: None)
"""


def killed_agent(tmp_path: Path, argv: list[str]) -> None:
    """Start an agent that runs `argv`, wait until the tool says so in a pipe, SIGKILL the agent."""
    os.mkfifo(tmp_path / "ready")
    ready = os.open(tmp_path / "ready", os.O_RDONLY | os.O_NONBLOCK)
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path / "lock"), *argv])
    try:
        assert select.select([ready], [], [], 20)[0]
    finally:
        agent.kill()
        agent.wait()
        os.close(ready)


def lock_is_free_within(path: str, seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            with Lock(path):
                return True
        except Busy:
            select.select([], [], [], 0.02)
    return False


def test_a_killed_agents_tool_is_ended_by_the_hang_up_and_the_lock_is_free(
    tmp_path: Path, tool: Callable[[str], list[str]]
) -> None:
    ready = tmp_path / "ready"
    killed_agent(tmp_path, tool(f"import signal\nopen({str(ready)!r}, 'w').write('x')\nsignal.pause()"))
    assert lock_is_free_within(str(tmp_path / "lock"), 10)


def test_an_orphan_that_survives_keeps_the_lock_until_it_ends(tmp_path: Path, tool: Callable[[str], list[str]]) -> None:
    ready, end = tmp_path / "ready", tmp_path / "end"
    os.mkfifo(end)
    killed_agent(
        tmp_path,
        tool(f"""
        import signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        open({str(ready)!r}, "w").write("x")
        open({str(end)!r}).read()
        """),
    )
    with pytest.raises(Busy):
        Lock(str(tmp_path / "lock")).__enter__()
    end.write_text("go")
    assert lock_is_free_within(str(tmp_path / "lock"), 10)
