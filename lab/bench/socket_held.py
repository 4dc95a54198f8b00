"""Knows how to start a verifier on a socket that outlives it, as systemd does: `socket_held.py FD COMMAND ...`."""

from __future__ import annotations

import os
import sys

FIRST_FD = 3  # SD_LISTEN_FDS_START


def main() -> None:
    """Put the socket where sd_listen_fds(3) looks for it and become the command."""
    os.dup2(int(sys.argv[1]), FIRST_FD)
    environment = os.environ | {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    os.execve(sys.argv[2], sys.argv[2:], environment)


if __name__ == "__main__":
    main()
