"""Arguments of jobs: what is accepted comes back equal from the database."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypedDict

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from supervisor.errors import InvalidPayload
from supervisor.jobs.payload import Payload
from tests.unit.orders import ANYTHING, ORDER, Item, Order, Size, as_jsonb


class Place(NamedTuple):
    x: int
    y: float


class Note(TypedDict):
    text: str


class Sample(msgspec.Struct):
    when: dt.datetime
    key: uuid.UUID
    amount: Decimal
    size: Size
    place: Place
    note: Note
    maybe: int | None = None
    ratio: int | float = 0


@dataclass(eq=False)
class Unequal:
    n: int


@dataclass
class Blind:
    seen: int
    unseen: str = field(default="", compare=False)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SMALL_FLOATS = st.floats(-1e15, 1e15)
CLEAN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**60), 10**60) | SMALL_FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
DIRTY = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\0", "\\u0000", "\ud800", b"", 1e23, Size.LARGE]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(0, 2) | st.sampled_from(["0", "\0", None]), inner, max_size=4)
        | st.tuples(inner)
        | st.sets(st.integers(), max_size=2)
        | st.builds(Item, st.text(), st.floats())
    ),
    max_leaves=12,
)


@hypothesis.given(CLEAN)
def test_plain_json_comes_back_equal(value: object) -> None:
    """Every JSON value that Python and PostgreSQL can hold is accepted and comes back equal."""
    assert ANYTHING.decode(as_jsonb(ANYTHING.encode(value))) == value


@hypothesis.given(DIRTY)
def test_whatever_is_accepted_comes_back_equal(value: object) -> None:
    """A value is either refused at once or comes back equal: nothing is refused or changed later."""
    try:
        text = ANYTHING.encode(value)
    except InvalidPayload:
        return
    assert ANYTHING.decode(as_jsonb(text)) == value


@hypothesis.given(
    st.builds(
        Order,
        st.lists(st.builds(Item, st.text(), st.floats()), max_size=3),
        st.integers() | st.just(2**70),
        DIRTY,
        st.dictionaries(st.text(max_size=3), st.builds(Item, st.text(), st.floats()), max_size=2),
        st.lists(st.integers(), max_size=3).map(tuple),
    )
)
def test_a_record_is_refused_or_comes_back_equal(order: Order) -> None:
    """The same holds for a dataclass, whatever its fields are filled with."""
    try:
        text = ORDER.encode(order)
    except InvalidPayload:
        return
    assert ORDER.decode(as_jsonb(text)) == order


@hypothesis.given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_declared_float_is_exact(price: float, y: float) -> None:
    """A finite float of any size is accepted where the type says float, and comes back as the same float."""
    item = Item("x", price)
    payload = Payload("item", Item)
    back = payload.decode(as_jsonb(payload.encode(item)))
    assert (back, type(back.price)) == (item, float)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**100, -(10**4000)])
def test_a_large_integer_is_exact(number: int) -> None:
    """Integers beyond 2^53 and beyond 64 bits keep every digit."""
    assert ANYTHING.decode(as_jsonb(ANYTHING.encode([number]))) == [number]


def test_the_types_of_msgspec_come_back() -> None:
    """Dates, UUIDs, decimals, enums and named tuples come back as what they were, because their type is declared."""
    payload = Payload("sample", Sample)
    when = dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=dt.UTC)
    sample = Sample(when, uuid.UUID(int=7), Decimal("1.50"), Size.LARGE, Place(1, 1e300), {"text": "hi"}, None, 2.5)
    assert payload.decode(as_jsonb(payload.encode(sample))) == sample


def test_a_class_without_equality_is_compared_by_its_fields() -> None:
    """An object that is equal only to itself is accepted when its fields come back equal."""
    payload = Payload("unequal", Unequal)
    assert payload.decode(payload.encode(Unequal(7))).n == 7


def test_a_field_that_is_not_compared_is_checked_all_the_same() -> None:
    """A field with compare=False cannot smuggle in what comes back different."""
    payload = Payload("blind", Blind)
    assert payload.decode(payload.encode(Blind(1, "x"))).unseen == "x"
    with pytest.raises(InvalidPayload, match=r"args\.unseen: bytes"):
        payload.encode(Blind(1, b"x"))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["{}", "null"])
def test_no_arguments_are_an_empty_object(text: str) -> None:
    """A handler without arguments takes an empty object or null, which is what a plain SQL enqueue stores."""
    payload = Payload("tick", type(None))
    assert payload.is_empty
    assert payload.encode(None) == "{}"
    assert payload.decode(text) is None


def test_an_unknown_field_is_let_through() -> None:
    """A payload of a newer version, with a field more, can be run by an older one."""
    assert Payload("item", Item).decode('{"name": "a", "later": 1}') == Item("a")
