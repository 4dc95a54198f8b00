"""Knows in what the generations of the Luna client differ, as far as the public record tells. Standard library only.

How sure each difference is, by column:
prefix          seen in transcripts and install scripts
ha              seen: dashed forms around 5.1, undashed from 5.4; documented: both up to 6.x. That 5.1 takes no undashed
                form and 7.x no haAdmin at all is made up to the sharpest reading (7.1's documents name lunacm only)
hagroup         documented from 6.0 on, seen from 7.3 on
first_slot      seen: 1 in 5.x and 6.x, 0 later
banners         seen for vtl 10.x; documented for lunacm 7.3; the others are made up after them
asks            made up: what happens without `-password` is not in the public record; ways of asking differ on purpose
refusal         made up, but for CKR_PIN_INCORRECT, which a third party's mock prints
layout          seen in samples: which generation wrote which is partly inferred
"""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """How the tools write Chrystoki.conf."""

    equals: str  # between key and value
    indent: str
    odd: tuple[str, ...]  # keys that are indented by one blank less: two authors copied the same default text
    spaced: bool  # an empty line between sections


class Generation(NamedTuple):
    """One generation of the client."""

    name: str
    prefix: str
    ha: str  # forms of `vtl haAdmin` that are understood: dashed, both, or none
    hagroup: bool  # lunacm knows hagroup
    first_slot: int
    vtl_banner: str
    lunacm_banner: str
    asks: str  # how the PIN is asked for: hidden, stars (key by key); or never: it has to be an argument
    prompt: str
    refusal: str  # after a wrong PIN
    locked: str
    usage_status: int
    old_listing: bool  # `slot #1 LunaNet Slot …` in listSlots
    layout: Layout


_CLIENT = "/usr/safenet/lunaclient"
_LUNACM = "lunacm (64-bit) v{0}. Copyright (c) {1}. All rights reserved."
_MIXED = Layout(equals=" = ", indent="   ", odd=("DefaultTimeOut", "PEDTimeout1"), spaced=True)
_BANNER_10 = "v10.4.0-417. Copyright (c) 2021 Thales Group. All rights reserved."

_10_4 = Generation(
    name="10.4",
    prefix=_CLIENT,
    ha="none",
    hagroup=True,
    first_slot=0,
    vtl_banner="vtl (64-bit) " + _BANNER_10,
    lunacm_banner="lunacm (64-bit) " + _BANNER_10,
    asks="stars",
    prompt="          Enter the password: ",
    refusal="Error in execution: CKR_PIN_INCORRECT.",
    locked="Error in execution: CKR_PIN_LOCKED.",
    usage_status=1,
    old_listing=False,
    layout=_MIXED,
)
_GENERATIONS = (
    Generation(
        name="5.1",
        prefix="/usr/lunasa",
        ha="dashed",
        hagroup=False,
        first_slot=1,
        vtl_banner="",
        lunacm_banner=_LUNACM.format("5.1.1", "2012 SafeNet"),
        asks="hidden",
        prompt="Please enter the password of the partition: ",
        refusal="Error: Login to the partition failed. (0x000000a0)",
        locked="Error: Login to the partition failed. (0x000000a4)",
        usage_status=0,
        old_listing=True,
        layout=Layout(equals="=", indent=" ", odd=(), spaced=False),
    ),
    Generation(
        name="5.4",
        prefix=_CLIENT,
        ha="both",
        hagroup=False,
        first_slot=1,
        vtl_banner="",
        lunacm_banner=_LUNACM.format("5.4.7", "2014 SafeNet"),
        asks="hidden",
        prompt="Please enter the challenge for the partition\n> ",
        refusal="Error: The password is incorrect.",
        locked="Error: The password was refused, the partition is locked.",
        usage_status=0,
        old_listing=True,
        layout=Layout(equals=" = ", indent=" ", odd=(), spaced=False),
    ),
    Generation(
        name="6.2",
        prefix=_CLIENT,
        ha="both",
        hagroup=True,
        first_slot=1,
        vtl_banner="",
        lunacm_banner=_LUNACM.format("6.2.2", "2016 SafeNet"),
        asks="hidden",
        prompt="Enter password: ",
        refusal="Error: CKR_PIN_INCORRECT",
        locked="Error: CKR_PIN_LOCKED",
        usage_status=1,
        old_listing=True,
        layout=_MIXED,
    ),
    _10_4._replace(
        name="7.3",
        vtl_banner="",
        lunacm_banner=_LUNACM.format("7.3.0", "2018 SafeNet"),
        asks="hidden",
        prompt="Enter the password: ",
    ),
    _10_4,
    _10_4._replace(name="silent", asks="never"),
)
GENERATIONS = {one.name: one for one in _GENERATIONS}
