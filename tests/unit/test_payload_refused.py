"""Arguments that cannot be stored, or that the handler cannot take, are refused where they are made."""

from __future__ import annotations

import datetime as dt
import math
import pickle
import traceback
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest

from supervisor.errors import InvalidPayload
from supervisor.jobs.payload import MAX_BYTES, Payload
from supervisor.jobs.unstorable import MAX_DEPTH
from tests.unit.orders import ANYTHING, ORDER, Item, Order, Size, as_jsonb


class Note(TypedDict):
    text: str


@dataclass
class Hostile:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise KeyError(self.n)


@dataclass
class Choice:
    size: Size = Size.SMALL
    which: Literal["a", "b"] = "a"


class Text(str):
    __slots__ = ()


class Derived(Item):
    pass


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
def test_what_cannot_be_stored_is_refused(value: object, path: str, reason: str) -> None:
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
def test_what_the_handler_would_refuse_is_refused_first(order: object, path: str, reason: str) -> None:
    """Arguments that do not fit the declared type are refused before they are stored, by the path of the field."""
    with pytest.raises(InvalidPayload) as caught:
        ORDER.encode(order)
    assert caught.value.path == path
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "value", [_nested(MAX_DEPTH), [{"n": 1}] * 200, ["]" * 9, "\\u0000", "3e5"], ["[" * 100], "3e+9"]
)
def test_a_doubtful_text_is_looked_at_closely(value: object) -> None:
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
        ('{"anything": ' + "[" * 100_000 + "]" * 100_000 + "}", "args", "recursion"),
    ],
)
def test_a_stored_payload_that_does_not_fit_is_named(text: str | bytes, path: str, reason: str) -> None:
    """What came in by plain SQL is validated when it is read, whatever it is, and the error names the place."""
    with pytest.raises(InvalidPayload) as caught:
        ORDER.decode(text)
    assert caught.value.path == path
    assert reason in caught.value.reason


@pytest.mark.parametrize("text", ['{"size": "hunter2"}', '{"which": "hunter2"}'])
def test_a_value_is_not_quoted(text: str) -> None:
    """An error is logged and stays with its job, so neither it nor its cause has the value, which may be a secret."""
    with pytest.raises(InvalidPayload, match="none of those that are declared") as caught:
        Payload("choose", Choice).decode(text)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(text, "")


def test_a_class_that_refuses_its_own_values_is_a_bad_payload() -> None:
    """Whatever a class raises while it is made becomes one kind of error, on both sides."""
    payload = Payload("hostile", Hostile)
    broken = Hostile(1)
    broken.n = -1
    with pytest.raises(InvalidPayload):
        payload.encode(broken)
    with pytest.raises(InvalidPayload):
        payload.decode('{"n": -1}')


def test_arguments_for_a_handler_that_takes_none_are_refused() -> None:
    """Arguments that nobody would look at are refused on both sides."""
    payload = Payload("tick", type(None))
    with pytest.raises(InvalidPayload, match="takes none, not int"):
        payload.encode(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match="unknown field `a`"):
        payload.decode('{"a": 1}')


def test_an_undeclared_key_is_refused() -> None:
    """A key that the type does not declare would get lost on the way, so it is refused."""
    payload: Payload[Any] = Payload("note", list[Note])
    with pytest.raises(InvalidPayload, match=r"args\[0\]\.extra: the key is not declared"):
        payload.encode([{"text": "a", "extra": 1}])
