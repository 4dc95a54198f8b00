"""Knows PROXY protocol version 2 (haproxy's proxy-protocol.txt, 2.2): who is behind a balancer that we listed."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16
MAX_BLOCK = 536  # addresses and TLVs; the specification lets a receiver bound it, 536 always fits one segment


class BadProxyHeader(Exception):
    """The peer is listed as a balancer but does not begin with a version 2 header."""


async def read_source(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> tuple[str, int] | None:
    """Read exactly the header from a fresh socket: the source's address, or None for LOCAL (a health check).

    Raises BadProxyHeader, OSError. Nothing after the header is consumed.
    """
    fixed = await _exactly(loop, sock, _FIXED)
    length = int.from_bytes(fixed[14:16], "big")
    if fixed[:12] != SIGNATURE or fixed[12] >> 4 != 2 or length > MAX_BLOCK:  # noqa: PLR2004  version 2
        raise BadProxyHeader
    return parse_block(fixed[12] & 0x0F, fixed[13], await _exactly(loop, sock, length))


def parse_block(command: int, family: int, block: bytes) -> tuple[str, int] | None:
    """Take the source out of the address block: TCP over IPv4 (0x11) or IPv6 (0x21) only."""
    if command == 0:
        return None
    if command != 1:
        raise BadProxyHeader
    try:
        if family == 0x11:  # noqa: PLR2004
            return str(ipaddress.IPv4Address(block[:4])), int(struct.unpack(">H", block[8:10])[0])
        if family == 0x21:  # noqa: PLR2004
            return str(ipaddress.IPv6Address(block[:16])), int(struct.unpack(">H", block[32:34])[0])
    except (ipaddress.AddressValueError, struct.error):
        raise BadProxyHeader from None
    raise BadProxyHeader


async def _exactly(loop: asyncio.AbstractEventLoop, sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(sock, count - len(data))
        if not piece:
            raise BadProxyHeader
        data += piece
    return data
