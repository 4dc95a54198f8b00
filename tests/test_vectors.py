"""The golden vectors: made anew and compared, read by three implementations, refused for what is wrong with them."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws as independent
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from hsm_enrol.errors import SealError, WireError
from hsm_enrol.wire.answer import open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, verify_assertion
from hsm_enrol.wire.bundle import Bundle, check_bundle
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.messages import Challenge, Problem
from hsm_enrol.wire.receipt import verify_receipt
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_enrol.wire.strict import b64u_decode, parse_json
from hsm_enrol.wire.sts import sts_host
from tests.documents import text_of
from tests.vectors import stranger
from tests.vectors.make import make
from tests.vectors.signing import HERE

MADE = make()


def vectors(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text("ascii"))


KEYS = vectors("keys")
MESSAGES = vectors("messages")["messages"]
SEALED = vectors("sealed")["sealed"]
PROOFS = vectors("proofs")
BUNDLES = vectors("bundles")
REFUSED = vectors("refused")
PAYLOADS = {one["name"]: json.loads(one["payload"]) for one in MESSAGES}
OF = {kind: [one for one in MESSAGES if one["kind"] == kind] for kind in ("assertion", "receipt", "answer")}
OWNER, ANSWERER = (PublicJwk.from_json(KEYS["keys"][name]["jwk"]) for name in ("owner", "answer"))


def name_of(vector: dict[str, Any]) -> str:
    return f"{vector['kind']}: {vector['name']}"


def seal_key(kem: str) -> SealPrivateKey:
    return SealPrivateKey.from_bytes(kem, bytes.fromhex(KEYS["seal"][kem]["secret"]))


# --- made anew


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_file_made_anew_is_the_file_that_is_here(name: str) -> None:
    assert MADE[name] == (HERE / name).read_text("ascii")


def test_no_file_is_left_over() -> None:
    assert {path.name for path in HERE.glob("*.json")} == set(MADE)


# --- read by ours


@pytest.mark.parametrize("vector", MESSAGES, ids=name_of)
def test_we_verify_a_message_and_give_the_bytes_that_were_signed(vector: dict[str, Any]) -> None:
    compact = vector["compact"].encode()
    read: dict[str, Callable[[], Any]] = {
        "assertion": lambda: verify_assertion(compact),
        "receipt": lambda: verify_receipt(compact, lambda _sub, _serial: OWNER),
        "answer": lambda: verify_answer(compact, [ANSWERER.key()]),
    }
    assert read[vector["kind"]]().to_payload().decode() == vector["payload"]


@pytest.mark.parametrize("vector", OF["answer"], ids=name_of)
def test_an_answer_opens_to_a_bundle_of_the_vectors(vector: dict[str, Any]) -> None:
    request = Assertion.from_payload(json.dumps(PAYLOADS[vector["answers"]]).encode())
    answer = verify_answer(vector["compact"].encode(), [ANSWERER.key()])
    opened = open_answer(answer, request, seal_key(request.seal.kem))
    if answer.state == "current":
        assert opened is None
    else:
        assert opened is not None
        check_bundle(opened, BUNDLES["now"])
        assert opened.to_bytes().decode() in BUNDLES["bundles"].values()


def test_what_is_not_signed_is_read_as_it_was_written() -> None:
    told = vectors("open")
    assert Challenge.from_bytes(told["challenge"].encode()).to_bytes().decode() == told["challenge"]
    for name in ("problem", "problem of few words"):
        assert Problem.from_bytes(told[name].encode()).to_bytes().decode() == told[name]


def test_the_documents_examples_are_vectors() -> None:
    told = vectors("open")
    known = [json.loads(text) for text in (told["challenge"], told["problem"])] + list(PAYLOADS.values())
    text = text_of("docs/protocol.md")
    examples = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    assert len(examples) == 5
    assert all(one in known for one in examples)
    assert sum(f"`{proof['binding']}`" in text for proof in PROOFS["proofs"]) == 1
    assert any(f"    {one['compact'][:96]}…" in text for one in OF["assertion"])


# --- read by a stranger who knows the document only


@pytest.mark.parametrize("vector", MESSAGES, ids=name_of)
def test_a_stranger_verifies_each_message(vector: dict[str, Any]) -> None:
    jwk = KEYS["keys"][vector["key"]]["jwk"]
    assert stranger.verify(vector["compact"], vector["header"], jwk).decode() == vector["payload"]


@pytest.mark.parametrize("name", SEALED)
def test_what_was_sealed_opens_by_our_library_and_by_hand(name: str) -> None:
    one = SEALED[name]
    secret, info, sealed = bytes.fromhex(one["secret"]), bytes.fromhex(one["info"]), stranger.unb64u(one["sealed"])
    assert stranger.open_sealed(one["kem"], secret, sealed, info).decode() == one["plaintext"]
    assert SealPrivateKey.from_bytes(one["kem"], secret).open(sealed, info).decode() == one["plaintext"]


@pytest.mark.parametrize("vector", OF["answer"], ids=name_of)
def test_a_stranger_opens_each_answer(vector: dict[str, Any]) -> None:
    answer = json.loads(vector["payload"])
    if answer["state"] == "current":
        assert "sealed" not in answer
        return
    seal = KEYS["seal"][answer["kem"]]
    sealed = stranger.unb64u(answer["sealed"])
    info = stranger.answer_info(answer)
    assert stranger.seal_thumbprint(answer["kem"], stranger.unb64u(seal["public"])) == answer["seal_thumbprint"]
    opened = stranger.open_sealed(answer["kem"], bytes.fromhex(seal["secret"]), sealed, info)
    assert json.loads(opened)["serial"] == answer["serial"]


def test_a_stranger_names_keys_as_we_do() -> None:
    for one in KEYS["keys"].values():
        assert stranger.jwk_thumbprint(one["jwk"]) == one["thumbprint"]
    for kem, one in KEYS["seal"].items():
        assert stranger.seal_thumbprint(kem, stranger.unb64u(one["public"])) == one["thumbprint"]


@pytest.mark.parametrize("proof", PROOFS["proofs"], ids=lambda proof: proof["assertion"])
def test_a_stranger_makes_the_same_proof(proof: dict[str, Any]) -> None:
    assertion = PAYLOADS[proof["assertion"]]
    assert stranger.binding(assertion) == proof["binding"]
    assert stranger.string_to_sign(assertion, proof["host"]) == proof["string_to_sign"]
    signature = stranger.aws_signature(KEYS["aws"]["secret_access_key"], proof["string_to_sign"])
    assert signature == proof["signature"] == assertion["submods"]["identity-role"]["signature"]


def test_a_stranger_encodes_as_we_do() -> None:
    told = vectors("encodings")
    for one in told["base64url"]:
        assert stranger.b64u(bytes.fromhex(one["bytes"])) == one["text"]
        assert stranger.unb64u(one["text"]).hex() == one["bytes"]
    for one in told["lp"]:
        assert stranger.lp(*one["texts"]).hex() == one["bytes"]
    for one in told["json"]:
        assert json.loads(one["text"]) == json.loads(one["written"])


def test_a_serial_is_later_than_the_last_and_no_earlier_than_the_time() -> None:
    for one in vectors("serials")["serials"]:
        assert one["serial"] == max(one["last"] + 1, one["published"])


# --- read and written by an independent JOSE library


def registry(compact: str) -> JWSRegistry:
    found = JWSRegistry(algorithms=["ES256"])
    found.max_payload_length = len(compact)
    return found


@pytest.mark.parametrize("vector", MESSAGES, ids=name_of)
def test_an_independent_library_verifies_each_message(vector: dict[str, Any]) -> None:
    one = KEYS["keys"][vector["key"]]
    key = ECKey.import_key(one["jwk"])
    found = independent.deserialize_compact(vector["compact"], key, registry=registry(vector["compact"]))
    assert found.payload.decode() == vector["payload"]
    assert found.headers() == json.loads(vector["header"])
    assert key.thumbprint() == one["thumbprint"]


@pytest.mark.parametrize("vector", MESSAGES, ids=name_of)
def test_we_verify_what_an_independent_library_signs(vector: dict[str, Any]) -> None:
    one = KEYS["keys"][vector["key"]]
    scalar = stranger.b64u(bytes.fromhex(one["scalar"]))
    key = ECKey.import_key(one["jwk"] | {"d": scalar})
    compact = independent.serialize_compact(
        json.loads(vector["header"]), vector["payload"], key, registry=registry(vector["compact"])
    )
    assert compact.rpartition(".")[0] == vector["signing_input"]
    test_we_verify_a_message_and_give_the_bytes_that_were_signed(vector | {"compact": compact})


# --- refused


def knock_with_answer(compact: str) -> None:
    request = Assertion.from_payload(json.dumps(PAYLOADS[REFUSED["to"]]).encode())
    open_answer(verify_answer(compact.encode(), [ANSWERER.key()]), request, seal_key(request.seal.kem))


def knock_with_receipt(compact: str) -> None:
    verify_receipt(compact.encode(), lambda _sub, _serial: OWNER)


DOORS: dict[str, Callable[[Any], object]] = {
    "base64url": lambda given: b64u_decode(given, "text"),
    "json": lambda given: parse_json(bytes.fromhex(given)),
    "jwk": PublicJwk.from_json,
    "assertion": lambda given: verify_assertion(given.encode()),
    "receipt": knock_with_receipt,
    "answer": knock_with_answer,
    "bundle": lambda given: check_bundle(Bundle.from_bytes(given.encode()), BUNDLES["now"]),
    "host": lambda given: sts_host(*given),
}


@pytest.mark.parametrize("vector", REFUSED["refused"], ids=lambda one: f"{one['door']}: {one['fault']}")
def test_a_fault_is_refused_by_its_rule(vector: dict[str, Any]) -> None:
    with pytest.raises((WireError, SealError)) as caught:
        DOORS[vector["door"]](vector["given"])
    rule = caught.value.rule if isinstance(caught.value, WireError) else "A4"
    assert rule == vector["rule"]


def test_faults_have_names_of_their_own() -> None:
    names = [(one["door"], one["fault"]) for one in REFUSED["refused"]]
    assert len(names) == len(set(names))
    assert {one["door"] for one in REFUSED["refused"]} == set(DOORS)
    print(f"{len(names)} inputs refused, {len(MESSAGES)} messages accepted")
