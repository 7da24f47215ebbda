"""Arguments of jobs: what is accepted comes back equal from the database, all else is refused where it is made."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import pickle
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from supervisor.errors import ConfigError, InvalidPayload
from supervisor.jobs.payload import MAX_BYTES, Payload
from supervisor.jobs.unstorable import MAX_DEPTH


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Place(NamedTuple):
    x: int
    y: float


class Note(TypedDict):
    text: str


@dataclass(frozen=True)
class Item:
    name: str
    price: float = 0.0


@dataclass(frozen=True)
class Order:
    items: list[Item]
    count: int = 0
    anything: Any = None
    by_name: dict[str, Item] = field(default_factory=dict)
    row: tuple[int, ...] = ()


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


@dataclass
class Hostile:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise KeyError(self.n)


class Text(str):
    __slots__ = ()


class Derived(Item):
    pass


def as_jsonb(text: str) -> str:
    """Write JSON as jsonb gives it back: keys sorted, the last of equal ones kept, numbers with all their digits."""

    def written(value: object) -> str:
        match value:
            case dict():
                keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
                return (
                    "{"
                    + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {written(value[key])}" for key in keys)
                    + "}"
                )
            case list():
                return "[" + ", ".join(map(written, value)) + "]"
            case Decimal():
                return format(abs(value) if value == 0 else value, "f")
            case _:
                return json.dumps(value, ensure_ascii=False)

    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("jsonb refuses NUL")
    return written(json.loads(text, parse_float=Decimal))


ANYTHING: Payload[Any] = Payload("any", Any)
ORDER = Payload("order", Order)

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
def test_plain_json_comes_back_equal(value: Any) -> None:
    """Every JSON value that Python and PostgreSQL can hold is accepted and comes back equal."""
    assert ANYTHING.decode(as_jsonb(ANYTHING.encode(value))) == value


@hypothesis.given(DIRTY)
def test_whatever_is_accepted_comes_back_equal(value: Any) -> None:
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


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def _circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        pytest.param("a\0b", "args", "NUL", id="NUL"),
        pytest.param({"a": [1, {"b": "\0"}]}, "args.a[1].b", "NUL", id="NUL inside"),
        pytest.param({"x": {"\0": 1}}, "args.x", "a key: the text contains NUL", id="NUL in a key"),
        pytest.param(["ok", "\ud800"], "args[1]", "half a surrogate pair at position 0", id="surrogate"),
        pytest.param({"\udfff": 1}, "args", "a key: the text is not Unicode", id="surrogate in a key"),
        pytest.param([math.nan], "args[0]", "nan has no place", id="NaN"),
        pytest.param({"to": -math.inf}, "args.to", "-inf has no place", id="infinity"),
        pytest.param([1e23], "args[0]", "comes back as another int", id="large float"),
        pytest.param([10**5000], "args[0]", "more digits", id="too many digits"),
        pytest.param({"a b": b"x"}, "args['a b']", "bytes have no place", id="bytes"),
        pytest.param([bytearray(b"x")], "args[0]", "bytes have no place", id="bytearray"),
        pytest.param([{1, 2}], "args[0]", "a set has no place", id="set"),
        pytest.param([frozenset[int]()], "args[0]", "a set has no place", id="frozenset"),
        pytest.param({"m": {1: 2}}, "args.m", "a key of type int", id="int key"),
        pytest.param({None: 2}, "args", "a key of type NoneType", id="None key"),
        pytest.param({1: 1, "1": 2}, "args", "a key of type int", id="two keys that meet"),
        pytest.param([(1, 2)], "args[0]", "a tuple comes back as a list", id="tuple"),
        pytest.param([Item("x")], "args[0]", "Item comes back as a dict", id="undeclared class"),
        pytest.param([Size.SMALL], "args[0]", "Size comes back as str", id="undeclared enum"),
        pytest.param([dt.date(2024, 1, 1)], "args[0]", "date comes back as str", id="undeclared date"),
        pytest.param([Text("x")], "args[0]", "Text is a kind of str", id="subclass of str"),
        pytest.param([object()], "args[0]", "a value of type object is not JSON", id="foreign object"),
        pytest.param([range(3)], "args[0]", "a value of type range is not JSON", id="range"),
        pytest.param(_nested(MAX_DEPTH + 1), "args" + "[0]" * MAX_DEPTH, "nested more than 64", id="deep"),
        pytest.param(_circle(), "args" + "[0]" * MAX_DEPTH, "nested more than 64", id="circle"),
        pytest.param(["x" * MAX_BYTES], "args", "the limit is 262144", id="long"),
    ],
)
def test_what_cannot_be_stored_is_refused(value: Any, path: str, reason: str) -> None:
    """The error names the kind, the path, the reason and a remedy, and does not repeat the value."""
    with pytest.raises(InvalidPayload) as caught:
        ANYTHING.encode(value)
    error = caught.value
    assert (error.kind, error.path) == ("any", path)
    assert reason in error.reason
    assert error.remedy
    assert str(error) == f"job 'any': {path}: {error.reason}; {error.remedy}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("order", "path", "reason"),
    [
        pytest.param(Order([Item("a"), Item("b\0")]), "args.items[1].name", "NUL", id="deep field"),
        pytest.param(Order([Item(3)]), "args.items[0].name", "Expected `str`, got `int`", id="wrong type"),  # type: ignore[arg-type]
        pytest.param(Order([Item(b"x")]), "args.items[0].name", "bytes", id="bytes where text is due"),  # type: ignore[arg-type]
        pytest.param(Order([Item("a", math.nan)]), "args.items[0].price", "nan", id="NaN"),
        pytest.param(Order({Item("a")}), "args.items", "a set", id="set where a list is due"),  # type: ignore[arg-type]
        pytest.param(Order([Derived("a")]), "args.items[0]", "Derived comes back as Item", id="subclass"),
        pytest.param(Order([], by_name={"k": Item("\0")}), "args.by_name.k.name", "NUL", id="in a dict"),
        pytest.param(Order([], anything=(1,)), "args.anything", "a tuple", id="tuple where anything may be"),
        pytest.param({"items": []}, "args", "dict comes back as Order", id="a dict for a class"),
        pytest.param(7, "args", "Expected `object`, got `int`", id="another type altogether"),
    ],
)
def test_what_the_handler_would_refuse_is_refused_first(order: Any, path: str, reason: str) -> None:
    """Arguments that do not fit the declared type are refused before they are stored, by the path of the field."""
    with pytest.raises(InvalidPayload) as caught:
        ORDER.encode(order)
    assert caught.value.path == path
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "value", [_nested(MAX_DEPTH), [{"n": 1}] * 200, ["]" * 9, "\\u0000", "3e5"], ["[" * 100], "3e+9"]
)
def test_a_doubtful_text_is_looked_at_closely(value: Any) -> None:
    """What only looks deep, or only looks like NUL or a large float, is accepted."""
    assert ANYTHING.decode(as_jsonb(ANYTHING.encode(value))) == value


def test_a_bracket_in_a_text_hides_no_depth() -> None:
    """Closing brackets inside texts do not make a deep value look flat."""
    value: Any = "]" * 100
    for _ in range(MAX_DEPTH + 1):
        value = ["]]]]", value]
    with pytest.raises(InvalidPayload, match="nested"):
        ANYTHING.encode(value)


def test_the_limit_is_on_bytes() -> None:
    """A payload of exactly the limit passes, and one byte more, or as many characters of two bytes, does not."""
    ANYTHING.encode("x" * (MAX_BYTES - 2))
    for text in ("x" * (MAX_BYTES - 1), "é" * (MAX_BYTES // 2)):
        with pytest.raises(InvalidPayload, match=r"262145|262146"):
            ANYTHING.encode(text)


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ('{"items": [{"name": "a"}, {"name": 3}]}', "args.items[1].name", "Expected `str`, got `int`"),
        ('{"items": [{}]}', "args.items[0]", "missing required field `name`"),
        ("[]", "args", "Expected `object`, got `array`"),
        ("{", "args", "truncated"),
        ("", "args", "truncated"),
        (b"\xff", "args", "invalid"),
        ('{"anything": ' + "[" * 10_000 + "]" * 10_000 + "}", "args", "recursion"),
    ],
)
def test_a_stored_payload_that_does_not_fit_is_named(text: str | bytes, path: str, reason: str) -> None:
    """What came in by plain SQL is validated when it is read, whatever it is, and the error names the place."""
    with pytest.raises(InvalidPayload) as caught:
        ORDER.decode(text)
    assert caught.value.path == path
    assert reason in caught.value.reason


def test_a_class_that_refuses_its_own_values_is_a_bad_payload() -> None:
    """Whatever a class raises while it is made becomes one kind of error, on both sides."""
    payload = Payload("hostile", Hostile)
    broken = Hostile(1)
    broken.n = -1
    with pytest.raises(InvalidPayload):
        payload.encode(broken)
    with pytest.raises(InvalidPayload):
        payload.decode('{"n": -1}')


@pytest.mark.parametrize("text", ["{}", "null"])
def test_no_arguments_are_an_empty_object(text: str) -> None:
    """A handler without arguments takes an empty object or null, which is what a plain SQL enqueue stores."""
    payload = Payload("tick", type(None))
    assert payload.is_empty
    assert payload.encode(None) == "{}"
    assert payload.decode(text) is None  # type: ignore[func-returns-value]


def test_arguments_for_a_handler_that_takes_none_are_refused() -> None:
    """Arguments that nobody would look at are refused on both sides."""
    payload = Payload("tick", type(None))
    with pytest.raises(InvalidPayload, match="takes none, not int"):
        payload.encode(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match="unknown field `a`"):
        payload.decode('{"a": 1}')


def test_an_undeclared_key_is_refused() -> None:
    """A key that the type does not declare would get lost on the way, so it is refused."""
    payload = Payload("note", list[Note])
    with pytest.raises(InvalidPayload, match=r"args\[0\]\.extra: the key is not declared"):
        payload.encode([{"text": "a", "extra": 1}])  # type: ignore[typeddict-unknown-key]


def test_an_unknown_field_is_let_through() -> None:
    """A payload of a newer version, with a field more, can be run by an older one."""
    assert Payload("item", Item).decode('{"name": "a", "later": 1}') == Item("a")


@dataclass
class Secretive:
    data: dict[str, list[bytes]]


@dataclass
class Tree:
    children: list[Tree]


@pytest.mark.parametrize(
    ("args_type", "message"),
    [
        (set[int], "args: a set has no place"),
        (list[frozenset[int]], r"args\[\]: a set has no place"),
        (Secretive, r"args\.data\[\]\[\]: bytes have no place"),
        (dict[int, str], "args: the keys of a JSON object are texts"),
        (dict[Size, str], "args: the keys of a JSON object are texts"),
        (complex, "args: complex is not a type that JSON can hold"),
        (tuple[int, msgspec.Raw], r"args\[1\]: raw JSON is not checked"),
        (Item | Order, "cannot be decoded"),
    ],
)
def test_a_type_that_json_cannot_hold_is_refused(args_type: Any, message: str) -> None:
    """A type that can never work is refused when the handler is declared, by its path."""
    with pytest.raises(ConfigError, match=f"job 'x': .*{message}"):
        Payload("x", args_type)


def test_a_type_may_contain_itself() -> None:
    """A recursive type is inspected once and works."""
    payload = Payload("tree", Tree)
    tree = Tree([Tree([]), Tree([Tree([])])])
    assert payload.decode(payload.encode(tree)) == tree
