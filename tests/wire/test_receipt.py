"""Receipts: by the owner key of the slot, by a closed schema; "no slot" and "not the owner" look alike."""

from itertools import product
from typing import Any

import pytest

from hsm_enrol.errors import WireError
from hsm_enrol.wire import jws
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.receipt import CODES, MAX_RECEIPT, PINS, RESULTS, Receipt, sign_receipt, verify_receipt
from tests.wire.samples import OWNER, STRANGER, as_dict, changed, dump, receipt, without

FULL = as_dict(receipt().to_payload())
OWNER_JWK = PublicJwk.from_key(OWNER.public_key())


def owner_of(instance: str, serial: int) -> PublicJwk | None:
    return OWNER_JWK if (instance, serial) == (receipt().sub, receipt().serial) else None


def verify(payload: bytes) -> Receipt | None:
    return verify_receipt(jws.sign(jws.RECEIPT_HEADER, payload, OWNER), owner_of)


def test_every_outcome_is_read_as_it_was_said() -> None:
    for result, pin in product(RESULTS, PINS):
        said = receipt(result=result, code=None, pin=pin)
        assert verify_receipt(sign_receipt(said, OWNER), owner_of) == said
    for code in CODES:
        assert verify_receipt(sign_receipt(receipt(code=code), OWNER), owner_of) == receipt(code=code)


def test_no_slot_and_not_the_owner_are_one_answer() -> None:
    assert verify_receipt(sign_receipt(receipt(serial=1), OWNER), owner_of) is None
    assert verify_receipt(sign_receipt(receipt(sub="i-01234567"), OWNER), owner_of) is None
    assert verify_receipt(sign_receipt(receipt(), STRANGER), owner_of) is None


def test_e2_an_assertion_is_no_receipt() -> None:
    with pytest.raises(WireError, match="E2"):
        verify_receipt(jws.sign(jws.ASSERTION_HEADER, receipt().to_payload(), OWNER), owner_of)


def test_v1_a_receipt_beyond_its_cap_is_not_even_split() -> None:
    with pytest.raises(WireError, match="V1"):
        verify_receipt(b"." * (MAX_RECEIPT + 1), owner_of)


@pytest.mark.parametrize("name", FULL)
def test_v2_each_member_but_code_must_be_there(name: str) -> None:
    payload = dump(without(FULL, (name,)))
    if name == "code":
        assert verify(payload) == receipt(code=None)
    else:
        with pytest.raises(WireError, match="V2"):
            verify(payload)


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("new", [None, -1, 1.5, True, "", "x\n", [], {"x": 1}], ids=repr)
def test_v2_a_member_of_another_type_is_refused(name: str, new: Any) -> None:
    with pytest.raises(WireError, match=r"V2|E4"):
        verify(dump(changed(FULL, (name,), new)))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"extra": 1}, id="a member that is not in the schema"),
        pytest.param({"result": "installed"}, id="a code without failure"),
        pytest.param({"code": "because"}, id="an unknown code"),
        pytest.param({"pin": "4711"}, id="a PIN where its state belongs"),
        pytest.param({"serial": 0}, id="serial zero"),
        pytest.param({"jti": "A" * 21 + "B"}, id="another spelling of the jti"),
    ],
)
def test_v2_a_receipt_outside_the_closed_schema_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="V2"):
        verify(dump(FULL | change))
