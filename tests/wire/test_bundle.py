"""A5: a bundle is read by a closed schema; logical names only, each by its grammar."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import CLIENT_NAME, LABEL, MEMBER, PIN_ID, Bundle, Ha, Pin, Server, is_address
from tests.wire.samples import Path, as_dict, at, bundle, changed, dump, paths, without

FULL = as_dict(bundle().to_bytes())
ALL = sorted(paths(FULL), key=str)
OPTIONAL = {("partition_pin",), ("ha", "retry")}
OBJECTS = [(), *(path for path in ALL if isinstance(at(FULL, path), dict))]


def refused(value: Any) -> None:
    with pytest.raises(WireError) as caught:
        Bundle.from_bytes(dump(value))
    assert caught.value.rule in {"A5", "E4"}
    assert "CANARY" not in str(caught.value)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    members = draw(st.lists(st.from_regex(MEMBER, fullmatch=True), min_size=1, max_size=16, unique=True))
    good = bundle()
    return replace(
        good,
        serial=draw(st.integers(1, 2**53 - 1)),
        client=replace(good.client, name=draw(st.from_regex(CLIENT_NAME, fullmatch=True))),
        servers=draw(
            st.lists(
                st.builds(
                    Server,
                    address=st.ip_addresses().map(str),
                    port=st.integers(1, 65535),
                    certificate=st.just(good.servers[0].certificate),
                ),
                min_size=1,
                max_size=16,
                unique_by=lambda one: one.address,
            ).map(tuple)
        ),
        ha=Ha(
            label=draw(st.from_regex(LABEL, fullmatch=True)),
            members=tuple(members),
            only=draw(st.booleans()),
            retry=draw(st.integers(-1, 500)),
            interval=draw(st.integers(60, 1200)),
        ),
        pin=draw(
            st.none()
            | st.builds(
                Pin,
                id=st.from_regex(PIN_ID, fullmatch=True),
                value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=4, max_size=255),
            )
        ),
    )


@given(bundles())
def test_a5_what_is_written_is_read_as_it_was(one: Bundle) -> None:
    assert Bundle.from_bytes(one.to_bytes()) == one
    assert Bundle.from_bytes(one.to_bytes()).to_bytes() == one.to_bytes()


@pytest.mark.parametrize("path", [path for path in ALL if isinstance(path[-1], str)], ids=str)
def test_a5_what_may_be_absent_is_absent_and_the_rest_must_be_there(path: Path) -> None:
    less = without(FULL, path)
    if path in OPTIONAL:
        assert as_dict(Bundle.from_bytes(dump(less)).to_bytes()) == less
    else:
        refused(less)


def test_a5_an_absent_retry_means_for_ever() -> None:
    assert Bundle.from_bytes(dump(without(FULL, ("ha", "retry")))).ha.retry == -1


@pytest.mark.parametrize("path", ALL, ids=str)
@pytest.mark.parametrize("new", [None, -1, 1.5, "", "x\n", [], [[]], {"x": 1}], ids=repr)
def test_a5_a_member_of_another_type_is_refused(path: Path, new: Any) -> None:
    refused(changed(FULL, path, new))


@pytest.mark.parametrize("path", OBJECTS, ids=str)
def test_a5_a_member_that_is_not_in_the_schema_is_refused(path: Path) -> None:
    refused(changed(FULL, (*path, "path"), "/etc/passwd"))


PEM = FULL["client"]["certificate"]
REFUSED: list[tuple[Path, Any]] = [
    (("schema",), 2),
    (("schema",), True),
    (("serial",), 0),
    (("client", "name"), ""),
    (("client", "name"), ".web"),
    (("client", "name"), "../web"),
    (("client", "name"), "a/b"),
    (("client", "name"), "x" * 65),
    (("client", "certificate"), "CANARY"),
    (("client", "certificate"), PEM + PEM),
    (("client", "certificate"), "text before\n" + PEM),
    (("client", "certificate"), PEM.replace("\n", "\r\n")),
    (("client", "private_key"), "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END X-----\n"),
    (("servers",), [FULL["servers"][0]] * 2),
    (("servers",), [FULL["servers"][0], FULL["servers"][0] | {"address": "HSM1.example"}]),
    (("servers",), [FULL["servers"][0] | {"address": one} for one in ("fd00::1", "FD00:0::1")]),
    (("servers",), [FULL["servers"][0] | {"address": f"hsm{n}.example"} for n in range(17)]),
    (("servers", 0, "port"), 0),
    (("servers", 0, "port"), 65536),
    (("servers", 0, "address"), "hsm_1.example"),
    (("servers", 0, "address"), "-n"),
    (("servers", 0, "address"), "hsm1.example."),
    (("servers", 0, "address"), "hsm1.example;rm"),
    (("servers", 0, "address"), "h\u00fcm.example"),
    (("servers", 0, "address"), ".".join(["a" * 50] * 4)),
    (("servers", 0, "address"), "[2001:db8::1]"),
    (("servers", 0, "address"), "fe80::1%eth0"),
    (("ha", "label"), "a b"),
    (("ha", "label"), "x" * 33),
    (("ha", "label"), "web\u0661"),
    (("ha", "members"), []),
    (("ha", "members"), ["1", "1"]),
    (("ha", "members"), [str(n + 1) for n in range(17)]),
    (("ha", "members", 0), "0123"),
    (("ha", "members", 0), "12a"),
    (("ha", "members", 0), "\u0661\u0662"),
    (("ha", "members", 0), "1,2"),
    (("ha", "only"), 1),
    (("ha", "retry"), 501),
    (("ha", "retry"), -1),
    (("ha", "interval"), 59),
    (("ha", "interval"), 1201),
    (("partition_pin", "id"), "short"),
    (("partition_pin", "id"), "x" * 65),
    (("partition_pin", "value"), "abc"),
    (("partition_pin", "value"), "CANARY\r"),
    (("partition_pin", "value"), "CANARY\t1"),
    (("partition_pin", "value"), "CANARY\u00e9"),
    (("partition_pin", "value"), "x" * 256),
]


@pytest.mark.parametrize(("path", "new"), REFUSED, ids=[f"{path}-{n}" for n, (path, _) in enumerate(REFUSED)])
def test_a5_a_value_outside_its_grammar_is_refused(path: Path, new: Any) -> None:
    refused(changed(FULL, path, new))


@pytest.mark.parametrize(
    "address",
    ["hsm1", "hsm1.example", "10.0.0.1", "2001:db8::1", "::", "1a.example", "1.example", "xn--hm-hka.example"],
)
def test_a5_names_and_ip_literals_are_addresses(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize("address", ["010.0.0.1", "127.1", "2130706433", "0x7f000001", "0X7F.1", "1.2.3.4.5", "a.0x"])
def test_a5_a_name_that_c_libraries_read_as_a_number_is_no_address(address: str) -> None:
    # inet_aton takes each of these, or a resolver tries to; a list of allowed names must not be passed that way (A7).
    assert not is_address(address)
