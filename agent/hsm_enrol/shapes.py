"""Knows how to make the small classes of values: as `dataclasses.dataclass` does, without its price at each start.

The standard library compiles each method of each class by itself; over ninety classes that was a fifth of an enrolment.
Here the methods are shared and follow a plan that lies in the class. What `dataclasses` offers from outside (`fields`,
`replace`, `asdict`) works: its own description of a class is made when somebody first asks for it. Not here:
inheritance, ClassVar, InitVar, `__post_init__`, order, classes without slots.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, make_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

_WITHOUT_SLOTS: frozenset[str] = frozenset({"__dict__", "__weakref__"})


class _Member(NamedTuple):
    """One member: what sets it, and what it has unless it is given."""

    name: str
    put: Any
    asked: bool  # by __init__
    default: Any
    factory: Any


class _Plan(NamedTuple):
    """What the shared methods of one class go by."""

    members: tuple[_Member, ...]
    order: tuple[str, ...]  # of arguments without a name
    shown: tuple[str, ...]
    compared: tuple[str, ...]
    defaults: dict[str, Any]  # as they were written
    puts: dict[str, Any]  # of all members, where each may be given


def _make(cls: type, *, frozen: bool = False, kw_only: bool = False, slots: bool = False) -> type:
    """Give the class that `cls` describes."""
    own = cls.__dict__
    hints: dict[str, Any] = own.get("__annotations__", {})
    if not slots or cls.__bases__ != (object,) or "__post_init__" in own:
        raise TypeError(f"{cls.__qualname__} wants what hsm_enrol.shapes does not do")
    space = {name: one for name, one in own.items() if name not in hints and name not in _WITHOUT_SLOTS}
    shared = _FROZEN if frozen else _OPEN
    made = type(cls)(cls.__name__, (), shared | space | {"__slots__": (*hints,), "__qualname__": cls.__qualname__})
    members, shown, compared = [], [], []
    for name, hint in hints.items():
        default = own.get(name, MISSING)
        if "ClassVar" in hint or "InitVar" in hint or type(default).__hash__ is None:
            raise TypeError(f"{cls.__qualname__}.{name}: hsm_enrol.shapes does not do that")
        put = made.__dict__[name].__set__
        if type(default) is Field:
            members.append(_Member(name, put, default.init, default.default, default.default_factory))
            if default.repr:
                shown.append(name)
            if default.compare:
                compared.append(name)
        else:
            members.append(_Member(name, put, True, default, MISSING))  # noqa: FBT003  a tuple's member
            shown.append(name)
            compared.append(name)
    order = () if kw_only else tuple(one.name for one in members if one.asked)
    defaults = {name: own[name] for name in hints if name in own}
    puts = {one.name: one.put for one in members} if all(one.asked for one in members) else {}
    type.__setattr__(made, "__plan__", _Plan(tuple(members), order, tuple(shown), tuple(compared), defaults, puts))
    return made


def _init(self: Any, *unnamed: Any, **given: Any) -> None:
    """Set each member to what is given for it, or to its default."""
    plan: _Plan = self.__plan__
    if unnamed:
        if len(unnamed) > len(plan.order):
            raise TypeError(f"{type(self).__name__}() takes {len(plan.order)} arguments without a name")
        given = dict(zip(plan.order, unnamed, strict=False)) | given
    left = len(given)
    if plan.puts and plan.puts.keys() == given.keys():  # all are given, which is how most are made
        for name, value in given.items():
            plan.puts[name](self, value)
        return
    for name, put, asked, default, factory in plan.members:
        if asked and name in given:
            put(self, given[name])
            left -= 1
        elif default is not MISSING:
            put(self, default)
        elif factory is not MISSING:
            put(self, factory())
        elif asked:
            raise TypeError(f"{type(self).__name__}() misses {name}")
    if left:
        known = {one.name for one in plan.members if one.asked}
        raise TypeError(f"{type(self).__name__}() does not know {', '.join(sorted(set(given) - known))}")


def _repr(self: Any) -> str:
    inner = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__plan__.shown])
    return f"{type(self).__qualname__}({inner})"


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__plan__.compared])


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _no_set(self: object, name: str, _: object = None) -> None:
    raise FrozenInstanceError(f"cannot change {type(self).__name__}.{name}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in self.__plan__.members]


def _set_state(self: Any, state: list[Any]) -> None:
    for one, value in zip(self.__plan__.members, state, strict=True):
        one.put(self, value)


class _Described:
    """What the standard library says of a class: made by it when it is first asked for, without any method."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, _: object, owner: Any) -> Any:
        plan, rows = owner.__plan__, []
        for name, hint in owner.__annotations__.items():
            rows.append((name, hint, plan.defaults[name]) if name in plan.defaults else (name, hint))
        described = make_dataclass(
            owner.__name__,
            rows,
            init=False,
            repr=False,
            eq=False,
            kw_only=not plan.order,
            namespace={"__doc__": owner.__name__},  # else it works out a signature for one
        )
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            type.__setattr__(owner, name, getattr(described, name))
        return getattr(described, self._name)


_OPEN: dict[str, Any] = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": None,
    "__getstate__": _get_state,
    "__setstate__": _set_state,
    "__dataclass_fields__": _Described("__dataclass_fields__"),
    "__dataclass_params__": _Described("__dataclass_params__"),
}
_FROZEN: dict[str, Any] = _OPEN | {"__hash__": _hash, "__setattr__": _no_set, "__delattr__": _no_set}

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  for a type checker it is the library's own
else:

    def dataclass(**how: bool):  # noqa: ANN201  as the library's
        """Make a class of values: frozen=True, kw_only=True as in the library; slots=True is a must."""
        return lambda cls: _make(cls, **how)
