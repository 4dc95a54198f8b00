"""hsm_enrol.shapes beside the library's dataclasses: whatever one does, the other does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from hsm_enrol import shapes


@shapes.dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One."""

    name: str
    secret: str = field(repr=False)
    port: int = 1792
    extra: tuple[str, ...] = ()
    made: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def where(self) -> str:
        return f"{self.name}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """One."""

    name: str
    secret: str = field(repr=False)
    port: int = 1792
    extra: tuple[str, ...] = ()
    made: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def where(self) -> str:
        return f"{self.name}:{self.port}"


@shapes.dataclass(slots=True)
class OursOpen:
    first: int
    second: int = 2
    third: int = field(default=3, init=False)


@dataclasses.dataclass(slots=True)
class TheirsOpen:
    first: int
    second: int = 2
    third: int = field(default=3, init=False)


PAIRS = pytest.mark.parametrize("kind", [Ours, Theirs])
OPEN = pytest.mark.parametrize("kind", [OursOpen, TheirsOpen])


@PAIRS
def test_a_value_is_what_it_was_given(kind: Any) -> None:
    one = kind(name="hsm1", secret="s3cret")
    assert (one.name, one.secret, one.port, one.extra, one.made, one.where) == (
        ("hsm1", "s3cret", 1792, (), {}, "hsm1:1792")
    )
    assert one.made is not kind(name="hsm1", secret="s3cret").made
    assert repr(one) == f"{kind.__name__}(name='hsm1', port=1792, extra=(), made={{}})"
    assert kind.__doc__ == "One."
    assert not hasattr(one, "__dict__")


@PAIRS
def test_values_are_equal_by_what_is_compared(kind: Any) -> None:
    one, same = kind(name="a", secret="b"), kind(name="a", secret="b", made={"x": 1})
    other = kind(name="a", secret="c")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != ("a", "b")
    assert len({one, same, other}) == 2


@PAIRS
def test_nothing_can_be_changed(kind: Any) -> None:
    one = kind(name="a", secret="b")

    def delete() -> None:
        del one.port

    def change() -> None:
        one.port = 1

    def add() -> None:
        one.other = 1

    attempts: list[Callable[[], None]] = [delete, change, add]
    for attempt in attempts:
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):  # 3.11's own `add` is a TypeError
            attempt()
    assert one.port == 1792


@PAIRS
@pytest.mark.parametrize(
    "given", [{"name": "a"}, {"name": "a", "secret": "b", "other": 1}, {"secret": "b"}], ids=["less", "more", "other"]
)
def test_wrong_arguments_are_refused(kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(TypeError) as refused:
        kind(**given)
    assert "'b'" not in str(refused.value)
    with pytest.raises(TypeError):
        kind("a", secret="b")


@PAIRS
def test_the_librarys_functions_work(kind: Any) -> None:
    one = kind(name="a", secret="b")
    known: bool = dataclasses.is_dataclass(type(one))
    assert known
    moved = dataclasses.replace(one, port=1793)
    assert (moved.port, moved.secret, one.port) == (1793, "b", 1792)
    assert dataclasses.asdict(one) == {"name": "a", "secret": "b", "port": 1792, "extra": (), "made": {}}
    told = [(each.name, each.default, each.repr, each.kw_only, each.type) for each in dataclasses.fields(kind)]
    assert told == [
        (each.name, each.default, each.repr, each.kw_only, each.type) for each in dataclasses.fields(Theirs)
    ]
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one


@OPEN
def test_an_open_one_can_be_changed_and_is_no_key(kind: Any) -> None:
    one = kind(1, second=5)
    one.first += 1
    assert (one.first, one.second, one.third) == (2, 5, 3)
    assert dataclasses.replace(one, second=6) == kind(2, 6)
    assert repr(one) == f"{kind.__name__}(first=2, second=5, third=3)"
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            kind(*wrong)
    with pytest.raises(TypeError):
        kind(1, third=1)
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(AttributeError):
        one.other = 1


def test_what_it_does_not_do_is_refused_when_the_class_is_made() -> None:
    make: Any = shapes.dataclass
    with pytest.raises(TypeError, match="wants what"):
        make(frozen=True)(type("Loose", (), {"__annotations__": {"a": "int"}}))
    with pytest.raises(TypeError, match="wants what"):
        make(slots=True)(type("Late", (), {"__post_init__": print}))
    with pytest.raises(TypeError, match="wants what"):
        make(slots=True)(type("Heir", (OursOpen,), {}))
    for hint, default in (("ClassVar[int]", 1), ("list[int]", [])):
        with pytest.raises(TypeError, match="does not do that"):
            make(slots=True)(type("Odd", (), {"__annotations__": {"a": hint}, "a": default}))
