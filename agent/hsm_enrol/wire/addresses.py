"""Knows when two addresses are one appliance's: host names in whatever case, IP literals in whatever spelling."""

from __future__ import annotations

from ipaddress import ip_address


def meant_by(address: str) -> str:
    """Give what an address means: equal for two that are spelled differently and dialled alike."""
    try:
        return ip_address(address).compressed
    except ValueError:
        return address.lower()
