"""Joining and leaving: the conf means afterwards what it meant before, and others' entries are as they were."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import CLIENT, HA
from hsm_enrol.conf_changes import conf_changes
from hsm_enrol.departure import departure, shared_now
from hsm_enrol.model import Change, Desired
from hsm_enrol.record import SHARED
from tests.test_plan import CONF, OTHERS, THIRD, desired_of

BARE = "LunaSA Client = {\n   ReceiveTimeout = 20000;\n}\n"
FOREIGN = CONF.replace(
    "NetClient = 1;\n", "NetClient = 1;\n   ServerName00 = other;\n   ServerPort00 = 1792;\n   ServerHtl00 = 0;\n"
)


def join(text: str, desired: Desired) -> str:
    return chrystoki.with_changes(text, conf_changes(text, desired, (), None))


def before_of(text: str) -> dict[str, str | None]:
    conf = chrystoki.parse(text)
    return {f"{section}/{key}": chrystoki.get(conf, section, key) for section, key in SHARED}


def meaning(text: str) -> dict[tuple[str, str], str]:
    return chrystoki.meaning(chrystoki.parse(text))


@pytest.mark.parametrize("text", [CONF, BARE, CONF + OTHERS, FOREIGN, FOREIGN + OTHERS], ids=list("abcde"))
def test_leaving_gives_back_what_was_there(text: str) -> None:
    desired = desired_of()
    joined = join(text, desired)
    assert meaning(joined) != meaning(text)
    left = chrystoki.with_changes(joined, departure(joined, desired, before_of(text)))
    assert meaning(left) == meaning(text)
    assert tuple(departure(left, desired, before_of(text))) == ()


def test_a_key_that_somebody_set_meanwhile_stays(  # the HA settings are the client's own, not ours alone
) -> None:
    desired = desired_of()
    joined = join(CONF, desired)
    changed = joined.replace("HAOnly = 1;", "HAOnly = 0;")
    left = chrystoki.with_changes(changed, departure(changed, desired, before_of(CONF)))
    assert meaning(left)[HA, "HAOnly"] == "0"
    assert (HA, "reconnAtt") not in meaning(left)


def test_a_later_foreign_server_moves_into_our_number_and_is_not_lost() -> None:
    desired = desired_of()
    joined = join(CONF, desired)
    text = chrystoki.with_changes(
        joined,
        [
            Change(section=CLIENT, key="ServerName02", old=None, new=THIRD.address),
            Change(section=CLIENT, key="ServerPort02", old=None, new="1792"),
        ],
    )
    left = chrystoki.with_changes(text, departure(text, desired, before_of(CONF)))
    servers = chrystoki.servers(chrystoki.parse(left))
    assert {number: one.name for number, one in servers.items()} == {0: THIRD.address}


def test_what_leaving_looks_for_is_what_joining_sets() -> None:
    desired = desired_of()
    joined = meaning(join(BARE, desired))
    assert {key: joined[key] for key in shared_now(desired)} == shared_now(desired)
    assert set(shared_now(desired)) == set(SHARED)


@given(
    st.lists(st.sampled_from(["ServerName05 = x;", "Other = 1;", "# note", "HtlDir = /h;"]), max_size=4, unique=True)
)
def test_foreign_lines_of_the_same_section_survive_both(lines: list[str]) -> None:
    text = CONF.replace("   NetClient = 1;\n", "".join(f"   {line}\n" for line in ["NetClient = 1;", *lines]))
    desired = desired_of()
    joined = join(text, desired)
    left = chrystoki.with_changes(joined, departure(joined, desired, before_of(text)))
    assert all(f"   {line}\n" in left for line in lines)


@pytest.mark.parametrize(
    ("spelled", "address"),
    [("2001:DB8:0:0::10", "2001:db8::10"), ("::FFFF:7F00:B", "::ffff:127.0.0.11"), ("HSM.A", "hsm.a")],
)
def test_an_appliance_that_the_site_spells_differently_is_registered_once(spelled: str, address: str) -> None:
    text = FOREIGN.replace("ServerName00 = other", f"ServerName00 = {spelled}")
    desired = dataclasses.replace(desired_of(), servers=(dataclasses.replace(THIRD, address=address),))
    assert [one.name for one in chrystoki.servers(chrystoki.parse(join(text, desired))).values()] == [spelled]
