"""A7: which appliances a bundle may name, where the site has a list."""

from dataclasses import replace

import pytest

from hsm_enrol.ask import check_allowed
from hsm_enrol.errors import ServerNotAllowed
from hsm_enrol.wire.bundle import Bundle
from tests.verifier.party import make_bundle


def bundle(*addresses: str) -> Bundle:
    good = make_bundle()
    return replace(good, servers=tuple(replace(good.servers[0], address=one) for one in addresses))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("hsm1.example", ()),
        ("hsm1.example", ("hsm1.example",)),
        ("HSM1.example", ("hsm1.EXAMPLE",)),
        ("10.1.2.3", ("192.0.2.1", "10.0.0.0/8")),
        ("2001:db8::7", ("2001:db8::/32",)),
        ("10.1.2.3", ("10.1.2.3",)),
    ],
)
def test_a7_an_appliance_on_the_list_is_allowed(address: str, allowed: tuple[str, ...]) -> None:
    check_allowed(bundle(address), allowed)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("hsm2.example", ("hsm1.example",)),
        ("hsm1.example.evil.example", ("hsm1.example",)),
        ("evil.hsm1.example", ("hsm1.example",)),
        ("11.1.2.3", ("10.0.0.0/8",)),
        ("10.1.2.3", ("2001:db8::/32", "name.example")),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",)),
    ],
)
def test_a7_one_appliance_that_is_not_on_the_list_spoils_the_bundle(address: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(ServerNotAllowed) as caught:
        check_allowed(bundle(*(allowed[0].partition("/")[0],), address), allowed)
    assert address in caught.value.fault()
