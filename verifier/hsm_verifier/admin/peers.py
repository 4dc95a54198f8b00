"""Knows which of this machine's users is at the other end of a local connection, by the kernel's word alone.

A Unix socket says so itself (SO_PEERCRED, unix(7)). For TCP over loopback both ends are the kernel's: the other end's
line in /proc/net/tcp names the user who made that socket. `ssh -L` counts as its user, because sshd connects as them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from pathlib import Path

NET = Path("/proc/self/net")
USER_MAP = Path("/proc/self/uid_map")
ESTABLISHED = "01"  # include/net/tcp_states.h
_WORD = 4  # bytes; the kernel prints an address as words in its own byte order


def uid_of_peer(sock: socket.socket, net: Path = NET) -> int | None:
    """Give the user id at the other end, None when the kernel names nobody."""
    try:
        if sock.family == socket.AF_UNIX:
            size = struct.calcsize("3i")
            return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])
        theirs, ours = sock.getpeername()[:2], sock.getsockname()[:2]
    except OSError:  # gone already
        return None
    return next((uid for table in ("tcp", "tcp6") if (uid := _look_up(net / table, theirs, ours)) is not None), None)


def _look_up(table: Path, theirs: tuple[str, int], ours: tuple[str, int]) -> int | None:
    """Find the line whose local end is theirs and whose remote end is ours (proc(5), /proc/net/tcp)."""
    wide = table.name == "tcp6"
    wanted = (_end(*theirs, wide=wide), _end(*ours, wide=wide))
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:  # no IPv6 here
        return None
    for line in lines:
        fields = line.split()
        # A socket that its owner closed belongs to nobody and is shown with user 0 until it is gone. It has left
        # ESTABLISHED by then, and has no inode: without this test anyone could pass for root by hanging up early.
        if (fields[1], fields[2]) == wanted and fields[3] == ESTABLISHED and fields[9] != "0":
            return int(fields[7])
    return None


def _end(host: str, port: int, *, wide: bool) -> str:
    address = ipaddress.ip_address(host.split("%", maxsplit=1)[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if wide and address.version == 4:  # noqa: PLR2004
        address = ipaddress.ip_address(f"::ffff:{address}")
    elif not wide and mapped:
        address = mapped
    packed = address.packed
    words = struct.unpack(f"={len(packed) // _WORD}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def is_seen_here(uid: int) -> bool:
    """Tell whether this process can tell that user from others: in a user namespace unmapped ones are all nobody."""
    try:
        rows = [tuple(map(int, line.split())) for line in USER_MAP.read_text(encoding="ascii").splitlines()]
    except OSError:
        return True
    return any(first <= uid < first + count for first, _outside, count in rows)


def may_always() -> frozenset[int]:
    """Give the users who can read this process's secrets anyway: root and its own."""
    return frozenset({0, os.geteuid()})
