"""Starts a program again and again at the price of a fork: everything is imported once, each child is a whole process.

As a script it is the parent: `zygote.py MODULE…` imports, prints its listening port, then obeys one JSON line each:
`run` forks a child that calls `MODULE:main` with its argv and environment, `wait` waits for one to end.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn, Self

LISTEN_FD = 3  # systemd's first socket; it outlives each child, so a killed server loses no connection in its queue


class Zygote:
    """The parent as a test sees it. `port` is where children that serve are reached."""

    def __init__(self, *modules: str) -> None:
        """Start it; returns once everything is imported."""
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).absolute()), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port: int = self._told()["port"]

    def run(self, main: str, argv: list[str], *, log: Path, before: str = "", **env: str) -> int:
        """Fork a child that calls `main` ("module:function"); `before` ("module:function=argument") is called first."""
        return int(
            self._ask({"do": "run", "main": main, "argv": argv, "log": str(log), "before": before, "env": env})["pid"]
        )

    def wait(self, pid: int, seconds: float) -> int | None:
        """Give a child's exit status, minus the signal when it was killed; None when it still lives."""
        status = self._ask({"do": "wait", "pid": pid, "seconds": seconds})["status"]
        return None if status is None else int(status)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it; children that still live are the test's to end."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def main() -> None:
    """Be the parent."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    os.dup2(listener.fileno(), LISTEN_FD)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for module in sys.argv[1:]:
        importlib.import_module(module)
    ended: dict[int, int] = {}
    tell({"port": listener.getsockname()[1]})
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "run":
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                child(order)
            tell({"pid": pid})
        else:
            tell({"status": wait(order["pid"], order["seconds"], ended)})


def tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def wait(pid: int, seconds: float, ended: dict[int, int]) -> int | None:
    """Collect children until this one has ended or time is over."""
    while pid not in ended:
        with contextlib.suppress(ChildProcessError):
            found, status = os.waitpid(-1, os.WNOHANG)
            if found:
                ended[found] = os.waitstatus_to_exitcode(status)
                continue
        if signal.sigtimedwait({signal.SIGCHLD}, seconds) is None:
            return None
    return ended.pop(pid)


def child(order: dict[str, Any]) -> NoReturn:
    """Become the program."""
    status = 70
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor, source in ((0, null), (1, null), (2, log)):
            os.dup2(source, descriptor)
        os.environ.update(order["env"])
        if "hsm_verifier" in order["main"]:
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
        else:
            os.close(LISTEN_FD)
        if order["before"]:
            place, _, argument = order["before"].partition("=")
            called(place)(argument)
        sys.argv = ["program", *order["argv"]]
        status = int(called(order["main"])() or 0)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  a child must never run the rest of the parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def called(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()
