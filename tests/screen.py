"""Knows what a terminal shows of the bytes a program wrote to it; and how to run a program on one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence

COLUMNS = 80
_PIECE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


def screen(written: str, columns: int = COLUMNS) -> list[str]:
    """Give the lines that remain; colours are dropped, a line of words that is too long is the program's fault."""
    lines, at = [""], 0
    for piece in _PIECE.findall(written):
        if piece == "\r":
            at = 0
        elif piece == "\n":
            lines.append("")
            at = 0
        elif piece == "\x1b[K":
            lines[-1] = lines[-1][:at]
        elif piece.startswith("\x1b"):
            assert piece.endswith("m"), f"{piece!r} is no colour"
        else:
            lines[-1] = lines[-1][:at].ljust(at) + piece + lines[-1][at + len(piece) :]
            at += len(piece)
            assert at <= columns or " " not in piece.strip(), lines[-1]  # one long word is left whole, to be copied
    return [line.rstrip() for line in lines if line.strip()]


def run_on_a_terminal(argv: Sequence[str], environ: dict[str, str], *, columns: int = COLUMNS) -> tuple[int, str]:
    """Run a program with all its three streams on a terminal; give exit status and all that it wrote."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        argv, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
    ) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: the last one who held the other end is gone
                break
            if not piece:
                break
            written += piece
        os.close(master)
        status = process.wait(60)
    return status, written.decode().replace("\r\n", "\n")
